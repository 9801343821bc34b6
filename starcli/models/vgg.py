"""VGG for small images (Simonyan and Zisserman 2015): five halvings, then three linear layers of 8 x width units."""

from collections.abc import Iterator, Sequence
from functools import partial

from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.models.arguments import Activation, Count, ImageSize, Rate, Width, activation_module, height_and_width

VGG11 = (1, 1, 2, 2, 2)
"""Convolutions of each of the five stages."""
VGG19 = (2, 2, 4, 4, 4)
"""Convolutions of each of the five stages."""
MULTIPLES = (1, 2, 4, 8, 8)
"""Channels of each stage, in multiples of `width`."""
REDUCTION = 32
"""Factor by which the five stages reduce each side."""


class VGG(nn.Module):
    """Convolutions `features`, flattened, then the linear layers `classifier`."""

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential) -> None:
        """Initialise the convolutions for ReLU (He et al. 2015)."""
        super().__init__()
        self.features = features
        self.classifier = classifier
        for module in features:
            if isinstance(module, nn.Conv2d):
                # torch's default loses the signal in 19 layers without normalisation
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) -> logits (B, num_classes)."""
        out: Tensor = self.classifier(self.features(x).flatten(1))
        return out


def _features(stages: Sequence[int], width: int, in_channels: int, norm: bool, activation: str) -> Iterator[nn.Module]:
    """Layers of the convolutional part."""
    channels = in_channels
    for convolutions, multiple in zip(stages, MULTIPLES, strict=True):
        for _ in range(convolutions):
            yield nn.Conv2d(channels, width * multiple, kernel_size=3, padding=1)
            channels = width * multiple
            if norm:
                yield nn.BatchNorm2d(channels)
            yield activation_module(activation)
        yield nn.MaxPool2d(kernel_size=2, stride=2)


def _vgg(
    stages: Sequence[int],
    norm: bool,
    *,
    width: Width = 64,
    activation: Activation = "relu",
    dropout: Rate = 0.5,
    in_channels: Width = 3,
    image_size: ImageSize = 32,
    num_classes: Count = 10,
) -> nn.Module:
    """VGG with `stages` convolutions a stage: `width` channels in the first, 8 x `width` in the last two.

    Raises StarcliError for images under 32 pixels a side, of which five halvings leave nothing.
    """
    height, breadth = height_and_width(image_size)
    if min(height, breadth) < REDUCTION:
        raise StarcliError(
            f"VGG needs images of at least {REDUCTION}x{REDUCTION} pixels, not {height}x{breadth}",
            ["it halves the image five times; resnet, wrn, densenet40-12, vit and mlp take smaller ones"],
        )
    units = width * MULTIPLES[-1]
    classifier = nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(units * (height // REDUCTION) * (breadth // REDUCTION), units),
        activation_module(activation),
        nn.Dropout(dropout),
        nn.Linear(units, units),
        activation_module(activation),
        nn.Linear(units, num_classes),
    )
    return VGG(nn.Sequential(*_features(stages, width, in_channels, norm, activation)), classifier)


vgg11 = partial(_vgg, VGG11, False)
vgg11_bn = partial(_vgg, VGG11, True)
vgg19 = partial(_vgg, VGG19, False)
vgg19_bn = partial(_vgg, VGG19, True)
