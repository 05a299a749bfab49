"""The two small convolutional networks of the paper on memorizing random labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.model.blocks import Activation, Norm, channels_last, image_shape
from dlreg.model.blocks import activation as make_activation


class SmallAlexNet(nn.Module):
    """Twice (conv 5x5 with 64 channels, max pooling 3x3, local response normalization), then 384, 192, logits.

    Zhang, Bengio, Hardt, Recht, Vinyals (2017), appendix A, https://arxiv.org/abs/1611.03530: 1,387,786 parameters on 28 x
    28 x 3 inputs. The paper does not state the response normalization's constants: here they are those of TensorFlow's
    CIFAR-10 tutorial, radius 4, alpha 0.001 / 9, beta 0.75, which torch writes as size 9 and alpha 0.001.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, norm: Norm, *, activation: Activation) -> None:
        super().__init__()
        n_in, *sides = image_shape(shape, "small_alexnet", 1)
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [norm(nn.Conv2d(n_in, 64, 5, padding=2)), make_activation(activation)]
            layers += [nn.MaxPool2d(3, 2, padding=1), nn.LocalResponseNorm(9, alpha=1e-3, beta=0.75, k=1.0)]
            n_in, sides = 64, [(side + 1) // 2 for side in sides]
        layers.append(nn.Flatten())
        n_in *= sides[0] * sides[1]
        for n_out in (384, 192):
            layers += [norm(nn.Linear(n_in, n_out)), make_activation(activation)]
            n_in = n_out
        self.layers = nn.Sequential(*layers, nn.Linear(n_in, classes))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        return self.layers(x)


class SmallInception(nn.Module):
    """conv 3x3, then ten modules of parallel convolutions of which two halve the image, mean pooling, logits.

    Zhang, Bengio, Hardt, Recht, Vinyals (2017), figure 3, https://arxiv.org/abs/1611.03530: 1,649,402 parameters on 28 x 28
    x 3 inputs, which is what `norm=batch norm.scale=false` gives (a shift per channel and no gamma).
    """

    # a 1x1 and a 3x3 convolution side by side: (channels, channels); downsampling: channels of the 3x3 beside a pooling
    MODULES = ((32, 32), (32, 48), 80, (112, 48), (96, 64), (80, 80), (48, 96), 96, (176, 160), (176, 160))

    def __init__(self, shape: tuple[int, ...], classes: int, norm: Norm, *, activation: Activation) -> None:
        super().__init__()

        def conv(n_in: int, n_out: int, kernel: int, stride: int = 1) -> nn.Module:
            layer = nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2)
            return nn.Sequential(norm(layer), make_activation(activation))

        n_in = image_shape(shape, "small_inception", 1)[0]
        layers: list[nn.Module] = [conv(n_in, 96, 3)]
        n_in = 96
        for module in self.MODULES:
            if isinstance(module, tuple):
                layers.append(Beside(conv(n_in, module[0], 1), conv(n_in, module[1], 3)))
                n_in = sum(module)
            else:
                layers.append(Beside(conv(n_in, module, 3, 2), nn.MaxPool2d(3, 2, padding=1)))
                n_in += module
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(n_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        return self.head(self.layers(channels_last(x)).mean((2, 3)))


class Beside(nn.Module):
    """The outputs of two modules, as the channels of one."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C' + C'', H', W')."""
        return torch.cat((self.first(x), self.second(x)), 1)
