"""Data in memory: every form that holds the same examples is the same data, and what is left out is never silent."""

from typing import Any

import numpy as np
import pytest
import torch
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
    ],
    ids=map(str, range(14)),
)
def test_the_same_examples_are_the_same_data(examples: Any) -> None:
    assert dataset_in_memory(examples).fingerprint == SAME


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
        ((INPUTS.numpy(), LABELS.numpy()), "found a tuple of ndarray, ndarray"),
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
    ids=map(str, range(17)),
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
