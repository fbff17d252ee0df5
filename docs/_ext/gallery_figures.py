"""Show figures in the gallery as a notebook does: those of pyplot, and those that an expression or a name holds.

The charts of the package are matplotlib figures of no pyplot, which sphinx-gallery's own scraper does not see.
"""

from typing import Any

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

_shown: set[int] = set()


def figure_scraper(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save each figure that a block has made."""
    made = [plt.figure(number) for number in plt.get_fignums()]
    for value in block_vars["example_globals"].values():
        if isinstance(value, Figure) and id(value) not in _shown and all(value is not figure for figure in made):
            made.append(value)
    paths = []
    for figure in made:
        _shown.add(id(figure))
        path = next(block_vars["image_path_iterator"])
        figure.savefig(path, dpi=130, bbox_inches="tight", facecolor="white")
        paths.append(path)
    plt.close("all")
    return figure_rst(paths, gallery_conf["src_dir"])


def keep_examples_apart(gallery_conf: dict[str, Any], fname: str) -> None:
    """Give every example a fresh pyplot in one look."""
    matplotlib.use("agg")
    plt.close("all")
    plt.rcdefaults()
    plt.rcParams.update(
        {"figure.figsize": (7, 4), "axes.spines.top": False, "axes.spines.right": False, "font.size": 10.5}
    )
    _shown.clear()
