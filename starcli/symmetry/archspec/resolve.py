"""From a spec as written and the shapes of one network to a `Resolved`: match names, expand templates, solve sizes."""

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from starcli.errors import StarcliError, suggestion
from starcli.symmetry.archspec.blocks import UnitGroup
from starcli.symmetry.archspec.expression import Fixed, Node, canonical, references, symbols, text
from starcli.symmetry.archspec.held import held
from starcli.symmetry.archspec.lines import MAX_PATTERNS, MAX_TRIES, MatchedLines
from starcli.symmetry.archspec.names import Bindings
from starcli.symmetry.archspec.parse_expression import GrammarError
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.solve_sizes import Equation, shortened, solve
from starcli.symmetry.archspec.spec import Axis, GroupLine, Spec, TensorLine
from starcli.symmetry.archspec.stacked import is_stack, members, stack_names, stacked_shapes
from starcli.symmetry.archspec.templates import expand_templates, fill_template
from starcli.symmetry.archspec.validate import make_resolved

if TYPE_CHECKING:
    from torch import nn

MOST_PARTS_OF_A_SPEC = 100_000
"""Most names of groups in all axes of one network together; a DenseNet of 200 layers has 25,000."""
MAX_SUGGESTIONS = 20


def resolve_spec(
    spec: Spec,
    shapes: Mapping[str, tuple[int, ...]],
    variables: Mapping[str, int] | None = None,
    buffers: Collection[str] = (),
    *,
    whole: bool = False,
) -> Resolved:
    """Check a spec against the tensors of a network (name -> shape) and solve all sizes.

    `variables` are architecture arguments that patterns may compute with (`h.{depth-1}`); `buffers` names tensors
    that the network knows to be buffers, besides those that the spec's own patterns match. Groups of `kind: complex`,
    whose units do not change places, are no groups of it, unless the `whole` is asked for. StarcliError lists every
    tensor without a line, line without a tensor, wrong number of axes, and size that does not fit, at once.

    >>> from starcli.symmetry.archspec.spec import parse
    >>> spec = parse("{format: 1, tensors: {w1: [h], b1: [h], w2: [_, h]}}")
    >>> resolved = resolve_spec(spec, {"w1": (6, 9), "b1": (6,), "w2": (3, 6)})
    >>> resolved.sizes, resolved.expressions["w2"]
    ({'h': 6}, ('3', 'h'))
    """
    shapes = {name: tuple(shape) for name, shape in shapes.items()}
    return _Resolver(spec, shapes, variables or {}).resolved(buffers, whole=whole)


def expanded_axes(
    spec: Spec, shapes: Mapping[str, tuple[int, ...]], variables: Mapping[str, int]
) -> dict[str, tuple[Node, ...]]:
    """For each tensor the trees of its axes as a spec that fits them writes them, templates filled in."""
    return _Resolver(spec, shapes, variables).expanded()


