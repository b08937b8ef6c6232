"""How the documentation site is built: `make docs`. Nothing is fetched from a network."""

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

# The reference is made where neither training nor deployment is installed.
autodoc_mock_imports = ["ray", "torch", "torch_geometric", "safetensors", "flwr"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"sysopt-gym {version}"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
