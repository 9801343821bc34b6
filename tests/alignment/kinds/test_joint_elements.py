"""Several models aligned together by all kinds of symmetries: copies meet, no model is special, REF stays."""

import pytest
import torch
from support.tensors import same

import starcli as sc
from starcli.alignment.aligner import Aligner
from starcli.alignment.joint import apply_jointly, match_jointly
from starcli.alignment.objective import inner_product
from starcli.symmetry.element import Element
from starcli.symmetry.normal_form import normal_element
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

HOW = sc.Alignment("weight", kinds="all")
WAYS = {"weight": HOW, "learn": sc.Alignment("learn", steps=2, examples=32)}
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def vit() -> Workspace:
    arguments = {"patch_size": 4, "dim": 12, "depth": 1, "heads": 2, "mlp_dim": 16}
    return new_workspace(Choices(arch="vit", arch_args=arguments, data="digits", limit=200))


def generic(workspace: Workspace, seed: int) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    state = workspace.network(seed).state()
    return {name: tensor + 0.2 * torch.randn(tensor.shape, generator=generator) for name, tensor in state.items()}


def test_copies_of_one_model_meet(vit: Workspace) -> None:
    model, kinds = generic(vit, 0), vit.kinds
    elements = [Element.random(kinds, torch.Generator().manual_seed(seed)) for seed in range(3)]
    copies = [element.apply(model) for element in elements]
    found = match_jointly(Aligner(HOW, vit), copies)
    placed = [each.apply(copy) for each, copy in zip(found.symmetries, copies, strict=True)]
    for other in placed[1:]:
        assert all(torch.allclose(other[name], placed[0][name], atol=1e-3) for name in kinds.spec.learnable())
    normal = normal_element(kinds, model).apply(model)
    assert found.objective == pytest.approx(inner_product(kinds.spec, normal, normal), rel=1e-4)


def test_the_mean_of_copies_that_learn_is_no_worse_than_the_model(vit: Workspace) -> None:
    trained = sc.train("vit", "digits", limit=200, epochs=12, seed=0, arch_args=vit.architecture.arguments)
    model, aligner = trained.tensors, Aligner(WAYS["learn"], vit)
    copies = [Element.random(vit.kinds, torch.Generator().manual_seed(seed)).apply(model) for seed in range(3)]
    found = match_jointly(aligner, copies)
    judge = aligner.learner.judge
    assert judge.loss_of_mean(copies) > judge.loss_of_mean([model]) + 0.01
    placed = [each.apply(copy) for each, copy in zip(found.symmetries, copies, strict=True)]
    assert found.midpoint_loss == pytest.approx(judge.loss_of_mean(placed), rel=1e-5)
    assert found.midpoint_loss < judge.loss_of_mean([model]) + 1e-3


def test_independent_models_come_nearer_together_than_each_to_the_first(vit: Workspace) -> None:
    aligner, models = Aligner(HOW, vit), [generic(vit, seed) for seed in range(3)]
    found = match_jointly(aligner, models)
    placed = [each.apply(model) for each, model in zip(found.symmetries, models, strict=True)]
    pairs = [(0, 1), (0, 2), (1, 2)]
    reached = sum(inner_product(aligner.spec, placed[a], placed[b]) for a, b in pairs) / 3
    assert found.objective == pytest.approx(reached, rel=1e-4)
    first = normal_element(vit.kinds, models[0])
    apart = [first.apply(each) for each in (models[0], *(aligner.permuted(models[0], m) for m in models[1:]))]
    assert found.objective > sum(inner_product(aligner.spec, apart[a], apart[b]) for a, b in pairs) / 3


@pytest.mark.parametrize("way", WAYS)
def test_the_reference_stays_and_functions_too(way: str) -> None:
    options = {"arch_args": {"patch_size": 4, "dim": 12, "depth": 1, "heads": 2, "mlp_dim": 16}, "limit": 120}
    a, *others = (sc.train("vit", "digits", epochs=1, seed=seed, **options) for seed in range(3))
    found = sc.align_jointly(a, others, method=WAYS[way])
    x = torch.randn(8, 1, 8, 8)
    for before, after in zip(others, found, strict=True):
        assert isinstance(after.symmetry, Element)
        assert torch.allclose(after.module()(x), before.module()(x), atol=1e-4)
        assert after.metadata.aligned_to.joint == 3
    again = apply_jointly(Aligner(WAYS[way], a.workspace), a, list(reversed(others)))
    for one, other in zip(found, reversed(again), strict=True):
        assert same(one.tensors, other.tensors)
