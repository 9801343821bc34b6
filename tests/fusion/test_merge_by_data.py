"""Means weighted by data: against closed formulas, least squares, and the definition of Fisher information."""

import numpy as np
import pytest
import torch
from support.training import Stopping, small
from torch import nn
from torch.nn.functional import conv1d, conv2d

import starcli as sc
from starcli.alignment.alignment import Alignment
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Metadata
from starcli.evaluation.tasks.task import task_named
from starcli.fusion.fusing import Fusion, fuse_sources
from starcli.fusion.input_products import input_products
from starcli.fusion.merge_by_data import fisher_information
from starcli.merging import data_weighted
from starcli.merging.data_weighted import fisher_mean, regression_mean
from starcli.models.flat_network import FlatNetwork
from starcli.registry.tasks import CLASSES, MULTI_LABEL, REGRESSION
from starcli.runtime.progress import Interrupted


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_fisher_mean():
    x, f = draws(3, 20).double(), draws(3, 20, seed=1).double().square()
    expected = (f * x).numpy().sum(0) / f.numpy().sum(0)
    np.testing.assert_allclose(fisher_mean(list(x), list(f)).numpy(), expected, rtol=1e-9)


def test_the_regression_mean_solves_the_least_squares_of_all_models(monkeypatch):
    monkeypatch.setattr(data_weighted, "OFF_DIAGONAL", 1.0)
    monkeypatch.setattr(data_weighted, "RIDGE", 0.0)
    inputs, weights = [draws(40, 6, seed=k).double() for k in (1, 2)], [draws(4, 6, seed=k).double() for k in (3, 4)]
    found = regression_mean(weights, [x.T @ x for x in inputs])
    outputs = np.concatenate([(x @ w.T).numpy() for x, w in zip(inputs, weights, strict=True)])
    expected = np.linalg.lstsq(np.concatenate([x.numpy() for x in inputs]), outputs, rcond=None)[0].T
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8, atol=1e-10)


def test_the_regression_mean_shrinks_what_is_off_the_diagonal():
    inputs, weights = [draws(40, 6, seed=k).double() for k in (1, 2)], [draws(4, 6, seed=k).double() for k in (3, 4)]
    products = [(x.T @ x).numpy() for x in inputs]
    shrunk = [0.9 * each + 0.1 * np.diag(np.diag(each)) for each in products]
    expected = sum(w.numpy() @ g for w, g in zip(weights, shrunk, strict=True)) @ np.linalg.inv(sum(shrunk))
    found = regression_mean(weights, [torch.from_numpy(each) for each in products])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-6)
    nothing = regression_mean(weights, [torch.zeros(6, 6)] * 2)
    np.testing.assert_allclose(nothing.numpy(), (weights[0] + weights[1]).numpy() / 2)


class Mixed(nn.Module):
    """Grouped and dilated convolutions, a linear layer over places, a weight of shape (inputs, outputs)."""

    def __init__(self):
        super().__init__()
        self.two = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)
        self.round = nn.Conv2d(6, 2, 2, padding=1, padding_mode="circular")
        self.one = nn.Conv1d(2, 3, 3, dilation=2, padding=2)
        self.linear = nn.Linear(3, 5)
        self.weight = nn.Parameter(draws(5, 2))

    def forward(self, x):
        x = self.one(self.round(self.two(x)).flatten(2))
        return (self.linear(x.movedim(1, 2)) @ self.weight).mean(1)


def test_products_are_those_of_what_each_weight_reads():
    """|W x|^2 over all positions is tr(W G W^T): of any weight, not the network's own."""
    torch.manual_seed(0)
    network, read = Mixed().eval(), {}
    for name in ("two", "round", "one", "linear"):
        getattr(network, name).register_forward_pre_hook(lambda _, args, name=name: read.update({name: args[0]}))
    batch = draws(7, 4, 8, 8)
    found = input_products(FlatNetwork(network), [batch[:3], batch[3:]])
    network(batch)

    circular = nn.functional.pad(read["round"], (1, 1, 1, 1), mode="circular")
    outputs = {
        "two": lambda w: conv2d(read["two"], w, stride=2, padding=1, groups=2),
        "round": lambda w: conv2d(circular, w),
        "one": lambda w: conv1d(read["one"], w, dilation=2, padding=2),
        "linear": lambda w: read["linear"] @ w.T,
    }
    assert sorted(found) == ["linear.weight", "one.weight", "round.weight", "two.weight", "weight"]
    for name, compute in outputs.items():
        weight, products = torch.randn_like(getattr(network, name).weight), found[f"{name}.weight"].products
        rows = weight.double().reshape(len(products), -1, products.shape[-1])
        energy = torch.einsum("goi,gij,goj->", rows, products, rows)
        assert float(energy) == pytest.approx(compute(weight).double().square().sum().item(), rel=1e-5), name
    assert found["weight"].transposed


