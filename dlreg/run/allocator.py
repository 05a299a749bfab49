"""Where the memory of a step comes from: what the step before gave back."""

from __future__ import annotations

import ctypes
import functools
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGEST = 2**31 - 1  # of what mallopt takes, which is an int
DOCUMENTED = 2**25  # the largest threshold that every glibc takes; it answers 0 to one that it does not


@functools.cache
def keep_freed_memory() -> None:
    """Tell the C library to keep freed memory for this process, where that is glibc; nothing elsewhere.

    Unless told, glibc hands large blocks back to the system when they are freed, and the system clears every page that it
    hands out again: 40 % of the processor time of a ResNet-8. A process stays as large as its largest step was.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        _ = mallopt(M_MMAP_THRESHOLD, LARGEST) or mallopt(M_MMAP_THRESHOLD, DOCUMENTED)
        mallopt(M_TRIM_THRESHOLD, LARGEST)
