"""Parts of the objective of weight matching: what a family, or a stack, says of a move is what the objective gains."""

import numpy as np
import pytest
import torch
from support.matching import CASES, case, draw, inner_product

from starcli.alignment.matching.costs import MatchingState
from starcli.alignment.matching.descent import Descent
from starcli.alignment.matching.problem import MatchingProblem, StackedModel
from starcli.alignment.matching.weight_matching import match_weights
from starcli.symmetry.permutation import Permutation


def random(name: str, seed: int) -> Permutation:
    return Permutation.random(case(name), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", CASES)
def test_a_move_of_a_family_gains_what_its_parts_say(name: str) -> None:
    """In blocks with the family on two axes both move; in all others the difference of each stack is the gain."""
    spec = case(name)
    a, b, here, there = draw(spec, 0), draw(spec, 1), random(name, 2), random(name, 3)
    problem = MatchingProblem(StackedModel(spec, a), StackedModel(spec, b))
    before = {group: index.numpy() for group, index in here.index.items()}
    state = MatchingState(problem.layout, before)
    start = inner_product(spec, a, here.apply(b))
    assert problem.objective(state) == pytest.approx(start, rel=1e-9)
    for family in problem.layout.families:
        moved = {group: there.index[group] if group in family.groups else each for group, each in here.index.items()}
        trial = MatchingState(problem.layout, {group: index.numpy() for group, index in moved.items()})
        gain = inner_product(spec, a, Permutation(spec, moved).apply(b)) - start
        assert problem.value(family, trial) - problem.value(family, state) == pytest.approx(gain, abs=1e-6)
        if not family.quadratic:
            chains = [problem.layout.stacks[number].chain.flat(trial.index) for number in family.stacks]
            each = [
                problem.difference(*pair) for pair in zip(family.stacks, [state] * len(chains), chains, strict=True)
            ]
            assert sum(each) == pytest.approx(gain, abs=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_no_step_of_a_descent_lowers_the_objective(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for those of a detour, in which one side of the units counts less."""
    improve, steps = Descent.improve, []

    def watched(descent: Descent, family, weight: float) -> bool:  # type: ignore[no-untyped-def]
        before = descent.problem.objective(descent.state)
        moved = improve(descent, family, weight)
        if weight == 1:
            steps.append((descent.problem.objective(descent.state) - before, moved))
        return moved

    monkeypatch.setattr(Descent, "improve", watched)
    spec = case(name)
    for seed in range(2):
        match_weights(draw(spec, seed), draw(spec, seed + 5), spec, start=random(name, seed), restarts=2)
    assert all(gain > 0 if moved else gain == 0 for gain, moved in steps)
    assert sum(moved for _, moved in steps) > 1


def test_forward_detours_go_from_the_input_on(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, order = case("mlp"), []
    monkeypatch.setattr(
        Descent, "improve", lambda descent, family, weight: order.append((family.root, weight)) or False
    )
    a, b = (StackedModel(spec, draw(spec, seed)) for seed in (0, 1))
    problem = MatchingProblem(a, b)
    start = {group: index.numpy() for group, index in Permutation.identity(spec).index.items()}
    descent = Descent(problem, problem.exact, start)
    for seed in range(5):
        order.clear()
        descent.run(np.random.default_rng(seed), 1, 16.0, forward=True)
        assert order == [("h.1", 16.0), ("h.2", 16.0), ("h.3", 16.0)]
        order.clear()
        descent.run(np.random.default_rng(seed), 1)
        assert sorted(order) == [("h.1", 1.0), ("h.2", 1.0), ("h.3", 1.0)]
