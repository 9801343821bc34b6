"""Fine-tunings of one network have its order of units; networks of other seeds, and permuted ones, have not."""

from itertools import permutations

import pytest
import torch

import starcli as sc
from starcli.alignment.alignment import Alignment
from starcli.alignment.notes import note_aligned_anew, note_alignment
from starcli.alignment.order_of_units import in_one_order, order_cosine
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Metadata
from starcli.runtime.progress import Progress
from starcli.symmetry.permutation import Permutation
from starcli.training.train import train_network
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

BY_WEIGHT, AS_GIVEN = Alignment("weight"), Alignment(None)


class Heard(Progress):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module", params=["mlp", "resnet"])
def workspace(request: pytest.FixtureRequest) -> Workspace:
    return new_workspace(Choices(arch=request.param, data="digits", limit=300))


def trained(workspace: Workspace, seed: int) -> Checkpoint:
    from starcli.recipes.recipe import load_recipe

    found = train_network(workspace, load_recipe().override(epochs=2), seed)
    return Checkpoint(found.tensors, Metadata(), f"seed {seed}")


def fine_tuned(workspace: Workspace, base: Checkpoint, seed: int) -> Checkpoint:
    """The base after 20 more steps, on examples of its own."""
    flat = workspace.network()
    flat.load(base.tensors)
    optimizer = torch.optim.SGD(flat.network.parameters(), lr=0.02, momentum=0.9)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(seed))
    for inputs, labels in list(workspace.dataset.train.batches(15, order=order, device=workspace.device)):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(flat.network(inputs), labels).backward()
        optimizer.step()
    return Checkpoint(flat.state(), Metadata(), f"fine-tuned {seed}")


@pytest.fixture(scope="module")
def seeds(workspace: Workspace) -> list[Checkpoint]:
    return [trained(workspace, seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def tuned(workspace: Workspace, seeds: list[Checkpoint]) -> list[Checkpoint]:
    return [fine_tuned(workspace, seeds[0], seed) for seed in (0, 1)]


def test_over_all_orders_of_hidden_units_the_inner_product_is_zero_on_average() -> None:
    """Whichever of its axes the units are on, and whatever all units have in common."""
    generator = torch.Generator().manual_seed(0)
    one, other = ({"w": 3 + torch.randn(4, 5, generator=generator).double()} for _ in range(2))
    for axis, units in ((0, 4), (1, 5)):
        moved = ({"w": other["w"].index_select(axis, torch.tensor(each))} for each in permutations(range(units)))
        cosines = [order_cosine(one, each, ["w"]) for each in moved]
        assert sum(cosines) / len(cosines) == pytest.approx(0, abs=1e-12)
    assert order_cosine(one, one, ["w"]) == pytest.approx(1)


def test_a_large_tensor_that_models_share_does_not_show_the_order_of_all() -> None:
    """Pretrained vectors of words below layers of different seeds."""
    generator = torch.Generator().manual_seed(0)
    words = torch.randn(500, 8, generator=generator)
    layers = [{name: torch.randn(12, 8, generator=generator) for name in ("ih", "hh")} for _ in range(2)]
    one, other = ({"words": words, **each} for each in layers)
    assert order_cosine(one, other, ["words", "ih", "hh"]) < 0.4
    assert order_cosine(one, {**other, **layers[0]}, ["words", "ih", "hh"]) == pytest.approx(1)
    assert order_cosine(one, {**one, "hh": other["hh"]}, ["words", "ih", "hh"]) > 0.9


def test_fine_tunings_are_told_from_other_seeds_and_from_permuted_ones(
    workspace: Workspace, seeds: list[Checkpoint], tuned: list[Checkpoint]
) -> None:
    by = Permutation.random(workspace.spec.resolved, torch.Generator().manual_seed(0))
    permuted = Checkpoint(by.apply(tuned[1].tensors), Metadata(), "permuted")
    assert in_one_order(workspace, tuned)
    assert in_one_order(workspace, [seeds[0], *tuned])
    assert not in_one_order(workspace, seeds)
    assert not in_one_order(workspace, [tuned[0], permuted])
    assert not in_one_order(workspace, [*tuned, seeds[1]])


def test_notes_say_it_where_they_are_aligned_and_leave_it_out_where_they_are_not(
    workspace: Workspace, seeds: list[Checkpoint], tuned: list[Checkpoint]
) -> None:
    heard = Heard()
    note_aligned_anew(workspace, BY_WEIGHT, seeds, heard)
    note_aligned_anew(workspace, AS_GIVEN, tuned, heard)
    note_alignment(workspace, AS_GIVEN, heard, unsaid=tuned)
    note_alignment(workspace, AS_GIVEN, heard)
    assert not heard.notes
    note_aligned_anew(workspace, BY_WEIGHT, tuned, heard)
    note_alignment(workspace, AS_GIVEN, heard, unsaid=seeds)
    anew, never = heard.notes
    assert "fine-tuned 0, fine-tuned 1 have their units in one order" in anew
    assert anew.endswith("--align none takes models as they are")
    assert never.startswith("seed 1 was never aligned to seed 0: ")


@pytest.mark.filterwarnings("ignore:.*is hardly a solution", "ignore:.*it is no star")
def test_what_aligns_by_default_says_so_and_is_silent_of_other_seeds() -> None:
    base, other = (sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1))
    near = {name: each + 0.01 if each.is_floating_point() else each for name, each in base.tensors.items()}
    further = {name: each + 0.02 if each.is_floating_point() else each for name, each in base.tensors.items()}
    calls = (
        lambda *models, **how: sc.fuse(models, method="mean", **how),
        lambda *models, **how: sc.find_star(models, epochs=1, **how),
        lambda *models, **how: sc.bma(models[0], [*models[1:], further], samples=2, repeats=1, **how),
        lambda *models, **how: sc.predict(star=models[0], sources=models[1:], samples=2, **how),
    )
    for call in calls:
        with pytest.warns(sc.StarcliWarning, match="one order, .* alignment=None takes models as they are"):
            call(base, near)
        call(base, near, alignment=None)
        call(base, other)
