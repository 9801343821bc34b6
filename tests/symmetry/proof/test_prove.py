"""Proofs: right specs are proved, wrong ones are caught by the names of their groups, nothing is fooled by zeros."""

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from support.proof import proof_of, resolve
from support.tensors import same
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.symmetry.proof.prove import Proof, prove


class ConvNet(nn.Module):
    """Two convolutions with BatchNorm, a residual, flatten, a linear head: all at constant initial values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
        self.conv3 = nn.Conv2d(5, 6, 1)
        self.scale = nn.Parameter(torch.full((6, 1, 1), 1e-6))
        self.head = nn.Linear(6 * 4, 3)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = x + self.scale * self.conv3(self.bn2(self.conv2(x)).relu())
        return self.head(nn.functional.max_pool2d(x, 2).flatten(1))


CONV = """
format: 1
tensors:
  conv1.weight: [stream]
  bn1.*: [stream]
  conv2.weight: [inner, stream]
  bn2.*: [inner]
  conv3.weight: [stream, inner]
  conv3.bias: [stream]
  scale: [stream]
  head.weight: [_, (stream 4)]
  head.bias: []
"""


class Attention(nn.Module):
    """One block of self-attention over tokens, with class logits from their mean."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.q, self.k, self.v = (nn.Linear(6, 8, bias=bias) for _ in range(3))
        self.o = nn.Linear(8, 6)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 4)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        x = self.embed(tokens)
        q, k, v = (f(x).unflatten(-1, (2, 4)).transpose(1, 2) for f in (self.q, self.k, self.v))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return {"logits": self.head(self.norm(x + self.o(mixed)).mean(1))}


ATTENTION = """
format: 1
groups:
  heads: {size: 2}
  qk: {within: heads}
  vo: {within: heads}
tensors:
  embed.weight: [_, stream]
  q.weight: [(heads qk), stream]
  k.weight: [(heads qk), stream]
  v.weight: [(heads vo), stream]
  q.bias: [(heads qk)]
  k.bias: [(heads qk)]
  v.bias: [(heads vo)]
  o.weight: [stream, (heads vo)]
  o.bias: [stream]
  norm.*: [stream]
  head.weight: [_, stream]
  head.bias: []
"""
TOKENS = (torch.arange(10).reshape(2, 5),)
IMAGES = (torch.zeros(2, 3, 4, 4),)


def without(text: str, *lines: tuple[str, str]) -> str:
    for old, new in lines:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def convnet() -> ConvNet:
    return ConvNet()


@pytest.fixture(scope="module")
def attention() -> Attention:
    return Attention()


@pytest.mark.parametrize("seed", range(5))
def test_right_specs_are_proved(convnet: ConvNet, attention: Attention, seed: int) -> None:
    for network, text, example in ((convnet, CONV, IMAGES), (attention, ATTENTION, TOKENS)):
        proof = proof_of(network, text, example, seed)
        assert proof.proved, proof.reasons
        assert set(proof.verdicts.values()) == {"proved"}
        assert 0 < proof.worst_difference < 1e-12


def test_the_network_is_left_alone(convnet: ConvNet) -> None:
    convnet.train()
    before = {name: tensor.clone() for name, tensor in convnet.state_dict().items()}
    random = torch.random.get_rng_state()
    proof_of(convnet, CONV, IMAGES)
    assert convnet.training
    assert same(before, convnet.state_dict())
    assert torch.equal(random, torch.random.get_rng_state())
    assert torch.get_default_dtype() == torch.float32
    assert all(parameter.requires_grad for parameter in convnet.parameters())


@pytest.mark.parametrize(
    ("change", "guilty"),
    [
        ((("scale: [stream]", "scale: []"),), {"stream"}),
        ((("conv3.bias: [stream]", "conv3.bias: []"),), {"stream"}),
        ((("  bn2.*: [inner]", "  bn2.weight: [inner]\n  bn2.{x:name}: []"),), {"inner"}),
        ((("conv2.weight: [inner, stream]", "conv2.weight: [inner, _]"),), {"stream"}),
        ((("(stream 4)", "(4 stream)"),), {"stream"}),
        ((("(stream 4)", "(stream + stream + stream + stream)"),), {"stream"}),
        (
            (("conv1.weight: [stream]", "conv1.weight: [other]"), ("bn1.*: [stream]", "bn1.*: [other]")),
            {"stream", "other"},
        ),
    ],
    ids=["scale", "bias", "batchnorm", "input", "swapped", "repeated", "split"],
)
def test_wrong_specs_are_caught_by_name(convnet: ConvNet, change: Sequence[tuple[str, str]], guilty: set[str]) -> None:
    proof = proof_of(convnet, without(CONV, *change), IMAGES)
    assert not proof.proved
    assert set(proof.failed) == guilty
    assert proof.worst_difference > 1e-4
    assert all(" stands on " in proof.reasons[group] for group in guilty)


