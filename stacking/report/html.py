"""One self-contained HTML file from a report's data.

Nothing is loaded from elsewhere, and nothing runs but one script of ours, which sorts tables: the page's content
security policy names it by its hash and forbids every other script and every remote asset.
"""

from __future__ import annotations

from stacking.report.page_environment import hash_for_policy, page_environment, read_template
from stacking.report.report import Report


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
    >>> "A &amp; B" in page, "&lt;script&gt;" in page, page.count("<script")
    (True, True, 1)
    """
    from markupsafe import Markup

    script = read_template("sort.js")
    page = page_environment().get_template("report.html")
    return page.render(report=report, script=Markup(script), script_hash=hash_for_policy(script))  # ours  # nosec B704
