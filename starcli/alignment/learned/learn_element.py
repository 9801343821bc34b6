"""Learning over all kinds of symmetries that a network has, between the normal forms of two models."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from starcli.alignment.learned.learner import Learned, Learner
from starcli.alignment.learned.lesson import Lesson
from starcli.alignment.matching.method import Match
from starcli.alignment.objective import inner_product
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.normal_form import normal_element
from starcli.symmetry.symmetries import Symmetry

MILDER = (20.0, 10.0, 6.0, 4.0, 3.0, 2.0)
"""Largest singular values of invertible matrices, and one over the least, that are tried where they round too much."""


def learn_element(
    learner: Learner,
    lesson: Lesson,
    kinds: Kinds,
    starts: Sequence[Match],
    rounds_too_much: Callable[[Element], bool],
) -> Match:
    """The best element of `kinds` that the steps of `lesson` come by, from the best of `starts`.

    With N_A and N_B the elements that bring the reference and the model under the start to their normal forms, it is
    the start, then N_B, then what is learned, then the inverse of N_A: the result stands in the frame of the reference.
    Where that rounds too much, what is learned is made milder, until it is no better than the start.
    Its objective is the inner product of the normal forms. StarcliError as of `Learner.learn`, and where a model has no
    normal form.
    """
    reference, model = lesson.reference, lesson.model

    def judged(symmetry: Symmetry) -> float:
        return learner.judge.loss(reference, symmetry.apply(model), progress=lesson.progress)

    losses = [judged(match.symmetry) for match in starts]
    lowest = min(losses)
    found = starts[losses.index(lowest)]
    start = found.element or Element.of(kinds, found.permutation)
    placed = start.apply({n: t.cpu().double() if t.is_floating_point() else t for n, t in model.items()})
    out, into = normal_element(kinds, reference), normal_element(kinds, placed)
    normal = out.apply(reference), into.apply(placed)
    learned = learner.learn_element(replace(lesson, reference=normal[0], model=normal[1]), kinds)

    def in_the_frame(symmetry: Element) -> Element:
        return start.compose(into).compose(symmetry).compose(out.inverse())

    for each in _milder_and_milder(learned, lambda symmetry: judged(in_the_frame(symmetry))):
        if each.midpoint_loss > lowest:
            break
        if not rounds_too_much(element := in_the_frame(each.symmetry)):
            objective = inner_product(kinds.spec, normal[0], each.symmetry.apply(normal[1]))
            return _at(found, element, objective, each.midpoint_loss)
    return _at(found, start, inner_product(kinds.spec, *normal), lowest)


def _at(found: Match, element: Element, objective: float, loss: float) -> Match:
    """The match with another element."""
    return replace(found, permutation=element.permutation, element=element, objective=objective, midpoint_loss=loss)


def _milder_and_milder(learned: Learned[Element], judged: Callable[[Element], float]) -> Iterator[Learned[Element]]:
    """What was learned, then with invertible matrices nearer to rotations, if there are any."""
    yield learned
    for largest in MILDER if invertible(learned.symmetry) else ():
        symmetry = milder(learned.symmetry, largest)
        yield Learned(symmetry, judged(symmetry))


def invertible(element: Element) -> dict[str, Tensor]:
    """The matrices of an element, by group, that need not be rotations or complex numbers."""
    groups = element.kinds.groups
    return {name: matrix for name, matrix in element.matrices.items() if groups[name].kind == "invertible"}


def milder(element: Element, largest: float) -> Element:
    """The element with all singular values of its invertible matrices between 1 / `largest` and `largest`."""

    def bounded(matrix: Tensor) -> Tensor:
        u, values, v = torch.linalg.svd(matrix)
        made: Tensor = u * values.clamp(1 / largest, largest).unsqueeze(-2) @ v
        return made

    changed = {name: bounded(matrix) for name, matrix in invertible(element).items()}
    return replace(element, matrices={**element.matrices, **changed})
