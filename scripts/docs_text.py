"""Docstrings, and sections of the repository's Markdown files, as the Markdown of a page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from docs_formula import latex

from dlreg.config.card import FORMULA, addresses

CODE = re.compile(r"(`[^`]+`)")
LINK = re.compile(r"(?P<before>\[[^\]]*\]\()(?P<target>[^)\s]+)(?P<after>\))")
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)


def from_docstring(text: str) -> str:
    """Displayed formulas on lines of their own, the others in theirs, addresses as links."""
    pieces, at = [], 0
    for found in FORMULA.finditer(text):
        pieces.append(prose(text[at : found.start()]))
        if found["displayed"]:
            pieces.append(f"\n\n$$\n{latex(found['displayed'])}\n$$\n\n")
        else:
            pieces.append(f"${latex(found['inline'])}$")
        at = found.end()
    joined = "".join([*pieces, prose(text[at:])])
    return re.sub(r"\n\$\$\n\n[.,;:] ?", "\n$$\n\n", joined).strip()  # a displayed formula ends its line by itself


def prose(text: str) -> str:
    """Prose: code stays code, addresses become links, and what Markdown would take for markup is escaped."""
    return "".join(part if part.startswith("`") else _linked(part) for part in CODE.split(text))


def _linked(text: str) -> str:
    """A text without code, escaped, its addresses as links."""
    done, at = "", 0
    for start, address in addresses(text):
        done += escaped(text[at:start]) + f"<{address}>"
        at = start + len(address)
    return done + escaped(text[at:])


def escaped(text: str) -> str:
    """A text without markup, but for *emphasis*."""
    return re.sub(r"([\[\]<>$|{}~_\\])", r"\\\1", text)


def cell(text: str) -> str:
    """Code in a cell of a table."""
    return "`" + text.replace("|", r"\|") + "`"


def section(path: Path, heading: str) -> str:
    """What stands under a heading of a Markdown file, up to the next one; under a file's title, up to its first section.

    Raises:
        KeyError: the file has no such heading.
    """
    text = path.read_text(encoding="utf-8")
    fenced = [span.span() for span in re.finditer(r"^```.*?^```$", text, re.DOTALL | re.MULTILINE)]
    heads = [h for h in HEADING.finditer(text) if not any(a <= h.start() < b for a, b in fenced)]
    for i, head in enumerate(heads):
        if head[2] == heading:
            ends = (h.start() for h in heads[i + 1 :] if len(h[1]) <= max(2, len(head[1])))
            return text[head.end() : next(ends, len(text))].strip()
    raise KeyError(f"{path.name} has no section {heading!r}")


def relinked(text: str, folder: str, pages: Mapping[str, str], depth: int) -> str:
    """A file's Markdown with its links as seen from a page `depth` folders down: to pages where there are some."""

    def moved(found: re.Match[str]) -> str:
        target = found["target"]
        if target.startswith(("http://", "https://", "#")):
            return found[0]
        name = str(PurePosixPath(folder) / target)
        to = "../" * depth + pages[name] if name in pages else "../" * (depth + 2) + name
        return found["before"] + to + found["after"]

    return LINK.sub(moved, text)
