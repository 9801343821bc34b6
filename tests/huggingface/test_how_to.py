"""Every line of docs/hugging-face.md, on tiny models of these names; adapters as `peft` computes them."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from huggingface.conftest import pretrained
from PIL import Image
from support.program import run_here

import starcli as sc
from starcli.errors import StarcliError
from starcli.files.safetensors import read_tensors
from starcli.files.write import write_tensors
from starcli.huggingface.adapters import read_adapter

PAGE = Path(__file__).parents[2] / "docs" / "hugging-face.md"
KINDS = {"bert": "bert", "gpt": "gpt2", "masked": "masked"}


def adapter(path: Path, seed: int) -> Path:
    """A LoRA adapter of rank 2 for gpt2's attention, whose weights are stored turned."""
    path.mkdir()
    path.joinpath("adapter_config.json").write_text(
        '{"peft_type": "LORA", "r": 2, "lora_alpha": 6, "fan_in_fan_out": true, "target_modules": ["c_attn"]}'
    )
    generator = torch.Generator().manual_seed(seed)
    before = "base_model.model.transformer.h.0.attn.c_attn.lora"
    shapes = {"A": (2, 16), "B": (48, 2)}
    tensors = {f"{before}_{name}.weight": torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
    write_tensors(path / "adapter_model.safetensors", tensors, {"format": "pt"})
    return path


def save_timm(path: Path, seed: int) -> None:
    import timm

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = timm.create_model("resnet10t", num_classes=3, in_chans=1)
    path.mkdir()
    path.joinpath("config.json").write_text(
        '{"architecture": "resnet10t", "num_classes": 3, "model_args": {"in_chans": 1}, '
        '"pretrained_cfg": {"input_size": [1, 32, 32], "mean": [0.5], "std": [0.5]}}'
    )
    write_tensors(path / "model.safetensors", network.state_dict(), {"format": "pt"})


@pytest.fixture
def place(saved, texts, tmp_path, monkeypatch) -> Path:
    """A directory with models, adapters and data of the names on the page."""
    monkeypatch.chdir(tmp_path)
    for name, kind in KINDS.items():
        for seed, letter in enumerate("ab"):
            tmp_path.joinpath(f"{name}_{letter}").symlink_to(saved(kind, seed))
    tmp_path.joinpath("vit").symlink_to(saved("colours"))
    tmp_path.joinpath("reviews.csv").write_bytes(texts.read_bytes())
    tmp_path.joinpath("new.csv").write_text("text\nabc\n")
    for part in ("train", "test"):
        for label in range(10):
            folder = tmp_path / "imgs" / part / str(label)
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8), (20 * label, 99, 9)).save(folder / "0.png")
    adapter(tmp_path / "adapter_a", 0)
    adapter(tmp_path / "adapter_b", 1)
    return tmp_path


@pytest.mark.slow
def test_every_line_runs(place):
    pytest.importorskip("timm")
    save_timm(place / "timm_a", 0)
    save_timm(place / "timm_b", 1)
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) > 15
    for line in lines:
        ran = run_here(*shlex.split(line)[1:])
        assert ran.status == 0, (line, ran.err)
    for made in (
        "merged",
        "middle",
        "mean",
        "again",
        "shards",
        "masked",
        "with_a",
        "with_both",
        "with_mean",
        "tuned/1",
        "classifier",
    ):
        pretrained(place / made)
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL):
        exec(block, {})
    pretrained(place / "aligned")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_model_with_an_adapter_is_the_one_of_its_own_library(place):
    peft = pytest.importorskip("peft")
    tokens = torch.randint(0, 256, (2, 9), generator=torch.Generator().manual_seed(0))
    expected = peft.PeftModel.from_pretrained(pretrained(Path("gpt_a")), "adapter_a").eval()
    run_here("convert", "adapter_a", "--base", "gpt_a", "-o", "with_a")
    with torch.no_grad():
        torch.testing.assert_close(pretrained(Path("with_a"))(tokens).logits, expected(tokens).logits)
    found = sc.load("adapter_a", base="gpt_a")
    assert found.sha256 == sc.load("adapter_a", base="gpt_a").sha256 != sc.load("gpt_a").sha256


