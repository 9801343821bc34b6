"""Negative controls: every place where a group stands is shown to matter, so that the proof could have failed there.

A *place* is one part of one axis of one tensor T that bears the group. Let p be an involution at that place alone, M a
tensor that p leaves as it is, and f the output as a function of this tensor. If permuting the place alone changed
nothing, f(M + D) = f(M + pD) for every D, whatever values all other tensors have: the gradient G at M would be the same
in both units of each pair that p swaps. So a difference G - pG above THRESHOLD (along pT - T, with random signs, in
units of the output's spread, of a random projection of the output) shows that the place matters.

One backward pass gives it for many places at once, as long as other places of the same group stay generic: involutions
of different places commute, so M is T averaged over all of those that are tried in it. The few places that remain are
measured by what they mean: permute there alone and compare.

A group that stands at a single place has no other to be compared with: it only has to matter there. It does where the
values there are *felt*: the output changes by more than THRESHOLD as they are drawn anew, which G tells as well.
"""

import contextlib
import functools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.symmetry.archspec.blocks import Block
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.proof.evaluation import ProofNetwork, Reference
from starcli.symmetry.proof.places import GroupPlace, Swap, places, redrawn_at

THRESHOLD = 1e-4
"""Least derivative of an output in float32, in units of its spread, that shows that a place matters."""
EVIDENT = 1e-7
"""Least change of an output in float64, in units of its spread, that shows it: a proof fails at a hundredth of it."""
NOTHING = 1e-9
"""Largest change of an output, in units of its spread, that counts as none."""
FLAT = 1e-5
"""Largest sum of |M G| for a float32 gradient G that is zero but for rounding."""
MAX_PASSES = 8
"""Most backward passes of one proof on one reference."""
MAX_EXACT = 64
"""Most places that are permuted alone in one proof."""
MAX_CHANGES = 4
"""Most changes of one place alone, for what decides may decide alike after one of them."""
MAX_TOGETHER = 8
"""Most changes of several places together; each shows a place that matters in half of the cases at least."""
REDRAWN_VARIANCE = 1 / 12
"""Variance of the factors, 1/2 to 3/2, of values that are drawn anew."""


