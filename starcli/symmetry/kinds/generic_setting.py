"""A network at generic weights, the places of its groups, and how its outputs change there."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.kinds.claims import in_order, inert_places, scalings
from starcli.symmetry.kinds.derivatives import PlaceDerivatives, passes_needed, place_derivatives
from starcli.symmetry.proof.evaluation import Reference, last_example_alone
from starcli.symmetry.proof.generic import GenericNetwork, at_generic_weights, on_more_examples
from starcli.symmetry.proof.places import GroupPlace, places
from starcli.symmetry.proof.redraw import fresh_inputs

VARIANCE = "running_var"
"""The name that torch's normalisations give to a buffer of variances."""


MORE = 8
"""How many inputs more at most for a group that too little is seen of."""
FEW_UNITS = 4
"""Units of a group, in all that is around it, fewer than which always are too few on one input."""


class GenericSetting:
    """A network in float64 at generic weights, and derivatives at the places of groups that may have larger kinds.

    Not those of groups around others, whose units are groups themselves; nor of units that stand twice on one axis.
    """

    def __init__(
        self,
        network: nn.Module,
        spec: Resolved,
        example: Sequence[Tensor],
        groups: Sequence[str],
        generator: torch.Generator,
    ) -> None:
        """Draw weights and inputs like `example`; `groups` are those of interest."""
        self.groups = groups
        self.spec, self.generator = spec, generator
        generic, self.reference = _evaluated(network, spec, example, generator)
        self.base, self.subject = generic.base, generic.subject
        self.places = {
            name: found
            for name, found in places(spec).items()
            if name in groups and name not in spec.around and all(map(self._plain, found))
        }
        self.passes = passes_needed(spec, self.places)
        few = {name for name in self.places if math.prod(spec.index_shape(name)) < FEW_UNITS}
        wanted = [name for name in self.places if name not in few]
        self.found = self.derivatives(wanted)
        together = generic.inputs[0]
        if self.reference.inputs is not together and self._misses(tuple(each[:-1] for each in together)):
            self.reference = generic.together()
            self.found = self.derivatives(wanted)
        seen = dict.fromkeys(few, 0.0) | {
            name: _equations(found) / (2 * len(found)) for name, found in self.found.items()
        }
        if thin := {name: share for name, share in seen.items() if share < 1}:
            like = example if self.reference.inputs is together else [each[-1:] for each in example]
            self.found |= self._on_more_inputs(thin, lambda: fresh_inputs(network, like, generator))
        self.found = {name: self.found[name] for name in self.places if name in self.found}
        self.inert = {name: inert_places(found) for name, found in self.found.items()}
        self._scalings: dict[str, list[dict[GroupPlace, int]]] = {}
        self.near_zero_scalings: dict[str, list[dict[GroupPlace, int]]] = {}
        """Ways to scale that hold near zero, as far as they were looked for (see `signs`)."""

    def _on_more_inputs(
        self, thin: Mapping[str, float], draw: Callable[[], tuple[Tensor, ...]]
    ) -> dict[str, dict[GroupPlace, PlaceDerivatives]]:
        """Derivatives of groups of which this share of what is needed was seen: off here, or on at few positions."""
        least = min(thin.values())
        count = min(MORE, math.ceil(2 / least)) if least else MORE
        wanted = [name for name in self.places if name in thin]
        return self.derivatives(wanted, inputs=[self.reference.inputs, *(draw() for _ in range(count))])

    def _misses(self, others: tuple[Tensor, ...]) -> bool:
        """Whether places that do nothing for the examples of the reference do something for others."""
        inert = {name: own for name, found in self.found.items() if (own := inert_places(found))}
        at = in_order(place for own in inert.values() for place in own)
        if not at:
            return False
        found = place_derivatives(self.spec, self.reference, at, dict.fromkeys(inert, 1), self.generator, [others])
        return not found or any(
            inert_places(self.found[name] | {p: found[p] for p in own}) != own for name, own in inert.items()
        )

    def with_groups(self, spec: Resolved, groups: Sequence[str]) -> "GenericSetting":
        """The same with `groups` besides, of a spec that has them all."""
        made = copy(self)
        at = places(spec)
        made.spec, made.groups = spec, [*self.groups, *groups]
        made.places = {**self.places, **{name: at[name] for name in groups}}
        made.passes = {**self.passes, **dict.fromkeys(groups, 1)}
        more = made.derivatives(groups)
        made.found = {**self.found, **more}
        made.inert = {**self.inert, **{name: inert_places(found) for name, found in more.items()}}
        return made

    def _plain(self, place: GroupPlace) -> bool:
        """Whether the group stands once at the place, on a tensor of real numbers."""
        once = all(len(place.sub_axes(block)) < 2 for block in self.spec.blocks[place.tensor])
        return once and self.base[place.tensor].is_floating_point()

    @contextmanager
    def moved(self, names: Collection[str], write: Callable[[Mapping[str, Tensor]], object]) -> Iterator[None]:
        """The subject where `write` has changed these of its tensors, given by name, in place."""
        state = self.subject.state
        try:
            with torch.no_grad():
                write(state)
            self.subject.load((other, state[name]) for name in names for other in self.spec.names_of(name)[1:])
            yield
        finally:
            self.subject.load(self.spec.under_all_names({name: self.base[name] for name in names}))

    def moved_to(self, tensors: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """The subject where these tensors have other values."""

        def write(state: Mapping[str, Tensor]) -> None:
            for name, tensor in tensors.items():
                state[name].copy_(tensor)

        return self.moved(tensors, write)

    def derivatives(
        self,
        wanted: Collection[str],
        moved: Mapping[str, Tensor] | None = None,
        inputs: Sequence[tuple[Tensor, ...]] = (),
    ) -> dict[str, dict[GroupPlace, PlaceDerivatives]]:
        """By group, where the tensors `moved` have other values; nothing where the network cannot be differentiated.

        `inputs`: those of the reference unless said.
        """
        at = [place for name in wanted for place in self.places[name]]
        if not at:
            return {}
        inputs = inputs or [self.reference.inputs]
        passes = {name: math.ceil(self.passes[name] / len(inputs)) for name in wanted}
        with self.moved_to(moved or {}):
            found = place_derivatives(self.spec, self.reference, at, passes, self.generator, inputs)
        return {name: {p: found[p] for p in self.places[name]} for name in wanted if found}

    def scalings(self, group: str) -> list[dict[GroupPlace, int]]:
        """Ways to scale a group that its derivatives suggest."""
        if group not in self._scalings:
            self._scalings[group] = scalings(self.found[group], self.active(group))
        return self._scalings[group]

    def shape(self, group: str) -> tuple[int, ...]:
        """(parents..., n) of a group."""
        return self.spec.index_shape(group)

    def active(self, group: str, *, buffers: bool = False) -> list[GroupPlace]:
        """Places of the group that have an effect; without `buffers`, those on parameters."""
        at = [place for place in self.found[group] if place not in self.inert[group]]
        return [place for place in at if buffers or place.tensor not in self.spec.buffers]

    def flippable(self, at: Collection[GroupPlace]) -> list[GroupPlace]:
        """Places of `at` at which signs may stand: no variances."""
        return [place for place in at if not place.tensor.endswith(VARIANCE)]


def _equations(found: Mapping[GroupPlace, PlaceDerivatives]) -> int:
    """How many equations the scales at these places have: units and passes of which some derivative is not zero."""
    return int(torch.stack([each.diagonal.ne(0) for each in found.values()]).any(dim=0).sum())


def _evaluated(
    network: nn.Module, spec: Resolved, example: Sequence[Tensor], generator: torch.Generator
) -> tuple[GenericNetwork, Reference]:
    """The network in float64 at generic weights, and its outputs: for one example where it treats each by itself."""
    if found := on_more_examples(network, example, generator, spec):
        return found
    generic = at_generic_weights(network, example, generator, spec)
    alone = _alone(generic)
    generic.subject.become(torch.float64, generic.base)
    return generic, alone.anew() if alone else generic.together()


def _alone(generic: GenericNetwork) -> Reference | None:
    """The outputs for the last example in float32, which is good enough for a unit of measure (see `prove`)."""
    try:
        return last_example_alone(generic.subject, generic.inputs[0], generic.subject.run(generic.inputs[0]))
    except StarcliError:
        return None
