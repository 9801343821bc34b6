"""Networks of less usual kinds: all obvious symmetries are found, and permuting keeps the function at any weights."""

from copy import deepcopy

import pytest
import torch
from support.networks import published, transformed, unusual
from support.shipped import fact
from torch import Tensor, nn

from starcli.symmetry.derive.derive import derive_and_prove
from starcli.symmetry.permutation import Permutation

torch.set_num_threads(1)

VECTORS, SEQUENCES, IMAGES = torch.rand(4, 5), torch.rand(3, 6, 5), torch.rand(2, 3, 8, 8)
CASES: dict[type[nn.Module], tuple[Tensor, float]] = {
    unusual.ClampedGates: (VECTORS, fact(6)),
    unusual.MixtureOfSoftmaxes: (VECTORS, fact(6, 4, 7)),
    unusual.Enlarged: (IMAGES, fact(5, 6, 7)),
    unusual.Painted: (VECTORS, fact(6, 4, 5)),
    unusual.Kernels: (SEQUENCES, fact(8, 2) + 4 * fact(4)),
    unusual.OnGrids: (VECTORS, fact(6)),
    unusual.Reflected: (VECTORS, fact(6)),
    unusual.Rotated: (VECTORS, fact(6)),
    unusual.PairsOfLayers: (VECTORS, fact(6, 4)),
    unusual.Adapted: (VECTORS, fact(6, 4, 2)),
    unusual.Slots: (SEQUENCES, fact(6, 4, 7, 8, 9)),
    unusual.MadeWeights: (VECTORS, fact(6, 7)),
    unusual.Decaying: (SEQUENCES, fact(6)),
    unusual.Complex: (VECTORS, fact(6, 4)),
    unusual.Largest: (VECTORS, fact(6, 7) + 7 * fact(4)),
    published.WaveNet: (SEQUENCES, fact(6, 5, 5, 7)),
    published.NeuralODE: (VECTORS, fact(6, 8)),
    published.VectorQuantised: (VECTORS, fact(6, 4, 7, 5)),
    published.HyperNetwork: (VECTORS, fact(4, 7, 6)),
    published.SetAttention: (SEQUENCES, fact(3, 5, 2) + 2 * fact(4)),
    published.Maxout: (VECTORS, fact(8) + 8 * fact(3)),
    published.DiagonalStateSpace: (SEQUENCES, fact(6) + 6 * fact(4)),
    published.Shifted: (IMAGES, fact(2, 2, 4, 7)),
    published.Performer: (SEQUENCES, fact(8, 2) + 2 * fact(4)),
    published.ConvolvedValues: (SEQUENCES, fact(8, 2) + 4 * fact(4)),
    published.DifferentialAttention: (SEQUENCES, fact(8, 2) + 4 * fact(4) + 2 * fact(3)),
    published.Ensemble: (VECTORS, fact(4) + 4 * fact(6)),
    published.WithBuffers: (VECTORS, fact(6, 4)),
    published.OfKronecker: (VECTORS, fact(2, 3, 3, 2)),
    published.PointTransforms: (SEQUENCES, fact(6, 8, 7, 4)),
    published.BilinearPooling: (IMAGES, fact(6)),
    published.GramOfHeads: (VECTORS, fact(3) + 3 * fact(4)),
}
"""An example for each network, and log10 of the number of its permutations by hand."""

TORCH = tuple(int(number) for number in torch.__version__.split(".")[:2])
if TORCH >= (2, 11):  # seen: 2.6 does not export them, nor 2.11 the last one
    CASES |= {transformed.OneByOne: (VECTORS, fact(6, 4)), transformed.MappedEnsemble: (VECTORS, fact(4) + 4 * fact(6))}
if TORCH >= (2, 14):
    CASES[transformed.Directional] = VECTORS, fact(6, 4)


@pytest.mark.parametrize("make", CASES)
def test_symmetries_are_found_and_hold_at_weights_of_any_size(make: type[nn.Module]) -> None:
    example, expected = CASES[make]
    torch.manual_seed(0)
    network = make()
    derived = derive_and_prove(network, (example,))
    assert derived.resolved.log10_symmetries() == pytest.approx(expected)
    assert not derived.rejected
    assert not derived.notes
    permutation = Permutation.random(derived.resolved, torch.Generator().manual_seed(1))
    for size in (0.1, 1.0, 10.0):
        for training in (False, True):
            found = deepcopy(network).double().train(training)
            weights = {
                name: tensor.abs() if name.endswith("var") else torch.randn_like(tensor) * size
                for name, tensor in found.state_dict().items()
                if tensor.is_floating_point()
            }
            weights = {**found.state_dict(), **weights}
            inputs = torch.randn(example.shape, dtype=torch.float64)
            before, after = (outputs(deepcopy(found), each, inputs) for each in (weights, permutation.apply(weights)))
            assert float((after - before).abs().max()) < 1e-9 * float(before.abs().max()), (size, training)


def test_inputs_of_zeros_and_ones_are_drawn_from_these() -> None:
    joined = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0.0]])
    derived = derive_and_prove(published.OnGraph(), (torch.rand(3, 5), joined))
    assert derived.resolved.log10_symmetries() == pytest.approx(fact(6, 4))


def outputs(network: nn.Module, weights: dict[str, Tensor], inputs: Tensor) -> Tensor:
    network.load_state_dict(weights)
    with torch.no_grad():
        found: Tensor = network(inputs)
    return found


class Turns(nn.Module):
    """Two functions of each unit in turns; half of the units go through the one again, half through the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 8), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        one, other = torch.stack([x.relu(), x.tanh()], 2).flatten(1).chunk(2, 1)
        return self.last(torch.cat([one.relu(), other.tanh()], 1))


class AddedGroups(nn.Module):
    """A grouped convolution whose groups are added up, beside another use of what comes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.grouped = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1, groups=2)
        self.more, self.last = nn.Conv2d(3, 4, 1), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.grouped(self.first(x)).chunk(2, 1)
        x = one + other
        return self.last(torch.cat([x, self.more(x).tanh()], 1).mean((2, 3)))


def test_how_often_a_function_is_applied_tells_units_apart() -> None:
    derived = derive_and_prove(Turns(), (VECTORS,))
    assert derived.resolved.log10_symmetries() == pytest.approx(2 * fact(4))
    assert not derived.rejected


def test_groups_that_are_added_up_stay_and_the_units_within_move() -> None:
    derived = derive_and_prove(AddedGroups(), (IMAGES,))
    assert derived.proof is not None
    assert derived.proof.proved
    assert not derived.rejected
    assert derived.resolved.expressions["first.weight"][0] != "6"
