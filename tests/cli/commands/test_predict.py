"""starcli predict: the numbers of eval and bma, one example at a time; inputs without labels; files as asked for."""

import csv
import io
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.stats import entropy as scipys_entropy
from support.program import run_here
from support.refused import refused

import starcli as sc
from starcli.data.dataset import open_data


def arrays(path) -> dict[str, np.ndarray]:
    with np.load(path) as found:
        return dict(found)


def nll(found) -> float:
    return float(-np.log(found["probabilities"][np.arange(len(found["label"])), found["label"]]).mean())


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_model_predicts_what_eval_measures(solutions, split):
    ran = run_here("predict", solutions[0], "--split", split, "-o", "p.npz")
    [row], [measured] = ran.rows, run_here("eval", solutions[0], "--split", split).rows
    found = arrays("p.npz")
    assert nll(found) == pytest.approx(measured["nll"], rel=1e-12)
    assert (found["prediction"] != found["label"]).sum() == measured["errors"]
    assert row["accuracy"] == pytest.approx(measured["accuracy"])
    assert row["count"] == len(found["index"])
    assert row["weights"] == measured["weights"]
    assert sc.predict(solutions[0], split=split).probabilities.tolist() == found["probabilities"].tolist()


def test_a_star_domain_predicts_as_bma_does(solutions, star):
    """The same points for the same seed: the row of bma, and of its temperature."""
    words = ("--star", star, "--sources", *solutions.some(0, 1, 2), "--samples", 3, "--seed", 5)
    rows = run_here("bma", *words, "--repeats", 1, "--temperature", "fit").rows
    [expected] = [row for row in rows if (row["posterior"], row["samples"]) == ("star", 3)]
    [row_of_domain] = run_here("predict", *words, "-o", "s.npz").rows
    found = arrays("s.npz")
    assert nll(found) == pytest.approx(expected["nll"], rel=1e-12)
    assert (found["prediction"] != found["label"]).sum() == expected["errors"]
    [row] = run_here("predict", *words, "--temperature", "fit", "-o", "t.npz").rows
    assert row["temperature"] == expected["temperature"]
    assert nll(arrays("t.npz")) == pytest.approx(expected["scaled"]["nll"], rel=1e-12)
    assert 0 < row_of_domain["mutual_information"] < row_of_domain["entropy"]
    assert "mutual_information" not in row
    by_library = sc.predict(star=star, sources=solutions.some(0, 1, 2), samples=3, seed=5)
    assert by_library.probabilities.tolist() == found["probabilities"].tolist()


def test_an_ensemble_is_the_mean_of_what_its_models_predict(solutions):
    run_here("predict", *solutions.some(0, 1, 2), "-o", "each.npz")
    [row] = run_here("predict", *solutions.some(0, 1, 2), "--ensemble", "-o", "all.npz").rows
    each, together = arrays("each.npz"), arrays("all.npz")
    assert each["model"].tolist() == ["0.safetensors", "1.safetensors", "2.safetensors"]
    np.testing.assert_allclose(together["probabilities"], each["probabilities"].mean(0), rtol=1e-12)
    assert len(row["weights"]) == 3
    apart = scipys_entropy(together["probabilities"], axis=-1) - scipys_entropy(each["probabilities"], axis=-1).mean(0)
    np.testing.assert_allclose(together["mutual_information"], apart, atol=1e-12)
    assert row["mutual_information"] == pytest.approx(apart.mean())
    assert apart.mean() > 0.01
    assert "mutual_information" not in each
    ran = run_here("predict", *solutions.some(0, 1, 2), "--ensemble", "--recalibrate", "-o", "re.npz")
    plain = run_here("eval", *solutions.some(0, 1, 2), "--recalibrate").rows
    assert ran.status == 0
    again = run_here("predict", *solutions.some(0, 1, 2), "--recalibrate", "-o", "re-each.npz")
    assert again.rows[1]["accuracy"] == pytest.approx(plain[1]["accuracy"])
    np.testing.assert_allclose(arrays("re.npz")["probabilities"], arrays("re-each.npz")["probabilities"].mean(0))


