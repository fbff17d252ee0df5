"""Run the blocks of Markdown pages: ```python in one kernel per page, ```bash in the same folder.

jupytext reads a page as a notebook, myst-nb runs it and shows what each block gives. What is here joins the two: a page
needs no header for it, and a block of commands shows no ``%%bash``.
"""

import re
from typing import Any

import jupytext
import myst_nb.core.render
import nbformat
from docutils import nodes
from generated_pages import MEASUREMENTS

HEADER = """---
jupyter:
  kernelspec: {display_name: Python 3, language: python, name: python3}
---
"""
# Pages link to files of the repository by path, as the code host shows them. These have a page in the site.
PAGES_OF_FILES = {
    "../CHANGELOG.md": "reference/changelog.md",
    "../CONTRIBUTING.md": "reference/contributing.md",
    "../SECURITY.md": "reference/security.md",
    **{f"../experiments/results/{name}.md": f"reference/measurements/{name}.md" for name in MEASUREMENTS},
}


def read_page(text: str) -> nbformat.NotebookNode:
    """Read a page as a notebook of Python whose bash blocks are cells with the magic for them."""
    return jupytext.reads(HEADER + text, fmt="md")


def link_to_pages(app: Any, docname: str, source: list[str]) -> None:
    """Turn links to files of the repository into links to their pages."""
    for file, page in PAGES_OF_FILES.items():
        up = "../" * docname.count("/")
        source[0] = source[0].replace(f"]({up}{file}", f"]({up}{page}")


def show_commands_alone(app: Any, doctree: nodes.document) -> None:
    """Take the magic off the blocks of commands."""
    for block in doctree.findall(nodes.literal_block):
        if block.astext().startswith("%%bash\n"):
            text = re.sub(r"\A%%bash\n", "", block.astext())
            block.rawsource, block["language"] = text, "bash"
            block.children = [nodes.Text(text)]


def join_streams(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join what a block printed; myst-nb's own joining ends a line wherever the kernel sent a piece."""
    joined: list[nbformat.NotebookNode] = []
    streams: dict[str, nbformat.NotebookNode] = {}
    for output in outputs:
        first = streams.get(output.get("name", ""))
        if output["output_type"] != "stream":
            joined.append(output)
        elif first is None:
            streams[output["name"]] = output
            joined.append(output)
        else:
            first["text"] += output["text"]
    return joined


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    myst_nb.core.render.coalesce_streams = join_streams
    app.connect("source-read", link_to_pages)
    app.connect("doctree-read", show_commands_alone)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
