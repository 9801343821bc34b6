"""Kinds as specs write them: read back as they were derived, proved, and refused where they are wrong."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from support.networks.recurrent import LastOutput
from support.shipped import ALIKE, CASES, resolve, shrunk
from support.small_transformers import BERTLike, GPTLike, LlamaLike
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.models.build import build_network
from starcli.symmetry.archspec.lines import claimed_kinds
from starcli.symmetry.archspec.resolve import resolve_for, resolve_spec
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.derive.derive import derive
from starcli.symmetry.kinds.derive_kinds import derive_kinds
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.kinds.prove_kinds import prove_kinds
from starcli.symmetry.kinds.read_spec import written_kinds
from starcli.symmetry.kinds.write_spec import kinds_to_yaml
from starcli.symmetry.proof.trial import TOLERANCE
from starcli.symmetry.shipped import shipped_spec

Subject = tuple[nn.Module, tuple[Tensor, ...], Resolved]
LARGE = {"vgg19-bn", "resnet18-cifar", "wrn-16-1", "densenet", "resnet18", "resnet50"}


def vectors(*activations: nn.Module) -> nn.Module:
    hidden = [each for activation in activations for each in (nn.Linear(6, 6), activation)]
    return nn.Sequential(*hidden, nn.Linear(6, 3))


TOKENS, SERIES, ROWS = torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 6, 9), torch.zeros(2, 6)
OTHERS = {
    "tied gpt": (GPTLike, TOKENS),
    "untied gpt": (lambda: GPTLike(tied=False), TOKENS),
    "llama": (LlamaLike, TOKENS),
    "plain bert": (BERTLike, TOKENS),
    "lstm": (lambda: LastOutput(nn.LSTM), SERIES),
    "gru": (lambda: LastOutput(nn.GRU), SERIES),
    "relu, linear, tanh": (lambda: vectors(nn.ReLU(), nn.Identity(), nn.Tanh()), ROWS),
    "hardtanh": (lambda: vectors(nn.Hardtanh(), nn.ReLU()), ROWS),
}


@cache
def subject(name: str) -> Subject:
    if name in OTHERS:
        make, example = OTHERS[name]
        network = make()
        return network, (example,), derive(network, (example,)).resolved
    case = CASES[name]
    if name == "vgg19-bn":  # of two channels, where one is off, the derivation cannot tell all
        case = replace(case, arguments={"width": 4})
    arguments = case.complete()
    network = build_network(case.name, **arguments)
    network = shrunk(network, case.shrink) if case.shrink > 1 else network
    return network, (case.inputs(2),), resolve(case.name, arguments, network)


@cache
def derived(name: str) -> Kinds:
    network, example, spec = subject(name)
    return derive_kinds(network, example, spec=spec)


NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else [])
    for name in (*CASES, *OTHERS)
    if name not in ALIKE
]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read_back_and_proved(name: str) -> None:
    network, example, spec = subject(name)
    text = kinds_to_yaml(derived(name))
    again = parse(text)
    assert resolve_spec(again, spec.shapes, buffers=spec.buffers).sha256 == spec.sha256
    read = written_kinds(again, spec)
    assert read is not None
    assert read.acts_as(derived(name))
    assert read.continuous_dimension == derived(name).continuous_dimension
    if name in CASES and shipped(name, spec) is not None:  # which is proved below, and acts as this
        return
    proved, refused = prove_kinds(network, example, read, list(spec.groups), seed=1)
    assert not refused
    assert proved.acts_as(read)
    assert proved.worst_difference < TOLERANCE


def proof_of(network: nn.Module, text: str, example: Tensor) -> dict[str, str]:
    spec = parse(text)
    resolved = resolve_for(network, spec)
    kinds = written_kinds(spec, resolved)
    assert kinds is not None
    return prove_kinds(network, (example,), kinds, list(resolved.groups))[1]


def test_a_written_kind_that_holds_for_small_units_alone_is_refused() -> None:
    network = nn.Sequential(nn.Linear(9, 6), nn.Hardtanh(-1000, 1000), nn.Linear(6, 3))
    text = HIDDEN.format("scaled", "h", "h", "h^-1")
    said = "scaled holds as long as units are small, as between the bounds of a clamp"
    assert proof_of(network, text, torch.zeros(2, 9)) == {"h": said}


HIDDEN = (
    "format: 2\ngroups: {{h: {{kind: {}}}}}\ntensors: {{0.weight: [{}], 0.bias: [{}], 2.weight: [_, {}], 2.bias: []}}"
)


@pytest.mark.parametrize(
    ("activation", "said", "words"),
    [
        (nn.ReLU(), ("scaled", "h", "h", "h^-1"), ""),
        (nn.ReLU(), ("scaled", "h^-2", "h^-2", "h^2"), ""),
        (nn.ReLU(), ("scaled", "h", "h", "h^1"), "not scaled as it is written"),
        (nn.ReLU(), ("scaled", "h", "h^0", "h^-1"), "not scaled as it is written"),
        (nn.GELU(), ("scaled", "h", "h", "h^-1"), "not scaled as it is written: gelu in 1"),
        (nn.Tanh(), ("scaled", "h", "h", "h^-1"), "not scaled as it is written: tanh in 1"),
        (nn.Tanh(), ("signed", "h^1", "h", "h"), ""),
        (nn.Tanh(), ("signed", "h", "h^0", "h"), "not signed as it is written"),
        (nn.ReLU(), ("signed", "h^1", "h", "h"), "not signed as it is written: relu in 1"),
        (nn.Identity(), ("invertible", "h", "h", "h^-1"), ""),
        (nn.Identity(), ("invertible", "h^-1", "h^-1", "h"), ""),
        (nn.Identity(), ("orthogonal", "h^1", "h", "h"), ""),
        (nn.Identity(), ("orthogonal", "h", "h", "h^0"), "not orthogonal as it is written"),
        (nn.ReLU(), ("invertible", "h", "h", "h^-1"), "not invertible as it is written: relu in 1"),
    ],
)
def test_claims_hold_as_they_are_written_or_are_refused(activation, said, words) -> None:
    network = nn.Sequential(nn.Linear(9, 6), activation, nn.Linear(6, 3))
    refused = proof_of(network, HIDDEN.format(*said), torch.zeros(2, 9))
    assert refused.get("h", "").startswith(words)
    assert bool(refused) == bool(words)


def test_a_stream_does_not_rotate_where_its_scales_are_not_folded() -> None:
    network, example, spec = subject("vit")
    text = kinds_to_yaml(derived("vit"))
    without = text.partition("fold:")[0]
    kinds = written_kinds(parse(without), spec)
    assert kinds is not None
    _, refused = prove_kinds(network, example, kinds, list(spec.groups))
    assert refused == {"stream": "not orthogonal as it is written: layer_norm in blocks.0.norm1"}
    unfixed = written_kinds(parse(text.replace(", fixes: ones", "")), spec)
    assert unfixed is not None
    assert list(prove_kinds(network, example, unfixed, list(spec.groups))[1]) == ["stream"]


def test_units_that_are_not_asked_for_stay_permutations() -> None:
    network, example, spec = subject("relu, linear, tanh")
    kinds = written_kinds(parse(kinds_to_yaml(derived("relu, linear, tanh"))), spec)
    assert kinds is not None
    some = list(spec.groups)[:1]
    proved, refused = prove_kinds(network, example, kinds, some)
    assert not refused
    assert [name for name, kind in proved.groups.items() if kind.kind != "permutation"] == some


SHAPES = {"a.weight": (6, 2), "a.bias": (6,), "b.weight": (3, 6), "norm.weight": (6,), "c.weight": (12, 3)}
LINES = """format: 2
groups:
  h: {{{}}}
