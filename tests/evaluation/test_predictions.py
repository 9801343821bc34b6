"""Predictions as arrays, tables and files: every number again, with all digits, and the same bytes."""

import csv
import io
import math
import pickle
import zipfile
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipys_entropy

from starcli.errors import StarcliError
from starcli.evaluation import prediction_files
from starcli.evaluation.column_predictions import ColumnPredictions
from starcli.evaluation.prediction_files import LINES, csv_pieces, npz_pieces, prediction_format
from starcli.evaluation.predictions import Predictions


def predictions(models: int = 1, count: int = 7, names: tuple[str, ...] = ("cat", "dog", "ü")) -> Predictions:
    generator = torch.Generator().manual_seed(0)
    logs = torch.randn(models, count, 3, generator=generator, dtype=torch.float64).log_softmax(-1)
    files = [f"{number}, odd.png" for number in range(count)]
    label = torch.arange(count) % 3
    return Predictions.of(
        {f"m{number}": each for number, each in enumerate(logs)}, label=label, file=files, class_names=names
    )


@pytest.mark.parametrize("models", [1, 2])
def test_arrays_are_numpys_and_scipys(models: int) -> None:
    found = predictions(models)
    assert found.probabilities.shape == ((7, 3) if models == 1 else (models, 7, 3))
    np.testing.assert_allclose(found.probabilities.sum(-1), 1)
    np.testing.assert_array_equal(found.prediction, found.probabilities.argmax(-1))
    np.testing.assert_allclose(found.entropy, scipys_entropy(found.probabilities, axis=-1), rtol=1e-12)
    assert len(found) == 7
    for number, row in enumerate(found.summaries()):
        mine = np.reshape(found.prediction, (models, 7))[number]
        assert row["accuracy"] == np.mean(mine == found.label)
        assert row["entropy"] == pytest.approx(np.mean(np.reshape(found.entropy, (models, 7))[number]))


def test_csv_has_every_digit_and_a_line_for_each_example_of_each_model() -> None:
    found = predictions(2, count=LINES + 3)
    rows = list(csv.DictReader(io.StringIO(b"".join(csv_pieces(found)).decode())))
    assert len(rows) == 2 * (LINES + 3)
    for place, row in enumerate(rows):
        model, number = divmod(place, LINES + 3)
        assert (row["model"], int(row["index"]), row["file"]) == (f"m{model}", number, found.file[number])
        assert [float(row[f"probability_{name}"]) for name in found.class_names] == list(
            found.probabilities[model, number]
        )
        assert float(row["entropy"]) == found.entropy[model, number]
        assert (int(row["label"]), row["label_name"]) == (number % 3, found.class_names[number % 3])
        assert row["prediction_name"] == found.class_names[int(row["prediction"])]


def test_what_models_disagree_on_stands_beside_the_entropy_of_their_mean() -> None:
    logs = torch.randn(4, 3, dtype=torch.float64).log_softmax(-1)
    apart = torch.tensor([0.5, 0.0, 0.25, 0.125], dtype=torch.float64)
    found = Predictions.of({"star": logs}, mutual_information=apart)
    rows = list(csv.DictReader(io.StringIO(b"".join(csv_pieces(found)).decode())))
    assert [float(row["mutual_information"]) for row in rows] == apart.tolist()
    assert list(rows[0])[:5] == ["model", "index", "prediction", "entropy", "mutual_information"]
    assert found.summaries()[0]["mutual_information"] == float(apart.mean())
    np.testing.assert_array_equal(found.arrays()["mutual_information"], apart.numpy())


def test_classes_without_names_are_numbers_and_labels_may_be_unknown() -> None:
    found = Predictions.of({"a": torch.tensor([[0.25, 0.75]]).double().log()})
    [heading, line] = b"".join(csv_pieces(found)).decode().splitlines()
    assert heading == "model,index,prediction,entropy,probability_0,probability_1"
    assert line == f"a,0,1,{float(found.entropy[0])!r},0.25,0.75"
    assert found.summaries()[0]["accuracy"] is None
    assert set(found.arrays()) == {"model", "index", "probabilities", "prediction", "entropy"}


def test_more_outputs_than_classes_have_no_names() -> None:
    assert predictions(names=("cat", "dog")).class_names == ()


