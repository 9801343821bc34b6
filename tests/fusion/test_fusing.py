"""Fusing without a star: the mean is the mean, a soup leaves out what harms, a student learns from the ensemble."""

import threading
from itertools import pairwise

import pytest
import torch
from support.stars import RECIPE
from support.tensors import same
from support.training import Memory, Stopping, small

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.averaging.sampling import PointSampling
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Metadata
from starcli.errors import StarcliError
from starcli.evaluation.batchnorm_statistics import statistics_names
from starcli.fusion.distillation import DrawnPoints, Ensemble, OfTeachers
from starcli.fusion.fusing import DomainTeacher, Fusing, Fusion, fuse_sources
from starcli.fusion.unused_settings import OF_DOMAINS, refuse_unused
from starcli.runtime import distributed
from starcli.runtime.progress import Interrupted
from starcli.star import source_bank
from starcli.star.source_vectors import PrefetchedVectors
from starcli.symmetry.permutation import Permutation
from starcli.training.train import train_network

WEIGHT = Alignment("weight")


@pytest.fixture(scope="module")
def workspace():
    return small("mlp", limit=200, hidden_dim=16, val_fraction=0.2)


@pytest.fixture(scope="module")
def models(workspace):
    recipe = RECIPE.override(epochs=6, lr=0.1)
    trained = [train_network(workspace, recipe, seed).tensors for seed in range(3)]
    return [Checkpoint(tensors, Metadata(), f"{seed}.safetensors") for seed, tensors in enumerate(trained)]


def noisy(workspace, model, scale, name):
    learnable = workspace.spec.resolved.learnable()
    generator = torch.Generator().manual_seed(0)
    tensors = {
        key: tensor + scale * torch.randn(tensor.shape, generator=generator) if key in learnable else tensor
        for key, tensor in model.tensors.items()
    }
    return Checkpoint(tensors, Metadata(), name)


def fused(workspace, sources, method="mean", alignment=WEIGHT, progress=None, state=None, **more):
    fusion = Fusion(method=method, alignment=alignment, seed=0, **more)
    return fuse_sources(workspace, sources, fusion, state=state, progress=progress or Stopping())


def test_the_mean_without_alignment_is_the_mean(workspace, models):
    found = fused(workspace, models, alignment=Alignment("none"))
    for name in workspace.spec.resolved.learnable():
        mean = torch.stack([model.tensors[name].double() for model in models]).mean(0)
        torch.testing.assert_close(found.tensors[name].double(), mean, rtol=0, atol=1e-6)
    assert set(found.metrics) == {"train", "validation", "test"}


