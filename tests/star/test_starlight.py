"""Stars: Starlight's gradient, its symmetries, its twins in plain training, and runs that were stopped."""

import pytest
import torch
from support.stars import OPTIONS, RECIPE, objective_of, same, stopped_run
from support.training import Memory, Stopping, small
from torch.nn.functional import cross_entropy

from starcli.alignment.objective import inner_product
from starcli.data.splits import MemorySplit
from starcli.errors import StarcliError
from starcli.models.build import build_network
from starcli.runtime.progress import Interrupted
from starcli.star import source_bank as sources_module
from starcli.star.check_sources import first_losses, outliers
from starcli.star.sampling import beta_t, constant_t, uniform_t
from starcli.star.source_bank import Source, SourceBank
from starcli.star.starlight import starlight
from starcli.symmetry.permutation import Permutation
from starcli.training.batch_pieces import cut_batch
from starcli.training.seeds import generator, substream
from starcli.training.train import train_network


@pytest.fixture(scope="module")
def mlp():
    return small("mlp", hidden_dim=16)


@pytest.fixture(scope="module")
def resnet():
    return small("resnet", limit=130, width=4, stages=2)


def solutions(workspace, epochs, seeds):
    return [train_network(workspace, RECIPE.override(epochs=epochs, lr=0.1), seed) for seed in seeds]


@pytest.fixture(scope="module")
def mlps(mlp):
    return [Source(f"m{i}", lambda m=m: m.tensors) for i, m in enumerate(solutions(mlp, 12, range(4)))]


@pytest.fixture(scope="module")
def resnets(resnet):
    return [Source(f"r{i}", lambda m=m: m.tensors) for i, m in enumerate(solutions(resnet, 2, range(3)))]


def pieces_of(inputs, labels, count):
    return [
        (p.number, inputs[p.start : p.stop], labels[p.start : p.stop], p.weight) for p in cut_batch(len(labels), count)
    ]


def by_autograd(objective, inputs, labels, epoch, step):
    """The gradient by the star of the objective, written down as the paper does, differentiated by autograd."""
    settings, flat = objective.settings, objective.flat
    star = objective.vector.clone().requires_grad_()
    network = objective.workspace.network().network

    def loss_at(vector, some_inputs, some_labels):
        values = torch.func.functional_call(network, flat.views(vector), (some_inputs,))
        return cross_entropy(values, some_labels)

    total = torch.zeros(())
    for number, some_inputs, some_labels, _ in pieces_of(inputs, labels, settings.draws_per_step):
        source, t = objective.draw(epoch, step, number)
        vector = flat.flatten(objective.bank.sources[source].open())
        point = (1 - t) * star + t * vector
        total = total + loss_at(point, some_inputs, some_labels) * len(some_labels) / len(labels)
    total = total + settings.mu * loss_at(star, inputs, labels) if settings.mu else total
    total = total / (1 + settings.mu) if settings.normalised else total
    (gradient,) = torch.autograd.grad(total, star)
    return total.detach(), gradient


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sampling": beta_t},
        {"sampling": constant_t},
        {"mu": 1.0},
        {"mu": 0.3, "normalised": True},
        {"draws_per_step": 3},
        {"draws_per_step": 2, "mu": 1.0, "normalised": True},
    ],
    ids=" ".join,  # names alone: a function's address differs from worker to worker
)
def test_the_gradient_is_autograds(mlp, mlps, changes):
    """The factor (1 - t) enters exactly once."""
    objective = objective_of(mlp, mlps, **changes)
    objective.begin_epoch(0)
    inputs, labels = next(mlp.dataset.train.batches(47))
    for step in range(3):
        objective.clear()
        loss = torch.zeros(())
        for number, *piece, weight in pieces_of(inputs, labels, objective.settings.draws_per_step):
            loss = loss + weight * objective.step(*piece, 0, step, number, weight)[0]
        expected_loss, expected = by_autograd(objective, inputs, labels, 0, step)
        torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-6)
        found = torch.cat([gradient.flatten() for gradient in objective.gradients()])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_at_t_0_a_star_is_plain_training(resnet, resnets):
    """To the bit, from the same first weights and in the same order of the data."""
    star = starlight(resnet, resnets, RECIPE, 3, sampling=lambda _: 0.0, method=None)
    plain = train_network(resnet, RECIPE, substream(3, "star"))
    learnable = [name for name, _ in build_network("resnet", **resnet.arguments).named_parameters()]
    assert all(torch.equal(star.tensors[name], plain.tensors[name]) for name in learnable)
    assert [row["loss"] for row in star.history] == [row["loss"] for row in plain.history]


