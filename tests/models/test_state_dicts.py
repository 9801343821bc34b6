"""State dicts against torch: what `load_state_dict(strict=True)` takes is taken, as the same function, and no more."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
import torch
from support.state_dict_networks import NETWORKS, made
from support.tensors import same
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.models.flat_network import FlatNetwork
from starcli.models.state_dicts import fit, is_state_of, versions_of

State = Mapping[str, Tensor]


def renamed(state: State, old: str, new: str) -> State:
    return {name.replace(old, new): tensor for name, tensor in state.items()}


def in_float(state: State) -> State:
    return {name: tensor.float() for name, tensor in state.items()}


# each changes a whole state dict of a network, its `_metadata` beside it, as files do
CHANGES: dict[str, Callable[[State], State]] = {
    "whole": lambda state: state,
    "backwards": lambda state: dict(reversed(state.items())),
    "float64": lambda state: {n: t.double() if t.is_floating_point() else t for n, t in state.items()},
    "half": lambda state: {n: t.half() if t.is_floating_point() else t for n, t in state.items()},
    "all in float": in_float,
    "int32": lambda state: {n: t.int() if t.dtype == torch.int64 else t for n, t in state.items()},
    "bytes": lambda state: {n: t.byte() if t.dtype == torch.bool else t for n, t in state.items()},
    "no counters": lambda state: {n: t for n, t in state.items() if "num_batches" not in n},
    "scalars of one": lambda state: {n: t.reshape(1) if t.dim() == 0 else t for n, t in state.items()},
    "scalars of two": lambda state: {n: t.expand(2) if t.dim() == 0 else t for n, t in state.items()},
    "one missing": lambda state: {n: t for n, t in state.items() if n != "head.bias"},
    "one more": lambda state: {**state, "other": torch.zeros(1)},
    "one more inside": lambda state: {**state, "part.old": torch.zeros(1)},
    "one of nothing": lambda state: {**state, "part.down.weight": torch.zeros(1)},
    "not saved": lambda state: {**state, "part.kept": torch.ones(6)},
    "another shape": lambda state: {**state, "head.bias": torch.zeros(4)},
    "no gain": lambda state: {n: t for n, t in state.items() if not n.endswith("gain")},
    "old names": lambda state: renamed(state, "part.weight", "part.w"),
    "old weight norm": lambda state: renamed(
        renamed(state, "parametrizations.weight.original0", "weight_g"), "parametrizations.weight.original1", "weight_v"
    ),
    "no vectors": lambda state: {n: t for n, t in state.items() if not n.endswith(("_u", "_v", "weight.0._v"))},
}


def with_versions(state: State, versions: Any) -> Any:
    found: Any = OrderedDict(state)
    if versions is not None:
        found._metadata = versions
    return found


def outputs(network: nn.Module) -> Tensor:
    with torch.no_grad():
        found: Tensor = network.eval()(torch.randn(4, 6, generator=torch.Generator().manual_seed(1)))
        return found


def is_taken(name: str, state: State, versions: Any) -> tuple[bool, Tensor | None]:
    """Whether torch takes a state dict, and the network's outputs then."""
    network = made(name, 5)
    try:
        network.load_state_dict(with_versions({n: t.clone() for n, t in state.items()}, versions))
    except Exception:  # rules of a network's own raise what they like
        return False, None
    return True, outputs(network)


@cache
def source_of(name: str) -> tuple[State, Any]:
    """A state dict of a network, and its `_metadata`."""
    source = made(name, 3)
    return source.state_dict(), versions_of(source)


@pytest.mark.parametrize("name", NETWORKS)
def test_torch_and_we_take_the_same_state_dicts_for_the_same_function(name: str) -> None:
    taken = [compare(name, change, saved) for change in CHANGES for saved in (True, False)]
    assert 8 < sum(taken) < len(taken) - 8


def compare(name: str, change: str, saved: bool) -> bool:
    """Whether torch takes a changed state dict of a network, and so do we."""
    source, versions = source_of(name)
    versions = versions if saved else None
    state = CHANGES[change]({n: t.clone() for n, t in source.items()})
    before = {n: t.clone() for n, t in state.items()}
    taken, expected = is_taken(name, state, versions)
    try:
        fitted: State | None = fit(made(name, 7), state, versions).state(state)
    except StarcliError:
        fitted = None
    assert (fitted is not None) == taken, (change, saved)
    if fitted is None:
        return False
    assert same(state, before)
    network = FlatNetwork(made(name, 9))
    network.load(fitted)
    torch.testing.assert_close(outputs(network.network), expected, rtol=1e-5, atol=1e-6)
    # what comes out is a state of the network as it is: once more changes nothing
    other = made(name, 11)
    names, versions_there = other.state_dict().keys(), versions_of(other)
    again = fit(other, fitted, versions_there)
    assert fitted.keys() == names
    assert not again.made
    if is_state_of(made(name, 13), state):
        assert fitted.keys() == state.keys()
        assert all(fitted[n] is tensor for n, tensor in state.items())
    floats = {tensor.dtype for tensor in state.values() if tensor.is_floating_point()}
    if len(floats) == 1 and change in ("float64", "half") and name not in ("versioned", "in place"):
        assert {tensor.dtype for tensor in fitted.values() if tensor.is_floating_point()} == floats
    return True


HALVES = {
    "tied parameter": [("part.a.weight", "part.b.weight")],
    "tied module": [("part.a.0.weight", "part.b.0.weight"), ("part.a.1.running_mean", "part.b.1.running_mean")],
    "view": [("part.a.bias", "part.same")],
    "transposed": [("part.a.weight", "part.b")],
}
PAIRS = [(name, pair) for name, pairs in HALVES.items() for pair in pairs]


