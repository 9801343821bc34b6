"""Data in memory: every form that holds the same examples is the same data, and what is left out is never silent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import starcli as sc
from starcli.data.in_memory import dataset_in_memory

INPUTS = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(40) % 3
TOKENS = torch.arange(60).reshape(10, 6) % 7
SAME = dataset_in_memory((INPUTS, LABELS)).fingerprint
"""The hash of these examples in this order."""


class Examples(Dataset[Any]):
    """The examples one by one, each as `form` makes it."""

    def __init__(self, form: Any = lambda x, y: (x, int(y)), count: int = 40) -> None:
        self.form, self.count = form, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> Any:
        return self.form(INPUTS[place], LABELS[place])


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(zip(INPUTS, LABELS.tolist(), strict=True))


def whole_batches() -> "TensorDataset":
    """A data set whose items are batches."""
    return TensorDataset(INPUTS.reshape(4, 10, 4), LABELS.reshape(4, 10))


def stacked(batch: Any) -> Any:
    return torch.stack([x for x, _ in batch]), [y for _, y in batch]


def of_dictionaries(batch: Any) -> Any:
    return torch.stack([each["x"] for each in batch]), torch.stack([each["y"] for each in batch])


@pytest.mark.parametrize("role", ["train", "test"])
def test_random_transforms_are_noted_by_part(role: str) -> None:
    draws = np.random.RandomState(0)  # without a seed 8 examples come twice as the same ones, 1 in 256 times
    flipped = Examples(lambda x, y: (x if draws.rand() < 0.5 else -x, int(y)))
    found = dataset_in_memory({"train": Examples(), "validation": (INPUTS, LABELS), role: DataLoader(flipped)})
    assert [note for note in found.notes if "other ones each time" in note and f"of {role} are" in note]
    assert not dataset_in_memory({"train": Examples(), "test": DataLoader(Examples())}).notes
    by_name = DataLoader(Examples(lambda x, y: {"x": flipped.form(x, y)[0], "y": y}), collate_fn=of_dictionaries)
    assert any("other ones each time" in note for note in dataset_in_memory(by_name).notes)


@pytest.mark.parametrize(
    "examples",
    [
        Examples(),
        Examples(lambda x, y: [x, y]),
        Examples(lambda x, y: (x.numpy(), int(y))),
        Examples(lambda x, y: (x.double(), y.to(torch.int32))),
        Stream(),
        list(zip(INPUTS, LABELS.tolist(), strict=True)),
        Subset(Examples(), range(40)),
        DataLoader(Examples(), batch_size=7, shuffle=True, drop_last=True, collate_fn=stacked),
        DataLoader(Examples(), batch_sampler=BatchSampler(RandomSampler(range(40)), 7, drop_last=False)),
        DataLoader(Examples(), batch_size=None, shuffle=True),
        DataLoader(whole_batches(), batch_size=None),
        DataLoader(Stream(), batch_size=9, drop_last=True),
        DataLoader(Examples(lambda x, y: {"x": x, "y": y}), batch_size=7, collate_fn=of_dictionaries),
        {"train": (INPUTS, LABELS), "test": None},
        (INPUTS.numpy(), LABELS.numpy()),
        (INPUTS.numpy().astype(">f8"), LABELS.numpy().astype("uint16")),
        (np.ascontiguousarray(INPUTS.numpy()[::-1])[::-1], LABELS),
        (INPUTS.to_sparse(), LABELS.numpy()),
    ],
    ids=map(str, range(18)),
)
def test_the_same_examples_are_the_same_data(examples: Any) -> None:
    assert dataset_in_memory(examples).fingerprint == SAME


def test_tables_of_pandas_are_numbers() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(INPUTS.numpy(), columns=list("abcd"), index=range(100, 140))  # whose index does not count
    assert dataset_in_memory((table, pandas.Series(LABELS.numpy()))).fingerprint == SAME
    whole = pandas.DataFrame({"age": [30, 41, 0, 52], "rooms": [2, 3, 0, 1]})
    found = dataset_in_memory((whole, pandas.DataFrame({"price": [0.5, 1.5, 2.0, 0.1]})))
    assert (found.task, found.train.raw.dtype, found.vocab_size) == ("regression", torch.float32, None)
    with pytest.raises(sc.StarcliError, match=r"other things than numbers: town$"):
        dataset_in_memory((whole.assign(town="Kiel"), LABELS[:4]))


def test_truth_values_beside_numbers_in_a_table_are_0_and_1() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"age": [30.5, 41, 0, 52], "town": ["Kiel", "Ulm", "Kiel", "Ulm"]})
    table = pandas.get_dummies(table)  # truth values for each town
    found = dataset_in_memory((table, pandas.Series([True, False, True, True], dtype="boolean")))
    assert found.train.raw.tolist() == [[30.5, 1, 0], [41, 0, 1], [0, 1, 0], [52, 0, 1]]
    assert found.train.labels.tolist() == [1, 0, 1, 1]
    with pytest.raises(sc.StarcliError, match=r"an array of object, expected numbers$"):
        dataset_in_memory((table.assign(rooms=pandas.array([1, None, 2, 3], dtype="Int64")), LABELS[:4]))


@pytest.mark.parametrize("form", [lambda x, y: (x, y), TensorDataset], ids=["pair", "data set"])
def test_bfloat16_is_read_as_its_numbers(form: Any) -> None:
    rounded = INPUTS.bfloat16()
    found, same = (dataset_in_memory(form(x, LABELS)) for x in (rounded, rounded.float()))
    assert found.fingerprint == same.fingerprint


class Recurrent(nn.Module):
    """Sequences (N, length, numbers)."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.last = nn.GRU(3, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.recurrent(inputs)[0][:, -1])


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (Recurrent, (7, 3)),
        (lambda: nn.Sequential(nn.Conv1d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(30, 2)), (3, 7)),
        (lambda: nn.Sequential(nn.Conv3d(1, 6, 2), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)), (1, 3, 3, 3)),
    ],
    ids=["sequences", "signals", "volumes"],
)
def test_inputs_of_any_shape(network: Any, shape: tuple[int, ...]) -> None:
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, *shape, generator=draws)
    data = dict.fromkeys(("train", "test"), (inputs, (inputs.flatten(1).sum(1) > 0).long()))
    a, b = (sc.train(network, data, epochs=1, seed=seed) for seed in (0, 1))
    aligned = sc.align(a, b, method="activation")
    assert aligned.to_dict()["moved"] > 0
    with torch.no_grad():
        expected = b.module().eval()(inputs)
        torch.testing.assert_close(aligned.module().eval()(inputs), expected, atol=1e-5, rtol=0)
        loss = float(nn.functional.cross_entropy(expected, data["train"][1]))
    assert sc.barrier(a, aligned, points=3).curves["train"].loss[2] == pytest.approx(loss, abs=1e-6)


