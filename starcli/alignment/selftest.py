"""Does alignment work for this network? Permutations are planted in copies of a model, and have to come back.

A copy is the model itself, or one whose weights were perturbed by noise first; its units are renamed at random, and the
method aligns it to the model without knowing how. Where it is over all kinds of symmetries, an element of all of them
is planted: signs, scales, rotations and matrices too. A unit is back where it stands at its own place, or at that of a
unit that the method cannot tell from it, since all that it compares of the two is equal: copies of one unit, and dead
ones.
"""

import hashlib
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.matching.method import MatchMethod
from starcli.alignment.planted import random_symmetry, relative_distance, units_back
from starcli.errors import StarcliError
from starcli.models.modes import set_eval_
from starcli.registry.alignment_methods import METHODS
from starcli.registry.entry import resolve
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.proof.evaluation import difference, leaves, spreads
from starcli.symmetry.proof.redraw import fresh_inputs
from starcli.symmetry.symmetries import one_after_the_other

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

_Opened = TypeVar("_Opened")

PLANTS = 3
"""Usual number of copies."""
NOISES = (0.0, 0.5)
"""Noise on the copies, in standard deviations of the weights of each tensor: none, and half of one."""


@dataclass(frozen=True)
class Recovery:
    """How much an alignment found again of permutations, or elements of all kinds, planted in copies of one model.

    planted: "permutations", or "elements of all kinds".
    noise: perturbation of the copies, in standard deviations of each tensor. plants: number of copies.
    units: units that could be anywhere, of all copies together; recovered: those of them that are back.
    alike: units of the model that the method cannot tell from some other one. lost: groups of which some units are not
        back, the one with most of them first.
    difference: largest change of an output as the units of a copy are renamed, in units of that output's spread over
        random inputs: of rounding, unless the spec is wrong. Of a copy with noise too, which is compared with itself.
    distance: largest L2 distance of the weights of an aligned copy from those before it was hidden, in units of their
        norm: 0, or rounding where more than permutations was planted, where all is undone. With noise a method that
        rotates and scales brings a copy nearer to the model than it was.
    seconds: of aligning one copy, in the median.
    """

    alignment: Alignment
    planted: str
    noise: float
    plants: int
    groups: int
    units: int
    recovered: int
    alike: int
    lost: tuple[str, ...]
    difference: float
    distance: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The figures as a row: the keys of `starcli align --selftest --json`, but for the model."""
        how = {"method": self.alignment.method, "alignment": self.alignment.title, "seed": self.alignment.seed}
        named = {**how, "planted": self.planted}
        figures = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in named}
        share = self.recovered / self.units if self.units else None
        return {**named, **figures, "lost": list(self.lost), "share": share}


def every_search(**given: Any) -> list[Alignment]:
    """Alignments by all methods but those that learn: they begin where a search ends, and take minutes.

    given: settings of an `Alignment`; each method takes those that it has. StarcliError for one that none of them has.
    """
    methods: dict[str, MatchMethod] = {name: resolve(METHODS, "method", name) for name in METHODS}
    searches = {name: method for name, method in methods.items() if method.relax is None}
    particular = {name for method in searches.values() for name in method.settings}
    return [
        Alignment(name, **{key: each for key, each in given.items() if key not in particular - set(method.settings)})
        for name, method in searches.items()
    ]


def at_hand(
    alignments: Sequence[Alignment], opened: Callable[[bool], _Opened]
) -> tuple[_Opened, Sequence[Alignment], str]:
    """The result of `opened`, with data if there are any; the alignments that are then possible; a note on the others.

    StarcliError where nothing can be done without data.
    """
    reading = [how for how in alignments if how.reads_data]
    try:
        return opened(bool(reading)), alignments, ""
    except StarcliError as error:
        if len(reading) == len(alignments):
            raise
        rest, names = [how for how in alignments if how not in reading], ", ".join(str(how.method) for how in reading)
        why = ": ".join([error.summary, *error.problems[:1]])
        return opened(False), rest, f"left out, for want of data: {names} ({why})"


def recoveries(
    workspace: "Workspace",
    model: Mapping[str, Tensor],
    alignments: Sequence[Alignment],
    *,
    plants: int,
    progress: Progress = SILENT,
) -> Iterator[Recovery]:
    """Recovery, by each of `alignments`, of what is planted in copies of `model`, with every one of `NOISES`."""
    if not workspace.spec.movable:
        progress.note("the network has no units that can be renamed: nothing is planted")
    aligners = [Aligner(how, workspace) for how in alignments]
    progress.start("planting", sum(how.pieces for how in aligners) * len(NOISES) * plants)
    for aligner in aligners:
        for noise in NOISES:
            yield plant_and_recover(aligner, model, noise=noise, plants=plants, progress=progress)
    progress.finish()


def plant_and_recover(
    aligner: Aligner,
    model: Mapping[str, Tensor],
    *,
    noise: float = 0.0,
    plants: int = PLANTS,
    progress: Progress = SILENT,
) -> Recovery:
    """Plant `plants` random permutations, or elements, in copies of `model`, a state dict, and align each copy to it.

    Copy k is drawn, and aligned, with the alignment's seed + k.
    StarcliError where the model does not fit the spec or is not finite, Interrupted where `progress` asks to stop.
    """
    spec, seed = aligner.spec, aligner.alignment.seed
    [compared] = aligner.compared([model])
    kinds = kinds_of_units(aligner.compared_spec, compared)
    groups = [name for name, group in spec.groups.items() if group.size > 1]
    lost: Counter[str] = Counter()
    outputs = _Outputs(aligner.workspace, seed)
    changes, apart, seconds = list[float](), list[float](), list[float]()
    for number in range(plants):
        generator = torch.Generator().manual_seed(seed + number)
        copy = _perturbed(spec, model, noise, generator)
        planted = random_symmetry(aligner, generator)
        hidden = planted.apply(copy)
        changes.append(outputs.change(copy, hidden))
        began = time.monotonic()
        found = aligner.match(model, hidden, seed=seed + number, progress=progress).symmetry
        seconds.append(time.monotonic() - began)
        apart.append(relative_distance(spec, copy, found.apply(hidden)))
        if apart[-1]:
            whole = one_after_the_other(planted, found)  # nothing, where all is undone
            lost.update({name: int((~units_back(whole, name, kinds[name])).sum()) for name in groups})
    units = plants * sum(kinds[name].numel() for name in groups)
    return Recovery(
        alignment=aligner.alignment,
        planted="permutations" if aligner.kinds is None else "elements of all kinds",
        noise=noise,
        plants=plants,
        groups=len(groups),
        units=units,
        recovered=units - lost.total(),
        alike=sum(_alike(kinds[name]) for name in groups),
        lost=tuple(name for name, count in lost.most_common() if count),
        difference=max(changes),
        distance=max(apart),
        seconds=statistics.median(seconds),
    )


def kinds_of_units(spec: Resolved, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """For each group numbers of the shape of its permutation, equal for units that have equal weights throughout.

    Two such units within one parent may change places without a change of any tensor. Buffers do not count.
    """
    digests = {name: [hashlib.sha256() for _ in range(math.prod(spec.index_shape(name)))] for name in spec.groups}
    tensors = spec.seen(tensors)
    for name in spec.learnable():
        for block in spec.blocks.get(name, ()):
            view = block.view(tensors[name].detach().cpu().float()) + 0.0  # -0.0 is 0.0
            for axis, group in enumerate(block.groups):
                if group is None:
                    continue
                around = (*block.parents[axis], axis)
                rows = view.movedim(around, tuple(range(len(around)))).flatten(0, len(around) - 1)
                for digest, row in zip(digests[group], rows.contiguous().numpy(), strict=True):
                    digest.update(row.tobytes())
    numbers: dict[bytes, int] = {}
    return {
        name: torch.tensor([numbers.setdefault(each.digest(), len(numbers)) for each in found]).reshape(
            spec.index_shape(name)
        )
        for name, found in digests.items()
    }


def _alike(kinds: Tensor) -> int:
    """Number of units of a group with another of the same kind beside them, within one parent."""
    rows = kinds.reshape(-1, kinds.shape[-1]).tolist()
    return sum(count for row in rows for count in Counter(row).values() if count > 1)


def _perturbed(
    spec: Resolved, model: Mapping[str, Tensor], noise: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """A copy of `model` whose learnable parameters have normal noise of `noise` standard deviations of each tensor."""
    noisy, seen = dict[str, Tensor](), spec.seen(model)
    for name in spec.learnable() if noise else ():
        tensor = seen[name].detach().cpu()
        spread = float(tensor.double().std(correction=0))
        noisy[name] = tensor + noise * spread * torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
    return {**model, **spec.named(noisy)}


class _Outputs:
    """The floating tensors among a network's outputs, in eval mode, on two random inputs drawn from `seed`."""

    def __init__(self, workspace: "Workspace", seed: int) -> None:
        self.network = workspace.network()
        generator, example = torch.Generator().manual_seed(seed), (workspace.example(),)
        drawn = [fresh_inputs(self.network.network, example, generator) for _ in range(2)]
        self.inputs = [tensor.to(workspace.device) for [tensor] in drawn]

    def at(self, tensors: Mapping[str, Tensor]) -> list[list[Tensor]]:
        """The outputs of a state dict on each input, in float64 on the CPU."""
        self.network.network.train()
        self.network.load(tensors)
        network, found = set_eval_(self.network.network), list[list[Tensor]]()
        with torch.inference_mode():
            for each in self.inputs:
                outputs = [leaf.cpu().double() for leaf in leaves(network(each)) if leaf.is_floating_point()]
                found.append([leaf for leaf in outputs if leaf.numel()])
        if not found[0]:
            raise StarcliError("the network returns no tensor of numbers: a selftest has nothing to compare")
        return found

    def change(self, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
        """Largest difference of the outputs of two state dicts, in units of each output's spread; inf where one is."""
        (first, other), (renamed, _) = self.at(before), self.at(after)
        found = difference(first, renamed, spreads(first, other))
        return found if math.isfinite(found) else math.inf
