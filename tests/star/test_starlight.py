"""Stars: their symmetries, their twins in plain training, held-out models, fusion, and settings that are refused."""

import pytest
import torch
from support.stars import RECIPE, search_star, settings_of
from support.tensors import same

from starcli.alignment.aligner import Aligner
from starcli.alignment.matching.method import MatchMethod
from starcli.alignment.objective import inner_product
from starcli.errors import StarcliError
from starcli.models.build import build_network
from starcli.star.source_bank import Source, SourceBank
from starcli.symmetry.permutation import Permutation
from starcli.training.seeds import generator, substream
from starcli.training.train import train_network


def test_at_t_0_a_star_is_plain_training(resnet, resnets):
    """To the bit, from the same first weights and in the same order of the data."""
    star = search_star(resnet, resnets, RECIPE, 3, sampling=lambda _: 0.0, method=None)
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
    star = search_star(mlp, sources, RECIPE.override(lr=1e-4, weight_decay=0.0), 0, init=original)
    assert star.history[0]["moved"] > 0
    flat = mlp.network()
    for number in range(3):
        aligned = star.aligned(number)
        assert same(aligned, original)
        middle = torch.lerp(flat.flatten(star.tensors), flat.flatten(aligned), 0.5)
        torch.testing.assert_close(middle, flat.flatten(original), atol=1e-2, rtol=0)


def test_a_star_connects_to_its_sources(mlp, mlps):
    from starcli.evaluation.scores import score_network

    star = search_star(mlp, mlps[:3], RECIPE.override(epochs=30, lr=0.1), 0)
    flat = mlp.network()

    def middle_loss(a, b):
        flat.parameters.copy_(torch.lerp(flat.flatten(a), flat.flatten(b), 0.5))
        return score_network(flat.network, mlp.dataset.train, batch_size=200, device=mlp.device).loss

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
    star = search_star(workspace, sources, RECIPE.override(epochs=1, lr=0.0, weight_decay=0.0), 0)
    spec = workspace.spec.resolved
    products = [inner_product(spec, star.tensors, star.aligned(number)) for number in range(len(sources))]
    assert star.history[0]["objective"] == pytest.approx(sum(products) / len(products), rel=1e-5)
    unaligned = [inner_product(spec, star.tensors, source.open()) for source in sources]
    assert min(a - b for a, b in zip(products, unaligned, strict=True)) > 0


def test_a_star_shares_no_draw_with_the_model_of_its_seed(mlp, mlps):
    star = search_star(mlp, mlps, RECIPE.override(epochs=1, lr=0.0, weight_decay=0.0), 0, method=None)
    assert not torch.equal(star.tensors["fc1.weight"], mlp.network(0).state()["fc1.weight"])
    torch.testing.assert_close(
        star.tensors["fc1.weight"], mlp.network(substream(0, "star")).state()["fc1.weight"], atol=0, rtol=0
    )


def test_seeds_do_not_touch_each_other(mlp, mlps):
    alone = search_star(mlp, mlps, RECIPE, 4)
    other = search_star(mlp, mlps, RECIPE, 5)
    assert same(alone.tensors, search_star(mlp, mlps, RECIPE, 4).tensors)
    assert not same(alone.tensors, other.tensors)


def test_statistics_are_the_stars_own(resnet, resnets):
    from starcli.evaluation.batchnorm_statistics import statistics_batch_size
    from starcli.evaluation.evaluator import recalibrate_

    star = search_star(resnet, resnets, RECIPE, 0)
    flat, split = resnet.network(), resnet.dataset.train
    flat.load(star.tensors)
    for module in flat.network.modules():
        if hasattr(module, "reset_running_stats"):
            module.running_mean.zero_()
    size = statistics_batch_size(resnet.dataset.input_shape, len(split))
    recalibrate_(flat.network, split, batch_size=size, device=resnet.device)
    assert same(star.tensors, flat.state())


def test_held_out_models_are_logged_and_change_nothing(mlp, mlps):
    logged = search_star(mlp, mlps[:2], RECIPE, 0, held_out=mlps[2:], eval_every=2)
    plain = search_star(mlp, mlps[:2], RECIPE, 0)
    assert same(logged.tensors, plain.tensors)
    assert [("held_out" in row) for row in logged.history] == [False, True, False]
    found = logged.history[1]["held_out"]
    assert [row["model"] for row in found] == ["m2", "m3"]
    assert all(row["train_barrier"] >= 0 for row in found)


def test_held_out_models_alone_are_measured_at_the_end(mlp, mlps):
    logged = search_star(mlp, mlps[:2], RECIPE, 0, held_out=mlps[2:])
    every = search_star(mlp, mlps[:2], RECIPE, 0, held_out=mlps[2:], eval_every=1)
    assert [("held_out" in row) for row in logged.history] == [False, False, True]
    assert logged.history[-1] == every.history[-1]


