"""Derived kinds against what one finds by hand from the definitions of networks."""

from collections.abc import Callable, Collection
from itertools import combinations
from math import comb, prod
from typing import Any

import pytest
import torch
from support.networks import unusual
from support.networks.dense import Layered, Stepped
from support.networks.recurrent import LastOutput
from support.networks.scattered import OfBags
from support.shipped import CASES, resolve, shrunk
from support.small_transformers import BERTLike, GPTLike, LlamaLike, T5Like, WhisperLike
from support.tensors import same
from support.tracing import traced_truly
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.models.build import build_network
from starcli.symmetry.archspec.expression import symbols
from starcli.symmetry.derive.derive import derive, derive_and_prove
from starcli.symmetry.kinds.derive_kinds import derive_kinds
from starcli.symmetry.kinds.group_kind import GroupKind
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.proof.places import places
from starcli.symmetry.proof.trial import TOLERANCE

VECTORS = (torch.zeros(2, 9),)
TOKENS = (torch.zeros(2, 5, dtype=torch.int64),)


def kinds_of(network: nn.Module, example: tuple[Tensor, ...], seed: int = 0, **options) -> Kinds:
    found = derive_kinds(network, example, spec=derive(network, example), seed=seed, **options)
    assert found.worst_difference < TOLERANCE
    return found


def bearing(kinds: Kinds, tensor: str) -> list[GroupKind]:
    """The kinds of the groups that stand on a tensor, those around others left out."""
    around = {group.within for group in kinds.spec.groups.values()}
    return [kinds.groups[g] for g, names in kinds.spec.bearing.items() if tensor in names and g not in around]


def powers(kind: GroupKind) -> dict[tuple[str, int], int]:
    return {(place.tensor, place.axis): e for place, e in kind.exponents.items()}


def layers(*activations: nn.Module, bias: bool = True) -> nn.Module:
    """Hidden layers of 6, 5, ... units."""
    widths = [9, *range(6, 6 - len(activations), -1)]
    hidden = [
        layer
        for i, activation in enumerate(activations)
        for layer in (nn.Linear(widths[i], widths[i + 1], bias=bias), activation)
    ]
    return nn.Sequential(*hidden, nn.Linear(widths[-1], 3))


@pytest.mark.parametrize(
    ("activation", "kind", "dimension"),
    [
        (nn.ReLU(), "scaled", 6 + 5),
        (nn.LeakyReLU(0.1), "scaled", 6 + 5),
        (nn.PReLU(), "scaled", 6 + 5),
        (nn.Identity(), "invertible", 36 + 25),
        (nn.Tanh(), "signed", 0),
        (nn.Hardtanh(), "signed", 0),
        (nn.Softsign(), "signed", 0),
        (nn.GELU(), "permutation", 0),
        (nn.SiLU(), "permutation", 0),
        (nn.ELU(), "permutation", 0),
        (nn.Softplus(), "permutation", 0),
        (nn.ReLU6(), "permutation", 0),  # to first order scaled, where no unit is above 6
    ],
    ids=str,
)
@pytest.mark.parametrize("bias", [True, False])
def test_activations(activation, kind, dimension, bias):
    kinds = kinds_of(layers(activation, activation, bias=bias), VECTORS)
    assert [each.kind for each in kinds.groups.values()] == [kind, kind]
    assert kinds.continuous_dimension == dimension


@pytest.mark.parametrize(
    "activation", [nn.Hardtanh(-50, 50), nn.Hardtanh(-1000, 1000), nn.Hardtanh(0, 65504), nn.Hardtanh(-1e5, 65504)]
)
def test_what_holds_for_small_units_alone_is_no_kind(activation):
    """Between its bounds a clamp is linear, and rotations and matrices pass: units of generic weights are of size 1."""
    network = layers(activation, nn.ReLU())
    first, second = kinds_of(network, VECTORS, reasons=True).groups.values()
    assert (first.kind, first.scalings, second.kind) == ("permutation", (), "scaled")
    assert set(first.larger.values()) == {"holds as long as units are small, as between the bounds of a clamp"}


