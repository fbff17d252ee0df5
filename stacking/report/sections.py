"""The parts of a report, as plain data.

A report is sections, a section is blocks, a block is data: no HTML, no Markdown, no styling. The rooms above this one
(training, the application) describe their results with these classes and hand them to `render_html` and
`render_markdown`; the report therefore never imports them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Cell: TypeAlias = str | int | float | bool | None
ColumnKind: TypeAlias = Literal["text", "interval", "score", "gain", "count", "seconds", "percent", "number"]

COLUMN_KINDS: tuple[ColumnKind, ...] = ("text", "interval", "score", "gain", "count", "seconds", "percent", "number")
PARAGRAPH_ROLES = ("body", "lead", "note", "warning")
TAG_KINDS = ("hit", "miss", "extra", "plain")

# All a chart may hold: shapes and text, nothing that runs, links or loads.
_SVG_ELEMENTS = frozenset(
    {"svg", "g", "defs", "clipPath", "use", "title", "desc", "path", "rect", "circle", "ellipse", "line", "polyline"}
    | {"polygon", "text", "tspan", "linearGradient", "stop"}
)
_SVG_TITLE = re.compile(r"<title>([^<]*)</title>")
_REMOTE_REFERENCE = re.compile(r"url\(\s*[\"']?(?!#)|javascript:|@import|expression\(", re.IGNORECASE)


def _check_inert(svg: str) -> None:
    """Raise if a chart is not one well-formed <svg> of shapes and text."""
    from xml.etree import ElementTree

    if "<!" in svg:
        raise ValueError("svg must be one <svg> element: got a declaration, a comment or CDATA in it.")
    try:
        root = ElementTree.fromstring(svg)  # drawn here  # nosec B314
    except ElementTree.ParseError as error:
        raise ValueError(f"svg must be one well-formed <svg> element: it does not parse ({error}).") from error
    if root.tag.rpartition("}")[2] != "svg":
        raise ValueError(f"svg must be one <svg> element: got <{root.tag.rpartition('}')[2]}>.")
    for element in root.iter():
        tag = element.tag.rpartition("}")[2]
        if tag not in _SVG_ELEMENTS:
            raise ValueError(f"svg must hold shapes and text only: got a <{tag}> element in it.")
        for name, value in element.attrib.items():
            name = name.rpartition("}")[2].lower()
            foreign = name == "href" and not value.startswith("#")
            if name.startswith("on") or foreign or (name != "aria-label" and _REMOTE_REFERENCE.search(value)):
                raise ValueError(f"svg must be inert (no handler, link or remote asset): got {name}={value[:40]!r}.")


def _check_choice(argument: str, value: str, allowed: Sequence[str]) -> None:
    """Raise if ``value`` is not one of ``allowed``."""
    if value not in allowed:
        raise ValueError(f"{argument} must be one of {', '.join(allowed)}: got {value!r}.")


class Chart(str):
    """A chart as wide as a page, one ``<svg>`` element, with the same drawn for phones.

    Attributes
    ----------
    narrow : str
        One ``<svg>`` element for screens that are as narrow as a phone's; empty if there is none.
    paint : callable or None
        Paints it once more, see `stacking.report.figures.draw_figure`; None after pickling.
    height : float
        Height in inches of the wide one.
    """

    narrow: str
    paint: Callable[[Any], None] | None
    height: float

    def __new__(
        cls, wide: str, narrow: str = "", paint: Callable[[Any], None] | None = None, height: float = 0.0
    ) -> Chart:
        """Join the two drawings."""
        chart = super().__new__(cls, wide)
        chart.narrow, chart.paint, chart.height = narrow, paint, height
        return chart

    def __reduce__(self) -> tuple[Any, ...]:
        return Chart, (str(self), self.narrow)


@dataclass(frozen=True)
class Paragraph:
    """Running text.

    Attributes
    ----------
    text : str
        Plain text; line breaks count as spaces.
    role : {"body", "lead", "note", "warning"}, default="body"
        How loudly it is said.
    """

    text: str
    role: Literal["body", "lead", "note", "warning"] = "body"

    def __post_init__(self) -> None:
        _check_choice("role", self.role, PARAGRAPH_ROLES)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    title : str
        Heading.
    kind : str, default="text"
        How its cells are written: "text", "interval" (text that never breaks), "score" (``.812``), "gain"
        (``+.012``), "count" (``1,234``), "seconds", "percent" (of a fraction) or "number".
    """

    title: str
    kind: ColumnKind = "text"

    def __post_init__(self) -> None:
        _check_choice("kind", self.kind, COLUMN_KINDS)