tensors: {{a.*: [{}], b.weight: [_, {}], norm.weight: [h], c.weight: [{}]}}
{}"""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (("size: 6", "h", "h^-1", "(2 h)", ""), "x.yaml:3: group h: exponents, scales, signs and folds are of a group"),
        (("kind: scaled", "h", "h", "(2 h^1:0:1)", ""), "c.weight, `h^1:0:1`: 3 exponents for the 2 copies of h"),
        (
            ("kind: scaled, scales: [[a.bias, nothing]]", "h", "h", "(2 h)", ""),
            "x.yaml:3: group h does not stand on noth",
        ),
        (
            ("kind: scaled, scales: [[a.bias/1, a]]", "h", "h", "(2 h)", ""),
            "x.yaml:3: group h does not stand on a.bi",
        ),
        (("kind: scaled, scales: [[x.*, a]]", "h", "h", "(2 h)", ""), "no tensor and no module with these units"),
        (("kind: scaled, scales: [[a, 'b.{i}']]", "h", "h", "(2 h)", ""), "x.yaml:3: the variable 'i' is not known"),
        (
            ("kind: scaled, scales: [[a, b]]", "h", "h'", "(2 h)", ""),
            "its ways stand either as exponents at the axes or",
        ),
        (("kind: signed, scales: [[a, b]]", "h", "h", "(2 h)", ""), "scales of what is signed are not listed"),
        (("kind: invertible, signs: [[a, b]]", "h", "h", "(2 h)", ""), "signs of what is invertible are not listed"),
        (("kind: invertible", "h", "h^2", "(2 h)", ""), "what is invertible has the exponents 1, 0 and -1 alone"),
        (("kind: scaled", "h", "h'", "(2 h)", "fold: [[norm, b]]"), "only scales of what is `kind: orthogonal` fold"),
        (("kind: orthogonal", "h", "h", "(2 h)", "fold: [[a.weight, b], [head, b]]"), "these units is called head"),
        (("kind: orthogonal", "h", "h", "(2 h)", "fold: [[c.weight, b]]"), "c.weight is no scale of the units of one"),
    ],
)
def test_what_cannot_be_meant_is_refused(said: tuple[str, ...], words: str) -> None:
    spec = parse(LINES.format(*said), "x.yaml")
    resolved = resolve_spec(spec, SHAPES)
    with pytest.raises(StarcliError, match=r"x.yaml: its kinds cannot be meant") as caught:
        written_kinds(spec, resolved)
    assert words in "\n".join(caught.value.problems)


def test_exponents_change_nothing_of_what_is_permuted() -> None:
    plain = LINES.format("size: 6", "h", "h", "(2 h)", "").replace("format: 2", "format: 1")
    marked = LINES.format("kind: scaled", "h", "h'", "(2 h^0)", "")
    assert resolve_spec(parse(plain), SHAPES).sha256 == resolve_spec(parse(marked), SHAPES).sha256
    assert written_kinds(parse(plain), resolve_spec(parse(plain), SHAPES)) is None


def test_copies_and_axes_are_told_apart() -> None:
    listed = LINES.format("kind: scaled, scales: [[a, c/0/1']]", "h", "h", "(2 h)", "")
    marked = LINES.format("kind: scaled", "h", "h^0", "(2 h^0:-1)", "").replace(
        "norm.weight: [h]", "norm.weight: [h^0]"
    )
    found = [written_kinds(parse(text), resolve_spec(parse(text), SHAPES)) for text in (listed, marked)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].acts_as(found[1])
    powers = {(place.tensor, place.start): e for place, e in found[0].groups["h"].exponents.items()}
    assert powers == {("a.weight", 0): 1, ("a.bias", 0): 1, ("c.weight", 6): -1}


def shipped(name: str, resolved: Resolved) -> Kinds | None:
    case = CASES[name]
    spec, variables = shipped_spec(case.name, case.complete()) or (None, {})
    assert spec is not None
    return written_kinds(spec, resolved, variables)


@pytest.mark.parametrize("name", [each for each in NAMES if str(each.values[0]) in CASES])
def test_shipped_specs_write_the_kinds_that_are_derived(name: str) -> None:
    network, example, spec = subject(name)
    written = shipped(name, spec)
    if name.startswith("mlp"):
        assert written is None  # its norms and biases are optional
        return
    assert written is not None
    proved, refused = prove_kinds(network, example, written, list(spec.groups))
    assert not refused
    assert proved.acts_as(written)
    assert written.acts_as(derived(name))


def test_shipped_kinds_are_those_of_the_usual_activation() -> None:
    for name, other in (("resnet", "tanh"), ("vit", "relu"), ("vgg11", "gelu"), ("gpt", "relu")):
        usual, unusual = (shipped_spec(name, arguments) for arguments in ({}, {"activation": other}))
        assert usual is not None
        assert unusual is not None
        assert (usual[0].says_where, unusual[0].says_where) == (True, False)
        assert not claimed_kinds(unusual[0], [line.pattern for line in unusual[0].groups])