@pytest.mark.parametrize(
    ("named", "base", "noted"),
    [
        ("gpt_a", "gpt_a", False),
        ("gpt_a", "gpt_b", True),
        ("gpt_a", "elsewhere/gpt_a", True),
        ("hub/gpt_b", "gpt_b", False),
        ("hub/gpt_b", "models--hub--gpt_b/snapshots/0", False),
        ("hub/gpt_b", "gpt_a/model.safetensors", True),
        ("x" * 300, "gpt_a", True),
        (None, "gpt_a", False),
    ],
)
def test_a_base_of_another_name_than_the_adapter_says_is_noted(place, named, base, noted):
    config = json.loads(Path("adapter_a/adapter_config.json").read_text())
    Path("adapter_a/adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": named}))
    if not Path(base).exists():
        Path(base).parent.mkdir(parents=True)
        shutil.copytree("gpt_b", base)
    ran = run_here("convert", "adapter_a", "--base", base, "-o", "made")
    assert ran.status == 0
    assert (f"adapter_a: is put on {base}, and its config names {named} as its base" in ran.err) is noted


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("kind", "layer", "said"), [("gpt2", "c_proj", False), ("llama", "o_proj", True)])
def test_modules_say_how_a_square_weight_lies_whatever_the_config_does(saved, tmp_path, kind, layer, said):
    peft = pytest.importorskip("peft")
    base = pretrained(saved(kind))
    [module] = [name for name, _ in base.named_modules() if name.endswith(f".{layer}") and "mlp" not in name]
    tmp_path.joinpath("adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 6, "fan_in_fan_out": said, "target_modules": [module]})
    )
    shapes = {"A": (2, 16), "B": (16, 2)}
    tensors = {f"base_model.model.{module}.lora_{name}.weight": torch.randn(*shape) for name, shape in shapes.items()}
    write_tensors(tmp_path / "adapter_model.safetensors", tensors, {"format": "pt"})
    expected = peft.PeftModel.from_pretrained(base, tmp_path).merge_and_unload().state_dict()
    found = sc.load(tmp_path, base=saved(kind)).tensors
    torch.testing.assert_close(found[f"{module}.weight"], expected[f"{module}.weight"])


def test_an_embedding_is_not_turned_by_what_is_said_of_linear_layers(tmp_path):
    path = adapter(tmp_path / "adapter", 0)
    down, up = torch.randn(2, 30), torch.randn(16, 2)
    before = "base_model.model.wte.lora_embedding_"
    write_tensors(path / "adapter_model.safetensors", {f"{before}A": down, f"{before}B": up}, {})
    found = read_adapter(path).apply({"wte.weight": torch.ones(30, 16)})["wte.weight"]
    torch.testing.assert_close(found, 1 + 6 / 2 * (up @ down).T)


@pytest.mark.parametrize(
    ("keys", "names", "said"),
    [
        ({"init_lora_weights": "pissa_niter_4"}, (), "an adapter of pissa_niter_4, which changes its base first"),
        ({}, ("x.lora_B.bias",), "has x.lora_B.bias, which is not known"),
    ],
)
def test_adapters_that_would_be_applied_wrongly_are_refused(tmp_path, keys, names, said):
    path = adapter(tmp_path / "adapter", 0)
    config = json.loads(path.joinpath("adapter_config.json").read_text())
    path.joinpath("adapter_config.json").write_text(json.dumps({**config, **keys}))
    tensors = read_tensors(path / "adapter_model.safetensors")[1]
    write_tensors(path / "adapter_model.safetensors", {**tensors, **dict.fromkeys(names, torch.ones(2))}, {})
    with pytest.raises(StarcliError, match=said):
        read_adapter(path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("eval", "adapter_a", "--data", "digits"),
            "holds an adapter, no model; starcli convert",
        ),
        (("convert", "adapter_a", "--base", "bert_a", "-o", "x"), "is no adapter of this base"),
        (("convert", "bert_b", "--base", "bert_a", "-o", "x"), "holds no adapter"),
        (("eval", "masked_a", "--data", "text:reviews.csv", "--task", "classes"), "expected 3 logits"),
        (("eval", "bert_a", "--arch", "hf:nowhere/x", "--data", "digits"), "there is no directory nowhere/x"),
    ],
)
def test_what_makes_no_sense_is_refused(place, words, said):
    ran = run_here(*words)
    assert (ran.status, said in ran.err) == (1, True), ran.err


def test_without_the_package_a_line_says_what_to_install(saved, monkeypatch):
    monkeypatch.setattr("starcli.models.huggingface.find_spec", lambda name: None)
    with pytest.raises(StarcliError, match=r"needs the package transformers\n.*starcli\[hf\]"):
        sc.evaluate(saved("bert"), data=(torch.zeros(2, 4, dtype=torch.int64), torch.tensor([0, 1])))