def test_fusion_does_better_by_its_own_loss(mlp, mlps):
    recipe = RECIPE.override(epochs=10)
    star, fused = search_star(mlp, mlps, recipe, 0), search_star(mlp, mlps, recipe, 0, mu=1.0)
    assert fused.metrics["train"]["loss"] < star.metrics["train"]["loss"]


def test_broken_sources_are_errors(mlp, mlps):
    broken = {name: tensor * float("nan") for name, tensor in mlps[0].open().items()}
    with pytest.raises(StarcliError, match="bad"):
        search_star(mlp, [*mlps, Source("bad", lambda: broken)], RECIPE, 0)


def test_a_loss_that_explodes_names_t_and_source(mlp, mlps):
    with pytest.raises(StarcliError, match=r"step \d+ .*source m\d at t = 0\.\d+"):
        search_star(mlp, mlps, RECIPE.override(lr=1e30), 0, method=None)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"mu": -1.0}, "mu"),
        ({"realign_every": 0}, "realign_every"),
        *(
            ({"realign_every": each}, f"realign_every is a number of epochs from 1 up, 'drawn' or None, found {each!r}")
            for each in ("dawn", 1.5, True)
        ),
        ({"realign_every": "drawn", "realign_drift": 0.1}, "realign_drift is for sources that are all aligned at once"),
        ({"realign_restarts": 0}, "realign_restarts"),
        ({"realign_restarts": 2, "realign_every": None}, "realign_restarts is for sources that are aligned anew"),
        ({"realign_restarts": 2, "method": None}, "realign_restarts is for sources that are aligned anew"),
        ({"realign_method": "activation", "realign_every": None}, "realign_method is for sources that are aligned an"),
        ({"realign_every": "drawn", "method": None}, "realign_every drawn is for sources that are aligned"),
        ({"realign_drift": 0.0}, "realign_drift is a share above 0"),
        ({"realign_drift": 0.1, "realign_every": None}, "realign_drift is for sources that are aligned anew"),
        ({"realign_drift": 0.1, "method": None}, "realign_drift is for sources that are aligned anew"),
        ({"realign_drift": 0.1, "method": "learn"}, "realign_drift is for one method, found learn and weight"),
        ({"restarts": -1}, "restarts"),
        ({"draws_per_step": 49}, "a batch of 48 cannot be cut into 49 parts"),
        ({"noise": -0.1}, "noise is a finite number from 0 up"),
        ({"pull": float("nan")}, "pull is a finite number from 0 up"),
        ({"realign_noise": 1.0, "realign_every": None}, "realign_noise is for sources that are aligned anew"),
        ({"realign_noise": 1.0, "realign_restarts": 2}, "realign_restarts is for searches from where sources are"),
        ({"realign_noise": 1.0, "method": "sinkhorn"}, "realign_noise is for searches among permutations, found sink"),
        ({"sampling": "unifrom"}, "uniform"),
        ({"method": "wieght"}, "weight"),
    ],
)
def test_wrong_settings(mlp, mlps, options, word):
    with pytest.raises(StarcliError, match=word):
        search_star(mlp, mlps, RECIPE, 0, **options)


def test_one_source_is_no_star(mlp, mlps):
    with pytest.raises(StarcliError, match="at least two"):
        search_star(mlp, mlps[:1], RECIPE, 0)


def test_later_alignments_have_restarts_of_their_own(mlp, mlps, monkeypatch):
    asked = []
    many = MatchMethod.match_all

    def noting(method, *args, restarts, starts, **options):
        asked.append((restarts, starts[0] is None))
        return many(method, *args, restarts=restarts, starts=starts, **options)

    monkeypatch.setattr(MatchMethod, "match_all", noting)
    search_star(mlp, mlps[:2], RECIPE, 0, method="weight", restarts=3, realign_restarts=2)
    assert asked == [(3, True), (2, False), (2, False)]


def test_sources_are_aligned_anew_where_the_star_is_far_from_where_it_was(mlp, mlps):
    def aligned(**options):
        star = search_star(mlp, mlps[:2], RECIPE, 0, **options)
        return star, ["moved" in row for row in star.history]

    always, every = aligned()
    nearly, same_times = aligned(realign_drift=1e-9)
    assert (every, same_times) == ([True] * 3, [True] * 3)
    assert same(always.tensors, nearly.tensors)
    never, once = aligned(realign_drift=1e9)
    assert once == [True, False, False]
    assert same(never.tensors, aligned(realign_every=None)[0].tensors)
    assert aligned(realign_drift=0.1)[1] == [True, False, True]


