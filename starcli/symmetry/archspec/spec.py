"""Specs as written: lines for groups and tensors, with patterns. `resolve` checks one against a network's tensors."""

from dataclasses import dataclass, replace

from starcli.errors import StarcliError, suggestion
from starcli.files.yaml_values import YamlList, YamlMap, YamlScalar, YamlValue, read_yaml
from starcli.symmetry.archspec.expression import Node, references, with_references
from starcli.symmetry.archspec.kind_names import KINDS, PAIR_LAYOUTS, KindName, PairLayout
from starcli.symmetry.archspec.parse_expression import GrammarError, parse_axis
from starcli.symmetry.archspec.templates import check_template
from starcli.symmetry.archspec.ways import WayLine, parse_way_item

DEFAULT_BUFFERS = ("*.running_mean", "*.running_var", "*.num_batches_tracked")
GROUP_KEYS = ("size", "within", "kind", "fixes", "pairs", "scales", "signs")
"""What may be said of a group, the first two since format 1."""
SECTIONS = ("format", "groups", "tensors", "buffers", "tied", "fold")
"""The last since format 2."""


@dataclass(frozen=True)
class Axis:
    """One axis expression as written, and its tree, still with templates."""

    text: str
    node: Node
    line: int


@dataclass(frozen=True)
class GroupLine:
    """A line about groups whose names match `pattern`: size (an integer, perhaps in braces), group around, kind."""

    pattern: str
    size: Axis | None
    within: Axis | None
    line: int
    kind: KindName = "permutation"
    """What is said to act on the units besides permutations; `derive_kinds` finds where and how, and proves it."""
    fixes_ones: bool = False
    """Whether of rotations only those are meant that leave (1, ..., 1) alone."""
    scales: tuple[WayLine, ...] = ()
    """All ways in which scales act, where the exponents at the axes do not say the only one."""
    signs: tuple[WayLine, ...] = ()
    """All ways in which signs act, likewise."""
    pairs: PairLayout | None = None
    """Of `kind: complex`: which two units are the real and the imaginary part. These units do not change places."""


@dataclass(frozen=True)
class TensorLine:
    """A line about tensors whose names match `pattern`: their axes; trailing fixed axes are left out."""

    pattern: str
    axes: tuple[Axis, ...]
    line: int


@dataclass(frozen=True)
class Spec:
    """A permutation spec as parsed, before it is resolved against the tensors of a network."""

    source: str
    groups: tuple[GroupLine, ...]
    tensors: tuple[TensorLine, ...]
    buffers: tuple[YamlScalar, ...]
    tied: tuple[tuple[YamlScalar, ...], ...]
    folds: tuple[WayLine, ...] = ()
    """Norms whose scale does not rotate, each with what reads it."""

    @property
    def says_where(self) -> bool:
        """Whether it says where and how kinds act, by exponents, ways, folds or pairs: else at most what they are."""
        marked = any(ref.powers for line in self.tensors for axis in line.axes for ref in references(axis.node))
        return marked or bool(self.folds) or any(line.scales or line.signs or line.pairs for line in self.groups)


def permutations_of(spec: Spec) -> Spec:
    """A spec without what it says of kinds: of permutations alone."""

    def plain(line: TensorLine) -> TensorLine:
        axes = (
            replace(axis, node=with_references(axis.node, lambda ref: replace(ref, powers=()))) for axis in line.axes
        )
        return replace(line, axes=tuple(axes))

    def still(line: GroupLine) -> KindName:
        return "complex" if line.kind == "complex" else "permutation"  # units of pairs do not change places

    groups = tuple(GroupLine(line.pattern, line.size, line.within, line.line, still(line)) for line in spec.groups)
    return replace(spec, groups=groups, tensors=tuple(map(plain, spec.tensors)), folds=())


