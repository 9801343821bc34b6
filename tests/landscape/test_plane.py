"""Planes: coordinates of the models come back, losses are those of the models, filters keep their norms."""

import math

import pytest
import torch
from torch import nn

import starcli as sc
from starcli.errors import StarcliError
from starcli.files.cache import using_cache
from starcli.landscape import measure as landscape
from starcli.landscape.plane import WeightPlane, mean_weights
from starcli.models.flat_network import FlatNetwork
from starcli.runtime.progress import Interrupted, Progress


def vectors(count: int, size: int = 50) -> list[torch.Tensor]:
    return list(torch.randn(count, size, generator=torch.Generator().manual_seed(0)))


def test_axes_are_orthonormal_and_models_have_their_distances() -> None:
    a, b, c = vectors(3)
    plane = WeightPlane.through(a, b, c)
    axes = torch.stack([plane.u, plane.v])
    torch.testing.assert_close(axes @ axes.T, torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-14)
    places = [plane.place(each) for each in (a, b, c)]
    assert places[0] == (0.0, 0.0)
    assert places[1] == pytest.approx((float((b - a).double().norm()), 0.0), abs=1e-5)
    between = torch.tensor(places[2]) - torch.tensor(places[1])
    assert float(between.norm()) == pytest.approx(float((c - b).norm()), rel=1e-5)
    assert places[2][1] > 0
    for each, place in zip((a, b, c), places, strict=True):
        torch.testing.assert_close(plane.point(*place).float(), each)
        assert plane.distance(each) == pytest.approx(0, abs=1e-5)
    weights = mean_weights(places, 0.3, -2.0)
    assert sum(weights) == pytest.approx(1)
    mean = sum(weight * each.double() for weight, each in zip(weights, (a, b, c), strict=True))
    torch.testing.assert_close(mean, plane.point(0.3, -2.0), rtol=0, atol=1e-5)


