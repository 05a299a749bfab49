"""What a registry's page needs and a clone does not: where the project lives, and a README whose links are whole.

Read by the build (`[tool.hatch.metadata.hooks.custom]` in pyproject.toml), which is told the address, as a fork has another:
DLREG_HOME=https://forge.example/owner/dlreg python -m build
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE = re.compile(r"(!?)(\[[^\]]*\])\((?!https?:|#|mailto:)([^)\s]+)\)")


class Addresses(MetadataHookInterface):
    """Sets the fields `readme` and, if an address was given, `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        if home := os.environ.get("DLREG_HOME", "").rstrip("/"):
            text = whole(text, home)
            metadata["urls"] = {
                "Source": home,
                "Issues": f"{home}/issues",
                "Changelog": f"{home}/blob/main/CHANGELOG.md",
                "Results": f"{home}/blob/main/docs/results/README.md",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def whole(text: str, home: str) -> str:
    """Markdown whose relative links lead to the repository's pages, and whose pictures to its files."""
    return RELATIVE.sub(lambda m: f"{m[1]}{m[2]}({home}/{'raw' if m[1] else 'blob'}/main/{m[3]})", text)
