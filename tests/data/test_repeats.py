"""Test examples that are training examples too are counted as comparing all pairs would, and said."""

import warnings

import numpy as np
import pytest
import torch
from support.data import three_classes
from support.program import run_here

import starcli as sc
from starcli.data import repeats
from starcli.data.dataset import open_data
from starcli.data.in_memory import dataset_in_memory
from starcli.data.normalisation import Normalisation
from starcli.data.repeats import repeated_examples, repeats_notes
from starcli.data.splits import MemorySplit
from starcli.data.text_options import TextOptions


def split(inputs: torch.Tensor, labels: torch.Tensor) -> MemorySplit:
    return MemorySplit(inputs, labels, Normalisation(1.0, (0.0,), (1.0,)))


def in_all_pairs(tested: MemorySplit, train: MemorySplit) -> int:
    """The oracle: every test example against every training example."""
    return sum(
        any(
            torch.equal(x, other) and torch.equal(y, label)
            for other, label in zip(train.raw, train.labels, strict=True)
        )
        for x, y in zip(tested.raw, tested.labels, strict=True)
    )


@pytest.mark.parametrize("shape", [(3,), (1, 2, 4), (1, 3, 3)])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.int64])
@pytest.mark.parametrize("columns", [None, 2])
def test_as_many_as_comparing_all_pairs_finds(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], kind: torch.dtype, columns: int | None
) -> None:
    """Few values, so that inputs repeat within and across splits, some of them with another label."""
    monkeypatch.setattr(repeats, "PIECE_BYTES", 64)
    generator = torch.Generator().manual_seed(0)

    def part(count: int) -> MemorySplit:
        base = torch.randint(0, 2, (40, *shape), generator=generator).to(kind)
        labels = torch.randint(0, 2, (count,) if columns is None else (count, columns), generator=generator)
        return split(base[torch.arange(count) % 40], labels if columns is None else labels.float())

    tested, train = part(60), part(25)
    expected = in_all_pairs(tested, train)
    assert 0 < expected < 60
    assert repeated_examples(tested, train) == expected
    assert repeated_examples(tested, tested) == 60


def test_unequal_rows_of_equal_keys_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "_keys", lambda parts: np.zeros(len(parts[0]), dtype=np.int64))
    rows, labels = torch.rand(4, 3), torch.zeros(4, dtype=torch.int64)
    assert repeated_examples(split(rows[1:], labels[1:]), split(rows[:1], labels[:1])) == 0


def test_examples_of_other_types_or_shapes_are_others() -> None:
    rows, labels = torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64)
    for other in (rows.to(torch.uint8), torch.zeros(3, 8), torch.zeros(3, 2, 2)):
        assert repeated_examples(split(rows, labels), split(other, labels)) == 0


def test_masked_texts_are_compared_as_they_were() -> None:
    """One text, masked at another place each time."""
    text, mask = torch.tensor([[5, 6, 7, 8]]), 1

    def masked(place: int) -> MemorySplit:
        labels = torch.full((1, 4), -1)
        labels[0, place] = text[0, place]
        return split(text.where(labels < 0, mask), labels)

    assert repeated_examples(masked(0), masked(2), masked=True) == 1
    assert repeated_examples(masked(0), masked(2)) == 0


def test_notes_count_what_is_measured_on() -> None:
    x, y = three_classes(0)
    parts = {"train": (x[:60], y[:60]), "validation": (x[50:70], y[50:70]), "test": (x[40:60], y[40:60])}
    data = dataset_in_memory(parts)
    words = "examples are training examples too: figures on them are too good"
    assert repeats_notes(data, *data.measured) == (
        f"data in memory: 10 of 20 validation {words}",
        f"data in memory: all 20 test {words}",
    )
    assert repeats_notes(data, "train") == ()
    assert repeats_notes(dataset_in_memory((x, y)), "test") == ()  # one for all purposes
    assert repeats_notes(dataset_in_memory({"train": (x, y), "test": (x, y)}), "test") == ()  # the same in other words
    assert repeats_notes(data.normalised([0.5], [2.0]), "validation") == repeats_notes(data, "validation")


def test_the_shipped_digits_have_none() -> None:
    data = open_data("digits", val_fraction=0.1)
    assert repeats_notes(data, *data.measured) == ()


def test_texts_are_compared_as_they_are_read(tmp_path) -> None:
    """Those that differ only behind the tokens that are read are one example for a model."""
    rows = [f"abcd {number:02},{number % 2}" for number in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *rows]))
    cut, whole = (open_data(f"text:{tmp_path / 't.csv'}", texts=TextOptions(length=length)) for length in (4, 12))
    assert "text: all 8 test examples are training examples too" in repeats_notes(cut, "test")[0]
    assert repeats_notes(whole, "test") == ()


def test_what_trains_or_measures_says_it_once(tmp_path) -> None:
    x, y = (each.numpy() for each in three_classes(0))
    place, model = tmp_path / "leak.npz", tmp_path / "model.safetensors"
    np.savez(place, x_train=x[:60], y_train=y[:60], x_test=x[55:], y_test=y[55:])
    note = "note: arrays: 5 of 35 test examples are training examples too"
    ran = run_here("train", "--arch", "mlp", "--data", place, "--epochs", 1, "-o", model)
    assert ran.err.count(note) == 1, ran.err
    others = tmp_path / "other.safetensors"
    assert run_here("train", "--arch", "mlp", "--data", place, "--epochs", 1, "--seed", 1, "-o", others).status == 0
    for line in (
        ("eval", model),
        ("predict", model, "-o", tmp_path / "predictions.csv"),
        ("barrier", model, others, "--points", 3),
        ("fuse", "--method", "mean", "--sources", model, others, "-o", tmp_path / "mean.safetensors"),
        ("star", "--sources", model, others, "--epochs", 1, "-o", tmp_path / "star.safetensors"),
        ("fuse", "--sources", model, others, "--epochs", 1, "-o", tmp_path / "fused.safetensors"),
        ("curve", model, others, "--epochs", 1, "-o", tmp_path / "curve.safetensors"),
    ):
        ran = run_here(*line, "--data", place)
        assert (ran.status, ran.err.count(note)) == (0, 1), ran.err
    assert note not in run_here("eval", model, "--data", place, "--split", "train").err
    for of_python in (
        lambda: sc.evaluate(model, data=place),
        lambda: sc.find_star([model, others], data=place, epochs=1),
        lambda: sc.curve(model, others, data=place, epochs=1),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            of_python()
        assert sum("training examples too" in str(each.message) for each in caught) == 1
