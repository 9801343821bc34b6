"""starcli interpolate, eval, convert and inspect."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.program import run_here

from starcli.checkpoints.checkpoint import read_metadata


def test_points_of_the_line(solutions, place):
    ran = run_here("interpolate", *solutions.some(0, 1), "--t", -0.5, 0, 0.25, 1.5, "-o", "m{t}.safetensors")
    assert [row["output"] for row in ran.rows] == [f"m{t}.safetensors" for t in ("-0.5", "0", "0.25", "1.5")]
    assert ran.rows[2]["weights"] == [0.75, 0.25]
    a, b, m = (load_file(path) for path in (solutions[0], solutions[1], "m0.25.safetensors"))
    assert torch.allclose(m["fc1.weight"], 0.75 * a["fc1.weight"] + 0.25 * b["fc1.weight"], atol=1e-6)
    assert torch.equal(load_file("m0.safetensors")["fc1.weight"], a["fc1.weight"])
    metadata = read_metadata(place / "m0.25.safetensors")[1]
    assert metadata.statistics == "recalibrated"
    assert len(metadata.parents) == 2
    assert run_here("eval", "m0.25.safetensors").status == 0


def test_numbers_before_the_models(solutions):
    assert run_here("interpolate", "--t", 0.5, *solutions.some(0, 1), "-o", "m.safetensors").status == 0


def test_weighted_mean_of_three(solutions):
    run_here("interpolate", *solutions.some(0, 1, 2), "--weights", 0.5, 0.25, 0.25, "-o", "w.safetensors")
    tensors = [load_file(path)["fc2.bias"] for path in solutions.some(0, 1, 2)]
    expected = 0.5 * tensors[0] + 0.25 * tensors[1] + 0.25 * tensors[2]
    assert torch.allclose(load_file("w.safetensors")["fc2.bias"], expected, atol=1e-6)


def test_aligning_first_equals_aligning_before(solutions):
    run_here("interpolate", *solutions.some(0, 1), "--t", 0.5, "--align", "weight", "-o", "here.safetensors")
    run_here("align", *solutions.some(0, 1), "-o", "b.safetensors")
    run_here("interpolate", solutions[0], "b.safetensors", "--t", 0.5, "-o", "before.safetensors")
    here, before = load_file("here.safetensors"), load_file("before.safetensors")
    assert all(torch.equal(here[name], before[name]) for name in here)


def test_a_random_point_around_a_model(solutions):
    run_here("interpolate", solutions[0], "--perturb", 0.5, "--seed", 3, "-o", "p{seed}.safetensors")
    model, point = load_file(solutions[0]), load_file("p3.safetensors")
    learnable = [name for name in model if not name.endswith(("mean", "var", "tracked"))]
    distance = sum(float((model[name].double() - point[name].double()).square().sum()) for name in learnable) ** 0.5
    assert distance == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize(
    "words", [("--t", 0.5, "nan"), ("--t", "-inf"), ("--weights", "inf", 0.5), ("--weights", 1e308, 1e308)]
)
def test_numbers_that_are_none_are_refused_before_any_work(words, solutions, place):
    ran = run_here("interpolate", *solutions.some(0, 1), *words, "-o", "m{t}.safetensors")
    assert (ran.status, ran.err.count("\n")) == (1, 1), ran.err
    assert not list(place.iterdir())


@pytest.mark.parametrize("radius", ["nan", "inf", -1])
def test_a_radius_that_is_none_is_refused_before_any_work(radius, solutions, place):
    ran = run_here("interpolate", solutions[0], "--perturb", radius, "-o", "m.safetensors")
    assert (ran.status, ran.err.count("\n")) == (1, 1), ran.err
    assert not list(place.iterdir())


def test_the_pipeline(solutions):
    """interpolate A B | eval -"""
    made = run_here("interpolate", *solutions.some(0, 1), "--t", 0.5, "-o", "-", "--quiet")
    assert json.loads(made.err)["output"] == "-"
    [row] = run_here("eval", "-", stdin=made.stdout).rows
    run_here("interpolate", *solutions.some(0, 1), "--t", 0.5, "-o", "m.safetensors")
    assert row["nll"] == run_here("eval", "m.safetensors").rows[0]["nll"]


def test_eval(solutions):
    ran = run_here("eval", *solutions.some(0, 1))
    stored = read_metadata(solutions[0])[1].metrics["test"]
    assert ran.rows[0]["nll"] == pytest.approx(stored["loss"], abs=1e-6)
    assert ran.rows[0]["accuracy"] == pytest.approx(stored["accuracy"])
    metrics = {"errors", "accuracy", "nll", "brier", "ece", "auroc_max_prob", "auroc_entropy", "aurc"}
    assert metrics <= set(ran.rows[1])
    for split in ("train", "validation"):
        assert run_here("eval", solutions[0], "--split", split).rows[0]["split"] == split
    fresh = run_here("eval", solutions[0], "--recalibrate").rows[0]
    assert fresh["nll"] != ran.rows[0]["nll"]


def test_eval_without_a_validation_split(solutions):
    ran = run_here("eval", solutions[0], "--split", "validation", "--val-fraction", 0)
    assert ran.status == 1
    assert "--val-fraction" in ran.err


NETWORK = ("--arch", "mlp", "--arch-arg", "depth=2", "hidden_dim=12", "--data", "digits")


@pytest.mark.parametrize("wrap", ["plain", "module", "nested", "compiled"])
def test_convert_from_pytorch(wrap, solutions, place):
    tensors = load_file(solutions[0])
    content = {
        "plain": tensors,
        "module": {f"module.{name}": tensor for name, tensor in tensors.items()},
        "nested": {"epoch": 3, "model": {"state_dict": tensors}, "optimizer": {"lr": 0.1}},
        "compiled": {"state_dict": {f"_orig_mod.module.{name}": tensor for name, tensor in tensors.items()}},
    }[wrap]
    torch.save(content, place / "x.pt")
    ran = run_here("convert", "x.pt", *NETWORK, "-o", "x.safetensors")
    assert ran.status == 0, ran.err
    found = load_file("x.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert read_metadata(place / "x.safetensors")[1].architecture.arguments["hidden_dim"] == 12


def test_convert_from_lightning(solutions, place):
    tensors = load_file(solutions[0])
    wrapped = {f"model._orig_mod.{name}": tensor for name, tensor in tensors.items()}
    beside = {"epoch": 3, "pytorch-lightning_version": "2.5.0", "callbacks": {}, "hyper_parameters": {"lr": 0.1}}
    torch.save({**beside, "state_dict": wrapped}, place / "x.ckpt")
    ran = run_here("convert", "x.ckpt", *NETWORK, "-o", "x.safetensors")
    assert (ran.status, ran.err) == (0, "note: x.ckpt: all names begin with model., which is left out\n")
    found = load_file("x.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    narrow = (*NETWORK[:4], "hidden_dim=9", "--data", "digits")
    ran = run_here("convert", "x.ckpt", *narrow, "-o", "y.safetensors")
    assert (ran.status, "model." in ran.err, "fc1.bias" in ran.err) == (1, False, True)


def test_convert_of_a_network_whose_own_names_begin_alike(place):
    (place / "owned.py").write_text(
        "from torch import nn\n\nclass Owned(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n\n"
        "    def forward(self, x):\n        return self.model(x)\n"
    )
    weights = {"model.1.weight": torch.randn(10, 64), "model.1.bias": torch.randn(10)}
    torch.save({"state_dict": weights}, place / "x.ckpt")
    ran = run_here("convert", "x.ckpt", "--arch", "owned:Owned", "--data", "digits", "-o", "x.safetensors")
    assert (ran.status, ran.err) == (0, "")
    assert load_file("x.safetensors").keys() == weights.keys()


def test_convert_out_and_back(solutions, place):
    assert run_here("convert", solutions[0], "--plain", "-o", "plain.safetensors").status == 0
    assert run_here("convert", solutions[0], "-o", "x.pth").status == 0
    assert read_metadata(place / "plain.safetensors")[0].metadata == {}
    bare = torch.load(place / "x.pth", weights_only=True)
    original = load_file(solutions[0])
    for found in (bare, load_file("plain.safetensors")):
        assert all(torch.equal(found[name], original[name]) for name in original)
    assert run_here("convert", "plain.safetensors", "-o", "y.safetensors").status == 1
    assert run_here("convert", "plain.safetensors", *NETWORK, "-o", "y.safetensors").status == 0


@pytest.mark.parametrize("which", ["star", "aligned", "trained"])
def test_converting_our_own_file_keeps_what_it_says(which, star, solutions, place):
    source = {"star": star, "aligned": star.parent / "aligned" / "0.safetensors", "trained": solutions[1]}[which]
    assert run_here("convert", source, "-o", "x.safetensors").status == 0
    old, new = read_metadata(source)[1], read_metadata(place / "x.safetensors")[1]
    assert new.recipe.pop("convert") == {"weights": old.weights_sha256, "run": old.run_id}
    assert new.run_id != old.run_id
    assert new.model_dump(exclude={"run_id"}) == old.model_dump(exclude={"run_id"})
    again = run_here("convert", source, "-o", "x.safetensors")
    assert "finished already" in again.err
    other = run_here("convert", solutions[2], "-o", "x.safetensors")
    assert other.status == 1
    assert "made otherwise" in other.err


def test_scores_are_dropped_where_the_data_are_others(solutions, place):
    assert run_here("convert", solutions[0], "--val-fraction", 0, "-o", "x.safetensors").status == 0
    metadata = read_metadata(place / "x.safetensors")[1]
    assert metadata.data.val_fraction == 0
    assert metadata.metrics is None
    assert metadata.recipe["epochs"] == 3


STRANGE = {
    "complex128": lambda: torch.zeros((), dtype=torch.complex128),
    "float32 sparse": lambda: torch.eye(3).to_sparse(),
    "float32 without data": lambda: torch.zeros(2, device="meta"),
    "qint8": lambda: torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.filterwarnings("ignore")  # torch's own, of quantised tensors
def test_tensors_that_no_checkpoint_can_hold_are_named(kind, solutions, place):
    torch.save(load_file(solutions[0]) | {"bn.num_batches_tracked": STRANGE[kind]()}, place / "x.pth")
    for words in ((*NETWORK, "-o", "x.safetensors"), ("--plain", "-o", "x.safetensors"), ("-o", "y.pt")):
        ran = run_here("convert", "x.pth", *words)
        assert ran.status == 1, ran.err
        assert f"bn.num_batches_tracked: {kind}" in ran.err
    assert [path.name for path in place.iterdir()] == ["x.pth"]


class Evil:
    def __reduce__(self):
        return (Path("hacked").touch, ())


def test_a_pickle_that_would_run_code_does_not(place):
    torch.save({"state_dict": {"w": torch.zeros(2)}, "extra": Evil()}, place / "evil.pt")
    ran = run_here("convert", "evil.pt", "--plain", "-o", "x.safetensors")
    assert ran.status == 1
    assert "could run code" in ran.err
    assert "Traceback" not in ran.err
    assert [path.name for path in place.iterdir()] == ["evil.pt"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no pickle", b"\x80\x04."])
def test_files_that_are_not_pytorchs(content, place):
    (place / "x.pt").write_bytes(content)
    ran = run_here("convert", "x.pt", "--plain", "-o", "x.safetensors")
    assert ran.status == 1
    assert "Traceback" not in ran.err


def test_a_pytorch_file_without_a_state_dict(place):
    torch.save({"epoch": 3, "lr": [1, 2]}, place / "x.pt")
    ran = run_here("convert", "x.pt", "--plain", "-o", "x.safetensors")
    assert ran.status == 1
    assert "no state dict" in ran.err
    assert "epoch" in ran.err


def test_inspect(star, solutions):
    [row] = run_here("inspect", star).rows
    assert row["kind"] == "star"
    assert row["architecture"]["name"] == "mlp"
    assert row["weights_sha256"] == read_metadata(star)[1].weights_sha256
    assert row["proved"] is True
    tree = run_here("inspect", star, "--lineage", tty=True).out
    for number in range(3):
        assert f"{number}.safetensors" in tree


def test_inspect_verifies(solutions, place):
    run_here("align", *solutions.some(0, 1), "-o", "b.safetensors")
    assert run_here("inspect", "b.safetensors", "--verify").status == 0
    content = bytearray((place / "b.safetensors").read_bytes())
    content[-1] ^= 1
    (place / "b.safetensors").write_bytes(bytes(content))
    ran = run_here("inspect", "b.safetensors", "--verify")
    assert ran.status == 1
    assert "b.safetensors" in ran.err


def test_what_records_no_hash_is_not_verified(solutions, place):
    run_here("convert", solutions[0], "--plain", "-o", "plain.safetensors")
    ran = run_here("inspect", "plain.safetensors", "--verify")
    assert ran.status == 0
    assert ran.rows[0]["verified"] is None
    assert "records no hash" in ran.err
    whole = run_here("inspect", solutions[0], "--verify")
    assert whole.rows[0]["verified"] is True
    assert whole.err == ""
    assert run_here("inspect", "plain.safetensors").err == ""