def resolve_for(network: "nn.Module", spec: Spec, variables: Mapping[str, int] | None = None) -> Resolved:
    """`resolve_spec` against the tensors of `network`, which knows its buffers.

    >>> from starcli.symmetry.archspec.spec import parse
    >>> from torch import nn
    >>> spec = parse("{format: 1, tensors: {0.weight: [h, _], 0.bias: [h], 1.weight: [_, h]}}")
    >>> resolve_for(nn.Sequential(nn.Linear(9, 6), nn.Linear(6, 3, bias=False)), spec).sizes
    {'h': 6}
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    return resolve_spec(spec, shapes, variables, [name for name, _ in network.named_buffers()])


def _stacks(spec: Spec, shapes: Mapping[str, tuple[int, ...]], variables: Mapping[str, int]) -> dict[str, None]:
    """The stacks that lines of the spec name, of which there may be members."""
    lines = [line for line in spec.tensors if is_stack(line.pattern)]
    if not lines:
        return {}
    matched = MatchedLines(lines, variables, spec.source, [])
    possible = dict.fromkeys(stack for name in shapes for stack in stack_names(name))
    return {stack: None for stack in possible if matched.matching(stack)}


class _Resolver:
    """One resolution. It collects problems, and gives up before a step that needs what failed."""

    def __init__(self, spec: Spec, shapes: Mapping[str, tuple[int, ...]], variables: Mapping[str, int]) -> None:
        self.spec, self.variables = spec, variables
        self.shapes = stacked_shapes(shapes, _stacks(spec, shapes, variables))
        self.problems: list[str] = []
        self.sizes: dict[str, int] = {}
        self.within: dict[str, str] = {}
        self.in_order: set[str] = set()
        self.parts = 0

    def resolved(self, buffers: Collection[str], *, whole: bool) -> Resolved:
        """The resolved spec. StarcliError with all problems."""
        axes = self.expanded()
        self.read_groups(axes)
        equations = [
            Equation(node, self.shapes[name][axis], f"{name} axis {axis}, `{shortened(text(node))}`")
            for name, nodes in axes.items()
            for axis, node in enumerate(nodes)
        ]
        self.problems += solve(equations, self.sizes)
        if not self.problems:
            self.unsolved(axes)
        known, tied = self.buffer_names(buffers), self.tied_names()
        self.give_up()
        used = {ref.name for nodes in axes.values() for node in nodes for ref in references(node)}
        groups = {name: UnitGroup(name, self.sizes[name], self.within.get(name)) for name in sorted(used)}
        trees = {name: tuple(canonical(node, self.sizes) for node in nodes) for name, nodes in axes.items()}
        try:
            made = make_resolved(groups, trees, self.shapes, known, tied)
            return made if whole else held(made, self.in_order)
        except StarcliError as error:
            self.problems += error.problems
            raise self.failure() from None

    def failure(self) -> StarcliError:
        return StarcliError(f"{self.spec.source} does not fit the network", self.problems)

    def give_up(self) -> None:
        if self.problems:
            raise self.failure()

    def place(self, line: int) -> str:
        return f"{self.spec.source}:{line}"

    def expanded(self) -> dict[str, tuple[Node, ...]]:
        """The tree of every axis of every tensor, templates filled in."""
        lines = MatchedLines(self.spec.tensors, self.variables, self.spec.source, self.problems)
        axes = {name: self.tensor_axes(name, shape, lines) for name, shape in self.shapes.items()}
        for number, (name, line) in enumerate(lines.unused()):
            self.problems.append(f"{self.place(line)}: there is no tensor {name}{_nearest(name, self.shapes, number)}")
        return axes

    def tensor_axes(self, name: str, shape: tuple[int, ...], lines: MatchedLines[TensorLine]) -> tuple[Node, ...]:
        """The trees of one tensor, by the one line that matches its name; all axes are fixed where that fails."""
        fixed: tuple[Node, ...] = tuple(Fixed(n) for n in shape)
        found = lines.matching(name)
        if not shape:
            return fixed
        if len(found) != 1:
            where = " and ".join(f"line {line.line} ({line.pattern})" for line, _ in found[:3])
            problem = (
                f"{self.spec.source}: {where} both name it" if found else f"no line of {self.spec.source} names it"
            )
            self.problems.append(f"{name}: {problem}")
            return fixed
        line, bindings = found[0]
        written = len(line.axes)
        if written > len(shape):
            self.problems.append(f"{self.place(line.line)}: {written} axes, {name} has {len(shape)}: shape {shape}")
            return fixed
        nodes = (self.expand(axis, f"{name} {i}", bindings, name) or fixed[i] for i, axis in enumerate(line.axes))
        return (*nodes, *fixed[written:])

    def expand(self, axis: Axis, hole: str, bindings: Bindings, name: str) -> Node | None:
        """The tree of one axis as written, templates filled in for `name`; None where that is a problem."""
        try:
            node = expand_templates(axis.node, axis.text, {**self.variables, **bindings}, f"_ {hole}")
        except GrammarError as error:
            self.problems += error.lines(f"{self.place(axis.line)}: for {name}")
            return None
        self.parts += len(symbols(node))
        if self.parts > MOST_PARTS_OF_A_SPEC:
            raise StarcliError(f"{self.spec.source}: the axes hold more than {MOST_PARTS_OF_A_SPEC} names of groups")
        return node

    def read_groups(self, axes: Mapping[str, tuple[Node, ...]]) -> None:
        """Read sizes and parents of every group that an axis bears from the section `groups`."""
        lines = MatchedLines(self.spec.groups, self.variables, self.spec.source, self.problems)
        used = dict.fromkeys(ref.name for nodes in axes.values() for node in nodes for ref in references(node))
        for name in used:
            self.read_group(name, lines)
        for number, (name, line) in enumerate(lines.unused()):
            self.problems.append(f"{self.place(line)}: no axis bears the group {name}{_nearest(name, used, number)}")

    def read_group(self, name: str, lines: MatchedLines[GroupLine]) -> None:
        """Read size and parent of one group, from the one line that matches its name, if any."""
        found = lines.matching(name)
        if len(found) > 1:
            where = " and ".join(f"line {line.line} ({line.pattern})" for line, _ in found[:3])
            self.problems.append(f"group {name}: {self.spec.source}: {where} both name it")
        for line, bindings in found[:1]:
            if line.kind == "complex":
                self.in_order.add(name)
            if line.size is not None:
                size = self.expand(line.size, "", bindings, f"group {name}")
                if isinstance(size, Fixed):
                    self.sizes[name] = size.size
                elif size is not None:
                    self.problems.append(f"{self.place(line.size.line)}: the size of group {name} is an integer")
            if line.within is not None:
                self.read_parent(name, line.within, bindings)

    def read_parent(self, name: str, within: Axis, bindings: Bindings) -> None:
        """Read the name of the group around `name`, templates filled in."""
        try:
            self.within[name] = fill_template(within.text, {**self.variables, **bindings})
        except GrammarError as error:
            self.problems += error.lines(f"{self.place(within.line)}: for group {name}")

    def unsolved(self, axes: Mapping[str, tuple[Node, ...]]) -> None:
        """Add a problem for each symbol whose size the tensors leave open, up to MAX_SUGGESTIONS of them."""
        unknown: dict[str, list[str]] = {}
        for name, nodes in axes.items():
            for i, node in enumerate(nodes):
                missing = dict.fromkeys(symbol for symbol in symbols(node) if symbol not in self.sizes)
                place = f"{name} axis {i}, `{shortened(text(node))}` = {self.shapes[name][i]}" if missing else ""
                for symbol in missing:
                    unknown.setdefault(symbol, []).append(place)
        for symbol, places in list(unknown.items())[:MAX_SUGGESTIONS]:
            if symbol.startswith("_ "):
                self.problems.append(f"the size of `_` cannot be solved: {places[0]}; write it as an integer")
            else:
                where = "; ".join(places[:3])
                self.problems.append(f"the size of group {symbol} cannot be solved: {where}; say it under `groups`")
        if len(unknown) > MAX_SUGGESTIONS:
            self.problems.append(f"and {len(unknown) - MAX_SUGGESTIONS} more sizes cannot be solved")

    def buffer_names(self, buffers: Collection[str]) -> frozenset[str]:
        """Tensors that the spec's patterns match (`*` also stands for dots), or that are buffers of the network."""
        first = {name: members(name, 1)[0] for name in self.shapes}
        count = len(self.spec.buffers)
        if count > MAX_PATTERNS or count * len(self.shapes) > MAX_TRIES:
            raise StarcliError(f"{self.spec.source}: {count} patterns of buffers are too many")
        globs = [_glob(pattern.text) for pattern in self.spec.buffers]
        return frozenset(
            name
            for name in self.shapes
            if name in buffers or first[name] in buffers or any(glob.fullmatch(name) for glob in globs)
        )

    def tied_names(self) -> tuple[tuple[str, ...], ...]:
        """The tied sets as written; an unknown tensor among them is a problem."""
        for name in (name for names in self.spec.tied for name in names if name.text not in self.shapes):
            self.problems.append(f"{self.place(name.line)}: there is no tensor {name.text}")
        return tuple(tuple(name.text for name in names) for names in self.spec.tied)


def _nearest(name: str, known: Collection[str], number: int) -> str:
    """Suggest known names near a mistyped one; none where none is near, since a list of all tensors helps nobody."""
    if number >= MAX_SUGGESTIONS:  # each is a search through all names
        return ""
    words = suggestion(name, known)
    return words if words.startswith("; did you mean") else ""


def _glob(pattern: str) -> re.Pattern[str]:
    """What matches `pattern`, in which each `*` stands for any characters.

    Each part is taken at its earliest place, and at no other, so that it takes time linear in the name.
    """
    first, *others = map(re.escape, pattern.split("*"))
    inner = "".join(f"(?>.*?{part})" for part in others[:-1])
    return re.compile(f"{first}{inner}.*{others[-1]}" if others else first, re.DOTALL)
