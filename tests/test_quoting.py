"""Every command that README, site and help print can be pasted into bash, zsh and fish."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dlreg.cli import HELP

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "site").glob("*.md"))]
COMMAND = re.compile(r"^\s*((?:DLREG_\w+=\S+ )?(?:\./scripts/)?dlreg [a-z]\S*.*?)(?:\s{2,}.*|\s+#.*)?$", re.MULTILINE)
INLINE = re.compile(r"`((?:DLREG_\w+=\S+ )?dlreg [a-z][^`\n]*)`")
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def commands():
    """Every line of a block, and every piece of code in a sentence, that begins with the command."""
    found = COMMAND.findall(HELP) + COMMAND.findall((ROOT / "conf" / "config.yaml").read_text())
    for page in PAGES:
        text = page.read_text()
        for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            found += COMMAND.findall(block)
        found += INLINE.findall(text)
    return [c for c in dict.fromkeys(found) if "[-m]" not in c and "[ARGUMENTS]" not in c]


def test_no_shell_takes_a_command_apart():
    """Outside quotes there is nothing that bash, zsh or fish expand: brackets, stars, braces, parentheses, signs."""
    assert len(commands()) > 30
    bad = [c for c in commands() if re.search(r"[\[\]*?(){}<>~&;!$]", QUOTED.sub("", c).replace(" | ", " "))]
    assert bad == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_read_them(shell, tmp_path):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "commands"
    script.write_text("\n".join(commands()) + "\n")
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