def test_a_star_of_one_model_under_many_names_is_connected_to_it(mlp, mlps):
    """Sources that are permutations of one model, and that model to begin from: nothing stands between them."""
    original = mlps[0].open()
    spec = mlp.spec.resolved
    copies = [Permutation.random(spec, generator(i)).apply(original) for i in range(3)]
    sources = [Source(str(i), lambda copy=copy: copy) for i, copy in enumerate(copies)]
    star = starlight(mlp, sources, RECIPE.override(lr=1e-4, weight_decay=0.0), 0, init=original)
    assert star.history[0]["moved"] > 0
    flat = mlp.network()
    for number in range(3):
        aligned = star.aligned(number)
        assert all(torch.equal(aligned[name], original[name]) for name in original)
        middle = torch.lerp(flat.flatten(star.tensors), flat.flatten(aligned), 0.5)
        torch.testing.assert_close(middle, flat.flatten(original), atol=1e-2, rtol=0)


def test_a_star_connects_to_its_sources(mlp, mlps):
    from starcli.evaluation.evaluator import evaluate

    star = starlight(mlp, mlps[:3], RECIPE.override(epochs=30, lr=0.1), 0)
    flat = mlp.network()

    def middle_loss(a, b):
        flat.parameters.copy_(torch.lerp(flat.flatten(a), flat.flatten(b), 0.5))
        return evaluate(flat.network, mlp.dataset.train, batch_size=200, device=mlp.device).loss

    to_sources = [middle_loss(star.tensors, star.aligned(n)) for n in range(3)]
    between = [middle_loss(mlps[a].open(), mlps[b].open()) for a, b in [(0, 1), (0, 2), (1, 2)]]
    assert max(to_sources) < 0.5 * min(between)
    assert star.metrics["train"]["accuracy"] > 0.95
    moved = [row["moved"] for row in star.history]
    assert moved[0] > 10
    assert sum(moved[-5:]) < moved[0]


@pytest.mark.parametrize("kind", ["mlp", "resnet"])
def test_sources_are_aligned_to_the_star_itself(request, kind):
    workspace, sources = request.getfixturevalue(kind), request.getfixturevalue(f"{kind}s")
    star = starlight(workspace, sources, RECIPE.override(epochs=1, lr=0.0, weight_decay=0.0), 0)
    spec = workspace.spec.resolved
    products = [inner_product(spec, star.tensors, star.aligned(number)) for number in range(len(sources))]
    assert star.history[0]["objective"] == pytest.approx(sum(products) / len(products), rel=1e-5)
    unaligned = [inner_product(spec, star.tensors, source.open()) for source in sources]
    assert min(a - b for a, b in zip(products, unaligned, strict=True)) > 0


def test_a_star_shares_no_draw_with_the_model_of_its_seed(mlp, mlps):
    star = starlight(mlp, mlps, RECIPE.override(epochs=1, lr=0.0, weight_decay=0.0), 0, method=None)
    assert not torch.equal(star.tensors["fc1.weight"], mlp.network(0).state()["fc1.weight"])
    torch.testing.assert_close(
        star.tensors["fc1.weight"], mlp.network(substream(0, "star")).state()["fc1.weight"], atol=0, rtol=0
    )


