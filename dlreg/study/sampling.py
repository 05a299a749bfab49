"""Which settings are tried: points of a space, as a pure function of a seed and, for TPE, of the trials before.

So the same command tries the same settings and finds their runs; a longer one begins with those of a shorter.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dlreg.errors import UserError
from dlreg.study.spaces import Interval, Setting, Space, grid, setting, size

Sampler = Literal["sobol", "random", "tpe"]
SAMPLERS: tuple[Sampler, ...] = ("sobol", "random", "tpe")
STARTUP = 10  # trials of TPE that are random, as in Optuna
MOST_DRAWS = 64  # points drawn for each that is wanted, where a coarse space repeats itself


def sample(space: Space, trials: int, seed: int, sampler: Sampler) -> list[Setting]:
    """The first `trials` different points; every point, where there are no more than that.

    sobol: a scrambled Sobol' sequence, which leaves no large gaps (Owen 1998, https://doi.org/10.1006/jcom.1998.0487).
    random: each key has a random stream of its own (Bergstra & Bengio 2012, https://jmlr.org/papers/v13/bergstra12a.html),
    so that rows which share a key try the same values of it; of eight, the largest gap is 0.29 of the interval on average.
    """
    if size(space) <= trials:
        return grid(space)
    draw, count = {"random": _random, "sobol": _sobol}[sampler], trials
    found: list[Setting] = []
    while len(found) < trials and count <= MOST_DRAWS * trials:
        found = list(dict.fromkeys(setting(space, point) for point in draw(space, count, seed)))
        count *= 4
    return found[:trials]


def _random(space: Space, count: int, seed: int) -> np.ndarray:
    return np.stack([np.random.default_rng([seed, *key.encode()]).random(count) for key in space], axis=1)


def _sobol(space: Space, count: int, seed: int) -> np.ndarray:
    from scipy.stats import qmc  # slow to load

    engine = qmc.Sobol(len(space), seed=np.random.default_rng(seed))
    points: np.ndarray = engine.random_base2(max(count - 1, 1).bit_length())[:count]
    return points


def refuse_missing(sampler: Sampler) -> None:
    """Before any work.

    Raises:
        UserError: the sampler needs what is not installed.
    """
    if sampler == "tpe" and importlib.util.find_spec("optuna") is None:
        raise UserError("search=tpe needs Optuna: pip install 'dlreg[tune]'; sobol and random need nothing")


def propose(space: Space, tried: Sequence[tuple[Setting, float | None]], seed: int) -> Setting:
    """The next point by a tree-structured Parzen estimator, from the points tried and their scores (None: diverged).

    Bergstra et al. (2011), https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization; as Optuna has it.
    """
    import optuna  # type: ignore[import-not-found, unused-ignore]  # an extra, and slow to load

    optuna.logging.set_verbosity(logging.WARNING)
    spaces = {key: _distribution(optuna, a) for key, a in space.items()}
    draws = int(np.random.default_rng([seed, len(tried)]).integers(2**31))
    sampler = optuna.samplers.TPESampler(n_startup_trials=0, seed=draws)
    study = optuna.create_study(sampler=sampler)
    for point, score in tried:
        value = float("inf") if score is None else score
        study.add_trial(optuna.trial.create_trial(params=_parameters(space, point), distributions=spaces, value=value))
    asked = study.ask(spaces).params
    return tuple(_word(key, a, asked[key]) for key, a in space.items())


def _distribution(optuna: Any, a: list[Any] | Interval) -> Any:
    if not isinstance(a, Interval):
        return optuna.distributions.CategoricalDistribution([str(value) for value in a])
    if a.whole:
        return optuna.distributions.IntDistribution(int(a.low), int(a.high), log=a.log)
    return optuna.distributions.FloatDistribution(a.low, a.high, log=a.log)


def _parameters(space: Space, point: Setting) -> dict[str, Any]:
    values = [word.partition("=")[2] for word in point]
    kinds = [str if not isinstance(a, Interval) else int if a.whole else float for a in space.values()]
    return {key: kind(value) for key, kind, value in zip(space, kinds, values, strict=True)}


def _word(key: str, a: list[Any] | Interval, value: Any) -> str:
    return f"{key}={a.text(value)}" if isinstance(a, Interval) else f"{key}={value}"
