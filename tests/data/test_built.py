"""Data that a function of the user's own makes, named on the command line."""

from pathlib import Path

import pytest
import torch
from support.data import refused

import starcli as sc
from starcli.data.dataset import open_data
from starcli.data.names import needs_path, parse_name
from starcli.data.text_options import TextOptions
from starcli.errors import StarcliError

CODE = '''
import torch
from torch.utils.data import DataLoader, TensorDataset

X = torch.arange(120.0).reshape(40, 3) / 60 - 1

def classes():
    """A loader for training, a data set for testing."""
    y = torch.arange(40) % 3
    return {"train": DataLoader(TensorDataset(X, y), batch_size=7, shuffle=True), "test": TensorDataset(X[:9], y[:9])}

def numbers():
    return X, X[:, :2] * 2 + 0.1

TOKENS = torch.arange(60).reshape(10, 6) % 7

def tokens():
    return {"train": (TOKENS, None), "test": (TOKENS[:3], None)}

def moved_by_one():
    return {"train": (TOKENS[:, :-1], TOKENS[:, 1:]), "test": TensorDataset(TOKENS[:3, :-1], TOKENS[:3, 1:])}

def masked():
    return {"train": (TOKENS.clamp(max=4), TOKENS), "test": (TOKENS[:3], TOKENS[:3])}

def fails():
    raise ValueError("no such table")

def nothing():
    return None
'''


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "built_data.py"
    path.write_text(CODE)
    return path


def test_a_function_makes_data(code: Path) -> None:
    data = open_data(f"{code}:classes", val_fraction=0.25)
    assert (data.name, data.num_classes, data.task) == ("build", 3, "classes")
    assert [len(part) for part in (data.train, data.validation, data.test) if part] == [30, 10, 9]
    numbers = open_data(f"{code}:numbers")
    assert (numbers.task, len(numbers.train), len(numbers.test)) == ("regression", 32, 8)
    assert "a fifth is held out" in numbers.notes[0]
    assert open_data(f"{code}:classes").fingerprint == data.fingerprint


def test_a_function_makes_tokens_to_be_predicted(code: Path) -> None:
    """As of a file of tokens, without `--task` where labels are none or the tokens moved by one."""
    whole, moved = open_data(f"{code}:tokens"), open_data(f"{code}:moved_by_one")
    for data, length in ((whole, 6), (moved, 5)):
        assert (data.task, data.vocab_size, data.num_classes, data.input_shape) == ("next-token", 7, 7, (length,))
    assert moved.train.labels.tolist() == whole.train.labels[:, :-1].tolist()
    named = open_data(f"{code}:masked", texts=TextOptions(task="masked-token"))
    assert (named.task, named.vocab_size, named.train.labels.shape) == ("masked-token", 7, (10, 6))


def test_faults_are_one_error_and_say_where(code: Path) -> None:
    refused(lambda: open_data(f"{code}:fails"), "cannot be built", "no such table", "built_data.py")
    refused(lambda: open_data(f"{code}:nothing"), "expected (inputs, labels)")
    refused(lambda: open_data(f"{code}:numers"), "no callable 'numers'; did you mean numbers?")
    refused(lambda: open_data("not_there.py:build"), "there is no file not_there.py")
    assert parse_name("my_package.data:build") == ("build", "my_package.data:build")
    assert needs_path("build")
    assert needs_path("x.py:build")


def test_no_file_names_code(code: Path) -> None:
    """A model says that its data were built, not by what."""
    with pytest.warns(sc.StarcliWarning, match="all 9 test examples are training examples too"):
        model = sc.train("mlp", f"{code}:classes", epochs=1)
    assert model.metadata.data is not None
    assert "built_data" not in model.metadata.to_text()
    with pytest.warns(sc.StarcliWarning, match="all 9 test examples are training examples too"):
        row = sc.evaluate(model, data=f"{code}:classes")[0]
    assert row["accuracy"] == model.metadata.metrics["test"]["accuracy"]
    sc.save(model, code.parent / "m.safetensors")
    with pytest.raises(StarcliError, match="trained on data of a function"):
        sc.evaluate(code.parent / "m.safetensors")


def test_floats_and_loaders_in_python_are_the_same(code: Path) -> None:
    pair = (torch.arange(120.0).reshape(40, 3) / 60 - 1, torch.arange(40) % 3)
    found = open_data(f"{code}:classes")
    torch.testing.assert_close(found.train.raw, pair[0])
    assert found.train.labels.tolist() == pair[1].tolist()
