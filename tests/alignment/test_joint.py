"""Models aligned together: the best there is, to the index the same from every model, and nothing lost on the way."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import pytest
import torch
from support.tensors import same
from torch import Tensor

from starcli.alignment import joint_frame
from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.joint import apply_jointly, match_jointly
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Metadata
from starcli.errors import StarcliError
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.permutation import Permutation
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

NETWORKS = {
    "mlp": {"hidden_dim": 12, "depth": 2},
    "resnet": {"width": 4},
    "densenet40-12": {"depth": 7, "growth_rate": 4},
    "vit": {"dim": 16, "depth": 2, "heads": 2, "mlp_dim": 24, "patch_size": 4},
}


@lru_cache
def opened(arch: str, **arguments: object) -> Workspace:
    arguments = arguments or NETWORKS[arch]
    return new_workspace(Choices(arch=arch, arch_args=arguments, data="digits", limit=200))


def drawn(workspace: Workspace, seed: int, scale: float = 1.0) -> dict[str, Tensor]:
    """A state dict of standard normal weights, in which no two units are alike."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: scale * torch.randn(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for name, tensor in workspace.network(0).state().items()
    }


def checkpoints(models: Sequence[Mapping[str, Tensor]]) -> list[Checkpoint]:
    return [Checkpoint(model, Metadata(), f"model {number}") for number, model in enumerate(models)]


def vector(spec: Resolved, model: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([model[name].double().flatten() for name in spec.learnable()])


def all_permutations(spec: Resolved) -> Iterator[Permutation]:
    orders = [list(itertools.permutations(range(group.size))) for group in spec.groups.values()]
    for chosen in itertools.product(*orders):
        yield Permutation(spec, {name: torch.tensor(each) for name, each in zip(spec.groups, chosen, strict=True)})


def best_of_all(spec: Resolved, models: Sequence[Mapping[str, Tensor]]) -> float:
    """The greatest mean inner product of three models over all their permutations; the first one's is of no matter."""
    first = vector(spec, models[0])
    second, third = (
        torch.stack([vector(spec, each.apply(model)) for each in all_permutations(spec)]) for model in models[1:]
    )
    totals = second @ third.T + (second @ first)[:, None] + (third @ first)[None]
    return float(totals.max()) / 3


@pytest.mark.parametrize("hidden", [{"hidden_dim": 4, "depth": 1}, {"hidden_dim": 4, "depth": 2}])
def test_the_best_of_all_permutations_of_three_models(hidden: dict[str, int]) -> None:
    workspace = opened("mlp", batch_norm="none", **hidden)
    aligner = Aligner(Alignment("weight", restarts=12), workspace)
    for seed in range(4):
        models = [drawn(workspace, 3 * seed + number) for number in range(3)]
        found = match_jointly(aligner, models)
        assert found.objective == pytest.approx(best_of_all(aligner.spec, models), rel=1e-6)


@pytest.mark.parametrize("method", ["weight", "activation"])
def test_the_objective_is_the_mean_over_pairs_and_more_starts_never_lower_it(method: str) -> None:
    workspace = opened("mlp")
    models = [drawn(workspace, seed) for seed in range(4)]
    found = [match_jointly(Aligner(Alignment(method, restarts=n), workspace), models) for n in (1, 3)]
    assert found[1].objective >= found[0].objective
    assert all(each.sweeps >= len(models) for each in found)  # each is matched once at least
    aligner = Aligner(Alignment(method), workspace)
    spec, compared = aligner.compared_spec, aligner.compared(models)
    placed = [
        vector(spec, Permutation(spec, each.index).apply(compared[number]))
        for number, each in enumerate(found[0].symmetries)
    ]
    pairs = [float(a @ b) for a, b in itertools.combinations(placed, 2)]
    assert found[0].objective == pytest.approx(sum(pairs) / len(pairs), rel=1e-6)


@pytest.mark.parametrize("method", ["weight", "activation"])
def test_nothing_moves_towards_the_mean_of_the_others_any_more(method: str) -> None:
    workspace = opened("resnet")
    models = [drawn(workspace, seed) for seed in range(4)]
    aligner = Aligner(Alignment(method), workspace)
    spec, compared = aligner.compared_spec, list(aligner.compared(models))
    found = match_jointly(aligner, models)
    placed = [Permutation(spec, each.index).apply(compared[n]) for n, each in enumerate(found.symmetries)]
    for number in range(4):
        others = [each for k, each in enumerate(placed) if k != number]
        mean = {name: sum(each[name] for each in others) / 3 for name in spec.axes}
        [match] = aligner.alignment.match_method.match_all(
            mean, [placed[number]], spec, seeds=[0], restarts=1, starts=[Permutation.identity(spec)]
        )
        assert match.moved == 0


@pytest.mark.parametrize("method", ["weight", "activation"])
def test_from_every_model_the_same_to_the_index(method: str) -> None:
    """B to A and then, aligned to A, C to B is C to A: the maps of all references go through one frame."""
    workspace = opened("mlp")
    members = checkpoints([drawn(workspace, seed) for seed in range(4)])
    aligner = Aligner(Alignment(method, restarts=2), workspace)
    maps = {}
    for reference in members:
        others = [model for model in members if model is not reference]
        for found in apply_jointly(aligner, reference, others):
            maps[found.model.name, reference.name] = found.permutation
    names = [model.name for model in members]
    for a, b, c in itertools.permutations(names, 3):
        through = maps[a, b].compose(maps[b, c])
        assert same(through.index, maps[a, c].index)


def test_the_order_of_the_models_is_of_no_matter() -> None:
    workspace = opened("resnet")
    a, b, c = checkpoints([drawn(workspace, seed) for seed in range(3)])
    aligner = Aligner(Alignment("weight"), workspace)
    one, other = apply_jointly(aligner, a, [b, c]), apply_jointly(aligner, a, [c, b])
    for first, second in zip(one, reversed(other), strict=True):
        assert first.model is second.model
        assert same(first.tensors, second.tensors)


@pytest.mark.parametrize("method", ["weight", "activation"])
@pytest.mark.parametrize("arch", NETWORKS)
def test_planted_permutations_come_back(arch: str, method: str) -> None:
    workspace = opened(arch)
    aligner = Aligner(Alignment(method), workspace)
    model = drawn(workspace, 0, scale=0.3)
    planted = [Permutation.random(aligner.spec, torch.Generator().manual_seed(seed)) for seed in (1, 2, 3)]
    first, *others = checkpoints([model, *(each.apply(model) for each in planted)])
    for found in apply_jointly(aligner, first, others):
        assert same(found.tensors, model)
        assert found.record.joint == 4


def test_what_is_compared_may_be_made_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = opened("mlp")
    models = [drawn(workspace, seed) for seed in range(3)]
    held = match_jointly(Aligner(Alignment("activation"), workspace), models)
    monkeypatch.setattr(joint_frame, "HELD_BYTES", 0)
    anew = match_jointly(Aligner(Alignment("activation"), workspace), models)
    assert held.objective == anew.objective
    for one, other in zip(held.symmetries, anew.symmetries, strict=True):
        assert one.moved(other) == 0


def test_one_model_is_refused() -> None:
    workspace = opened("mlp")
    with pytest.raises(StarcliError, match="at least two models, found one"):
        match_jointly(Aligner(Alignment("weight"), workspace), [drawn(workspace, 0)])
