"""Attention whose queries and keys are normalised in each head (ViT-22B, Qwen3, Gemma 3), against counts by hand.

Values and outputs have GL(K) in each head, whatever happens to queries and keys. Without a norm these have it as well.
RMSNorm without a scale lets rotations through, LayerNorm without one those that fix (1, ..., 1). Norms whose scale the
heads share leave permutations of units in all heads at once, and one scale of each unit between the two norms. RMSNorm
takes no mean: signs of a unit in all heads pass it, at an even number of queries, keys and both scales, and signs of a
unit in one head at queries and keys, which no kind says.
"""

from functools import partial
from itertools import product

import pytest
import torch
from support.rotary import UNITS, WORDS, Decoder
from torch import Tensor, nn

from starcli.symmetry.kinds.derive_kinds import derive_kinds

WIDTH, HEADS = 12, 3
K = WIDTH // HEADS
GENERAL = HEADS * K**2
CASES = {
    "none": (nn.Identity, ("invertible", False), GENERAL),
    "RMSNorm": (lambda: nn.RMSNorm(K, elementwise_affine=False), ("orthogonal", False), HEADS * K * (K - 1) // 2),
    "RMSNorm with scale": (lambda: nn.RMSNorm(K), ("scaled", False), K),
    "LayerNorm": (
        lambda: nn.LayerNorm(K, elementwise_affine=False),
        ("orthogonal", True),
        HEADS * (K - 1) * (K - 2) // 2,
    ),
    "LayerNorm with scale": (lambda: nn.LayerNorm(K), ("scaled", False), K),
}


class Attention(nn.Module):
    """One layer, with a stream that nothing acts on but permutations."""

    def __init__(self, norm) -> None:
        super().__init__()
        self.read, self.classify = nn.Linear(7, WIDTH), nn.Linear(WIDTH, 5)
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.q_norm, self.k_norm = norm(), norm()

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x)
        q, k, v = (layer(x).unflatten(-1, (HEADS, K)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        scores = self.q_norm(q) @ self.k_norm(k).transpose(-1, -2) / K**0.5
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        return self.classify(nn.functional.gelu(x + self.o(mixed)))


@pytest.mark.parametrize("name", CASES)
def test_what_acts_on_queries_and_keys(name):
    norm, expected, dimension = CASES[name]
    kinds = derive_kinds(Attention(norm), (torch.zeros(2, 6, 7),))
    assert kinds.continuous_dimension == dimension + GENERAL
    reached = "q_norm.weight" if "scale" in name else "q.weight"
    [found] = [kind for kind in kinds.groups.values() if any(place.tensor == reached for place in kind.at)]
    assert (found.kind, found.fixes_ones) == expected


UNBIASED = partial(nn.LayerNorm, bias=False)
SIGNED = ("q.weight", "k.weight", "q_norm.weight", "k_norm.weight")


@pytest.mark.parametrize(("norm", "of_all", "of_one"), [(nn.RMSNorm, 8, 2), (UNBIASED, 2, 1)])
def test_signs_of_one_unit(norm, of_all, of_one):
    """Of a unit in all heads at the four tensors, and in one head at queries and keys: all that leave the outputs."""
    torch.manual_seed(0)
    network = Attention(lambda: norm(K)).double()
    state = {name: torch.randn_like(tensor) for name, tensor in network.state_dict().items()}
    x = torch.randn(2, 6, 7, dtype=torch.float64)

    def change(signs, step):
        moved = {name: tensor.clone() for name, tensor in state.items()}
        for name, sign in zip(SIGNED, signs, strict=False):
            moved[name][::step] *= sign
        outputs = [torch.func.functional_call(network, each, x) for each in (state, moved)]
        return float((outputs[0] - outputs[1]).abs().max())

    holding = {signs for signs in product((1, -1), repeat=4) if change(signs, K) < 1e-9}
    assert len(holding) == of_all
    assert sum(change(signs, WIDTH) < 1e-9 for signs in product((1, -1), repeat=2)) == of_one
    kinds = derive_kinds(network, (torch.zeros(2, 6, 7),))
    [found] = [kind for kind in kinds.groups.values() if any(place.tensor == "q_norm.weight" for place in kind.at)]
    spanned = {(1, 1, 1, 1)}
    for way in found.signs:
        flipped = {place.tensor for place in way}
        spanned |= {
            tuple(-sign if name in flipped else sign for sign, name in zip(signs, SIGNED, strict=True))
            for signs in spanned
        }
    assert spanned == holding


@pytest.mark.parametrize("norm", ["weight", "plain"])
def test_what_rotary_positions_leave(norm):
    """Of one head: a scale of each pair between both scales, or its rotation where there are none. No kind says it.

    The null space of the Jacobian along all matrices on queries and on keys, and along both scales. Of all signs at
    queries and keys those that are the same for a pair and in both leave the outputs.
    """
    torch.manual_seed(0)
    network = Decoder(heads=1, kv=1, norm=norm).double()
    weights = {name: torch.randn_like(each) for name, each in network.named_parameters()}
    tokens = torch.randint(0, WORDS, (16, 5))

    ends = ("q.weight", "q.bias", "k.weight", "k.bias", "norms.0.weight", "norms.1.weight")
    ends = [end for end in ends if end in weights]

    def outputs(x, y, a, b):
        acting = dict(zip(ends, (x, x, y, y, a.diag(), b.diag()), strict=False))
        moved = {end: g @ weights[end] for end, g in acting.items()}
        return torch.func.functional_call(network, weights | moved, tokens).flatten()

    one, ones = torch.eye(UNITS).double(), torch.ones(UNITS).double()
    parts = torch.func.jacrev(outputs, (0, 1, 2, 3))(one, one, ones, ones)
    jacobian = torch.cat([each.flatten(1) for each in parts[: len(ends) - 2]], 1)
    values = torch.linalg.svdvals(jacobian)
    assert int((values < 1e-10 * values[0]).sum()) == UNITS // 2
    signs = [torch.tensor(each).double().diag() for each in product((1, -1), repeat=UNITS)]
    before = outputs(one, one, ones, ones)
    holding = sum(bool(torch.allclose(outputs(x, y, ones, ones), before)) for x in signs for y in signs)
    assert holding == 2 ** (UNITS // 2)
    kinds = derive_kinds(network, (tokens,))
    assert not any(place.tensor in ends for kind in kinds.groups.values() for place in kind.at)
