"""The lines of docs/merging.md for tasks with heads of their own, on tiny models of these names."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from huggingface.conftest import pretrained, transformers
from support.program import run_here

import starcli as sc

PAGE = Path(__file__).parents[2] / "docs" / "merging.md"


def test_bodies_are_merged_and_heads_put_back(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("base").symlink_to(saved("bert", 0))
    Path("topics").symlink_to(saved("bert", 1))
    tone = transformers.BertForSequenceClassification.from_pretrained(saved("bert", 2))
    tone.num_labels, tone.config.num_labels, tone.classifier = 2, 2, torch.nn.Linear(16, 2)
    tone.save_pretrained("tone")
    models = {name: pretrained(Path(name)) for name in ("base", "topics", "tone")}
    refused = run_here("fuse", "--method", "linear", "--sources", "topics", "tone", "-o", "merged")
    assert refused.status == 1
    assert "starcli convert MODEL --ignore 'classifier.*' --plain, of each" in refused.err

    section = PAGE.read_text().partition("## Tasks with heads of their own")[2].partition("\n## ")[0]
    [shell] = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    convert, fuse = re.findall(r"starcli .*", shell.replace("\\\n", " "))
    for name in models:
        words = shlex.split(convert.replace("$model", name))
        assert run_here(*words[1:]).status == 0
    words = shlex.split(fuse.replace("{topics,tone}.body", "topics.body.safetensors tone.body"))  # as a shell does
    assert run_here(*words[1:]).status == 0
    [code] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    exec(code, {})

    states = {name: model.state_dict() for name, model in models.items()}
    for task in ("topics", "tone"):
        for name, found in pretrained(Path(f"{task}_merged")).state_dict().items():
            base, *others = (states[of].get(name) for of in ("base", "topics", "tone"))
            head = name.startswith("classifier.")
            expected = states[task][name] if head else base + 0.5 * sum(each - base for each in others)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)

    bodies = [dict(sc.load(name, ignore=["classifier.*"]).tensors) for name in models]
    with pytest.warns(UserWarning, match="units in another order"):  # each is of random weights of its own
        merged = sc.fuse(bodies[1:], method="task-arithmetic", base=bodies[0], scale=0.5)
    assert merged.tensors["bert.pooler.dense.bias"].shape == (16,)
    assert not any(name.startswith("classifier") for name in merged.tensors)
