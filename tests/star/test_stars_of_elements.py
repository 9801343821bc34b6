"""Stars whose sources are aligned by all kinds of symmetries: begun at their mean, resumed to the byte."""

import pytest
import torch
from support.stars import search_star, settings_of, stopped_run
from support.tensors import same
from support.training import Stopping

from starcli.alignment.alignment import Alignment
from starcli.errors import StarcliError
from starcli.recipes.recipe import Recipe
from starcli.star.settings import StarSettings
from starcli.star.source_bank import Source, SourceBank
from starcli.star.starlight_step import OnLines
from starcli.symmetry.element import Element
from starcli.training.train import train_network
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

RECIPE = Recipe(epochs=3, batch_size=48, lr=0.003, optimizer="adam")
ALL = {"method": "weight", "kinds": "all"}


@pytest.fixture(scope="module")
def vit() -> Workspace:
    arguments = {"patch_size": 4, "dim": 12, "depth": 1, "heads": 2, "mlp_dim": 16}
    return new_workspace(Choices(arch="vit", arch_args=arguments, data="digits", limit=200))


@pytest.fixture(scope="module")
def vits(vit: Workspace) -> list[Source]:
    models = [train_network(vit, RECIPE, seed) for seed in range(3)]
    return [Source(f"v{i}", lambda m=m: m.tensors) for i, m in enumerate(models)]


def logits(workspace: Workspace, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    flat = workspace.network()
    flat.load(tensors)
    inputs, *_ = next(iter(workspace.dataset.train.batches(20)))
    with torch.no_grad():
        found: torch.Tensor = flat.network.eval()(inputs)
    return found


@pytest.fixture(scope="module")
def whole(vit, vits):
    """A star whose search was never stopped."""
    return search_star(vit, vits, RECIPE, 1, **ALL)


@pytest.mark.parametrize("pauses", [[1], [5, 2]], ids=str)
def test_a_stopped_star_ends_as_if_never_stopped(vit, vits, whole, pauses):
    pieces = stopped_run(pauses, vit, vits, RECIPE, 1, **ALL)
    assert same(whole.tensors, pieces.tensors)
    assert list(whole.history) == list(pieces.history)
    assert all(same(whole.aligned(n), pieces.aligned(n)) for n in range(3))


def test_sources_keep_their_function_and_their_frame_is_the_first_ones(vit, vits):
    found = search_star(vit, vits, RECIPE.override(epochs=1), 0, **ALL, realign_every=None)
    assert all(isinstance(each, Element) for each in found.symmetries)
    assert same(found.aligned(0), dict(vits[0].open()))
    for number in (1, 2):
        before, after = (logits(vit, dict(each)) for each in (vits[number].open(), found.aligned(number)))
        assert torch.allclose(before, after, atol=1e-4)
        assert not same(found.aligned(number), dict(vits[number].open()))


def test_it_begins_at_the_mean_of_the_aligned_sources_or_where_it_is_told(vit, vits):
    def begun(at_mean: bool) -> OnLines:
        bank = SourceBank(vits, vit.network(9))
        settings = settings_of(**ALL)
        objective = OnLines(vit, bank, RECIPE, 0, settings, (), Stopping(), at_mean=at_mean)
        objective.begin_epoch(0)
        return objective

    objective = begun(True)
    sources = torch.stack([objective.bank.vector(n).clone() for n in range(3)])
    assert torch.allclose(objective.vector, sources.mean(0), atol=1e-6)
    assert torch.equal(begun(False).vector, vit.network(9).parameters)
    start = dict(vits[2].open())
    told = search_star(vit, vits, RECIPE.override(epochs=1, lr=0.0), 0, **ALL, init=start)
    assert same(told.tensors, start)


def test_later_alignments_by_another_method(vit, vits):
    """First by activations, then by weights: permutations both, from a random star as ever."""
    found = search_star(vit, vits, RECIPE, 0, method="activation", realign_method="weight")
    assert [isinstance(each, Element) for each in found.symmetries] == [False] * 3
    settings = settings_of(method="activation", realign_method="weight")
    assert settings.alignment_title == "activation, 1 restart, 256 examples, then weight, 1 restart each epoch"
    assert settings.record(RECIPE)["realign_method"] == "weight"
    assert "realign_method" not in StarSettings().record(RECIPE)
    assert not settings.begins_at_mean


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alignment": Alignment("weight"), "realign_method": "sinkhorn"}, "one that searches, found sinkhorn"),
        ({"alignment": Alignment("none"), "realign_method": "weight"}, "aligned at first"),
        ({"alignment": Alignment("weight", kinds="all"), "realign_method": "activation"}, "permutations alone"),
    ],
)
def test_what_makes_no_sense_is_refused(options, said):
    with pytest.raises(StarcliError) as caught:
        StarSettings(**options)
    assert said in "\n".join([caught.value.summary, *caught.value.problems])


def test_later_epochs_by_a_method_of_permutations_alone_are_refused():
    with pytest.raises(StarcliError, match="activation knows permutations alone"):
        StarSettings(alignment=Alignment("learn"), realign_method="activation")
    assert StarSettings(alignment=Alignment("weight"), realign_method="activation").realignment.method == "activation"
