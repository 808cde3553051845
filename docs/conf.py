"""How the documentation is built: offline, every name that is written resolved."""

from __future__ import annotations

import builtins
from importlib.metadata import version as version_of
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

project = "unfussy"
author = "the unfussy authors"
project_copyright = "2026, the unfussy authors"
version = release = version_of("unfussy")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
default_role = "py:obj"  # in docstrings, `names` link

html_theme = "furo"
html_title = f"unfussy {version}"
html_copy_source = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {
    name: f"~unfussy.{name}" for name in ("DeviceLike", "ImageLike", "TensorLike")
}
copybutton_exclude = ".linenos, .gp, .go"

# Nothing outside is linked: that would take the network.
nitpick_ignore_regex = [
    ("py:.*", "|".join(dir(builtins))),
    ("py:.*", r"(collections|contextlib|np|numpy|nn|os|pathlib|torch|typing)\..*"),
    ("py:.*", r"(hypothesis\.strategies|st)\..*|Array"),
    ("py:.*", r"(unfussy\..*\.)?[A-Z]"),  # type variables
    # Names in annotations.
    ("py:class", r"unfussy\..*\._?(Head|Layer|Plan|Shapes|Target)"),
    ("py:class", r"unfussy\..*\.(PhotoFiles|ReadingOptions|WalkFiles)"),
    ("py:class", "Image|Level|Path|Progress|Tensor|TypeAliasForwardRef|Way"),
]


def link_public_name(
    app: Sphinx,
    env: BuildEnvironment,
    node: pending_xref,
    text: nodes.TextElement,
) -> nodes.reference | None:
    """Look for ``unfussy._plan.Plan``, and for ``Plan``, as ``unfussy.Plan`` too."""
    target = node.get("reftarget", "")
    *modules, name = target.split(".")
    outer = [".".join([*modules[:n], name]) for n in range(len(modules) - 1, 0, -1)]
    where = (env, node["refdoc"], app.builder, "obj")
    for candidate in [*outer, f"unfussy.{target}"]:
        found = env.domains.python_domain.resolve_xref(*where, candidate, node, text)
        if found is not None:
            return found
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("missing-reference", link_public_name)
    return {"parallel_read_safe": True}
