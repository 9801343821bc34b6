"""Shifts of norms go into biases where a finite test says so, and nowhere else."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.derive_kinds import derive_kinds
from starcli.symmetry.kinds.kinds import kinds_from_json


class Read(nn.Module):
    """What reads the stream: x W^T + b; with W as GPT-2 stores it; or with b behind an activation."""

    def __init__(self, way: str, bias: bool = True) -> None:
        super().__init__()
        self.way = way
        self.weight = nn.Parameter(torch.randn((8, 5) if way == "turned" else (5, 8)))
        self.bias = nn.Parameter(torch.randn(5)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        made = nn.functional.linear(x, self.weight.T if self.way == "turned" else self.weight)
        made = torch.tanh(made) if self.way == "behind" else made
        return made if self.bias is None else made + self.bias


class Stream(nn.Module):
    """One block of a pre-norm network."""

    def __init__(self, *readers: Read) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(6, 8), nn.LayerNorm(8)
        self.readers = nn.ModuleList(readers)
        self.write, self.last, self.head = nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        read = self.norm(x)
        return self.head(self.last(x + self.write(nn.functional.gelu(sum(each(read) for each in self.readers)))))


CASES = {
    "plain": ([Read("plain")], ["readers.0.bias"]),
    "turned": ([Read("turned")], ["readers.0.bias"]),
    "several": ([Read("plain"), Read("turned")], ["readers.0.bias", "readers.1.bias"]),
    "one without": ([Read("plain"), Read("plain", bias=False)], []),
    "behind": ([Read("behind")], []),
}


@pytest.mark.parametrize("name", CASES)
def test_biases_that_take_the_shift(name):
    torch.manual_seed(0)
    readers, expected = CASES[name]
    network = Stream(*readers).double()
    for norm in (network.norm, network.last):
        nn.init.normal_(norm.bias)
        nn.init.uniform_(norm.weight, 0.5, 2.0)
    kinds = derive_kinds(network, (torch.zeros(2, 6),))
    [kind] = [kind for kind in kinds.groups.values() if kind.kind == "orthogonal"]
    folds = {fold.scale.tensor: fold for fold in kind.folds}
    assert sorted(folds["norm.weight"].biases.values()) == expected
    assert dict(folds["last.weight"].biases) == {"head.weight": "head.bias"}
    assert kinds_from_json(kinds.to_json()) == kinds
    tensors, x = network.state_dict(), torch.randn(4, 6).double()
    moved = Element.random(kinds, torch.Generator().manual_seed(0)).apply(tensors)
    still = "norm.bias" in kind.kept
    assert still == bool(expected)
    assert torch.equal(moved["norm.bias"].abs().sort()[0], tensors["norm.bias"].abs().sort()[0]) == still
    torch.testing.assert_close(torch.func.functional_call(network, moved, (x,)), network(x), rtol=1e-9, atol=1e-9)


def test_a_record_of_other_biases_is_refused():
    kinds = derive_kinds(Stream(Read("plain")), (torch.zeros(2, 6),))
    name, kind = next((name, kind) for name, kind in kinds.groups.items() if kind.folds)
    wrong = replace(kind, folds=tuple(replace(fold, biases={"head.weight": "write.bias"}) for fold in kind.folds))
    with pytest.raises(StarcliError, match="no record of kinds"):
        kinds_from_json(replace(kinds, groups={**kinds.groups, name: wrong}).to_json())
