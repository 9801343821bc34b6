"""Several plants in copies of one model: each with a seed of its own, and what is told of all of them."""

import time
from collections.abc import Mapping

import pytest
import torch
from support.training import Counted
from torch import Tensor

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.matching.method import Match
from starcli.alignment.selftest import NOISES, Recovery, plant_and_recover, recoveries
from starcli.symmetry.permutation import Permutation
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    return new_workspace(
        Choices(arch="mlp", arch_args={"hidden_dim": 12, "batch_norm": "none"}, data="digits", limit=60)
    )


def generic(workspace: Workspace) -> dict[str, Tensor]:
    """A network in which no two units are alike."""
    generator = torch.Generator().manual_seed(1)
    state = workspace.network(0).state()
    return {name: tensor + 0.3 * torch.rand(tensor.shape, generator=generator) for name, tensor in state.items()}


def test_of_several_plants_the_worst_is_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    changes, distances = iter([0.1, 0.3, 0.2]), iter([0.5, 0.4, 0.7])
    monkeypatch.setattr("starcli.alignment.selftest._Outputs.change", lambda *_: next(changes))
    monkeypatch.setattr("starcli.alignment.selftest.relative_distance", lambda *_: next(distances))
    found = plant_and_recover(Aligner(Alignment("weight"), workspace), generic(workspace), plants=3)
    assert (found.difference, found.distance) == (0.3, 0.7)


def test_each_copy_is_drawn_and_aligned_with_a_seed_of_its_own(workspace: Workspace) -> None:
    seeds = []

    class Idle(Aligner):
        """Finds nothing, and remembers the seeds."""

        def match(self, *_: Mapping[str, Tensor], **how: object) -> Match:
            seeds.append(how["seed"])
            return Match(Permutation.identity(self.spec), 0.0, 0, 1, 0)

    def found(seed: int, plants: int) -> Recovery:
        aligner = Idle(Alignment("weight", seed=seed), workspace)
        return plant_and_recover(aligner, generic(workspace), noise=0.5, plants=plants)

    began = time.monotonic()
    both, first, second = found(5, 2), found(5, 1), found(6, 1)
    elapsed = time.monotonic() - began
    assert seeds == [5, 6, 5, 6]
    assert first.distance != second.distance
    assert both.distance == max(first.distance, second.distance)
    assert both.recovered == first.recovered + second.recovered
    assert (both.planted, both.plants) == ("permutations", 2)
    assert 0 <= both.seconds <= elapsed


def test_all_steps_of_all_plants_are_announced(workspace: Workspace) -> None:
    progress, ways = Counted(), [Alignment("weight"), Alignment("weight", restarts=5)]
    found = [*recoveries(workspace, generic(workspace), ways, plants=2, progress=progress)]
    assert [(each.alignment, each.noise, each.plants) for each in found] == [(w, n, 2) for w in ways for n in NOISES]
    assert progress.done == progress.total > 0
