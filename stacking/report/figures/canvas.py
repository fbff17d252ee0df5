"""Drawing SVG with matplotlib that fits into a page.

Every chart is drawn twice, as wide as a page and as narrow as a phone, because a chart that merely shrinks becomes
unreadable. No pyplot, so no global figure list and no display. Colors are drawn as fixed hex values and then replaced
by the page's CSS variables with the same hex value as fall-back: one chart reads on light and dark paper, and alone in
a file. Text stays text, in the page's own typeface. Foreign names are never parsed as formulas.
"""

from __future__ import annotations

import importlib.util
import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from stacking.report.sections import Chart
from stacking.report.writing import visible, write_score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


# The page's colors; `_for_pages` replaces each by its variable in `_VARIABLES`.
PAPER = "#fdfdfc"
INK = "#22272e"
MUTED = "#69717c"
RULE = "#dcdfe2"
ACCENT = "#2b6a99"
GOOD = "#3b8468"
BAD = "#b5493a"
SERIES = (ACCENT, "#c7762e", GOOD, "#87599b", "#a38a2c", "#5d7f8c")

_VARIABLES = {
    PAPER: "--paper",
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    BAD: "--bad",
    **{color: f"--series-{number}" for number, color in enumerate(SERIES, start=1)},
}
PAGE_WIDTH = 8.2
"""Width in inches of a chart on a page; only the size of its type depends on it."""

PHONE_WIDTH = 4.0
"""Width in inches of a chart on a phone: on a screen of 360 to 390 pixels its type of 9 points is 10 to 11 pixels."""

_SMALLEST_TYPE = {
    PAGE_WIDTH: 8.5,
    PHONE_WIDTH: 9.0,
}  # points: 10 pixels where the page shows such a chart at its smallest
_NAME_SHARE, _LETTER_WIDTH = 0.42, 0.068  # of a chart's width for names beside an axis; inches of a letter of 9 points

_MOST_TICKS = 5  # of a logarithmic axis without room for powers of ten: five numbers fit on a phone
_MOST_DIGITS = 6  # of a score: ticks that need more lie closer than anybody reads

# Two decimals of a point are finer than a screen; more only make the file larger.
_DECIMALS = re.compile(r"(\.\d\d)\d+")
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "labelstack",
    "text.parse_math": False,
    "font.size": 9.5,
    "font.family": ["DejaVu Sans"],
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "axes.titlesize": 9.5,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


def draw(
    height: float, paint: Callable[[Figure], None], description: str, *, phone_height: float | None = None
) -> Chart:
    """Draw one chart, for pages and for phones.

    Parameters
    ----------
    height : float
        Height in inches of the chart that is as wide as a page.
    paint : callable
        Receives an empty matplotlib figure, once of either width; `is_narrow` tells them apart.
    description : str
        What the chart shows, for readers who do not see it.
    phone_height : float, optional
        Height in inches of the chart for phones; by default the same.

    Returns
    -------
    Chart
        An ``<svg>`` element, and another one for phones. Where matplotlib is not installed, they say so in place of
        the chart.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return _in_place_of_the_chart(description)
    narrow = _draw_once(PHONE_WIDTH, height if phone_height is None else phone_height, paint, description)
    return Chart(_draw_once(PAGE_WIDTH, height, paint, description), narrow, paint, height)


def draw_figure(chart: Chart) -> Figure:
    """Draw a chart of a report as a matplotlib figure, to be shown in a notebook, changed, or saved in any form.

    Parameters
    ----------
    chart : Chart
        From a function of `stacking.report.figures`.

    Returns
    -------
    matplotlib.figure.Figure
        On light paper, of no pyplot: notebooks show it, ``figure.savefig(path)`` keeps it.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the chart was pickled: only its picture is kept then.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("charts need matplotlib: pip install 'labelstack[report]'.")
    if chart.paint is None:
        raise ValueError("chart must be drawn in this process: a pickled one keeps its <svg> only.")
    with _quiet_settings(_SMALLEST_TYPE[PAGE_WIDTH]):
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        figure = _shown_figure()(figsize=(PAGE_WIDTH, chart.height), layout="constrained", facecolor=PAPER)
        canvas = FigureCanvasAgg(figure)
        chart.paint(figure)
        canvas.draw()  # type: ignore[no-untyped-call]  # ticks are made, and take their look, when they are drawn
    return figure


@cache
def _shown_figure() -> type[Figure]:
    """Make the class of figures that notebooks show without pyplot."""
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        """A figure that a notebook can show."""

        def _repr_png_(self) -> bytes:
            """Draw it for a notebook."""
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=110)
            return buffer.getvalue()

    return ShownFigure


