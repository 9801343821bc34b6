"""Means of LoRA adapters, held to the products themselves and to `peft`, which concatenates factors too."""

import json
from pathlib import Path

import pytest
import torch
from huggingface.conftest import pretrained
from support.program import run_here
from torch import Tensor

import starcli as sc
from starcli.errors import StarcliError
from starcli.files.safetensors import read_tensors
from starcli.files.write import write_tensors
from starcli.huggingface.adapter_description import WEIGHTS
from starcli.huggingface.adapters import read_adapter
from starcli.runtime import distributed

CONFIG = {"peft_type": "LORA", "lora_alpha": 6, "target_modules": ["q", "v"], "r": 2}
PLACES = ("h.0.q", "h.1.v")


def save(path: Path, seed: int, rank: int = 2, places: tuple[str, ...] = PLACES, head: bool = False, **config) -> Path:  # type: ignore[no-untyped-def]
    draws = torch.Generator().manual_seed(seed)
    tensors = {}
    for place in places:
        for name, shape in {"A": (rank, 5), "B": (7, rank)}.items():
            tensors[f"base_model.model.{place}.lora_{name}.weight"] = torch.randn(*shape, generator=draws)
    if head:
        tensors["base_model.model.head.weight"] = torch.randn(3, 7, generator=draws)
    path.mkdir()
    path.joinpath("adapter_config.json").write_text(json.dumps({**CONFIG, "r": rank, **config}))
    write_tensors(path / WEIGHTS, tensors, {"format": "pt"})
    return path


def changes(path: Path) -> dict[str, Tensor]:
    """Zeros with the adapter in them."""
    names = [*(f"{place}.weight" for place in PLACES)]
    base = {name: torch.zeros(7, 5, dtype=torch.float64) for name in names}
    return read_adapter(path).apply({**base, "head.weight": torch.zeros(3, 7, dtype=torch.float64)})


@pytest.mark.parametrize("weights", [(), ("--weights", 1, 3), ("--weights", 0.5, -2, "--no-normalise-weights")])
def test_changes_are_the_means_of_changes(tmp_path, weights):
    a = save(tmp_path / "a", 0)
    b = save(tmp_path / "b", 1, rank=3, lora_alpha=4, use_rslora=True, alpha_pattern={"h.1.v": 9}, places=PLACES[1:])
    run = run_here("fuse", "--method", "linear", "--sources", a, b, *weights, "-o", tmp_path / "mean")
    numbers = [float(number) for number in weights[1:3]] or [1.0, 1.0]
    total = 1 if "--no-normalise-weights" in weights else sum(numbers)
    found, first, second = (changes(tmp_path / name) for name in ("mean", "a", "b"))
    for name in found:
        expected = (numbers[0] * first[name] + numbers[1] * second[name]) / total
        torch.testing.assert_close(found[name], expected, rtol=1e-6, atol=1e-6)
    assert run.rows[0]["rank"] == 5
    config = json.loads((tmp_path / "mean" / "adapter_config.json").read_text())
    assert (config["rank_pattern"], config["use_rslora"]) == ({r"h\.0\.q": 2}, False)


