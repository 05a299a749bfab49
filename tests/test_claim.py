"""Whose run it is: one owner at a time, the dead give way, and who was taken over writes nothing more."""

import os
import signal
import sys
import time

import pytest
from conftest import Silent

from dlreg.errors import UserError
from dlreg.run import claim
from dlreg.run.claim import Busy, Claim, Watch
from dlreg.run.experiment import Experiment
from dlreg.run.result import read
from dlreg.study.cells import Standing


@pytest.fixture
def forked():
    """Skips where nothing forks."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")


forking = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def fork(work):
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except Busy:
            os._exit(3)
        except BaseException:
            os._exit(1)
    return child


KILLED = 9


def _claim_until(folder, moment):
    """Claim the folder and give it back; die before the file operation of this number."""
    left = [moment]

    def die(event, args):
        if event in ("open", "os.remove") and str(folder) in str(args[0]):
            left[0] -= 1
            if left[0] < 0:
                os._exit(KILLED)

    sys.addaudithook(die)
    with Claim(folder):
        pass


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def elsewhere(monkeypatch):
    """From here on this process is on another machine, so that it sees heartbeats and no processes."""
    monkeypatch.setattr(claim, "_machine", lambda: "another")


def test_one_owner_at_a_time_and_a_free_folder_after_it(tmp_path):
    with Claim(tmp_path) as mine:
        assert not Watch().free(tmp_path)
        with pytest.raises(Busy, match="another process"), Claim(tmp_path):
            pass
        mine.check()  # who was refused took nothing away
    assert Watch().free(tmp_path)
    with Claim(tmp_path) as later:
        assert later.owner.number == 2
    assert [path.name for path in tmp_path.iterdir()] == [".claim-2"]


@pytest.mark.parametrize("how", ["silent", "writing the claim"])
def test_an_owner_elsewhere_is_gone_when_its_heartbeat_stood_still_by_the_watchers_clock(tmp_path, monkeypatch, how):
    now = [1000.0]
    monkeypatch.setattr(claim, "BEAT", 1e6)  # the owner's own heart
    monkeypatch.setattr(claim.time, "monotonic", lambda: now[0])
    if how == "silent":
        owner = Claim(tmp_path).__enter__()
        sign = owner.fence
    else:
        sign = tmp_path / ".claim-1"
        sign.touch()
    elsewhere(monkeypatch)
    watch = Watch()
    assert not watch.free(tmp_path)
    now[0] += claim.STALE - 1
    assert not watch.free(tmp_path)
    os.utime(sign, (1, 1))  # a sign of life, by a clock that is decades behind
    now[0] += 2
    assert not watch.free(tmp_path)
    now[0] += claim.STALE + 1
    assert watch.free(tmp_path)
    with Claim(tmp_path):
        pass


def test_who_has_a_run_shows_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(claim, "BEAT", 0.01)
    with Claim(tmp_path) as mine:
        fence = mine.owner.fence(tmp_path)
        os.utime(fence, (1, 1))
        until = time.monotonic() + 20
        while fence.stat().st_mtime < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert fence.stat().st_mtime > 2


@pytest.mark.parametrize("sign", ["stands still", "moves", "another owner's"])
def test_a_run_elsewhere_is_abandoned_when_no_sign_of_life_comes(tmp_path, monkeypatch, sign):
    now = [1000.0]
    monkeypatch.setattr(claim, "BEAT", 1e6)  # the owner's own heart
    owner = Claim(tmp_path).__enter__().owner
    elsewhere(monkeypatch)

    def wait(seconds):
        now[0] += seconds
        if sign == "moves":
            os.utime(owner.fence(tmp_path), (now[0], now[0]))
        elif sign != "stands still" and not (tmp_path / ".claim-2").exists():
            claim.expel(tmp_path, owner)
            Claim(tmp_path).__enter__()

    monkeypatch.setattr(claim.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(claim.time, "sleep", wait)
    assert claim.abandoned(tmp_path) == (sign == "stands still")


def test_who_was_taken_over_publishes_nothing_and_ends_nobody_elses_claim(tmp_path):
    with Claim(tmp_path) as slow:
        claim.expel(tmp_path, slow.owner)
        with Claim(tmp_path) as quick:
            claim.expel(tmp_path, slow.owner)  # a third, who saw the same dead owner later
            for act in (slow.check, lambda: slow.publish(b"late")):
                with pytest.raises(Busy, match="taken over"):
                    act()
            slow.__exit__()
            quick.check()
            quick.publish(b"result")
            with pytest.raises(Busy):
                slow.publish(b"late")
    assert (tmp_path / "result.json").read_bytes() == b"result"
    assert Watch().free(tmp_path)


def test_a_run_that_was_taken_over_leaves_the_result_to_the_other(settings, monkeypatch):
    """The first wakes up after the second is done: one result, the second's, and the first says so."""
    experiment = Experiment.of(settings())

    class Paused(Silent):
        def epoch(self, row):
            if row["epoch"] == 1:
                claim.expel(experiment.folder, claim.last(experiment.folder))
                self.second = Experiment(experiment.settings).run(Silent())

    paused = Paused()
    with pytest.raises(Busy):
        experiment.run(paused)
    found = read(experiment.folder)
    assert (found.status, found.seconds) == ("done", paused.second.seconds)
    assert not list(experiment.folder.glob(".held-*"))


