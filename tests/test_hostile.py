"""What comes from outside: command lines, files, streams, signals. Each section is a table: one more case is one more row.

The rules: a refusal is exit status 2 and one line on stderr; nothing is run, nothing is written, no code of a config is
executed; and what a person sees never decides over a run.
"""

import csv
import io
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from results import fixed
from test_plan import STUDY

from dlreg.cli import main
from dlreg.report.judge import compare
from dlreg.report.render import FORMATS, render
from dlreg.run.result import read_all

SMALL = ["epochs=2", "data.train_size=128", "model.hidden=[16]", "threads=1", "device=cpu"]
CANARY = "from pathlib import Path\nPath('executed').touch()\n"
SECRET = "hunter2"
EXECUTES = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.putenv",
    "os.unsetenv",
    "subprocess.Popen",
    "pickle.find_class",
)
_watching: list[str] | None = None  # what was executed, while a test looks


def _audit(event, args):
    if _watching is not None and (event in EXECUTES or (event == "import" and args[0] == "canary")):
        _watching.append(f"{event} {args}")


sys.addaudithook(_audit)


@pytest.fixture
def dlreg(tmp_path, monkeypatch, spoken):
    """dlreg("train", ...) -> (exit status, stdout, stderr), from a folder with a canary in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLREG_TEST_SECRET", SECRET)
    (tmp_path / "canary.py").write_text(CANARY)
    (tmp_path / "mine.yaml").write_text(STUDY)

    return spoken


@pytest.fixture
def refuses(dlreg, tmp_path, monkeypatch):
    """refuses("train", ...): status 2, one line that says why, and not a trace of anything else. Returns the line."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # so that dlreg itself has no variable left to set

    def check(*argv, says=""):
        global _watching
        before = {path for path in tmp_path.rglob("*")}
        _watching = executed = []
        try:
            status, out, err = dlreg(*argv)
        finally:
            _watching = None
        assert (status, out) == (2, ""), (status, out, err)
        assert err.startswith(f"dlreg {argv[0]}: ") and err.count("\n") == 1 and err.endswith("\n"), err
        assert len(err) < 700 and "Traceback" not in err and SECRET not in err
        assert says in err, err
        assert not [event for event in executed if "DLREG" in event or "os.putenv" not in event], executed
        assert {path for path in tmp_path.rglob("*") if path.name != "__pycache__"} == before
        return err

    return check


# ---------------------------------------------------------------------------------------------- command lines