def columns_of(kind: ColumnKind, *titles: str) -> list[Column]:
    """Make neighboring columns of one kind.

    Parameters
    ----------
    kind : str
        As `Column` takes it.
    *titles : str
        Their headings.

    Returns
    -------
    list of Column
        In that order.
    """
    return [Column(title, kind) for title in titles]


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns.

    Attributes
    ----------
    columns : sequence of Column or str
        A plain string is a text column.
    rows : sequence of sequences of cells
        One cell per column; None is written as a dash.
    caption : str, default=""
        What the table shows.
    strong : sequence of int, default=()
        Indices of the rows to set off.
    folded : bool, default=False
        Whether a long table is shown closed until it is asked for.
    """

    columns: Sequence[Column | str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    strong: Sequence[int] = ()
    folded: bool = False

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"rows must hold one cell per column: row {number} has {len(row)} cells for "
                    f"{len(self.columns)} columns."
                )

    @property
    def typed_columns(self) -> tuple[Column, ...]:
        """The columns, plain strings made text columns."""
        return tuple(column if isinstance(column, Column) else Column(column) for column in self.columns)


@dataclass(frozen=True)
class Figure:
    """One chart as inline SVG, as the functions of `stacking.report.figures` return it.

    Attributes
    ----------
    svg : str or Chart
        The ``<svg>`` element; a `Chart` brings another one for phones. It may hold no script, handler, link or remote
        asset.
    caption : str, default=""
        What the chart shows, and how to read it.
    """

    svg: str
    caption: str = ""

    def __post_init__(self) -> None:
        for svg in (self.svg, self.narrow):
            if svg is self.svg or svg:
                _check_inert(svg.strip())

    @property
    def narrow(self) -> str:
        """The same chart for phones, empty where there is none."""
        return self.svg.narrow if isinstance(self.svg, Chart) else ""

    @property
    def description(self) -> str:
        """What the chart says of itself to readers who do not see it, or else its caption."""
        titles = _SVG_TITLE.findall(self.svg)
        return html.unescape(titles[0]) if titles else self.caption


@dataclass(frozen=True)
class KeyFigure:
    """One number worth a large type size.

    Attributes
    ----------
    name : str
        What it is.
    value : str
        The number, formatted.
    note : str, default=""
        Its interval or its comparison.
    """

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Tag:
    """A label under a photo.

    Attributes
    ----------
    text : str
        The label's name.
    kind : {"hit", "miss", "extra", "plain"}, default="plain"
        Predicted rightly, missed, predicted wrongly, or without a judgment.
    """

    text: str
    kind: Literal["hit", "miss", "extra", "plain"] = "plain"

    def __post_init__(self) -> None:
        _check_choice("kind", self.kind, TAG_KINDS)


@dataclass(frozen=True)
class Photo:
    """One picture of a grid.

    Attributes
    ----------
    data : bytes
        The encoded picture: JPEG, PNG, GIF or WebP. Callers shrink it before; a side of 200 px is plenty.
    title : str, default=""
        Usually its id.
    tags : sequence of Tag, default=()
        Its labels.
    """

    data: bytes = field(repr=False)
    title: str = ""
    tags: Sequence[Tag] = ()

    @property
    def description(self) -> str:
        """The title and labels in words, for readers who do not see the photo."""
        words = {"hit": "found", "miss": "missed", "extra": "predicted but not true", "plain": "labels"}
        parts = [
            f"{words[kind]}: {', '.join(tag.text for tag in self.tags if tag.kind == kind)}"
            for kind in dict.fromkeys(tag.kind for tag in self.tags)
        ]
        return f"{self.title or 'photo'}: {'; '.join(parts)}" if parts else self.title

    def __post_init__(self) -> None:
        if not self.media_type:
            raise ValueError(f"data must be a JPEG, PNG, GIF or WebP picture: photo {self.title!r} starts with "
                             f"{self.data[:8]!r}.")  # fmt: skip

    @property
    def media_type(self) -> str:
        """The media type by its first bytes, such as ``image/jpeg``; empty for any other."""
        if self.data.startswith(b"\xff\xd8\xff"):
            return "image/jpeg"
        if self.data.startswith(b"\x89PNG\r\n\x1a\n"):
            return "image/png"
        if self.data.startswith((b"GIF87a", b"GIF89a")):
            return "image/gif"
        if self.data.startswith(b"RIFF") and self.data[8:12] == b"WEBP":
            return "image/webp"
        return ""


@dataclass(frozen=True)
class ImageGrid:
    """Photos with their labels, side by side.

    Attributes
    ----------
    photos : sequence of Photo
        In the order to be shown.
    caption : str, default=""
        What was chosen and how.
    wide : bool, default=False
        Whether the pictures are twice as wide as high, three side by side.
    """

    photos: Sequence[Photo]
    caption: str = ""
    wide: bool = False

    @property
    def judged(self) -> bool:
        """Whether any label under a photo is marked as found, missed or wrong; the marks are then explained."""
        return any(tag.kind != "plain" for photo in self.photos for tag in photo.tags)


@dataclass(frozen=True)
class Code:
    """Text kept as it is, in a fixed-width type: a command, a manifest.

    Attributes
    ----------
    text : str
        Kept with its line breaks.
    caption : str, default=""
        What it is.
    folded : bool, default=False
        Whether it is shown closed until it is asked for.
    """

    text: str
    caption: str = ""
    folded: bool = False


Block: TypeAlias = Paragraph | Table | Figure | ImageGrid | Code


@dataclass(frozen=True)
class Section:
    """A titled run of blocks.

    Attributes
    ----------
    title : str
        Heading; it is also the entry in the table of contents.
    blocks : sequence of blocks
        Shown in this order.
    """

    title: str
    blocks: Sequence[Block]