@pytest.mark.parametrize(("name", "pair"), PAIRS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_shares_memory_is_whole_where_it_was_written_once(
    name: str, pair: tuple[str, str], dtype: torch.dtype
) -> None:
    whole = made(name, 3).to(dtype).state_dict()
    for absent in pair:
        state = {n: t for n, t in whole.items() if n != absent}
        fitted = fit(made(name, 5), state).state(state)
        assert fitted.keys() == whole.keys()
        assert all(fitted[n].dtype == t.dtype and torch.equal(fitted[n], t) for n, t in whole.items())
    neither = {n: t for n, t in whole.items() if n not in pair}
    with pytest.raises(StarcliError) as caught:
        fit(made(name, 5), neither)
    assert caught.value.problems == tuple(f"{n}: missing" for n in sorted(pair))


def test_a_part_of_a_parameter_comes_from_it_and_not_the_other_way_round() -> None:
    whole = made("view", 3).state_dict()
    state = {n: t for n, t in whole.items() if n != "part.row"}
    assert torch.equal(fit(made("view", 5), state).state(state)["part.row"], whole["part.row"])
    state = {n: t for n, t in whole.items() if n != "part.a.weight"}
    with pytest.raises(StarcliError, match=r"part\.a\.weight: missing"):
        fit(made("view", 5), state)


@pytest.mark.parametrize(("name", "pair"), [*PAIRS, ("view", ("part.a.weight", "part.row"))])
def test_copies_of_one_tensor_that_differ_are_refused_by_both_names(name: str, pair: tuple[str, str]) -> None:
    state = {n: t.clone() for n, t in made(name, 3).state_dict().items()}
    for changed in pair:
        other = {**state, changed: state[changed] + 0.5}
        taken, _ = is_taken(name, other, None)
        assert taken
        assert not is_state_of(made(name, 5), other)
        with pytest.raises(StarcliError, match=r"are tied, but differ by up to 0\.5$") as caught:
            fit(made(name, 5), other)
        [line] = caught.value.problems
        assert all(n in line for n in pair)


def test_what_is_wrong_is_said_unknown_names_first() -> None:
    whole = made("batch norm", 3).state_dict()
    state = {**whole, "criterion.weight": torch.ones(3), "head.bias": torch.ones(4)}
    del state["part.0.weight"], state["part.1.num_batches_tracked"]
    with pytest.raises(StarcliError) as caught:
        fit(made("batch norm", 5), state)
    assert caught.value.problems == (
        "criterion.weight: not in the network",
        "head.bias: shape (4,), the network has (3,)",
        "part.0.weight: missing",
    )
    with pytest.raises(StarcliError, match=r"head\.bias: torch\.complex64, the network has torch\.float32"):
        fit(made("batch norm", 5), {**whole, "head.bias": torch.ones(3, dtype=torch.complex64)})


def test_whole_files_of_plain_networks_are_taken_as_they_lie() -> None:
    own_rules = {"old names", "versioned", "in place", "forgiving", "extra state"}
    for name in NETWORKS:
        state = {n: t.clone() for n, t in made(name, 3).state_dict().items()}
        views = {"view", "transposed"}  # places in memory that differ: a load tells
        assert is_state_of(made(name, 5), state) == (name not in own_rules | views), name
        outline = made(name, 5).to("meta") if name not in own_rules | views | {"optional"} else None
        assert outline is None or is_state_of(outline, state)


def test_floats_of_eight_bits_are_taken() -> None:
    state = {n: t.to(torch.float8_e4m3fn) for n, t in made("tied parameter", 3).state_dict().items()}
    assert is_state_of(made("tied parameter", 5), state)
    del state["part.b.weight"]
    fitted = fit(made("tied parameter", 5), state)
    assert fitted.same["part.b.weight"] == "part.a.weight"


def test_what_a_network_leaves_out_of_its_state_dict_cannot_be_known() -> None:
    def leave_out(module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
        del state["part.weight"]

    network = made("linear", 3)
    network.register_state_dict_post_hook(leave_out)
    state = network.state_dict()
    assert "part.weight" not in state
    with pytest.raises(StarcliError) as caught:
        fit(network, state)
    assert caught.value.problems == ("part.weight: the network leaves it out of its own state dict",)


def test_versions_that_are_none_are_no_versions() -> None:
    state = made("versioned", 3).state_dict()
    expected = fit(made("versioned", 5), state).state(state)
    for versions in (3, {"part": 2}, {"part": None}, []):
        found = fit(made("versioned", 5), state, versions).state(state)  # type: ignore[arg-type]
        assert same(found, expected)
    with pytest.raises(StarcliError, match="do not fit the network"):
        fit(made("versioned", 5), state, {"part": {"version": "x"}})


def test_old_names_of_a_shared_module_are_looked_at_behind_the_hook_that_knows_them() -> None:
    def shared() -> nn.Module:
        layer = nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))
        return nn.ModuleDict({"a": layer, "b": layer})

    whole = shared().state_dict()
    old = CHANGES["old weight norm"](whole)
    assert sorted(old) == sorted(f"{side}.{name}" for side in "ab" for name in ("bias", "weight_g", "weight_v"))
    for state in (old, {name: tensor for name, tensor in old.items() if name[0] == "b"}):
        fitted = fit(shared(), state).state(state)
        assert same(fitted, whole)
    shared().load_state_dict({**old, "a.weight_g": old["a.weight_g"] + 1})
    with pytest.raises(
        StarcliError, match=r"a\.parametrizations.*b\.parametrizations.* are tied, but differ by up to 1"
    ):
        fit(shared(), {**old, "a.weight_g": old["a.weight_g"] + 1})
