"""Measured on other data, with the models' own beside them: as on one file with the training part of these."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.program import run_here

import starcli as sc
from starcli.data.dataset import Dataset, open_data
from starcli.data.in_memory import dataset_in_memory
from starcli.errors import StarcliError
from starcli.runtime.progress import Progress
from starcli.workspace.opening import with_test_split_of

PARTS = ("train", "val", "test")
TOLD = ("weights", "data", "train_data")


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`own.npz`, `new.npz` of darker images, and `joined.npz`: the parts of own but for test, which is of new."""
    root, digits = tmp_path_factory.mktemp("files"), open_data("digits")
    x, y = digits.train.raw.numpy().round().astype("uint8") * 15, digits.train.labels.numpy()  # type: ignore[attr-defined]
    rows = dict(zip(PARTS, (slice(200), slice(200, 260), slice(260, 320)), strict=True))

    def parts(of: Any) -> dict[str, Any]:
        return {f"{kind}_{part}": of(part)[number] for part in PARTS for number, kind in enumerate("xy")}

    def own(part: str) -> tuple[Any, Any]:
        return x[rows[part]], y[rows[part]]

    def new(part: str) -> tuple[Any, Any]:
        return x[400:][rows[part]] // 2, y[400:][rows[part]]

    np.savez(root / "own.npz", **parts(own))
    np.savez(root / "new.npz", **parts(new))
    np.savez(root / "joined.npz", **parts(lambda part: new(part) if part == "test" else own(part)))
    return root


@pytest.fixture(scope="module")
def models(place: Path) -> list[Any]:
    how: Any = {"arch_args": {"width": 2, "blocks": 1}, "epochs": 2, "progress": Notes()}
    return [sc.train("resnet", place / "own.npz", seed=seed, **how) for seed in (0, 1)]


@pytest.fixture(scope="module")
def files(place: Path, models: list[Any]) -> list[Path]:
    paths = [place / f"{number}.safetensors" for number in (0, 1)]
    for model, path in zip(models, paths, strict=True):
        sc.save(model, path)
    return paths


def rows_of(*line: object) -> list[dict[str, Any]]:
    ran = run_here(*line)
    assert ran.status == 0, ran.err
    return [{key: value for key, value in row.items() if key not in (*TOLD, "command")} for row in ran.rows]


@pytest.mark.parametrize(
    "line",
    [
        ("barrier", "--points", 3, "--align", "weight"),
        ("barrier", "--points", 3, "--align", "none", "--split", "validation"),
        ("eval", "--recalibrate", "--temperature", "fit"),
        ("eval", "--split", "validation"),
    ],
)
def test_on_the_command_line(place: Path, files: list[Path], line: tuple[Any, ...]) -> None:
    joined = rows_of(line[0], *files, *line[1:], "--data", place / "joined.npz")
    apart = rows_of(line[0], *files, *line[1:], "--data", place / "new.npz", "--train-data", place / "own.npz")
    assert apart == joined
    if "validation" not in line:
        assert apart != rows_of(line[0], *files, *line[1:], "--data", place / "own.npz")


def test_rows_say_both_data_and_nothing_is_recalled_of_others(place: Path, files: list[Path]) -> None:
    own, new = ("--train-data", place / "own.npz"), place / "new.npz"
    line = ("barrier", *files, "--points", 3, "--align", "none")
    ran = run_here(*line, "--data", new, *own)
    assert "BatchNorm statistics are estimated anew" not in ran.err
    [row] = ran.rows
    prints = {path.name: open_data(str(path)).fingerprint[:12] for path in (new, place / "own.npz")}
    assert row["data"] == {"name": "arrays", "fingerprint": prints["new.npz"]}
    assert row["train_data"] == {"name": "arrays", "fingerprint": prints["own.npz"]}
    [of_own] = run_here(*line, "--data", place / "own.npz").rows
    assert "train_data" not in of_own
    assert of_own["train"] == row["train"]
    assert of_own["test"] != row["test"]
    assert run_here(*line, "--data", new, *own).rows == [row]
    without = run_here(*line, "--data", new)
    assert "--train-data names the models' own data" in without.err
    assert without.rows[0]["train"] != row["train"]


def test_from_python(place: Path, models: list[Any]) -> None:
    apart: Any = {"data": place / "new.npz", "train_data": place / "own.npz", "progress": Notes()}
    joined: Any = {"data": place / "joined.npz", "progress": Notes()}
    star = sc.find_star(models, epochs=1, progress=Notes())

    def plain(table: Any) -> list[dict[str, Any]]:
        return [{key: value for key, value in row.items() if key not in TOLD} for row in table]

    found, expected = (
        [
            *plain(sc.bma(star, models, samples=2, repeats=1, alignment="weight", **where)),
            *plain(sc.evaluate(*models, recalibrate=True, **where)),
            *plain([sc.surface(models[0], points=3, **where).to_dict()]),
            sc.predict(models[0], recalibrate=True, temperature="fit", **where).probabilities.tolist(),
        ]
        for where in (apart, joined)
    )
    assert found == expected


def test_in_memory_beside_a_file(place: Path, models: list[Any]) -> None:
    """Inputs in memory are as they are given: here as the model's own are normalised."""
    new = open_data(str(place / "new.npz"))
    record = models[0].metadata.data
    images, labels = next(iter(new.normalised(record.mean, record.std).test.batches(1000)))
    kept: Any = {"train_data": place / "own.npz", "recalibrate": True, "progress": Notes()}
    [one] = sc.evaluate(models[0], data=(images.clone(), labels.clone()), **kept)
    [other] = sc.evaluate(models[0], data=place / "new.npz", **kept)
    assert one["nll"] == pytest.approx(other["nll"], rel=1e-6)


