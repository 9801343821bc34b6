"""Buffers between models: spectral norms against singular value decompositions, and buffers of which there is none."""

from collections.abc import Callable, Mapping

import pytest
import torch
from support.spectral import NORMALISED, ORIGINAL, STYLES, VECTORS, plain_network, spectral_network, spectral_workspace
from support.tensors import same
from support.training import Stopping
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import prune
from torchvision.ops import FrozenBatchNorm2d

from starcli.barriers.interpolation import interpolate_models, perturb_model
from starcli.barriers.line_barrier import measure_line
from starcli.errors import StarcliError
from starcli.evaluation.evaluator import Evaluator, recalibrate_
from starcli.evaluation.mixed_buffers import admit_buffers, differing_buffers, recomputed_buffers
from starcli.library.networks import network_copies
from starcli.models.flat_network import FlatNetwork
from starcli.workspace.choices import Choices
from starcli.workspace.given import Given
from starcli.workspace.workspace import Workspace, new_workspace

Model = Mapping[str, Tensor]


def trained(workspace: Workspace, seed: int) -> Model:
    """A model with vectors as training leaves them, and BatchNorm statistics of its own."""
    network = workspace.network(seed).network
    inputs, labels = next(iter(workspace.dataset.train.batches(120)))
    optimizer = torch.optim.SGD(network.parameters(), 0.5)
    for _ in range(8):
        optimizer.zero_grad()
        cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def loss_by_definition(workspace: Workspace, style: str, tensors: Model) -> float:
    """Training loss of weights divided by their largest singular values, with BatchNorm statistics of all examples."""
    network = plain_network(style, tensors)
    inputs, labels = next(iter(workspace.dataset.train.batches(120)))
    norm = network[1]
    norm.momentum = 1.0
    network.train()(inputs)
    return cross_entropy(network.eval()(inputs), labels).item()


@pytest.mark.parametrize("style", STYLES)
def test_a_line_is_that_of_the_normalised_networks(style: str) -> None:
    workspace = spectral_workspace(style)
    a, b = (trained(workspace, seed) for seed in (0, 1))
    found = measure_line(Evaluator(workspace), a, b, points=5)
    for t, loss in zip(found.t, found.curves["train"].loss, strict=True):
        point = {name: torch.lerp(a[name], b[name], t) if a[name].is_floating_point() else a[name] for name in a}
        assert loss == pytest.approx(loss_by_definition(workspace, style, point), rel=1e-4)


@pytest.mark.parametrize("style", STYLES)
def test_points_are_written_with_the_vectors_of_their_weights(style: str) -> None:
    workspace = spectral_workspace(style)
    models = [workspace.network(seed).state() for seed in range(3)]
    points = [
        interpolate_models(workspace, models[:2], [0.7, 0.3]),
        interpolate_models(workspace, models, [1 / 3] * 3),
        perturb_model(workspace, models[0], 5.0, torch.Generator().manual_seed(0)),
    ]
    for point in points:
        for layer, axis in NORMALISED.items():
            matrix = point[f"{layer}.{ORIGINAL[style]}"].movedim(axis, 0).flatten(1)
            u, v = (point[f"{layer}.{name}"] for name in VECTORS[style])
            torch.testing.assert_close(u @ matrix @ v, torch.linalg.matrix_norm(matrix, 2))
    again = interpolate_models(workspace, models[:2], [0.7, 0.3])
    assert same(points[0], again)


@pytest.mark.parametrize("style", STYLES)
def test_ends_are_as_stored_where_they_keep_their_own(style: str) -> None:
    workspace = spectral_workspace(style)
    model = workspace.network(0).state()  # vectors far from converged
    network = spectral_network(STYLES[style])
    network.load_state_dict(model)
    inputs, labels = next(iter(workspace.dataset.train.batches(120)))
    stored = cross_entropy(network.eval()(inputs), labels).item()
    evaluator = Evaluator(workspace)
    evaluator.load(model, own_statistics=True)
    assert evaluator.scores()["train"].loss == pytest.approx(stored, rel=1e-5)
    evaluator.load(model)
    converged = loss_by_definition(workspace, style, model)
    assert evaluator.scores()["train"].loss == pytest.approx(converged, rel=1e-4)
    own = measure_line(Evaluator(workspace, statistics="own-ends"), model, workspace.network(1).state(), points=3)
    assert own.curves["train"].loss[0] == pytest.approx(stored, rel=1e-5)


