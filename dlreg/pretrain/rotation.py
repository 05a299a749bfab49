"""Self-supervision: by how much an image was turned."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from dlreg.errors import UserError
from dlreg.model.blocks import weight_layers
from dlreg.pretrain.base import Stage, Unsupervised, hidden_layers, other_head
from dlreg.reg.base import Regularizer

TURNS = 4


class Turned(Regularizer):
    """Every image of a batch in its four positions; the targets say which."""

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Images `(N, C, H, H)` -> `(4 N, C, H, H)`, turns `(4 N, 4)`."""
        turned = torch.cat([x.rot90(k, (2, 3)) for k in range(TURNS)])
        return turned, torch.eye(TURNS, dtype=y.dtype, device=y.device).repeat_interleave(len(x), 0)


class Rotation(Unsupervised):
    """$$min - 1/4 sum_k log p_k(R^k x)$$ for the turns R^k of an image by k times 90 degrees, predicted by a head of its own
    that is left afterwards.

    Gidaris, Singh, Komodakis (2018), eq. 2 and 3, https://arxiv.org/abs/1803.07728. All four turns of an image stand in one
    batch, as there. All samples take part, those without a label too; images must be square.
    """

    def stages(self, model: nn.Module, x: Tensor) -> Iterator[Stage]:
        """One: the whole network with a head for four classes."""
        net = model.get_submodule("net")
        hidden_layers(net, "rotation")
        head = weight_layers(net)[-1]
        if x.dim() != 4 or x.shape[2] != x.shape[3] or not isinstance(head, nn.Linear):
            raise UserError(
                "pretrain=rotation needs square images and a network with a linear head; a sample has the shape "
                f"{tuple(x.shape[1:])}"
            )
        turns = nn.Linear(head.in_features, TURNS, dtype=head.weight.dtype).to(x.device)
        with other_head(net, turns):
            yield Stage(model, Turned(), "classes", TURNS)
