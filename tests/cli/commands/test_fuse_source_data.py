"""starcli fuse of sources that were trained on different data."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.program import run_here
from support.refused import refused
from support.training import Stopping

import starcli as sc
from starcli.checkpoints.checkpoint import read_metadata
from starcli.data.dataset import open_data

PAIR = ("--sources", "a.safetensors", "b.safetensors", "--align", "none")
OWN = ("--source-data", "a.npz", "b.npz")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits below 5 and from 5 on, and of each a fine-tuning of one model of all digits."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        digits = open_data("digits")
        for name, chosen in (("a", range(5)), ("b", range(5, 10)), ("all", range(10))):
            parts = {}
            for letter, part in (("train", digits.train), ("test", digits.test)):
                rows = np.isin(part.labels.numpy(), chosen)
                parts[f"x_{letter}"] = part.raw.numpy()[rows].astype(np.float32) / 16  # type: ignore[attr-defined]
                parts[f"y_{letter}"] = part.labels.numpy()[rows]
            np.savez(f"{name}.npz", **parts)
        base = ("--arch", "mlp", "--arch-arg", "hidden_dim=16", "depth=2")
        assert run_here("train", *base, "--data", "all.npz", "--epochs", 4, "-o", "base.safetensors").status == 0
        for name in "ab":
            how = ("--init", "base.safetensors", "--arch-arg", "num_classes=10", "--data", f"{name}.npz")
            ran = run_here("train", *how, "--epochs", 2, "--lr", "0.02", "-o", f"{name}.safetensors")
            assert ran.status == 0, ran.err
    return root


@pytest.fixture(autouse=True)
def there(made: Path, place: Path) -> None:
    for file in made.iterdir():
        if file.suffix in (".npz", ".safetensors"):
            (place / file.name).symlink_to(file)


@pytest.mark.parametrize("method", ["regmean", "fisher", "mean", "task-arithmetic"])
def test_the_merged_model_is_measured_on_the_data_of_each(method: str, place: Path) -> None:
    base = ("--base", "base.safetensors") if method == "task-arithmetic" else ()
    words = ("fuse", "--method", method, *PAIR, *base, *OWN, "-o", "f.safetensors")
    ran = run_here(*words)
    assert ran.status == 0, ran.err
    for name in "ab":
        rows = [row for row in ran.rows if row["data_of"] == [f"{name}.safetensors"]]
        test = {(row["model"], row["name"]): row for row in rows if row["split"] == "test"}
        for key, file in ((("fused", "f.safetensors"), "f"), (("source", "a.safetensors"), "a")):
            [alone] = run_here("eval", f"{file}.safetensors", "--data", f"{name}.npz", "--recalibrate").rows
            assert test[key]["loss"] == pytest.approx(alone["nll"], rel=1e-5)
            assert test[key]["data"]["fingerprint"] == alone["data"]["fingerprint"]
        best = min(("a", "b"), key=lambda each: test["source", f"{each}.safetensors"]["loss"])
        assert test["best_source", f"{name}.safetensors"]["loss"] == test["source", f"{best}.safetensors"]["loss"]
        means = [row["model"] for row in test.values()]
        assert means[-2:] == ["mean", "aligned_mean"]
    metadata = read_metadata(place / "f.safetensors")[1]
    prints = [read_metadata(place / f"{name}.safetensors")[1].data.fingerprint for name in "ab"]
    assert [each["fingerprint"] for each in metadata.recipe["fused"]["source_data"]] == prints
    assert metadata.data.name == "joined"
    [together] = run_here("eval", "f.safetensors", "--data", "all.npz").rows
    assert metadata.metrics["test"]["loss"] == pytest.approx(together["nll"], rel=1e-5)
    again = run_here(*words)
    assert "finished already" in again.err
    assert again.out == ran.out
    other = [*words[:-2], *words[-2:]]
    other[other.index("b.npz")] = "all.npz"
    refused(run_here(*other), "exists and was made otherwise", "fused source_data")


def test_a_table_has_a_line_for_each_model_and_data(place: Path) -> None:
    words = ("fuse", "--method", "regmean", *PAIR, *OWN, "-o", "f.safetensors", "--split", "test")
    table = run_here(*words, "--format", "markdown", "--plot", "f.svg")
    assert table.status == 0, table.err
    assert table.out.count("\n| fused | f | ") == 2
    assert "| model | file | data of |" in table.out
    drawn = (place / "f.svg").read_text()
    assert drawn.count("fused, data of") == 2


def test_data_that_are_named_are_measured_on(place: Path) -> None:
    words = ("fuse", "--method", "fisher", *PAIR, *OWN, "--data", "all.npz", "-o", "f.safetensors")
    ran = run_here(*words)
    assert ran.status == 0, ran.err
    assert all("data_of" not in row for row in ran.rows)
    metadata = read_metadata(place / "f.safetensors")[1]
    assert metadata.data.fingerprint == read_metadata(place / "base.safetensors")[1].data.fingerprint
    assert len(metadata.recipe["fused"]["source_data"]) == 2
    files: list[Any] = ["a.safetensors", "b.safetensors"]
    how: Any = {"alignment": None, "data": "all.npz", "progress": Stopping()}
    sc.save(sc.fuse(files, method="fisher", source_data=["a.npz", "b.npz"], **how), "mine.safetensors")
    assert (place / "mine.safetensors").read_bytes() == (place / "f.safetensors").read_bytes()


def test_the_data_of_a_model_of_several_are_asked_for(place: Path) -> None:
    assert run_here("fuse", "--method", "mean", *PAIR, *OWN, "-o", "f.safetensors").status == 0
    refused(run_here("eval", "f.safetensors"), "it was trained on several data sets, and no file keeps a path")
    assert "a.npz: not all the data that f.safetensors" in run_here("eval", "f.safetensors", "--data", "a.npz").err
    begun = ("train", "--init", "f.safetensors", "--data", "all.npz", "--epochs", 1, "-o", "t.safetensors")
    assert run_here(*begun).status == 0


def test_each_source_is_judged_on_its_own_data(place: Path) -> None:
    """That it is no good on the others' is no news."""
    ran = run_here("fuse", "--method", "mean", *PAIR, *OWN, "-o", "f.safetensors")
    assert "hardly a solution" not in ran.err


def test_a_dry_run(place: Path) -> None:
    ran = run_here("fuse", "--method", "fisher", *PAIR, *OWN, "-o", "f.safetensors", "--dry-run")
    assert ran.status == 0, ran.err
    assert not (place / "f.safetensors").exists()
