"""Reports from data: everything that came from a file is shown and does nothing (fault F61)."""

import base64
import copy
import hashlib
import html.parser
import pickle
import re
from collections import Counter
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from stacking.report import (
    Chart,
    Code,
    Column,
    Figure,
    ImageGrid,
    KeyFigure,
    Paragraph,
    Photo,
    Report,
    Section,
    Table,
    Tag,
    chart_files,
    render_html,
    render_markdown,
)
from stacking.report.writing import (
    escape_markdown,
    visible,
    write_cell,
    write_estimate,
    write_gain,
    write_interval,
    write_score,
)

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(20))
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><g id="a"><path d="M 0 0"/></g><use href="#a"/></svg>'
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a|b",
    "line\nbreak",
    "=1+1",
    "\u202eright to left",
    "javascript:alert(1)",
    "[text](http://evil.example)",
    "{{ 7 * 7 }}",
    "`code`",
    "nul\x00bell\x07",
    "# heading",
]


class Elements(html.parser.HTMLParser):
    """Collects elements and their attributes."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.text = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def report_with(name):
    blocks = [
        Paragraph(name),
        Paragraph(name, "warning"),
        Table([name, Column("score", "score")], [[name, 0.5], [name, None]], caption=name),
        Table([name], [[name]], caption=name, folded=True),
        Figure(SVG, name),
        ImageGrid([Photo(JPEG, name, [Tag(name, "hit"), Tag(name, "miss"), Tag(name, "extra")])], name),
        Code(name, name),
    ]
    return Report(
        name, [Section(name, blocks)], verdict=name, subtitle=name, key_figures=[KeyFigure(name, name)], footer=name
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_do_nothing_in_html(name):
    page = render_html(report_with(name))
    parsed = Elements()
    parsed.feed(page)
    tags = [tag for tag, _ in parsed.found]
    assert tags.count("script") == 1  # ours, see the next test but one
    assert tags.count("img") == 1
    for _, attributes in parsed.found:
        assert not any(key.startswith("on") for key in attributes)
        for key in ("src", "href"):
            assert attributes.get(key, "#").startswith(("data:image/jpeg;base64,", "#"))
    text = "".join(parsed.text)
    assert text.count(visible(name, keep_line_breaks=True)) + text.count(visible(name)) >= 14
    assert "\u202e" not in page
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", page)


def test_templates_are_not_evaluated_in_data():
    assert "{{ 7 * 7 }}" in render_html(report_with("{{ 7 * 7 }}"))


@pytest.mark.parametrize("name", HOSTILE)
def test_page_allows_the_one_script_that_it_holds_and_no_remote_asset(name):
    page = render_html(report_with(name))
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(scripts[-1].encode()).digest()).decode()
    allowed = f"default-src 'none'; script-src 'sha256-{digest}'; img-src data:; style-src 'unsafe-inline'; base-uri"
    assert allowed in page
    assert len(scripts) == 1 and name not in scripts[0]


def test_page_loads_nothing():
    page = render_html(report_with("plain"))
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert "@import" not in page


def test_table_of_contents_reaches_every_section():
    page = render_html(Report("t", [Section("one", []), Section("two", [])]))
    parsed = Elements()
    parsed.feed(page)
    ids = {attributes.get("id") for tag, attributes in parsed.found if tag == "section"}
    links = [attributes["href"][1:] for tag, attributes in parsed.found if tag == "a"]
    assert links == ["section-1", "section-2"]
    assert set(links) <= ids


def test_ids_of_two_charts_do_not_clash():
    page = render_html(Report("t", [Section("s", [Figure(SVG), Figure(SVG)])]))
    ids = re.findall(r'id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#(s\d[^"]*)"', page)) <= set(ids)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_do_nothing_in_markdown(name):
    text = render_markdown(report_with(name))
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    parsed = Elements()
    parsed.feed(reader.render(text))
    counted = Counter(tag for tag, _ in parsed.found)
    assert set(counted) <= {"h1", "h2", "p", "strong", "em", "ul", "li", "blockquote", "hr", "pre", "code", "table"} | {
        "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    assert (counted["h1"], counted["h2"], counted["table"], counted["th"], counted["td"]) == (1, 1, 2, 3, 5)
    assert "".join(parsed.text).count(visible(name)) >= 12 or "\n" in name
    assert "\u202e" not in text
    assert "\x00" not in text


def test_markdown_table_escapes_pipes_formulas_and_line_breaks():
    table = Table(["na|me", Column("gain", "gain")], [["=1+1", -0.25], ["a\nb", 0.5], ["-7 %", None]])
    text = render_markdown(Report("t", [Section("s", [table])]))
    assert "| na\\|me | gain |" in text
    assert "| \\=1+1 | −.250 |" in text
    assert "| a\\\\nb | +.500 |" in text
    assert "| -7 % | – |" in text


def test_code_fence_is_longer_than_what_it_holds():
    text = render_markdown(Report("t", [Section("s", [Code("```\nx\n````")])]))
    assert "\n`````\n```\nx\n````\n`````\n" in text


def test_unknown_block_is_refused():
    with pytest.raises(TypeError, match=r"blocks must be blocks of stacking\.report: got str"):
        render_markdown(Report("t", [Section("s", ["text"])]))


@pytest.mark.parametrize(
    ("svg", "message"),
    [
        ("<svg><script>1</script></svg>", "a <script> element"),
        ('<svg onload="x()"></svg>', "got onload="),
        ('<svg><use href="http://evil.example/a.svg#b"/></svg>', "got href="),
        ('<svg><path style="fill: url(http://evil.example)"/></svg>', "got style="),
        ("<svg><foreignObject><p>x</p></foreignObject></svg>", "a <foreignObject> element"),
        ("<svg><image/></svg>", "a <image> element"),
        ('<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>', "a declaration"),
        ("<svg>", "does not parse"),
        ("<p/>", "got <p>"),
    ],
)
def test_active_charts_are_refused(svg, message):
    with pytest.raises(ValueError, match=message):
        Figure(svg)


def test_chart_whose_text_only_looks_active_is_accepted():
    Figure("<svg><title>onload=x</title><text>&lt;script&gt; onclick=y url(http://a)</text></svg>")


def test_wrong_parts_are_refused():
    with pytest.raises(ValueError, match="row 1 has 1 cells for 2 columns"):
        Table(["a", "b"], [[1, 2], [3]])
    with pytest.raises(ValueError, match="data must be a JPEG, PNG, GIF or WebP picture: photo 'x'"):
        Photo(b"<svg></svg>", "x")
    with pytest.raises(ValueError, match="role must be one of"):
        Paragraph("a", "loud")
    with pytest.raises(ValueError, match="kind must be one of"):
        Column("a", "money")
    with pytest.raises(ValueError, match="kind must be one of"):
        Tag("a", "maybe")


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (JPEG, "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"GIF89a...", "image/gif"),
        (b"RIFF0000WEBPVP8 ", "image/webp"),
    ],
)
def test_media_type_comes_from_the_bytes(data, media_type):
    assert f'src="data:{media_type};base64,' in render_html(
        Report("t", [Section("s", [ImageGrid([Photo(data, "p")])])])
    )


def test_numbers_are_written_plainly():
    shown = [write_score(value) for value in (0.5, 1.0, 0.0, float("nan"), None)]
    assert shown == [".500", "1.000", ".000", "–", "–"]
    assert [write_score(value) for value in (-0.25, -1.5, -0.0001, 12.0)] == ["−.250", "−1.500", ".000", "12.000"]
    assert [write_gain(value) for value in (0.0123, -0.5, 0.00001, -0.00001, 0)] == [
        "+.012", "−.500", "+.000", "−.000", "±.000",
    ]  # fmt: skip
    assert write_estimate(0.7961, 0.7899, 0.8021) == ".796 [.790, .802]"
    assert write_estimate(-0.01, -0.02, 0.0004, signed=True) == "−.010 [−.020, +.000]"
    assert write_estimate(0.5, None, None) == ".500"
    numbers = [(-1234.0, "count"), (-0.123, "percent"), (-0.00001234, "number"), (-7, "number")]
    assert [write_cell(*case) for case in numbers] == ["−1,234", "−12.3 %", "−1.234e-05", "−7"]
    assert write_interval(0.1, None) == ""
    assert write_interval(-0.1, 0.2, digits=2, signed=True) == "[−.10, +.20]"
    kinds = [(1234.0, "count"), (0.123, "percent"), (0.5, "seconds"), (12.34, "seconds"), (1234.5, "seconds")]
    assert [write_cell(*case) for case in kinds] == ["1,234", "12.3 %", "0.50 s", "12.3 s", "1,234 s"]
    assert write_cell(True) == "yes"
    assert write_cell(float("inf"), "score") == "∞"


def test_escaping_leaves_numbers_and_plain_words_alone():
    assert escape_markdown("plain words") == "plain words"
    assert escape_markdown("-0.25") == "-0.25"
    assert escape_markdown("1. first") == "1\\. first"
    assert visible("emoji 👩‍👩‍👧 中文 é") == "emoji 👩‍👩‍👧 中文 é"
    assert visible("\ud800") == "\\ud800"


def test_wide_pictures_have_a_grid_of_their_own():
    page = render_html(Report("t", [Section("s", [ImageGrid([Photo(JPEG)], wide=True), ImageGrid([Photo(JPEG)])])]))
    assert page.count('<ul class="photos wide">') == page.count('<ul class="photos">') == 1
    assert ".photos.wide .frame { aspect-ratio: 2; }" in page


CHART = Chart(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 80 40"><title>wide &amp; flat</title><g id="a"/></svg>',
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><g id="a"/></svg>',
)


def test_a_chart_shows_the_drawing_that_fits_the_screen():
    page = render_html(Report("t", [Section("s", [Figure(CHART), Figure(SVG)])]))
    assert page.count('<div class="chart on-page">') == page.count('<div class="chart on-phone">') == 1
    assert 'viewBox="0 0 80 40"' in page and 'viewBox="0 0 40 40"' in page
    ids = re.findall(r'id="(s\d[^"]*)"', page)
    assert len(ids) == len(set(ids)) == 3
    with pytest.raises(ValueError, match="a <script> element"):
        Figure(Chart(SVG, "<svg><script>1</script></svg>"))
    assert copy.deepcopy(CHART).narrow == pickle.loads(pickle.dumps(CHART)).narrow == CHART.narrow


def test_markdown_links_charts_that_stand_alone():
    report = Report("t", [Section("s", [Figure(CHART, "what it shows"), Paragraph("a"), Figure(SVG, "b|c")])])
    files = chart_files(report)
    assert list(files) == ["chart-01.svg", "chart-02.svg"]
    text = render_markdown(report, charts="charts")
    assert "![wide \\& flat](charts/chart-01.svg)\n\n*what it shows*" in text
    assert "![b\\|c](charts/chart-02.svg)" in text
    assert "](charts/" not in render_markdown(report)
    ElementTree.fromstring(files["chart-01.svg"])
    assert "prefers-color-scheme: dark" in files["chart-01.svg"] and "--series-6" in files["chart-01.svg"]
    assert '<rect x="0" y="0" width="80" height="40"' in files["chart-01.svg"]


def test_photos_say_what_they_show():
    photo = Photo(JPEG, "p1", [Tag("hat", "hit"), Tag("shoe", "miss"), Tag("red", "hit")])
    assert photo.description == "p1: found: hat, red; missed: shoe"
    assert 'alt="p1: found: hat, red; missed: shoe"' in render_html(Report("t", [Section("s", [ImageGrid([photo])])]))


def test_numbers_bring_all_their_digits_for_sorting():
    columns = ["m", Column("score", "score"), Column("gain", "gain"), Column("limits", "interval")]
    page = render_html(Report("t", [Section("s", [Table(columns, [["a", 0.12345, None, "[.1]"], ["b", 1, 0.5, ""]])])]))
    assert 'data-v="0.12345">.123<' in page and 'data-v="1.0">1.000<' in page and 'data-v="0.5">+.500<' in page
    assert page.count("data-v=") == 3
    assert re.findall(r'<th[^>]*data-sort="(\w+)"', page) == ["text", "number", "number"]
