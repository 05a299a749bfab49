"""The old content or the new one, whatever happens in between."""

import builtins
import errno
import json
import os

import pytest
from conftest import newest

from dlreg import durable

PRIMITIVES = [(builtins, "open"), (os, "fsync"), (os, "replace"), (os, "open")]


class Crash(BaseException):
    pass


def crash_at(monkeypatch, k, error):
    """Raise at the k-th call of any primitive that touches the disk; returns the counter."""
    calls = [0]

    def wrap(function):
        def inner(*args, **kwargs):
            calls[0] += 1
            if calls[0] == k:
                raise error
            return function(*args, **kwargs)

        return inner

    for module, name in PRIMITIVES:
        monkeypatch.setattr(module, name, wrap(getattr(module, name)))
    return calls


@pytest.mark.parametrize("error", [Crash(), OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "i/o")], ids=str)
def test_every_crash_point_leaves_old_or_new(tmp_path, monkeypatch, error):
    path, k, points = tmp_path / "checkpoint", 0, 0
    while True:
        k += 1
        for old in tmp_path.iterdir():
            old.unlink()
        durable.write_checked(path, b"first")
        durable.write_checked(path, b"old")
        with monkeypatch.context() as patched:
            calls = crash_at(patched, k, error)
            try:
                durable.write_checked(path, b"new")
            except (Crash, OSError):
                points += 1
        assert newest(path) in (b"old", b"new")
        assert not list(tmp_path.glob("*.tmp"))
        if calls[0] < k:
            break
    assert points >= 5
    assert newest(path) == b"new"


def test_atomic_write_keeps_the_old_file_on_error(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    durable.write_json(path, {"a": 1})
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.EACCES, "no")))
    with pytest.raises(OSError, match="no"):
        durable.write_json(path, {"a": 2})
    assert durable.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_every_bit_flip_and_truncation_is_found(tmp_path):
    path = tmp_path / "checkpoint"
    durable.write_checked(path, b"good")
    durable.write_checked(path, bytes(range(64)))
    raw = path.read_bytes()
    for bit in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert newest(path) == b"good"
    for n in range(len(raw)):
        path.write_bytes(raw[:n])
        assert newest(path) == b"good"
    durable.previous(path).unlink()
    assert newest(path) is None


def test_every_bit_flip_and_truncation_of_json_is_found(tmp_path):
    """A digit too: 0.1055 must not become 0.1085."""
    path = tmp_path / "result.json"
    durable.write_json(path, {"error": 0.1055, "words": ["a", "b"]})
    raw = path.read_bytes()
    assert json.loads(raw)["error"] == 0.1055  # any reader of JSON can read it
    damaged = [
        raw[: bit // 8] + bytes([raw[bit // 8] ^ 1 << bit % 8]) + raw[bit // 8 + 1 :] for bit in range(8 * len(raw))
    ]
    damaged += [raw[:n] for n in range(len(raw))] + [raw.replace(b"5", b"8"), b"", b"[1]", b"{}", raw + b" "]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"result\.json"):
            durable.read_json(path)


def test_json_from_before_seals_is_read(tmp_path):
    (tmp_path / "x.json").write_text('{\n "a": 1\n}\n')
    assert durable.read_json(tmp_path / "x.json") == {"a": 1}
    (tmp_path / "x.json").write_text('{\n "a": ' + "[" * 100_000)
    with pytest.raises(ValueError, match=r"x\.json cannot be read"):
        durable.read_json(tmp_path / "x.json")


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        durable.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_fsync_comes_before_the_rename_and_the_folder_after(tmp_path, monkeypatch):
    seen = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (seen.append("replace"), replace(a, b)))
    durable.write_atomic(tmp_path / "x", b"1")
    assert seen == ["fsync", "replace", "fsync"]


def test_tidying_is_not_stopped_by_who_tidies_too(tmp_path, monkeypatch):
    """Between the list of left-overs and the removal of one, another process may have removed it."""
    (tmp_path / ".x.tmp").write_bytes(b"left over")
    gone = [tmp_path / ".gone.tmp", tmp_path / ".x.tmp"]
    monkeypatch.setattr(type(tmp_path), "glob", lambda *_: iter(gone))
    durable.tidy(tmp_path)
    assert not os.listdir(tmp_path)


def test_no_file_stays_open(tmp_path):
    """A study writes thousands of files in one process."""
    open_files = "/proc/self/fd"
    if not os.path.isdir(open_files):
        pytest.skip("this system does not list a process's open files")
    before = len(os.listdir(open_files))
    for i in range(20):
        durable.write_checked(tmp_path / "state", b"%d" % i)
        durable.write_json(tmp_path / "result.json", {"i": i})
        assert durable.read_json(tmp_path / "result.json") == {"i": i} and newest(tmp_path / "state") == b"%d" % i
    assert len(os.listdir(open_files)) == before
