"""All that the library does on a device that is only pretended: no tensor on the wrong one, the CPU's results."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.pretended import pretended_cuda, pretended_mps
from support.tensors import same

import starcli as sc

NETWORKS: Mapping[str, dict[str, Any]] = {"resnet": {"width": 4, "stages": 2}, "mlp": {"hidden_dim": 16}}


def session(arch: str, device: str) -> tuple[list[sc.Checkpoint], list[Any]]:
    """Models of every command that makes some, and the rows of those that measure."""
    where = {"limit": 100, "arch_args": NETWORKS[arch], "val_fraction": 0.2, "device": device}
    models = [sc.train(arch, "digits", seed=seed, epochs=1, **where) for seed in range(3)]
    sources, held_out, there = models[:2], models[2:], {"device": device}
    repaired = {"renormalise": "repair", "renormalise_logits": True, **there}
    star = sc.find_star(sources, held_out=held_out, epochs=2, seed=7, **there)
    made = [
        *models,
        star,
        sc.find_star(sources, epochs=1, seed=8, alignment="activation", **there),
        sc.find_star(sources, epochs=1, seed=9, noise=0.2, **there),
        sc.fuse(sources, epochs=1, seed=7, **there),
        sc.fuse(sources, method="regmean", **there),
        *([sc.fuse(sources, method="fisher", **there)] if arch == "mlp" else []),  # a backward pass for each example
        sc.align(models[0], models[1], **there),
        sc.align(models[0], models[1], method="activation", **there),
        *(
            sc.align(models[0], models[1], method=sc.Alignment(method, steps=2), **there)
            for method in ("straight-through", "sinkhorn", "learn")
        ),
        sc.interpolate(models[0], models[1], alignment=None, weights=[0.25, 0.75], **there),
        sc.interpolate(models[0], models[1], t=0.5, alignment=None, **repaired),
    ]
    measured = [
        sc.barrier(models[0], models[1], alignment="activation", points=3, **there),
        sc.barrier(models[0], models[1], points=3, alignment=None, **repaired),
        sc.star_report(star, sources, held_out=held_out, points=3, **there),
        sc.bma(star, sources, samples=2, repeats=2, **there),
        sc.evaluate(*models, temperature="fit", **there),
        sc.predict(models[0], data="digits", **there),
    ]
    return made, measured


@cache
def on_the_cpu(arch: str) -> tuple[list[sc.Checkpoint], list[Any]]:
    return session(arch, "cpu")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::starcli.StarcliWarning")
@pytest.mark.parametrize(
    ("arch", "device"),
    [("resnet", "cuda"), ("mlp", "cuda"), ("mlp", "mps")],  # convolutions have another layout on mps, and other sums
)
def test_the_results_of_the_cpu(arch: str, device: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretended = {"cuda": pretended_cuda, "mps": pretended_mps}[device]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cpu"))  # a cache for each: neither has what the other found
    expected, figures = on_the_cpu(arch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / device))
    with pretended(monkeypatch):
        found, figures_there = session(arch, device)
    for one, other in zip(expected, found, strict=True):
        assert same(one.tensors, other.tensors)
    assert list(map(str, figures)) == list(map(str, figures_there))
