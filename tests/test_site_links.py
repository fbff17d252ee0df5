"""The check of the built site finds links that lead nowhere, and no others."""

import importlib.util
from pathlib import Path

source = importlib.util.spec_from_file_location("check_links", Path(__file__).parents[1] / "docs" / "check_links.py")
check_links = importlib.util.module_from_spec(source)
source.loader.exec_module(check_links)


def test_links_to_missing_files_and_places_are_found(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "page.html").write_text('<h1 id="top">A page</h1><a href="../index.html#here">back</a>')
    links = (
        "inner/page.html#top",
        "inner/page.html#lost",
        "gone.html",
        "https://example.org/",
        "#here",
        "#lost",
        "a%20b.png",
    )
    (tmp_path / "a b.png").write_bytes(b"")
    (tmp_path / "index.html").write_text('<p id="here"></p>' + "".join(f'<a href="{link}">.</a>' for link in links))
    found = check_links.broken_links(tmp_path)
    assert found == [f"index.html: {link}" for link in ("inner/page.html#lost", "gone.html", "#lost")]
