"""The real entry point, as a user meets it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from results import result

from dlreg import __version__
from dlreg.cli import COMMANDS, main
from dlreg.config.schema import GROUPS

SMALL = ["epochs=2", "data.train_size=128", "model.hidden=[16]", "threads=1", "device=cpu"]


@pytest.fixture
def dlreg(tmp_path, monkeypatch, spoken):
    """dlreg("train", ...) -> (exit status, stdout, stderr), in this process, from an empty folder."""
    monkeypatch.chdir(tmp_path)
    return spoken


def test_help_is_instant_and_light():
    code = "import sys; from dlreg.cli import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in COMMANDS)
    for heavy in ("torch", "hydra", "numpy", "pandas", "rich", "pydantic"):
        assert f"'{heavy}'" not in done.stderr


def test_what_trains_nothing_leaves_torch_out(tmp_path):
    code = """if True:
    import sys
    from contextlib import suppress
    from dlreg.cli import main
    for argv in (["list"], ["train", "--help"], ["train", "--cfg", "job"], ["list", "l2"], ["study"], ["table"]):
        with suppress(SystemExit):  # Hydra's, after --help
            main(argv)
        counts = argv[0] in ("study", "table")  # intervals and tests come from scipy
        assert not {"torch", "pandas", "matplotlib", *["scipy"] * (not counts)} & set(sys.modules), argv
    """
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, stdout=subprocess.DEVNULL)


def test_version_and_python_m():
    done = subprocess.run([sys.executable, "-m", "dlreg", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"dlreg {__version__}\n"


def test_unknown_command(dlreg):
    assert dlreg("trian") == (2, "", "dlreg: there is no command 'trian'. Did you mean train?\n")


def test_train_then_already_then_table(dlreg, tmp_path):
    status, out, err = dlreg("train", "optimizer=adam", "reg=dropout", *SMALL)
    assert status == 0
    assert out.startswith("done  digits-mlp-adam-dropout-s0-")
    for part in ("test error", "validation error", "seconds", "folder", "next: dlreg "):
        assert part in out
    assert "epoch 2/2" in err
    folders = list((tmp_path / "outputs").iterdir())
    assert [sorted(p.name for p in f.iterdir()) for f in folders] == [
        [".claim-1", "config.json", "predictions.npz", "result.json", "weights"]
    ]
    status, out, err = dlreg("train", "optimizer=adam", "reg=dropout", *SMALL)
    assert (status, err) == (0, "")
    assert out.startswith("done already")
    status, out, _ = dlreg("table")
    assert status == 0
    assert "(1)" in out


def test_refusals_are_one_line_and_write_nothing(dlreg, tmp_path):
    for words in (["optimizer=adm"], ["+optimzer=adam"], ["reg=dropout", "reg.dropout.p=1.5"], ["epochs=0"], ["foo bar"],
                  ["reg=dropout,maxnorm"], ["data=mnist", "data.root=nowhere", "data.download=false"]):  # fmt: skip
        status, out, err = dlreg("train", *words)
        assert (status, out) == (2, "")
        assert err.startswith("dlreg train: ")
        assert len(err.splitlines()) == 1, err
    assert not any((tmp_path / "outputs").glob("*"))


def test_outputs_that_cannot_be_written(dlreg, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = dlreg("train", "outputs=file", *SMALL)
    assert status == 2
    assert "file cannot be written" in err


def test_experimental_rerun_is_refused(dlreg):
    status, _, err = dlreg("train", "--experimental-rerun", "x.pickle")
    assert status == 2
    assert "--experimental-rerun: there is no such flag" in err  # it would load a pickle


def test_flags_may_stand_between_overrides(dlreg):
    status, out, _ = dlreg("train", "seed=1", "--cfg", "job", "reg=dropout")
    assert status == 0
    assert "seed: 1" in out and "input_p: 0.2" in out


def test_sweep_runs_what_is_missing_and_tells(dlreg):
    grid = ["train", "-m", "reg=none,dropout,[dropout,maxnorm]", "seed=0,1", *SMALL]
    status, out, err = dlreg(*grid)
    assert status == 0
    assert "6 runs: 0 finished before, 6 to do" in err
    assert "[6/6] reg=[dropout,maxnorm] seed=1" in err
    assert "6 done" in err
    assert "dropout+maxnorm" in out and "(2)" in out
    status, again, err = dlreg(*grid)
    assert "6 runs: 6 finished before, 0 to do" in err
    assert again == out


def test_conditional_axes_apply_where_the_option_is(dlreg):
    status, out, err = dlreg("train", "-m", "reg=none,dropout", "reg.dropout.p=0.1,0.5", *SMALL)
    assert (status, "3 runs" in err) == (0, True)
    assert "reg.dropout.p" in out
    status, _, err = dlreg("train", "-m", "optimizer=sgd,momentum", "optimizer.momentum=0.5,0.9", *SMALL)
    assert (status, "3 runs" in err) == (0, True)
    status, _, err = dlreg("train", "-m", "reg=none,dropout", "reg.dropout.p=0.3", "model.hidden=[16]", *SMALL[:2])
    assert (status, "2 runs" in err) == (0, True)
    status, _, err = dlreg("train", "-m", "reg=none,dropout", "reg.dropout.q=0.1", *SMALL)
    assert status == 2
    assert "reg.dropout.q: no run of this sweep has such a key. Did you mean reg.dropout.p?" in err


@pytest.mark.parametrize(
    "bad", ["reg.dropout.p=0.1,1.5", "epochs=1,0", "optimizer=adam,adm", "batch_size=1,8 norm=batch"]
)
def test_one_bad_cell_stops_the_sweep_before_its_first_run(bad, dlreg, tmp_path):
    status, _, err = dlreg("train", "-m", "reg=none,dropout", *[w for w in SMALL if "epochs" not in w], *bad.split())
    assert status == 2, err
    assert not any((tmp_path / "outputs").glob("*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("show", "give GROUP=OPTION"),
        ("show dropout", "dropout: give GROUP=OPTION"),
        ("show optimizer=adam,sgd", "one option, not a list"),
        ("show reg=dropout --prev x.png", "unrecognized arguments"),
        ("list --config x", "unrecognized arguments"),
        ("list -cd latin reg", "latin1.yaml cannot be read"),
        ("show -cd latin reg=latin1", "latin1.yaml"),
    ],
)
def test_list_and_show_refuse_in_one_line(dlreg, tmp_path, words, message):
    (tmp_path / "latin" / "reg").mkdir(parents=True)
    (tmp_path / "latin" / "reg" / "latin1.yaml").write_bytes(b"# caf\xe9\n{}\n")
    status, _, err = dlreg(*words.split())
    assert (status, len(err.splitlines())) == (2, 1) and message in err


def test_failed_and_diverged_runs_do_not_stop_the_others(dlreg, monkeypatch):
    from dlreg.run import fitter

    real = fitter.fit

    def faulty(parts, *rest):
        if sum(p.numel() for p in parts.model.parameters()) > 2000:
            raise RuntimeError("boom")
        return real(parts, *rest)

    monkeypatch.setattr(fitter, "fit", faulty)
    words = ["train", "-m", "model.hidden=[8],[64]", "optimizer.lr=0.1,1e30", "epochs=2", "data.train_size=128"]
    status, out, err = dlreg(*words)
    assert status == 1
    assert err.count("RuntimeError: boom") == 4  # each at once, and again at the end
    assert "diverged: diverged at step" in err
    assert "2 failed" in err and "1 done" in err and "1 diverged" in err
    assert "1 diverged" in out and "1 failed" in out
    monkeypatch.setattr(fitter, "fit", real)
    status, _, err = dlreg(*words)
    assert (status, "4 runs: 2 finished before, 2 to do" in err) == (0, True)


def test_sweep_with_diverged_rows_only_exits_0(dlreg):
    assert dlreg("train", "-m", "optimizer.lr=1e30,2e30", *SMALL)[0] == 0


def test_joblib_launcher(dlreg):
    words = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    status, out, err = dlreg("train", "-m", "seed=0,1", "reg=none,l2", *SMALL, *words)
    assert status == 0, err
    assert "[4/4]" in err
    assert "epoch" not in err
    assert "(2)" in out


TO_BE_CUT = ["train", "epochs=60", "threads=1", "device=cpu", "optimizer=adam", "reg=dropout"]


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    """The weights of the run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("uncut")
    assert main([*TO_BE_CUT, f"outputs={folder}"]) == 0
    return next(folder.glob("*/weights")).read_bytes()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signals_end_cleanly_and_the_same_command_continues(sent, tmp_path, uncut):
    argv = [*TO_BE_CUT, f"outputs={tmp_path}"]
    kept = "from dlreg import cli; from dlreg.run import fitter; fitter.SPACING = 0; raise SystemExit(cli.main())"
    cut = subprocess.Popen([sys.executable, "-c", kept, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: list(tmp_path.glob("*/checkpoint-0.previous")))
    cut.send_signal(sent)
    _, err = cut.communicate(timeout=60)
    assert cut.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[sent]
    assert b"Traceback" not in err
    assert main(argv) == 0
    assert next(tmp_path.glob("*/weights")).read_bytes() == uncut


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.02)


