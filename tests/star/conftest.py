"""Solutions of two small networks to find stars of: each four or three, as sources."""

import pytest
from support.stars import RECIPE

from starcli.star.source_bank import Source
from starcli.training.train import train_network


def trained(workspace, epochs, seeds):
    return [train_network(workspace, RECIPE.override(epochs=epochs, lr=0.1), seed) for seed in seeds]


@pytest.fixture(scope="session")
def mlps(mlp):
    return [Source(f"m{i}", lambda m=m: m.tensors) for i, m in enumerate(trained(mlp, 12, range(4)))]


@pytest.fixture(scope="session")
def resnets(resnet):
    return [Source(f"r{i}", lambda m=m: m.tensors) for i, m in enumerate(trained(resnet, 2, range(3)))]
