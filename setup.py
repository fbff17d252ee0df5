"""The description that package indexes show: the README, with paths where its links into the repository lead nowhere.

All else is in ``pyproject.toml``.
"""

import re
from pathlib import Path

from setuptools import setup


def describe(readme: str) -> str:
    """Leave out pictures of the repository, write links into it as paths, and say where these are."""
    shown = re.sub(r"!\[[^]]*\]\((?!https:)[^)]*\)\n+", "", readme)
    shown = re.sub(r"\[([^]]*)\]\((?!https:)([^)]*)\)", r"\1 (`\2`)", shown)
    return f"{shown}\nPaths such as `docs/index.md` are those of the repository and of the source distribution.\n"


if __name__ == "__main__":
    text = (Path(__file__).parent / "README.md").read_text("utf-8")
    setup(long_description=describe(text), long_description_content_type="text/markdown")
