"""Distributions of t: their moments, and the names and numbers by which they are asked for."""

from typing import Any

import pytest
import torch
from scipy import stats

import starcli as sc
from starcli.averaging.sampling import (
    PointSampling,
    beta_t,
    check_renormalised,
    constant_t,
    ends_t,
    sampling_of,
    uniform_t,
)
from starcli.errors import StarcliError
from starcli.evaluation.renormalise import RECALIBRATE, Renormalise
from starcli.registry.samplings import SAMPLINGS
from starcli.training.seeds import generator


@pytest.fixture(scope="module")
def sources() -> list[sc.Checkpoint]:
    how: dict[str, Any] = {"arch_args": {"hidden_dim": 4}, "epochs": 1, "limit": 60}
    return [sc.train("mlp", "digits", seed=seed, **how) for seed in range(2)]


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("uniform", stats.uniform()), ("beta", stats.beta(2, 2)), ("beta:2,2", stats.beta(2, 2)),
        ("beta:5,1", stats.beta(5, 1)), ("beta:0.5,1.5", stats.beta(0.5, 1.5)), ("ends", stats.bernoulli(0.5)),
    ],
)  # fmt: skip
def test_samplings_have_the_moments_of_their_laws(name: str, law: "stats.distributions.rv_frozen") -> None:
    place, draw_t = generator(0), sampling_of(name)
    draws = torch.tensor([draw_t(place) for _ in range(20_000)], dtype=torch.float64)
    assert draws.min() >= 0
    assert draws.max() <= 1
    mean, variance = law.stats()
    assert float(draws.mean()) == pytest.approx(float(mean), abs=0.01)
    assert float(draws.var()) == pytest.approx(float(variance), rel=0.05)


def test_half_of_the_draws_of_midpoint_weigh_a_gradient_as_they_should() -> None:
    """Of a quadratic loss a/2 |x - c|^2 the star's gradient is a (1 - t) ((1 - t) star + t source - c): its mean by

    E (1 - t) = 1/2, E (1 - t)^2 = (1/4 + 1/3) / 2 and E t (1 - t) = (1/4 + 1/6) / 2.
    """
    place, draw_t = generator(0), sampling_of("midpoint")
    t = torch.tensor([draw_t(place) for _ in range(20_000)], dtype=torch.float64)
    assert float((t == 0.5).double().mean()) == pytest.approx(0.5, abs=0.012)  # 3.4 standard deviations
    steepness, lowest, star, source = 3.0, -1.0, 2.0, 5.0
    gradient = steepness * (1 - t) * ((1 - t) * star + t * source - lowest)
    expected = steepness * (star * 7 / 24 + source * 5 / 24 - lowest / 2)
    assert float(gradient.mean()) == pytest.approx(expected, abs=4 * float(gradient.std()) / len(t) ** 0.5)


def test_names_stand_for_functions() -> None:
    assert [sampling_of(name) for name in ("uniform", "beta", "constant", "ends")] == [
        uniform_t, beta_t, constant_t, ends_t,
    ]  # fmt: skip
    assert constant_t(generator(0)) == 0.5
    assert sampling_of("constant:0.9")(generator(0)) == 0.9
    assert sampling_of(constant_t) is constant_t
    assert {sampling_of("ends")(generator(seed)) for seed in range(9)} == {0.0, 1.0}


@pytest.mark.parametrize("name", [*SAMPLINGS, "beta:5,1"])
def test_draws_are_those_of_their_generator_and_of_no_other(name: str) -> None:
    before, draw_t = torch.get_rng_state(), sampling_of(name)
    one, again = ([draw_t(place) for _ in range(20)] for place in (generator(3), generator(3)))
    assert one == again
    assert torch.equal(torch.get_rng_state(), before)


def test_beta_draws_as_stars_were_always_made_by() -> None:
    """The middle one of three uniform numbers, in float64."""
    place, same = generator(1), generator(1)
    expected = [sorted(torch.rand(3, generator=same, dtype=torch.float64).tolist())[1] for _ in range(50)]
    assert [beta_t(place) for _ in range(50)] == expected