def test_weights_of_a_place_are_those_of_any_triangle() -> None:
    """Solved as linear equations: the weights sum to 1, and the corners have this mean."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        corners, place = (torch.randn(n, 2, generator=generator, dtype=torch.float64) for n in (3, 1))
        equations = torch.cat([corners.T, torch.ones(1, 3)])
        expected = torch.linalg.solve(equations, torch.cat([place[0], torch.ones(1)]))
        x, y = place[0].tolist()
        found = mean_weights([(float(a), float(b)) for a, b in corners], x, y)
        assert found == pytest.approx(expected.tolist(), rel=1e-9)


def test_three_models_have_to_make_a_plane() -> None:
    a, b, _ = vectors(3)
    with pytest.raises(StarcliError, match="two of these have the same weights"):
        WeightPlane.through(a, b, b.clone())
    with pytest.raises(StarcliError, match="do not lie on one straight line"):
        WeightPlane.through(a, b, a + 0.3 * (b - a))


def test_models_may_have_weights_in_common() -> None:
    """As where a body is frozen: a plane through what differs."""
    shared = [torch.cat([torch.ones(30), each]) for each in vectors(3)]
    plane, apart = WeightPlane.through(*shared), WeightPlane.through(*vectors(3))
    for one, other in zip(shared, vectors(3), strict=True):
        assert plane.place(one) == pytest.approx(apart.place(other), abs=1e-9)


def test_each_filter_of_a_direction_has_the_norm_of_the_models() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 4))
    flat = FlatNetwork(network, memory_format=torch.channels_last)
    plane = WeightPlane.random(flat, flat.parameters, 5)
    own = flat.views(plane.origin)
    for direction in (plane.u, plane.v):
        for name, part in flat.views(direction).items():
            expected = own[name].flatten(1).norm(dim=1) if part.dim() > 1 else torch.zeros(len(part)).double()
            found = part.flatten(1).norm(dim=1) if part.dim() > 1 else part
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    assert torch.equal(plane.u, WeightPlane.random(flat, flat.parameters, 5).u)
    assert not torch.equal(plane.u, WeightPlane.random(flat, flat.parameters, 6).u)
    cosine = float(plane.u @ plane.v / plane.u.norm() / plane.v.norm())
    assert abs(cosine) < 0.6  # two draws, not one


@pytest.fixture(scope="module")
def models() -> list:
    settings = {"epochs": 2, "limit": 100, "arch_args": {"width": 4}}
    return [sc.train("resnet", "digits", seed=seed, **settings) for seed in (0, 1, 2)]


def test_the_loss_at_the_models_is_their_own(models: list) -> None:
    """With BatchNorm, whose statistics are re-estimated; other points are the means of the models that lie there."""
    found = sc.plane(*models, points=3, alignment=None)
    own = [row["nll"] for row in sc.evaluate(*models, recalibrate=True)]
    assert [mark.scores["test"].loss for mark in found.marks] == pytest.approx(own, abs=1e-6)
    assert [mark.name for mark in found.marks] == [model.name for model in models]
    corners = [mark.place for mark in found.marks]
    for i, j in ((0, 0), (1, 1), (2, 1)):
        point = sc.interpolate(*models, alignment=None, weights=mean_weights(corners, found.x[i], found.y[j]))
        [expected] = sc.evaluate(point, recalibrate=True)
        assert found.values["test"]["loss"][j][i] == pytest.approx(expected["nll"], rel=1e-4)
        assert found.values["test"]["accuracy"][j][i] == expected["accuracy"]
    assert len(found.to_frame()) == 2 * 9
    assert repr(found) == f"Landscape(3 x 3 points around {', '.join(model.name for model in models)})"


def test_a_surface_has_the_model_in_its_middle(models: list) -> None:
    found = sc.surface(models[0], points=3, radius=0.1, seed=3)
    [own] = sc.evaluate(models[0], recalibrate=True, split="train")
    assert found.values["train"]["loss"][1][1] == pytest.approx(own["nll"], abs=1e-6)
    assert found.x == (-0.1, 0.0, 0.1)
    again = sc.surface(models[0], points=3, radius=0.1, seed=3)
    assert again.values == found.values
    assert sc.surface(models[0], points=3, radius=0.1, seed=4).values != found.values


def test_a_curve_runs_over_the_plane_of_its_bend(models: list) -> None:
    [bend] = sc.curve(*models[:2], epochs=1, alignment="weight")
    found = sc.plane(*models[:2], curve=bend, points=3)
    assert [mark.name for mark in found.marks] == [models[0].name, models[1].name, bend.name]
    a, b, theta = (mark.place for mark in found.marks)
    middle = len(found.path["x"]) // 2
    assert found.path["x"][middle] == pytest.approx(a[0] / 4 + theta[0] / 2 + b[0] / 4)
    assert found.path["y"][middle] == pytest.approx(theta[1] / 2)
    assert found.path["distance"] < 1e-4
    away = sc.plane(*models, curve=bend, points=3, alignment="weight")
    assert away.path["distance"] > 1e-3  # the third model is not the bend


class StoppedAfter(Progress):
    """Asks to stop after so many points."""

    def __init__(self, points: int) -> None:
        self.left = points

    def step(self, count: int = 1, **figures: float) -> None:
        self.left -= count
        if self.left <= 0:
            self.stop_signal = 2


def test_a_stopped_plane_goes_on_with_the_lines_that_are_missing(
    models: list, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    paths = []
    for model in models:
        paths.append(str(tmp_path / f"{model.name}.safetensors"))
        sc.save(model, paths[-1])
    with pytest.raises(Interrupted):
        sc.plane(*paths, points=4, alignment=None, progress=StoppedAfter(3 + 10))
    with using_cache() as use:
        found = sc.plane(*paths, points=4, alignment=None)
    assert (use.found["planes"], use.missing["planes"]) == (2, 2)
    with sc.no_cache():
        assert sc.plane(*paths, points=4, alignment=None).to_dict() == found.to_dict()


def test_what_is_no_plane_is_refused(models: list) -> None:
    with pytest.raises(StarcliError, match="through three models, or through two and a bend between; found 2"):
        sc.plane(*models[:2])
    for margin in (-1.0, math.inf):
        with pytest.raises(StarcliError, match="margin is a number from 0 up"):
            sc.plane(*models, margin=margin)
    for radius in (0.0, math.inf):
        with pytest.raises(StarcliError, match="radius is a number above 0"):
            sc.surface(models[0], radius=radius)
    with pytest.raises(StarcliError, match="points=2"):
        sc.surface(models[0], points=2)
    assert landscape.GRID % 2 == 1  # so that the middle of a surface is the model
