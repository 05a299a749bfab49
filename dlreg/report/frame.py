"""The frame of every HTML page: head, style, the script that sorts tables. A page loads nothing and runs nothing else."""

from __future__ import annotations

import base64
import hashlib

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

# Okabe and Ito's eight colours, which the colour-blind can tell apart, minus yellow, plus line patterns when they run out.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
ON_DARK = ("#3D9BE0", "#F07F3C", "#1FBF92", "#DE97BD", "#E69F00", "#7CC7F2", "#FFFFFF")
ENVIRONMENT = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def framed(title: str, body: str) -> str:
    """A page of its own out of its title and its content, which was escaped where it was made."""
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(STYLE)}'; script-src '{_hash(SCRIPT)}'"
    return _FRAME.render(title=title, body=Markup(body), style=Markup(STYLE), script=Markup(SCRIPT), policy=policy)


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _pens(colours: tuple[str, ...]) -> str:
    return " ".join(f".c{i} {{ --c: {colour} }}" for i, colour in enumerate(colours))


STYLE = f"""
:root {{ color-scheme: light dark; --paper: #fff; --ink: #111; --rule: #ddd; --accent: #0072B2; --heat: 0,114,178 }}
{_pens(COLOURS)}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: #15171a; --ink: #e8e8e8; --rule: #3b3f45; --accent: #7CC7F2; --heat: 61,155,224 }}
  {_pens(ON_DARK)}
}}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem;
  background: var(--paper); color: var(--ink); overflow-wrap: break-word }}
a {{ color: var(--accent) }} h1 {{ font-size: 1.5rem }} h2 {{ font-size: 1.2rem; margin-top: 2rem }}
table {{ border-collapse: collapse; margin: 1rem 0 }} caption {{ text-align: left; padding-bottom: .4rem; white-space: nowrap }}
th, td {{ padding: .25rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule) }}
thead th {{ border-bottom: 2px solid var(--ink) }} tbody th {{ font-weight: normal }}
th button {{ all: unset; cursor: pointer; font-weight: bold }}
th button:focus-visible, .wide:focus-visible, a:focus-visible {{ outline: 2px solid var(--accent) }}
th[aria-sort="ascending"] button::after {{ content: " ↑" }} th[aria-sort="descending"] button::after {{ content: " ↓" }}
.word {{ text-align: left; white-space: normal }} .best {{ font-weight: bold }}
.wide {{ overflow-x: auto }} figure {{ display: inline-block; vertical-align: top; margin: 0 1rem 1rem 0; max-width: 100% }}
figcaption {{ text-align: center }} .sample figcaption {{ font-size: 12px; max-width: 7rem }}
svg {{ max-width: 100%; height: auto }} svg text {{ font: 11px system-ui, sans-serif; fill: currentColor }}
svg .axis {{ stroke: var(--ink); stroke-opacity: .45; fill: none }} svg .grid {{ stroke: var(--rule) }}
svg .line {{ stroke: var(--c, var(--accent)); fill: none }} svg .mark {{ fill: var(--c, var(--accent)) }}
svg .edge, svg circle {{ stroke: var(--paper); stroke-width: .7 }}
img {{ image-rendering: pixelated; display: block; margin: auto; border: 1px solid var(--rule) }}
.heat td {{ padding: .2rem .45rem; border: 0 }} .heat th {{ border: 0 }}
{" ".join(f".h{i} {{ background: rgba(var(--heat), {i / 12:.2f}) }}" for i in range(10))}
dt {{ font-weight: bold; float: left; margin-right: .5em }} dd {{ margin: 0 0 .35rem }}
.columns {{ columns: 17rem }} .columns dd {{ break-inside: avoid }}
.legend {{ list-style: none; padding: 0 }} .legend li {{ display: inline-block; margin-right: 1.2rem }}
tbody + tbody tr:first-child td {{ border-top: 2px solid var(--ink) }}
.legend svg {{ vertical-align: middle }} nav a {{ margin-right: 1em }}
@media (max-width: 30rem) {{ body {{ margin: 1rem auto }} th, td {{ padding: .2rem .45rem }} }}
@media print {{ body {{ margin: 0; max-width: none }} }}
"""

SCRIPT = """
for (const button of document.querySelectorAll("th button")) button.onclick = () => {
  const th = button.parentNode, i = th.cellIndex;
  const up = th.getAttribute("aria-sort") !== "ascending";
  for (const other of th.parentNode.cells) other.removeAttribute("aria-sort");
  th.setAttribute("aria-sort", up ? "ascending" : "descending");
  const text = row => row.cells[i].dataset.key ?? row.cells[i].textContent;
  const key = row => text(row) === "" || isNaN(text(row)) ? text(row) : Number(text(row));
  const order = (a, b) => typeof a !== typeof b ? (typeof a === "number" ? -1 : 1)
    : typeof a === "number" ? a - b : a.localeCompare(b);
  for (const body of th.closest("table").tBodies)
    [...body.rows].sort((a, b) => (up ? 1 : -1) * order(key(a), key(b))).forEach(row => body.append(row));
};
"""

_FRAME = ENVIRONMENT.from_string(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<main>
<h1>{{ title }}</h1>
{{ body }}
</main>
<script>{{ script }}</script>
</body>
</html>"""
)