def test_the_mean_of_permuted_copies_is_the_first(workspace, models):
    spec = workspace.spec.resolved
    planted = [Permutation.random(spec, torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    copies = [Checkpoint(each.apply(models[0].tensors), Metadata(), f"copy {n}") for n, each in enumerate(planted)]
    found = fused(workspace, [models[0], *copies])
    for name in spec.learnable():
        torch.testing.assert_close(found.tensors[name], models[0].tensors[name], rtol=0, atol=1e-6)


def test_a_greedy_soup_keeps_what_does_no_harm_and_leaves_out_the_rest(workspace, models):
    alike = noisy(workspace, models[0], 1e-4, "alike")
    broken = noisy(workspace, models[0], 1.0, "broken")
    found = fused(workspace, [broken, models[0], alike], "greedy-soup", Alignment("none"))
    assert found.metrics["greedy_soup"]["selected_on"] == "validation"
    assert sorted(found.metrics["greedy_soup"]["kept"]) == ["0.safetensors", "alike"]
    expected = fused(workspace, [models[0], alike], alignment=Alignment("none"))
    for name, tensor in expected.tensors.items():
        torch.testing.assert_close(found.tensors[name], tensor, rtol=0, atol=1e-6)


def test_a_greedy_soup_is_never_less_accurate_where_it_chooses_than_its_best_source(workspace, models):
    found = fused(workspace, models, "greedy-soup")
    alone = [fused(workspace, [model, model]).metrics["validation"]["accuracy"] for model in models]
    assert found.metrics["validation"]["accuracy"] >= max(alone)


def test_a_student_minimises_the_cross_entropy_with_the_mean_prediction(workspace, models):
    teachers = [workspace.network() for _ in models]
    for teacher, model in zip(teachers, models, strict=True):
        teacher.load(model.tensors)
        teacher.network.eval()
    objective = OfTeachers(workspace, workspace.network(0), RECIPE, Ensemble(teachers), Stopping())
    inputs, labels = next(iter(workspace.dataset.train.batches(10)))
    logits = torch.randn(10, 10, generator=torch.Generator().manual_seed(0))
    p = sum(teacher.network(inputs).detach().double().softmax(1) for teacher in teachers) / len(teachers)
    expected = -(p * logits.double().log_softmax(1)).sum(1).mean()
    assert float(objective.loss(logits, labels, inputs, labels)) == pytest.approx(float(expected), rel=1e-5)
    assert torch.equal(
        objective.loss(logits, labels, inputs, labels), objective.loss(logits, 9 - labels, inputs, 9 - labels)
    )


def test_distillation_improves_on_the_mean_that_it_begins_at(workspace, models):
    mean = fused(workspace, models)
    student = fused(workspace, models, "distil", recipe=RECIPE)
    assert student.metrics["train"]["loss"] < mean.metrics["train"]["loss"]
    assert len(student.history) == RECIPE.epochs
    from_first = fused(workspace, models, "distil", recipe=RECIPE, init=models[0])
    assert not same(from_first.tensors, student.tensors)


def test_the_pieces_of_several_ranks_are_recorded(workspace, models, monkeypatch):
    plain = {"alignment": WEIGHT, "seed": 0}
    student = Fusion(method="distil", recipe=RECIPE, **plain)
    from_first = Fusion(method="distil", recipe=RECIPE, init=models[0], **plain)
    mean = Fusion(method="mean", **plain)
    alone = [each.record() for each in (student, from_first, mean)]
    assert not any("pieces" in each for each in alone)
    monkeypatch.setattr(distributed, "_world", distributed._World(0, 2))
    assert [each.record() for each in (student, from_first)] == [{**each, "pieces": 2} for each in alone[:2]]
    assert mean.record() == alone[2]


@pytest.mark.parametrize("pauses", [[1], [4, 2]], ids=str)
def test_a_stopped_distillation_ends_as_if_never_stopped(workspace, models, pauses):
    state = Memory()
    for pause in pauses:
        with pytest.raises(Interrupted):
            fused(workspace, models, "distil", recipe=RECIPE, state=state, progress=Stopping(pause))
    pieces = fused(workspace, models, "distil", recipe=RECIPE, state=state)
    whole = fused(workspace, models, "distil", recipe=RECIPE)
    assert same(whole.tensors, pieces.tensors)
    assert (whole.metrics, list(whole.history)) == (pieces.metrics, list(pieces.history))


@pytest.mark.parametrize(
    ("method", "said", "words"),
    [
        ("mean", ["align", "sources", "mu", "epochs"], "--method mean has no use for --mu, --epochs"),
        ("greedy-soup", ["init", "seeds"], "--method greedy-soup has no use for --init"),
        ("distil", ["lr", "init", "realign_every"], "--method distil has no use for --realign-every"),
        (
            "distil",
            ["samples", "sampling"],
            "--method distil has no use for --samples, --sampling\n  --star STAR says whose domain teaches",
        ),
        ("distil", ["star", "sampling", "mu"], "--method distil has no use for --mu"),
        ("mean", ["star", "in_turn"], "--method mean has no use for --star, --in-turn"),
        ("star", ["sampling", "samples"], "--method star has no use for --samples"),
    ],
)
def test_settings_without_use_are_refused(method, said, words):
    with pytest.raises(StarcliError, match=f"^{words}$"):
        refuse_unused(method, said)
    refuse_unused("star", [name for name in said if name not in OF_DOMAINS])


def test_a_star_domain_teaches_by_the_mean_of_its_draws():
    """Cross-entropy with the mean softmax output of points put together by hand, with the statistics of the batch."""
    workspace = small("mlp", limit=100, hidden_dim=8, depth=2)
    star, *sources = (Checkpoint(workspace.network(seed).state(), Metadata(), str(seed)) for seed in range(3))
    teacher = DomainTeacher(samples=4, points=PointSampling("beta:5,1", in_turn=True))
    fusion = Fusion(method="distil", alignment=WEIGHT, seed=0, star=star, teacher=teacher)
    fusing = Fusing(workspace, sources, fusion)
    points = DrawnPoints(fusing, seed=3)
    objective = OfTeachers(workspace, workspace.network(0), RECIPE, points, Stopping())
    inputs, labels = next(iter(workspace.dataset.train.batches(10)))
    objective.place = (1, 2, 0)
    loss = objective.loss(logits := torch.randn(10, 10), labels, inputs, labels)

    aligned = Aligner(WEIGHT, workspace).tensors_of_all(star, sources)
    p = torch.zeros(10, 10, dtype=torch.float64)
    draws = points.draw((1, 2, 0))
    assert sorted(source for source, _ in draws) == [0, 0, 1, 1]  # in turn
    for source, t in draws:
        network = workspace.network()
        own = {name: star.tensors[name].float() for name in network.state()}
        network.load({name: torch.lerp(own[name], aligned[source][name].float(), t) for name in own})
        network.network.train()  # a perceptron: no dropout
        p += network.network(inputs).detach().double().softmax(1) / len(draws)
    assert float(loss) == pytest.approx(float(-(p * logits.double().log_softmax(1)).sum(1).mean()), rel=1e-5)
    assert points.draw((1, 3, 0)) != draws  # anew in each step
    assert points.draw((1, 2, 0)) == draws
    for name in statistics_names(points.bank.flat.network):
        assert torch.equal(points.bank.flat.buffers[name], star.tensors[name])


def test_a_student_of_a_star_domain_begins_at_the_star(workspace, models):
    star, *sources = models
    taught = {"star": star, "teacher": DomainTeacher(samples=2)}
    student = fused(workspace, sources, "distil", recipe=RECIPE, **taught)
    assert same(fused(workspace, sources, "distil", recipe=RECIPE, **taught).tensors, student.tensors)
    at_sources = {"star": star, "teacher": DomainTeacher(2, PointSampling("constant:1"))}
    others = [
        fused(workspace, sources, "distil", recipe=RECIPE, **at_sources),
        fused(workspace, sources, "distil", recipe=RECIPE, **taught, init=sources[0]),
        fused(workspace, sources, "distil", recipe=RECIPE),
    ]
    assert not any(same(other.tensors, student.tensors) for other in others)
    still = fused(workspace, sources, "distil", recipe=RECIPE.override(lr=0.0), **taught)
    assert all(torch.equal(still.tensors[n], star.tensors[n]) for n in workspace.spec.resolved.learnable())
    with pytest.raises(StarcliError, match="samples of a star domain that teach: 0"):
        DomainTeacher(0)


def test_a_star_domain_reads_its_next_source_ahead_and_ends_its_thread(workspace, models, monkeypatch):
    star, *sources = models
    how = {"recipe": RECIPE, "star": star, "teacher": DomainTeacher(samples=2)}
    kept = fused(workspace, sources, "distil", **how)
    made = []

    class Watched(PrefetchedVectors):
        def __init__(self, *args):
            super().__init__(*args)
            self.asked = []
            made.append(self)

        def vector(self, number, following):
            self.asked.append((number, following))
            return super().vector(number, following)

    monkeypatch.setattr(source_bank, "fits", lambda *_: False)
    monkeypatch.setattr(source_bank, "PrefetchedVectors", Watched)
    threads = set(threading.enumerate())
    assert same(fused(workspace, sources, "distil", **how).tensors, kept.tensors)
    [vectors] = made
    wrong = sum(soon != after for (_, soon), (after, _) in pairwise(vectors.asked))
    assert wrong < RECIPE.epochs  # between two epochs alone
    assert set(threading.enumerate()) <= threads
