"""The site: pages from cards and studies, pictures, then Sphinx with warnings as errors. ./scripts/docs --help"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

import docs_pages
import docs_pictures
from jinja2 import Environment, FileSystemLoader, StrictUndefined

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "docs" / "site"


def main() -> int:
    """Write the sources into build/docs, then the site into build/site."""
    parser = argparse.ArgumentParser("./scripts/docs", description="Build the site into build/site.")
    parser.add_argument("--sources", action="store_true", help="write the pages into build/docs and stop")
    arguments = parser.parse_args()
    os.environ.pop("DLREG_DATA", None)  # the pages show defaults, not this machine's
    sources = ROOT / "build" / "docs"  # as deep as docs/site, so that paths to the repository's files hold in both
    shutil.rmtree(sources, ignore_errors=True)
    shutil.copytree(SITE, sources, ignore=shutil.ignore_patterns("*.md", "_templates", "__pycache__"))
    pages = write(sources, docs_pages.Catalogue.of(ROOT))
    docs_pictures.draw(sources)
    print(f"wrote {len(pages)} pages into {sources}", file=sys.stderr)
    return 0 if arguments.sources else sphinx(sources, ROOT / "build" / "site")


def write(sources: Path, catalogue: docs_pages.Catalogue) -> list[Path]:
    """Every page, as Markdown."""
    loader = FileSystemLoader([SITE / "_templates", SITE])
    jinja = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    written = []
    for name, template, values in docs_pages.pages(catalogue):
        path = sources / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(jinja.get_template(template).render(values), encoding="utf-8")
        written.append(path)
    return written


def sphinx(sources: Path, site: Path) -> int:
    """Build; a warning is an error, and all of them are shown."""
    from sphinx.cmd.build import build_main

    shutil.rmtree(site, ignore_errors=True)
    status = build_main(["-q", "-W", "--keep-going", "-n", "-E", "-d", f"{sources}.cache", str(sources), str(site)])
    if not status:
        print(f"the site: {site / 'index.html'}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
