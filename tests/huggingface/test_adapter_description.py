"""What adapters say of themselves, held to what `peft` writes and to what is applied."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from huggingface.conftest import pretrained
from support.program import run_here

import starcli as sc
from starcli.errors import StarcliError
from starcli.files.safetensors import read_tensors
from starcli.files.write import write_tensors
from starcli.huggingface.adapter_description import WEIGHTS
from starcli.huggingface.adapters import read_adapter

NAMES = {"h.0.q": 2, "h.1.v": 3}


def save(path: Path, **config: object) -> Path:
    """An adapter of two weights of different ranks, with a head held as a whole."""
    tensors = {"base_model.model.head.weight": torch.zeros(3, 7)}
    for module, rank in NAMES.items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = torch.ones(rank, 5)
        tensors[f"base_model.model.{module}.lora_B.weight"] = torch.ones(7, rank)
    said = {"peft_type": "LORA", "lora_alpha": 6, "r": 2, "target_modules": ["q", "v"], "rank_pattern": {"v": 3}}
    path.mkdir()
    path.joinpath("adapter_config.json").write_text(json.dumps({**said, "base_model_name_or_path": "gpt_a", **config}))
    write_tensors(path / WEIGHTS, tensors, {"format": "pt"})
    return path


def test_an_adapter_is_shown_by_its_folder_and_by_its_file(tmp_path):
    place = save(tmp_path / "adapter", use_rslora=True)
    [row] = run_here("inspect", place).rows
    assert (row["file"], row["kind"], row["method"], row["base"]) == ("adapter", "adapter", "LORA", "gpt_a")
    assert (row["rank"], row["ranks"], row["alpha"], row["scaled_by"]) == (2, [2, 3], 6, "alpha / sqrt(rank)")
    assert (row["target_modules"], row["modules"], row["whole"]) == (["q", "v"], sorted(NAMES), ["head.weight"])
    assert (row["tensors"], row["parameters"]) == (5, 21 + 12 * sum(NAMES.values()))
    assert row["problem"] is None
    [of_file] = run_here("inspect", place / WEIGHTS).rows
    assert {**of_file, "file": "", "command": ""} == {**row, "file": "", "command": ""}
    shown = run_here("inspect", place, "--lineage", tty=True)
    assert (shown.status, shown.err) == (0, "")
    for words in (
        "adapter, LORA",
        "gpt_a",
        "2 (of its tensors 2, 3)",
        "q, v",
        "2 weights: h.0.q, h.1.v",
        "head.weight",
    ):
        assert words in shown.out
    assert "starcli convert ADAPTER --base BASE" in shown.out
    tree = shown.out.splitlines()[-2:]
    assert tree == ["adapter  adapter, which records no lineage", "└── gpt_a  its base, by the name in its config"]
    assert "records no hash" in run_here("inspect", place, "--verify").err


def test_what_peft_writes_is_shown_as_it_is_applied(saved, tmp_path):
    peft = pytest.importorskip("peft")
    asked = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    model = peft.get_peft_model(pretrained(saved("gpt2")), asked)
    model.save_pretrained(tmp_path / "peft")
    found, applied = sc.describe_adapter(tmp_path / "peft"), read_adapter(tmp_path / "peft")
    assert found.modules == sorted(each.module for each in applied.factors) == ["transformer.h.0.attn.c_attn"]
    assert (found.ranks, found.config["lora_alpha"], found.whole) == ([4], 8, [])
    assert found.to_dict()["parameters"] == sum(each.numel() for each in model.parameters() if each.requires_grad)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"peft_type": "IA3"}, "an adapter of kind IA3"),
        ({"use_dora": True}, "an adapter with use_dora"),
        ({"init_lora_weights": "pissa"}, "changes its base first"),
    ],
)
def test_adapters_that_are_not_applied_are_shown_with_the_reason(tmp_path, config, problem):
    place = save(tmp_path / "adapter", **config)
    [row] = run_here("inspect", place).rows
    assert problem in row["problem"]
    with pytest.raises(StarcliError, match=problem):
        read_adapter(place)
    assert problem in " ".join(run_here("inspect", place, tty=True).out.split())


@pytest.mark.parametrize(
    ("config", "tensors", "problem"),
    [
        ({}, {"h.0.q.lora_B.weight": None}, "h.0.q.lora_A.weight has no B beside its A"),
        ({}, {"h.0.q.lora_B.weight": torch.ones(7, 9)}, r"of shape \(2, 5\) and a B of shape \(7, 9\)"),
        ({}, {"h.0.q.lora_A.weight": torch.ones(0, 5), "h.0.q.lora_B.weight": torch.ones(7, 0)}, r"of shape \(0, 5\)"),
        ({}, {"h.0.q.lora_A.weight": torch.tensor(1.0)}, r"of shape \(\) and a B"),
        ({"lora_alpha": "8"}, {}, "alpha '8' of lora_alpha, expected a number"),
        ({"alpha_pattern": {"q": None}}, {}, "alpha None of q, expected a number"),
        ({"alpha_pattern": {"q(": 3}}, {}, r"alpha_pattern q\(, expected names of modules, or regular expressions"),
        ({"alpha_pattern": {"(?i)q": 3}}, {}, r"alpha_pattern \(\?i\)q, expected names of modules"),
        ({"alpha_pattern": {"q{99999999999}": 3}}, {}, "expected names of modules, or regular expressions"),
        ({"alpha_pattern": {"(q+)+x": 3}}, {}, r"alpha_pattern \(q\+\)\+x, which could take long"),
        ({"alpha_pattern": {"q*q*q*x": 3}}, {}, "which could take long: at most two repetitions"),
        ({"alpha_pattern": {f"q.{n}$": 3 for n in range(1001)}}, {}, "alpha_pattern of 1,001 regular expressions"),
        ({"lora_alpha": 10**120}, {}, "of lora_alpha, expected a number"),
        ({"alpha_pattern": ["q"]}, {}, "expected numbers by the names of modules"),
    ],
)
def test_what_is_wrong_with_an_adapter_is_shown_and_refused_in_one_line(tmp_path, config, tensors, problem):
    place = save(tmp_path / "adapter", **config)
    found = {**read_tensors(place / WEIGHTS)[1], **{f"base_model.model.{name}": each for name, each in tensors.items()}}
    write_tensors(place / WEIGHTS, {name: each for name, each in found.items() if each is not None}, {"format": "pt"})
    ran = run_here("inspect", place)
    assert ran.status == 0, ran.err
    assert re.search(problem, ran.rows[0]["problem"])
    with pytest.raises(StarcliError, match=problem):
        read_adapter(place)


def test_adapters_beside_models_make_one_table(solutions_of_mlp, tmp_path):
    place = save(tmp_path / "adapter")
    ran = run_here("inspect", solutions_of_mlp, place, tty=True)
    assert ran.status == 0, ran.err
    assert "adapter" in ran.out


@pytest.fixture
def solutions_of_mlp(tmp_path) -> Path:
    place = tmp_path / "mlp.safetensors"
    sc.save(sc.train("mlp", "digits", epochs=1, limit=60), place)
    return place


def test_folders_without_tensors_that_are_read_say_so(tmp_path):
    place = save(tmp_path / "adapter")
    shutil.move(place / WEIGHTS, place / "adapter_model.bin")
    for line in (("inspect", place), ("convert", place, "--base", place, "-o", tmp_path / "out")):
        ran = run_here(*line)
        assert ran.status == 1
        assert "Traceback" not in ran.err
    assert "its tensors are in adapter_model.bin, expected adapter_model.safetensors" in run_here("inspect", place).err
    (place / "adapter_model.bin").unlink()
    assert "cannot read: No such file" in run_here("inspect", place).err
    place.joinpath("adapter_config.json").write_text("[1]")
    assert "it is no object" in run_here("inspect", place).err
