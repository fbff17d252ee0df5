"""Pages in a browser: tables sort and scroll, without a mouse too, on light and on dark paper."""

import itertools

import pytest

from stacking.report import Column, Paragraph, Report, Section, Table, render_html

ROWS = [
    ["net 10", 0.5004, -0.1, 1234, "[.4, .6]"],
    ["net 9", 0.5001, None, 99, "[.3, .4]"],
    ["Ångström", 0.91, 0.2, 5, ""],
]
COLUMNS = [
    "name",
    Column("score", "score"),
    Column("gain", "gain"),
    Column("rows", "count"),
    Column("95 %", "interval"),
]
FIRST_CELLS = "[...document.querySelectorAll('tbody tr')].map((row) => row.cells[0].textContent)"
SORTED = "[...document.querySelectorAll('th')].map((heading) => heading.getAttribute('aria-sort'))"


@pytest.fixture
def page(tmp_path, chromium):
    wide = Table([f"column {i}" for i in range(12)], [[f"long text {i}" for i in range(12)]], "wide")
    path = tmp_path / "page.html"
    blocks = [Table(COLUMNS, ROWS, "a table"), Paragraph("text"), wide]
    path.write_text(render_html(Report("t", [Section("s", blocks)])), encoding="utf-8")
    return path


def test_tables_sort_by_numbers_not_by_what_is_written(page, chromium):
    assert chromium.open(page) == []
    click = "document.querySelectorAll('th button')[{}].click()"
    chromium.evaluate(click.format(1))
    assert chromium.evaluate(FIRST_CELLS)[:3] == ["Ångström", "net 10", "net 9"]  # .500 and .500 differ
    assert chromium.evaluate(SORTED)[:5] == [None, "descending", None, None, None]
    chromium.evaluate(click.format(1))
    assert chromium.evaluate(FIRST_CELLS)[:3] == ["net 9", "net 10", "Ångström"]
    assert chromium.evaluate(SORTED)[:5] == [None, "ascending", None, None, None]
    for _ in range(2):  # a cell without a number stays last
        chromium.evaluate(click.format(2))
        assert chromium.evaluate(FIRST_CELLS)[2] == "net 9"
    chromium.evaluate(click.format(0))
    assert chromium.evaluate(FIRST_CELLS)[:3] == ["Ångström", "net 9", "net 10"]
    assert chromium.evaluate("document.querySelectorAll('table')[0].querySelectorAll('th button').length") == 4


def test_tables_sort_without_a_mouse(page, chromium):
    chromium.open(page)
    for key, order in (("Enter", "descending"), ("Space", "ascending")):
        chromium.evaluate("document.querySelectorAll('th button')[3].focus()")
        chromium.press(key)
        assert chromium.evaluate(SORTED)[3] == order


def test_a_wide_table_scrolls_by_itself_and_keeps_its_first_column(page, chromium):
    chromium.open(page, 390)
    assert chromium.evaluate("document.documentElement.scrollWidth") == 390
    _, wide = chromium.evaluate("[...document.querySelectorAll('.scroll')].map((e) => e.scrollWidth - e.clientWidth)")
    assert wide > 300
    region = "document.querySelectorAll('.scroll')[1]"
    assert chromium.evaluate(f"{region}.tabIndex") == 0
    named = chromium.evaluate(f"['role', 'aria-label'].map((name) => {region}.getAttribute(name))")
    assert named == ["region", "wide"]
    left = f"{region}.querySelector('td').getBoundingClientRect().left"
    before = chromium.evaluate(left)
    chromium.evaluate(f"{region}.scrollLeft = 200")
    assert chromium.evaluate(left) == before


def test_a_page_reads_on_dark_paper_and_prints_on_white(page, chromium):
    contrast = """(() => {
      const light = (color) => {
        const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => {
          const share = part / 255;
          return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
      };
      const paper = light(getComputedStyle(document.body).backgroundColor);
      return [...document.querySelectorAll("p, td, th, a")].map((element) => {
        const ink = light(getComputedStyle(element).color);
        return (Math.max(paper, ink) + 0.05) / (Math.min(paper, ink) + 0.05);
      });
    })()"""
    for dark, printed in itertools.product((False, True), repeat=2):
        chromium.open(page, dark=dark, printed=printed)
        assert min(chromium.evaluate(contrast)) >= 4.5, (dark, printed)  # as WCAG 2.1 asks of text
        paper = chromium.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == printed