@pytest.mark.parametrize("options", [{}, {"draws_per_step": 2, "realign_noise": 1.0}])
def test_of_many_sources_those_are_aligned_anew_that_an_epoch_draws(mlp, mlps, options, monkeypatch):
    """All at first; then those, and no others, that its steps read, each to the star as the epoch begins."""
    seen = []
    align, vector = SourceBank.align, SourceBank.vector

    def aligning(bank, star, *arguments, **how):
        before = bank.symmetries
        found = align(bank, star, *arguments, **how)
        changed = {n for n, own in enumerate(bank.symmetries) if own is not before[n]}
        seen.append((changed, set()))
        return found

    def reading(bank, number, following=None):
        seen[-1][1].add(number)
        return vector(bank, number, following)

    monkeypatch.setattr(SourceBank, "align", aligning)
    monkeypatch.setattr(SourceBank, "vector", reading)
    many = [Source(f"{copy}-{each.name}", each.open) for copy in range(3) for each in mlps]
    recipe = RECIPE.override(epochs=4, batch_size=48)
    star = search_star(mlp, many, recipe, 0, realign_every="drawn", **options)
    (first, _), *later = seen[:4]
    assert first == set(range(len(many)))
    assert all(changed == read < first for changed, read in later)
    assert [row.get("drawn_sources") for row in star.history] == [None, *(sorted(read) for _, read in later)]
    assert [len(row["moved_by_source"]) for row in star.history] == [len(changed) for changed, _ in seen[:4]]


def test_where_an_epoch_draws_all_sources_they_are_aligned_as_in_each_epoch(mlp, mlps):
    recipe = RECIPE.override(batch_size=8)
    stars = [search_star(mlp, mlps[:2], recipe, 0, realign_every=every) for every in (1, "drawn")]
    assert same(stars[0].tensors, stars[1].tensors)
    assert stars[0].history == stars[1].history


def test_noise_on_what_sources_are_aligned_to_is_another_each_time_and_not_there_at_last(mlp, mlps, monkeypatch):
    """A star that moves by nothing finds its sources elsewhere in each epoch, and at the end where they were first."""
    references, align = [], SourceBank.align
    names = [name for name, _ in mlp.network().network.named_parameters()]
    still = RECIPE.model_copy(update={"lr": 0.0})

    def noting(bank, star, *arguments, **options):
        references.append({name: star[name].clone() for name in names})
        return align(bank, star, *arguments, **options)

    monkeypatch.setattr(SourceBank, "align", noting)
    star = search_star(mlp, mlps[:2], still, 0, realign_noise=1.0)
    first, second, third, last = references
    assert same(first, last)
    assert same(first, {name: star.tensors[name] for name in first})
    for name in first:
        noises = [(each[name] - first[name]).flatten() for each in (second, third)]
        size = float(first[name].square().mean().sqrt())
        for noise in noises:
            assert abs(float(noise.norm()) - size * len(noise) ** 0.5) <= 5 * size
        assert abs(torch.cosine_similarity(*noises, dim=0)) < 5 / len(noises[0]) ** 0.5
    objectives = [row["objective"] for row in star.history]
    assert objectives[0] == search_star(mlp, mlps[:2], still, 0).history[0]["objective"]
    assert objectives[1] != objectives[2]


def test_sources_of_a_star_with_noise_are_aligned_last_as_is_said(mlp, mlps):
    """After few epochs too, and in as many restarts as at first."""
    how = {"restarts": 3, "realign_method": "weight", "realign_every": 9, "realign_noise": 1.0}
    settings = settings_of(method="activation", **how)
    assert settings.last_alignment(RECIPE.epochs) == settings_of(**how).alignment
    star = search_star(mlp, mlps[:2], RECIPE, 0, **how)
    seed = substream(substream(0, "star"), "align", "at the end")
    for number, source in enumerate(mlps[:2]):
        aligner = Aligner(settings.realignment, mlp)
        assert same(aligner.permuted(star.tensors, source.open(), seed=substream(seed, number)), star.aligned(number))


@pytest.mark.parametrize(
    ("options", "title"),
    [
        ({"restarts": 1}, "weight, 1 restart"),
        ({"restarts": 0}, "weight, 0 restarts"),
        ({"restarts": 10}, "weight, 10 restarts, then 1 each epoch"),
        ({"restarts": 10, "realign_restarts": 10}, "weight, 10 restarts"),
        ({"restarts": 10, "realign_every": None}, "weight, 10 restarts"),
        ({"restarts": 1, "realign_restarts": 4, "realign_every": 5}, "weight, 1 restart, then 4 each 5 epochs"),
        ({"realign_every": "drawn"}, "weight, 1 restart, then 1 each epoch for the sources that it draws"),
        ({"realign_drift": 0.05}, "weight, 1 restart, then 1 each epoch if the star moved by 0.05"),
        ({"restarts": 2, "realign_noise": 1.0}, "weight, 2 restarts, then 2 each epoch to the star with noise 1"),
        ({"method": None}, "none"),
        ({"method": "sinkhorn"}, "sinkhorn, 1 restart, 256 examples, 200 steps, then 20 steps each epoch"),
        ({"method": "sinkhorn", "realign_every": None}, "sinkhorn, 1 restart, 256 examples, 200 steps"),
    ],
)
def test_titles_say_what_later_alignments_do(options, title):
    assert settings_of(**options).alignment_title == title
