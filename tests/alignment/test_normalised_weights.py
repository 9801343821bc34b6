"""Trained networks under weight and spectral normalisation: aligned, they compute the same and have a lower barrier."""

import pytest
import torch
from support.state_dict_networks import old_weight_norm
from torch import nn
from torch.nn.utils import parametrizations

import starcli as sc

STYLES = {
    "weight_norm, old": old_weight_norm,
    "weight_norm, new": parametrizations.weight_norm,
    "spectral_norm, old": nn.utils.spectral_norm,
    "spectral_norm, new": parametrizations.spectral_norm,
}


@pytest.mark.parametrize("style", STYLES)
def test_alignment_keeps_the_function_and_lowers_the_barrier(style):
    def build():
        layer = STYLES[style]
        convolutions = [layer(nn.Conv2d(1, 12, 3)), nn.ReLU(), layer(nn.Conv2d(12, 16, 3)), nn.ReLU()]
        return nn.Sequential(*convolutions, nn.Flatten(), layer(nn.Linear(256, 32)), nn.ReLU(), nn.Linear(32, 10))

    a, b = (sc.train(build, "digits", limit=300, epochs=6, lr=0.1, batch_size=64, seed=seed) for seed in (0, 1))
    aligned = sc.align(a, b, restarts=3)
    assert aligned.permutation.moved() > 40
    inputs = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(aligned.module()(inputs), b.module()(inputs), rtol=1e-4, atol=1e-4)
    before, after = (
        sc.barrier(a, model, points=5, alignment=None).curves["train"].loss_barrier for model in (b, aligned)
    )
    assert before > 0.1
    assert after < before / 2
