"""Negative controls: that every place where a group stands matters, so that the proof could have failed there.

A *place* is one part of one axis of one tensor that bears the group. Let T_p be the tensor with an involution p applied
at that place alone, and f(a) the output at T + a (T_p - T). If permuting the place alone changed nothing, f would be
symmetric about a = 1/2 for whatever values all other tensors have, since p swaps the ends: its derivative would vanish
there. So a derivative above THRESHOLD at a = 1/2 (in units of the output's spread, along a random projection) shows
that the place matters; it is the midpoint rule for the very change f(1) - f(0). One backward pass gives it for many
places at once, as long as other places of the same group stay generic. The few that remain are measured by what they
mean: permute there alone and compare.
"""

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
FIRST_PASSES = 5
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
    """The controls of one proof: `undecided` maps each group to the places that could not be shown to matter."""

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
        # A group at a single place: leaving it out leaves nothing, so it only has to matter at all (see `unused`).
        self.open: dict[Place, None] = {
            place: None for found in self.places.values() for place in found if spec.groups[place.group].size > 1
        }
        self.unused: set[str] = set()
        self.flat: set[Place] = set()
        self.aliases = {name: names for names in spec.tied for name in names}

    def by_gradient(self, subject: Subject, scale: Sequence[float], passes: int) -> None:
        """Close places by derivatives: a few forward and backward passes for all of them together."""
        inputs = [tensor.to(subject.dtype) if tensor.is_floating_point() else tensor for tensor in self.inputs]
        for attempt in range(passes):
            chosen = self._choose(share=0.5 / (1 + attempt // 3))
            if not chosen:
                return
            swap = involution(self.spec, self.generator)
            start = {name: subject.state[name].detach().clone() for name in chosen}
            middle = {name: self._between(start[name], found, swap) for name, found in chosen.items()}
            subject.load(self._with_aliases(middle))
            gradients = self._gradients(subject, inputs, scale, list(chosen))
            subject.load(self._with_aliases(start))
            for name, gradient in gradients.items():
                if gradient is not None:
                    self._close(chosen[name], gradient, middle[name].sub_(start[name]))

    def sort_rest(self, subject: Subject, scale: Sequence[float]) -> None:
        """What open places could be instead: on a tensor that the outputs do not depend on even formally, since eval
        mode leaves its branch out (`unused`), or without any effect (`flat`), which remains to be shown."""
        inputs = [tensor.to(subject.dtype) if tensor.is_floating_point() else tensor for tensor in self.inputs]
        names = list(dict.fromkeys(place.tensor for place in self.open))
        gradients = self._gradients(subject, inputs, scale, names)
        self.unused = {name for name, found in gradients.items() if found is None}
        for place in self.open:
            gradient = gradients[place.tensor]
            if gradient is not None:
                product = gradient.mul(subject.state[place.tensor].detach())
                blocks = (block for block in self.spec.blocks[place.tensor] if place.sub_axes(block))
                if sum(float(block.view(product).abs().sum()) for block in blocks) < FLAT:
                    self.flat.add(place)

    def _with_aliases(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {other: value for name, value in tensors.items() for other in self.aliases.get(name, (name,))}

    def _choose(self, share: float) -> dict[str, list[Place]]:
        """Open places to try together: one axis a tensor, one group a part, and at most `share` of any group's."""
        candidates = [place for place in self.open if len(self.places[place.group]) > 1]
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

    def _gradients(
        self, subject: Subject, inputs: Sequence[Tensor], scale: Sequence[float], names: Sequence[str]
    ) -> dict[str, Tensor | None]:
        """Of a random projection of the outputs in units of their spread; None for tensors that they do not use."""
        tensors = [subject.state[name].requires_grad_(True) for name in names]
        if not names:
            return {}
        try:
            outputs = subject.differentiable(inputs)
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

    def _close(self, found: Sequence[Place], gradient: Tensor, half_step: Tensor) -> None:
        """Close the places of one tensor where <gradient, T_p - T> is large; `half_step` is (T_p - T) / 2."""
        product = gradient.mul(half_step)
        for place in found:
            blocks = (block for block in self.spec.blocks[place.tensor] if place.sub_axes(block))
            if abs(2 * sum(float(block.view(product).sum()) for block in blocks)) > THRESHOLD:
                self.open.pop(place, None)

    def close_inert(self, subject: Subject, outputs: Sequence[Tensor], scale: Sequence[float]) -> None:
        """Places whose values the output never depends on although it uses them (a key's bias under softmax, a bias
        before a normalisation of its channel): permuting them or not, nothing changes, so they prove or refute nothing.
        """
        found: dict[str, list[Place]] = defaultdict(list)
        for place in self.flat:
            found[place.tensor].append(place)
        changed = {name: self._noisy(self.base[name], each) for name, each in found.items()}
        if changed and self._measure(subject, changed, outputs, scale) <= NOTHING:
            for place in self.flat:
                del self.open[place]

    def exactly(self, subject: Subject, outputs: Sequence[Tensor], scale: Sequence[float]) -> None:
        """Close what is left by measuring it, place by place: permuted there alone, or, at no effect, redrawn there."""
        for place in list(self.open)[:MAX_EXACT]:
            tensor = self.base[place.tensor]
            swap = involution(self.spec, self.generator)
            changed = tensor.clone()
            for block in self.spec.blocks[place.tensor]:
                if only := place.sub_axes(block):
                    block.view(changed).copy_(swap.partial(block, tensor, only))
            if len(self.places[place.group]) == 1:
                changed = self._noisy(tensor, [place])
            measured = self._measure(subject, {place.tensor: changed}, outputs, scale)
            if measured <= NOTHING and place.tensor not in self.unused:
                measured = self._measure(subject, {place.tensor: self._noisy(tensor, [place])}, outputs, scale)
                if measured <= NOTHING:
                    del self.open[place]
            elif measured > THRESHOLD:
                del self.open[place]

    def run(self, exact: Subject, quick: Subject, outputs: Sequence[Tensor], scale: Sequence[float]) -> None:
        """All controls: `quick` (float32) differentiates, `exact` (float64), whose outputs are `outputs`, measures."""
        try:
            self.by_gradient(quick, scale, FIRST_PASSES)
            if self.open:
                self.sort_rest(quick, scale)
                self.close_inert(exact, outputs, scale)
                self.by_gradient(quick, scale, MAX_PASSES - FIRST_PASSES)
        except RuntimeError:
            # Some networks cannot be differentiated (in-place changes of parameters): all that is left is measured.
            self.unused = {place.tensor for place in self.open}
        self.exactly(exact, outputs, scale)

    def _noisy(self, tensor: Tensor, found: Sequence[Place]) -> Tensor:
        """The tensor with every value at the places drawn anew, positive ones positive."""
        result = tensor.clone()
        for place in found:
            for block in self.spec.blocks[place.tensor]:
                if place.sub_axes(block):
                    view = block.view(result)
                    factor = torch.rand(view.shape, generator=self.generator, dtype=torch.float64)
                    view.mul_(0.5 + factor)
        return result

    def _measure(
        self, subject: Subject, tensors: Mapping[str, Tensor], outputs: Sequence[Tensor], scale: Sequence[float]
    ) -> float:
        """The change of the output when `tensors` take the place of the generic ones."""
        subject.load(self._with_aliases(tensors))
        try:
            return difference(subject.run(self.inputs), outputs, scale)
        finally:
            subject.load(self._with_aliases({name: self.base[name] for name in tensors}))