def test_csv_to_stdout_is_that_of_the_file(solutions, place):
    ran = run_here("predict", *solutions.some(0, 1), "-o", "-")
    assert ran.err.count('"type": "predict"') == 2
    first = run_here("predict", *solutions.some(0, 1), "-o", "p.csv")
    assert (place / "p.csv").read_text() == ran.out
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert len(rows) == 720
    assert rows[-1]["model"] == "1.safetensors"
    before = (place / "p.csv").read_bytes()
    refused(run_here("predict", solutions[0], "-o", "p.csv"), "p.csv: exists; --force overwrites it")
    again = run_here("predict", *solutions.some(0, 1), "-o", "p.csv")
    assert (again.status, "p.csv: finished already" in again.err, again.rows) == (0, True, first.rows)
    assert (place / "p.csv").read_bytes() == before
    assert run_here("predict", *solutions.some(0, 1), "-o", "p.csv", "--force").status == 0
    assert (place / "p.csv").read_bytes() == before


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_digits_without_their_labels(solutions, place, suffix, dtype):
    images = open_data("digits").test.raw.to(dtype)
    path = place / f"new.{suffix}"
    np.savez(path, images=images.numpy()) if suffix == "npz" else save_file({"images": images}, path)
    ran = run_here("predict", solutions[0], "--data", path, "-o", "p.npz")
    assert ran.status == 0, ran.err
    assert ran.rows[0]["accuracy"] is None
    found = arrays("p.npz")
    assert "label" not in found
    assert run_here("predict", solutions[0], "-o", "q.npz").status == 0
    assert found["probabilities"].tolist() == arrays("q.npz")["probabilities"].tolist()
    model = sc.load(solutions[0])
    inputs = (images.float() / 16 - model.metadata.data.mean[0]) / model.metadata.data.std[0]
    with pytest.warns(sc.StarcliWarning, match="taken as they are"):
        expected = sc.predict(model, data=inputs)
    np.testing.assert_allclose(found["probabilities"], expected.probabilities, atol=1e-6)
    np.savez("bright.npz", images=images.numpy() * 15)
    refused(run_here("predict", solutions[0], "--data", "bright.npz", "-o", "r.npz"), "values up to 240", "end at 16")


def test_a_star_domain_on_inputs_without_labels(solutions, star, place):
    """BatchNorm statistics are of the models' own data: for the digits themselves, what bma's inputs give."""
    images = np.random.default_rng(0).integers(0, 17, (5, 8, 8), dtype=np.uint8)
    np.savez("new.npz", images=images)
    words = ("predict", "--star", star, "--sources", *solutions.some(0, 1), "--samples", 2, "--data", "new.npz")
    ran = run_here(*words, "-o", "p.npz")
    assert ran.status == 0, ran.err
    assert arrays("p.npz")["probabilities"].shape == (5, 10)
    refused(run_here(*words, "--split", "test", "-o", "q.npz"), "leave out --split")


def test_statistics_come_from_the_models_own_data(place):
    """Data at a path have to be named again; predictions are then those of the same images with labels."""
    images = np.random.default_rng(0).integers(0, 256, (30, 1, 8, 8), dtype=np.uint8)
    np.savez("own.npz", train_images=images, train_labels=np.arange(30) % 3, test_images=images[:9],
             test_labels=np.arange(9) % 3)  # fmt: skip
    np.savez("new.npz", images=images[:9].transpose(0, 2, 3, 1))
    words = ("--arch", "resnet", "--arch-arg", "width=4", "--data", "own.npz", "--epochs", 1, "-o", "m.safetensors")
    assert run_here("train", *words).status == 0
    words = ("predict", "m.safetensors", "--recalibrate", "--data")
    refused(run_here(*words, "new.npz", "-o", "p.npz"), "--train-data is needed")
    ran = run_here(*words, "new.npz", "--train-data", "own.npz", "-o", "p.npz")
    assert ran.status == 0, ran.err
    assert run_here(*words, "own.npz", "-o", "q.npz").status == 0
    assert arrays("p.npz")["probabilities"].tolist() == arrays("q.npz")["probabilities"].tolist()