def complete(line, monkeypatch, capfd):
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    main(["-sc", "query=bash"])
    return capfd.readouterr().out.split()


def test_completion(monkeypatch, capfd):
    assert complete("dlreg tr", monkeypatch, capfd) == ["train"]
    assert set(complete("dlreg ", monkeypatch, capfd)) == set(COMMANDS)
    assert {"reg=dropout", "reg=maxnorm"} <= set(complete("dlreg train reg=", monkeypatch, capfd))
    assert complete("dlreg train optimizer=adam sampl", monkeypatch, capfd) == ["sampler="]
    assert complete("dlreg tune optimizer=adam sampl", monkeypatch, capfd) == ["sampler="]
    for command in ("study", "table", "plot", "report"):
        assert complete(f"dlreg {command} mnist_r", monkeypatch, capfd) == ["mnist_regularizers"]
    assert complete("dlreg list optim", monkeypatch, capfd) == ["optimizer"]


@pytest.mark.parametrize("command", ["predict", "surface", "report", "table", "plot"])
def test_run_folders_are_completed(command, monkeypatch, capfd, tmp_path):
    """What is no run folder gets a slash: there may be runs in it. Hidden ones, files and what is not there: nothing."""
    monkeypatch.chdir(tmp_path)
    for folder in ("outputs/digits-mlp-1", "outputs/digits-mlp-2", "outputs/mnist-mlp-1", "outputs/.submitit", "other"):
        (tmp_path / folder).mkdir(parents=True)
    for run in (tmp_path / "outputs").glob("*-mlp-*"):
        (run / "config.json").touch()
    (tmp_path / "outputs.csv").touch()

    def of(prefix):
        return complete(f"dlreg {command} {prefix}", monkeypatch, capfd)

    assert {"outputs/", "other/"} <= set(of(""))
    assert of("outp") == ["outputs/"]
    assert of("outputs/dig") == ["outputs/digits-mlp-1", "outputs/digits-mlp-2"]
    assert of(f"{tmp_path}/outputs/") == [
        f"{tmp_path}/outputs/{name}" for name in ("digits-mlp-1", "digits-mlp-2", "mnist-mlp-1")
    ]
    assert of("outputs/digits-mlp-1 outputs/mn") == ["outputs/mnist-mlp-1"]
    assert of("nowhere/") == []