def test_inputs_that_are_predicted_may_be_a_table() -> None:
    pandas = pytest.importorskip("pandas")
    model = sc.train("mlp", dict.fromkeys(("train", "test"), (INPUTS, LABELS)), epochs=1)
    found = sc.predict(model, data=pandas.DataFrame(INPUTS.numpy()))
    assert np.array_equal(found.probabilities, sc.predict(model, data=INPUTS).probabilities)


def test_reading_draws_nothing_from_the_generator_of_the_caller() -> None:
    before = torch.get_rng_state()
    dataset_in_memory(DataLoader(Examples(), batch_size=7, shuffle=True))
    dataset_in_memory(DataLoader(Stream(), batch_size=7))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(Examples(), sampler=SubsetRandomSampler(range(30))),
        DataLoader(Examples(), sampler=WeightedRandomSampler([1.0] * 40, 40)),
        DataLoader(Examples(), sampler=RandomSampler(range(40), num_samples=20)),
        DataLoader(Examples(), sampler=RandomSampler(range(40), replacement=True)),
        DataLoader(Examples(), batch_sampler=[[0, 1], [2, 3]]),
    ],
    ids=["some", "weighted", "few", "replaced", "listed"],
)
def test_a_loader_that_draws_some_examples_is_refused(loader: Any) -> None:
    """To read the whole data set would put examples into training that the caller keeps for the test."""
    with pytest.raises(sc.StarcliError, match=r"draws examples by a .*\n.*Subset"):
        dataset_in_memory(loader)


