"""--align-kinds all: files in the frame of REF that need nothing more, recorded; what makes no sense is refused."""

from pathlib import Path

import pytest
from support.program import run_here

from starcli.checkpoints.checkpoint import read_metadata

WORDS = ("--arch", "vit", "--arch-arg", "patch_size=4", "dim=16", "depth=1", "heads=2", "mlp_dim=16")
TRAINING = ("--data", "digits", "--limit", "200", "--epochs", "3", "--optimizer", "adam", "--lr", "0.01")


@pytest.fixture(scope="module")
def transformers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three small vision transformers of the digits."""
    directory = tmp_path_factory.mktemp("transformers")
    ran = run_here("train", *WORDS, *TRAINING, "--seeds", "0-2", "-o", directory / "{seed}.safetensors")
    assert ran.status == 0, ran.err
    return [directory / f"{seed}.safetensors" for seed in range(3)]


def test_the_line_to_the_file_is_the_line_of_the_barrier(place, transformers):
    a, b = transformers[:2]
    ran = run_here("align", a, b, "-o", "b.safetensors", "--align-kinds", "all")
    assert ran.status == 0, ran.err
    assert 0 < ran.rows[0]["difference"] < 1e-5
    [from_file] = run_here("barrier", a, "b.safetensors").rows
    [at_once] = run_here("barrier", a, b, "--align", "weight", "--align-kinds", "all").rows
    assert from_file["train"] == at_once["train"]
    assert at_once["alignment"] == "weight, 1 restart, all kinds"
    [before], [after] = run_here("eval", b).rows, run_here("eval", "b.safetensors").rows
    assert after["nll"] == pytest.approx(before["nll"], abs=1e-4)
    assert read_metadata(Path("b.safetensors"))[1].aligned_to.kinds == "all"
    text = read_metadata(Path("b.safetensors"))[1].to_text()
    assert '"kinds": "all"' in text


def test_the_default_is_left_out_of_files(place, transformers):
    a, b = transformers[:2]
    said = run_here("align", a, b, "-o", "said.safetensors", "--align-kinds", "permutation")
    unsaid = run_here("align", a, b, "-o", "unsaid.safetensors")
    assert said.status == unsaid.status == 0
    assert Path("said.safetensors").read_bytes() != b""
    said_record, record = (read_metadata(Path(name))[1] for name in ("said.safetensors", "unsaid.safetensors"))
    assert said_record == record.model_copy(update={"metrics": said_record.metrics})
    assert "kinds" not in record.aligned_to.model_dump()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--bound",), "an upper bound is known over permutations"),
        (("--method", "activation"), "--align-kinds) is of weight"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_done(place, transformers, words, said):
    ran = run_here("align", *transformers, "-o", "{name}.safetensors", "--align-kinds", "all", *words)
    assert ran.status == 1
    assert said in ran.err
    assert not list(place.glob("*.safetensors"))


def test_all_together(place):
    words = ("--arch-arg", "hidden_dim=8", "activation=tanh", "--data", "digits", "--limit", "100", "--epochs", "1")
    assert run_here("train", "--arch", "mlp", *words, "--seeds", "0-2", "-o", "{seed}.safetensors").status == 0
    models = [f"{seed}.safetensors" for seed in range(3)]
    rows = run_here("align", *models, "--joint", "-o", "{name}-aligned.safetensors", "--align-kinds", "all").rows
    assert [row["joint"] for row in rows] == [3, 3]
    words = ("--align", "weight", "--align-kinds", "all", "-o", "mean.safetensors")
    fused = run_here("fuse", "--method", "mean", "--sources", *models, *words)
    assert {row["alignment"] for row in fused.rows if row["model"] == "joint_mean"} == {"weight, 1 restart, all kinds"}


def test_a_selftest_plants_elements_of_all_kinds(place, transformers):
    ran = run_here("align", transformers[0], "--selftest", "--method", "weight", "--align-kinds", "all", "--plants", 1)
    assert ran.status == 0, ran.err
    assert [row["alignment"] for row in ran.rows] == ["weight, 1 restart, all kinds"] * 2
    assert ran.rows[0]["recovered"] == ran.rows[0]["units"] > 0