@pytest.fixture
def flat(place):
    """Images right in a folder, one of another size, beside a file that is none."""
    folder, rng = place / "new", np.random.default_rng(0)
    folder.mkdir()
    for name, side in (("b.png", 8), ("a.png", 8), ("c.png", 11)):
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_folder_without_class_folders(flat, place):
    """As the same images in class folders: sized, cut and normalised alike, and by their names."""
    for part in ("train", "test"):
        for name, label in (("a.png", "x"), ("b.png", "y"), ("c.png", "y")):
            (place / "own" / part / label).mkdir(parents=True, exist_ok=True)
            (place / "own" / part / label / name).write_bytes((flat / name).read_bytes())
    words = ("--arch", "mlp", "--data", "folder:own", "--epochs", 1, "--batch-size", 3, "-o", "m.safetensors")
    ran = run_here("train", *words)
    assert ran.status == 0, ran.err
    ran = run_here("predict", "m.safetensors", "--data", f"folder:{flat}", "-o", "p.npz")
    assert ran.status == 0, ran.err
    found = arrays("p.npz")
    assert "normalised as the models' own" in ran.err
    assert found["file"].tolist() == ["a.png", "b.png", "c.png"]
    assert found["class_names"].tolist() == ["x", "y"]
    assert "label" not in found
    ran = run_here("predict", "m.safetensors", "--data", "folder:own", "--split", "train", "-o", "q.npz")
    assert ran.status == 0, ran.err
    assert found["probabilities"].tolist() == arrays("q.npz")["probabilities"].tolist()
    run_here("predict", "m.safetensors", "--data", "own", "--split", "train", "-o", "q.csv")
    rows = list(csv.DictReader(io.StringIO((place / "q.csv").read_text())))
    assert [row["file"] for row in rows] == ["x/a.png", "y/b.png", "y/c.png"]
    assert [row["label_name"] for row in rows] == ["x", "y", "y"]
    assert all(row["prediction_name"] == "xy"[int(row["prediction"])] for row in rows)
    assert float(rows[2]["probability_y"]) == found["probabilities"][2, 1]
    run_here("predict", "m.safetensors", "--data", "new", "-o", "bare.npz")  # a folder needs no kind
    assert (place / "bare.npz").read_bytes() == (place / "p.npz").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_of_images_that_are_no_text_are_refused_for_parquet_before_any_work(place, monkeypatch):
    pytest.importorskip("pyarrow")
    odd = os.fsdecode(b"odd\xff.png")
    for folder in ("own/train/x", "own/train/y", "own/test/x", "own/test/y", "odd"):
        (place / folder).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(place / folder / "a.png")
    (place / "odd" / "a.png").rename(place / "odd" / odd)
    run_here("train", "--arch", "mlp", "--data", "folder:own", "--epochs", 1, "-o", "m.safetensors")
    words = ("predict", "m.safetensors", "--data", "folder:odd", "-o")
    assert run_here(*words, "p.csv").status == 0
    assert os.fsencode(odd) in (place / "p.csv").read_bytes()
    monkeypatch.setattr("starcli.averaging.predict.Predictor.each", None)  # no work is done
    refused(run_here(*words, "p.parquet"), "p.parquet: its words are text in UTF-8", "odd\\udcff.png", ".csv and .npz")