def broken(x: Any, y: Any) -> Any:
    raise RuntimeError("a bug of the caller")


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        ([INPUTS, LABELS], "found a list of Tensor, Tensor"),
        ((INPUTS.numpy(), LABELS.numpy(), LABELS), "found a tuple of ndarray, ndarray, Tensor"),
        (INPUTS.numpy(), r"found an ndarray\n.*\(tokens, None\)"),
        ((INPUTS, np.array(["a", "b"])), r"train, labels: an array of <U1, expected numbers\n.*return_inverse"),
        (((10 * INPUTS).long(), LABELS), r"inputs.float\(\) makes numbers of them"),
        ((INPUTS, LABELS.tolist()), "found a tuple of Tensor, list"),
        (iter([(INPUTS[0], 1)]), "found a list_iterator"),
        ({"train": None}, "found a NoneType"),
        (INPUTS, r"found a Tensor\n.*\(tokens, None\)"),
        (Examples(lambda x, y: {"x": x, "y": y}), "a dict of 2, expected a pair"),
        (Examples(lambda x, y: (x, y, 0)), "a list of 3, expected a pair"),
        (Examples(lambda x, y: (x[: 1 + y], y)), "stack expects each tensor to be equal size"),
        (Examples(lambda x, y: (object(), y)), "found <class 'object'>"),
        (Examples(broken), "a bug of the caller"),
        (Examples(count=0), "there are no examples"),
        ((TOKENS, TOKENS), "a label for each token: say the task, next-token or masked-token"),
        ((INPUTS[:0], LABELS[:0]), r"inputs of shape \(0, 4\)"),
        ((INPUTS, LABELS[:30]), "30 labels for 40 inputs"),
        ((INPUTS, LABELS - 1), "label -1"),
        ((INPUTS * np.nan, LABELS), "NaN or infinite"),
        ({"train": (INPUTS, LABELS), 3: (INPUTS, LABELS)}, "unknown 3"),
    ],
    ids=map(str, range(20)),
)
def test_what_is_wrong_is_said(examples: Any, words: str) -> None:
    with pytest.raises(sc.StarcliError, match=words):
        dataset_in_memory(examples)


def test_val_is_short_for_validation():
    parts = {"train": (INPUTS, LABELS), "test": (INPUTS[:9], LABELS[:9])}
    short, long = (dataset_in_memory({**parts, word: (INPUTS[9:], LABELS[9:])}) for word in ("val", "validation"))
    assert short.fingerprint == long.fingerprint
    assert torch.equal(short.split("validation").labels, LABELS[9:])
    with pytest.raises(sc.StarcliError, match="unknown val"):
        dataset_in_memory({**parts, "val": (INPUTS, LABELS), "validation": (INPUTS, LABELS)})


def test_a_test_part_alone_says_what_to_give():
    with pytest.raises(sc.StarcliError, match="data=examples, not data="):
        sc.evaluate(torch.nn.Linear(4, 3), data={"test": (INPUTS, LABELS)})
    network = torch.nn.Linear(4, 3)
    accuracy = (network(INPUTS).argmax(1) == LABELS).float().mean()
    assert sc.evaluate(network, data=(INPUTS, LABELS))[0]["accuracy"] == pytest.approx(float(accuracy))