IN_A_SHELL = {
    "bash": 'eval "$(dlreg -sc install=bash)"; COMP_LINE="dlreg t" COMP_CWORD=1; hydra_bash_completion; '
    'printf "%s\\n" "${COMPREPLY[@]}"',
    "fish": 'dlreg -sc install=fish | source; complete -C "dlreg t"',
}


@pytest.mark.parametrize("shell", IN_A_SHELL)
def test_a_shell_completes(shell, tmp_path, monkeypatch):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    command = tmp_path / "dlreg"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m dlreg "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    done = subprocess.run([shell, "-c", IN_A_SHELL[shell]], capture_output=True, text=True)
    assert sorted(done.stdout.splitlines()) == ["table", "train", "tune"], done.stderr  # each word by itself


def test_list_and_show(dlreg):
    status, out, _ = dlreg("list")
    assert status == 0
    assert "dropout" in out and "Srivastava" in out
    assert dlreg("list", "regs")[
        2
    ] == "dlreg list: regs: no option and no study has that word. Did you mean reg? Groups: " + (
        ", ".join(GROUPS) + ".\n"
    )
    status, out, _ = dlreg("show", "reg=dropout")
    assert status == 0
    assert "https://jmlr.org/papers/v15/srivastava14a.html" in out
    assert "reg.dropout.p=0.5    number, >= 0, < 1" in out
    assert "Did you mean dropout?" in dlreg("show", "reg=dropot")[2]
    assert "Did you mean adam?" in dlreg("show", "optimizer=adma")[2]  # not adamax