def test_means_of_adapters_alike_change_no_number(tmp_path):
    for seed in range(3):
        save(tmp_path / f"{seed}", seed, head=True)
    mean = sc.mean_adapter([tmp_path / f"{seed}" for seed in range(3)])
    sc.save(mean, tmp_path / "mean")
    tensors = read_tensors(tmp_path / "mean" / WEIGHTS)[1]
    parts = [read_tensors(tmp_path / f"{seed}" / WEIGHTS)[1] for seed in range(3)]
    name = "base_model.model.h.0.q.lora_{}.weight"
    assert tensors[name.format("A")].equal(torch.cat([part[name.format("A")] for part in parts]))
    assert tensors[name.format("B")].equal(torch.cat([part[name.format("B")] for part in parts], dim=1))
    head = "base_model.model.head.weight"
    torch.testing.assert_close(tensors[head], sum(part[head] for part in parts) / 3)
    config = json.loads((tmp_path / "mean" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (6, 6, ["q", "v"])
    with pytest.raises(StarcliError, match="exists"):
        sc.save(mean, tmp_path / "mean")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_mean_is_the_one_that_peft_makes(saved, tmp_path):
    peft = pytest.importorskip("peft")
    for seed, modules in enumerate((["c_attn", "wpe"], ["c_attn", "c_fc"])):
        config = peft.LoraConfig(
            r=2 + seed, lora_alpha=6, fan_in_fan_out=True, target_modules=modules, task_type="CAUSAL_LM"
        )
        made = peft.get_peft_model(pretrained(saved("gpt2")), config)
        draws = torch.Generator().manual_seed(seed)
        for name, parameter in made.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, generator=draws)
        made.save_pretrained(tmp_path / f"{seed}")
    places = [str(tmp_path / f"{seed}") for seed in (0, 1)]
    theirs = peft.PeftModel.from_pretrained(pretrained(saved("gpt2")), places[0], adapter_name="0")
    theirs.load_adapter(places[1], "1")
    theirs.add_weighted_adapter(["0", "1"], [0.25, 0.75], "mean", combination_type="cat")
    theirs.set_adapter("mean")
    ran = run_here("fuse", "--method", "linear", "--sources", *places, "--weights", 1, 3, "-o", tmp_path / "mean")
    assert ran.status == 0, ran.err
    ours = peft.PeftModel.from_pretrained(pretrained(saved("gpt2")), tmp_path / "mean")
    ran = run_here("convert", tmp_path / "mean", "--base", saved("gpt2"), "-o", tmp_path / "whole")
    assert ran.status == 0, ran.err
    tokens = torch.randint(0, 256, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs.eval()(tokens).logits
        torch.testing.assert_close(ours.eval()(tokens).logits, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(pretrained(tmp_path / "whole")(tokens).logits, expected, rtol=1e-4, atol=1e-4)


def test_what_has_no_mean_is_refused(saved, tmp_path):
    a, b = save(tmp_path / "a", 0), save(tmp_path / "b", 1, base_model_name_or_path="other")
    whole = save(tmp_path / "whole", 2, head=True)
    cases = {
        (a, b): "base_model_name_or_path: None in",
        (a, whole): "base_model.model.head.weight: not in both",
        (a, saved("bert")): "is no adapter, as",
        (a, a): "occurs twice",
        (a,): "needs at least two",
        (a, whole, "--method", "ties"): "--method ties is for models",
        (a, whole, "--data", "digits"): "--data has no use",
        (a, whole, "--align", "none", "--renormalise", "repair"): "--renormalise has no use",
        (a, whole, "--val-fraction", 0.1): "--val-fraction has no use",
        (a, whole, "--restarts", 3): "--restarts has no use",
        (a, whole, "--seed", 3): "--seed has no use",
        (a, whole, "--log", "csv"): "has no use for --log",
        (a, whole, "--plot", tmp_path / "mean.svg"): "--plot has no use",
        (a, whole, "--scale", 2): "--scale has no use",
        (a, whole, "--arch-arg", "width=2"): "--arch-arg has no use",
        (a, whole, "--weights", 1, -1): "sum to 0",
        (a, whole, "--weights", 1): "expected a finite number for each of 2 adapters",
    }
    for words, said in cases.items():
        method = () if "--method" in words else ("--method", "linear")
        ran = run_here("fuse", *method, "--sources", *words, "-o", tmp_path / "mean")
        assert (ran.status, said in ran.err) == (1, True), (words, ran.err)
    assert not (tmp_path / "mean").exists()
    ran = run_here("fuse", "--method", "linear", "--sources", a, b)  # by default it would be a file
    assert (ran.status, "an adapter is a directory" in ran.err) == (1, True), ran.err


@pytest.mark.parametrize(("shape", "dtype"), [((2, 4), torch.float32), ((2, 5), torch.float64)], ids=str)
def test_later_adapters_that_disagree_are_refused(tmp_path, shape, dtype):
    """In a weight that the first one does not change."""
    paths = [save(tmp_path / name, 0, places=PLACES[:count]) for name, count in (("a", 1), ("b", 2), ("c", 2))]
    tensors, name = read_tensors(paths[2] / WEIGHTS)[1], "base_model.model.h.1.v.lora_A.weight"
    write_tensors(paths[2] / WEIGHTS, {**tensors, name: torch.zeros(shape, dtype=dtype)}, {"format": "pt"})
    with pytest.raises(StarcliError, match="cannot be averaged") as error:
        sc.mean_adapter(paths)
    [problem] = error.value.problems
    assert problem == f"{name}: {shape} of {str(dtype)[6:]} in {paths[2]}, (2, 5) of float32 in {paths[1]}"


def test_a_mean_that_is_there_is_finished(tmp_path):
    a, b, mean = save(tmp_path / "a", 0), save(tmp_path / "b", 1), tmp_path / "mean"
    words = ("fuse", "--method", "linear", "--sources", a, b, "-o", mean)
    first = run_here(*words)
    before = (mean / WEIGHTS).stat().st_mtime_ns
    again = run_here(*words)
    assert (again.status, again.out) == (0, first.out)
    assert f"{mean}: finished already with these settings; --force makes it anew" in again.err
    assert (mean / WEIGHTS).stat().st_mtime_ns == before
    other = run_here(*words, "--weights", 1, 3)
    assert other.status == 1
    assert "exists; --force overwrites it" in other.err
    assert (mean / WEIGHTS).stat().st_mtime_ns == before
    assert run_here(*words, "--weights", 1, 3, "--force").status == 0


def test_one_rank_writes(tmp_path, monkeypatch):
    a, b = save(tmp_path / "a", 0), save(tmp_path / "b", 1)
    monkeypatch.setattr(distributed, "by_writer", lambda work: None)  # as on the others
    ran = run_here("fuse", "--method", "linear", "--sources", a, b, "-o", tmp_path / "mean")
    assert (ran.status, (tmp_path / "mean").exists()) == (0, False), ran.err
