"""Losses on planes of a small network against those of plain means of its tensors, buffers among them."""

import json
import math

import pytest
import torch
from support.training import Counted, Stopping
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import starcli as sc
from starcli.landscape.measure import Landscape


class Sloped(nn.Module):
    """A layer times a buffer, which is no statistic."""

    def __init__(self, number: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(number)
        self.linear = nn.Linear(4, 3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=generator)
        self.register_buffer("slope", torch.tensor(0.5 + number))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.slope


def rows(count: int, seed: int) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)), torch.arange(count) % 3


DATA = {"train": rows(30, 8), "test": rows(20, 9)}
QUIET = {"data": DATA, "normalise": "none", "average_buffers": True}


def loss(state: dict[str, Tensor], split: str) -> float:
    network = Sloped(0)
    network.load_state_dict(state)
    inputs, labels = DATA[split]
    return cross_entropy(network(inputs), labels).item()


@pytest.fixture(scope="module")
def models() -> list[Sloped]:
    """The third lies on the other side of the first than the second does."""
    found = [Sloped(number) for number in range(3)]
    with torch.no_grad():
        for first, second, third in zip(*(model.parameters() for model in found), strict=True):
            third.mul_(0.5).add_(1.5 * first - 0.5 * second)
    return found


@pytest.fixture(scope="module")
def plane(models: list[Sloped]) -> Landscape:
    return sc.plane(*models, points=4, margin=0.25, alignment=None, progress=Stopping(), **QUIET)


def test_each_point_is_the_mean_of_the_models_that_lies_there(models: list[Sloped], plane: Landscape) -> None:
    states = [model.state_dict() for model in models]
    corners = torch.tensor([mark.place for mark in plane.marks], dtype=torch.float64)
    sides = torch.cat([corners.T, torch.ones(1, 3)]).double()
    for j, y in enumerate(plane.y):
        for i, x in enumerate(plane.x):
            weights = torch.linalg.solve(sides, torch.tensor([x, y, 1.0], dtype=torch.float64)).tolist()
            point = {name: sum(w * state[name] for w, state in zip(weights, states, strict=True)) for name in states[0]}
            for split in ("train", "test"):
                assert plane.values[split]["loss"][j][i] == pytest.approx(loss(point, split), rel=1e-4)
    for mark, state in zip(plane.marks, states, strict=True):
        assert [mark.scores[split].loss for split in DATA] == pytest.approx([loss(state, split) for split in DATA])


def test_the_grid_is_even_and_goes_beyond_the_models_by_the_margin(models: list[Sloped], plane: Landscape) -> None:
    vectors = [nn.utils.parameters_to_vector(model.parameters()).detach() for model in models]
    distance = float((vectors[1] - vectors[0]).norm())
    (ax, ay), (bx, by), (cx, cy) = (mark.place for mark in plane.marks)
    assert (ax, ay, bx, by) == (0, 0, pytest.approx(distance, rel=1e-5), 0)
    assert math.hypot(cx, cy) == pytest.approx(float((vectors[2] - vectors[0]).norm()), rel=1e-5)
    assert cx < 0
    for axis, places in ((plane.x, (ax, bx, cx)), (plane.y, (ay, by, cy))):
        extent = max(places) - min(places)
        ends = min(places) - 0.25 * extent, max(places) + 0.25 * extent
        assert axis == pytest.approx([ends[0] + k / 3 * (ends[1] - ends[0]) for k in range(4)])


def test_without_a_margin_the_models_are_at_the_edges(models: list[Sloped]) -> None:
    found = sc.plane(*models, points=3, margin=0, alignment=None, progress=Stopping(), **QUIET)
    places = torch.tensor([mark.place for mark in found.marks])
    assert (found.y[0], found.y[2]) == (0, pytest.approx(float(places[:, 1].max())))
    assert (found.x[0], found.x[2]) == pytest.approx([float(each) for each in places[:, 0].aminmax()])


def test_a_plane_as_plain_values_and_as_a_table(plane: Landscape) -> None:
    found = json.loads(json.dumps(plane.to_dict()))
    assert found["x"] == list(plane.x)
    assert found["places"] == [list(mark.place) for mark in plane.marks]
    assert (found["points"], found["statistics"], found["alignment"]) == (4, "recalibrate", "none")
    assert found["test"]["models"][1]["loss"] == plane.marks[1].scores["test"].loss
    table = plane.to_frame()
    assert len(table) == 2 * 4 * 4
    for row in table.to_dict("records"):
        j, i = plane.y.index(row["y"]), plane.x.index(row["x"])
        assert row["accuracy"] == plane.values[row["split"]]["accuracy"][j][i]


def test_a_surface_keeps_the_buffers_of_its_model(models: list[Sloped]) -> None:
    found = sc.surface(models[2], points=3, radius=0.5, seed=1, progress=Stopping(), **QUIET)
    state = models[2].state_dict()
    assert found.values["train"]["loss"][1][1] == pytest.approx(loss(state, "train"))
    assert found.values["test"]["loss"][1][1] == pytest.approx(loss(state, "test"))
    assert found.marks[0].place == (0, 0)
    assert (found.x, found.about["radius"], found.about["seed"]) == ((-0.5, 0.0, 0.5), 0.5, 1)


def test_models_whose_buffers_differ_and_too_many_are_refused(models: list[Sloped]) -> None:
    watcher = Counted()
    with pytest.raises(sc.StarcliError, match="the models differ in buffers"):
        sc.plane(*models, points=3, alignment=None, progress=watcher, **QUIET | {"average_buffers": False})
    assert watcher.total == 0  # before any work
    with pytest.raises(sc.StarcliError, match="found 4"):
        sc.plane(*models, Sloped(3), points=3, alignment=None, progress=watcher, **QUIET)


def test_each_model_and_each_point_is_a_step(models: list[Sloped]) -> None:
    progress = Counted()
    sc.plane(*models, points=3, alignment=None, progress=progress, **QUIET)
    assert progress.done == progress.total == 3 + 9


def test_a_plane_from_the_cache_is_the_one_that_was_measured() -> None:
    """The order of its metrics too, which is that of columns: the cache keeps them in another one."""
    models = [sc.train("mlp", "digits", epochs=1, limit=20, seed=seed, progress=Stopping()) for seed in range(3)]
    first, again = (sc.plane(*models, points=3, alignment=None, progress=Stopping()) for _ in range(2))
    assert json.dumps(first.to_dict()) == json.dumps(again.to_dict())
    assert list(first.to_frame()) == list(again.to_frame()) == ["split", "x", "y", "loss", "accuracy"]