def test_a_part_of_an_array_is_told_and_numbered_as_in_the_array(place):
    images, labels = np.random.default_rng(0).random((50, 6), dtype=np.float32), np.arange(50) % 5
    np.savez("own.npz", images=images, labels=labels)
    np.savez("bare.npz", images=images)
    assert run_here("train", "--arch", "mlp", "--data", "own.npz", "--epochs", 1, "-o", "m.safetensors").status == 0
    ran = run_here("predict", "m.safetensors", "--data", "own.npz", "-o", "p.npz")
    assert "only the 10 examples held out for testing" in ran.err
    run_here("predict", "m.safetensors", "--data", "bare.npz", "-o", "q.npz")
    run_here("predict", "m.safetensors", "--data", "own.npz", "--split", "train", "-o", "r.npz")
    test, everything, train = arrays("p.npz"), arrays("q.npz"), arrays("r.npz")
    assert sorted([*test["index"], *train["index"]]) == everything["index"].tolist() == list(range(50))
    for part in (test, train):
        assert part["label"].tolist() == labels[part["index"]].tolist()
        np.testing.assert_allclose(part["probabilities"], everything["probabilities"][part["index"]], atol=1e-6)
    held_back = run_here(
        "predict", "m.safetensors", "--data", "own.npz", "--limit", 20, "--split", "train", "-o", "s.npz"
    )
    assert held_back.status == 0
    assert "arrays: training examples within --limit 20 alone" in held_back.err
    assert arrays("s.npz")["label"].tolist() == labels[arrays("s.npz")["index"]].tolist()


def test_names_of_classes_are_recorded_of_folders_alone(solutions, flat, place):
    assert sc.load(solutions[0]).metadata.data.class_names == []
    assert "class_names" not in sc.load(solutions[0]).metadata.to_text()
    for label in ("x", "y"):
        for part in ("train", "test"):
            (place / "own" / part / label).mkdir(parents=True)
            (place / "own" / part / label / "a.png").write_bytes((flat / "a.png").read_bytes())
    run_here("train", "--arch", "mlp", "--data", "own", "--epochs", 1, "--batch-size", 2, "-o", "m.safetensors")
    assert sc.load("m.safetensors").metadata.data.class_names == ["x", "y"]


def test_floats_where_the_model_took_bytes_are_refused(place):
    images = np.random.default_rng(0).integers(0, 256, (30, 6), dtype=np.uint8)
    np.savez("own.npz", images=images, labels=np.arange(30) % 3)
    np.savez("floats.npz", images=images / 255)
    np.savez("bytes.npz", images=images)
    assert run_here("train", "--arch", "mlp", "--data", "own.npz", "--epochs", 1, "-o", "m.safetensors").status == 0
    words = ("predict", "m.safetensors", "--data")
    refused(run_here(*words, "floats.npz", "-o", "p.npz"), "floats, which the models' own data are not")
    record = sc.load("m.safetensors").metadata.data
    how = ":".join(",".join(map(repr, each)) for each in (record.mean, record.std))
    assert run_here(*words, "floats.npz", "--normalise", how, "-o", "p.npz").status == 0
    assert run_here(*words, "bytes.npz", "-o", "q.npz").status == 0
    np.testing.assert_allclose(arrays("p.npz")["probabilities"], arrays("q.npz")["probabilities"], atol=1e-6)
    refused(run_here(*words, "bytes.npz", "--normalise", "imagenet", "-o", "r.npz"), "--normalise imagenet: 3 channels")


def test_images_that_the_model_does_not_take(solutions, flat, place):
    np.savez("wide.npz", images=np.zeros((2, 9, 9), dtype=np.uint8))
    refused(run_here("predict", solutions[0], "--data", "wide.npz", "-o", "p.csv"), "the model takes (N, 1, 8, 8)")
    ran = run_here("predict", solutions[0], "--data", f"folder:{flat}", "-o", "p.csv")
    refused(ran, "the model takes (1, 8, 8)")
    assert not (place / "p.csv").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no model is given"),
        (("--star", "s", "a", "--sources", "a", "b"), "with no other models"),
        (("--ensemble", "a"), "needs at least two"),
        (("--sources", "a", "b"), "--star, which is missing"),
        (("a", "--samples", "3"), "--samples is for points between models"),
        (("a", "--seed", "3"), "--seed is for points between models"),
        (("a", "--align-examples", "8"), "--align is for points between models"),
    ],
)
def test_words_that_ask_for_nothing(words, said, solutions, star):
    files = {"a": solutions[0], "b": solutions[1], "s": star}
    refused(run_here("predict", *(files.get(word, word) for word in words), "-o", "p.csv"), said)


