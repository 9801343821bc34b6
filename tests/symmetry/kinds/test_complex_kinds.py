"""Pairs of units under rotary positions: which act as complex numbers, and that nothing larger does."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import pytest
import torch
from support.rotary import WORDS, Decoder, as_complex, by_halves, by_neighbours, partly
from torch import Tensor

from starcli.errors import StarcliError
from starcli.symmetry.archspec.resolve import resolve_for
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.derive.derive import derive_and_prove
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.derive_kinds import derive_kinds
from starcli.symmetry.kinds.kinds import Kinds, kinds_from_json
from starcli.symmetry.kinds.prove_kinds import prove_kinds
from starcli.symmetry.kinds.read_spec import written_kinds
from starcli.symmetry.kinds.write_spec import kinds_to_yaml

TOKENS = (torch.zeros(2, 5, dtype=torch.int64),)
VALUES = 4 * 4**2
"""Dimension of values with outputs in four heads of four units; those of the embedding come to it."""
EMBEDDING = 8**2
NETWORKS: dict[str, tuple[Callable[[], Decoder], str, str, int]] = {
    # two heads of keys, for two of queries each: 4 units are 2 complex numbers in each
    "halves": (Decoder, "k.weight", "(q.head k.pairs)", 2 * 4 + VALUES // 2),
    "neighbours": (partial(Decoder, by_neighbours, bias=False), "q.weight", "(q.head q.unit k.pairs)", 40),
    "one head of keys": (partial(Decoder, kv=1), "q.weight", "(q k.pairs)", 4 + VALUES // 4),
    # the other 4 of 8 units have no positions: matrices act on these
    "partly": (partial(Decoder, partly, units=8), "k.weight", "(q.head (k.pairs + q.unit_2))", 2 * (4 + 16 + 64)),
    "in sections": (
        partial(Decoder, by_neighbours, fused="sections"),
        "qkv.weight",
        "(2 qkv.head qkv.pairs) + (qkv.head qkv.unit)",
        4 * 4 + VALUES,
    ),
    "in heads": (
        partial(Decoder, fused="heads"),
        "qkv.bias",
        "(qkv.head (qkv.pairs + qkv.pairs + qkv.unit))",
        4 * 4 + VALUES,
    ),
    "one head": (partial(Decoder, heads=1, fused="heads"), "qkv.weight", "qkv.pairs + qkv.pairs + qkv", 4 + 16),
    "as complex numbers": (partial(Decoder, as_complex, kv=4), "q.weight", "(q.head k.pairs)", 4 * 4 + VALUES),
    "normalised, then scaled": (partial(Decoder, norm="weight"), "q.weight", "(q.head q.unit 4)", VALUES // 2),
    "normalised": (partial(Decoder, norm="plain"), "k.weight", "(q.head 4)", VALUES // 2),
}


FAST = ("halves", "partly", "in sections", "normalised, then scaled")


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_pairs_are_found_and_written(name: str) -> None:
    make, tensor, axis, dimension = NETWORKS[name]
    torch.manual_seed(0)
    network = make()
    derived = derive_and_prove(network, TOKENS)
    found = derive_kinds(network, TOKENS, spec=derived)
    assert found.whole.expressions[tensor][0] == axis
    assert found.continuous_dimension == dimension + EMBEDDING
    neighbours = name in ("in sections", "neighbours", "as complex numbers")
    pairs = [kind for kind in found.groups.values() if kind.pairs]
    assert [each.pairs for each in pairs] == ["neighbours" if neighbours else "halves"] * ("pairs" in axis)
    assert all({*each.exponents.values()} == {-1, 1} for each in pairs)
    spec = parse(kinds_to_yaml(found))
    assert resolve_for(network, spec) == derived.resolved  # what is not permuted is no part of the permutations
    written = written_kinds(spec, derived.resolved)
    assert written is not None
    assert written.acts_as(found)
    again = kinds_from_json(found.to_json())
    assert (again, again.sha256) == (found, found.sha256)


def test_written_pairs_are_proved() -> None:
    """And refused in another layout, and where queries and keys are acted on alike."""
    network = Decoder(fused="sections")
    derived = derive_and_prove(network, TOKENS)
    found = derive_kinds(network, TOKENS, spec=derived)
    groups = list(derived.resolved.groups)
    assert prove_kinds(network, TOKENS, found, groups)[1] == {}
    kind = found.groups["qkv.pairs"]
    for wrong in (replace(kind, pairs="neighbours"), replace(kind, exponents=dict.fromkeys(kind.at, 1))):
        claimed = replace(found, groups={**found.groups, kind.group: wrong})
        left, refused = prove_kinds(network, TOKENS, claimed, groups)
        assert refused.keys() == {"qkv.pairs"}
        assert refused["qkv.pairs"].startswith("not complex as it is written")
        assert left.whole == derived.resolved
        assert left.continuous_dimension == found.continuous_dimension - 16


@pytest.mark.parametrize(("rotate", "dimension"), [(by_halves, 4), (by_neighbours, 4), (lambda x: x, 16)])
def test_nothing_else_acts_to_first_order(rotate: Callable[[Tensor], Tensor], dimension: int) -> None:
    """Of all matrices X and Y that act on the queries and keys of a head: null space of the Jacobian."""
    torch.manual_seed(0)
    network = Decoder(rotate, heads=1, kv=1).double()
    weights = {name: torch.randn_like(each) for name, each in network.named_parameters()}
    tokens = torch.randint(0, WORDS, (16, 5))

    def outputs(x: Tensor, y: Tensor) -> Tensor:
        moved = {f"{name}.{end}": g @ weights[f"{name}.{end}"] for name, g in (("q", x), ("k", y)) for end in
                 ("weight", "bias")}  # fmt: skip
        found: Tensor = torch.func.functional_call(network, weights | moved, tokens)
        return found.flatten()

    one = torch.eye(4).double()
    jacobian = torch.cat([each.flatten(1) for each in torch.func.jacrev(outputs, (0, 1))(one, one)], 1)
    values = torch.linalg.svdvals(jacobian)
    assert int((values < 1e-10 * values[0]).sum()) == dimension


def test_units_that_do_not_turn_are_no_pairs() -> None:
    """Two pairs of four stand still: more acts on these than complex numbers."""

    def rotate(x: Tensor) -> Tensor:
        turned = by_neighbours(x)
        return torch.where(torch.arange(x.shape[-1]) < 4, turned, x)

    found = derive_kinds(Decoder(rotate, units=8), TOKENS)
    assert found.whole.expressions["k.weight"][0] == "(q.head (k.pairs + 4))"
    assert found.groups["k.pairs"].pairs == "neighbours"


@cache
def grouped() -> Kinds:
    """The kinds of a decoder whose queries share keys."""
    return derive_kinds(Decoder(), TOKENS)


def test_elements_are_of_pairs_alone() -> None:
    kinds = grouped()
    element = Element.random(kinds, torch.Generator().manual_seed(0))
    assert not (element.permutation.index["k.pairs"] - torch.arange(4)).any()
    tensors = element.to_tensors()
    assert "k.pairs" not in tensors
    assert tensors["matrix:k.pairs"].shape == (2, 4, 4)
    assert Element.from_tensors(kinds, tensors).compose(element.inverse()).is_identity(tolerance=1e-12)
    tensors["matrix:k.pairs"] = tensors["matrix:k.pairs"] + torch.eye(4)[[1, 0, 3, 2]]
    with pytest.raises(StarcliError) as raised:
        Element.from_tensors(kinds, tensors)
    assert raised.value.problems == ("matrix of k.pairs: it is none of complex numbers that act on pairs, halves",)
    tensors["matrix:k.pairs"] = torch.zeros(2, 4, 4).double()
    with pytest.raises(StarcliError) as raised:
        Element.from_tensors(kinds, tensors)
    assert raised.value.problems == ("matrix of k.pairs: it has no inverse",)


@pytest.mark.parametrize("change", [{"pairs": None}, {"kind": "invertible"}, {"pairs": "thirds"}])
def test_records_of_no_pairs_are_refused(change: dict[str, object]) -> None:
    record = grouped().to_json()
    record["groups"]["k.pairs"] |= change
    with pytest.raises(StarcliError, match="no record of kinds"):
        kinds_from_json(record)
