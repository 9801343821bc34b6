"""Complex numbers that act on pairs of units which no permutation moves: queries and keys under rotary positions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from starcli.symmetry.archspec.blocks import UnitGroup
from starcli.symmetry.archspec.expression import Ref
from starcli.symmetry.archspec.kind_names import PairLayout
from starcli.symmetry.archspec.names import unused_name
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.stacked import MEMBERS, is_stack
from starcli.symmetry.kinds.claims import in_order
from starcli.symmetry.kinds.continuous import matrix_elements
from starcli.symmetry.kinds.copies import written_out
from starcli.symmetry.kinds.derivatives import place_derivatives
from starcli.symmetry.kinds.fixed_parts import FixedPart, fixed_as_groups, with_groups
from starcli.symmetry.kinds.generic_setting import GenericSetting
from starcli.symmetry.kinds.group_kind import GroupKind
from starcli.symmetry.kinds.kind_proof import KindProof
from starcli.symmetry.kinds.planes import runs, turning_pairs
from starcli.symmetry.kinds.shifts import bias_name
from starcli.symmetry.proof.places import GroupPlace, places

MOST_FIXED = 256
"""Most fixed positions in a row that are looked at: heads have fewer units."""
PASSES = 4


@dataclass(frozen=True)
class ComplexKinds:
    """Groups of pairs of units, besides those of units that change places."""

    setting: GenericSetting
    """With these groups in its spec."""
    whole: Resolved
    kinds: Mapping[str, GroupKind]
    worst: float = 0.0
    """Largest change of an output under the elements that proved them."""


def complex_kinds(setting: GenericSetting, resolved: Resolved, others: Mapping[str, GroupKind]) -> ComplexKinds:
    """Find the pairs of units on which complex numbers act, in what the permutations of `resolved` fix, and prove it.

    For pairs that turn and scale together at two places (see `planes`) z acts at one and 1 / conj(z) at the other. They
    are a group within the innermost group around both places in which that holds. `others` are the kinds of the groups
    of `resolved`, whose places stay.
    """
    left = {each.name: each for each in _named(list(_found(setting)), setting.spec)}
    around = {name: _levels(setting.spec, each) for name, each in left.items()}
    while left:
        groups = {name: UnitGroup(name, each.size, around[name][0]) for name, each in left.items()}
        cuts: dict[FixedPart, list[tuple[int, str]]] = {}
        for name, each in left.items():
            for part, start in each.starts:
                for place in part.places:
                    cuts.setdefault((place.tensor, place.axis, place.start), []).append((start, name))
        whole = with_groups(resolved, {part: sorted(cut) for part, cut in cuts.items()}, groups)
        wide = setting.with_groups(written_out(whole), list(groups))
        kinds = {name: each.kind for name, each in left.items()}
        if any(place not in own for name, own in places(wide.spec).items() for place in {**others, **kinds}[name].at):
            break  # a part of an axis on which something else acts
        proof = KindProof(wide)
        holding = {name for name, _ in proof.holding(matrix_elements(wide, kinds))}
        if len(holding) == len(left):
            return ComplexKinds(wide, whole, kinds, proof.worst)
        for name in left.keys() - holding:
            around[name].pop(0)
        left = {name: each for name, each in left.items() if around[name]}
    return ComplexKinds(setting, resolved, {})


@dataclass(frozen=True)
class _Part:
    """A fixed part of a weight and of its bias: what writes, or what reads, the same units."""

    places: tuple[GroupPlace, ...]
    step: int
    """How far apart its units stand."""
    around: frozenset[str]
    """The groups around it, on the same axis, and the modules of a list."""


@dataclass(frozen=True)
class _Pairs:
    """Pairs of units that turn and scale together, and the units of two parts at which they begin."""

    layout: PairLayout
    size: int
    starts: tuple[tuple[_Part, int], tuple[_Part, int]]
    name: str = ""

    @property
    def kind(self) -> GroupKind:
        """The kind that acts on them, under the name of their group."""
        exponents = {
            GroupPlace(place.tensor, place.axis, place.start + start * part.step, self.name): e
            for (part, start), e in zip(self.starts, (1, -1), strict=True)
            for place in part.places
        }
        return GroupKind(self.name, "complex", exponents, pairs=self.layout)


def _found(setting: GenericSetting) -> list[_Pairs]:
    """All pairs that derivatives suggest."""
    spec, names = fixed_as_groups(setting.spec, MOST_FIXED)
    parts = _parts(spec, names)
    lengths = Counter(spec.groups[part.places[0].group].size for part in parts)
    divided = any(name in names and not _is_alone(spec, name) for name in names)
    written = any(place.own_axis == 0 for part in parts for place in part.places)
    if not written or (not divided and max(lengths.values(), default=0) < 2):
        return []  # what is read alone (pixels, positions behind a pooling) no weight turns
    at = [place for part in parts for place in part.places]
    reference, passes = setting.reference, dict.fromkeys(names, PASSES)
    found = place_derivatives(spec, reference, at, passes, setting.generator, [reference.inputs], most=MOST_FIXED)
    if not found:
        return []  # it cannot be differentiated
    slopes: list[Tensor] = []
    for part in parts:
        each = [found[place] for place in part.places]
        rows = [m.minor[:, 0, m.units.argsort()][:, :, m.units.argsort()] for m in each]
        slopes.append(torch.stack(rows).sum(0))
    return [
        _Pairs(layout, size, ((parts[a], first), (parts[b], second)))
        for (a, b), both in turning_pairs(slopes).items()
        for layout, size, first, second in runs(*both)
    ]


def _is_alone(spec: Resolved, name: str) -> bool:
    """Whether a group stands on whole axes only."""
    return all(node == Ref(name) for tensor in spec.bearing[name] for node in spec.axes[tensor] if name in str(node))


def _parts(spec: Resolved, names: Sequence[str]) -> list[_Part]:
    """The fixed parts of a spec that has them as groups, those first at which units are written."""
    weights = {bias_name(name): name for tensor in spec.axes for name in spec.names_of(tensor)}
    found: dict[tuple[str, int, int, int], list[GroupPlace]] = {}
    at = places(spec)
    for place in in_order([place for name in names for place in at[name]]):
        vector = len(spec.axes[place.tensor]) - is_stack(place.tensor) == 1
        weight = weights.get(place.tensor) if vector else None
        module = place.tensor if weight is None else spec.names_of(weight)[0]
        found.setdefault((module, place.axis, place.start, spec.groups[place.group].size), []).append(place)
    return [_part(spec, own) for own in found.values()]


def _part(spec: Resolved, own: Sequence[GroupPlace]) -> _Part:
    around, steps = [], set[int]()
    for place in own:
        lists = spec.terms[place.tensor][0] if is_stack(place.tensor) else ()
        members = {factor.group for term in lists for factor in term.factors}
        for term in spec.terms[place.tensor][place.axis]:
            if any(factor.group == place.group for factor in term.factors) and term.start == place.start:
                beside = members.union(factor.group for factor in term.factors) - {None, place.group}
                around.append(frozenset(beside))
                steps |= {factor.step for factor in term.factors if factor.group == place.group}
    return _Part(tuple(own), min(steps), frozenset(map(str, frozenset.intersection(*around))))


def _levels(spec: Resolved, pairs: _Pairs) -> list[str | None]:
    """The groups within which these pairs may be one, innermost first, and none at last."""
    around = frozenset.intersection(*(part.around for part, _ in pairs.starts))
    innermost = max(around, key=lambda name: len(spec.ancestors(name)), default=None)
    return [None] if innermost is None else [innermost, *spec.ancestors(innermost)[::-1], None]


def _named(found: Sequence[_Pairs], spec: Resolved) -> list[_Pairs]:
    """These pairs with names, after the module at which each stands first."""
    made: list[_Pairs] = []
    taken = set(spec.groups)
    for each in found:
        tensor = each.starts[0][0].places[0].tensor.replace(f"{MEMBERS}.", "")  # groups have plainer names than stacks
        made.append(replace(each, name=unused_name(f"{tensor.rpartition('.')[0] or tensor}.pairs", taken)))
        taken.add(made[-1].name)
    return made
