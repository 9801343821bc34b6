"""starcli fuse by merges of weights alone: with data the usual table, without them from file to file."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.program import run_here
from support.refused import refused
from support.training import Stopping

import starcli as sc
from starcli.checkpoints.checkpoint import read_metadata


def test_a_merge_beside_its_sources_and_base(solutions, place):
    base, *sources = solutions.some(0, 1, 2)
    words = ("fuse", "--method", "ties", "--sources", *sources, "--base", base, "--density", 0.5)
    ran = run_here(*words, "-o", "m.safetensors")
    assert ran.status == 0, ran.err
    test = {row["model"]: row for row in ran.rows if row["split"] == "test"}
    assert list(test) == ["fused", "base", "source", "best_source", "ensemble", "mean", "aligned_mean"]
    assert {row["alignment"] for row in test.values()} == {"none"}
    metadata = read_metadata(place / "m.safetensors")[1]
    assert metadata.recipe["fused"]["density"] == [0.5]
    assert metadata.parents == [sc.load(each).sha256 for each in (*sources, base)]
    assert test["fused"]["loss"] == pytest.approx(metadata.metrics["test"]["loss"], rel=1e-6)
    fused = sc.fuse(sources, method="ties", base=base, density=0.5)
    sc.save(fused, "mine.safetensors")
    assert (place / "mine.safetensors").read_bytes() == (place / "m.safetensors").read_bytes()


def test_a_linear_merge_is_the_weighted_mean_of_aligned_models(solutions, place):
    sources = solutions.some(0, 1)
    ran = run_here("fuse", "--method", "linear", "--sources", *sources, "--weights", 1, 3, "-o", "m.safetensors")
    assert ran.status == 0, ran.err
    run_here("align", *sources, "--joint", "--method", "activation", "-o", "a{name}.safetensors")
    made = run_here("interpolate", sources[0], "a1.safetensors", "--weights", 0.25, 0.75, "-o", "i.safetensors")
    assert made.status == 0, made.err
    ours, theirs = (sc.load(name).tensors for name in ("m.safetensors", "i.safetensors"))
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-4, atol=1e-6)
    assert "before" not in ran.err
    again = ("fuse", "--method", "linear", "--sources", sources[0], "a1.safetensors", "-o", "n.safetensors")
    assert "a1.safetensors: aligned to 0.safetensors before, and anew now, by activation" in run_here(*again).err


@pytest.fixture
def foreign(place):
    """Three files that say nothing of themselves; the second in shards."""
    draws = torch.Generator().manual_seed(0)
    models = [{n: torch.randn(8, 6, generator=draws).bfloat16() for n in ("a.weight", "b.weight")} for _ in range(3)]
    for number, model in enumerate(models):
        save_file(model, f"{number}.safetensors", {"format": "pt"})
    ran = run_here("convert", "1.safetensors", "--plain", "--shard-size", "96", "-o", "s/model.safetensors")
    assert ran.status == 0, ran.err
    return models


def test_files_without_data_are_merged_as_they_are(foreign, place):
    words = ("fuse", "--method", "task-arithmetic", "--sources", "0.safetensors", "s", "--base", "2.safetensors")
    ran = run_here(*words, "--scale", 0.5, "-o", "m.safetensors")
    assert ran.status == 0, ran.err
    [row] = ran.rows
    assert (row["tensors"], row["parameters"], row["alignment"]) == (2, 96, "none")
    a, b, base = foreign
    for name, tensor in load_file("m.safetensors").items():
        changes = (a[name].float() - base[name].float()) + (b[name].float() - base[name].float())
        assert torch.equal(tensor, (base[name].float() + 0.5 * changes).bfloat16())
    assert read_metadata(place / "m.safetensors")[1].kind == "fused"
    again = run_here(*words, "--scale", 0.5, "-o", "m.safetensors")
    assert "finished already" in again.err
    refused(run_here(*words, "-o", "m.safetensors"), "fused scale: 0.5 there, nothing asked for")
    fused = sc.fuse(["0.safetensors", "s"], method="task-arithmetic", base="2.safetensors", scale=0.5)
    sc.save(fused, "mine.safetensors")
    assert (place / "mine.safetensors").read_bytes() == (place / "m.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("method", "said"),
    [("karcher", {"weights": [1, 2]}), ("della", {"epsilon": [0.2], "seed": 3}), ("sce", {"density": [0.5]})],
)
def test_shards_files_and_python_give_the_same_bytes_and_settings_are_recorded(method, said, foreign, place):
    words = [
        word for name, value in said.items() for word in (f"--{name}", *(value if isinstance(value, list) else [value]))
    ]
    base = [] if method == "karcher" else ["--base", "2.safetensors"]
    for second, output in (("1.safetensors", "whole.safetensors"), ("s", "m.safetensors")):
        sources = ("--sources", "0.safetensors", second)
        ran = run_here("fuse", "--method", method, *sources, *base, *words, "-o", output)
        assert ran.status == 0, ran.err
    whole, sharded = (load_file(name) for name in ("whole.safetensors", "m.safetensors"))
    assert all(torch.equal(whole[name], tensor) for name, tensor in sharded.items())
    recorded = read_metadata(place / "m.safetensors")[1].recipe["fused"]
    assert {name: recorded[name] for name in said if name != "seed"} == {k: v for k, v in said.items() if k != "seed"}
    keywords = {**said, **({"base": base[1]} if base else {})}
    sc.save(sc.fuse(["0.safetensors", "s"], method=method, **keywords), "mine.safetensors")
    assert (place / "mine.safetensors").read_bytes() == (place / "m.safetensors").read_bytes()


def test_what_one_model_changed_is_merged_into_its_base(solutions, foreign, place):
    """A negative weight takes away what it learned; without data as with them."""
    base, source = solutions.some(0, 1)
    for of_base, of_source in (("2.safetensors", "0.safetensors"), (base, source)):
        words = ("fuse", "--method", "task-arithmetic", "--sources", of_source, "--base", of_base, "--weights", -0.5)
        ran = run_here(*words, "-o", "less.safetensors", "--force")
        assert ran.status == 0, ran.err
        old, new, found = (sc.load(each).tensors for each in (of_base, of_source, "less.safetensors"))
        for name, tensor in found.items():
            if name.endswith("weight"):
                expected = old[name].float() - 0.5 * (new[name].float() - old[name].float())
                torch.testing.assert_close(tensor, expected.to(tensor.dtype), rtol=1e-2, atol=1e-6)
        made = sc.fuse([of_source], method="task-arithmetic", base=of_base, weights=[-0.5])
        sc.save(made, "mine.safetensors", force=True)
        assert (place / "mine.safetensors").read_bytes() == (place / "less.safetensors").read_bytes()
        few = ("fuse", "--sources", of_source, "-o", "x.safetensors")
        refused(run_here(*few, "--base", of_base, "--method", "model-stock"), "at least 2 sources, found 1")
        refused(run_here(*few, "--method", "linear"), "--sources needs at least two models, found one")


def test_settings_that_do_not_go_together_are_refused_before_anything_is_read_or_measured(solutions, foreign):
    words = ("--sources", *solutions.some(1, 2), "--base", solutions.some(0)[0])
    for sources in (words, ("--sources", "0.safetensors", "s", "--base", "2.safetensors")):
        ran = run_here("fuse", "--method", "della", *sources, "--density", 0.95)
        refused(ran, "density 0.95 and epsilon 0.07: shares from 0.88 to 1.02, expected above 0, at most 1")
        ran = run_here("fuse", "--method", "ties", *sources, "--epsilon", 0.1, "--density", 2)
        refused(ran, "epsilon: it has no such setting", "density: 2: expected shares above 0, at most 1")
        ran = run_here("fuse", "--method", "sce", *sources, "--weights", 1, 2)
        refused(ran, "weights: it has no such setting")
    refused(
        run_here("fuse", "--method", "karcher", "--sources", "0.safetensors", "s", "--weights", 1, -1), "numbers from 0"
    )


def test_who_watches_a_merge_without_data_gets_its_notes(foreign, place):
    for number, model in enumerate(foreign):
        save_file({**model, "norm.running_mean": torch.ones(8)}, f"{number}.safetensors")
    watcher = Stopping()
    sc.fuse(["0.safetensors", "2.safetensors"], method="linear", progress=watcher)  # a warning would be an error
    assert any("BatchNorm statistics are averaged" in note for note in watcher.notes)


def test_notes_that_hold_for_every_seed_are_said_once(foreign, place):
    for number, model in enumerate(foreign):
        save_file({**model, "norm.running_mean": torch.ones(8)}, f"{number}.safetensors")
    words = ("--base", "2.safetensors", "--method", "dare-ties", "--seeds", "0-2", "-o", "m{seed}.safetensors")
    ran = run_here("fuse", "--sources", "0.safetensors", "1.safetensors", *words)
    assert ran.status == 0, ran.err
    assert [row["seed"] for row in ran.rows] == [0, 1, 2]
    assert ran.err.count("BatchNorm statistics are averaged") == 1


def test_what_a_merge_cannot_do_is_said_before_it(foreign, place):
    sources = ("--sources", "0.safetensors", "1.safetensors", "-o", "m.safetensors")
    for words, named in {
        ("--method", "ties"): "it needs --base",
        ("--method", "mean", "--weights", 1, 2): "--method mean has no use for --weights",
        ("--method", "linear", "--lr", 0.1): "--method linear has no use for --lr",
        ("--method", "linear", "--align", "weight"): "--align needs network and data",
        ("--method", "linear", "--restarts", 3): "--restarts needs network and data",
        ("--method", "linear", "--renormalise", "repair"): "--renormalise needs network and data",
        ("--method", "linear", "--plot", "m.png"): "--plot needs network and data",
        ("--method", "linear", "--log", "csv"): "--method linear has no use for --log",
        ("--method", "linear", "--overrides", "c*:weights=1,2"): "--overrides c* matches no tensor",
    }.items():
        refused(run_here("fuse", *sources, *words), named)
    assert not (place / "m.safetensors").exists()