def test_an_image_size_is_of_folders_by_name():
    with pytest.raises(sc.StarcliError, match="image_size goes with data by name"):
        sc.train(torch.nn.Linear(4, 3), (INPUTS, LABELS), image_size=8)
    with pytest.raises(
        sc.StarcliError, match="image_size is for folders and shards of images, and digits has its own size"
    ):
        sc.train("mlp", "digits", image_size=8)
    with pytest.raises(sc.StarcliError, match="image_size=0: expected an integer from 1 up"):
        sc.train("mlp", "digits", image_size=0)


def _houses(*names: str) -> Any:
    """A table of random columns, each known by its name wherever it stands."""
    pandas = pytest.importorskip("pandas")
    draws = {name: np.random.RandomState(ord(name)).randn(30) for name in "abcxy"}
    return pandas.DataFrame({name: draws[name] for name in names})


@pytest.mark.filterwarnings("ignore::starcli.StarcliWarning")
@pytest.mark.parametrize("test", [("b", "a"), ("a", "c")], ids=["in another order", "another one"])
def test_columns_of_a_table_are_those_of_training(test: tuple[str, ...], tmp_path: Path) -> None:
    ab, other, y = _houses("a", "b"), _houses(*test), _houses("x")
    asked = {"train": (ab, y), "test": (other, y)}
    with pytest.raises(sc.StarcliError, match="in memory, test, inputs: its columns are not those of train"):
        dataset_in_memory(asked)
    two, swapped = _houses("x", "y"), _houses("y", "x")
    with pytest.raises(sc.StarcliError, match="test, labels: its columns"):
        dataset_in_memory({"train": (ab, two), "test": (ab, swapped)})
    model = sc.train("mlp", (ab, y), epochs=1)
    sc.save(model, tmp_path / "m.safetensors")
    for each in (model, tmp_path / "m.safetensors"):
        calls = [lambda table, m=each: sc.evaluate(m, data=(table, y)), lambda table, m=each: sc.predict(m, data=table)]
        for call in calls:
            with pytest.raises(sc.StarcliError, match=rf"{test[0]}, {test[1]} here, a, b there"):
                call(other)
            for same in (_houses(*"ba")[["a", "b"]], ab.to_numpy(), ab.set_axis([0, 1], axis=1)):
                call(same)  # by name, and where nothing is known of the columns


@pytest.mark.filterwarnings("ignore::starcli.StarcliWarning")
def test_a_model_of_a_table_in_memory_finds_its_columns_in_a_file(tmp_path: Path) -> None:
    ab, y = _houses("a", "b"), _houses("x")
    model = sc.train("mlp", {"train": (ab, y), "test": (ab, y)}, epochs=2)
    _houses("x", "b", "a").to_csv(tmp_path / "test.csv", index=False)
    found = sc.evaluate(model, data=f"table:{tmp_path}", label_column="x")[0]
    assert found["loss"] == pytest.approx(sc.evaluate(model)[0]["loss"], rel=1e-6)
    of_array = sc.train(
        "mlp", {"train": (ab.to_numpy(), y.to_numpy()), "test": (ab.to_numpy(), y.to_numpy())}, epochs=2, seed=1
    )
    assert sc.barrier(model, of_array, points=3).curves["train"].loss_barrier >= 0  # the same examples


@pytest.mark.filterwarnings("ignore::starcli.StarcliWarning")
def test_columns_that_are_predicted_keep_their_names() -> None:
    ab, xy = _houses("a", "b"), _houses("x", "y")
    model = sc.train("mlp", {"train": (ab, xy), "test": (ab, xy)}, epochs=2)
    found = sc.predict(model).to_frame()
    assert found["label_y"].tolist() == pytest.approx(xy["y"].tolist(), rel=1e-6)
    mine = ((found["prediction_x"] - xy["x"]) ** 2 + (found["prediction_y"] - xy["y"]) ** 2).mean() / 2
    assert sc.evaluate(model, data=(ab, xy))[0]["loss"] == pytest.approx(mine, rel=1e-5)
    with pytest.raises(sc.StarcliError, match="in memory, labels: its columns are not those of mlp-0"):
        sc.evaluate(model, data=(ab, xy[["y", "x"]]))
