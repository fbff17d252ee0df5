"""How Sphinx builds the documentation site: `make site`, which writes docs/_build/html/index.html.

Pages are Markdown that a code host shows as it is. Those in folders (tutorials/, how-to/, explanation/, reference/) are
run while the site is built, block by block; a block that fails fails the build. The gallery is made of examples/*.py.
Pages at the root of docs/ are shown as written, and tested by tests/test_readme.py.
"""

import os
import re
import sys
import warnings
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

from gallery_figures import figure_scraper, keep_examples_apart  # noqa: E402 - lies in _ext
from generated_pages import earlier_names, write_generated_pages  # noqa: E402

project = "labelstack"
author = copyright = "The labelstack developers"
version = release = installed_version("labelstack")
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
    "executed_pages",
]
exclude_patterns = ["_build", "_ext", "_templates", "images/*.py", "gallery/*.md5", "gallery/*.ipynb", "gallery/*.py"]
templates_path = ["_templates"]
default_role = (
    "py:obj"  # names in single backticks, as docstrings have them, become links where there is something to link to
)
nitpicky = False

# Pages
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_custom_formats = {".md": "executed_pages.read_page"}
nb_execution_mode = "force"
nb_execution_excludepatterns = [f"{HERE.name}/{path.name}" for path in HERE.glob("*.md")]
nb_execution_in_temp = True
nb_execution_raise_on_error = False  # it is a warning, which -W makes an error, and all pages are seen
nb_execution_show_tb = True
nb_execution_timeout = 600
nb_merge_streams = True  # what a command prints in several pieces is one block
nb_output_stderr = "remove"  # progress and hints of the commands
os.environ["SHELLOPTS"] = "errexit:pipefail"  # a block of commands fails with the first that fails
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # the command labelstack
os.environ.update(COLUMNS="80", OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE", TQDM_DISABLE="1")

# Reference
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say it
numpydoc_show_class_members = False

# Gallery
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"^(?!plot_)\w+\.py$",  # scripts to take along, without a picture
    "abort_on_example_error": True,
    "image_scrapers": (figure_scraper,),
    "reset_modules": (keep_examples_apart,),
    "capture_repr": ("_repr_html_", "__repr__"),
    "ignore_repr_types": r"matplotlib",
    "min_reported_time": 60,
    "show_signature": False,
    "remove_config_comments": True,
    "within_subsection_order": "FileNameSortKey",
    "copyfile_regex": r"^$",
}
# Files that Sphinx watches between builds cannot be pickled with functions in the configuration.
suppress_warnings = ["config.cache"]
warnings.filterwarnings("ignore", category=UserWarning, message=".*Matplotlib is currently using agg.*")

# Looks
html_title = "labelstack"
html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
}
linkcheck_timeout = 20
linkcheck_anchors = False


def setup(app: Any) -> None:
    """Write the pages that the build makes before Sphinx looks for pages."""
    write_generated_pages(HERE)
    hidden = earlier_names()

    def skip_member(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
        """Leave out names of earlier versions, and what scikit-learn puts into each of its classes."""
        return True if name in hidden or re.fullmatch(r"set_\w+_request|get_metadata_routing", name) else None

    app.connect("autodoc-skip-member", skip_member)