@pytest.mark.parametrize(
    ("change", "guilty"),
    [
        (
            (("k.weight: [(heads qk)", "k.weight: [(qk heads)"), ("k.bias: [(heads qk)", "k.bias: [(qk heads)")),
            {"heads", "qk"},
        ),
        ((("k.weight: [(heads qk)", "k.weight: [(heads vo)"),), {"qk", "vo"}),
        ((("o.weight: [stream, (heads vo)]", "o.weight: [stream, _]"),), {"heads", "vo"}),
        ((("  qk: {within: heads}\n", ""), ("(heads qk)", "qk")), {"heads", "qk"}),
        ((("embed.weight: [_, stream]", "embed.weight: [vocabulary, stream]"),), {"vocabulary"}),
    ],
    ids=["order", "mixed", "output", "across heads", "tokens"],
)
def test_wrong_attention_is_caught_by_name(
    attention: Attention, change: Sequence[tuple[str, str]], guilty: set[str]
) -> None:
    assert set(proof_of(attention, without(ATTENTION, *change), TOKENS).failed) == guilty


def test_one_permutation_for_all_heads_is_a_smaller_symmetry(attention: Attention) -> None:
    assert proof_of(attention, without(ATTENTION, ("  qk: {within: heads}\n", "  qk: {size: 4}\n")), TOKENS).proved


def test_a_tensor_without_effect_neither_proves_nor_refutes(attention: Attention) -> None:
    # A key's bias shifts all scores of a query alike, and softmax does not see it.
    assert proof_of(attention, without(ATTENTION, ("k.bias: [(heads qk)]", "k.bias: []")), TOKENS).proved


@dataclasses.dataclass
class Output:
    logits: Tensor
    features: tuple[Tensor, ...]
    count: int


class Tied(nn.Module):
    """An autoencoder whose decoder is its encoder, and which returns a dataclass."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(5, 5), nn.Linear(5, 5)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Output:
        hidden = self.encoder(x).tanh()
        return Output(hidden @ self.decoder.weight + self.decoder.bias, (hidden.sum(-1),), 3)


TIED = """
format: 1
tensors:
  "*.weight": [hidden]
  encoder.bias: [hidden]
  decoder.bias: []
tied: [[encoder.weight, decoder.weight]]
"""


def test_tied_tensors_and_structured_outputs() -> None:
    assert proof_of(Tied(), TIED, (torch.zeros(1, 5),)).proved
    torn = TIED.replace('"*.weight": [hidden]', "encoder.weight: [hidden]\n  decoder.weight: []").split("tied:")[0]
    assert proof_of(Tied(), torn, (torch.zeros(1, 5),)).failed == ("hidden",)


def test_groups_of_two_are_really_swapped() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2))
    text = 'format: 1\ntensors:\n  "0.weight": [h]\n  "0.bias": []\n  "2.weight": [_, h]\n  "2.bias": []\n'
    assert all(proof_of(network, text, (torch.zeros(2, 3),), seed).failed == ("h",) for seed in range(4))


def test_a_spec_without_groups_is_proved(convnet: ConvNet) -> None:
    proof = proof_of(nn.Linear(3, 2), "format: 1\ntensors: {weight: [], bias: []}", (torch.zeros(2, 3),))
    assert proof.proved
    assert proof.verdicts == {}


def test_shapes_and_outputs_that_no_proof_can_use(convnet: ConvNet) -> None:
    spec = resolve(convnet, CONV)
    with pytest.raises(StarcliError, match="do not fit the spec"):
        prove(nn.Linear(3, 2), spec, IMAGES)

    class Infinite(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) / 0

    with pytest.raises(StarcliError, match="not finite"):
        proof_of(Infinite(3, 2), "format: 1\ntensors: {weight: [], bias: []}", (torch.zeros(2, 3),))

    class Silent(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).argmax(-1)

    with pytest.raises(StarcliError, match="no tensor of numbers"):
        proof_of(Silent(3, 2), "format: 1\ntensors: {weight: [], bias: []}", (torch.zeros(2, 3),))


def test_records_survive_json_and_lies_do_not(convnet: ConvNet) -> None:
    proof = proof_of(convnet, without(CONV, ("scale: [stream]", "scale: []")), IMAGES)
    assert Proof.from_json(proof.to_json()) == proof
    assert proof_of(convnet, CONV, IMAGES).to_json() == proof_of(convnet, CONV, IMAGES).to_json()
    for lie in ({"proved": True}, {"worst_difference": "0"}, {"verdicts": {"a": "fine"}}, {"more": 1}):
        with pytest.raises(StarcliError, match="no record of a proof"):
            Proof.from_json({**proof.to_json(), **lie})
    with pytest.raises(StarcliError, match="no record of a proof"):
        Proof.from_json(None)


@pytest.mark.parametrize("counts", [torch.arange(6), torch.zeros(6, dtype=torch.int64)])
def test_integers_that_change_nothing_are_no_place_that_could_refute(counts: Tensor) -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    network.register_buffer("counts", counts)
    spec = "format: 1\ntensors: {0.*: [h], 2.weight: [_, h], 2.bias: [], counts: [h]}"
    assert proof_of(network, spec, (torch.zeros(3, 4),)).verdicts == {"h": "proved"}
