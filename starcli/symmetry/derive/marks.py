"""Marks of the nodes of a graph that depend on a single member of a list.

The graph is walked once. Marks end where all members meet in a sum (or another operator that does not care for order),
or are laid side by side in order. Where members meet otherwise, as layers do that follow each other, what they are
members of is no list whose members may change places.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import fx

from starcli.symmetry.derive import nodes

_ANY_ORDER = {"add", "maximum", "minimum", "max", "min", "logical_or", "bitwise_or"}
"""Operators that join members in any order. Not products: the scale and sign of one factor may go to another, which no
kind of symmetry of a stack says."""
_INTO_ROWS = {"index_add", "index_put", "scatter_add"}
"""Operators that write, or add, what a member computed to rows of what all members write to."""
_JOINING = {*_ANY_ORDER, *_INTO_ROWS, "where"}
_PASSING = {*nodes.AS_IT_IS, *nodes.RESHAPED, *nodes.TURNED, *nodes.CONCATENATED, "dropout", "add"}
"""Operators after which a summand is still one."""
_LINEAR = {"neg", "mul", "div", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"}
"""Linear maps of one operand, the same for each member: what is added before is added behind."""
_BIAS = {
    "linear": 2, "conv1d": 2, "conv2d": 2, "conv3d": 2, "conv_transpose1d": 2, "conv_transpose2d": 2,
    "conv_transpose3d": 2, "bilinear": 3, "addmm": 0, "baddbmm": 0, "batch_norm": 2, "instance_norm": 2,
    "layer_norm": 3, "group_norm": 3,
}  # fmt: skip
"""Which argument of a layer is added to all else."""


@dataclass(frozen=True, eq=False)
class MemberSource:
    """Where marks come from: tensors of a list, rows of a parameter, or positions of an axis of something else."""

    name: str
    count: int
    nodes: Mapping[fx.Node, int]
    stacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of a list of modules the stacks of its tensors, and the names of their members."""
    weak: bool = False
    """Whether it is only read along with members: an axis that may have other meanings."""


@dataclass(frozen=True)
class MemberMark:
    """The members that a node depends on: one, or those that an operator without order has joined so far."""

    members: frozenset[int]
    sources: frozenset[MemberSource]
    joined_by: str = ""