def test_recalibration_solves_spectral_norms_without_any_batch_norm() -> None:
    workspace = spectral_workspace("new")
    network = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.spectral_norm(nn.Linear(64, 10), eps=1e-6))
    recalibrate_(network, workspace.dataset.train, batch_size=40, device=workspace.device)
    assert torch.linalg.matrix_norm(network.eval()[1].weight, 2).item() == pytest.approx(1, rel=1e-5)


class Quantised(nn.Module):
    """A codebook, a table, a counter, a frozen parameter and a BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(64, 10), nn.BatchNorm1d(10)
        self.frozen = nn.Parameter(torch.randn(10), requires_grad=False)
        self.register_buffer("codebook", torch.rand(10))
        self.register_buffer("table", torch.arange(10.0))
        self.register_buffer("count", torch.tensor(int(1000 * torch.rand(()))))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x.flatten(1))) + self.codebook + self.table + self.frozen


def workspace_of_quantised(*, average_buffers: bool | None = False) -> Workspace:
    choices = Choices(data="digits", limit=60, device="cpu", average_buffers=average_buffers)
    return new_workspace(choices, Given(builder=network_copies(Quantised, frozen=True)))


def both(workspace: Workspace) -> list[Model]:
    return [workspace.network(seed).state() for seed in (0, 1)]


MIXED: dict[str, Callable[[Workspace, list[Model]], object]] = {
    "line": lambda workspace, models: measure_line(Evaluator(workspace), *models, points=3),
    "point": lambda workspace, models: interpolate_models(workspace, models, [0.5, 0.5]),
}


@pytest.mark.parametrize("way", MIXED)
def test_other_buffers_that_differ_are_refused_by_name(way: str) -> None:
    workspace = workspace_of_quantised()
    models = both(workspace)
    with pytest.raises(StarcliError) as caught:
        MIXED[way](workspace, models)
    assert caught.value.problems == ("codebook, of Quantised", "--average-buffers averages them like weights")
    with pytest.raises(StarcliError) as caught:
        MIXED[way](workspace_of_quantised(average_buffers=None), models)
    assert caught.value.problems == ("codebook, of Quantised",)
    MIXED[way](workspace, [models[0], {**models[1], "codebook": models[0]["codebook"]}])
    MIXED[way](workspace, [models[0], {**models[1], "codebook": models[0]["codebook"] * (1 + 1e-6)}])
    allowed = workspace_of_quantised(average_buffers=True)
    MIXED[way](allowed, models)


def test_the_mean_of_buffers_is_taken_where_it_is_asked_for() -> None:
    workspace, watcher = workspace_of_quantised(average_buffers=True), Stopping()
    first, last = both(workspace)
    point = interpolate_models(workspace, [first, last], [0.25, 0.75], progress=watcher)
    torch.testing.assert_close(point["codebook"], 0.25 * first["codebook"] + 0.75 * last["codebook"])
    assert torch.equal(point["table"], first["table"])
    assert point["count"] == first["count"]
    assert watcher.notes == ["not learned, and averaged like weights: frozen, codebook"]


def test_a_model_alone_keeps_what_it_has() -> None:
    workspace = workspace_of_quantised()
    model = both(workspace)[0]
    found = perturb_model(workspace, model, 1.0, torch.Generator())
    assert torch.equal(found["codebook"], model["codebook"])
    evaluator = Evaluator(workspace)
    for each in both(workspace):
        evaluator.load(each)
        assert next(evaluator.task.means(iter([evaluator.all_predictions()]))).isfinite().all()


class Normed(nn.BatchNorm1d):
    """A BatchNorm of the user's own, which keeps a size beside its statistics."""

    def __init__(self) -> None:
        super().__init__(4)
        self.register_buffer("size", torch.ones(4))


def test_buffers_are_told_by_the_class_that_owns_them() -> None:
    norms = [Normed(), nn.InstanceNorm1d(4, track_running_stats=True), nn.GroupNorm(2, 4), nn.Linear(4, 4)]
    network = nn.Sequential(*norms, nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)))
    network.append(nn.Module())
    network[5].register_buffer("running_mean", torch.zeros(4))  # of something else that calls it so
    network[5].register_buffer("cache", torch.zeros(4), persistent=False)
    expected = {f"{n}.{name}" for n in (0, 1) for name in ("running_mean", "running_var")}
    assert recomputed_buffers(network) == expected | {f"4.{name}" for name in VECTORS["new"]}
    flat = FlatNetwork(network)
    other = {name: tensor + 1 for name, tensor in flat.state().items()}
    assert differing_buffers(flat, [flat.state(), other]) == ["0.size", "5.running_mean"]


