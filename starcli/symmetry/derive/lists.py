"""Lists of modules whose members do the same to the same, so that they may change places: experts, heads, branches.

A member may be a module of a list, which has tensors of its own, or a row of a stacked parameter that a loop reads row
by row. Whether what each member computes is the same is only counted here; a proof decides.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx

from starcli.symmetry.derive import nodes
from starcli.symmetry.derive.marks import MemberSource, MemberWalk
from starcli.symmetry.derive.member_sources import modules_of_lists, other_readings, rows_of_parameters


@dataclass(frozen=True, eq=False)
class MemberList:
    """Members that may change places, and all that is told by which member it belongs to."""

    name: str
    """Of the list, or of the first parameter that has a row for each member."""
    count: int
    stacks: Mapping[str, tuple[str, ...]]
    """For each stack of tensors the names of its members."""
    rows: Mapping[str, Mapping[fx.Node, int]]
    """For each parameter that has a row for each member the nodes that read one, and which."""
    picks: Mapping[fx.Node, int]
    """Nodes that read, of an axis with a position for each member, that of one member."""
    joins: Mapping[fx.Node, int]
    """Nodes that lay something of all members side by side, and the place of the first among all that they lay."""
    summands: frozenset[str]
    """Stacks and parameters that are added up over all members: their order may be of no matter."""
    still: frozenset[str] = frozenset()
    """Stacks and parameters whose order is of no matter, as that of summands: they stay."""


def member_lists(program: Any, same: Mapping[str, str]) -> list[MemberList]:
    """The lists of an exported program; `same` has the first name of each of its parameters and statistics."""
    graph = program.graph_module.graph
    tensors = {spec.target: node for node, spec in nodes.inputs(program) if spec.target in same}
    possible = [*modules_of_lists(tensors, same), *rows_of_parameters(tensors)]
    possible.sort(key=lambda source: source.name)
    found: list[MemberList] = []
    for count in sorted({source.count for source in possible}):
        for alone in _none_within_another([source for source in possible if source.count == count]):
            sources = _walked(graph, alone).sources
            if sources:
                walk = _walked(graph, [*sources, *other_readings(graph, count, sources)])
                made = [_list_of(walk, each, tensors) for each in walk.together() if _is_list(walk, each)]
                found += [each for each in made if each.name not in {other.name for other in found}]
    return [each for each in found if _outweighs(each, found)]


def are_summands(program: Any, names: Iterable[str]) -> bool:
    """Whether only sums and linear maps lie between these parameters and a sum, over whatever axis."""
    of_name = {spec.target: node for node, spec in nodes.inputs(program)}
    walk = MemberWalk(())
    return all(name in of_name and walk.is_summand(of_name[name]) for name in names)


def _none_within_another(sources: Sequence[MemberSource]) -> list[list[MemberSource]]:
    """The sources without those around others, and without those within others: no tensor is a member of two.

    A network may have as many layers as each has experts.
    """
    inner = [one for one in sources if not any(_lies_within(other, one) for other in sources)]
    outer = [one for one in sources if not any(_lies_within(one, other) for other in sources)]
    return [inner] if len(inner) == len(sources) else [inner, outer]


def _walked(graph: fx.Graph, sources: Sequence[MemberSource]) -> MemberWalk:
    """The walk of those of `sources` whose members meet in no other way than those of lists do."""
    while True:
        walk = MemberWalk(sources)
        walk.through(graph)
        if not walk.broken:
            return walk
        sources = [each for each in sources if each not in walk.broken]


def _is_list(walk: MemberWalk, together: set[MemberSource]) -> bool:
    """Whether there are members among these sources, which compute alike and are joined."""
    strong = any(not source.weak for source in together)
    return strong and bool(walk.joined(together)) and walk.alike(together)


def _list_of(walk: MemberWalk, together: set[MemberSource], tensors: Mapping[str, fx.Node]) -> MemberList:
    """The list of all these sources; `tensors` are the nodes of parameters by name."""
    strong = sorted(
        (source for source in together if not source.weak), key=lambda source: (not source.stacks, source.name)
    )
    stacks = {name: members for source in strong for name, members in source.stacks.items()}
    rows = {source.name: source.nodes for source in strong if not source.stacks}
    reading = {name: [tensors[each] for each in members] for name, members in stacks.items()} | rows
    return MemberList(
        name=strong[0].name,
        count=strong[0].count,
        stacks=stacks,
        rows=rows,
        picks={node: i for source in together if source.weak for node, i in source.nodes.items()},
        joins={node: walk.side_by_side[node] for node in walk.joined(together) & walk.side_by_side.keys()},
        summands=frozenset(name for name, own in reading.items() if all(map(walk.is_summand, own))),
    )


def _outweighs(one: MemberList, lists: Sequence[MemberList]) -> bool:
    """Whether a list has more orders of its members than those within it, and those around it fewer.

    Of the name of a tensor only one number can be stacked.
    """
    inner, outer = ([b for b in lists if _lies_within(b, one)], [b for b in lists if _lies_within(one, b)])
    if inner and math.lgamma(one.count + 1) <= sum(math.lgamma(each.count + 1) for each in inner):
        return False
    return not any(_outweighs(each, lists) for each in outer)


def _lies_within(one: MemberList | MemberSource, other: MemberList | MemberSource) -> bool:
    """Whether a list of modules is part of the members of another."""
    around = f"{other.name}." if other.name else ""
    return one is not other and bool(one.stacks) and bool(other.stacks) and one.name.startswith(around)
