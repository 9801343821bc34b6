"""starcli convert: PyTorch's files, in whatever they are wrapped, and our own; no code is run."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.program import run_here
from support.tensors import same

from starcli.checkpoints.checkpoint import read_metadata
from starcli.data.dataset import open_data
from starcli.models.build import build_network

NETWORK = ("--arch", "mlp", "--arch-arg", "depth=2", "hidden_dim=12", "--data", "digits")

STANDARDISED = (
    "note: digits: inputs are standardised, by 0.3054:0.3759; --normalise none leaves them in [0, 1], MEAN:STD says "
    "otherwise\n"
)
"""What is said of data by name, where a model from elsewhere does not say how its inputs are normalised."""


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
    assert same(found, tensors)
    assert read_metadata(place / "x.safetensors")[1].architecture.arguments["hidden_dim"] == 12


def test_scores_are_shown_where_there_are_data(solutions, place):
    tensors = load_file(solutions[0])
    torch.save(tensors, "x.pt")
    data = open_data("digits").test
    inputs, labels = next(iter(data.batches(len(data))))
    network = build_network("mlp", depth=2, hidden_dim=12, input_size=64, num_classes=10).eval()
    network.load_state_dict(tensors)
    with torch.no_grad():
        logits = network(inputs)
    ran = run_here("convert", "x.pt", *NETWORK, "-o", "x.safetensors")
    assert ran.rows[0]["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-5)
    assert ran.rows[0]["accuracy"] == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    assert ran.rows[0]["split"] == "test"
    assert read_metadata(place / "x.safetensors")[1].metrics is None
    assert run_here("convert", "x.pt", *NETWORK, "-o", "x.safetensors").rows == ran.rows
    other = run_here("convert", "x.pt", *NETWORK, "--normalise", "none", "-o", "y.safetensors").rows[0]
    assert other["loss"] != ran.rows[0]["loss"]
    for words in (("--plain",), (*NETWORK[:5], "--input", "1,1,8,8")):
        ran = run_here("convert", "x.pt", *words, "-o", f"{len(words)}.safetensors")
        assert "loss" not in ran.rows[0]


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_scores_are_those_of_the_weights_as_written(dtype, solutions, place):
    torch.save(load_file(solutions[0]), "x.pt")
    whole = run_here("convert", "x.pt", *NETWORK, "-o", "x.safetensors").rows[0]
    ran = run_here("convert", "x.pt", *NETWORK, "--dtype", dtype, "-o", "y.safetensors")
    read = run_here("eval", "y.safetensors").rows[0]
    assert (ran.rows[0]["loss"], ran.rows[0]["accuracy"]) == (read["nll"], read["accuracy"])
    assert (ran.rows[0]["loss"] == whole["loss"]) == (dtype == "float64")


def test_wrappers_are_left_out_of_bare_weights_of_others(solutions, place):
    tensors = load_file(solutions[0])
    torch.save({**{f"module.{name}": each for name, each in tensors.items()}, "n_averaged": torch.tensor(3)}, "x.pt")
    ran = run_here("convert", "x.pt", "--plain", "-o", "y.safetensors")
    assert (ran.status, ran.err) == (0, "note: x.pt: left out n_averaged, which is no part of the network\n")
    assert load_file("y.safetensors").keys() == tensors.keys()


def test_weights_are_the_same_under_a_wrapper(solutions, place):
    tensors = load_file(solutions[0])
    torch.save(tensors, "x.pt")
    torch.save({f"module.{name}": tensor for name, tensor in tensors.items()}, "y.pt")
    ran = run_here("fuse", "--sources", "x.pt", "y.pt", *NETWORK, "-o", "z.safetensors")
    assert (ran.status, "y.pt has the same weights as x.pt" in ran.err) == (1, True), ran.err


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_without_shards_is_read(file, solutions, place):
    tensors = load_file(solutions[0])
    (place / "hf").mkdir()
    (place / "hf/config.json").write_text("{}")
    save = torch.save if file.endswith(".bin") else save_file
    save(tensors, place / "hf" / file)
    whole = run_here("eval", f"hf/{file}", *NETWORK).rows[0]
    assert run_here("eval", "hf", *NETWORK).rows[0]["nll"] == whole["nll"]
    assert run_here("convert", "hf", *NETWORK, "-o", "x.safetensors").status == 0
    assert load_file("x.safetensors").keys() == tensors.keys()
    refused = run_here("convert", "hf", *NETWORK, "-o", f"hf/{file}", "--force")
    assert (refused.status, "is an input" in refused.err) == (1, True)


def test_convert_from_lightning(solutions, place):
    tensors = load_file(solutions[0])
    wrapped = {f"model._orig_mod.{name}": tensor for name, tensor in tensors.items()}
    beside = {"epoch": 3, "pytorch-lightning_version": "2.5.0", "callbacks": {}, "hyper_parameters": {"lr": 0.1}}
    torch.save({**beside, "state_dict": wrapped}, place / "x.ckpt")
    ran = run_here("convert", "x.ckpt", *NETWORK, "-o", "x.safetensors")
    note = "note: x.ckpt: all names begin with model._orig_mod., which is left out\n"
    assert (ran.status, ran.err) == (0, note + STANDARDISED)
    found = load_file("x.safetensors")
    assert found.keys() == tensors.keys()
    assert same(found, tensors)
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
    assert (ran.status, ran.err) == (0, STANDARDISED)
    assert load_file("x.safetensors").keys() == weights.keys()


def test_convert_out_and_back(solutions, place):
    assert run_here("convert", solutions[0], "--plain", "-o", "plain.safetensors").status == 0
    assert run_here("convert", solutions[0], "-o", "x.pth").status == 0
    assert read_metadata(place / "plain.safetensors")[0].metadata == {}
    bare = torch.load(place / "x.pth", weights_only=True)
    original = load_file(solutions[0])
    for found in (bare, load_file("plain.safetensors")):
        assert same(found, original)
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
    skipped = f"skipped, for only tensors and plain data are read: extra ({type(Path()).__module__}.PosixPath)"
    assert (ran.status, ran.err) == (0, f"note: evil.pt: {skipped}\n")
    assert {path.name for path in place.iterdir()} == {"evil.pt", "x.safetensors"}
    torch.save(Evil(), place / "evil.pt")
    ran = run_here("convert", "evil.pt", "--plain", "-o", "y.safetensors")
    assert (ran.status, "no state dict" in ran.err, "Traceback" in ran.err) == (1, True, False)
    assert {path.name for path in place.iterdir()} == {"evil.pt", "x.safetensors"}


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


def test_several_files_at_once(solutions, place):
    for number in (0, 1):
        torch.save({"state_dict": load_file(solutions[number]), "state_dict_ema": {}}, place / f"{number}.pth.tar")
    ran = run_here("convert", "0.pth.tar", "1.pth.tar", *NETWORK, "-o", "out/{name}.safetensors")
    assert ran.status == 0, ran.err
    assert [row["output"] for row in ran.rows] == ["out/0.safetensors", "out/1.safetensors"]
    for number in (0, 1):
        expected, found = load_file(solutions[number]), load_file(place / "out" / f"{number}.safetensors")
        assert same(found, expected)
    assert "same name" in run_here("convert", "0.pth.tar", "1.pth.tar", *NETWORK, "-o", "x.safetensors").err
    torch.save({"w": torch.zeros(2)}, place / "2.pt")
    ran = run_here("convert", "0.pth.tar", "2.pt", *NETWORK, "-o", "new/{name}.safetensors")
    assert (ran.status, (place / "new").exists()) == (1, False)


def test_key_and_ignore(solutions, place):
    raw, averaged = load_file(solutions[0]), load_file(solutions[1])
    torch.save({"state_dict": raw, "ema": {"state_dict": averaged | {"loss.w": torch.ones(2)}}}, place / "x.pt")
    ran = run_here("convert", "x.pt", *NETWORK, "-o", "a.safetensors")
    note = "takes state_dict; averaged weights lie there too: --key ema.state_dict of starcli convert chooses them"
    assert ran.err == f"note: x.pt: {note}\n{STANDARDISED}"
    chosen = ("convert", "x.pt", "--key", "ema.state_dict")
    ran = run_here(*chosen, *NETWORK, "-o", "b.safetensors")
    line = "starcli convert x.pt --key ema.state_dict --ignore 'loss.*' --plain -o x.safetensors"
    assert ran.err.splitlines()[1:] == [
        f"  --ignore 'loss.*' leaves out what follows: {line}",
        "  loss.w: not in the network in x.pt",
    ]
    assert run_here(*chosen, "--ignore", "loss.*", *NETWORK, "-o", "b.safetensors").status == 0
    found = load_file("b.safetensors")
    assert same(found, averaged)
    ours = run_here("convert", solutions[0], "--ignore", "fc1.*", "-o", "c.safetensors")
    assert (ours.status, "files from elsewhere" in ours.err) == (1, True)


@pytest.mark.parametrize(
    "to", [("-o", "x.pth"), ("--plain", "-o", "x.safetensors"), ("--plain", "--shard-size", "2kB", "-o", "x")]
)
def test_bare_weights_that_are_there_are_finished(to, solutions, place):
    """Byte for byte: they record nothing of how they were made."""

    def files():
        return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}

    first, again = (run_here("convert", solutions[0], *to) for _ in range(2))
    made = files()
    assert (first.status, again.status, again.rows) == (0, 0, first.rows)
    assert "x" in again.err
    assert "finished already" in again.err
    for other in ((solutions[1], *to), (solutions[0], "--dtype", "float64", *to)):
        ran = run_here("convert", *other)
        assert (ran.status, "exists; --force overwrites it" in ran.err, files()) == (1, True, made)
    last = sorted(place.rglob("*.*"))[-1]
    last.write_bytes(last.read_bytes() + b"x")
    assert run_here("convert", solutions[0], *to).status == 1
    assert (run_here("convert", solutions[0], *to, "--force").status, files()) == (0, made)


def test_one_of_several_bare_files_that_is_another_refuses_all(solutions, place):
    assert run_here("convert", solutions[0], "--plain", "-o", "0.safetensors").status == 0
    assert run_here("convert", solutions[2], "--plain", "-o", "1.safetensors").status == 0
    words = ("convert", *solutions.some(0, 1), "--plain", "-o", "{name}.safetensors")
    (place / solutions[2].name).unlink(missing_ok=True)
    assert "1.safetensors: exists" in run_here(*words).err


def test_shards_out_and_back(solutions, place):
    ran = run_here("convert", solutions[0], "--shard-size", "2kB", "-o", "s/model.safetensors")
    assert ran.status == 0, ran.err
    assert ran.rows[0]["output"] == "s/model.safetensors.index.json"
    assert len(list((place / "s").glob("*.safetensors"))) > 1
    again = run_here("convert", solutions[0], "--shard-size", "2kB", "-o", "s/model.safetensors")
    assert "finished already" in again.err
    for source in ("s", "s/model.safetensors.index.json"):
        assert run_here("inspect", source, "--verify").status == 0
        measured, ours = run_here("eval", source), run_here("eval", solutions[0])
        assert measured.rows[0]["nll"] == ours.rows[0]["nll"]
        assert run_here("align", solutions[1], source, "-o", "aligned.safetensors", "--force").status == 0
    assert run_here("convert", "s", "-o", "back.safetensors").status == 0
    found, expected = read_metadata(place / "back.safetensors")[1], read_metadata(solutions[0])[1]
    assert (found.weights_sha256, found.data, found.metrics) == (
        expected.weights_sha256,
        expected.data,
        expected.metrics,
    )


def test_shards_go_into_a_folder(solutions, place):
    """As Hugging Face names them, in a folder that is there or not; the same bytes as where the file is named."""
    words = ("convert", solutions[0], "--shard-size", "2kB", "-o")
    assert run_here(*words, "named/model.safetensors").status == 0
    (place / "there.d").mkdir()
    expected = {each.name: each.read_bytes() for each in (place / "named").iterdir()}
    assert "model.safetensors.index.json" in expected
    for folder in ("new", "there.d"):
        ran = run_here(*words, folder)
        assert ran.status == 0, ran.err
        assert {each.name: each.read_bytes() for each in (place / folder).iterdir()} == expected
    ran = run_here(*words, "new")
    assert (ran.status, "finished already" in ran.err) == (0, True)


def test_shards_overwrite_nothing(solutions, place):
    (place / "x-00001-of-00002.safetensors").write_bytes(b"mine")
    words = ("convert", solutions[0], "--shard-size", "2kB", "-o")
    ran = run_here(*words, "x.safetensors")
    assert (ran.status, "x-00001-of-00002.safetensors: exists" in ran.err) == (1, True)
    assert run_here(*words, "x.safetensors", "--force").status == 0
    assert not (place / "x-00001-of-00002.safetensors").exists()
    ran = run_here(
        "convert", place / "x.safetensors.index.json", "--shard-size", "1kB", "-o", "x.safetensors", "--force"
    )
    assert (ran.status, "is an input" in ran.err) == (1, True)
    assert (run_here(*words, "x.pt").status, run_here(*words, "-").status) == (1, 1)
    for size in ("none", "0", "-1", "2 GX"):
        assert "--shard-size" in run_here("convert", solutions[0], f"--shard-size={size}", "-o", "y.safetensors").err