def _draw_once(width: float, height: float, paint: Callable[[Figure], None], description: str) -> str:
    """Draw a chart of one width; no type in it is smaller than can be read."""
    with _quiet_settings(_SMALLEST_TYPE[width]):
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
        from matplotlib.text import Text

        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure)
        for text in figure.findobj(Text):
            text.set_fontsize(max(text.get_fontsize(), _SMALLEST_TYPE[width]))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _for_pages(buffer.getvalue(), description)


def _in_place_of_the_chart(description: str) -> Chart:
    """Say in two lines of SVG that the chart needs matplotlib; the tables of a report are whole without."""
    from xml.sax.saxutils import quoteattr

    family = "font-size: 10px; font-family: var(--sans, system-ui, sans-serif)"
    lines = (
        '<tspan x="0" y="11">No chart: matplotlib is not installed.</tspan>'
        '<tspan x="0" y="24">pip install &apos;labelstack[report]&apos;</tspan>'
    )
    wide, narrow = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {72 * width:g} 29" role="img" '
        f"aria-label={quoteattr(visible(description))}>"
        f'<text style="{family}; fill: var({_VARIABLES[MUTED]}, {MUTED})">{lines}</text></svg>'
        for width in (PAGE_WIDTH, PHONE_WIDTH)  # inches; a page has 72 units an inch
    )
    return Chart(wide, narrow)


@contextmanager
def _quiet_settings(smallest_type: float) -> Iterator[None]:
    """Draw with matplotlib's own defaults and ours; glyphs its measuring font lacks are the reader's font's affair.

    A ``matplotlibrc`` in the working directory decides nothing: it could have every text pass through LaTeX.
    """
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        matplotlib.rcParams.update({"xtick.labelsize": smallest_type, "ytick.labelsize": smallest_type})
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        warnings.filterwarnings("ignore", message=r"Matplotlib currently does not support")
        yield


