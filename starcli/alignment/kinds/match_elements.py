"""Weight matching over all kinds of symmetries that a network has."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from starcli.alignment.kinds.ascent import Ascent, only_permutes
from starcli.alignment.matching.method import Match, MatchMethod
from starcli.alignment.matching.restarts import waves
from starcli.alignment.matching.weight_matching import match_many, match_weights
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.normal_form import folded_element, normal_element
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.symmetries import Symmetry, units_of


def match_elements(
    reference: Mapping[str, Tensor],
    model: Mapping[str, Tensor],
    kinds: Kinds,
    *,
    seed: int = 0,
    restarts: int = 1,
    start: Symmetry | None = None,
    progress: Progress = SILENT,
) -> Match:
    """Find the element of the whole symmetry group under which `model` is nearest to `reference`, between normal forms.

    With N_A and N_B the elements that bring the two to their normal forms, it is N_B, then g, then the inverse of N_A:
    the result stands in the frame of the reference, and the line to it computes what the line between the normal forms
    does. g is a permutation that `match_weights` finds, from which `Ascent` goes on; and once more where groups have
    settled one after the other from what never moves (`Ascent.settle`). The higher end is kept. Each of `restarts` - 1
    further rounds makes a detour from the best. The objective, the inner product of the two normal forms, is never
    below what permutations alone reach there with the same seed and restarts.

    Given a `start`, goes on from there, and its scales and balances stay: only scales and shifts of norms, which are
    the reference's, are no part of what is compared then. So a reference that was trained near to what `start` made of
    the model, as a star is, finds it there. StarcliError where the tensors do not fit the spec or are not finite.
    """
    into, out = _forms(kinds, reference, model, start)
    forms = _under(out, reference), _under(into, model)
    ascent = Ascent(kinds, *forms, progress)
    if start is None or only_permutes(kinds):
        spec = kinds.permuted
        still = None if start is None else Permutation.identity(spec)
        found = match_weights(*forms, spec, seed=seed, restarts=restarts, start=still, progress=progress)
        ascent.sweeps += found.sweeps
        ascent.place(Element.of(kinds, found.permutation))
    if not only_permutes(kinds):
        _search(ascent, np.random.default_rng(seed), restarts, cold=start is None)
    element = into.compose(ascent.element).compose(out.inverse())
    moved = element.permutation.moved(None if start is None else units_of(start))
    return Match.of(element, objective=ascent.objective, sweeps=ascent.sweeps, restarts=restarts, moved=moved)


WEIGHT = MatchMethod(one=match_weights, many=match_many, settings=("kinds",), elements=match_elements)
"""The weights alone."""


def _search(ascent: Ascent, generator: np.random.Generator, restarts: int, *, cold: bool) -> None:
    """Ascend from here, in a `cold` search from where settling ends too, then along detours; keep the highest end."""
    ascent.run(generator)
    best, objective = ascent.element, ascent.objective
    detours = [detour for wave in waves(restarts - 1, cold=False) for _, detour in wave]
    for detour in [None, *detours] if cold and restarts else detours:
        if detour is None:
            ascent.place(Element.identity(ascent.kinds))
            ascent.settle()
        else:
            ascent.place(best)
            ascent.run(generator, detour.sweeps, detour.weight)
        ascent.run(generator)
        if ascent.objective > objective:
            best, objective = ascent.element, ascent.objective
    ascent.place(best)


def _under(element: Element, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state dict, float64 on the CPU, under an element."""
    return element.apply({name: tensor.detach().cpu().double() for name, tensor in tensors.items()})


def _forms(
    kinds: Kinds, reference: Mapping[str, Tensor], model: Mapping[str, Tensor], start: Symmetry | None
) -> tuple[Element, Element]:
    """What brings the model, and the reference, to the forms that are compared."""
    if start is None:
        return normal_element(kinds, model), normal_element(kinds, reference)
    begun = start if isinstance(start, Element) else Element.of(kinds, start)
    return begun.compose(folded_element(kinds, begun.apply(model))), folded_element(kinds, reference)
