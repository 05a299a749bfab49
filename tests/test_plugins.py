"""Every example of code of one's own, in the README and on the site, is written as it stands there and run as it says."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from dlreg.study.plan import Request, plan

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "site").glob("*.md"))]
FILE = re.compile(r"`([\w./]+\.(?:py|yaml))`[^\n`]*\n\n```\w*\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"`DLREG_PLUGINS=(\w+) (dlreg train --config-dir myconf [^`]+)`")
SMALL = ["epochs=2", "data.train_size=128", "device=cpu"]


def examples():
    """`(title, package, words, {file: text})` of each: its files stand above its command, and below the command before."""
    for page in PAGES:
        text, start = page.read_text(), 0
        for command in COMMAND.finditer(text):
            files = dict(FILE.findall(text[start : command.start()]))
            yield pytest.param(command[1], shlex.split(command[2])[1:], files, id=f"{page.stem}-{command[1]}")
            start = command.end()


@pytest.mark.parametrize(("package", "words", "files"), [*examples()])
def test_an_example_of_code_of_ones_own(package, words, files, spoken, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLREG_PLUGINS", package)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, package, None)  # so that what is imported below is forgotten afterwards
    del sys.modules[package]
    assert files, "the example has no files"
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    given = {word.partition("=")[0] for word in words}
    small = [word for word in SMALL if word.partition("=")[0] not in given]
    if any(word.startswith("data=") for word in words):
        small.remove("data.train_size=128")
    status, out, err = spoken(*words, *small)
    assert status == 0, err
    assert out.startswith("done ") and "failed" not in out
    if package == "mylog":
        diary = next((tmp_path / "outputs").glob("*/diary.txt")).read_text()
        assert diary.count("epoch ") == 2 and "done: test error 0." in diary


def test_the_readmes_studies_of_ones_own(spoken, tmp_path, monkeypatch):
    """The short one runs, and the long one, which shows what a file may hold, can be planned."""
    monkeypatch.chdir(tmp_path)
    section = (ROOT / "README.md").read_text().split("\n## Your own study\n")[1].split("\n## ")[0]
    for name, text in FILE.findall(section):
        (tmp_path / name).write_text(text)
    status, out, err = spoken("study", "dropout.yaml", "seeds=[0]", "model.hidden=[16]", *SMALL)
    assert status == 0, err
    assert "How much dropout?" in out and "reg=dropout reg.dropout.p=0.2" in out
    planned = plan(Request(tmp_path / "rates.yaml", "laptop"))
    assert len(planned.trial_cells) == 2 and len(planned.cells) == 3 * 3
