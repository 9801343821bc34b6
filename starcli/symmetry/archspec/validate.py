"""The gate through which every `Resolved` is made: checks of all that must hold, and canonical order.

The JSON of a checkpoint may come from anywhere, so sizes, depths and counts are limited.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from starcli.errors import StarcliError, wrong_fields
from starcli.symmetry.archspec.blocks import AxisTerm, NestingError, UnitGroup, blocks, in_cases, terms
from starcli.symmetry.archspec.expression import Node, canonical, references, size_of_expression, symbols
from starcli.symmetry.archspec.names import is_group_name
from starcli.symmetry.archspec.parse_expression import GrammarError, parse_axis
from starcli.symmetry.archspec.resolved import Resolved, natural_key
from starcli.symmetry.archspec.solve_sizes import interleaving_problem
from starcli.symmetry.archspec.stacked import is_stack, members

MAX_NUMEL = 2**40
MAX_INDEX = 2**28
MAX_NESTING = 8
MAX_DIMENSIONS = 64
MAX_NAMES = 20_000
"""Most groups, and most tensors, of one network."""
MAX_FACTORS = 200_000
"""Most sub-axes of all blocks of all tensors together; a DenseNet of 200 layers has 60,000."""

Size = Annotated[StrictInt, Field(ge=1, le=MAX_NUMEL)]


class GroupJson(BaseModel):
    """The JSON form of one group."""

    model_config = ConfigDict(extra="forbid")
    size: Size
    within: StrictStr | None = None


class ResolvedJson(BaseModel):
    """The JSON form of a resolved spec: types and limits; `make_resolved` checks what it says."""

    model_config = ConfigDict(extra="forbid")
    format: Literal[1]
    groups: dict[StrictStr, GroupJson] = Field(max_length=MAX_NAMES)
    tensors: dict[StrictStr, Annotated[list[StrictStr], Field(max_length=MAX_DIMENSIONS)]] = Field(max_length=MAX_NAMES)
    shapes: dict[
        StrictStr, Annotated[list[Annotated[StrictInt, Field(ge=0, le=MAX_NUMEL)]], Field(max_length=MAX_DIMENSIONS)]
    ]
    buffers: list[StrictStr]
    tied: list[Annotated[list[StrictStr], Field(min_length=2)]]


def resolved_from_json(value: object) -> Resolved:
    """Inverse of `Resolved.to_json`.

    The input may come from anywhere: StarcliError names each field that is wrong, or says what does not hold together.
    """
    try:
        read = ResolvedJson.model_validate(value)
    except ValidationError as error:
        raise StarcliError("this is no resolved spec", wrong_fields(error)) from None
    axes: dict[str, tuple[Node, ...]] = {}
    parsed: dict[str, Node] = {}
    for name, expressions in read.tensors.items():
        for expression in expressions:
            if expression not in parsed:
                parsed[expression] = _parse(expression, name)
        axes[name] = tuple(parsed[expression] for expression in expressions)
    groups = {name: UnitGroup(name, group.size, group.within) for name, group in read.groups.items()}
    shapes = {name: tuple(shape) for name, shape in read.shapes.items()}
    return make_resolved(groups, axes, shapes, frozenset(read.buffers), tuple(map(tuple, read.tied)))


def _parse(expression: str, tensor: str) -> Node:
    """The tree of one canonical expression, in which neither `_` nor braces may be left."""
    try:
        node = parse_axis(expression)
    except GrammarError as error:
        raise StarcliError("this is no resolved spec", error.lines(tensor)) from None
    if any(ref.powers for ref in references(node)) or not all(map(is_group_name, symbols(node))):  # `_` is no name
        raise StarcliError("this is no resolved spec", [f"{tensor}: {expression!r} is not resolved"])
    return node


def make_resolved(
    groups: Mapping[str, UnitGroup],
    axes: Mapping[str, tuple[Node, ...]],
    shapes: Mapping[str, tuple[int, ...]],
    buffers: frozenset[str],
    tied: tuple[tuple[str, ...], ...],
) -> Resolved:
    """A resolved spec from expanded trees and solved groups, in canonical form and order.

    StarcliError lists all that is wrong: whatever applying a permutation relies on is checked here.
    """
    problems = _group_problems(groups, axes) or _tensor_problems(groups, axes, shapes, buffers, tied)
    if problems:
        raise StarcliError("the spec does not hold together", problems)
    names = sorted(axes, key=natural_key)
    sizes = {name: group.size for name, group in groups.items()}
    resolved = Resolved(
        groups={name: groups[name] for name in sorted(groups, key=lambda g: (_depth(g, groups), natural_key(g)))},
        axes={name: tuple(canonical(node, sizes) for node in axes[name]) for name in names},
        shapes={name: tuple(shapes[name]) for name in names},
        buffers=buffers,
        tied=tuple(sorted(tuple(sorted(each, key=natural_key)) for each in tied)),
    )
    problems = _nesting_problems(resolved) or _tied_problems(resolved)
    if problems:
        raise StarcliError("the spec does not hold together", problems)
    return resolved


def _depth(name: str, groups: Mapping[str, UnitGroup]) -> int:
    """Number of groups around `name`, or one more than is allowed where they go in circles or too deep."""
    depth = 0
    parent = groups[name].within
    while parent is not None and depth <= MAX_NESTING:
        depth += 1
        parent = groups[parent].within if parent in groups else None
    return depth


def _group_problems(groups: Mapping[str, UnitGroup], axes: Mapping[str, tuple[Node, ...]]) -> list[str]:
    """Groups that no axis bears or that are not listed, impossible names, and parents in circles or too deep."""
    used = {name for nodes in axes.values() for node in nodes for name in symbols(node)}
    problems = [f"group {name}: an axis bears it, but it is not listed" for name in sorted(used - groups.keys())]
    problems += [f"group {name}: no axis bears it" for name in groups if name not in used]
    for name, group in groups.items():
        if not is_group_name(name):
            problems.append(f"group {name!r}: this cannot be a name")
        elif group.within is not None and group.within not in groups:
            problems.append(f"group {name}: lies within {group.within}, which no axis bears")
        elif _depth(name, groups) > MAX_NESTING:
            problems.append(f"group {name}: lies within itself, or more than {MAX_NESTING} deep")
    return problems


def _tensor_problems(
    groups: Mapping[str, UnitGroup],
    axes: Mapping[str, tuple[Node, ...]],
    shapes: Mapping[str, tuple[int, ...]],
    buffers: frozenset[str],
    tied: tuple[tuple[str, ...], ...],
) -> list[str]:
    """Shapes that do not agree with the axes, and buffers and tied sets that name no tensor."""
    sizes = {name: group.size for name, group in groups.items()}
    problems = [f"{name}: a shape, but no axes" for name in shapes if name not in axes]
    problems += _stack_problems(shapes)
    problems += [f"{name}: shape {shape} has an axis of length 0" for name, shape in shapes.items() if 0 in shape]
    for name, nodes in axes.items():
        if name not in shapes:
            problems.append(f"{name}: axes, but no shape")
        elif math.prod(shapes[name]) > MAX_NUMEL:
            problems.append(f"{name}: shape {shapes[name]} is too large")
        elif (lengths := tuple(size_of_expression(node, sizes) for node in nodes)) != shapes[name]:
            problems.append(f"{name}: shape {shapes[name]}, its axes give {lengths}")
        else:
            problems += [f"{name}: {found}" for node in nodes if (found := interleaving_problem(node, sizes))]
    problems += [f"buffer {name}: there is no such tensor" for name in sorted(buffers) if name not in axes]
    names = [name for each in tied for name in each]
    problems += [f"tied {name}: there is no such tensor" for name in dict.fromkeys(names) if name not in axes]
    problems += [f"tied {a}: named twice" for a, b in pairwise(sorted(names)) if a == b]
    return problems


def _stack_problems(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Stacks without an axis of members, with too many, or of tensors that are there by themselves."""
    stacks = {name: shape for name, shape in shapes.items() if is_stack(name)}
    problems = [f"{name}: no axis for its members" for name, shape in stacks.items() if not shape]
    if sum(shape[0] for shape in stacks.values() if shape) > MAX_NAMES:
        return [*problems, f"more than {MAX_NAMES} tensors in stacks"]
    names = [each for name, shape in stacks.items() if shape for each in members(name, shape[0])]
    return [*problems, *(f"{a}: in a stack, and by itself" for a in names if a in shapes)] + [
        f"{a}: in two stacks" for a, b in pairwise(sorted(names)) if a == b
    ]


