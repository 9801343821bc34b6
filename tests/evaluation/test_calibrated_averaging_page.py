"""What docs/how-to/calibrated-averaging.md computes of probabilities from elsewhere, on a network without dropout."""

import re
from pathlib import Path

import pytest
import torch

import starcli as sc
from starcli.data.dataset import open_data
from starcli.evaluation.confidence import confidence

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "calibrated-averaging.md"


def test_the_page_measures_as_eval_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sc.save(sc.train("mlp", "digits", epochs=2, limit=200), "0.safetensors")
    images, labels = next(iter(open_data("digits").test.batches(1000)))
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(code, {"images": images, "labels": labels, "others": torch.zeros_like(images)})
    metrics, apart, interval = capsys.readouterr().out.splitlines()
    [row] = sc.evaluate("0.safetensors")
    assert eval(metrics) == pytest.approx({name: row[name] for name in eval(metrics)}, rel=1e-5)
    with torch.no_grad():
        losses = torch.nn.functional.cross_entropy(sc.module("0.safetensors")(images), labels, reduction="none")
    spread = float(losses.std()) / len(labels) ** 0.5
    for found, sign in zip(re.findall(r"\d\.\d+", interval), (-1, 1), strict=True):
        assert float(found) == pytest.approx(row["nll"] + sign * 1.96 * spread, abs=0.3 * spread)
    found = sc.predict("0.safetensors")
    again = confidence(torch.tensor(found.probabilities).log(), torch.tensor(found.label)).values
    assert again["nll"] == pytest.approx(row["nll"], rel=1e-5)
    entropies = torch.tensor(sc.predict("0.safetensors").entropy)
    with torch.no_grad():
        probabilities = sc.module("0.safetensors")(torch.zeros_like(images[:1])).double().softmax(1)
    blank = float(torch.special.entr(probabilities).sum())
    assert float(apart) == pytest.approx(float((entropies < blank).double().mean()), abs=0.003)
