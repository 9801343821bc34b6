"""Points between, beyond and around models: exact weights, integers kept, statistics anew."""

import math

import pytest
import torch
from support.barriers import Model

from starcli.barriers.interpolation import interpolate_models, perturb_model
from starcli.errors import StarcliError
from starcli.evaluation.evaluator import Evaluator
from starcli.workspace.workspace import Workspace


def test_interpolation_at_the_ends_and_beyond(workspace: Workspace, models: list[Model]) -> None:
    learnable = {slot.name for slot in workspace.network().layout}
    zero = interpolate_models(workspace, models[:2], [1, 0])
    assert all(torch.equal(zero[name], models[0][name]) for name in learnable)
    assert zero.keys() == models[0].keys()
    beyond = interpolate_models(workspace, models[:2], [-0.5, 1.5])
    thirds = interpolate_models(workspace, models[:3], [1 / 3] * 3)
    for name in learnable:
        a, b, c = (model[name].double() for model in models[:3])
        torch.testing.assert_close(beyond[name].double(), -0.5 * a + 1.5 * b, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(thirds[name].double(), (a + b + c) / 3, rtol=1e-5, atol=1e-7)


def test_interpolation_keeps_integers_and_re_estimates_statistics(workspace: Workspace, models: list[Model]) -> None:
    first = {name: t if t.is_floating_point() else torch.full_like(t, 11) for name, t in models[0].items()}
    found = interpolate_models(workspace, [first, models[1]], [0.5, 0.5])
    integers = [name for name, tensor in found.items() if not tensor.is_floating_point()]
    assert integers
    assert all(found[name].dtype == torch.int64 and found[name] == 11 for name in integers)
    means = [name for name in found if name.endswith("running_mean")]
    assert means
    assert all(not torch.equal(found[n], (models[0][n] + models[1][n]) / 2) for n in means)


@pytest.mark.parametrize("weights", [[0.5, 0.6], [1.0], [math.nan, 1.0]])
def test_wrong_weights_are_errors(workspace: Workspace, models: list[Model], weights: list[float]) -> None:
    with pytest.raises(StarcliError):
        interpolate_models(workspace, models[:2], weights)


def test_points_of_other_types_have_the_statistics_of_their_own_weights(
    workspace: Workspace, models: list[Model]
) -> None:
    """Estimated in float32, of weights that are computed in float64: they are of one point all the same."""
    wide, other = ({n: t.double() if t.is_floating_point() else t for n, t in model.items()} for model in models[:2])
    evaluator = Evaluator(workspace)
    for found in (
        perturb_model(workspace, wide, 9.0, torch.Generator().manual_seed(3)),
        interpolate_models(workspace, [wide, other], [0.25, 0.75]),
        interpolate_models(workspace, [wide, other, wide], [0.2, 0.5, 0.3]),
    ):
        assert all(tensor.dtype == torch.float64 for tensor in found.values() if tensor.is_floating_point())
        evaluator.load({n: t.float() if t.is_floating_point() else t for n, t in found.items()})
        again = evaluator.network.state()
        for name in (name for name in found if "running" in name):
            torch.testing.assert_close(found[name].float(), again[name], rtol=1e-4, atol=1e-5)


def test_perturbations_lie_on_the_sphere(workspace: Workspace, models: list[Model]) -> None:
    network = workspace.network()
    centre = network.flatten(models[0]).double()
    points = [
        network.flatten(perturb_model(workspace, models[0], 4.0, torch.Generator().manual_seed(seed))).double()
        for seed in (0, 0, 1)
    ]
    assert torch.equal(points[0], points[1])
    assert not torch.equal(points[0], points[2])
    for point in points:
        assert float((point - centre).norm()) == pytest.approx(4.0, rel=1e-5)
    with pytest.raises(StarcliError, match="radius"):
        perturb_model(workspace, models[0], -1.0, torch.Generator())
