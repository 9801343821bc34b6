"""Whether a network takes images with channels innermost."""

import torch
from torch import Tensor, nn

from starcli.models.own_inputs import admits_channels_last


class OfFiveAxes(nn.Module):
    """A network on images whose parameter has five axes and is no kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.conv = nn.Parameter(torch.rand(2, 3, 4, 4, 2)), nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bihw,iohwc->boc", self.conv(x), self.weight)


class AsRows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x), -1)


def test_parameters_of_five_axes_are_left_as_they_are():
    assert admits_channels_last(OfFiveAxes(), torch.rand(1, 2, 4, 4))


def test_a_network_that_views_images_as_rows_does_not():
    assert not admits_channels_last(AsRows(), torch.rand(1, 2, 4, 4))