def test_table_refusals(dlreg, tmp_path):
    assert "nowhere is neither a folder nor a study." in dlreg("table", "nowhere")[2]
    (tmp_path / "outputs").mkdir()
    assert "no runs in outputs" in dlreg("table")[2]
    for reg, error in (("none", 2.0), ("l2", 1.0)):
        run = result(reg, 0, error)
        (tmp_path / "outputs" / run.run_id).mkdir()
        run.write(tmp_path / "outputs" / run.run_id)
    assert "--against=reg=dropout: no two rows differ in that alone" in dlreg("table", "--against", "reg=dropout")[2]
    assert "--baseline=dropout: no row is called that" in dlreg("table", "--baseline", "dropout")[2]
    assert "give one" in dlreg("table", "--baseline", "none", "--against", "none")[2]
    assert dlreg("table", "--against", "none")[0] == 0


def test_a_users_own_technique_from_outside(tmp_path):
    """The README's ten lines: a Python file and a YAML in the current folder."""
    (tmp_path / "mytricks.py").write_text(
        "import torch\n"
        "from dlreg.hyper import NonNegative\n"
        "from dlreg.reg.base import Regularizer\n\n\n"
        "class GradientNoise(Regularizer):\n"
        '    """g <- g + N(0, sigma^2). Neelakantan et al. (2015), https://arxiv.org/abs/1511.06807"""\n\n'
        "    def __init__(self, *, sigma: NonNegative) -> None:\n"
        "        self.sigma = sigma\n\n"
        "    def gradient(self, model):\n"
        "        for p in model.parameters():\n"
        "            p.grad += self.sigma * torch.randn(p.shape, generator=self.generator)\n"
    )
    (tmp_path / "myconf" / "reg").mkdir(parents=True)
    (tmp_path / "myconf" / "reg" / "gradient_noise.yaml").write_text(
        "# Noise on the gradient\ngradient_noise:\n  _target_: mytricks.GradientNoise\n  sigma: 0.01\n"
    )
    command = [
        str(Path(sys.executable).with_name("dlreg")),
        "train",
        "--config-dir",
        "myconf",
        "reg=[gradient_noise,l2]",
        *SMALL,
    ]
    env = os.environ | {"DLREG_PLUGINS": "mytricks"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "gradient_noise+l2" in done.stdout
