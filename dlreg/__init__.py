"""dlreg: does this trick help, and by how much?"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # as typing's own, whose import would take a third of the time of `dlreg --help`
if TYPE_CHECKING:
    from typing import Any

    from dlreg.api import load as load

_API = ("load",)  # what a notebook finds here, of dlreg.api


def __getattr__(name: str) -> "Any":  # read when it is asked for: torch comes with it
    if name not in _API:
        raise AttributeError(f"module 'dlreg' has no attribute {name!r}")
    from dlreg import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_API])