def test_fisher_information_is_the_expectation_of_squared_scores():
    """Of a linear model, in closed form: E_y (p_c - 1[y = c])^2 x^2 = p_c (1 - p_c) x^2."""
    torch.manual_seed(0)
    flat, x = FlatNetwork(nn.Linear(3, 2, bias=False)), draws(1, 3)
    examples = ((x, torch.zeros(1, dtype=torch.int64)) for _ in range(4000))
    found = fisher_information(flat, examples, task_named(CLASSES), 2, torch.Generator().manual_seed(0))["weight"]
    p = flat.network(x).softmax(1)[0].detach().double()
    np.testing.assert_allclose(found, torch.outer(p * (1 - p), x[0].double().square()), rtol=0.1)


@pytest.mark.parametrize("task", [MULTI_LABEL, REGRESSION])
def test_fisher_information_of_labels_and_of_numbers(task):
    """Of a linear model, in closed form: p_c (1 - p_c) x^2 of labels, x^2 of numbers whose errors have variance 1."""
    torch.manual_seed(0)
    flat, x = FlatNetwork(nn.Linear(3, 2, bias=False)), draws(1, 3)
    examples = ((x, torch.zeros(1, 2)) for _ in range(4000))
    found = fisher_information(flat, examples, task_named(task), 0, torch.Generator().manual_seed(0))["weight"]
    p = flat.network(x).sigmoid()[0].detach().double()
    variance = p * (1 - p) if task == MULTI_LABEL else torch.ones(2).double()
    np.testing.assert_allclose(found, torch.outer(variance, x[0].double().square()), rtol=0.1)


@pytest.mark.parametrize("method", ["fisher", "regmean"])
@pytest.mark.parametrize("name", ["mlp", "resnet"])
def test_of_one_model_twice_it_is_that_model(name, method):
    arguments = {"hidden_dim": 8} if name == "mlp" else {"width": 4, "stages": 2}
    workspace = small(name, limit=70, **arguments)
    model = Checkpoint(workspace.network(0).state(), Metadata(), "a")
    how = Fusion(method=method, alignment=Alignment("none"), seed=0)
    found = fuse_sources(workspace, [model, model], how, progress=Stopping()).tensors
    for key in workspace.spec.resolved.learnable():
        torch.testing.assert_close(found[key], model.tensors[key], rtol=1e-4, atol=1e-5)


class Own:
    """Three sources of a small network, each with data of its own: of other scales, other places of its inputs."""

    sources = 3

    def __init__(self, *, alike: bool) -> None:
        """Rows of the last layer are `alike`: then all classes are as likely as each other, whatever the input."""
        scales = torch.tensor([[3.0, 0.1, 1, 1, 2], [0.1, 3, 1, 0.5, 1], [1, 1, 3, 0.1, 0.3]])
        self.inputs = [draws(60 + 20 * k, 5, seed=k) * scales[k] + k for k in range(self.sources)]
        self.weights = [draws(2, 5, seed=9 + k) for k in range(self.sources)]
        if alike:
            self.weights = [each[:1].expand(2, 5).contiguous() for each in self.weights]

    def data(self, k):
        return {split: (self.inputs[k], torch.arange(len(self.inputs[k])) % 2) for split in ("train", "test")}

    def fused(self, method, models, network, **how):
        quiet = {"alignment": None, "arch": network, "progress": Stopping()}
        return sc.fuse(models, method=method, **quiet, **how)


def test_fisher_weighs_each_source_on_its_own_data():
    """Of a linear model whose two classes are equally likely F is E x^2 / 4, whichever classes are drawn."""
    own = Own(alike=True)
    models = [{"weight": weight, "bias": torch.full((2,), float(k))} for k, weight in enumerate(own.weights)]
    all_data = [own.data(k) for k in range(own.sources)]
    found = own.fused("fisher", models, lambda: nn.Linear(5, 2), source_data=all_data)
    squares = np.stack([np.square(each.double().numpy()).mean(0) / 4 for each in own.inputs])[:, None]
    weights = np.stack([each.double().numpy() for each in own.weights])
    expected = (squares * weights).sum(0) / squares.sum(0)
    np.testing.assert_allclose(found.tensors["weight"], expected, rtol=1e-5)
    np.testing.assert_allclose(found.tensors["bias"], [1.0, 1.0], rtol=1e-6)
    shared = own.fused("fisher", models, lambda: nn.Linear(5, 2), data=all_data[0])
    np.testing.assert_allclose(shared.tensors["weight"], weights.mean(0), rtol=1e-5)  # there all F are the same
    kept = found.metadata.recipe["fused"]["source_data"]
    assert len({each["fingerprint"] for each in kept}) == 3
    assert found.metadata.data.name == "joined"