def _nesting_problems(resolved: Resolved) -> list[str]:
    """Nested groups whose parent is not unique, and groups whose permutations would not fit into memory."""
    problems = [
        f"group {name}: {math.prod(resolved.index_shape(name))} units in all are too many"
        for name in resolved.groups
        if math.prod(resolved.index_shape(name)) > MAX_INDEX
    ]
    known: dict[Node, tuple[AxisTerm, ...]] = {}
    sound: set[tuple[Node, ...]] = set()
    factors = 0
    for name, axes in resolved.axes.items():
        try:
            for axis in axes:
                if axis not in known:
                    known[axis] = ()  # one that has too many parts is not tried again
                    known[axis] = terms(axis, resolved.sizes)
                    factors += sum(len(term.factors) for term in known[axis])
            made = in_cases(tuple(known[axis] for axis in axes))
            factors += _factors(made)
            if factors > MAX_FACTORS:
                return [*problems, f"{name}: the tensors fall into more parts than any network's"]
            if axes not in sound:
                blocks(name, made, resolved.groups)
                sound.add(axes)
        except NestingError as error:
            problems.append(f"{name}: {error}")
    return problems


def _factors(axes: tuple[tuple[AxisTerm, ...], ...]) -> int:
    """Number of sub-axes of all blocks of a tensor; each block is a combination of one term for each axis."""
    combinations = math.prod(len(terms) for terms in axes)
    return sum(combinations // len(terms) * sum(len(term.factors) for term in terms) for terms in axes if terms)


def _tied_problems(resolved: Resolved) -> list[str]:
    """Tied tensors with different shapes or axes."""
    return [
        f"tied {names[0]} and {other}: {resolved.shapes[names[0]]} {resolved.expressions[names[0]]} against "
        f"{resolved.shapes[other]} {resolved.expressions[other]}"
        for names in resolved.tied
        for other in names[1:]
        if (resolved.shapes[other], resolved.axes[other]) != (resolved.shapes[names[0]], resolved.axes[names[0]])
    ]
