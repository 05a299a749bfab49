"""What goes wrong by the user's hand or the machine's, as one line each.

`dlreg --help` reads this file too: what only a message needs is imported when there is one.
"""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """Bad input, found before any work was done. The message is one line: what was given, what is allowed (exit 2)."""


class Stopped(BaseException):
    """Somebody asked the run to end before it is done. Not an `Exception`, so that nothing mistakes it for a failed run."""

    why = "the same command continues it"


class Interrupted(Stopped):
    """A signal asked the run to end."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_status = 128 + signum


class RunsFailed(Exception):
    """Runs of a sweep failed, and each was reported when it did (exit 1)."""


class Diverged(Exception):
    """A loss or a weight is no longer finite; `step` counts updates from 0 over the whole fit."""

    def __init__(self, step: int) -> None:
        super().__init__(f"diverged at step {step}")
        self.step = step


def printable(text: str) -> str:
    """Text without control and formatting characters (escape sequences, reversals); line ends and tabs stay."""
    import unicodedata

    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else "\ufffd" for c in text)


def shown(value: object, most: int = 80) -> str:
    """A value that a user gave, for a message: on one line, and not longer than can be read."""
    text = " ".join(printable(str(value)).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """` Did you mean X?` for the nearest of `words`, else the empty string."""
    import difflib

    names = [str(w) for w in words]
    # Letters that changed places (adma) are one slip, of which difflib makes two.
    swapped = [name for name in names if sorted(name) == sorted(str(word))]
    near = swapped or difflib.get_close_matches(str(word), names, n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""
