"""Check that every link inside the built site leads to a file, and to a place in it that is there.

``python docs/check_links.py docs/_build/html`` lists what leads nowhere, and ends with 1 if there is anything.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and the places that others can link to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note links, sources and names."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name == "id" and value:
                self.places.add(value)


def broken_links(site: Path) -> list[str]:
    """List links that lead nowhere, as ``page: link``."""
    files = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]  # there lie templates
    pages = {path.resolve(): Page(path.read_text("utf-8")) for path in files}
    found = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment)
            missing_place = place and target in pages and place not in pages[target].places
            if not target.exists() or missing_place:
                found.append(f"{path.relative_to(site.resolve())}: {link}")
    return found


if __name__ == "__main__":
    broken = broken_links(Path(sys.argv[1]))
    print("\n".join([*broken, f"{len(broken)} links inside the site lead nowhere."]))
    sys.exit(bool(broken))