COMMAND_LINES = [  # what is typed after `dlreg`
    "train +hydra.job.env_set={DLREG_PLUGINS:canary}",
    "train ++hydra.job.env_set.DLREG_PLUGINS=canary",
    "train +hydra.job.env_copy=[DLREG_TEST_SECRET]",
    "train +hydra.callbacks.x={_target_:torch.hub.load,source:local,repo_or_dir:.,model:canary}",
    "train +hydra.callbacks.x._target_=canary.x",
    "train hydra.job_logging={version:1,handlers:{f:{class:logging.FileHandler,filename:written}}}",
    "train hydra/job_logging=default",
    "train hydra/hydra_logging=default",
    "train hydra.verbose=true",
    "train hydra.output_subdir=written",
    "train hydra.run.dir=written",
    "train hydra.sweep.dir=written -m",
    "train hydra.sweep.subdir=../written -m",
    "train hydra.job.chdir=true",
    "train hydra.mode=MULTIRUN",
    "train hydra.searchpath=[pkg://canary]",
    "train hydra.sweeper._target_=canary.x -m",
    "train hydra/sweeper=basic -m",
    "train +hydra.sweeper.params={seed:1} -m",
    "train hydra.launcher._target_=canary.x -m",
    "train +hydra.launcher.x={_target_:canary.x} -m",
    "train +hydra.launcher.x=[{_target_:canary.x}] -m",
    "train ~hydra.run",
    "train ~hydra/launcher",
    "train +reg@hydra.callbacks=dropout",
    "train +reg@_global_.hydra=dropout",
    "train +hydra={x:1}",
    "train -m seed=0,1 +hydra.job.env_set={DLREG_PLUGINS:canary}",
    "study mine.yaml +hydra.callbacks.x._target_=canary.x",
    "study mine.yaml hydra.run.dir=written",
    "show reg=dropout +hydra.callbacks.x._target_=canary.x",
    "landscape optimizer.x=1 hydra.run.dir=written",
    # flags that are not dlreg's, or not written out
    "train --experimental-rerun x.pickle",
    "train --experimental-rerun=x.pickle",
    "train --experimental-reru x.pickle",
    "train --exp x.pickle",
    "train -- --experimental-rerun=x.pickle",
    "train --config-path=.",
    "train -cp .",
    "train --config-name canary",
    "train --config-nam canary",
    "train --multi",
    "train -mcjob",
    "train --cfg none",
    "train --cfg",
    "train --info=everything",
    "train -cd nowhere",
    "train -cd",
    "train -cd=mine.yaml",
    "study mine.yaml --dry",
    "study mine.yaml --job 2",
    "study mine.yaml --jobs two",
    "table --form csv",
    "plot --kin dots",
    "landscape --out x.png",
    # resolvers
    "train optimizer.lr=${oc.env:DLREG_TEST_SECRET}",
    "train data.root=${oc.env:DLREG_TEST_SECRET}",
    "train reg=${oc.env:DLREG_TEST_SECRET}",
    "train optimizer.lr=${${sampler}:x}",
    "train optimizer.lr=${oc.decode:'1'}",
    "train outputs=${now:%Y}",
    "train outputs=${hydra:runtime.cwd}",
    "train -m seed=${oc.env:DLREG_TEST_SECRET},1",
    "train --cfg job --resolve data.root=${oc.env:DLREG_TEST_SECRET}",
    "study mine.yaml data.root=${oc.env:DLREG_TEST_SECRET}",
    # one key twice
    "train reg=dropout reg=l2",
    "train epochs=1 epochs=2",
    "train epochs=1 ++epochs=2",
    "train reg=dropout reg.dropout.p=0.1 reg.dropout.p=0.2",
    "train -m seed=0,1 seed=2",
    "study mine.yaml optimizer.lr=0.1 optimizer.lr=0.2",
    "study mine.yaml seeds=1 seeds=2",
    "landscape optimizer=sgd optimizer=adam",
    # a second name for one thing
    "train optimizer=../optimizer/sgd",
    "train reg=../reg/dropout",
    "train reg=[dropout,../reg/dropout]",
    "train reg=[dropout,dropout]",
    "train -m reg=none,[dropout,dropout]",
    "train -m optimizer=adam,../optimizer/sgd",
    "train model=/model/mlp",
    # sizes of another world
    "train threads=100000",
    "train epochs=1000000000000",
    "train model=lenet norm=group norm.groups=1000000000000",
    "train model.hidden=[1000000000000]",
    "train seed=" + "9" * 5000,
    "train optimizer.lr=" + "[" * 2000,
    "train optimizer.lr=" + "[" * 50 + "]" * 50,
    "train reg=" + "x" * 5000,
    "train " + "x" * 5000,
    # not what they seem
    "train optimizer.lr=a\nb",
    "train optimizer.lr='a\x1b[31mb'",
    "train \x1b]0;title\x07=1",
    "train \udcff=1",
    "train outputs=a\0b",
    "landscape schedule=cosine",
    "plot -o",
    "table --columns",
]  # fmt: skip


@pytest.mark.parametrize("line", COMMAND_LINES, ids=lambda line: ascii(line)[:60])
def test_command_lines(line, refuses):
    err = refuses(*line.split(" "))
    assert "\x1b" not in err and "\x07" not in err


@pytest.mark.parametrize("line", ["train reg=dropout reg=l2", "study mine.yaml reg=dropout reg=l2"])
def test_two_options_of_a_stack_are_told_how_to_write_it(line, refuses):
    refuses(*line.split(), says="write reg=[dropout,l2]")


# ------------------------------------------------------------------------------------- options of a user's own