def parse(text: str, source: str = "<spec>") -> Spec:
    """Parse the YAML text of a spec.

    StarcliError, with `source`, line, expression and a caret, lists all that cannot be read.

    >>> spec = parse("{format: 1, tensors: {'{l}.weight': [h.{l}, h.{l-1}]}}")
    >>> [line.pattern for line in spec.tensors]
    ['{l}.weight']
    """
    document = read_yaml(text, source)
    return _Builder(source).spec(document)


class _Builder:
    """Builds a Spec from a YAML document; collects all problems before it gives up."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[str] = []
        self.kinds = False

    def say(self, line: int, message: str) -> None:
        self.problems.append(f"{self.source}:{line}: {message}")

    def spec(self, document: YamlValue) -> Spec:
        sections = {key.text: value for key, value in self.map(document, "a spec")}
        for key, _ in self.map(document, "a spec"):
            if key.text not in SECTIONS:
                self.say(key.line, f"unknown section {key.text!r}{suggestion(key.text, SECTIONS)}")
        self.format(sections.get("format"), document.line)
        if "fold" in sections and not self.kinds:
            self.say(sections["fold"].line, "the section 'fold' needs `format: 2`")
        if "tensors" not in sections:
            self.say(document.line, "the section 'tensors' is missing")
        spec = Spec(
            source=self.source,
            groups=tuple(self.group(key, value) for key, value in self.map(sections.get("groups"), "groups")),
            tensors=tuple(self.tensor(key, value) for key, value in self.map(sections.get("tensors"), "tensors")),
            buffers=self.names(sections["buffers"]) if "buffers" in sections else _defaults(),
            tied=tuple(self.tied(each) for each in self.items(sections.get("tied"), "tied")),
            folds=self.ways(sections.get("fold"), "fold"),
        )
        if self.problems:
            raise StarcliError(f"{self.source} cannot be read", self.problems)
        return spec

    def format(self, value: YamlValue | None, line: int) -> None:
        if value is None:
            self.say(line, "the section 'format' is missing; this program reads `format: 1` and 2")
        elif not isinstance(value, YamlScalar) or value.text not in ("1", "2"):
            self.say(value.line, "this program reads `format: 1` and 2")
        else:
            self.kinds = value.text == "2"

    def map(self, value: YamlValue | None, what: str) -> tuple[tuple[YamlScalar, YamlValue], ...]:
        if value is None or (isinstance(value, YamlScalar) and value.text == ""):
            return ()
        if isinstance(value, YamlMap):
            return value.items
        self.say(value.line, f"{what}: a map `name: ...` stands here")
        return ()

    def items(self, value: YamlValue | None, what: str) -> tuple[YamlValue, ...]:
        if value is None or (isinstance(value, YamlScalar) and value.text == ""):
            return ()
        if isinstance(value, YamlList):
            return value.items
        self.say(value.line, f"{what}: a list `[...]` stands here")
        return ()

    def names(self, value: YamlValue) -> tuple[YamlScalar, ...]:
        found = self.items(value, "a list of names")
        for each in found:
            if not isinstance(each, YamlScalar):
                self.say(each.line, "a name stands here")
        return tuple(each for each in found if isinstance(each, YamlScalar))

    def tied(self, value: YamlValue) -> tuple[YamlScalar, ...]:
        names = self.names(value)
        if len(names) < 2:
            self.say(value.line, "a tied set names at least two tensors")
        return names

    def group(self, key: YamlScalar, value: YamlValue) -> GroupLine:
        fields = {field.text: (field, each) for field, each in self.map(value, f"group {key.text}")}
        for name, (field, _) in fields.items():
            keys = GROUP_KEYS if self.kinds else GROUP_KEYS[:2]
            if name not in keys:
                known = f"there is {', '.join(keys)}" if name not in GROUP_KEYS else "that needs `format: 2`"
                self.say(field.line, f"group {key.text}: unknown key {name!r}; {known}")
        found = {name: self.axis(each) for name, (_, each) in fields.items() if name in ("size", "within")}
        kind = self.kind(key.text, fields["kind"][1]) if "kind" in fields else "permutation"
        if "fixes" in fields:
            self.fixes(key.text, fields["fixes"][1], kind)
        pairs = self.pairs(key, fields["pairs"][1] if "pairs" in fields else None, kind)
        scales, signs = (
            self.ways(fields[name][1], f"group {key.text}: {name}") if name in fields else ()
            for name in ("scales", "signs")
        )
        size, within = found.get("size"), found.get("within")
        return GroupLine(key.text, size, within, key.line, kind, "fixes" in fields, scales, signs, pairs)

    def ways(self, value: YamlValue | None, what: str) -> tuple[WayLine, ...]:
        return tuple(self.way(each, what) for each in self.items(value, f"{what}, a list of ways"))

    def way(self, value: YamlValue, what: str) -> WayLine:
        items = []
        names = [each for each in self.items(value, f"{what}, a way") if isinstance(each, YamlScalar)]
        for each in names:
            try:
                items.append(parse_way_item(each.text))
            except GrammarError as error:
                self.problems += error.lines(f"{self.source}:{each.line}")
        if len(items) < 2 and len(items) == len(names):
            self.say(value.line, f"{what}: a way names at least two tensors")
        return WayLine(tuple(items), value.line)

    def kind(self, group: str, value: YamlValue) -> KindName:
        for kind in KINDS:
            if isinstance(value, YamlScalar) and value.text == kind:
                return kind
        written = value.text if isinstance(value, YamlScalar) else ""
        self.say(value.line, f"group {group}: unknown kind {written!r}{suggestion(written, KINDS)}")
        return "permutation"

    def fixes(self, group: str, value: YamlValue, kind: KindName) -> None:
        if not isinstance(value, YamlScalar) or value.text != "ones":
            self.say(value.line, f"group {group}: `fixes: ones` is the only vector that may stand here")
        if kind != "orthogonal":
            self.say(value.line, f"group {group}: only what is `kind: orthogonal` can fix ones, this is {kind}")

    def pairs(self, key: YamlScalar, value: YamlValue | None, kind: KindName) -> PairLayout | None:
        """Which units are pairs: of what is `kind: complex`, and of nothing else."""
        written = value.text if isinstance(value, YamlScalar) else ""
        found = next((each for each in PAIR_LAYOUTS if each == written), None)
        line, ways = (key if value is None else value).line, " or ".join(f"`pairs: {each}`" for each in PAIR_LAYOUTS)
        if kind == "complex" and found is None:
            self.say(line, f"group {key.text}: what is `kind: complex` says which units are a pair, {ways}")
        if kind != "complex" and value is not None:
            self.say(line, f"group {key.text}: only what is `kind: complex` has pairs, this is {kind}")
        return found if kind == "complex" else None

    def tensor(self, key: YamlScalar, value: YamlValue) -> TensorLine:
        axes = [self.axis(each) for each in self.items(value, key.text)]
        return TensorLine(key.text, tuple(axis for axis in axes if axis is not None), key.line)

    def axis(self, value: YamlValue) -> Axis | None:
        if not isinstance(value, YamlScalar):
            self.say(value.line, "an expression stands here, such as `group`, `_` or `(group 49)`")
            return None
        try:
            node = parse_axis(value.text)
            for ref in references(node):
                check_template(ref.name, ref.at, value.text)
                if ref.powers and not self.kinds:
                    raise GrammarError("exponents need `format: 2`", value.text, ref.at + len(ref.name))
            return Axis(value.text, node, value.line)
        except GrammarError as error:
            self.problems += error.lines(f"{self.source}:{value.line}")
            return None


def _defaults() -> tuple[YamlScalar, ...]:
    return tuple(YamlScalar(pattern, 0) for pattern in DEFAULT_BUFFERS)