@pytest.mark.parametrize("activation", [nn.Hardshrink(1e-3), nn.Hardshrink(1e-4), nn.Threshold(1e-4, 0)], ids=str)
def test_what_holds_for_units_away_from_0_alone_is_no_kind(activation):
    """Beyond its dead zone a shrinkage is linear, and few units of generic weights are within: rotations pass."""
    network = layers(activation, nn.ReLU())
    first, second = kinds_of(network, VECTORS, reasons=True).groups.values()
    assert (first.kind, first.scalings, second.kind) == ("permutation", (), "scaled")
    why = "holds as long as units are not near 0, as beyond the dead zone of a shrinkage"
    assert set(first.larger.values()) == {why}


def test_exponents_are_where_units_are_written_and_read():
    names = ("0.weight", 0), ("0.bias", 0), ("2.weight", 1)
    for activation, exponents in ((nn.ReLU(), (1, 1, -1)), (nn.Identity(), (1, 1, -1)), (nn.Tanh(), (1, 1, 1))):
        [kind] = kinds_of(layers(activation), VECTORS).groups.values()
        assert powers(kind) == dict(zip(names, exponents, strict=True))


def test_matrices_act_between_any_two_linear_maps_in_a_row():
    encoder = nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3))
    network = nn.Sequential(encoder, nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 9))
    found = kinds_of(network, VECTORS)
    assert [each.kind for each in bearing(found, "0.2.bias")] == ["invertible"]
    assert found.continuous_dimension == 6 + 3 * 3 + 6


class Branches(nn.Module):
    """A function of one or two layers of the same units, and a head."""

    def __init__(self, joined: Callable[..., Tensor], written: int, *, bias: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(9, 6, bias=bias) for _ in range(written))
        self.head, self.joined = nn.Linear(6, 3), joined

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.joined(*(layer(x) for layer in self.layers)))


def changed_by_flips(network: Branches, at: Collection[str]) -> float:
    """The change of the outputs when three units change sign at these layers, at the head where it reads them."""
    inputs = torch.randn(50, 9, dtype=torch.float64)
    signs = torch.tensor([-1.0, 1, -1, -1, 1, 1], dtype=torch.float64)
    flipped = {
        f"{name}.{kind}": tensor * (signs if name == "head" or kind == "bias" else signs.unsqueeze(1))
        for name in at
        for kind, tensor in network.get_submodule(name).named_parameters()
        if (name, kind) != ("head", "bias")
    }
    return (torch.func.functional_call(network, flipped, inputs) - network(inputs)).abs().max().item()


