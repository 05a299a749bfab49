"""A table in the form that was asked for."""

from __future__ import annotations

from typing import Any, Literal

from dlreg.report import data, latex, markdown, terminal
from dlreg.report.table import Table

Format = Literal["rich", "md", "latex", "csv", "json", "html"]
FORMATS: tuple[Format, ...] = ("rich", "md", "latex", "csv", "json", "html")
_FORMS = {
    "rich": terminal.rich, "md": markdown.markdown, "latex": latex.latex, "csv": data.to_csv, "json": data.to_json
}  # fmt: skip


def render(table: Table, style: Format) -> Any:
    """A rich renderable for `rich`, else text."""
    if style == "html":
        from dlreg.report.html import page  # jinja2 comes with it

        return page(table)
    return _FORMS[style](table)
