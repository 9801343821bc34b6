"""Random multilayer perceptrons with an activation of its own for each layer: the kinds are those of the layers."""

from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from starcli.symmetry.derive.derive import derive
from starcli.symmetry.kinds.derive_kinds import derive_kinds

KIND = {
    nn.ReLU: "scaled", nn.LeakyReLU: "scaled", nn.Tanh: "signed", nn.Softsign: "signed", nn.Identity: "invertible",
    nn.GELU: "permutation", nn.SiLU: "permutation", nn.Sigmoid: "permutation", nn.ELU: "permutation",
}  # fmt: skip
LAYER = st.tuples(st.integers(3, 7), st.sampled_from(list(KIND)))


@settings(max_examples=20, deadline=None)
@given(st.lists(LAYER, min_size=1, max_size=3), st.booleans(), st.integers(0, 99))
def test_each_layer_has_the_kind_of_its_activation(hidden, bias, seed):
    widths = [7, *(width for width, _ in hidden), 4]
    activations = [kind() for _, kind in hidden]
    linear = [nn.Linear(a, b, bias=bias) for a, b in pairwise(widths)]
    network = nn.Sequential(*(each for pair in zip(linear, activations, strict=False) for each in pair), linear[-1])
    example = (torch.zeros(2, 7),)
    spec = derive(network, example).resolved
    found = derive_kinds(network, example, spec=spec, seed=seed)
    kinds = {group: found.groups[group].kind for group in spec.groups}
    assert kinds == {f"units.{2 * i}": KIND[kind] for i, (_, kind) in enumerate(hidden)}
    dimensions = {"scaled": 1, "invertible": 2}
    assert found.continuous_dimension == sum(w ** dimensions[KIND[k]] for w, k in hidden if KIND[k] in dimensions)


def test_few_units_that_may_all_be_positive_at_the_weights_that_a_proof_draws():
    network = nn.Sequential(nn.Linear(7, 3), nn.ReLU(), nn.Linear(3, 3, bias=False), nn.ELU(), nn.Linear(3, 4))
    example = (torch.zeros(2, 7),)
    spec = derive(network, example).resolved
    for seed in range(20):
        found = derive_kinds(network, example, spec=spec, seed=seed)
        kinds = {name: kind.kind for name, kind in found.groups.items()}
        assert kinds == {"units.0": "scaled", "units.2": "permutation"}


def test_few_relus_that_may_all_be_off_at_the_weights_that_a_proof_draws():
    network = nn.Sequential(
        nn.Linear(7, 4, bias=False), nn.Sigmoid(), nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 4, bias=False)
    )
    example = (torch.zeros(2, 7),)
    spec = derive(network, example).resolved
    for seed in range(80, 90):  # all three are off for the first weights of seed 83
        found = derive_kinds(network, example, spec=spec, seed=seed)
        kinds = {name: kind.kind for name, kind in found.groups.items()}
        assert kinds == {"units.0": "permutation", "units.2": "scaled"}