def _for_pages(svg: str, description: str) -> str:
    """Turn matplotlib's file into an element that takes on the colors and the typeface of its page."""
    from xml.sax.saxutils import escape, quoteattr

    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*</defs>", "", svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    view_box = re.search(r'viewBox="([^"]*)"', svg)
    size = view_box.group(1) if view_box else "0 0 100 100"
    root = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{size}" '
        f'role="img" aria-label={quoteattr(visible(description))} stroke-linejoin="round">'
        f"<title>{escape(visible(description))}</title>"
    )
    svg = root + svg[svg.index(">") + 1 :]
    svg = re.sub(r"""font-family: [^;"]*""", "font-family: var(--sans, system-ui, sans-serif)", svg)
    svg = re.sub(r"""(font: [^;"]*?[\d.]+px) [^;"]*""", r"\1 var(--sans, system-ui, sans-serif)", svg)
    for color, variable in _VARIABLES.items():
        svg = re.sub(rf"(?<=: ){color}\b", f"var({variable}, {color})", svg)
    svg = re.sub(r'\b(?:d|x|y|points)="[^"]*"', lambda found: _DECIMALS.sub(r"\1", found.group()), svg)
    return re.sub(r"\n\s*", "\n", svg)


def is_narrow(figure: Figure) -> bool:
    """Tell whether a figure is drawn for phones.

    Parameters
    ----------
    figure : matplotlib Figure
        As `draw` hands it to its painter.

    Returns
    -------
    bool
        True for the narrow one.
    """
    return bool(figure.get_figwidth() < (PAGE_WIDTH + PHONE_WIDTH) / 2)


def letters_beside(width: float, most: int = 40) -> int:
    """Say how long a name may be beside an axis, so that the axis keeps more than half of the chart.

    Parameters
    ----------
    width : float
        Of the chart, in inches.
    most : int, default=40
        Longest name on a page.

    Returns
    -------
    int
        Number of letters.
    """
    return min(most, int(_NAME_SHARE * width / _LETTER_WIDTH))


def legend_rows(n_series: int) -> int:
    """Count the rows of a legend on a phone, where each series has its own.

    Parameters
    ----------
    n_series : int
        Number of series.

    Returns
    -------
    int
        Rows.
    """
    return n_series if n_series > 1 else 0


def write_legend(
    figure: Figure, n_series: int, *, always: bool = False, handles: Any = None, names: Any = None
) -> None:
    """Put a legend above the chart if there is more than one series: three a row, on phones one.

    Parameters
    ----------
    figure : matplotlib Figure
        Changed in place.
    n_series : int
        Number of series.
    always : bool, default=False
        Whether a single series is named, too.
    handles, names : sequence, optional
        What the legend shows; by default what the axes hold.
    """
    if n_series > 1 or (always and n_series):
        given = {} if handles is None else {"handles": handles, "labels": names}
        columns = 1 if is_narrow(figure) else min(n_series, 3)
        figure.legend(loc="outside upper left", ncols=columns, labelcolor=MUTED, **given)


def count_axis(axis: Axis) -> None:
    """Write the ticks of a logarithmic axis of counts as plain numbers, between the powers of ten only 2 and 5.

    Where fewer than two of these are in view, as of counts that are near to each other, others are written.

    Parameters
    ----------
    axis : matplotlib axis
        Logarithmic.
    """
    _write_ticks(axis, lambda value: f"{value:,.0f}" if abs(value - round(value)) < 1e-6 else "")


def number_axis(axis: Axis) -> None:
    """Write the ticks of a logarithmic axis of any numbers as `count_axis` does.

    Parameters
    ----------
    axis : matplotlib axis
        Logarithmic.
    """
    _write_ticks(axis, lambda value: f"{value:g}")


def score_axis(axis: Axis, digits: int = 3) -> None:
    """Write the ticks of an axis of scores without leading zeros, with as many digits as tell them apart.

    Parameters
    ----------
    axis : matplotlib axis
        Linear.
    digits : int, default=3
        Digits after the point, at least.
    """

    def write(value: float, _position: float) -> str:
        places = np.unique(np.asarray(axis.get_majorticklocs(), dtype=float))
        near = 0.01 * float(np.diff(places).min()) if len(places) > 1 else np.inf
        told = (d for d in range(digits, _MOST_DIGITS) if np.abs(np.round(places, d) - places).max() < near)
        return write_score(value, next(told, _MOST_DIGITS))

    axis.set_major_formatter(write)


def _write_ticks(axis: Axis, write: Callable[[float], str]) -> None:
    """Write ticks of both kinds ourselves: matplotlib writes formulas, which nothing here typesets."""

    def write_minor(value: float, _position: float) -> str:
        low, high = sorted(axis.get_view_interval())
        minor, major = (
            [place for place in places.tolist() if low <= place <= high and write(place)]
            for places in (axis.get_minorticklocs(), axis.get_majorticklocs())
        )
        told = [place for place in minor if f"{place:.1e}"[:3] in ("2.0", "5.0")]
        if len(told) + len(major) < 2:
            told = minor[:: -(-len(minor) // _MOST_TICKS) or 1]
        return write(value) if value in told else ""

    axis.set_major_formatter(lambda value, _position: write(value))
    axis.set_minor_formatter(write_minor)


def finish_axes(axes: Axes, *, grid: str = "", sides: tuple[str, ...] = ("bottom",)) -> None:
    """Take away what carries no information.

    Parameters
    ----------
    axes : matplotlib Axes
        Changed in place.
    grid : {"", "x", "y", "both"}, default=""
        Direction of the faint grid lines.
    sides : tuple of str, default=("bottom",)
        Edges that stay.
    """
    for side, spine in axes.spines.items():
        spine.set_visible(side in sides)
    axes.tick_params(length=0, pad=5)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=RULE, linewidth=0.7)  # type: ignore[arg-type]


def shorten(name: str, length: int = 28) -> str:
    """Shorten a name in its middle, so that it fits beside an axis.

    Parameters
    ----------
    name : str
        Any text.
    length : int, default=28
        Longest text returned.

    Returns
    -------
    str
        The name, or its two ends around an ellipsis.

    Examples
    --------
    >>> shorten("tf_efficientnet_lite0.in1k", 15)
    'tf_effi…e0.in1k'
    """
    name = visible(name)
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[-tail:]}"


def shorten_all(names: Sequence[str], length: int = 28) -> list[str]:
    """Shorten several names so that different ones stay different.

    Parameters
    ----------
    names : sequence of str
        Any texts.
    length : int, default=28
        Longest text returned, unless two names differ only in what would be left out: those get longer.

    Returns
    -------
    list of str
        One text per name.

    Examples
    --------
    >>> shorten_all(["run_1_of_the_net", "run_2_of_the_net"], 9)
    ['run_1…e_net', 'run_2…e_net']
    """
    lengths = [length] * len(names)
    while True:
        texts = [shorten(name, limit) for name, limit in zip(names, lengths, strict=True)]
        owners: dict[str, set[str]] = {}
        for name, text in zip(names, texts, strict=True):
            owners.setdefault(text, set()).add(visible(name))
        clashing = [len(owners[text]) > 1 for text in texts]
        if not any(clashing):
            return texts
        lengths = [limit + 2 if clash else limit for limit, clash in zip(lengths, clashing, strict=True)]