def test_regmean_weighs_each_source_on_its_own_data():
    """Both layers by the paper's formula in NumPy, on what each source's own layers read of its own examples."""
    own = Own(alike=False)
    models = [
        {"0.weight": draws(4, 5, seed=20 + k), "0.bias": draws(4, seed=30 + k), "2.weight": draws(2, 4, seed=40 + k),
         "2.bias": draws(2, seed=50 + k)} for k in range(own.sources)
    ]  # fmt: skip
    every = own.data(2)
    data = {"train": every["train"], "test": own.data(0)["test"]}
    how = {"source_data": [own.data(k) for k in range(own.sources)], "data": data}
    found = own.fused("regmean", models, lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)), **how)
    read = {"0.weight": [], "2.weight": []}
    for model, inputs in zip(models, own.inputs, strict=True):
        arrays = {name: tensor.double().numpy() for name, tensor in model.items()}
        x = inputs.double().numpy()
        read["0.weight"].append(x)
        read["2.weight"].append(np.maximum(x @ arrays["0.weight"].T + arrays["0.bias"], 0))
    for name, inputs in read.items():
        products = [x.T @ x for x in inputs]
        shrunk = [0.9 * each + 0.1 * np.diag(np.diag(each)) for each in products]
        moved = sum(model[name].double().numpy() @ each for model, each in zip(models, shrunk, strict=True))
        np.testing.assert_allclose(found.tensors[name], moved @ np.linalg.inv(sum(shrunk)), rtol=1e-3, atol=1e-5)
    mean = sum(model["2.bias"] for model in models) / 3
    torch.testing.assert_close(found.tensors["2.bias"], mean)
    assert {row["model"] for row in found.comparison if "data_of" in row} == set()  # all are measured on `data`


@pytest.mark.parametrize("examples", [7, 256])
@pytest.mark.parametrize("method", ["fisher", "regmean"])
def test_the_same_data_for_each_are_those_of_all(monkeypatch, method, examples):
    """And of these the same examples, where there are more than are looked at."""
    monkeypatch.setattr("starcli.fusion.merge_by_data.EXAMPLES", examples)
    own = Own(alike=False)
    models = [{"weight": each, "bias": torch.zeros(2)} for each in own.weights]
    data, network = own.data(0), lambda: nn.Linear(5, 2)
    said, shared = ({"source_data": [data] * 3}, {"data": data})
    found = [own.fused(method, models, network, **how).tensors for how in (said, shared)]
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())


def test_batchnorm_of_a_source_is_that_of_its_own_data():
    """Behind BatchNorm E x^2 is (n - 1) / n of n examples, whatever their scale, by their own mean and variance."""
    own = Own(alike=True)

    def network():
        return nn.Sequential(nn.BatchNorm1d(5, eps=1e-12, affine=False), nn.Linear(5, 2))

    state = {**network().state_dict(), "1.bias": torch.zeros(2)}
    models = [{**state, "1.weight": weight} for weight in own.weights]
    found = own.fused("fisher", models, network, source_data=[own.data(k) for k in range(own.sources)])
    counts = np.array([len(each) for each in own.inputs])
    expected = np.average([each.numpy() for each in own.weights], axis=0, weights=1 - 1 / counts)
    np.testing.assert_allclose(found.tensors["1.weight"], expected, rtol=1e-4, atol=1e-6)
    every = torch.cat(own.inputs).double()  # the merged model's are those of all
    torch.testing.assert_close(found.tensors["0.running_mean"].double(), every.mean(0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.tensors["0.running_var"].double(), every.var(0), rtol=1e-5, atol=1e-5)


def test_no_example_is_looked_at_alone():
    """Of 33 examples, 32 at a time, one would be left, of which BatchNorm knows no variance."""
    workspace = small("mlp", limit=33, hidden_dim=8, batch_norm="all")
    models = [Checkpoint(workspace.network(seed).state(), Metadata(), str(seed)) for seed in (0, 1)]
    how = Fusion(method="regmean", alignment=Alignment("none"), seed=0)
    assert all(tensor.isfinite().all() for tensor in fuse_sources(workspace, models, how).tensors.values())


class Counted(Stopping):
    """Counts the steps of what is announced, and may ask to stop when some task is."""

    def __init__(self, stop_at: str = ""):
        super().__init__()
        self.stop_at, self.totals, self.steps = stop_at, {}, {}

    def start(self, task, total):
        self.task, self.totals[task] = task, total
        self.stop_signal = 2 if task == self.stop_at else 0

    def step(self, count=1, **figures):
        self.steps[self.task] = self.steps.get(self.task, 0) + count


@pytest.mark.parametrize(("method", "task"), [("fisher", "Fisher information"), ("regmean", "inputs of layers")])
def test_each_source_is_a_step_and_a_run_can_be_stopped_before_each(method, task):
    own = Own(alike=False)
    models = [{"weight": each, "bias": torch.zeros(2)} for each in own.weights]
    where = {"alignment": None, "arch": lambda: nn.Linear(5, 2), "data": own.data(0)}
    watcher = Counted()
    sc.fuse(models, method=method, progress=watcher, **where)
    assert watcher.totals[task] == watcher.steps[task] == 3
    assert any("regression sets 83.3% of the parameters" in note for note in watcher.notes) == (method == "regmean")
    stopped = Counted(task)
    with pytest.raises(Interrupted):
        sc.fuse(models, method=method, progress=stopped, **where)
    assert task not in stopped.steps