def test_what_is_held_back_of_the_training_examples_is_said(solutions, place):
    """The recorded share was taken off without a word."""
    counts = {}
    for name, words in {
        "train": ("--split", "train"),
        "validation": ("--split", "validation"),
        "all": ("--split", "train", "--val-fraction", 0),
    }.items():
        ran = run_here("predict", solutions[0], *words, "-o", f"{name}.npz")
        counts[name] = len(arrays(f"{name}.npz")["label"])
        assert ("held back for validation" in ran.err) == (name == "train")
        if name == "train":
            note = ran.err
    assert counts["train"] + counts["validation"] == counts["all"]
    assert f"{counts['validation']} of {counts['all']} training examples are held back for validation" in note


def test_what_is_wrong_is_said_before_any_work(solutions, place):
    refused(run_here("predict", solutions[0], "-o", "p.xlsx"), "unknown suffix")
    ran = run_here("predict", solutions[0], "--temperature", "fit", "--val-fraction", 0, "-o", "p.csv")
    refused(ran, "there is no validation split")
    ran = run_here("predict", solutions[0], "--train-data", "digits", "-o", "p.csv")
    refused(ran, "--train-data goes with --data: the data that models are measured on")
    assert list(place.iterdir()) == []


def test_rows_of_a_star_domain_say_their_alignment(solutions, star, place):
    words = ("predict", "--star", star, "--sources", *solutions.some(0, 1), "--samples", 2, "--align", "weight")
    [row] = run_here(*words, "-o", "p.csv").rows
    assert (row["alignment"], row["seed"]) == ("weight, 1 restart", 0)
    assert "alignment: weight, 1 restart\n" in run_here(*words, "-o", "q.csv", "--format", "table").out
    [alone] = run_here("predict", star, "-o", "r.csv").rows
    assert "alignment" not in alone


def test_predictions_that_do_not_fit_are_refused_before_any_work(solutions, star, place, monkeypatch):
    """360 predictions of 10 classes, 28,800 bytes each time that they are held; eval holds none of them."""
    sources = solutions.some(0, 1, 2)
    monkeypatch.setattr("starcli.runtime.memory.free_bytes", lambda: 2 * 28_800 - 1)
    assert len(run_here("eval", solutions[0]).rows) == 1
    for words in (
        ("eval", solutions[0], "--temperature", "fit"),
        ("predict", solutions[0], "-o", "p.npz"),
        ("predict", *sources, "--ensemble", "-o", "p.npz"),
        ("predict", "--star", star, "--sources", *sources, "-o", "p.npz"),
        ("bma", "--star", star, "--sources", *sources, "--samples", 2, "--seed", 77),
        ("fuse", "--sources", *sources, "--split", "test", "--epochs", 1, "-o", "f.safetensors"),
    ):
        refused(run_here(*words), "predictions of 10 classes, held", "--limit")
    assert not list(place.glob("f.safetensors*"))


@pytest.mark.parametrize("prefix", ["", "arrays:"])
def test_data_are_never_written_over(prefix, solutions, place):
    """With --force they were."""
    np.savez("new.npz", images=np.zeros((3, 1, 8, 8), "f4"))
    before = (place / "new.npz").read_bytes()
    ran = run_here("predict", solutions[0], "--data", f"{prefix}new.npz", "-o", "./new.npz", "--force")
    assert (ran.status, "new.npz: is an input; a file is never written over one" in ran.err) == (1, True), ran.err
    assert (place / "new.npz").read_bytes() == before