@forking
def test_a_killed_owner_on_this_machine_gives_way_at_once(tmp_path, forked):
    def hold():
        with Claim(tmp_path):
            time.sleep(60)

    child = fork(hold)
    # Killed before it has said who it is, it would have to be waited for like an owner elsewhere.
    while not any(path.stat().st_size for path in tmp_path.glob(".claim-*")):
        time.sleep(0.01)
    assert not Watch().free(tmp_path)
    os.kill(child, signal.SIGKILL)
    while not Watch().free(tmp_path):  # before the parent has asked for its status: a zombie is dead
        time.sleep(0.01)
    assert ended(child) == -signal.SIGKILL


@forking
def test_an_owner_killed_at_any_moment_leaves_nothing_that_stays(tmp_path, forked):
    """Killed before each file operation in turn: the next owner has the folder, and its own claim is all that is left."""
    for moment in range(100):
        if ended(fork(lambda moment=moment: _claim_until(tmp_path, moment))) != KILLED:
            break
        with Claim(tmp_path):
            pass
        names = [path.name for path in tmp_path.iterdir()]
        assert len(names) == 1 and names[0].startswith(".claim-"), (moment, names)
    assert moment >= 4


@forking
def test_a_claim_that_no_disk_has_room_for_leaves_nothing(tmp_path, forked):
    resource = pytest.importorskip("resource")

    def without_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        with pytest.raises(UserError, match="cannot be written"), Claim(tmp_path):
            pass

    assert ended(fork(without_room)) == 0
    assert not list(tmp_path.iterdir())


@forking
def test_of_many_at_once_one_has_it_each_time_though_holders_are_killed(tmp_path, forked):
    """Every round all want the claim; who gets it appends a line and, every other time, is killed over it."""
    folder, log = tmp_path / "run", tmp_path / "log"

    def contend(turn):
        with Claim(folder):
            inside = os.open(tmp_path / "inside", os.O_CREAT | os.O_EXCL)  # fails if two are inside
            with open(log, "a") as file:
                file.write(f"{turn}\n")
            time.sleep(0.05)  # the others come meanwhile
            os.close(inside)
            os.unlink(tmp_path / "inside")
            if turn % 2:
                os.kill(os.getpid(), signal.SIGKILL)

    for turn in range(6):
        children = [fork(lambda turn=turn: contend(turn)) for _ in range(6)]
        codes = [ended(child) for child in children]
        assert set(codes) <= {0, 3, -signal.SIGKILL}, codes
    assert {int(line) for line in log.read_text().split()} == set(range(6))


def test_how_far_a_sweep_is(tmp_path):
    """Whoever runs its runs: what is in hand is known by its claim, what is over by its result."""
    done, failed, lost, running, waiting = folders = [tmp_path / name for name in "abcde"]
    for folder in (done, failed):
        folder.mkdir()
        (folder / "result.json").touch()
    standing = Standing(folders, {failed, lost})
    with Claim(running):
        assert standing.now() == (3, "1/5 done, 1 running, 2 failed")
    assert standing.now() == (3, "1/5 done, 0 running, 2 failed")
    assert Standing([waiting]).now() == (0, "0/1 done, 0 running")
