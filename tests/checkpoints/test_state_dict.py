"""State dicts as files have them: prefixes of wrappers, what is left out, and the line that says so."""

import shlex

import pytest
import torch
from support.tensors import same

from starcli.checkpoints.state_dict import (
    MOST_WRAPPERS,
    WRAPPERS,
    Pick,
    StateDict,
    bare_name,
    convert_line,
    under_prefix,
    without_ignored,
    without_wrappers,
)
from starcli.errors import StarcliError

PLAIN = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2), "head.weight": torch.ones(1, 2)}


def under(prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in PLAIN.items()}


@pytest.mark.parametrize("wrappers", [(), WRAPPERS[:1], WRAPPERS, WRAPPERS[::-1]])
def test_prefixes_that_all_weights_have_are_left_out(wrappers: tuple[str, ...]) -> None:
    found = without_wrappers(StateDict(under("".join(wrappers))))
    assert same(found.tensors, PLAIN)
    assert found.notes == ()
    assert {bare_name(name) for name in under("".join(wrappers))} == PLAIN.keys()


def test_a_prefix_that_one_weight_lacks_is_a_name() -> None:
    mixed = {**under("module."), "scale": torch.ones(1)}
    assert same(without_wrappers(StateDict(mixed)).tensors, mixed)


def test_counters_of_averages_go_with_the_prefix_and_are_named() -> None:
    found = without_wrappers(StateDict({"n_averaged": torch.tensor(3), **under("module.")}))
    assert same(found.tensors, PLAIN)
    assert found.notes == ("left out n_averaged, which is no part of the network",)
    alone = {"n_averaged": torch.tensor(3), **PLAIN}
    assert same(without_wrappers(StateDict(alone)).tensors, alone)


def test_wrappers_come_to_an_end() -> None:
    found = without_wrappers(StateDict(under("module." * (MOST_WRAPPERS + 1))))
    assert same(found.tensors, under("module."))


def test_patterns_leave_out_what_they_match_with_or_without_wrappers() -> None:
    found = StateDict(under("module."))
    left = {name: tensor for name, tensor in found.tensors.items() if name != "module.head.weight"}
    for pattern in ("head.*", "module.head.*"):
        assert same(without_ignored(found, "a.pt", [pattern]).tensors, left)
    with pytest.raises(StarcliError, match="--ignore haed"):
        without_ignored(found, "a.pt", ["head.*", "haed.*"])


def test_versions_go_with_their_modules() -> None:
    versions = {"": {}, "module": {"version": 1}, "module.fc": {"version": 2}, "other": {"version": 3}}
    found = under_prefix(StateDict({**under("module."), "other.weight": torch.ones(1)}, versions), "module.", ["moved"])
    assert same(found.tensors, PLAIN)
    assert found.versions == {"": {"version": 1}, "fc": {"version": 2}}
    assert found.notes == ("moved",)


def test_the_line_says_what_was_picked_and_a_shell_reads_it_so() -> None:
    line = convert_line("runs/my model.pt", Pick("ema.state", ("head.*", "x y")))
    assert shlex.split(line) == [
        *("starcli", "convert", "runs/my model.pt", "--key", "ema.state", "--ignore", "head.*", "x y"),
        *("--plain", "-o", "my model.safetensors"),
    ]
    assert convert_line("a.safetensors", Pick("ema")).endswith("-o a.plain.safetensors")  # never over its source