def test_npz_holds_the_arrays_and_no_time_of_day() -> None:
    found = predictions(2)
    content = b"".join(npz_pieces(found))
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        assert set(stored) == set(found.arrays())
        for name, values in found.arrays().items():
            np.testing.assert_array_equal(stored[name], values)
    assert {info.date_time for info in zipfile.ZipFile(io.BytesIO(content)).infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_names_of_files_may_be_any_bytes() -> None:
    found = Predictions.of({"a": torch.zeros(1, 1)}, file=["\udcff.png"])
    assert b"\xff.png" in b"".join(csv_pieces(found))


def test_a_frame_of_names_that_are_no_text_has_them_or_says_that_it_cannot() -> None:
    """Since its third version pandas keeps words by pyarrow, where that is installed, and any words otherwise."""
    pandas = pytest.importorskip("pandas")
    found = Predictions.of({"a": torch.zeros(1, 1)}, file=["\udcff.png"])
    if int(pandas.__version__.partition(".")[0]) < 3 or find_spec("pyarrow") is None:
        assert list(found.to_frame()["file"]) == ["\udcff.png"]
    else:
        with pytest.raises(StarcliError, match=r"text in UTF-8, which the name \\udcff.png is not"):
            found.to_frame()


def test_certainty_has_no_entropy() -> None:
    found = Predictions.of({"a": torch.tensor([[0.0, -math.inf]], dtype=torch.float64)})
    assert found.entropy.tolist() == [0.0]


def test_predictions_that_are_no_numbers_are_wrong() -> None:
    logs = torch.tensor([[0.9, 0.1], [math.nan, math.nan]]).log()
    [row] = Predictions.of({"a": logs}, label=torch.tensor([0, 0])).summaries()
    assert row["accuracy"] == 0.5


def test_other_files_are_refused(tmp_path) -> None:
    with pytest.raises(StarcliError, match=r"\.parquett"):
        prediction_format(tmp_path / "a.parquett")
    with pytest.raises(StarcliError, match="unknown suffix"):
        prediction_format(tmp_path / "a")


def test_parquet_needs_two_packages(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_files.importlib.util, "find_spec", lambda name: None if name == "pyarrow" else 1)
    with pytest.raises(StarcliError, match="needs the package pyarrow"):
        prediction_format(tmp_path / "a.parquet")


def test_parquet_is_read_back(tmp_path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    found = predictions(2)
    content = b"".join(prediction_format(tmp_path / "a.parquet")(found))
    pandas.testing.assert_frame_equal(pandas.read_parquet(io.BytesIO(content)), found.to_frame())
    assert content == b"".join(prediction_format(tmp_path / "a.parquet")(found))


def test_a_frame_has_the_columns_of_the_csv() -> None:
    pytest.importorskip("pandas")
    found = predictions(2)
    frame = found.to_frame()
    assert list(frame.columns) == b"".join(csv_pieces(found)).decode().splitlines()[0].split(",")
    assert len(frame) == 14


def test_numbers_to_be_predicted_are_written_as_short_as_in_their_file() -> None:
    labels = torch.tensor([[0.1], [-576.3], [1e-8], [16777217.0], [1 / 3]])
    found = ColumnPredictions.of({"a": torch.zeros(5, 1)}, label=labels)
    rows = list(csv.DictReader(io.StringIO(b"".join(csv_pieces(found)).decode())))
    assert [row["label_0"] for row in rows[:3]] == ["0.1", "-576.3", "1e-08"]
    assert [np.float32(row["label_0"]) for row in rows] == labels[:, 0].tolist()


def test_labels_have_probabilities_and_numbers_say_that_they_have_none() -> None:
    outputs = {"a": torch.tensor([[0.0, 2.0]])}
    labels = ColumnPredictions.of(outputs, probabilities=True)
    np.testing.assert_allclose(labels.probabilities, outputs["a"].sigmoid())
    with pytest.raises(AttributeError, match="predictions of labels have no 'entropy'"):
        _ = labels.entropy
    with pytest.raises(AttributeError, match="predictions of numbers have no 'probabilities'"):
        _ = ColumnPredictions.of(outputs).probabilities
    again = pickle.loads(pickle.dumps(labels))
    np.testing.assert_array_equal(again.probabilities, labels.probabilities)
