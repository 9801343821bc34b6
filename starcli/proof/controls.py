"""Negative controls: that every place where a group stands matters, so that the proof could have failed there.

A *place* is one part of one axis of one tensor that bears the group. Let T_p be the tensor with an involution p applied
at that place alone, and f(a) the output at T + a (T_p - T). If permuting the place alone changed nothing, f would be
symmetric about a = 1/2 for whatever values all other tensors have, since p swaps the ends: its derivative would vanish
there. So a derivative above THRESHOLD at a = 1/2 (in units of the output's spread, along a random projection) shows
that the place matters; it is the midpoint rule for the very change f(1) - f(0). One backward pass gives it for many
places at once, as long as other places of the same group stay generic. The few that remain are measured by what they
mean: permute there alone and compare.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from starcli.archspec import Block, Resolved
from starcli.permutation import Permutation
from starcli.proof.evaluation import Subject, difference

THRESHOLD = 1e-4
NOTHING = 1e-9
# Of a float32 derivative that is zero but for rounding.
FLAT = 1e-5
MAX_PASSES = 12
MAX_EXACT = 64


@dataclass(frozen=True)
class Place:
    """One part (that begins at position `start`) of one axis of a tensor, and a group that it bears."""

    tensor: str
    axis: int
    start: int
    group: str

    def sub_axes(self, block: Block) -> tuple[int, ...]:
        """The sub-axes of `block` that belong to the place, none if the block lies elsewhere."""
        if block.starts[self.axis] != self.start:
            return ()
        return tuple(k for k, group in enumerate(block.groups) if group == self.group and block.axes[k] == self.axis)


def places(spec: Resolved) -> dict[str, list[Place]]:
    """Every place of every group; tied tensors are one."""
    repeated = {name for names in spec.tied for name in names[1:]}
    found: dict[str, list[Place]] = {group: [] for group in spec.groups}
    for tensor, axes in spec.terms.items():
        for axis, terms in enumerate(axes) if tensor not in repeated else ():
            for term in terms:
                for group in dict.fromkeys(factor.group for factor in term.factors):
                    if group is not None:
                        found[group].append(Place(tensor, axis, term.start, group))
    return found


def involution(spec: Resolved, generator: torch.Generator) -> Permutation:
    """For every group (in every parent) units swapped in random pairs; of an odd number one stays."""
    index = {}
    for group in spec.groups:
        shape = spec.index_shape(group)
        order = torch.rand(shape, generator=generator, dtype=torch.float64).argsort(dim=-1)
        partner = order.clone()
        even = shape[-1] // 2 * 2
        partner[..., 0:even:2], partner[..., 1:even:2] = order[..., 1:even:2], order[..., 0:even:2]
        index[group] = torch.empty(shape, dtype=torch.int64).scatter_(-1, order, partner)
    return Permutation(spec, index)


class Controls:
    """The controls of one proof: in the end `open` holds the places that could not be shown to matter."""

    def __init__(
        self,
        spec: Resolved,
        base: Mapping[str, Tensor],
        inputs: Sequence[Tensor],
        generator: torch.Generator,
        groups: Iterable[str],
    ) -> None:
        self.spec, self.base, self.inputs, self.generator = spec, base, inputs, generator
        self.places = {group: found for group, found in places(spec).items() if group in set(groups)}
        self.open: dict[Place, None] = {
            place: None for found in self.places.values() for place in found if spec.groups[place.group].size > 1
        }
        # Tensors that the outputs do not depend on even formally: eval mode leaves out their branch.
        self.unused: set[str] = set()
        self.flat: set[Place] = set()
        self.aliases = {name: names for names in spec.tied for name in names}

    def run(self, subject: Subject, outputs: Sequence[Tensor], scale: Sequence[float]) -> None:
        """All controls of `subject`, which gives `outputs` at the generic weights in float64: derivatives in float32,
        then what they leave open in float64."""
        subject.become(torch.float32, self.base)
        # Some networks cannot be differentiated (in-place changes of parameters): everything is measured then.
        with contextlib.suppress(RuntimeError):
            self.by_gradient(subject, scale)
        if self.open:
            subject.become(torch.float64, self.base)
            self.close_inert(subject, outputs, scale)
            self.exactly(subject, outputs, scale)

    def by_gradient(self, subject: Subject, scale: Sequence[float]) -> None:
        """Close places by derivatives: a few forward and backward passes for all of them together."""
        for attempt in range(MAX_PASSES):
            chosen = self._choose(share=0.5 / (1 + attempt // 3))
            if not chosen:
                return
            swap = involution(self.spec, self.generator)
            middle = {name: self._between(self.base[name], found, swap) for name, found in chosen.items()}
            subject.load(self._with_aliases(middle).items())
            gradients = self._gradients(subject, scale, list(chosen))
            subject.load(self._with_aliases({name: self.base[name] for name in chosen}).items())
            for name, gradient in gradients.items():
                if gradient is None:
                    self.unused.add(name)
                else:
                    self._close(chosen[name], gradient, middle.pop(name))

    def _with_aliases(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {other: value for name, value in tensors.items() for other in self.aliases.get(name, (name,))}

    def _choose(self, share: float) -> dict[str, list[Place]]:
        """Open places to try together: one axis a tensor, one group a part, and at most `share` of any group's."""
        candidates = [
            place
            for place in self.open
            if len(self.places[place.group]) > 1 and place not in self.flat and place.tensor not in self.unused
        ]
        order = torch.randperm(len(candidates), generator=self.generator).tolist()
        left = {group: max(1, int(share * len(found))) for group, found in self.places.items()}
        axis: dict[str, int] = {}
        taken: set[tuple[str, int]] = set()
        chosen: dict[str, list[Place]] = defaultdict(list)
        for place in (candidates[i] for i in order):
            here = (place.tensor, place.start)
            if left[place.group] and axis.setdefault(place.tensor, place.axis) == place.axis and here not in taken:
                taken.add(here)
                left[place.group] -= 1
                chosen[place.tensor].append(place)
        return chosen

    def _between(self, tensor: Tensor, found: Sequence[Place], swap: Permutation) -> Tensor:
        """The tensor halfway to its permuted self at each of the places."""
        result = tensor.clone()
        for place in found:
            for block in self.spec.blocks[place.tensor]:
                if only := place.sub_axes(block):
                    block.view(result).lerp_(swap.partial(block, tensor, only), 0.5)
        return result

    def _gradients(self, subject: Subject, scale: Sequence[float], names: Sequence[str]) -> dict[str, Tensor | None]:
        """Of a random projection of the outputs in units of their spread; None for tensors that they do not use."""
        tensors = [subject.state[name].requires_grad_(True) for name in names]
        if not names:
            return {}
        try:
            outputs = subject.differentiable(self.inputs)
            total = torch.zeros((), dtype=subject.dtype)
            for output, s in zip(outputs, scale, strict=True):
                if output.requires_grad:
                    weights = torch.randn(output.shape, generator=self.generator, dtype=subject.dtype)
                    total = total + (output * weights).sum() / (s * output.numel() ** 0.5)
            if not total.requires_grad:
                return dict.fromkeys(names)
            return dict(zip(names, torch.autograd.grad(total, tensors, allow_unused=True), strict=True))
        finally:
            for tensor in tensors:
                tensor.requires_grad_(False)

    def _close(self, found: Sequence[Place], gradient: Tensor, middle: Tensor) -> None:
        """Close the places of one tensor where <gradient, T_p - T> is large; `middle` is (T_p + T) / 2 at all of them.

        Where the gradient is zero but for rounding the place is `flat`: probably without any effect.
        """
        step = torch.sub(middle, self.base[found[0].tensor]).mul_(2).mul_(gradient)
        effect = middle.mul_(gradient).abs_()
        for place in found:
            blocks = [block for block in self.spec.blocks[place.tensor] if place.sub_axes(block)]
            if abs(sum(float(block.view(step).sum()) for block in blocks)) > THRESHOLD:
                self.open.pop(place)
            elif sum(float(block.view(effect).sum()) for block in blocks) < FLAT:
                self.flat.add(place)

    def close_inert(self, subject: Subject, outputs: Sequence[Tensor], scale: Sequence[float]) -> None:
        """Close flat places whose values the output really never depends on although it uses them (a key's bias under
        softmax, a bias before a normalisation of its channel): permuted or not, nothing changes."""
        if self.flat and self._redrawn(self.flat, subject, outputs, scale) <= NOTHING:
            for place in self.flat:
                del self.open[place]
            return
        for place in sorted(self.flat, key=str)[:MAX_EXACT]:
            if self._redrawn([place], subject, outputs, scale) <= NOTHING:
                del self.open[place]

    def exactly(self, subject: Subject, outputs: Sequence[Tensor], scale: Sequence[float]) -> None:
        """Close what is left by what a control means: permuted at the place alone, does the output change?

        A group that stands at a single place has no other to be held against: it only has to matter there.
        """
        for place in [place for place in self.open if place.tensor not in self.unused][:MAX_EXACT]:
            if len(self.places[place.group]) == 1:
                measured = self._redrawn([place], subject, outputs, scale)
            else:
                tensor, swap = self.base[place.tensor], involution(self.spec, self.generator)
                changed = tensor.clone()
                for block in self.spec.blocks[place.tensor]:
                    if only := place.sub_axes(block):
                        block.view(changed).copy_(swap.partial(block, tensor, only))
                measured = self._measure(subject, {place.tensor: changed}, outputs, scale)
            if measured > THRESHOLD:
                del self.open[place]

    def _redrawn(
        self, found: Iterable[Place], subject: Subject, outputs: Sequence[Tensor], scale: Sequence[float]
    ) -> float:
        """The change of the output when every value at the places is drawn anew, positive ones positive."""
        changed: dict[str, Tensor] = {}
        for place in sorted(found, key=str):
            tensor = changed.setdefault(place.tensor, self.base[place.tensor].clone())
            for block in self.spec.blocks[place.tensor]:
                if place.sub_axes(block):
                    view = block.view(tensor)
                    view.mul_(0.5 + torch.rand(view.shape, generator=self.generator))
        return self._measure(subject, changed, outputs, scale)

    def _measure(
        self, subject: Subject, tensors: Mapping[str, Tensor], outputs: Sequence[Tensor], scale: Sequence[float]
    ) -> float:
        """The change of the output when `tensors` take the place of the generic ones."""
        subject.load(self._with_aliases(tensors).items())
        try:
            return difference(subject.run(self.inputs), outputs, scale)
        finally:
            subject.load(self._with_aliases({name: self.base[name] for name in tensors}).items())
