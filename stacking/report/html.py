"""One self-contained HTML file from a report's data.

Nothing is loaded from elsewhere and nothing runs: the page's content security policy forbids scripts and every remote
asset, the templates escape all text, charts are inline SVG and photos are data URIs.
"""

from __future__ import annotations

import base64
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from stacking.report.sections import Photo, Report
from stacking.report.writing import visible, write_cell

if TYPE_CHECKING:
    import jinja2


_SVG_REFERENCE = re.compile(r"""(\bid="|href="\#|url\(\#)""")


def render_html(report: Report) -> str:
    """Render a report as one self-contained HTML page.

    The page has a table of contents, follows the reader's light or dark setting, prints well and needs no network.

    Parameters
    ----------
    report : Report
        The report's data.

    Returns
    -------
    str
        The page.

    Examples
    --------
    >>> from stacking.report import Paragraph, Report, Section
    >>> page = render_html(Report("A & B", [Section("One", [Paragraph("<script>")])]))
    >>> "A &amp; B" in page, "&lt;script&gt;" in page, "<script" in page
    (True, True, False)
    """
    return _environment().get_template("report.html").render(report=report)


@cache
def _environment() -> jinja2.Environment:
    """Build the template environment, autoescape on."""
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
        "block_kind": lambda block: type(block).__name__,
        "data_uri": _data_uri,
        "inline_svg": _inline_svg,
        "visible": visible,
        "visible_lines": lambda text: visible(text, keep_line_breaks=True),
    }
    environment.filters.update(filters)
    return environment


def _data_uri(photo: Photo) -> str:
    """Return a photo as a data URI; the media type comes from its bytes."""
    return f"data:{photo.media_type};base64,{base64.b64encode(photo.data).decode('ascii')}"


def _inline_svg(svg: str, prefix: str) -> Any:
    """Mark a chart as safe (`Figure` has refused active content), its ids made unique in the page."""
    from markupsafe import Markup

    return Markup(_SVG_REFERENCE.sub(rf"\g<1>{prefix}-", svg.strip()))  # drawn here, its texts escaped  # nosec B704
