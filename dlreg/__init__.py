"""dlreg: does this trick help, and by how much?"""

__version__ = "0.1.0"
__all__ = ("load", "plot", "run_study", "runs", "sweep", "table", "train")  # of dlreg.api, for notebooks

TYPE_CHECKING = False  # as typing's own, whose import would take a third of the time of `dlreg --help`
if TYPE_CHECKING:
    from typing import Any

    from dlreg.api import load, plot, run_study, runs, sweep, table, train


def __getattr__(name: str) -> "Any":  # read when it is asked for
    if name not in __all__:
        raise AttributeError(f"module 'dlreg' has no attribute {name!r}")
    from dlreg import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