@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.int64])
def test_masks_that_are_no_floats_are_refused_too(dtype: torch.dtype) -> None:
    """Between two models the first one's would have held; single numbers count steps."""
    network = nn.BatchNorm1d(4)
    network.register_buffer("mask", torch.tensor([1, 0, 1, 0], dtype=dtype))
    network.register_buffer("steps", torch.tensor(3))
    flat = FlatNetwork(network)
    other = {**flat.state(), "steps": torch.tensor(4), "num_batches_tracked": torch.tensor(9)}
    assert admit_buffers(flat, [flat.state(), other], average=False) == []
    other["mask"] = torch.tensor([1, 1, 0, 0], dtype=dtype)
    with pytest.raises(StarcliError) as caught:
        admit_buffers(flat, [flat.state(), other], average=False)
    hint = "--average-buffers averages them like weights; integers are then the first model's"
    assert caught.value.problems == ("mask, of BatchNorm1d", hint)
    assert admit_buffers(flat, [flat.state(), other], average=True) == ["mask"]


@pytest.mark.parametrize(("value", "differ"), [(1.0, False), (1 + 1e-7, False), (1.01, True), (torch.inf, True)])
def test_masks_with_infinite_entries_are_compared_too(value: float, differ: bool) -> None:
    network = nn.Linear(2, 2)
    network.register_buffer("mask", torch.tensor([1.0, -torch.inf, torch.nan]))
    flat = FlatNetwork(network)
    other = {**flat.state(), "mask": torch.tensor([value, -torch.inf, torch.nan])}
    assert (differing_buffers(flat, [flat.state(), other]) == ["mask"]) is differ


@pytest.mark.parametrize(("value", "differ"), [(0.0, False), (2.5e-5, False), (4e-5, True)])
def test_rounding_is_a_part_of_the_largest_finite_entry(value: float, differ: bool) -> None:
    network = nn.Linear(2, 2)
    network.register_buffer("table", torch.tensor([0.0, -3.0, 2.0, torch.inf]))
    flat = FlatNetwork(network)
    other = {**flat.state(), "table": torch.tensor([value, -3.0, 2.0, torch.inf])}
    assert (differing_buffers(flat, [flat.state(), other]) == ["table"]) is differ


def test_each_buffer_is_named_with_its_owner_and_what_becomes_of_integers_is_said_beside_floats() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    network[1].register_buffer("mask", torch.tensor([0, 1]))
    network[1].register_buffer("slope", torch.tensor(1.0))
    flat = FlatNetwork(network)
    other = {**flat.state(), "1.mask": torch.tensor([1, 0]), "1.slope": torch.tensor(2.0)}
    with pytest.raises(StarcliError) as caught:
        admit_buffers(flat, [flat.state(), other], average=False)
    assert {*caught.value.problems[:-1]} == {"1.mask, of ReLU", "1.slope, of ReLU"}
    assert caught.value.problems[-1].endswith("; integers are then the first model's")


def pruned() -> nn.Module:
    layer = nn.Linear(6, 6)
    prune.random_unstructured(layer, "weight", 0.5)
    return nn.Sequential(layer)


def frozen_norm() -> nn.Module:
    norm = FrozenBatchNorm2d(3)
    norm.running_mean.normal_()
    return nn.Sequential(norm, nn.Conv2d(3, 1, 1))


def after_a_batch(norm: nn.Module) -> nn.Module:
    network = nn.Sequential(nn.Conv2d(1, 3, 3), norm)
    network(torch.randn(4, 1, 8, 8))
    return network


def with_a_table() -> nn.Module:
    network = nn.Linear(2, 2)
    network.register_buffer("table", torch.sin(torch.arange(10.0)))
    return network


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (pruned, ["0.weight_mask"]),
        (frozen_norm, ["0.running_mean"]),
        (lambda: after_a_batch(nn.BatchNorm2d(3)), []),
        (lambda: after_a_batch(nn.InstanceNorm2d(3, track_running_stats=True)), []),
        (lambda: after_a_batch(nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 3, 1))), []),
        (with_a_table, []),
    ],
)
def test_layers_of_torch_and_torchvision(build: Callable[[], nn.Module], expected: list[str]) -> None:
    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        flat = FlatNetwork(build())
        states.append(flat.state())
    assert differing_buffers(flat, states) == expected
