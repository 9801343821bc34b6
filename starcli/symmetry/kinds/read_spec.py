"""Kinds as a spec writes them: exponents at the axes of tensors, ways by names of tensors, folds."""

import math
from collections.abc import Iterator, Mapping, Sequence

from starcli.errors import StarcliError
from starcli.symmetry.archspec.blocks import terms
from starcli.symmetry.archspec.expression import Node, Ref, references, text, with_references
from starcli.symmetry.archspec.lines import MatchedLines
from starcli.symmetry.archspec.names import Bindings
from starcli.symmetry.archspec.parse_expression import GrammarError
from starcli.symmetry.archspec.patterns import Pattern
from starcli.symmetry.archspec.resolve import expanded_axes, resolve_spec
from starcli.symmetry.archspec.resolved import Resolved, natural_key
from starcli.symmetry.archspec.spec import GroupLine, Spec
from starcli.symmetry.archspec.ways import WayItem, WayLine
from starcli.symmetry.kinds.copies import spelled_out, written_out
from starcli.symmetry.kinds.group_kind import Fold, GroupKind
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.kinds.shifts import with_named_biases
from starcli.symmetry.proof.places import GroupPlace, places

Way = dict[GroupPlace, int]


def written_kinds(spec: Spec, resolved: Resolved, variables: Mapping[str, int] | None = None) -> Kinds | None:
    """The kinds that `spec`, of which `resolved` was made, writes; None where it says at most what they are called.

    They are as they are written, not proved (see `prove_kinds`). StarcliError lists all that cannot be meant.

    >>> from starcli.symmetry.archspec.resolve import resolve_spec
    >>> from starcli.symmetry.archspec.spec import parse
    >>> spec = parse("{format: 2, groups: {h: {kind: scaled}}, tensors: {a: [h], b: [_, h^-1]}}")
    >>> kinds = written_kinds(spec, resolve_spec(spec, {"a": (3, 2), "b": (1, 3)}))
    >>> [(place.tensor, e) for place, e in kinds.groups["h"].exponents.items()]
    [('a', 1), ('b', -1)]
    """
    if not spec.says_where:
        return None
    if any(line.pairs for line in spec.groups):
        resolved = resolve_spec(spec, resolved.shapes, variables, resolved.buffers, whole=True)
    return _Reading(spec, resolved, variables or {}).kinds()


def ends_of_references(node: Node, sizes: Mapping[str, int]) -> list[list[int]]:
    """For each group in a canonical tree, in order, the starts of its places when copies are written out.

    >>> from starcli.symmetry.archspec.parse_expression import parse_axis
    >>> ends_of_references(parse_axis("h + (2 h) + g"), {"h": 3, "g": 5})
    [[0], [3, 6], [9]]
    """
    names = [ref.name for ref in references(node)]
    labels = [f"{name} {i}" for i, name in enumerate(names)]
    left = iter(labels)
    labelled = spelled_out(with_references(node, lambda _: Ref(next(left))))
    starts: dict[str, list[int]] = {label: [] for label in labels}
    for term in terms(labelled, {label: sizes[name] for label, name in zip(labels, names, strict=True)}):
        for factor in term.factors:
            if factor.group is not None and term.start not in starts[factor.group]:
                starts[factor.group].append(term.start)
    return list(starts.values())


