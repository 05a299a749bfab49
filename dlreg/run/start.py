"""Transfer: a fit that begins with the weights of a finished run, and layers that it leaves as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor, nn

from dlreg.config.schema import Settings
from dlreg.errors import UserError, shown
from dlreg.model.blocks import acting, layer_name, plain_name
from dlreg.model.saved import plain_weights
from dlreg.run.artifacts import WEIGHTS
from dlreg.run.folder import run_folder
from dlreg.run.result import Result, read


def begun(model: nn.Module, settings: Settings) -> nn.Module:
    """The model with the weights of the run `start`, if there is one.

    Of the run are taken the `last` weights and running moments of every layer but those that match a pattern of `fresh`,
    which stay as `init` made them. The normalization of inputs is the new run's, of its own training set. Yosinski, Clune,
    Bengio, Lipson (2014), section 2, https://arxiv.org/abs/1411.1792.

    Raises:
        UserError: there is no such run, its weights are damaged or of other shapes, a pattern matches nothing.
    """
    if settings.start is not None:
        _take(model, settings)
    elif settings.fresh:
        raise UserError(
            f"fresh={_listed(settings.fresh)} names layers that start=RUN does not fill; without one leave it out"
        )
    return model


def origin(settings: Settings) -> str | None:
    """The digest of the weights that a run starts from and the id of their run, for its identity.

    Raises:
        UserError: `start` is no finished run with weights.
    """
    if settings.start is None:
        return None
    _, result = _run(settings)
    return f"{result.files[WEIGHTS]} {result.run_id}"


def start_remark(settings: Settings) -> str | None:
    """When the run before may have been trained on what is validated on now."""
    if settings.start is None:
        return None
    before = _run(settings)[1].config
    same = all(before["data"].get(key) == settings.data[key] for key in ("name", "val_size"))
    if before["data"]["name"] != settings.data["name"] or (same and before["seed"] == settings.seed):
        return None
    return (
        f"start={shown(settings.start)} was trained on another split of data={settings.data['name']}: it may have seen samples "
        "of this validation set"
    )


def _run(settings: Settings) -> tuple[Path, Result]:
    assert settings.start is not None
    folder = run_folder(settings.start, settings.outputs)
    try:
        result = read(folder)
    except ValueError as error:
        raise UserError(f"start={shown(settings.start)}: {error}") from None
    if result is None or result.status != "done" or WEIGHTS not in result.files:
        why = "kept no weights (save_weights=false)" if result and result.status == "done" else "is not done"
        raise UserError(f"start={shown(settings.start)} {why}: there is nothing to start from")
    return folder, result


@torch.no_grad()
def _take(model: nn.Module, settings: Settings) -> None:
    where, fresh = f"start={shown(settings.start)}", settings.fresh
    saved = plain_weights(_run(settings)[0] / WEIGHTS, torch.device("cpu"))
    if saved is None:
        raise UserError(f"{where}: its weights are damaged")
    weights = {plain_name(w.name): w for w in acting(model)}
    moments = {plain_name(name): b for name, b in model.named_buffers() if name.startswith("net.")}
    _check_patterns("fresh", fresh, map(layer_name, weights))
    wanted = {name: tuple(t.shape) for name, t in (weights | moments).items() if not _matches(layer_name(name), fresh)}
    if not wanted:
        raise UserError(f"{where} fresh={_listed(fresh)} takes no layer of it: leave out start")
    _check_shapes(where, wanted, saved, fresh)
    for name in wanted:
        if name in moments:
            moments[name].copy_(saved[name])
        elif (parametrized := weights[name].parametrization) is not None:
            parametrized.right_inverse(saved[name].to(weights[name].parameter))
        else:
            weights[name].parameter.copy_(saved[name])


def _check_shapes(
    where: str, wanted: dict[str, tuple[int, ...]], saved: dict[str, Tensor], fresh: Sequence[str]
) -> None:
    unlike = [name for name, shape in wanted.items() if name not in saved or tuple(saved[name].shape) != shape]
    if not unlike:
        return
    layers = list(dict.fromkeys(map(layer_name, unlike)))
    if len(layers) == len(set(map(layer_name, wanted))):
        raise UserError(f"{where} holds no layer of this model: its layers are other ones, or of other shapes")
    first = unlike[0]
    there = f"{tuple(saved[first].shape)} there" if first in saved else "is not there"
    raise UserError(
        f"{where}: {first} has the shape {wanted[first]} here and {there}; fresh={_listed([*fresh, *layers])} leaves it out"
    )


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Take the gradients from the layers whose names match a pattern; what acts on weights leaves them alone then.

    Running moments of batch normalization are no weights: in a frozen layer too they follow the batches.

    Raises:
        UserError: a pattern matches nothing, or nothing is left to train.
    """
    if not patterns:
        return
    tensors = acting(model)
    _check_patterns("freeze", patterns, (layer_name(w.name) for w in tensors))
    for name, p in model.named_parameters():
        if _matches(layer_name(name), patterns):
            p.requires_grad_(False)
    if not any(p.requires_grad for p in model.parameters()):
        raise UserError(f"freeze={_listed(patterns)} leaves nothing to train: it matches every layer")


def _check_patterns(key: str, patterns: Sequence[str], layers: Iterable[str]) -> None:
    names = list(dict.fromkeys(layers))
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(f"{key}: {pattern!r} matches no layer; this model has {', '.join(names) or 'none'}")


def _matches(layer: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(layer, pattern) for pattern in patterns)


def _listed(patterns: Sequence[str]) -> str:
    return f"[{','.join(patterns)}]"
