"""Learning over all kinds of symmetries that a network has, between the normal forms of two models."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from starcli.alignment.learned.learner import Learner
from starcli.alignment.matching.method import Match
from starcli.alignment.objective import inner_product
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.normal_form import normal_element


def learn_element(
    learner: Learner,
    reference: Mapping[str, Tensor],
    model: Mapping[str, Tensor],
    kinds: Kinds,
    starts: Sequence[Match],
    *,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress = SILENT,
) -> Match:
    """The best element of `kinds` that `steps` steps come by, from the best of `starts`; see `Learner.learn_element`.

    With N_A and N_B the elements that bring `reference` and `model` under the start to their normal forms, it is the
    start, then N_B, then what is learned, then the inverse of N_A: the result stands in the frame of the reference. Its
    objective is the inner product of the normal forms. StarcliError as of `Learner.learn`, and where a model has no
    normal form.
    """

    def judged(match: Match) -> float:
        return learner.judge.loss(reference, match.symmetry.apply(model), progress=progress)

    losses = [judged(match) for match in starts]
    lowest = min(losses)
    found = starts[losses.index(lowest)]
    start = found.element or Element.of(kinds, found.permutation)
    placed = start.apply({n: t.cpu().double() if t.is_floating_point() else t for n, t in model.items()})
    out, into = normal_element(kinds, reference), normal_element(kinds, placed)
    normal = out.apply(reference), into.apply(placed)
    learned = learner.learn_element(*normal, kinds, steps=steps, rate=rate, seed=seed, progress=progress)
    if learned.midpoint_loss > lowest:
        element, objective, loss = start, inner_product(kinds.spec, *normal), lowest
    else:
        element = start.compose(into).compose(learned.symmetry).compose(out.inverse())
        objective = inner_product(kinds.spec, normal[0], learned.symmetry.apply(normal[1]))
        loss = learned.midpoint_loss
    units = element.permutation
    return replace(found, permutation=units, element=element, objective=objective, midpoint_loss=loss)
