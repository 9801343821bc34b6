"""Curves: a step's gradient is autograd's, the bend of a quadratic loss is where its formula says, and stopped runs."""

import pytest
import torch
from support.stars import RECIPE
from support.tensors import same
from support.training import Frozen, Memory, Stopping
from torch import nn
from torch.nn.functional import cross_entropy

import starcli as sc
from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Metadata
from starcli.curves.curve import train_curve
from starcli.curves.curve_step import OnCurve
from starcli.curves.settings import CurveSettings
from starcli.errors import StarcliError
from starcli.runtime.arithmetic import WARNS, arithmetic_restored
from starcli.runtime.progress import SILENT, Interrupted
from starcli.training.batch_pieces import cut_batch
from starcli.training.train import train_network


def ends_in(workspace):
    found = [train_network(workspace, RECIPE.override(epochs=2, lr=0.1), seed) for seed in (0, 1)]
    return tuple(Checkpoint(each.tensors, Metadata(), f"m{seed}") for seed, each in enumerate(found))


@pytest.mark.parametrize(("form", "bends"), [("bezier", 1), ("bezier", 3), ("polygon", 1), ("polygon", 2)])
def test_the_gradient_by_each_bend_is_autograds(mlp, form, bends):
    ends, flat = ends_in(mlp), mlp.network(0)
    settings = CurveSettings(form=form, bends=bends)
    objective = OnCurve(mlp, flat, [end.tensors for end in ends], RECIPE, 0, settings, SILENT)
    objective.begin_epoch(0)
    inputs, labels = next(mlp.dataset.train.batches(48))
    objective.clear()
    for piece in cut_batch(48, 3):  # each at its own point
        objective.step(inputs[piece.start : piece.stop], labels[piece.start : piece.stop], 0, 0, piece.number, 1 / 3)
    free = objective.vector.clone().requires_grad_()
    first, last = (flat.flatten(end.tensors) for end in ends)
    network, total = mlp.network().network, torch.zeros(())
    for piece in cut_batch(48, 3):
        weights = objective.weights(objective.draw(0, 0, piece.number))
        nodes = [first, *free.view(bends, -1), last]
        point = torch.stack([weight * node for weight, node in zip(weights, nodes, strict=True)]).sum(0)
        values = torch.func.functional_call(network, flat.views(point), (inputs[piece.start : piece.stop],))
        total = total + cross_entropy(values, labels[piece.start : piece.stop]) / 3
    (expected,) = torch.autograd.grad(total, free)
    found = torch.cat([gradient.flatten() for gradient in objective.gradients()])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    objective.clip(0.01)
    clipped = torch.cat([gradient.flatten() for gradient in objective.gradients()])
    torch.testing.assert_close(clipped, expected * (0.01 / expected.norm()), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("form", ["bezier", "polygon"])
def test_bends_begin_evenly_and_what_is_fixed_goes_along_the_curve(mlp, form):
    where = Frozen(mlp.name, mlp.arguments, mlp.dataset)
    ends, flat = [where.network(seed).state() for seed in (1, 2)], where.network(0)
    settings = CurveSettings(form=form, bends=3)
    objective = OnCurve(where, flat, ends, RECIPE, 0, settings, SILENT)
    nodes = [{name: (1 - k / 4) * ends[0][name] + k / 4 * ends[1][name] for name in ends[0]} for k in range(5)]
    for k, bend in enumerate(objective.bends, 1):
        torch.testing.assert_close(bend, flat.flatten(nodes[k]))
        objective.put_bend(k - 1)
        for name, tensor in flat.state().items():
            torch.testing.assert_close(tensor, nodes[k][name])
    objective.begin_epoch(0)
    inputs, labels = next(where.dataset.train.batches(48))
    loss, _ = objective.step(inputs, labels, 0, 0)
    weights = objective.weights(objective.draw(0, 0, 0))
    point = {name: sum(w * node[name] for w, node in zip(weights, nodes, strict=True)) for name in ends[0]}
    for name in ("fc1.weight", "fc1.bias"):
        torch.testing.assert_close(flat.state()[name], point[name])
    network = where.network().network
    network.load_state_dict(point)
    torch.testing.assert_close(loss, cross_entropy(network(inputs), labels).detach(), rtol=1e-5, atol=1e-6)


class Awkward(torch.autograd.Function):
    """x, whose gradient goes through an operator that has no deterministic way."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return torch.zeros_like(gradient).put_(torch.arange(gradient.numel()), gradient)


@pytest.mark.filterwarnings("ignore:put_")
def test_a_backward_pass_that_has_to_begin_again_leaves_nothing_of_the_first(mlp):
    """The last layers have their gradients before the pass fails at the first one."""
    ends, (inputs, labels), found = ends_in(mlp), next(mlp.dataset.train.batches(48)), []
    for mode in (0, WARNS):
        with arithmetic_restored():
            torch.set_deterministic_debug_mode(mode)
            flat, progress = mlp.network(0), Stopping()
            next(each for each in flat.network.modules() if isinstance(each, nn.Linear)).register_forward_hook(
                lambda module, arguments, output: Awkward.apply(output)
            )
            objective = OnCurve(mlp, flat, [end.tensors for end in ends], RECIPE, 0, CurveSettings(), progress)
            objective.begin_epoch(0)
            objective.clear()
            for piece in cut_batch(48, 2):
                rows = slice(piece.start, piece.stop)
                objective.step(inputs[rows], labels[rows], 0, 0, piece.number, piece.weight)
            found.append([gradient.clone() for gradient in objective.gradients()])
            assert len(progress.notes) == (mode == WARNS)
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_t_is_drawn_from_everywhere_and_is_one_for_ranks_with_common_statistics(mlp):
    ends = [end.tensors for end in ends_in(mlp)]
    objective = OnCurve(mlp, mlp.network(0), ends, RECIPE, 0, CurveSettings(), SILENT)
    assert len({objective.draw(0, 0, piece) for piece in range(4)}) == 4
    objective.settings = CurveSettings(sync_batchnorm=True)  # a single process refuses it
    assert len({objective.draw(0, 0, piece) for piece in range(4)}) == 1
    ts = torch.tensor([objective.draw(0, step, 0) for step in range(2000)])
    assert ts.histc(10, 0, 1).min() > 150


def test_the_bend_of_a_quadratic_loss_is_where_its_formula_says():
    """E_t |phi(t) - s|^2 is least at theta = (s / 3 - (a + b) / 10) 15 / 2, for the Bezier curve from a to b.

    Of E[w1] = 1/3, E[w0 w1] = 1/10 and E[w1^2] = 2/15; the covariance of the inputs is 1, so that no entry is slow.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = torch.linalg.qr(torch.randn(64, 3, generator=generator))[0] * 8
    solution = torch.tensor([[1.0, -2.0, 0.5]])
    data = {split: (sign * inputs, sign * inputs @ solution.T) for split, sign in (("train", 1), ("test", -1))}
    a, b = nn.Linear(3, 1, bias=False), nn.Linear(3, 1, bias=False)
    for number, network in enumerate((a, b)):
        nn.init.normal_(network.weight, generator=torch.Generator().manual_seed(number))
    settings = {"epochs": 600, "batch_size": 64, "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "schedule": "cosine"}
    settings |= {"recipe": "default", "augmentation": (), "alignment": None}
    [bend] = sc.curve(a, b, data=data, task="regression", normalise="none", **settings)
    a.requires_grad_(False), b.requires_grad_(False)
    expected = (solution / 3 - (a.weight + b.weight) / 10) * 15 / 2
    torch.testing.assert_close(bend.tensors["weight"], expected, rtol=0, atol=0.2)  # t is drawn
    path = sc.barrier(a, b, curve=bend, alignment=None, data=data, task="regression", normalise="none", points=5)
    for t, loss in zip(path.t, path.curves["train"].loss, strict=True):
        point = (1 - t) ** 2 * a.weight + 2 * t * (1 - t) * bend.tensors["weight"] + t**2 * b.weight
        assert loss == pytest.approx((point - solution).square().sum().item(), rel=1e-4)


@pytest.mark.parametrize("pauses", [[1], [4, 2], [5, 3]], ids=str)
def test_a_stopped_curve_ends_as_if_never_stopped(resnet, pauses):
    """With BatchNorm, and two bends."""
    arguments = (resnet, ends_in(resnet), RECIPE, 1, CurveSettings(form="polygon", bends=2))
    whole, state = train_curve(*arguments), Memory()
    for pause in pauses:
        with pytest.raises(Interrupted):
            train_curve(*arguments, state=state, progress=Stopping(pause))
    found = train_curve(*arguments, state=state)
    assert all(same(*pair) for pair in zip(whole.bends, found.bends, strict=True))
    assert (whole.metrics, whole.history) == (found.metrics, found.history)


def test_ends_stay_and_the_loss_falls(mlp):
    ends = ends_in(mlp)
    before = [dict(end.tensors) for end in ends]
    found = train_curve(mlp, ends, RECIPE.override(epochs=8, lr=0.1), 0)
    assert all(same(old, end.tensors) for old, end in zip(before, ends, strict=True))
    assert found.history[-1]["loss"] < found.history[0]["loss"]
    assert found.metrics[0]["curve"]["ends"] == [end.tensors_sha256 for end in ends]


def test_each_bend_records_the_ends_as_they_were_aligned_and_the_loss_of_the_last_epoch(mlp):
    ends, settings = ends_in(mlp), CurveSettings(bends=2, alignment=Alignment("weight"))
    found = train_curve(mlp, ends, RECIPE, 0, settings)
    [aligned] = Aligner(settings.alignment, mlp).tensors_of_all(ends[0], [ends[1]])
    hashes = [each.tensors_sha256 for each in (ends[0], Checkpoint(aligned, Metadata(), "aligned"), ends[1])]
    assert len({*hashes}) == 3
    expected = {"ends": hashes[:2], "loss": found.history[-1]["loss"]}
    assert [each["curve"] for each in found.metrics] == [expected] * 2


class Sloped(nn.Linear):
    """A layer times a buffer, which is no statistic."""

    def __init__(self, slope):
        super().__init__(3, 1)
        self.register_buffer("slope", torch.tensor(slope))

    def forward(self, input):
        return super().forward(input) * self.slope


def test_ends_whose_buffers_differ_are_refused_before_any_training():
    data, progress = (torch.randn(20, 3), torch.zeros(20, 1)), Stopping()
    where = {"data": {"train": data, "test": data}, "task": "regression", "normalise": "none", "progress": progress}
    settings = {"epochs": 1, "recipe": "default", "augmentation": (), "alignment": None, **where}
    with pytest.raises(StarcliError, match="the models differ in buffers"):
        sc.curve(Sloped(1.0), Sloped(2.0), **settings)
    assert progress.rows == []
    [bend] = sc.curve(Sloped(1.0), Sloped(2.0), average_buffers=True, **settings)
    assert "averaged like weights: slope" in progress.notes
    assert bend.tensors["slope"] == 1.5


@pytest.mark.parametrize("wrong", [{"form": "spline"}, {"bends": 0}, {"bends": 1.5}])
def test_wrong_settings(wrong):
    with pytest.raises(StarcliError):
        CurveSettings(**wrong)
