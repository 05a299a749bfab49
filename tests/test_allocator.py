"""Freed memory is kept by the process, so that a step finds what the step before gave back."""

import platform
import subprocess
import sys

import pytest

CODE = """
import ctypes, resource
import torch
from dlreg.run.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(10 << 20)  # 40 MB: above the 32 MB to which glibc raises its own limit as it sees blocks freed
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages of 4 kB, so that they can be counted
plain = faults()
keep_freed_memory()
print(plain, min(faults() for _ in range(4)))  # while the heap grows to its size, some pages are new
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told anything")
def test_pages_are_not_asked_for_again_and_again():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    plain, kept = map(int, done.stdout.split())
    assert plain > 20 * 10_000  # or this test shows nothing: 10,240 new pages, twenty times
    assert kept < plain / 50