OF_LAYERS = {
    "product": (lambda u, v: u * v, 2),
    "gated": (lambda u, v: u.relu() * v, 2),
    "even and odd": (lambda u, v: u.abs() * v, 2),
    "even both": (lambda u, v: u.abs() * v.abs(), 2),
    "sum": (lambda u, v: u.relu() + v.relu(), 2),
    "odd sum": (lambda u, v: u**3 + v.tanh(), 2),
    "square": (torch.square, 1),
    "odd and flat": (lambda u: u - u.tanh(), 1),
    "cube": (lambda u: u**3, 1),
    "even": (torch.abs, 1),
    "cosine": (torch.cos, 1),
    "half": (torch.relu, 1),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", OF_LAYERS)
def test_signs_are_found_where_flips_change_nothing(name, bias):
    network = Branches(*OF_LAYERS[name], bias=bias).double()
    layers = [*(f"layers.{i}" for i in range(len(network.layers))), "head"]
    sets = [each for n in range(1, len(layers) + 1) for each in combinations(layers, n)]
    holding = {frozenset(each) for each in sets if changed_by_flips(network, each) < 1e-12}
    kinds = kinds_of(network.float(), VECTORS)
    kind = kinds.groups[next(iter(symbols(kinds.spec.axes["head.weight"][1])))]  # others are of lists of layers
    found = [frozenset(place.tensor.rpartition(".")[0] for place in way) for way in kind.signs]
    assert holding.issuperset(found)
    assert len(holding) == 2 ** len(found) - 1  # all are products of those that are found
    assert kind.includes("signed") == bool(holding)


class Convolutions(nn.Module):
    """Two convolutions with a normalisation between them, pooling, flattening."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(2, 4, 3, padding=1), norm
        self.conv2, self.head = nn.Conv2d(4, 5, 3, padding=1), nn.Linear(5 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv1(x)).relu()
        x = nn.functional.max_pool2d(self.conv2(x).relu(), 4)
        return self.head(x.flatten(1))


IMAGES = (torch.zeros(2, 2, 8, 8),)


def test_scales_go_through_pooling_and_flattening():
    found = kinds_of(Convolutions(nn.Identity()), IMAGES)
    assert [each.kind for each in found.groups.values()] == ["scaled", "scaled"]
    assert found.continuous_dimension == 4 + 5


def test_batchnorm_scales_by_its_weight_and_its_filters_have_signs_alone():
    found = kinds_of(Convolutions(nn.BatchNorm2d(4)), IMAGES)
    [kind] = bearing(found, "norm.weight")
    assert (kind.kind, len(kind.scalings)) == ("scaled", 1)
    assert powers(kind) == {("norm.weight", 0): 1, ("norm.bias", 0): 1, ("conv2.weight", 1): -1}
    [signs] = kind.signs
    assert {place.tensor for place in signs} == {"conv1.weight", "conv1.bias", "norm.running_mean", "norm.weight"}


@pytest.mark.parametrize("eps", [1e-5, 1e-6])
def test_an_epsilon_breaks_the_scale_of_what_a_norm_divides_out(eps):
    found = kinds_of(Convolutions(nn.InstanceNorm2d(4, eps=eps)), IMAGES, reasons=True)
    [kind] = bearing(found, "conv1.weight")
    assert kind.kind == "permutation"
    assert kind.larger["scaled"] == "batch_norm in norm, by its epsilon"


def shipped(name: str) -> tuple[Kinds, dict[str, int]]:
    """The kinds of a shipped architecture's small case, and the sizes of its groups."""
    case = CASES[name]
    arguments = case.complete()
    network = build_network(case.name, **arguments)
    network = shrunk(network, case.shrink) if case.shrink > 1 else network
    spec = resolve(case.name, arguments, network)
    return derive_kinds(network, (torch.zeros_like(case.inputs(2)),), spec=spec), spec.sizes


@pytest.mark.parametrize("name", ["resnet", "resnet deep", "vgg11", "vgg11-bn", "resnet18"])
def test_relu_networks_scale_each_group_once(name):
    found, sizes = shipped(name)
    assert {each.kind for each in found.groups.values()} == {"scaled"}
    assert found.continuous_dimension == sum(sizes.values())
    norms = {group: sum(name.endswith("running_mean") for name in names) for group, names in found.spec.bearing.items()}
    assert {name: len(each.signs) for name, each in found.groups.items()} == norms


def test_norms_that_read_a_stream_each_scale_by_themselves():
    found, sizes = shipped("wrn-16-1")
    inner = sum(size for name, size in sizes.items() if name.startswith("inner"))
    assert found.continuous_dimension == inner + 3 * 4 + 2 * 8 + 2 * 16  # for each norm that reads a stage's stream


@pytest.mark.parametrize("written", [True, False])
def test_a_vision_transformer(written):
    dim, depth, heads, hidden = 12, 2, 3, 7
    arguments = {"dim": dim, "depth": depth, "heads": heads, "mlp_dim": hidden, "patch_size": 4, "image_size": 8}
    network, example = build_network("vit", **arguments), (torch.zeros(2, 3, 8, 8),)
    spec = resolve("vit", arguments, network) if written else derive(network, example).resolved
    found = derive_kinds(network, example, spec=spec, reasons=True)
    [stream] = bearing(found, "pos_embed")
    norms = [f"blocks.{l}.norm{i}.weight" for l in range(depth) for i in (1, 2)] + ["norm.weight"]  # noqa: E741
    assert (stream.kind, stream.fixes_ones) == ("orthogonal", True)
    assert [fold.scale.tensor for fold in stream.folds] == norms
    flipped = [{place.tensor for place in way} & set(norms) for way in stream.signs]  # with what reads the norm
    assert sorted(map(sorted, flipped)) == sorted([norm] for norm in norms)
    assert "layer_norm" in stream.larger["invertible"]
    [units] = bearing(found, "blocks.0.mlp.fc1.bias")
    assert (units.kind, set(units.larger.values())) == ("permutation", {"gelu in blocks.0.mlp.activation"})
    assert all({*each.exponents.values()} == {-1, 1} for each in found.groups.values() if each.kind == "invertible")
    units_of_head = (dim // heads) ** 2
    assert found.continuous_dimension == (comb(dim - 1, 2) + len(norms) * dim + depth * heads * 2 * units_of_head)


def test_queries_and_keys_are_inverse_to_each_other():
    found = kinds_of(GPTLike(), TOKENS)
    [keys] = bearing(found, "attention.k.weight")[-1:]
    [queries] = [each for each in bearing(found, "attention.q.weight") if each.kind == "invertible"]
    assert keys.kind == "invertible"
    assert powers(queries)["attention.q.weight", 0] == -powers(queries)["attention.k.weight", 0]
    assert powers(queries)["attention.k.bias", 0] == powers(queries)["attention.k.weight", 0]  # of no effect


def test_language_models():
    dim, heads, hidden, units = 8, 2, 5, 4
    found = kinds_of(LlamaLike(), TOKENS)
    [stream] = bearing(found, "embed.weight")
    assert (stream.kind, stream.fixes_ones, len(stream.folds)) == ("orthogonal", False, 3)
    # rotations, three scales; values of one head; its rotary pairs; what goes up and down: the gate does not
    assert found.continuous_dimension == comb(dim, 2) + 3 * dim + units**2 + units + hidden
    assert powers(found.groups["mlp.gate"]) == {("mlp.up.weight", 0): 1, ("mlp.down.weight", 1): -1}
    without = kinds_of(LlamaLike(rotary=False), TOKENS)
    assert without.continuous_dimension == found.continuous_dimension - units + units**2

    attention = 2 * heads * units**2
    untied = kinds_of(GPTLike(tied=False), TOKENS)
    assert [each.fixes_ones for each in bearing(untied, "positions")] == [True]
    assert untied.continuous_dimension == comb(dim - 1, 2) + 3 * dim + attention

    tied = kinds_of(GPTLike(), TOKENS, reasons=True)  # the last scale cannot go into the head, which is the embedding
    [stream] = bearing(tied, "positions")
    assert (stream.kind, stream.larger["orthogonal"]) == ("scaled", "layer_norm in norm")
    assert tied.continuous_dimension == 2 * dim + attention

    bert = kinds_of(BERTLike(), TOKENS)  # each norm but the last is read by a sum too: nothing rotates
    assert [each.kind for each in bearing(bert, "embed.weight")] == ["scaled"]
    assert [each.kind for each in bearing(bert, "pooler.bias")] == ["signed"]
    assert bert.continuous_dimension == dim + attention


def test_encoders_with_decoders():
    dim, heads, hidden, units = 8, 2, 5, 4
    attention = 3 * heads * 2 * units**2  # of the encoder, of the decoder, between them

    t5 = kinds_of(T5Like(), (*TOKENS, *TOKENS))  # one embedding: both streams rotate together
    [stream] = bearing(t5, "embed.weight")
    assert (stream.kind, stream.fixes_ones, len(stream.folds)) == ("orthogonal", False, 7)
    assert t5.continuous_dimension == comb(dim, 2) + 7 * dim + attention + 2 * hidden

    whisper = kinds_of(WhisperLike(), (torch.zeros(2, 3, 8), *TOKENS), reasons=True)
    [sound] = bearing(whisper, "sound")  # a GELU writes into it
    [text] = bearing(whisper, "places")  # the scale of its last norm cannot go into the head, which is the embedding
    assert [(each.kind, len(each.scalings)) for each in (sound, text)] == [("scaled", 3), ("scaled", 3)]
    assert sound.larger["orthogonal"].startswith("gelu")
    assert text.larger["orthogonal"] == "layer_norm in decoded"
    assert whisper.continuous_dimension == 3 * dim + 3 * dim + attention


@pytest.mark.parametrize(("kind", "gate"), [(nn.LSTM, 10), (nn.GRU, 10), (nn.RNN, 0)])
def test_states_have_signs_that_the_gates_do_not(kind, gate):
    [found] = kinds_of(LastOutput(kind), (torch.zeros(2, 6, 9),)).groups.values()
    assert (found.kind, len(found.signs)) == ("signed", 1)
    written = {(place.tensor, place.start) for place in found.exponents if place.axis == 0}
    tensors = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    assert written == {(f"cells.{name}", gate) for name in tensors}
    read = {place.tensor for place in found.exponents if place.axis == 1}
    assert read == {"cells.weight_hh_l0", "head.weight"}


RECURRENT = {
    "bidirectional lstm": lambda: Layered("LSTM", bidirectional=True),
    "bidirectional gru": lambda: Layered("GRU", bidirectional=True),
    "gru without biases": lambda: Layered("GRU", bias=False),
    "lstm with projections": lambda: LastOutput(nn.LSTM, num_layers=2, proj_size=4),
    "cells": Stepped,
    "cells without biases": lambda: Stepped(bias=False),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", RECURRENT)
def test_signs_of_states_are_found_at_whatever_weights(name, seed):
    """Where they are looked for, gates do next to nothing, and how little is chance."""
    network = RECURRENT[name]()
    example = (torch.zeros(2, 4, 9 if isinstance(network, LastOutput) else 3),)
    if "lstm" in name and not traced_truly(network, example):
        pytest.skip("this torch traces the last states of an LSTM with wrong shapes")
    kinds = kinds_of(network, example, seed)
    states = {p.group for own in places(kinds.spec).values() for p in own if "weight_hh" in p.tensor and p.axis == 0}
    assert len(states) == (4 if "bidirectional" in name else 2)
    for kind in (kinds.groups[name] for name in states):
        assert (kind.kind, len(kind.signs)) == ("signed", 1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_seed_decides(seed):
    for network in (layers(nn.ReLU(), nn.Tanh(), nn.Identity()), Convolutions(nn.BatchNorm2d(4))):
        example = VECTORS if isinstance(network, nn.Sequential) else IMAGES
        first, other = (kinds_of(network, example, seed=s) for s in (0, seed))
        assert {n: (k.kind, k.exponents) for n, k in first.groups.items()} == {
            n: (k.kind, k.exponents) for n, k in other.groups.items()
        }


def test_units_that_are_off_on_a_few_examples_do_not_hide_a_scale(monkeypatch):
    monkeypatch.setattr("starcli.symmetry.proof.generic.SMALL_NETWORK", 0)
    for seed in range(6):
        found = kinds_of(layers(nn.ReLU()), VECTORS, seed=seed)
        assert found.continuous_dimension == 6


def test_the_operator_that_breaks_scales_is_the_one_behind_the_norm():
    network = Convolutions(nn.Sequential(nn.BatchNorm2d(4), nn.Tanh()))
    found = kinds_of(network, IMAGES, reasons=True)
    [kind] = bearing(found, "norm.0.weight")
    assert (kind.kind, len(kind.signs), kind.larger["scaled"]) == ("signed", 1, "tanh in norm.1")


def test_groups_that_are_not_asked_for_stay_permutations():
    network = layers(nn.ReLU(), nn.ReLU())
    spec = derive_and_prove(network, VECTORS).resolved
    found = derive_kinds(network, VECTORS, spec=spec, groups=["units.2"])
    assert {name: each.kind for name, each in found.groups.items()} == {"units.0": "permutation", "units.2": "scaled"}


def test_the_network_is_left_as_it_is():
    network = layers(nn.ReLU())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    kinds_of(network, VECTORS, reasons=True)
    assert same(network.state_dict(), before)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert prod(before["0.weight"].shape) == 54


def test_a_derived_spec_a_resolved_one_and_none_give_the_same() -> None:
    network = nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    derived = derive_and_prove(network, VECTORS)
    found = [derive_kinds(network, VECTORS, spec=spec) for spec in (None, derived, derived.resolved)]
    for each in found:
        assert {name: kind.kind for name, kind in each.groups.items()} == {"units.0": "scaled", "units.2": "signed"}


class Scaled(nn.Module):
    """A network whose call takes a keyword, and has no default of it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(9, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor, *, scale: float) -> Tensor:
        out: Tensor = self.b(torch.relu(self.a(x) * scale))
        return out


def test_keyword_arguments_are_those_of_the_network() -> None:
    found = derive_kinds(Scaled(), VECTORS, {"scale": 2.0})
    assert [each.kind for each in found.groups.values()] == ["scaled"]


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("mlp", VECTORS), {}, "a str is no network: expected a module"),
        ((nn.Linear(9, 3), VECTORS[0]), {}, "example_inputs: a Tensor, expected a tuple"),
        ((nn.ReLU(), VECTORS), {}, "no parameters"),
        ((nn.Linear(9, 3, dtype=torch.complex64), VECTORS), {}, r"complex parameters[\s\S]*view_as_complex"),
        ((nn.Linear(9, 3), (torch.zeros(2, 7),)), {}, "cannot be traced"),
        ((nn.Linear(9, 3), VECTORS), {"spec": "mlp"}, "spec: a str, expected what derive_and_prove returns"),
        ((nn.Linear(9, 3), VECTORS), {"groups": ["units"]}, "unknown group 'units'"),
        ((nn.Linear(9, 4), VECTORS), {"spec": derive(nn.Linear(9, 3), VECTORS)}, "the tensors do not fit the spec"),
    ],
    ids=map(str, range(8)),
)
def test_wrong_arguments_are_our_errors(arguments: tuple[Any, Any], options: dict[str, Any], words: str) -> None:
    with pytest.raises(StarcliError, match=words):
        derive_kinds(*arguments, **options)


def narrow(width: int = 4, *, bias: bool = True, seed: int = 0) -> set[tuple[str, int]]:
    """Kinds, and numbers of signs, of twenty layers of few units with ReLU."""
    torch.manual_seed(0)
    hidden = [layer for _ in range(20) for layer in (nn.Linear(width, width, bias=bias), nn.ReLU())]
    kinds = kinds_of(nn.Sequential(*hidden, nn.Linear(width, 2)), (torch.zeros(2, width),), seed=seed)
    return {(kind.kind, len(kind.signs)) for kind in kinds.groups.values()}


def test_biases_keep_units_on_in_many_narrow_layers():
    assert narrow() == {("scaled", 0)}


def test_units_that_are_all_off_have_no_signs():
    assert narrow(bias=False) <= {("permutation", 0), ("scaled", 0)}


def test_units_that_are_all_on_do_not_rotate():
    assert narrow(2, seed=2) <= {("permutation", 0), ("scaled", 0)}


def test_a_network_may_give_a_single_number() -> None:
    """A loss over the batch has no axis of examples."""

    class WithLoss(nn.Sequential):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            scores: Tensor = super().forward(x)
            return scores, scores.square().mean()

    network = WithLoss(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3))
    assert derive_kinds(network, (torch.zeros(2, 9),)).continuous_dimension == 6


def test_inputs_of_several_lengths_are_not_cut_into_examples() -> None:
    """Of bags of words torch reads outside of its memory where only the first of their starts is left."""
    network = OfBags()
    network.words = nn.EmbeddingBag(11, 6, include_last_offset=True)
    kinds = derive_kinds(network, (torch.arange(11), torch.tensor([0, 4, 4, 11])))
    assert {name: kind.kind for name, kind in kinds.groups.items()} == {"words": "invertible", "hidden": "scaled"}


def test_a_norm_of_several_values_a_unit_has_no_scale_of_it() -> None:
    """Six channels of four positions each, from a layer with a norm: scales are of channels, 6 here and 4 behind."""
    found = kinds_of(unusual.Painted(), (torch.zeros(4, 5),))
    assert [kind.kind for kind in bearing(found, "norm.weight")] == ["scaled"]
    assert found.continuous_dimension == 6 + 4
