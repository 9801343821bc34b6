"""Negative controls: involutions, and places whose effect cannot be shown."""

import torch
from proof_support import proof_of, resolve
from torch import Tensor, nn

from starcli.permutation import Permutation
from starcli.proof.controls import involution, places


class Auxiliary(nn.Module):
    """A head that only train mode uses."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.aux = nn.Linear(4, 5), nn.Linear(5, 2), nn.Linear(5, 3)
        self.out = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.body(x).relu()
        return (self.head(x), self.out(self.aux(x))) if self.training else self.head(x)


def test_branches_that_vanish_in_eval_mode_are_undecided() -> None:
    text = """
format: 1
tensors:
  body.*: [body]
  head.weight: [_, body]
  head.bias: []
  aux.weight: [aux]
  aux.bias: [aux]
  out.weight: [_, aux]
  out.bias: []
"""
    proof = proof_of(Auxiliary(), text, (torch.zeros(3, 4),))
    assert proof.verdicts == {"body": "proved", "aux": "undecided"}
    assert "aux.weight" in proof.reasons["aux"]
    both = proof_of(Auxiliary(), text.replace("aux.weight: [aux]", "aux.weight: [aux, body]"), (torch.zeros(3, 4),))
    assert both.undecided == ("aux", "body")
    assert "aux.weight" in both.reasons["body"]


NESTED = """
format: 1
groups:
  heads: {size: 3}
  units: {within: heads}
tensors:
  0.weight: [(heads units)]
  0.bias: [(heads units)]
  1.weight: [out, (heads units)]
  1.bias: [out]
"""


def test_involutions_of_all_groups_commute() -> None:
    network = nn.Sequential(nn.Linear(2, 12), nn.Linear(12, 5))
    spec = resolve(network, NESTED)
    swap = involution(spec, torch.Generator().manual_seed(0))
    assert swap.compose(swap).is_identity()
    assert swap.moving == {"heads", "units", "out"}
    one = {
        group: Permutation(spec, {**Permutation.identity(spec).index, group: swap.index[group]})
        for group in spec.groups
    }
    for a in one.values():
        for b in one.values():
            assert a.compose(b).moved(b.compose(a)) == 0


def test_every_part_of_every_axis_is_a_place() -> None:
    network = nn.Sequential(nn.Linear(2, 12), nn.Linear(12, 5))
    found = places(resolve(network, NESTED))
    assert {group: sorted((p.tensor, p.axis) for p in each) for group, each in found.items()} == {
        "heads": [("0.bias", 0), ("0.weight", 0), ("1.weight", 1)],
        "units": [("0.bias", 0), ("0.weight", 0), ("1.weight", 1)],
        "out": [("1.bias", 0), ("1.weight", 0)],
    }


def test_a_chain_without_anything_nonlinear_is_decided() -> None:
    # halfway swapped, a layer and the one that reads it would each hide the other
    network = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 6, bias=False), nn.Linear(6, 3))
    text = "format: 1\ntensors: {0.*: [a], 1.weight: [b, a], 2.weight: [_, b], 2.bias: []}"
    assert proof_of(network, text, (torch.zeros(4, 4),)).proved
