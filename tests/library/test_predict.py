"""sc.predict: on inputs in memory, for modules, state dicts and models that the library made."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import starcli as sc


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture(scope="module")
def data() -> dict[str, TensorDataset]:
    generator = torch.Generator().manual_seed(0)

    def part(count: int) -> TensorDataset:
        labels = torch.randint(3, (count,), generator=generator)
        return TensorDataset(torch.rand(count, 12, generator=generator) + labels[:, None] / 3, labels)

    return {"train": part(60), "validation": part(30), "test": part(40)}


def test_inputs_in_memory_are_predicted_as_torch_does(data):
    torch.manual_seed(0)
    module = network()
    module(data["train"].tensors[0])  # other statistics than the first
    module.eval()
    x, y = data["test"].tensors
    expected = module(x).double().softmax(1).detach().numpy()
    for model, more in ((module, {}), (module.state_dict(), {"arch": network()})):
        for inputs in (x, x.numpy(), x.double()):
            found = sc.predict(model, data=inputs, **more)
            np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
            assert found.label is None
    labelled = sc.predict(module, data=DataLoader(data["test"], batch_size=7))
    np.testing.assert_allclose(labelled.probabilities, expected, atol=1e-6)
    np.testing.assert_array_equal(labelled.label, y)
    assert labelled.summaries()[0]["accuracy"] == sc.evaluate(module, data=data)[0]["accuracy"]


def test_a_star_of_the_library_predicts_on_inputs_alone(data):
    """Statistics are estimated from the data that it was made with."""
    models = [sc.train(network, data, seed=seed, epochs=6) for seed in (0, 1)]
    star = sc.find_star(models, epochs=6)
    x = data["test"].tensors[0]
    words = {"star": star, "sources": models, "samples": 2, "temperature": "fit"}
    alone, labelled = sc.predict(**words, data=x), sc.predict(**words)
    np.testing.assert_array_equal(alone.probabilities, labelled.probabilities)
    assert alone.temperature == labelled.temperature
    [row] = [row for row in sc.bma(star, models, samples=2, repeats=1) if row["posterior"] == "star"]
    plain = sc.predict(star=star, sources=models, samples=2)
    chosen = plain.probabilities[np.arange(40), plain.label]
    assert -np.log(chosen).mean() == pytest.approx(row["nll"], rel=1e-12)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda model, data: sc.predict(data=data), "takes models, or a star"),
        (lambda model, data: sc.predict(model, star=model, sources=[model], data=data), "takes models, or a star"),
        (lambda model, data: sc.predict(model, ensemble=True, data=data), "at least two"),
        (lambda model, data: sc.predict(model, data=torch.rand(2, 12), split="test"), "leave out split"),
        (lambda model, data: sc.predict(model, train_data=data), "train_data goes with data: the data that"),
        (lambda model, data: sc.predict(model, data=torch.ones(2, 12, dtype=torch.int64)), "finite floats or uint8"),
        (lambda model, data: sc.predict(model, data=torch.full((2, 12), torch.nan)), "finite floats or uint8"),
        (lambda model, data: sc.predict(model, data=data, renormalise="repair"), "they need a star"),
        (lambda model, data: sc.predict(model, data=data, renormalise_logits=True), "they need a star"),
        (lambda model, data: sc.predict(model, data=data, renormalise="repiar"), "repiar"),
        (lambda model, data: sc.predict(model, data=data, temperature=0), "a number above 0, or fit"),
        (
            lambda model, data: sc.predict(model, data={"train": data["train"]}, temperature="fit"),
            '"validation": ...} gives one',
        ),
    ],
)
def test_what_cannot_be_predicted(data, call, said):
    with pytest.raises(sc.StarcliError, match=said):
        call(network(), data)