class _Reading:
    """One spec being read; collects all problems before it gives up."""

    def __init__(self, spec: Spec, resolved: Resolved, variables: Mapping[str, int]) -> None:
        self.spec, self.resolved, self.variables = spec, resolved, variables
        self.out = written_out(resolved)
        self.places = places(self.out)
        self.problems: list[str] = []
        self.matched: set[int] = set()

    def kinds(self) -> Kinds:
        """All kinds. StarcliError with all problems."""
        lines = MatchedLines(self.spec.groups, self.variables, self.spec.source, self.problems)
        powers, folds = self.powers(), self.folds()
        groups: dict[str, GroupKind] = {}
        for name in self.resolved.groups:
            line, bindings = next(iter(lines.matching(name)), (GroupLine(name, None, None, 1), {}))
            own = {place: powers.get(place, 1) for place in self.places[name]}
            marked = any(place in powers for place in own)
            groups[name] = self.group_kind(name, line, bindings, own, marked, folds.get(name, []))
            if line.pairs and self.resolved.groups[name].size % 2:
                self.say(line.line, f"group {name}: {self.resolved.groups[name].size} units are no pairs")
        for way in (way for group in self.spec.groups for way in (*group.scales, *group.signs)):
            self.never_matched(way)
        if self.problems:
            raise StarcliError(f"{self.spec.source}: its kinds cannot be meant", self.problems[:20])
        return Kinds(self.resolved, groups, math.inf)

    def say(self, line: int, message: str) -> None:
        self.problems.append(f"{self.spec.source}:{line}: {message}")

    def powers(self) -> Way:
        """The exponents that are written at axes, by place."""
        found: Way = {}
        trees = expanded_axes(self.spec, self.resolved.shapes, self.variables)
        for tensor, nodes in trees.items():
            first = self.resolved.names_of(tensor)[0]
            for axis, node in enumerate(nodes):
                refs = references(node)
                if [ref.powers for ref in refs] != [ref.powers for ref in references(trees[first][axis])]:
                    self.problems.append(f"{tensor}: other exponents than at {first}, to which it is tied")
                if first == tensor and any(ref.powers for ref in refs):
                    found |= self.powers_at(tensor, axis, refs)
        return found

    def powers_at(self, tensor: str, axis: int, refs: Sequence[Ref]) -> Way:
        """The exponents that are written at one axis."""
        found: Way = {}
        node = self.resolved.axes[tensor][axis]
        for ref, starts in zip(refs, ends_of_references(node, self.resolved.sizes), strict=True):
            if len(ref.powers) not in (0, 1, len(starts)):
                self.problems.append(
                    f"{tensor}, `{text(ref)}`: {len(ref.powers)} exponents for the {len(starts)} copies of {ref.name}"
                )
            elif ref.powers:
                powers = ref.powers * len(starts) if len(ref.powers) == 1 else ref.powers
                found |= {GroupPlace(tensor, axis, k, ref.name): e for k, e in zip(starts, powers, strict=True)}
        return found

    def folds(self) -> dict[str, list[Fold]]:
        """By group what the section `fold` says."""
        every = [place for found in self.places.values() for place in found]
        made: dict[str, list[Fold]] = {}
        for line in self.spec.folds:
            for name, bindings in self.matches(line, every, {}):
                tensor = name if name in self.resolved.axes else f"{name}.weight"
                at = [place for place in every if place.tensor == tensor and place.has_values(self.out)]
                if len(at) != 1:
                    self.say(line.line, f"fold: {tensor} is no scale of the units of one group")
                    continue
                [scale] = at
                own = self.places[scale.group]
                beside = [p for p in own if name != tensor and name in self.names(p) and p != scale]
                way = dict.fromkeys(beside, 1)
                for item in line.items[1:]:
                    way |= self.item(line, item, own, scale.group, bindings, -1)
                made.setdefault(scale.group, []).append(Fold(scale, way))
            self.never_matched(line)
        return {name: sorted(found, key=lambda fold: natural_key(fold.scale.tensor)) for name, found in made.items()}

    def ways(self, lines: Sequence[WayLine], group: str, bindings: Bindings) -> tuple[Way, ...]:
        """The ways of a group that are written as lists: one for each value of the variables in the first name."""
        own, made = self.places[group], []
        for line in lines:
            given = {tuple(sorted(found.items(), key=str)): found for _, found in self.matches(line, own, bindings)}
            for found in given.values():
                way: Way = {}
                for item in line.items:
                    way |= self.item(line, item, own, group, found, 1)
                made.append(way)
        return tuple(made)

    def matches(
        self, line: WayLine, at: Sequence[GroupPlace], bindings: Bindings
    ) -> Iterator[tuple[str, dict[str, int | str]]]:
        """Tensors and modules that the first name of a way matches, with what its variables stand for."""
        known = {**self.variables, **bindings}
        pattern = self.pattern(line, line.items[0], known)
        for name in dict.fromkeys(name for place in at for name in self.names(place)) if pattern else ():
            if pattern and (found := pattern.match(name)) is not None:
                self.matched.add(id(line))
                yield name, {**known, **found}

    def never_matched(self, line: WayLine) -> None:
        """Report a way whose first name, without variables, matched nothing, for no group."""
        if id(line) not in self.matched and "{" not in line.items[0].name:
            self.say(line.line, f"no tensor and no module with these units is called {line.items[0].name}")

    def pattern(self, line: WayLine, item: WayItem, bindings: Bindings, *, whole: bool = False) -> Pattern | None:
        """The name of a way as a pattern; None, and a problem, where it cannot be one or (`whole`) has variables."""
        try:
            pattern = Pattern(item.name, bindings)  # type: ignore[arg-type]
            free = [word for kind, word in pattern.tokens if kind != "text" and word != "*"]
            if whole and free:
                known = ", ".join(sorted(bindings)) or "none"
                raise GrammarError(f"the variable {free[0]!r} is not known here (known: {known})", item.name, 0)
        except GrammarError as error:
            self.problems += error.lines(f"{self.spec.source}:{line.line}")
            return None
        return pattern

    def names(self, place: GroupPlace) -> list[str]:
        """All names of the tensor of a place and of its module."""
        names = self.resolved.names_of(place.tensor)
        return [each for name in names for each in (name, name.rpartition(".")[0]) if each]

    def item(
        self, line: WayLine, item: WayItem, own: Sequence[GroupPlace], group: str, bindings: Bindings, default: int
    ) -> Way:
        """The places of a group that one name of a way means, with its exponent."""
        pattern = self.pattern(line, item, bindings, whole=True)
        if pattern is None:
            return {}
        named = [place for place in own if any(pattern.match(name) is not None for name in self.names(place))]
        at = [place for place in named if item.axis in (None, place.axis)]
        if item.copy is not None:
            at = sorted(at, key=lambda place: place.start)[item.copy : item.copy + 1]
        if not at and pattern.is_literal:
            where = item.text if pattern.literal == item.name else f"{item.text} ({pattern.literal})"
            self.say(line.line, f"group {group} does not stand on {where}")
        return dict.fromkeys(at, default if item.power is None else item.power)

    def group_kind(
        self, name: str, line: GroupLine, bindings: Bindings, powers: Way, marked: bool, folds: list[Fold]
    ) -> GroupKind:
        """The kind of one group from all that is said of it."""
        scales, signs = self.ways(line.scales, name, bindings), self.ways(line.signs, name, bindings)
        acting = {place: e for place, e in powers.items() if e}
        problems = _contradictions(line, powers, marked=marked, folded=bool(folds))
        for problem in problems:
            self.say(line.line, f"group {name}: {problem}")
        if problems or not acting:
            return GroupKind(name)
        match line.kind:
            case "scaled":
                return GroupKind(name, "scaled", (scales or (acting,))[0], scalings=scales or (acting,), signs=signs)
            case "signed":
                signs = signs or (dict.fromkeys((place for place, e in acting.items() if e % 2), 1),)
                return GroupKind(name, "signed", signs[0], signs=signs)
            case "orthogonal":
                still = {fold.scale for fold in folds}
                turning = dict.fromkeys((place for place in acting if place not in still), 1)
                ways = (*(fold.way for fold in folds), *scales)
                kind = GroupKind(name, "orthogonal", turning, line.fixes_ones, tuple(folds), ways, signs)
                return with_named_biases(self.out, kind)
            case "complex":
                return GroupKind(name, "complex", acting, pairs=line.pairs)
            case "invertible":
                return GroupKind(name, "invertible", acting, scalings=(acting,))
        return GroupKind(name)


def _contradictions(line: GroupLine, powers: Way, *, marked: bool, folded: bool) -> list[str]:
    """What is said of a group that cannot go together."""
    kind, found = line.kind, []
    if kind == "permutation" and (marked or line.scales or line.signs or folded):
        found.append("exponents, scales, signs and folds are of a group that has a kind")
    if folded and kind not in ("permutation", "orthogonal"):
        found.append(f"only scales of what is `kind: orthogonal` fold, this is {kind}")
    if marked and ((kind == "scaled" and line.scales) or (kind == "signed" and line.signs)):
        found.append("its ways stand either as exponents at the axes or in a list")
    if line.scales and kind not in ("permutation", "scaled", "orthogonal"):
        found.append(f"scales of what is {kind} are not listed")
    if line.signs and kind in ("complex", "invertible"):
        found.append(f"signs of what is {kind} are not listed")
    if kind in ("orthogonal", "complex", "invertible") and any(abs(e) > 1 for e in powers.values()):
        found.append(f"what is {kind} has the exponents 1, 0 and -1 alone")
    return found