def test_what_is_never_read_is_refused_before_any_work() -> None:
    with pytest.raises(StarcliError, match="unknown sampling"):
        PointSampling("spline")
    with pytest.raises(StarcliError, match="--sampling ends draws none"):
        check_renormalised(PointSampling("ends"), Renormalise("repair"))
    check_renormalised(PointSampling("ends"), RECALIBRATE)
    check_renormalised(PointSampling("midpoint"), Renormalise("repair"))


def test_sources_in_turn_come_as_often_as_each_other() -> None:
    points = PointSampling("constant:0.9", in_turn=True)
    found = [source for source, _ in points.points(4, 11, generator(0))]
    assert sorted(found[:4]) == sorted(found[4:8]) == [0, 1, 2, 3]
    assert len(set(found[8:])) == 3
    assert len({tuple(points.points(4, 4, generator(seed))) for seed in range(20)}) > 10
    uniform = [source for source, _ in PointSampling().points(4, 4000, generator(0))]
    assert all(abs(uniform.count(source) - 1000) < 120 for source in range(4))  # 4 standard deviations


def test_of_ends_in_turn_the_star_comes_once_before_each_round_of_sources() -> None:
    found = PointSampling("ends", in_turn=True).points(3, 10, generator(0))
    for each in (found[:4], found[4:8]):
        assert each[0][1] == 0
        assert sorted(each[1:]) == [(0, 1.0), (1, 1.0), (2, 1.0)]
    assert [t for _, t in found[8:]] == [0, 1]
    assert len({tuple(PointSampling("ends", in_turn=True).points(4, 3, generator(seed))) for seed in range(20)}) > 8


def test_draws_one_by_one_are_those_of_all_at_once() -> None:
    """So that averages of the same seed are those that were drawn together, before there were other laws."""
    place = generator(0)
    assert [uniform_t(place) for _ in range(40)] == torch.rand(40, generator=generator(0), dtype=torch.float64).tolist()


@pytest.mark.parametrize(
    "said", ["beta:2", "beta:-1,2", "beta:1,x", "constant:1.5", "constant:", "constant:nan", "ends:1", "midpoint:0.3"]
)
def test_numbers_that_do_not_go_with_a_name_are_an_error(said: str) -> None:
    name = said.partition(":")[0]
    with pytest.raises(StarcliError, match=f"sampling '{said}': expected {name} for t "):
        sampling_of(said)


def test_other_names_are_an_error() -> None:
    with pytest.raises(StarcliError, match="unknown sampling 'betta'; did you mean beta"):
        sampling_of("betta:2,2")
    with pytest.raises(StarcliError, match="unknown sampling"):
        sampling_of(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("said", ["ends", "constant:1", "constant:0"])
def test_no_star_is_trained_at_the_ends(said: str, sources: list[sc.Checkpoint]) -> None:
    with pytest.raises(StarcliError) as caught:
        sc.find_star(sources, sampling=said)
    assert "for averages" in str(caught.value.problems)


def by_thirds(place: torch.Generator) -> float:
    return float(torch.randint(1, 4, (1,), generator=place)) / 3


@pytest.mark.parametrize("said", ["ends", by_thirds])
def test_a_student_learns_from_points_drawn_by_any_law(said: Any, sources: list[sc.Checkpoint]) -> None:
    star = sc.interpolate(*sources, t=0.5, alignment=None)
    student = sc.fuse(sources, method="distil", star=star, samples=1, sampling=said, epochs=1, alignment=None)
    named = said if said == "ends" else "test_sampling.by_thirds"
    assert student.metadata.recipe["fused"]["teacher"]["sampling"].endswith(named)


def test_averages_by_a_function_are_measured_each_time(sources: list[sc.Checkpoint]) -> None:
    """Another function may have the same name: what is kept under it would be a wrong number."""
    star, drawn = sc.interpolate(*sources, t=0.5, alignment=None), []

    def counted(place: torch.Generator) -> float:
        drawn.append(place)
        return by_thirds(place)

    how: dict[str, Any] = {"samples": 2, "repeats": 1, "alignment": None}
    rows = [sc.bma(star, sources, sampling=counted, **how) for _ in range(2)]
    assert len(drawn) == 4
    assert list(rows[0]) == list(rows[1])
    assert len(sc.predict(star=star, sources=sources, sampling=counted, samples=2, alignment=None).label)
    assert len(drawn) == 6
