"""Several data sets as one: their examples, each as its own network takes them, in order."""

import numpy as np
import pytest
import torch

from starcli.data.dataset import Dataset, open_data
from starcli.data.in_memory import dataset_in_memory
from starcli.data.joined import joined_data
from starcli.errors import StarcliError
from starcli.workspace.data import record_of


def inputs_of(dataset: Dataset, split: str) -> torch.Tensor:
    return torch.cat([inputs for inputs, _ in dataset.split(split).batches(50)])


def drawn(seed: int, size: int = 6, classes: int = 3) -> Dataset:
    draws = np.random.default_rng(seed)
    parts = {
        role: (draws.normal(size=(count, size)).astype(np.float32), np.arange(count) % classes)
        for role, count in (("train", 20), ("test", 8))
    }
    return dataset_in_memory(parts)


@pytest.mark.parametrize("how", [{}, {"normalise": "0.5:0.25"}])
def test_examples_stand_one_behind_the_other_as_networks_take_them(how):
    parts = [open_data("digits", limit=40), open_data("digits", limit=60, val_fraction=0.5, **how)]
    found = joined_data([("a", parts[0]), ("b", parts[1])])
    for split in ("train", "test"):
        assert torch.equal(inputs_of(found, split), torch.cat([inputs_of(each, split) for each in parts]))
        assert torch.equal(found.split(split).labels, torch.cat([each.split(split).labels for each in parts]))
    assert found.validation is None
    assert (record_of(found).mean == []) == bool(how)  # no single normalisation is theirs
    whole = joined_data([("a", parts[1]), ("b", open_data("digits", limit=80, val_fraction=0.25, **how))])
    assert whole.validation is not None
    assert len(whole.validation) == 30 + 20


def test_the_fingerprint_tells_which_data_and_which_part_of_them():
    some, other, part = drawn(0), drawn(1), open_data("digits", limit=40)
    marks = {
        joined_data([("a", one), ("b", two)]).fingerprint
        for one, two in ((some, other), (other, some), (part, open_data("digits")), (part, part))
    }
    assert len(marks) == 4
    assert joined_data([("a", some)]) is some


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (drawn(1, size=5), "shape of an input: (6,) of a, (5,) of b"),
        (dataset_in_memory((torch.rand(9, 6), torch.rand(9))), "what is predicted: classes of a, regression of b"),
        (dataset_in_memory((torch.arange(12).reshape(2, 6), torch.tensor([0, 1]))), "no tokens: True of a, False of b"),
    ],
)
def test_what_no_model_takes_together_is_refused(other, said):
    with pytest.raises(StarcliError) as caught:
        joined_data([("a", drawn(0)), ("b", other)])
    assert said in caught.value.problems