class MemberWalk:
    """One walk through a graph; `broken` are the sources, of equally many members each, that met as no list does."""

    def __init__(self, sources: Sequence[MemberSource]) -> None:
        self.sources = list(sources)
        self.marks: dict[fx.Node, MemberMark] = {
            node: MemberMark(frozenset([i]), frozenset([source]))
            for source in sources
            for node, i in source.nodes.items()
        }
        self.seeds = frozenset(self.marks)
        self.broken: set[MemberSource] = set()
        self.met: list[frozenset[MemberSource]] = []
        self.joins: dict[fx.Node, frozenset[MemberSource]] = {}
        self.side_by_side: dict[fx.Node, int] = {}
        self.written: set[fx.Node] = set()

    def through(self, graph: fx.Graph) -> None:
        """Mark all nodes."""
        alive = nodes.alive(graph)
        for node in graph.nodes if self.marks else ():
            given = [each for each in node.all_input_nodes if each in self.marks]
            if not given or node in self.seeds or node not in alive:
                continue
            if node.op == "output":
                self.refuse(given)
            else:
                self.mark(node, given)

    def mark(self, node: fx.Node, given: Sequence[fx.Node]) -> None:
        """Mark one node with marked operands."""
        marks = [self.marks[each] for each in given]
        sources = frozenset().union(*(mark.sources for mark in marks))
        alone = {mark.members for mark in marks}
        name = nodes.name(node.target)
        written = nodes.mutates(node.target)
        if len(alone) == 1 and not any(mark.joined_by for mark in marks) and not self._writes_elsewhere(node, given):
            self.met.append(sources)
            self.marks[node] = MemberMark(marks[0].members, sources)
        elif (name in _ANY_ORDER and self._joinable(node, marks, name)) or self._fills(node, given):
            members = frozenset().union(*alone)
            self.met.append(sources)
            if len(members) == next(iter(sources)).count:
                self.joins[node] = sources
            else:
                self.marks[node] = MemberMark(members, sources, "add" if name in _INTO_ROWS else name)
        elif name in nodes.CONCATENATED and (first := self._in_order(node)) is not None:
            self.met.append(sources)
            self.joins[node] = sources
            self.side_by_side[node] = first
        else:
            self.refuse(given)
            return
        target = node.args[0] if written else None
        if isinstance(target, fx.Node):
            self.marks.pop(target, None)
            if node in self.marks:
                self.marks[target] = self.marks[node]
                self.written.add(target)

    def _writes_elsewhere(self, node: fx.Node, given: Sequence[fx.Node]) -> bool:
        """Whether it writes what one member computed into what is no member's, but for the first summand of a sum."""
        target = node.args[0] if nodes.mutates(node.target) and node.args else None
        if not isinstance(target, fx.Node) or target in given:
            return False
        return nodes.name(node.target) not in _ANY_ORDER or nodes.shows(target) is not None

    def _joinable(self, node: fx.Node, marks: Sequence[MemberMark], name: str) -> bool:
        """Whether an operator without order joins different members, none twice."""
        count = sum(len(mark.members) for mark in marks)
        operands = [each for each in node.args if isinstance(each, fx.Node)]
        return (
            len(operands) == len(marks)
            and all(mark.joined_by in ("", name) for mark in marks)
            and len(frozenset().union(*(mark.members for mark in marks))) == count
        ) or (len(marks) == 1 and marks[0].joined_by == name)

    def _fills(self, node: fx.Node, given: Sequence[fx.Node]) -> bool:
        """Whether it writes what one member computed to rows of what others wrote to, or none yet.

        `where(chosen, new, before)` does, too, which leaves those before it that were not chosen.
        """
        name = nodes.name(node.target)
        written, how = (node.args[2:3], "where") if name == "where" else (node.args[:1], "add")
        before = self.marks.get(written[0]) if written and isinstance(written[0], fx.Node) else None
        new = [self.marks[each] for each in given if each not in written]
        numbers = frozenset().union(*(mark.members for mark in new))
        free = before is None or (before.joined_by in ("", how) and numbers.isdisjoint(before.members))
        return name in _JOINING - _ANY_ORDER and len(numbers) == 1 and free

    def _in_order(self, node: fx.Node) -> int | None:
        """Where in a list of tensors those of the members begin, if there is one of each, in order, without a gap."""
        listed = node.args[0] if isinstance(node.args[0], list | tuple) else []
        found = [self.marks.get(each) if isinstance(each, fx.Node) else None for each in listed]
        marked = [(place, mark) for place, mark in enumerate(found) if mark is not None]
        if any(mark.joined_by for _, mark in marked):
            return None
        first, count = marked[0][0], next(iter(marked[0][1].sources)).count
        wanted = [(first + i, frozenset([i])) for i in range(count)]
        return first if [(place, mark.members) for place, mark in marked] == wanted else None

    def refuse(self, given: Iterable[fx.Node]) -> None:
        """Note that these meet as no list does: what may not be one at all is to blame first."""
        found = frozenset().union(*(self.marks[each].sources for each in given))
        weak = {source for source in found if source.weak}
        self.broken |= weak or found

    def together(self) -> list[set[MemberSource]]:
        """The sources whose marks have met, each set of them by itself."""
        sets = {source: {source} for source in self.sources}
        for met in self.met:
            union = set().union(*(sets[source] for source in met))
            sets |= dict.fromkeys(union, union)
        return list({id(each): each for each in sets.values()}.values())

    def joined(self, sources: set[MemberSource]) -> set[fx.Node]:
        """The nodes in which all members of these sources meet."""
        return {node for node, own in self.joins.items() if own & sources}

    def is_summand(self, node: fx.Node) -> bool:
        """Whether only sums, as of layers' biases, and linear maps lie between a node and the sum of all members."""
        return bool(node.users) and all(self._is_added(node, user) for user in node.users)

    def _is_added(self, node: fx.Node, user: fx.Node) -> bool:
        name = nodes.name(user.target)
        if name in ("sum", "mean") or (name == "add" and user in self.joins):
            return True
        bias = name in _BIAS and [i for i, each in enumerate(user.args) if each is node] == [_BIAS[name]]
        # not x * x, nor 1 / x, nor division that rounds
        linear = (
            name in _LINEAR and user.args[0] is node and fx.Node not in map(type, user.args[1:]) and not user.kwargs
        )
        return (bias or linear or name in _PASSING) and self.is_summand(user)

    def alike(self, together: set[MemberSource]) -> bool:
        """Whether the same is done to each member; sums do not count, of which the first may be left."""
        found: dict[int, Counter[str]] = defaultdict(Counter)
        for node, mark in self.marks.items():
            name = nodes.name(node.target)
            counts = name not in _JOINING and node.op != "placeholder" and node not in self.written
            if mark.sources & together and len(mark.members) == 1 and counts:
                given = "" if node in self.seeds else nodes.plain_arguments(node)
                found[next(iter(mark.members))][f"{name} {given}"] += 1
        return all(each == found[0] for each in found.values())
