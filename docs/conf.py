"""How the documentation site is built: `make docs`. Nothing is fetched from a network."""

from sphinx.application import Sphinx
from sysopt_gym.core.version import __version__

project = "sysopt-gym"
release = version = __version__
copyright = "the sysopt-gym authors, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["curves/*/*"]
# Headings can be linked to as on GitHub, and links that lead nowhere are warnings.
myst_heading_anchors = 4
highlight_language = "none"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "code"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}

html_theme = "furo"
html_title = f"sysopt-gym {version}"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}


def leave_out_pages(
    app: object, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Cut an environment's docstring off where its page begins (docs/environments).

    Args:
        app: Sphinx.
        what: kind of the object, such as "class".
        name: its full name.
        obj: the object.
        options: of the directive.
        lines: the docstring, which is changed in place.
    """
    for row, line in enumerate(lines):
        if line.startswith("## "):
            del lines[row:]
            return


def setup(app: Sphinx) -> None:
    """Join Sphinx.

    Args:
        app: Sphinx.
    """
    app.connect("autodoc-process-docstring", leave_out_pages)
