"""Networks of the caller's own: what they are is not guessed, and what their owner does with them does not count."""

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from support.own_modules import Data, Net, modules
from support.tensors import same
from torch import Tensor, nn

import starcli as sc


class Scaled(nn.Module):
    """A network with a parameter that nothing draws anew."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.scale = nn.Linear(4, 8), nn.Linear(8, 3), nn.Parameter(torch.ones(8))

    def forward(self, inputs: Tensor) -> Any:
        return self.last(torch.relu(self.first(inputs)) * self.scale)


class Pair(Scaled):
    def forward(self, inputs: Tensor) -> Any:
        return super().forward(inputs), inputs


class Transformer(nn.Module):
    """Four numbers as two tokens of two."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.embed, self.encoder, self.head = nn.Linear(2, 8), nn.TransformerEncoder(layer, 2), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(inputs.reshape(-1, 2, 2))).mean(1))


def test_figures_are_those_of_a_loop_over_the_module(data: Data) -> None:
    a, b = modules(2)
    inputs, labels = data["test"]
    with torch.no_grad():
        logits = a.eval()(inputs)
        row = sc.evaluate(a, data=data)[0]
        assert row["accuracy"] == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
        assert row["nll"] == pytest.approx(float(nn.functional.cross_entropy(logits, labels)), abs=1e-6)
        # the middle of the line by hand: weights averaged, statistics of the whole training split
        middle, (train, classes) = Net(), data["train"]
        middle.load_state_dict(
            {n: (t + b.state_dict()[n]) / 2 for n, t in a.state_dict().items() if t.dim()}, strict=False
        )
        hidden = middle[0](train)
        middle[1].running_mean.copy_(hidden.mean(0))
        middle[1].running_var.copy_(hidden.var(0, unbiased=False))
        by_hand = float(nn.functional.cross_entropy(middle.eval()(train), classes))
        end = float(nn.functional.cross_entropy(a(train), classes))
    line = sc.barrier(a, b, data=data, points=3, alignment=None, statistics="own-ends")
    assert repr(line).startswith(f"Barrier(train {line.curves['train'].loss_barrier:.4g}, test ")
    found = line.curves["train"]
    assert found.loss[1] == pytest.approx(by_hand, rel=0.02)  # the variance is the unbiased one there
    assert found.loss[0] == pytest.approx(end, abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*is hardly a solution")  # stars of one epoch
def test_parameters_that_take_no_gradient_are_weights(data: Data) -> None:
    """A caller may freeze a network to measure it: its star was one of frozen averages, and no star."""
    sources = modules(2)
    found = sc.find_star(sources, data=data, recipe=sc.Recipe(epochs=2))
    for source in sources:
        source[0].requires_grad_(False)
    assert sc.find_star(sources, data=data, recipe=sc.Recipe(epochs=2)).sha256 == found.sha256
    loss = sc.evaluate(sources[0], data=data)[0]["nll"]
    assert sc.evaluate(sources[0].requires_grad_(False), data=data)[0]["nll"] == loss


def test_training_says_that_frozen_layers_are_drawn_anew_too(data: Data) -> None:
    network = modules(1)[0]
    network[0].requires_grad_(False)
    with pytest.warns(sc.StarcliWarning, match=r"^0.weight, 0.bias: no gradient, and drawn from the seed; init="):
        drawn = sc.train(network, data, epochs=1)
    kept = sc.train(network, data, init=network, recipe=sc.Recipe(epochs=1))
    for name in ("0.weight", "0.bias"):
        assert not torch.equal(drawn.tensors[name], network.state_dict()[name])
        assert torch.equal(kept.tensors[name], network.state_dict()[name])


@pytest.mark.filterwarnings("ignore:.*is hardly a solution")  # stars of one epoch
def test_results_do_not_change_with_the_modules(data: Data) -> None:
    sources = modules(2)
    star = sc.find_star(sources, data=data, recipe=sc.Recipe(epochs=1))
    kept = [{name: tensor.clone() for name, tensor in source.tensors.items()} for source in star.sources]
    for source in sources:
        for parameter in source.parameters():
            parameter.data.zero_()
    for before, after in zip(kept, star.sources, strict=True):
        assert same(before, after.tensors)


@pytest.mark.filterwarnings("ignore:the weights are .*float")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_types(data: Data, dtype: torch.dtype) -> None:
    a, b = (module.to(dtype) for module in modules(2))
    aligned = sc.align(a, b, data=data)
    assert aligned.tensors["0.weight"].dtype == dtype
    moved = torch.cat([aligned.tensors["0.weight"], aligned.tensors["0.bias"][:, None]], 1)
    own = torch.cat([b[0].weight, b[0].bias[:, None]], 1).detach()
    assert sorted(moved.tolist()) == sorted(own.tolist())  # rows change places, not values
    assert sc.evaluate(aligned)[0]["nll"] == pytest.approx(sc.evaluate(b, data=data)[0]["nll"], abs=1e-6)
    assert {parameter.dtype for parameter in a.parameters()} == {dtype}


@pytest.mark.filterwarnings("ignore:.*is hardly a solution")  # stars of one epoch
def test_a_transformer(data: Data) -> None:
    a, b = modules(2, Transformer)
    aligned = sc.align(a, b, data=data)
    assert aligned.to_dict()["moved"] > 0
    inputs = data["test"][0]
    assert torch.allclose(aligned.module()(inputs), b.eval()(inputs), atol=1e-5)
    assert len(sc.find_star([a, b], data=data, recipe=sc.Recipe(epochs=1), arch=Transformer).history) == 1


@pytest.mark.filterwarnings("ignore:regression sets")
@pytest.mark.parametrize("method", ["mean", "linear", "regmean", "ties"])
def test_modules_are_fused_by_every_kind_of_method(data: Data, method: str) -> None:
    """A module says what network it is: all but a star asked for `arch`."""
    *sources, base = modules(3)
    ends = {"base": base} if method == "ties" else {}
    fused = sc.fuse(sources, data=data, method=method, **ends)
    named = sc.fuse([source.state_dict() for source in sources], data=data, method=method, arch=Net, **ends)
    assert fused.sha256 == named.sha256
    with torch.no_grad():
        loss = nn.functional.cross_entropy(fused.module()(data["test"][0]), data["test"][1])
    shown = next(row for row in fused.comparison if (row["model"], row["split"]) == ("fused", "test"))
    assert shown["loss"] == pytest.approx(float(loss), abs=1e-6)
    with pytest.raises(sc.StarcliError, match="the weights do not fit the network"):
        sc.fuse([*sources[:1], *modules(1, Transformer)], data=data, method=method, **ends)


@pytest.mark.filterwarnings("ignore:.*is hardly a solution")  # stars of one epoch
def test_a_parameter_that_nothing_draws_needs_a_function(data: Data) -> None:
    sources = modules(2, Scaled)
    assert sc.align(*sources, data=data).to_dict()["moved"] > 0
    with pytest.raises(sc.StarcliError, match="no reset_parameters"):
        sc.find_star(sources, data=data, recipe=sc.Recipe(epochs=1))
    assert sc.find_star(sources, data=data, arch=Scaled, recipe=sc.Recipe(epochs=1)).metadata.kind == "star"


def test_models_of_networks_in_memory_are_pickled_and_go_on(data: Data) -> None:
    a, b = (sc.train(Net, data, epochs=1, seed=seed) for seed in (0, 1))
    again = pickle.loads(pickle.dumps(a))
    lines = [sc.barrier(each, b, points=3, alignment=None).to_dict() for each in (a, again)]
    assert lines[0] == lines[1]
    torch.save(a, kept := io.BytesIO())
    kept.seek(0)
    assert again.sha256 == torch.load(kept, weights_only=False).sha256 == a.sha256


class OfTanh(nn.Sequential):
    """Tensors of the same names and shapes as those of `Net`, and another function."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 3))


def test_models_of_two_networks_are_not_measured_by_one(data: Data) -> None:
    a, b = (sc.train(make, data, epochs=1, seed=seed) for seed, make in enumerate((Net, OfTanh)))
    for one, other in ((a, b), (a.module(), b.module()), (a.module(), b), (b, a.module())):
        with pytest.raises(sc.StarcliError, match="is of another network, whose tensors have the same names"):
            sc.barrier(one, other, data=data, points=3)
    alone = [sc.evaluate(each, data=data)[0]["nll"] for each in (a, a.module(), torch.compile(a.module()))]
    assert alone == [alone[0]] * 3
    assert sc.evaluate(a, a.module(), dict(a.tensors), data=data).column("nll") == alone


def test_a_spec_of_the_callers_own_is_used(data: Data) -> None:
    a, b = modules(2)
    with pytest.raises(sc.StarcliError, match=r"none\.yaml"):
        sc.align(a, b, data=data, spec="none.yaml")
    tensors = {name: ["h"] for name in ("0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var")}
    lines = [f"  {name}: [h]" for name in tensors]
    with open("own.yaml", "w") as file:
        print("format: 1", "tensors:", *lines, "  0.weight: [h, 4]", "  4.weight: [3, h]", sep="\n", file=file)
        print("  4.bias: [3]", "  1.num_batches_tracked: []", sep="\n", file=file)
    assert sc.align(a, b, data=data, spec="own.yaml").sha256 == sc.align(a, b, data=data).sha256


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda data: sc.train(Net, (data["train"][0], data["train"][1] + 5)),
            "outputs .3,. for inputs of 4, expected 8",
        ),
        (lambda data: sc.train(lambda: Net(8, 2), data), "expected 3 logits"),
        (lambda data: sc.train(Pair, data), "outputs tuple"),
        (lambda data: sc.evaluate(Pair(), data=data), "outputs tuple"),
        (lambda data: sc.train(lambda hidden: Net(hidden), data), "called without arguments"),
        (lambda data: sc.train(lambda: 3, data), "returned an int, expected a module"),
        (lambda data: sc.train(3, data), "an int is no network"),
        (lambda data: sc.train(None, data), "needs a network"),
        (lambda data: sc.train(Net, None), "needs data"),
        (lambda data: sc.train(nn.Flatten(), data), "no learnable parameter|outputs"),
        (lambda data: sc.train(Net().requires_grad_(False), data), "no learnable parameter\n.*requires_grad_.True."),
        (lambda data: sc.train(Net, data, arch_args={"hidden": 3}), "arch_args goes with a network by name"),
        (lambda data: sc.evaluate(nn.Sequential(nn.LazyLinear(3)), data=data), "0.weight has no values yet"),
        (
            lambda data: sc.train(lambda: nn.Sequential(nn.LazyLinear(3)), data),
            "0.weight has no values yet.*\n.*called on",
        ),
        (lambda data: sc.evaluate(Net().to("meta"), data=data), "0.weight has no values yet"),
        (lambda data: sc.evaluate({"model": {}, "epoch": 3}, arch=Net, data=data), r"tensors alone.*\n.*model: a dict"),
        (lambda data: sc.align(Net(), Net(9), data=data), "0.bias: shape .9,., the network has .8,"),
        (lambda data: sc.align(nn.Flatten(), nn.Flatten(), data=data), "no parameters|no learnable|outputs"),
    ],
    ids=map(str, range(18)),
)
@pytest.mark.filterwarnings("ignore::starcli.StarcliWarning")
def test_what_is_wrong_is_said(call: Any, words: str, data: Data) -> None:
    with pytest.raises(sc.StarcliError, match=words):
        call(data)


def test_other_data_and_a_star_that_is_no_solution_are_noted(data: Data) -> None:
    a, b, c = (sc.train(Net, data, epochs=20, batch_size=30, seed=seed) for seed in range(3))
    with pytest.warns(sc.StarcliWarning, match="not those that Net-0 was trained on") as noted:
        sc.evaluate(a, data=data["test"])
    assert noted[0].filename == __file__  # the line of the caller
    sc.align(a, b, data=data["test"])  # needs none: any other note would be an error here
    far = {**c.tensors, "4.weight": -c.tensors["4.weight"]}  # the same outputs with the other sign
    with pytest.warns(sc.StarcliWarning, match="model 0 is hardly a solution"):
        sc.star_report(far, [a, b], [c], points=3)


def test_a_network_without_units_to_rename_is_noted(data: Data) -> None:
    with pytest.warns(sc.StarcliWarning, match="alignment moves nothing"):
        assert sc.align(nn.Linear(4, 3), nn.Linear(4, 3), data=data).to_dict()["moved"] == 0


def test_a_softmax_at_the_end_is_noted(data: Data) -> None:
    [module] = modules(1)
    with pytest.warns(sc.StarcliWarning, match="probabilities, and they are taken as logits"):
        sc.evaluate(nn.Sequential(module, nn.Softmax(1)), data=data)
    with pytest.warns(sc.StarcliWarning, match="the network outputs probabilities"):
        sc.train(lambda: nn.Sequential(Net(), nn.Softmax(1)), data, recipe="default", epochs=1)
    # logarithms of probabilities are logits as well
    row = sc.evaluate(nn.Sequential(module, nn.LogSoftmax(1)), data=data)[0]
    assert row["nll"] == pytest.approx(sc.evaluate(module, data=data)[0]["nll"], abs=1e-6)


def test_more_outputs_than_classes_are_noted(data: Data) -> None:
    with pytest.warns(sc.StarcliWarning, match="the network has 5 logits for 3 classes of the data"):
        sc.evaluate(nn.Sequential(Net(), nn.Linear(3, 5)), data=data)


def test_compiled_networks_are_those_they_were_made_from(data: Data) -> None:
    a, b = modules(2)
    plain = sc.align(a, b, data=data)
    for arch in (None, lambda: torch.compile(Net())):
        aligned = sc.align(torch.compile(a), torch.compile(b), data=data, arch=arch)
        assert aligned.tensors.keys() == plain.tensors.keys()
        assert same(aligned.tensors, plain.tensors)
    [row] = sc.evaluate(torch.compile(a), data=data)
    assert row["nll"] == sc.evaluate(a, data=data)[0]["nll"]
    trained = sc.train(lambda: torch.compile(Net()), data, recipe="default", epochs=1)
    assert set(trained.tensors) == set(a.state_dict())


class Faint(Net):
    """With units beside it that have next to no effect."""

    def __init__(self) -> None:
        super().__init__()
        self.faint = nn.Linear(4, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        found = inputs
        for layer in [*self][:-1]:
            found = layer(found)
        return found + 1e-8 * self.faint(inputs).tanh().square().sum(1, keepdim=True)


def test_what_a_proof_cannot_decide_is_refused_of_a_file_and_left_out_of_a_derived_spec(
    data: Data, tmp_path: Path
) -> None:
    """As of networks by name."""
    a, b = Faint(), Faint()
    file = tmp_path / "faint.yaml"
    fixed = "".join(f"  {name}: []\n" for name in a.state_dict() if not name.startswith("faint"))
    file.write_text(f"format: 1\ntensors:\n{fixed}  faint.*: [few]\n")
    with pytest.raises(sc.StarcliError, match="could not decide"):
        sc.align(a, b, data=data, spec=str(file))
    assert sc.align(a, b, data=data, spec=str(file), unproved=True).tensors.keys() == a.state_dict().keys()
    aligned = sc.align(a, b, data=data)
    assert torch.equal(aligned.tensors["faint.weight"], b.state_dict()["faint.weight"])
    assert not torch.equal(aligned.tensors["0.weight"], b.state_dict()["0.weight"])
