"""Learning over all kinds of symmetries that a network has, between the normal forms of two models."""

from collections.abc import Sequence
from dataclasses import replace

from starcli.alignment.learned.learner import Learner
from starcli.alignment.learned.lesson import Lesson
from starcli.alignment.matching.method import Match
from starcli.alignment.objective import inner_product
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.normal_form import normal_element


def learn_element(learner: Learner, lesson: Lesson, kinds: Kinds, starts: Sequence[Match]) -> Match:
    """The best element of `kinds` that the steps of `lesson` come by, from the best of `starts`.

    With N_A and N_B the elements that bring the reference and the model under the start to their normal forms, it is
    the start, then N_B, then what is learned, then the inverse of N_A: the result stands in the frame of the reference.
    Its objective is the inner product of the normal forms. StarcliError as of `Learner.learn`, and where a model has no
    normal form.
    """
    reference, model = lesson.reference, lesson.model

    def judged(match: Match) -> float:
        return learner.judge.loss(reference, match.symmetry.apply(model), progress=lesson.progress)

    losses = [judged(match) for match in starts]
    lowest = min(losses)
    found = starts[losses.index(lowest)]
    start = found.element or Element.of(kinds, found.permutation)
    placed = start.apply({n: t.cpu().double() if t.is_floating_point() else t for n, t in model.items()})
    out, into = normal_element(kinds, reference), normal_element(kinds, placed)
    normal = out.apply(reference), into.apply(placed)
    learned = learner.learn_element(replace(lesson, reference=normal[0], model=normal[1]), kinds)
    if learned.midpoint_loss > lowest:
        element, objective, loss = start, inner_product(kinds.spec, *normal), lowest
    else:
        element = start.compose(into).compose(learned.symmetry).compose(out.inverse())
        objective = inner_product(kinds.spec, normal[0], learned.symmetry.apply(normal[1]))
        loss = learned.midpoint_loss
    units = element.permutation
    return replace(found, permutation=units, element=element, objective=objective, midpoint_loss=loss)