OPTION_FILES = {  # conf/reg/mine.yaml
    "environment": "# @package _global_\nhydra: {job: {env_set: {DLREG_PLUGINS: canary}}}\n",
    "environment copied": "# @package hydra.job\nenv_copy: [DLREG_TEST_SECRET]\n",
    "callback": "# @package hydra.callbacks\nx: {_target_: canary.x}\n",
    "logging": "# @package hydra\njob_logging: {handlers: {f: {class: logging.FileHandler, filename: written}}}\n",
    "folders": "# @package hydra\nrun: {dir: written}\noutput_subdir: written\n",
    "chdir": "# @package hydra.job\nchdir: true\n",
    "sweeper": "# @package hydra.sweeper\n_target_: canary.x\n",
    "launcher": "# @package hydra.launcher\n_target_: canary.x\n",
    "in a launcher": "# @package hydra.launcher\nx: {_target_: canary.x}\n",
    "deep in a launcher": "# @package hydra.launcher\nx: [[{_target_: canary.x}]]\n",
    "a key of no one's": "# @package hydra\nextra: 1\n",
    "another logging": "defaults: [{override /hydra/job_logging: default}]\n",
    "a secret": "mine: {_target_: dlreg.reg.penalties.L2, alpha: '${oc.env:DLREG_TEST_SECRET}', biases: false}\n",
    "a secret, escaped": 'mine: {_target_: dlreg.reg.penalties.L2, alpha: "\\x24{oc.env:DLREG_TEST_SECRET}"}\n',
    "a secret in a list": "mine: {_target_: dlreg.reg.penalties.L2, alpha: ['${oc.env:DLREG_TEST_SECRET}']}\n",
    "a secret in the defaults": "defaults: [{/optimizer: '${oc.env:DLREG_TEST_SECRET}'}]\n",
    "a second name": "# @package _global_\ndefaults: [{override /optimizer: ../optimizer/sgd}]\n",
    "foreign code": "mine: {_target_: canary.x}\n",
    "code through a module": "mine: {_target_: dlreg.config.build.os.system}\n",
    "no mapping": "- 1\n",
    "no YAML": "a: [\n",
    "tabs": "a:\n\t- b\n",
    "latin-1": "mine: {_target_: dlreg.reg.penalties.L2, alpha: 'é'}\n".encode("latin-1"),
    "brackets": "a: " + "[" * 100_000,
    "braces": "a: " + "{b: " * 100_000,
    "binary": bytes(range(256)),
    "python tag": "mine: !!python/object/apply:os.system ['touch executed']\n",
    "python module": "mine: !!python/module:canary\n",
    "a loop of aliases": "mine: &a [*a]\n",
}
WAYS = {
    "train": ("train", "reg=mine", *SMALL),
    "sweep": ("train", "-m", "reg=none,mine", *SMALL),
    "study": ("study", "mine.yaml", "reg=mine", "--dry-run"),
    "config": ("train", "--cfg", "job", "--resolve", "reg=mine"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("content", OPTION_FILES.values(), ids=list(OPTION_FILES))
def test_option_files(content, way, refuses, tmp_path):
    (tmp_path / "conf" / "reg").mkdir(parents=True)
    path = tmp_path / "conf" / "reg" / "mine.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    if way == "config" and not any(word in str(content) for word in ("hydra", "SECRET")):
        pytest.skip("printing a config does not look at what it names")
    refuses(*WAYS[way], "-cd", "conf")


def test_a_folder_that_cannot_be_read(refuses, tmp_path, monkeypatch):
    (tmp_path / "conf").mkdir()

    def denied(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", denied)
    for command in ("train", "study", "table", "plot", "landscape"):
        refuses(command, "-cd", "conf", says="--config-dir=conf cannot be read")


@pytest.mark.parametrize("line", ["table locked", "plot locked", "study locked.yaml", "table --format csv"])
def test_what_the_system_denies_is_one_line(line, refuses, monkeypatch):
    def denying(real):
        def check(path):
            if path.name in ("locked", "locked.yaml", "outputs"):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        return check

    monkeypatch.setattr(Path, "is_dir", denying(Path.is_dir))
    monkeypatch.setattr(Path, "is_file", denying(Path.is_file))
    refuses(*line.split(), says="Permission denied")


# -------------------------------------------------------------------------------------------------- study files

STUDY_FILES = {
    "latin-1": STUDY.replace("a test", "é").encode("latin-1"),
    "brackets": "a: " + "[" * 100_000,
    "no YAML": "a: [\n  b: }\n",
    "no mapping": "- 1\n",
    "wrong types": STUDY.replace("rows:", "rows: 3\nnotes:"),
    "many things wrong": STUDY.replace("seeds:", "sseds:").replace("label:", "lable:"),
    "one key twice": STUDY.replace("[reg=dropout]", "[reg=dropout, reg=l2]"),
    "one key twice, shared": STUDY.replace("device=cpu]", "device=cpu, device=cpu]"),
    "a secret": STUDY.replace("reg=dropout]", "'optimizer.lr=${oc.env:DLREG_TEST_SECRET}']"),
    "hydra": STUDY.replace("reg=dropout]", "hydra.run.dir=written]"),
    "a python tag": STUDY.replace("a test", "!!python/object/apply:os.system ['touch executed']"),
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("content", STUDY_FILES.values(), ids=list(STUDY_FILES))
def test_study_files(content, refuses, tmp_path, dlreg):
    (tmp_path / "conf" / "study").mkdir(parents=True)
    path = tmp_path / "conf" / "study" / "bad.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    refuses("study", str(path), "--dry-run")
    refuses("table", str(path))
    status, out, err = dlreg("study", "-cd", "conf")  # the list leaves it out, by name, or prints its title
    assert status == 0 and "mnist_regularizers" in out
    assert "bad" in out + err and "Traceback" not in err and err.count("\n") <= 1


def test_notes_of_studies_that_cannot_be_read(dlreg, tmp_path):
    (tmp_path / "outputs" / ".studies").mkdir(parents=True)
    for content in ("[" * 100_000, "{}", "\xff", '{\n "runs": 3, "unknown": 0}', '{\n "runs": [[]], "unknown": "x"}'):
        (tmp_path / "outputs" / ".studies" / "optimizers-smoke.json").write_text(content, encoding="latin-1")
        status, out, err = dlreg("study")
        assert (status, err) == (0, "") and "optimizers" in out


# --------------------------------------------------------------------------------------------------------- data


def npz(path, **changes):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 40), ("test", 20)):
        arrays |= {f"x_{part}": rng.integers(0, 256, (n, 8, 8), dtype=np.uint8), f"y_{part}": np.arange(n) % 4}
    np.savez(path, **arrays | changes)


def declared(path, shape):
    """An archive whose x_train says it has this shape, and has ten bytes."""
    npz(path)
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    lie = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + bytes(10)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, lie if name == "x_train.npy" else content)


ARCHIVES = {
    "no pixels": lambda p: npz(p, x_train=np.zeros((40, 8, 0), np.uint8), x_test=np.zeros((20, 8, 0), np.uint8)),
    "no features": lambda p: npz(p, x_train=np.zeros((40, 0), np.float32), x_test=np.zeros((20, 0), np.float32)),
    "a class of the test set alone": lambda p: npz(p, y_test=np.arange(20) % 5),
    "27 terabytes": lambda p: declared(p, (10**6, 10**6, 30)),
    "more than there is": lambda p: declared(p, (40, 8, 8)),
    "a negative size": lambda p: declared(p, (-1, 8, 8)),
    "a fifo": os.mkfifo,
    "a folder": Path.mkdir,
    "a pickle": lambda p: npz(p, x_train=np.array([print] * 40, dtype=object)),
    "text": lambda p: p.write_text("not an archive"),
    "nothing": lambda p: p.touch(),
}


@pytest.mark.parametrize("make", ARCHIVES.values(), ids=list(ARCHIVES))
def test_archives(make, refuses, tmp_path):
    make(tmp_path / "x.npz")
    refuses("train", "data=npz", f"data.root={tmp_path}", "data.file=x.npz", "data.val_size=0", "threads=1", says="npz")


def image(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


PICTURES = {  # what lies at train/a/x.png beside good ones
    "900 megapixels": lambda p: Image.new("1", (30_000, 30_000)).save(p),
    "100 megapixels": lambda p: Image.new("1", (10_000, 10_000)).save(p),
    "a fifo": os.mkfifo,
    "text": lambda p: p.write_text("not a picture"),
    "nothing": lambda p: p.touch(),
    "half a picture": lambda p: (image(p), p.write_bytes(p.read_bytes()[:130])),
    "a link to nowhere": lambda p: p.symlink_to("nowhere"),
    "a link to the folder above": lambda p: p.with_suffix("").symlink_to(".."),
    "a link to itself": lambda p: p.symlink_to(p),
    "a link to a class": lambda p: (p.parent.parent / "c").symlink_to(p.parent),
}


@pytest.mark.parametrize("make", PICTURES.values(), ids=list(PICTURES))
def test_pictures(make, refuses, tmp_path):
    for part in ("train", "test"):
        for label in "ab":
            folder = tmp_path / "pictures" / part / label
            folder.mkdir(parents=True)
            for i in range(3):
                image(folder / f"{i}.png")
    make(tmp_path / "pictures" / "train" / "a" / "x.png")
    root = tmp_path / "pictures"
    refuses("train", "data=image_folder", f"data.root={root}", "data.size=8", "data.val_size=0", says="train/")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100"])
def test_a_download_that_fails_is_one_line(name, refuses, tmp_path, monkeypatch):
    from urllib import error, request

    def offline(*args, **kwargs):
        raise error.URLError("no route\nto host")

    monkeypatch.setattr(request, "urlopen", offline)
    (tmp_path / "data" / "MNIST" / "raw").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rglob", lambda self, pattern: iter(()))  # torchvision may leave empty folders
        refuses("train", f"data={name}", f"data.root={tmp_path}/data", says="data.root=")


# ------------------------------------------------------------------------------------------------------ streams


@contextmanager
def stream(kind):
    """A stream to print to, in place of the process's own."""
    if kind == "closed":
        yield None
        return
    if kind == "broken":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open("/dev/full" if kind == "full" else "narrow.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with os.fdopen(writer, "w", encoding="ascii" if kind == "ascii" else "utf-8") as opened:
        yield opened


STREAMS = ("full", "broken", "ascii", "closed")
RUNS = {
    "train": ["train", *SMALL],
    "sweep": ["train", "-m", "seed=0,1", *SMALL],
    "study": ["study", "mine.yaml", "seeds=1"],
}
PRINTS = {
    "table": ["table"],
    "csv": ["table", "--format", "csv"],
    "help": ["--help"],
    "version": ["--version"],
    "list": ["list"],
    "show": ["show", "reg=dropout"],
    "studies": ["study"],
    "plan": ["study", "mine.yaml", "--dry-run"],
    "config": ["train", "--cfg", "job"],
}
needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")


@needs_full
@pytest.mark.parametrize("command", RUNS)
@pytest.mark.parametrize("kind", STREAMS)
def test_what_is_shown_decides_over_no_run(kind, command, dlreg, tmp_path, monkeypatch):
    for _ in range(2):  # and again: done already
        with stream(kind) as out, stream(kind) as err, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            assert main(RUNS[command]) == 0
        results, unreadable = read_all([tmp_path / "outputs"])
        assert {r.status for r in results} == {"done"} and not unreadable


@needs_full
@pytest.mark.parametrize("command", PRINTS)
@pytest.mark.parametrize("kind", STREAMS)
def test_what_only_prints_says_when_it_could_not(kind, command, dlreg, monkeypatch, capfd):
    if command in ("table", "csv"):
        dlreg("train", *SMALL)
    with stream(kind) as out, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        status = main(PRINTS[command])
    err = capfd.readouterr().err
    if kind in ("ascii", "broken"):  # a reader who has read enough is no failure
        assert (status, err) == (0, "")
    else:
        assert status == 2 and err.count("\n") == 1 and "the output could not be written" in err


@needs_full
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("train {} 2>&1 | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}", 0),
        ("train {} >/dev/full 2>/dev/full", 0),
        ("train {} >&- 2>&-", 0),
        ("table >/dev/full", 2),
        ("table | head -0; exit ${{PIPESTATUS[0]}}", 0),
        ("nosuch 2>/dev/full", 2),
    ],
)
def test_streams_of_a_shell(line, status, dlreg):
    """The same through a real process, whose end flushes what is left."""
    dlreg("train", "seed=7", *SMALL)
    command = f"{sys.executable} -m dlreg {line.format(' '.join(SMALL))}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_data_are_utf8_whatever_the_terminal(dlreg, monkeypatch, tmp_path):
    dlreg("train", *SMALL)
    with stream("ascii") as out, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        assert main(["table", "--format", "json"]) == 0
    assert main(["table", "--format", "json", "-o", "table.json"]) == 0
    assert (tmp_path / "narrow.txt").read_bytes() == (tmp_path / "table.json").read_bytes()


# -------------------------------------------------------------------------------------------------------- texts

TEXTS = ["\x1b[2J\x1b]0;owned\x07", "a\rb", "a\r\nb", "\x9b31m", "\u202egnp.exe", "\x00", "\x7f", "line\nbreak"]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
@pytest.mark.parametrize("style", FORMATS)
def test_no_text_reaches_the_terminal_as_a_command(style, text):
    table = compare(fixed())
    first = replace(table.rows[0], label={"reg": text}, note=text)
    rows = [first, *table.rows[1:]]
    found = render(replace(table, title=text, text=text, rows=rows, protocol={text: text}), style)
    if style == "rich":
        from rich.console import Console

        console = Console(file=io.StringIO(), width=200)
        console.print(found)
        found = console.file.getvalue()
    if style != "html":  # its own escaping, and no terminal
        assert not set(found) & {"\x1b", "\x07", "\r", "\x9b", "\u202e", "\x00", "\x7f"}
    if style == "csv":
        read = list(csv.DictReader(io.StringIO(found)))
        assert len(read) == 3 and all(None not in row for row in read)


# ------------------------------------------------------------------------------------------------------ signals

MANY = ["epochs=100000", "data.train_size=128", "model.hidden=[16]", "device=cpu"]
JOBS = {
    "study": ["study", "mine.yaml", "--jobs", "2", "epochs=100000"],
    "joblib": ["train", "-m", "seed=0,1,2,3", "threads=1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *MANY],
}
SIGNALS = [
    (signal.SIGKILL, -9, False),
    (signal.SIGHUP, 129, False),
    (signal.SIGTERM, 143, False),
    (signal.SIGINT, 130, True),
]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize(
    ("kind", "sent", "status", "group"),
    [(kind, *how) for kind in JOBS for how in SIGNALS if (kind, how[1]) != ("joblib", 129)],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else str(value),
)
def test_workers_end_with_the_process_that_asked_for_them(kind, sent, status, group, tmp_path):
    """One handler serves HUP and TERM; both are tried on the workers of dlreg's own, and TERM on those of joblib."""
    (tmp_path / "mine.yaml").write_text(STUDY)
    with open(tmp_path / "err", "w") as err:
        command = [sys.executable, "-m", "dlreg", *JOBS[kind]]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=err, stdout=err, start_new_session=True)
    try:
        wait_for(lambda: len(list((tmp_path / "outputs").glob("*/checkpoint-0"))) >= 2)
        (os.killpg if group else os.kill)(process.pid, sent)
        assert process.wait(60) == status
        wait_for(lambda: not in_session(process.pid), 10)
    finally:
        for pid in in_session(process.pid):
            os.kill(pid, signal.SIGKILL)
    said = (tmp_path / "err").read_text()
    assert "Traceback" not in said, said
    assert status < 0 or said.count("interrupted; the same command continues") == 1, said


def in_session(session):
    """The living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def wait_for(condition, seconds=90):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.05)


def test_a_hang_up_is_left_to_nohup():
    code = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from dlreg.commands.signals import ending_on_signals\n"
        "with ending_on_signals(): os.kill(os.getpid(), signal.SIGHUP)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
