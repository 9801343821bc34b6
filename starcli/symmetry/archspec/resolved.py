"""A spec that was checked against the tensors of one network: groups with sizes, one canonical tree an axis."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from starcli.errors import StarcliError, number_of
from starcli.symmetry.archspec.blocks import AxisTerm, Block, UnitGroup, blocks, in_cases, terms
from starcli.symmetry.archspec.expression import Node, text
from starcli.symmetry.archspec.stacked import is_stack, members, stacked, unstacked

if TYPE_CHECKING:
    from torch import Tensor

TiedValue = TypeVar("TiedValue")
_DIGITS = re.compile(r"(\d+)")


@lru_cache(1 << 16)
def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Sorting key under which layer2 comes before layer10.

    >>> sorted(["layer10", "layer2"], key=natural_key)
    ['layer2', 'layer10']
    """
    parts = enumerate(_DIGITS.split(name))
    # length and digits order as the numbers do, without making one of thousands of digits
    return tuple((len(digits := part.lstrip("0")), digits) if i % 2 else (-1, part) for i, part in parts)


@dataclass(frozen=True, eq=False, repr=False)
class Resolved:
    """Which group acts on which axis of every tensor of one network.

    Made by `resolve_spec` (from a spec as written), `resolved_from_json` (from a checkpoint) or `make_resolved`, which
    check it: applying it to tensors of these shapes cannot fail. Two are equal where their canonical JSON is; the order
    of tensors and groups never matters.
    """

    groups: Mapping[str, UnitGroup]
    """Groups by name, parents before children."""
    axes: Mapping[str, tuple[Node, ...]]
    """For every tensor the canonical tree of every axis, `_` resolved to its size."""
    shapes: Mapping[str, tuple[int, ...]]
    buffers: frozenset[str]
    """Names of tensors that are permuted, but never matched on."""
    tied: tuple[tuple[str, ...], ...]
    """Sets of tensors that hold equal values; the first of each stands for all when matched or counted."""

    def __repr__(self) -> str:
        """Its size, in one line; `expressions` has all of it."""
        return f"Resolved({number_of(len(self.groups), 'group')}, {number_of(len(self.axes), 'tensor')})"

    def __eq__(self, other: object) -> bool:
        """Whether the canonical JSON of both is the same."""
        return isinstance(other, Resolved) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        """Hash of the canonical JSON."""
        return hash(self.sha256)

    def to_json(self) -> dict[str, Any]:
        """The canonical form as plain dicts, lists, strings and integers, sorted; `resolved_from_json` reads it back.

        {"format": 1, "groups": {"h": {"size": 6}}, "tensors": {"fc.weight": ["h", "9"]},
         "shapes": {"fc.weight": [6, 9]}, "buffers": [], "tied": []}
        """
        return {
            "format": 1,
            "groups": {
                name: {"size": group.size} | ({"within": group.within} if group.within else {})
                for name, group in sorted(self.groups.items())
            },
            "tensors": {name: list(self.expressions[name]) for name in sorted(self.axes)},
            "shapes": {name: list(self.shapes[name]) for name in sorted(self.shapes)},
            "buffers": sorted(self.buffers),
            "tied": [list(names) for names in self.tied],
        }

    @cached_property
    def expressions(self) -> dict[str, tuple[str, ...]]:
        """For every tensor the canonical expressions of its axes as text, as files hold them."""
        return {name: tuple(map(text, axes)) for name, axes in self.axes.items()}

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the canonical JSON (sorted keys, no blanks), in hexadecimal."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @cached_property
    def stacks(self) -> dict[str, tuple[str, ...]]:
        """The tensors that are stacks of those of a list of modules (see `stacked`), and their members by name."""
        return {name: members(name, shape[0]) for name, shape in self.shapes.items() if is_stack(name)}

    @cached_property
    def member_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of a network's tensors, under the names that it has for them: those of stacks one by one."""
        return {
            each: shape[1:] if name in self.stacks else shape
            for name, shape in self.shapes.items()
            for each in self.stacks.get(name, (name,))
        }

    def seen(self, tensors: "Mapping[str, Tensor]") -> "Mapping[str, Tensor]":
        """The tensors of a state dict under the spec's names for them; as they are where it has no stacks."""
        return stacked(tensors, self.stacks)

    def named(self, tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
        """Tensors of the spec as a state dict has them: tied ones under every name, members of stacks as views."""
        return unstacked(dict(self.under_all_names(tensors)), self.stacks)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Number of units of every group."""
        return {name: group.size for name, group in self.groups.items()}

    @cached_property
    def terms(self) -> Mapping[str, tuple[tuple[AxisTerm, ...], ...]]:
        """For every tensor and axis its dense parts; equal trees share theirs."""
        made = {node: terms(node, self.sizes) for node in {node for axes in self.axes.values() for node in axes}}
        return {name: in_cases(tuple(made[node] for node in axes)) for name, axes in self.axes.items()}

    @cached_property
    def blocks(self) -> Mapping[str, tuple[Block, ...]]:
        """Blocks of every tensor with at least one permuted axis; they partition the tensor."""
        return {name: blocks(name, axes, self.groups) for name, axes in self.terms.items() if _permuted(axes)}

    @cached_property
    def blocks_at(self) -> Mapping[tuple[str, int, int, str], tuple[tuple[Block, int], ...]]:
        """By tensor, axis, start on that axis, and group: each block there, with the sub-axis that bears the group."""
        found: dict[tuple[str, int, int, str], list[tuple[Block, int]]] = {}
        for name, made in self.blocks.items():
            for block in made:
                for k, (axis, group) in enumerate(zip(block.axes, block.groups, strict=True)):
                    if group is not None:
                        found.setdefault((name, axis, block.starts[axis], group), []).append((block, k))
        return {key: tuple(each) for key, each in found.items()}

    @cached_property
    def dependent(self) -> frozenset[str]:
        """Tensors with cases, or whose nested groups have parents on another axis (ResNeXt's `[(g out), in]`)."""
        return frozenset(
            name
            for name, found in self.blocks.items()
            if any(
                block.axes[i] != block.axes[k]
                for block in found
                for k, parents in enumerate(block.parents)
                for i in parents
            )
            or any(term.case for axis in self.terms[name] for term in axis)
        )

    @cached_property
    def bearing(self) -> Mapping[str, tuple[str, ...]]:
        """For every group the names of the tensors that bear it."""
        found: dict[str, list[str]] = {name: [] for name in self.groups}
        for tensor, axes in self.terms.items():
            names = dict.fromkeys(factor.group for axis in axes for term in axis for factor in term.factors)
            for group in names:
                if group is not None:
                    found[group].append(tensor)
        return {name: tuple(tensors) for name, tensors in found.items()}

    def names_of(self, tensor: str) -> tuple[str, ...]:
        """All names of a tensor: several where it is tied."""
        return self._tied_names.get(tensor, (tensor,))

    @cached_property
    def _tied_names(self) -> Mapping[str, tuple[str, ...]]:
        return {name: names for names in self.tied for name in names}

    def under_all_names(self, tensors: Mapping[str, TiedValue]) -> Iterator[tuple[str, TiedValue]]:
        """Each value with every name that its tensor has."""
        return ((name, value) for tensor, value in tensors.items() for name in self.names_of(tensor))

    def ancestors(self, group: str) -> tuple[str, ...]:
        """The groups around `group`, outermost first."""
        parent = self.groups[group].within
        return (*self.ancestors(parent), parent) if parent else ()

    @cached_property
    def around(self) -> frozenset[str]:
        """Names of the groups around others."""
        return frozenset(group.within for group in self.groups.values() if group.within)

    def family(self, root: str) -> tuple[str, ...]:
        """A group that stands within none, and all groups within it, in the order of the spec."""
        return tuple(name for name in self.groups if (*self.ancestors(name), name)[0] == root)

    def index_shape(self, group: str) -> tuple[int, ...]:
        """Shape of the group's permutation: sizes of the groups around it, outermost first, then its own."""
        return self._index_shapes[group]

    @cached_property
    def _index_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: tuple(self.groups[each].size for each in (*self.ancestors(name), name)) for name in self.groups}

    def learnable(self) -> tuple[str, ...]:
        """Names of the tensors that are no buffers; of each tied set only the first."""
        repeated = {name for names in self.tied for name in names[1:]}
        return tuple(name for name in self.axes if name not in self.buffers and name not in repeated)

    def log10_symmetries(self) -> float:
        """log10 of the number of permutations that the spec allows.

        sum over groups g of copies(g) * log10(size(g)!), where copies(g) is the number of combinations of units around
        g.
        """
        total = 0.0
        for name, group in self.groups.items():
            copies = math.prod(self.index_shape(name)[:-1])
            total += copies * math.lgamma(group.size + 1) / math.log(10)
        return total

    def movable(self) -> float:
        """Share of the learnable parameters that lie on at least one permuted axis, in [0, 1]."""
        names = self.learnable()
        everything = sum(math.prod(self.shapes[name]) for name in names)
        moved = sum(
            math.prod(block.shape) for name in names for block in self.blocks.get(name, ()) if any(block.groups)
        )
        return moved / everything if everything else 0.0

    def check(self, tensors: Mapping[str, Any]) -> None:
        """Raise StarcliError with every tensor of a state dict that is missing, unknown or of another shape."""
        known = self.member_shapes
        problems = [f"{name}: missing" for name in known if name not in tensors]
        if problems := [*problems, *outside_spec(tensors, known)]:
            raise StarcliError("the tensors do not fit the spec", problems)


def outside_spec(tensors: Mapping[str, Any], known: Mapping[str, tuple[int, ...]]) -> list[str]:
    """A line for each tensor of a state dict that is not among the `known` ones, or of another shape."""
    shapes = {name: tuple(each.shape) for name, each in tensors.items() if hasattr(each, "shape")}  # not extra states
    problems = [f"{name}: the spec does not know it" for name in shapes if name not in known]
    return problems + [
        f"{name}: shape {shape}, the spec has {known[name]}"
        for name, shape in shapes.items()
        if known.get(name, shape) != shape
    ]


def _permuted(axes: tuple[tuple[AxisTerm, ...], ...]) -> bool:
    return any(factor.group is not None for axis in axes for term in axis for factor in term.factors)