def test_in_memory_both_are_normalised_alike_if_at_all() -> None:
    """By the statistics of the training data, not each by its own."""
    inputs, labels = torch.rand(40, 3, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
    own, new = (inputs[:20], labels[:20]), (5 * inputs[20:] + 3, labels[20:])
    model = sc.train("mlp", own, epochs=1, normalise="data", progress=Notes())
    how: Any = {"normalise": "data", "progress": Notes()}
    [apart] = sc.evaluate(model, data=new, train_data=own, **how)
    [joined] = sc.evaluate(model, data={"train": own, "test": new}, **how)
    assert apart["nll"] == joined["nll"]


def test_a_note_says_where_training_data_are_not_the_models_own(place: Path, files: list[Path]) -> None:
    """The two names in the wrong order among them."""
    other = "not the data that 0.safetensors was trained on, but normalised as those were"
    new, joined = (f"{place / name}: {other}" for name in ("new.npz", "joined.npz"))
    for tested, own, notes in (
        ("new.npz", "own.npz", [f"note: {new}"]),
        ("own.npz", "new.npz", [f"note: --train-data: {new}"]),
        ("joined.npz", "new.npz", [f"note: --train-data: {new}", f"note: {joined}"]),
    ):
        ran = run_here("eval", files[0], "--data", place / tested, "--train-data", place / own)
        assert [line for line in ran.err.splitlines() if "not the data" in line] == notes


def test_a_test_part_alone_stands_for_no_training_part_where_there_is_one(place: Path, files: list[Path]) -> None:
    with np.load(place / "new.npz") as new:
        np.savez(place / "alone.npz", x_test=new["x_test"], y_test=new["y_test"])
    noted = run_here("eval", files[0], "--data", place / "alone.npz")
    assert "no training part in it: x_test stands for it too" in noted.err
    beside = run_here("eval", files[0], "--data", place / "alone.npz", "--train-data", place / "own.npz")
    assert "no training part" not in beside.err


def test_columns_in_another_order_are_refused_where_no_record_puts_them_right(tmp_path: Path) -> None:
    rows = [(n % 7, n % 3, n % 2) for n in range(60)]
    for name, order in (("own", (0, 1, 2)), ("new", (1, 0, 2))):
        lines = [",".join(str(each[at]) for at in order) for each in (("a", "b", "label"), *rows)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    data = {name: f"table:{tmp_path}/{name}.csv" for name in ("own", "new")}
    model = sc.train("mlp", data["own"], epochs=1, progress=Notes())
    how: Any = {"arch": "mlp", "train_data": data["own"], "progress": Notes()}
    weights = {name: tensor.clone() for name, tensor in model.tensors.items()}
    with pytest.raises(StarcliError, match="not for the same models") as caught:
        sc.evaluate(weights, data=data["new"], **how)
    assert list(caught.value.problems) == ["columns: b, a of data, a, b of train_data"]
    [reordered], [same] = (sc.evaluate(model, data=data[each], **{**how, "arch": None}) for each in ("new", "own"))
    assert reordered["nll"] == same["nll"]


def test_tokens_that_the_model_does_not_know_are_refused_and_fewer_are_not() -> None:
    tokens, labels = torch.arange(48).reshape(12, 4), torch.arange(12) % 2
    own: Any = (tokens, labels)
    model = sc.train("bag", own, epochs=1, progress=Notes())
    with pytest.raises(StarcliError, match="token 57, the model knows 0 to 47"):
        sc.evaluate(model, data=(tokens + 10, labels), train_data=own, progress=Notes())
    assert len(sc.evaluate(model, data=(tokens[:5], labels[:5]), train_data=own, progress=Notes())) == 1
    texts = dataset_in_memory((tokens, None))
    assert with_test_split_of(texts, dataset_in_memory((tokens[:5], None))).tested is not None
    with pytest.raises(StarcliError, match="not for the same models"):
        with_test_split_of(texts, dataset_in_memory((tokens + 10, None)))


def test_training_examples_in_another_file_are_counted(place: Path, files: list[Path]) -> None:
    ran = run_here("eval", files[0], "--data", place / "own.npz", "--train-data", place / "own.npz")
    assert "training examples too" not in ran.err
    with np.load(place / "own.npz") as own:
        x, y = own["x_train"], own["y_train"]
    np.savez(place / "seen.npz", x_train=x[:50], y_train=y[:50], x_test=x[100:130], y_test=y[100:130])
    ran = run_here("eval", files[0], "--data", place / "seen.npz", "--train-data", place / "own.npz")
    assert "note: arrays: all 30 test examples are training examples too" in ran.err


def in_memory(shape: tuple[int, ...], classes: int) -> Dataset:
    return dataset_in_memory((torch.rand(8, *shape), torch.arange(8) % classes))


def test_what_does_not_go_together_is_refused(place: Path, files: list[Path]) -> None:
    with pytest.raises(StarcliError, match="not for the same models") as caught:
        with_test_split_of(in_memory((4,), 2), in_memory((5,), 3))
    assert list(caught.value.problems) == [
        "shape of an input: (5,) of --data, (4,) of --train-data",
        "outputs: 3 of --data, 2 of --train-data",
    ]
    assert with_test_split_of(in_memory((4,), 3), in_memory((4,), 2)).tested is not None  # some of the classes
    ran = run_here("barrier", *files, "--train-data", place / "own.npz", "--data", "nowhere.npz")
    assert ran.status == 1
    assert "nowhere.npz" in ran.err
    ran = run_here("bma", "--star", files[0], "--sources", *files, "--train-data", "nowhere.npz", "--data", "digits")
    assert ran.status == 1
    assert "nowhere.npz" in ran.err
