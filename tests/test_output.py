"""Files that a user names: written whole, and an earlier one is not lost in silence, by whichever command."""

import re
from pathlib import Path

import pytest

import dlreg
from dlreg import ui
from dlreg.commands.output import write
from dlreg.errors import UserError


def test_what_is_lost_is_said_and_nothing_else(tmp_path, capsys):
    path = tmp_path / "plot.png"
    for content, said in ((b"a", False), (b"a", False), (b"b", True)):
        write(path, content)
        assert path.read_bytes() == content
        assert ("was there, with another content, and was replaced" in capsys.readouterr().err) == said
    with pytest.raises(UserError, match=r"--plot .*missing/plot.png cannot be written: No such file"):
        write(tmp_path / "missing" / "plot.png", b"a", "--plot")


def test_commands_write_by_no_other_way():
    """A study of `dlreg tune` lies beside its runs: nobody named it."""
    ways = re.compile(r"write_(?:bytes|text|atomic|json)\(|\.savefig\(\w*path|\bopen\([^)]*[\"']w")
    found = {
        path.name for path in (Path(dlreg.__file__).parent / "commands").glob("*.py") if ways.search(path.read_text())
    }
    assert found == {"output.py", "tune.py"}


def test_a_bar_is_for_a_terminal(capsys):
    with ui.bar("pages", 2) as advance:
        advance()
    assert capsys.readouterr() == ("", "")
