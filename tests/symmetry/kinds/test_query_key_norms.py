"""Attention whose queries and keys are normalised in each head (ViT-22B, Qwen3, Gemma 3), against counts by hand.

Values and outputs have GL(K) in each head, whatever happens to queries and keys. Without a norm these have it as well.
RMSNorm without a scale lets rotations through, LayerNorm without one those that fix (1, ..., 1). Norms whose scale the
heads share leave permutations of units in all heads at once, and one scale of each unit between the two norms.
"""

import pytest
import torch
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