@pytest.mark.parametrize("pauses", [[1], [4, 2], [3], [5], [1, 7]], ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_stopped_star_ends_as_if_never_stopped(mlp, mlps, options, pauses):
    arguments = (mlp, mlps[:3], RECIPE, 1)
    whole, pieces = starlight(*arguments, **options), stopped_run(pauses, *arguments, **options)
    assert same(whole.tensors, pieces.tensors)
    assert whole.metrics == pieces.metrics
    assert list(whole.history) == list(pieces.history)
    assert all(same(whole.aligned(n), pieces.aligned(n)) for n in range(3))


def test_a_stopped_star_with_batch_norm(resnet, resnets):
    whole = starlight(resnet, resnets, RECIPE, 1)
    pieces = stopped_run([2, 2, 3], resnet, resnets, RECIPE, 1)
    assert same(whole.tensors, pieces.tensors)


def test_a_stop_during_alignment_changes_no_permutation(mlp, mlps):
    state, watcher = Memory(), Stopping()
    watcher.stop_signal = 15
    with pytest.raises(Interrupted) as caught:
        starlight(mlp, mlps, RECIPE, 0, state=state, progress=watcher)
    assert caught.value.signal == 15
    assert state.load()["objective"]["aligned_epoch"] == -1
    assert same(starlight(mlp, mlps, RECIPE, 0).tensors, starlight(mlp, mlps, RECIPE, 0, state=state).tensors)


def test_sources_made_ready_in_a_thread_are_the_same(mlp, mlps, monkeypatch):
    kept = starlight(mlp, mlps, RECIPE, 2, draws_per_step=2)
    monkeypatch.setattr(sources_module, "KEPT_SOURCE_BYTES", 0)
    assert same(kept.tensors, starlight(mlp, mlps, RECIPE, 2, draws_per_step=2).tensors)


@pytest.mark.parametrize("kept", [0, 2**30])
def test_vectors_are_the_permuted_sources(resnet, resnets, monkeypatch, kept):
    monkeypatch.setattr(sources_module, "KEPT_SOURCE_BYTES", kept)
    flat = resnet.network()
    bank = SourceBank(resnets, flat)
    bank.set([None, *(Permutation.random(resnet.spec.resolved, generator(i)) for i in range(2))])
    order = [0, 1, 1, 2, 0, 2]
    for number, following in zip(order, [*order[1:], None], strict=True):
        assert torch.equal(bank.vector(number, following), flat.flatten(bank.aligned(number)))
    assert torch.equal(bank.vector(1, 0), flat.flatten(bank.aligned(1)))
    bank.set([None] * 3)  # what was made ready for the old permutations is not used
    assert torch.equal(bank.vector(0), flat.flatten(resnets[0].open()))
    bank.close()


def test_sources_are_never_written_to(mlp, mlps):
    before = {name: tensor.clone() for name, tensor in mlps[0].open().items()}
    starlight(mlp, mlps, RECIPE.override(epochs=1), 0)
    assert same(before, mlps[0].open())


def test_seeds_do_not_touch_each_other(mlp, mlps):
    alone = starlight(mlp, mlps, RECIPE, 4)
    other = starlight(mlp, mlps, RECIPE, 5)
    assert same(alone.tensors, starlight(mlp, mlps, RECIPE, 4).tensors)
    assert not same(alone.tensors, other.tensors)


def test_statistics_are_the_stars_own(resnet, resnets):
    from starcli.evaluation.evaluator import recalibrate_, statistics_batch_size

    star = starlight(resnet, resnets, RECIPE, 0)
    flat, split = resnet.network(), resnet.dataset.train
    flat.load(star.tensors)
    for module in flat.network.modules():
        if hasattr(module, "reset_running_stats"):
            module.running_mean.zero_()
    size = statistics_batch_size(resnet.dataset.input_shape, len(split))
    recalibrate_(flat.network, split, batch_size=size, device=resnet.device)
    assert same(star.tensors, flat.state())


def test_held_out_models_are_logged_and_change_nothing(mlp, mlps):
    logged = starlight(mlp, mlps[:2], RECIPE, 0, held_out=mlps[2:], eval_every=2)
    plain = starlight(mlp, mlps[:2], RECIPE, 0)
    assert same(logged.tensors, plain.tensors)
    assert [("held_out" in row) for row in logged.history] == [False, True, False]
    found = logged.history[1]["held_out"]
    assert [row["model"] for row in found] == ["m2", "m3"]
    assert all(row["train_barrier"] >= 0 for row in found)


def test_held_out_models_alone_are_measured_at_the_end(mlp, mlps):
    logged = starlight(mlp, mlps[:2], RECIPE, 0, held_out=mlps[2:])
    every = starlight(mlp, mlps[:2], RECIPE, 0, held_out=mlps[2:], eval_every=1)
    assert [("held_out" in row) for row in logged.history] == [False, False, True]
    assert logged.history[-1] == every.history[-1]


def test_fusion_does_better_by_its_own_loss(mlp, mlps):
    recipe = RECIPE.override(epochs=10)
    star, fused = starlight(mlp, mlps, recipe, 0), starlight(mlp, mlps, recipe, 0, mu=1.0)
    assert fused.metrics["train"]["loss"] < star.metrics["train"]["loss"]


def test_a_source_that_is_no_solution_is_named(mlp, mlps):
    fresh = mlp.network(5).state()
    watcher = Stopping()
    recipe = RECIPE.override(epochs=1)
    starlight(mlp, [*mlps, Source("fresh", lambda: fresh)], recipe, 0, progress=watcher)
    assert len(watcher.notes) == 1
    assert "fresh" in watcher.notes[0]
    quiet = Stopping()
    starlight(mlp, mlps, recipe, 0, progress=quiet)
    assert quiet.notes == []


def test_what_counts_as_an_outlier():
    assert outliers([0.1, 0.2, 0.1, 2.3]) == [3]
    assert outliers([1.4, 1.3, 1.6]) == []
    assert outliers([0.0, 2.0]) == [1]


def test_first_losses_are_losses(mlp, mlps, monkeypatch):
    from starcli.evaluation.evaluator import evaluate

    monkeypatch.setattr("starcli.star.check_sources.LOSS_EXAMPLES", len(mlp.dataset.train))
    flat = mlp.network()
    flat.load(mlps[0].open())
    expected = evaluate(flat.network, mlp.dataset.train, batch_size=200, device=mlp.device).loss
    assert first_losses(mlp, mlps)[0] == pytest.approx(expected, rel=1e-5)


def test_first_losses_look_everywhere(mlp, mlps, monkeypatch):
    """The first examples of a folder are all of its first class."""
    asked, batches = [], MemorySplit.batches

    def noting(self, *arguments, **options):
        asked.extend(options["order"].tolist())
        return batches(self, *arguments, **options)

    monkeypatch.setattr(MemorySplit, "batches", noting)
    monkeypatch.setattr("starcli.star.check_sources.LOSS_EXAMPLES", 32)
    first_losses(mlp, mlps[:1])
    assert len(set(asked)) == 32
    assert max(asked) > len(mlp.dataset.train) * 3 / 4


def test_broken_sources_are_errors(mlp, mlps):
    broken = {name: tensor * float("nan") for name, tensor in mlps[0].open().items()}
    with pytest.raises(StarcliError, match="bad"):
        starlight(mlp, [*mlps, Source("bad", lambda: broken)], RECIPE, 0)


def test_a_loss_that_explodes_names_t_and_source(mlp, mlps):
    with pytest.raises(StarcliError, match=r"step \d+ .*source m\d at t = 0\.\d+"):
        starlight(mlp, mlps, RECIPE.override(lr=1e30), 0, method=None)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"mu": -1.0}, "mu"),
        ({"realign_every": 0}, "realign_every"),
        ({"restarts": -1}, "restarts"),
        ({"draws_per_step": 49}, "draws_per_step"),
        ({"sampling": "unifrom"}, "uniform"),
        ({"method": "wieght"}, "weight"),
    ],
)
def test_wrong_settings(mlp, mlps, options, word):
    with pytest.raises(StarcliError, match=word):
        starlight(mlp, mlps, RECIPE, 0, **options)


def test_one_source_is_no_star(mlp, mlps):
    with pytest.raises(StarcliError, match="at least 2"):
        starlight(mlp, mlps[:1], RECIPE, 0)


@pytest.mark.parametrize(("sampling", "mean", "variance"), [(uniform_t, 1 / 2, 1 / 12), (beta_t, 1 / 2, 1 / 20)])
def test_samplings(sampling, mean, variance):
    draws = torch.tensor([sampling(place) for place in [generator(0)] for _ in range(20_000)])
    assert draws.min() >= 0
    assert draws.max() <= 1
    assert float(draws.mean()) == pytest.approx(mean, abs=0.01)
    assert float(draws.var()) == pytest.approx(variance, rel=0.05)


def test_constant_sampling():
    assert constant_t(generator(0)) == 0.5


def test_sources_are_drawn_evenly(mlp, mlps):
    objective = objective_of(mlp, mlps)
    counts = torch.zeros(4)
    for step in range(4000):
        counts[objective.draw(0, step, 0)[0]] += 1
    assert counts.min() > 900
