"""The environment of the templates of pages and notebook cells: text is escaped, charts and photos are put in.

Charts are inline SVG, with ids of their own in every page, and photos are data URIs: no page needs another file.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from stacking.report.sections import Cell, ColumnKind, Photo
from stacking.report.writing import visible, write_cell

if TYPE_CHECKING:
    import jinja2


_SVG_REFERENCE = re.compile(r"""(\bid="|href="\#|url\(\#)""")


def read_template(name: str) -> str:
    """Read a file that belongs to the pages.

    Parameters
    ----------
    name : str
        Its name in the folder of the templates.

    Returns
    -------
    str
        Its text.
    """
    return files(__name__.rpartition(".")[0]).joinpath("templates", name).read_text(encoding="utf-8")


def hash_for_policy(script: str) -> str:
    """Hash an inline script or style as a content security policy names it.

    Parameters
    ----------
    script : str
        All that stands between its tags.

    Returns
    -------
    str
        For example ``sha256-…``.
    """
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}"


@cache
def page_environment() -> jinja2.Environment:
    """Build the environment of the templates, autoescape on.

    Returns
    -------
    jinja2.Environment
        With the filters that the pages use.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__name__.rpartition(".")[0], "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    filters: dict[str, Any] = {
        "cell": write_cell,
        "sort_key": _sort_key,
        "block_kind": lambda block: type(block).__name__,
        "data_uri": _data_uri,
        "inline_svg": _inline_svg,
        "visible": visible,
        "visible_lines": lambda text: visible(text, keep_line_breaks=True),
    }
    environment.filters.update(filters)
    return environment


def _sort_key(value: Cell, kind: ColumnKind) -> Any:
    """Give a number its attribute for the script that sorts; what is written may be rounded or end in a unit."""
    from markupsafe import Markup

    if isinstance(value, str) or value is None or kind in ("text", "interval") or math.isnan(value):
        return ""
    number = repr(float(value)).replace("inf", "Infinity")  # digits, as JavaScript reads them
    return Markup(f' data-v="{number}"')  # nosec B704


def _data_uri(photo: Photo) -> str:
    """Return a photo as a data URI; the media type comes from its bytes."""
    return f"data:{photo.media_type};base64,{base64.b64encode(photo.data).decode('ascii')}"


def _inline_svg(svg: str, prefix: str) -> Any:
    """Mark a chart as safe (`Figure` has refused active content), its ids made unique in the page."""
    from markupsafe import Markup

    return Markup(_SVG_REFERENCE.sub(rf"\g<1>{prefix}-", svg.strip()))  # drawn here, its texts escaped  # nosec B704
