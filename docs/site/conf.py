"""Sphinx: Markdown by MyST, Furo's clothes, formulas as MathML, which browsers set without a script."""

from __future__ import annotations

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

project = "dlreg"
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath", "deflist", "attrs_block"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "dlreg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
smartquotes = False  # two hyphens are an option of a command
highlight_language = "text"
pygments_dark_style = "github-dark"


def mathml(node: nodes.math | nodes.math_block, block: bool) -> str:
    """A formula. A prime is no operator, around which browsers would put room, and stands high by itself."""
    return tex2mathml(node.astext(), as_block=block).replace("<mo>'</mo>", "<mi>′</mi>")


def inline(self: HTML5Translator, node: nodes.math) -> None:
    """A formula in a line."""
    self.body.append(mathml(node, block=False))
    raise nodes.SkipNode


def displayed(self: HTML5Translator, node: nodes.math_block) -> None:
    """A formula on lines of its own."""
    self.body.append(f'<div class="formula">{mathml(node, block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """MathML as a renderer of formulas."""
    app.add_html_math_renderer("mathml", (inline, None), (displayed, None))
