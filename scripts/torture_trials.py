"""What the sections of the torture share: counting, and watching for code that no input may run."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXECUTES = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class")
CANARY = "canary"  # a module of this name lies in the folder; nothing may import it


class Trials:
    """The trials of one section: how many ended how, and what should not have happened."""

    def __init__(self, chance: random.Random, folder: Path) -> None:
        self.chance, self.folder = chance, folder
        self.ended: Counter[str] = Counter()
        self.faults: list[str] = []
        self.executed: list[str] = []
        (folder / f"{CANARY}.py").write_text("raise SystemExit('executed')\n")

    def fault(self, what: str, of: object) -> None:
        """Something happened that must not."""
        self.faults.append(f"{what}: {ascii(of)[:300]}")

    @contextmanager
    def watched(self, of: object) -> Iterator[None]:
        """While this lasts, code that is executed is a fault of `of`."""
        _watching.append(self.executed)
        try:
            yield
        finally:
            _watching.pop()
        for event in self.executed:
            self.fault(f"executed {event}", of)
        self.executed.clear()

    def __str__(self) -> str:
        ended = ", ".join(f"{n:,} {how}" for how, n in self.ended.most_common())
        return f"{sum(self.ended.values()):,} trials: {ended}; {len(self.faults)} faults"


_watching: list[list[str]] = []


def _audit(event: str, args: tuple[object, ...]) -> None:
    if _watching and (event in EXECUTES or (event == "import" and args[0] == CANARY)):
        _watching[-1].append(event)


sys.addaudithook(_audit)