class Controls:
    """The controls of one proof; in the end `open` holds the places that could not be shown to matter."""

    def __init__(self, spec: Resolved, base: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """All places of all groups of `spec` are open; `base` are the generic tensors.

        Those of integers are none: what a list of BatchNorms has counted is of no matter, and has no derivatives.
        """
        self.spec, self.base, self.generator = spec, base, generator
        self.places = places(spec)
        self.open: dict[GroupPlace, None] = {
            place: None
            for found in self.places.values()
            for place in found
            if spec.groups[place.group].size > 1 and base[place.tensor].is_floating_point()
        }
        # Tensors that no gradient reaches: eval mode leaves out their branch, or they decide.
        self.unused: set[str] = set()
        self.flat: set[GroupPlace] = set()
        self.felt: set[GroupPlace] = set()

    def only(self, groups: Iterable[str]) -> None:
        """Forget the places of all other groups."""
        wanted = set(groups)
        self.open = {place: None for place in self.open if place.group in wanted}
        self.flat &= set(self.open)

    def by_derivatives(self, reference: Reference) -> None:
        """Close places by a few forward and backward passes in float32, for all of them together.

        None is closed where the network cannot be differentiated (in-place changes of parameters).
        """
        self.flat.clear()
        self.unused.clear()
        with contextlib.suppress(RuntimeError, StarcliError):
            self._passes(reference)

    def by_changes(self, reference: Reference) -> None:
        """Close the places that are left by permuting each alone, in float64: those where the output changes.

        Places whose values the output never depends on although it uses them are closed too (a key's bias under
        softmax, a bias before a normalisation of its channel): permuted or not, nothing changes.
        """
        if self.flat and self._redrawn(self.flat, reference) <= NOTHING:
            for place in self.flat:
                del self.open[place]
        left_out = self._left_out(reference)
        left = [place for place in self.open if place.tensor not in left_out][:MAX_EXACT]
        several = [place for place in left if not self._is_single(place)]
        still = len(several) > 2 and self._still(several, reference)
        for place in left:
            if self._is_single(place):
                closed = self._redrawn([place], reference) > EVIDENT
            else:
                measured = 0.0 if still else self._swapped_often(place, reference)
                closed = measured > EVIDENT or (measured <= NOTHING and self._is_inert(place, reference))
            if closed:
                del self.open[place]

    def _is_single(self, place: GroupPlace) -> bool:
        return len(self.places[place.group]) == 1

    def _is_inert(self, place: GroupPlace, reference: Reference) -> bool:
        """Whether the output never depends on the values at the place."""
        return place not in self.felt and self._redrawn([place], reference) <= NOTHING

    def _left_out(self, reference: Reference) -> set[str]:
        """Of the tensors that no gradient reaches those that do nothing; others decide, as which expert is chosen."""
        found = [place for place in self.open if place.tensor in self.unused]
        if found and any(self._redrawn(found, reference) > NOTHING for _ in range(MAX_CHANGES)):
            self.unused.clear()
        return self.unused

    def _passes(self, reference: Reference) -> None:
        """Run up to MAX_PASSES backward passes, each for some of the open places."""
        subject = reference.subject
        for attempt in range(MAX_PASSES):
            if attempt == 2:  # so many vectors halfway may have driven the network to where nothing matters
                self.flat.clear()
            chosen = self._choose(attempt)
            if not chosen:
                return
            swap = Swap(self.spec, self.generator)
            try:
                self._halfway(subject, chosen, swap)
                self.unused |= self._backward(reference, chosen, swap)
            finally:
                subject.load(self.spec.under_all_names({name: self.base[name] for name in chosen}))

    def _choose(self, attempt: int) -> dict[str, list[GroupPlace]]:
        """Open places to try together, by tensor: about half of each group's, fewer where that led nowhere.

        All vectors go first (those of a normalisation), then matrices by their first axis, so that what makes a unit is
        tried apart from what reads it: where nothing nonlinear is between the two, each may hide the other.
        """
        candidates = [place for place in self.open if place not in self.flat and place.tensor not in self.unused]
        order = torch.randperm(len(candidates), generator=self.generator).tolist()
        left = {group: math.ceil(len(found) / 2 / (1 + attempt // 3)) for group, found in self.places.items()}
        if attempt < 2:
            order.sort(key=lambda k: (not self._is_vector(candidates[k]), candidates[k].axis))
            for group, found in self.places.items():
                vectors = sum(map(self._is_vector, found))
                left[group] = max(left[group], vectors) if vectors < len(found) else left[group]
        chosen: dict[str, list[GroupPlace]] = defaultdict(list)
        for place in (candidates[k] for k in order):
            if left[place.group]:
                left[place.group] -= 1
                chosen[place.tensor].append(place)
        return chosen

    def _is_vector(self, place: GroupPlace) -> bool:
        return sum(size > 1 for size in self.spec.shapes[place.tensor]) < 2

    def _halfway(self, subject: ProofNetwork, chosen: Mapping[str, Sequence[GroupPlace]], swap: Swap) -> None:
        """Put M into the subject: each tensor averaged over the swaps of its places."""
        for name, found in chosen.items():
            for block in self.spec.blocks[name]:
                parts = [only for place in found if not self._is_single(place) and (only := place.sub_axes(block))]
                for other in self.spec.names_of(name) if parts else ():
                    swap.halfway_(block, parts, self.base[name], subject.state[other])
        subject.forget()

    def _blocks(self, place: GroupPlace) -> list[tuple[Block, tuple[int, ...]]]:
        """The blocks that the place covers, with their sub-axes that belong to it."""
        return [(block, only) for block in self.spec.blocks[place.tensor] if (only := place.sub_axes(block))]

    def _backward(self, reference: Reference, chosen: Mapping[str, Sequence[GroupPlace]], swap: Swap) -> set[str]:
        """Close places of tensors by the gradients of a random projection of the outputs, in units of their spread.

        Each gradient is looked at and freed as soon as it is there: all of them would be as large as the network.
        Returns the names of tensors that the outputs do not depend on. RuntimeError where a gradient comes in parts
        (layers that are used twice under a checkpoint that enters backward again), which are of no use.
        """
        subject, before = reference.subject, dict(self.open)
        # Of one tensor under several names the last was loaded: only its places are tried.
        names = {id(subject.state[name]): name for name in chosen}
        unread = set(names.values())

        def seen(name: str, tensor: Tensor) -> None:
            if name not in unread:
                self.open = before
                raise RuntimeError(f"the gradient of {name} comes in parts")
            assert tensor.grad is not None
            gradient, tensor.grad = tensor.grad, None
            unread.remove(name)
            with torch.no_grad():
                self._close(chosen[name], gradient, tensor.detach(), swap)

        tensors = [subject.state[name].requires_grad_(True) for name in names.values()]
        hooks = [
            tensor.register_post_accumulate_grad_hook(functools.partial(seen, name))  # type: ignore[no-untyped-call]
            for name, tensor in zip(names.values(), tensors, strict=True)
        ]
        try:
            for total in reference.projections(reference.inputs, 1, self.generator):
                total.backward()  # type: ignore[no-untyped-call]
            return unread
        finally:
            for hook in hooks:
                hook.remove()
            for tensor in tensors:
                tensor.requires_grad_(False)

    def _close(self, found: Sequence[GroupPlace], gradient: Tensor, middle: Tensor, swap: Swap) -> None:
        """Close the places of one tensor where its gradient G differs between the units of a pair; `middle` is M.

        The measure is (1/2 sum_i (G - pG)_i^2 (T - pT)_i^2)^(1/2): the root mean square of the derivatives along T - pT
        with all signs of its pairs. That of values drawn anew is (1/12 sum_i (M G)_i^2)^(1/2): above THRESHOLD the
        place is `felt`. Where M G is zero but for rounding it is `flat`: probably without any effect.
        """
        base = self.base[found[0].tensor]
        for place in found:
            blocks = self._blocks(place)
            if not self._is_single(place) and self._tells(blocks, gradient, base, swap):
                self.open.pop(place)
                continue
            effects = [block.view(middle) * block.view(gradient) for block, _ in blocks]
            if REDRAWN_VARIANCE * sum(float(torch.linalg.vector_norm(each)) ** 2 for each in effects) > THRESHOLD**2:
                self.felt.add(place)
                if self._is_single(place):
                    self.open.pop(place)
            elif not self._is_single(place) and sum(float(each.abs_().sum()) for each in effects) < FLAT:
                self.flat.add(place)

    def _tells(
        self, blocks: Sequence[tuple[Block, tuple[int, ...]]], gradient: Tensor, base: Tensor, swap: Swap
    ) -> bool:
        """Whether the measure is above THRESHOLD; its terms are added up only as far as that takes."""
        squares = 0.0
        for block, only in blocks:
            for apart, step in swap.apart(block, only, gradient, base):
                squares += float(torch.linalg.vector_norm(apart.mul_(step))) ** 2
                if squares / 2 > THRESHOLD**2:
                    return True
        return False

    def _still(self, found: Sequence[GroupPlace], reference: Reference) -> bool:
        """Whether nothing changes as several places are permuted together, some of them each time, drawn anew.

        Permuted alone each of them then changes nothing either: where one does, the output cannot stay both with it and
        without it, whichever others are permuted.
        """
        for _ in range(MAX_TOGETHER):
            coins = torch.rand(len(found), generator=self.generator).tolist()
            some = [place for place, coin in zip(found, coins, strict=True) if coin < 0.5]
            if self._swapped(some, Swap(self.spec, self.generator), reference) > NOTHING:
                return False
        return True

    def _swapped_often(self, place: GroupPlace, reference: Reference) -> float:
        """The largest change of the output by up to MAX_CHANGES permutations of the place alone: choices may stay."""
        largest, tried = 0.0, set[tuple[int, ...]]()
        for _ in range(MAX_CHANGES):
            swap = Swap(self.spec, self.generator)
            pairs = tuple(swap.index[place.group].tolist())
            if pairs not in tried:  # of few units there are few
                tried.add(pairs)
                largest = max(largest, self._swapped([place], swap, reference))
            if largest > EVIDENT:
                break
        return largest

    def _swapped(self, found: Iterable[GroupPlace], swap: Swap, reference: Reference) -> float:
        """The change of the output when these places alone are permuted."""
        changed: dict[str, Tensor] = {}
        for place in found:
            tensor = changed.setdefault(place.tensor, self.base[place.tensor].clone())
            for block, only in self._blocks(place):
                view = block.view(tensor)
                view.copy_(swap.rows(block, view, only))
        return self._measure(changed, reference)

    def _redrawn(self, found: Iterable[GroupPlace], reference: Reference) -> float:
        """The change of the output when every value at the places is drawn anew."""
        return self._measure(redrawn_at(self.spec, self.base, found, self.generator), reference)

    def _measure(self, tensors: Mapping[str, Tensor], reference: Reference) -> float:
        """The change of the output when `tensors` take the place of the generic ones."""
        reference.subject.load(self.spec.under_all_names(tensors))
        try:
            return reference.change()
        finally:
            reference.subject.load(self.spec.under_all_names({name: self.base[name] for name in tensors}))
