"""It works: every command on the device against the CPU, the same bytes twice and after a stop, each precision."""

import contextlib
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from support.training import Stopping, search_of

import starcli as sc
from starcli.data.dataset import open_data
from starcli.data.streaming import StreamedSplit
from starcli.files.state import StateFile
from starcli.models.build import build_network, complete_arguments
from starcli.models.logits import prediction_rows
from starcli.models.modes import autocast
from starcli.recipes.recipe import Recipe
from starcli.registry.architectures import ARCHITECTURES
from starcli.registry.tasks import CLASSES, NEXT_TOKEN
from starcli.runtime.arithmetic import arithmetic_restored, set_arithmetic
from starcli.runtime.backward import Backward
from starcli.runtime.progress import Interrupted
from starcli.star.settings import StarSettings
from starcli.star.starlight import starlight
from starcli.training.seeds import seed_globally
from starcli.training.train import train_network

from .lab import Lab, distance

LOSS = 1e-4
"""Relative difference of a loss on two devices, in float32: the order of sums."""
TRAINED = 2e-2
"""The same after epochs of training, in which rounding grows: to 0.005 between two ways to convolve on a CPU."""
ALIGNED = (("weight", LOSS), ("activation", 100 * LOSS))
"""The same of what is aligned first: of activations, which differ by rounding, two units much alike may change."""
COARSE = 1e-3
"""Difference of a loss in bf16 or TF32, absolute and relative."""
TEXTS = ("bag", "textcnn", "bert", "gpt")
"""Networks of tokens."""
EXACT = {"fp32": (0.0, 1e-5), "tf32": (1e-5, 2e-3), "bf16": (1e-4, 2e-2)}
"""Relative error of a product, between these: each precision is what it says. Some kernels of fp32 err by 3e-6."""


def run(lab: Lab) -> None:
    """Precisions, commands, bytes: each in parts of its own."""
    with warnings.catch_warnings(record=True) as said, tempfile.TemporaryDirectory() as place:
        warnings.simplefilter("always")
        with lab.part("precisions"):
            precisions(lab)
        for precision in ("fp32", "bf16"):
            with lab.part(f"gradients twice, {precision}"):
                gradients(lab, precision)
        arguments = {"width": 4, "stages": 2} if lab.quick else {"width": 8}
        for arch, its in (("resnet", arguments), *([] if lab.quick else [("vit", {})])):
            for precision in ("fp32", "bf16"):  # which take other kernels of attention
                with lab.part(f"bytes of runs, {arch}, {precision}"):
                    bytes_of_runs(lab, arch, its, precision, Path(place) / f"{arch}-{precision}")
            with lab.part(f"commands, {arch}"):
                commands(lab, str(lab.device), arch, its)
        with lab.part("written and read"):
            file_round(lab, Path(place))
        with lab.part("image files"):
            streamed(lab, Path(place) / "images")
    notes = {str(each.message).partition("\n")[0][:160]: each.category for each in said}
    doubts = sorted(note for note in notes if "deterministic" in note)
    lab.row("operators that are not deterministic", count=len(doubts), which=str(doubts))
    others = sorted(note for note in notes.keys() - doubts if not issubclass(notes[note], sc.StarcliWarning))
    lab.row("other warnings, not ours", count=len(others), which=str(others[:10]))


def relative(found: float, expected: float) -> float:
    """Relative difference."""
    return abs(found - expected) / max(abs(expected), 1e-3)


def gradients(lab: Lab, precision: str) -> None:
    """Gradients of every shipped network twice: the same bits, wherever no note says that they need not be."""
    told, differing = {}, []
    for name in ("mlp", "bag") if lab.quick else ARCHITECTURES:
        tokens = name in TEXTS
        shape, task = ((32,) if tokens else (3, 32, 32)), NEXT_TOKEN if name == "gpt" else CLASSES
        classes, vocabulary = (100 if name == "gpt" else 10), (100 if tokens else None)
        how = {"input_shape": shape, "num_classes": classes, "vocab_size": vocabulary, "task": task}
        set_arithmetic(lab.device, precision, fast=False)
        network = build_network(name, generator=torch.Generator().manual_seed(0), **complete_arguments(name, {}, **how))
        network = network.to(lab.device, memory_format=torch.channels_last).train()
        draws = torch.Generator().manual_seed(1)
        if tokens:
            inputs = torch.randint(100, (32, *shape), generator=draws).to(lab.device)
        else:
            inputs = torch.randn(32, *shape, generator=draws).to(lab.device, memory_format=torch.channels_last)
        labels = torch.randint(classes, (32, *shape) if name == "gpt" else (32,), generator=draws).to(lab.device)
        progress = Stopping()
        backward, found = Backward(progress), []
        for _ in range(2):
            seed_globally(lab.device, 0)  # of dropout
            with autocast(lab.device, precision):
                outputs = network(inputs)
            logits, targets = prediction_rows(outputs, labels, classes, "training")
            loss = torch.nn.functional.cross_entropy(logits.float(), targets)
            found.append(backward.gradients(loss, list(network.parameters())))
        if progress.notes:
            told[name] = progress.notes[0].rpartition("again: ")[2][:60]
        elif not all(torch.equal(one, other) for one, other in zip(*found, strict=True)):
            differing.append(name)
    lab.check(f"gradients twice, {precision}, networks that differ", float(len(differing)), 0.0, which=str(differing))
    lab.row(f"networks that are not promised to be the same twice, {precision}", count=len(told), which=str(told))


def commands(lab: Lab, device: str, arch: str, arguments: dict[str, Any]) -> None:
    """Train here and on the CPU; all that measures on the same models."""
    how: dict[str, Any] = {"limit": 64 if lab.quick else None, "arch_args": arguments, "epochs": 1 if lab.quick else 3}
    seeds = range(2 if lab.quick else 3)
    models = {
        place: [sc.train(arch, "digits", seed=seed, device=place, lr=0.02, **how) for seed in seeds]
        for place in ("cpu", device)
    }
    sources = models["cpu"]

    def both(what: str, work: Callable[[str], float], limit: float = LOSS) -> None:
        with lab.part(f"{what}, {arch}"):
            lab.check(f"{what}, {arch}", relative(work(device), work("cpu")), limit)

    def loss(model: sc.Checkpoint) -> float:
        return float(model.metadata.metrics["train"]["loss"])

    trained = zip(models[device], sources, strict=True)
    lab.check(f"train, {arch}", max(relative(loss(one), loss(other)) for one, other in trained), TRAINED)
    both("eval", lambda place: sc.evaluate(sources[0], recalibrate=True, device=place)[0]["nll"])
    aligned = [sc.align(*sources[:2], device=place).sha256 for place in ("cpu", device)]
    lab.check(f"align by weight, {arch}", float(aligned[0] != aligned[1]), 0.0)
    for method, limit in ALIGNED:
        how_far = partial(sc.barrier, *sources[:2], alignment=method)
        both(f"barrier, {method}", lambda p, how_far=how_far: how_far(device=p).curves["train"].loss_max, limit)
    short = {"epochs": how["epochs"]}
    star = sc.find_star(sources, device="cpu", **short)
    both("star", lambda place: loss(star if place == "cpu" else sc.find_star(sources, device=place, **short)), TRAINED)
    both("fuse", lambda place: loss(sc.fuse(sources, device=place, **short)), TRAINED)
    for method, limit in ALIGNED:
        drawn = partial(sc.bma, star, sources, samples=2, repeats=1, alignment=method)
        both(f"bma, {method}", lambda p, drawn=drawn: drawn(device=p)[-1]["nll"], limit)
    exact = sc.evaluate(sources[0], recalibrate=True, device="cpu")[0]["nll"]
    for precision in ("bf16", "tf32") if lab.device.type == "cuda" else ("bf16",):
        coarse = sc.evaluate(sources[0], recalibrate=True, device=device, precision=precision)[0]["nll"]
        lab.check(f"eval in {precision}, {arch}", abs(coarse - exact) / (1 + exact), COARSE)


def bytes_of_runs(lab: Lab, arch: str, arguments: dict[str, Any], precision: str, place: Path) -> None:
    """The same bytes twice, and in a run that was stopped and goes on from its state, a file beside `place`."""
    dataset = open_data("digits", limit=64 if lab.quick else 600)
    workspace = lab.workspace(precision, arch=arch, dataset=dataset, **arguments)
    recipe = Recipe(epochs=2, batch_size=32, lr=0.02)

    def train(**options: Any) -> Any:
        return train_network(workspace, recipe, 0, **options).tensors

    states = [train_network(workspace, recipe, seed).tensors for seed in (1, 2)]
    search = search_of(states, recipe, StarSettings())

    def star(**options: Any) -> Any:
        return starlight(workspace, search, **options).tensors

    for what, made in (("train", train), ("star", star)):
        told = Stopping()  # which never stops
        whole = made(progress=told)
        if doubts := [note for note in told.notes if "same bits" in note]:
            lab.row(f"{what} is not promised to be the same twice, {arch}, {precision}", count=1, which=str(doubts))
        lab.check(f"{what} twice, {arch}, {precision}", distance(whole, made()), 0.0)
        state = StateFile(place.with_suffix(f".{what}"), what)
        with contextlib.suppress(Interrupted):
            made(state=state, progress=Stopping(3))
        lab.check(f"{what} resumed, {arch}, {precision}", distance(whole, made(state=state)), 0.0)


def file_round(lab: Lab, place: Path) -> None:
    """A model of the device, written and read."""
    model = sc.train("mlp", "digits", epochs=1, limit=100, device=str(lab.device))
    found = sc.load(sc.save(model, place / "model.safetensors"))
    lab.check("written and read", float(found.sha256 != model.sha256), 0.0)


def streamed(lab: Lab, place: Path) -> None:
    """Image files that workers decode while the device computes: begun after it was, and as on the CPU."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for split, label, number in product(("train", "test"), "ab", range(48)):
        file = place / split / label / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 128 if label == "a" else 256, (16, 16, 3), dtype=np.uint8)).save(file)
    how: dict[str, Any] = {"arch_args": {"width": 8}, "image_size": 16, "epochs": 1, "batch_size": 16, "lr": 0.02}
    with mock.patch.object(StreamedSplit, "RESIDENT_BYTES", 0):
        found = [sc.train("resnet", f"folder:{place}", device=d, **how) for d in ("cpu", str(lab.device))]
    here, there = (float(model.metadata.metrics["train"]["loss"]) for model in found)
    lab.check("train on image files read by workers", relative(there, here), TRAINED)


def precisions(lab: Lab) -> None:
    """Errors of a product and a convolution against float64: what `--precision` says is what the card does."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(512, 512, generator=generator), torch.randn(512, 512, generator=generator)
    images, weight = torch.randn(8, 64, 16, 16, generator=generator), torch.randn(64, 64, 3, 3, generator=generator)
    work: dict[str, tuple[Callable[..., torch.Tensor], tuple[torch.Tensor, ...]]] = {
        "product": (torch.matmul, (a, b)),
        "convolution": (torch.nn.functional.conv2d, (images, weight)),
    }
    for precision in EXACT if lab.device.type == "cuda" else ("fp32", "bf16"):
        with arithmetic_restored():
            set_arithmetic(lab.device, precision, fast=False)
            for what, (function, operands) in work.items():
                expected = function(*(each.double() for each in operands))
                there = [each.to(lab.device) for each in operands]
                with torch.autocast(lab.device.type, torch.bfloat16, enabled=precision == "bf16"):
                    found = function(*there).cpu().double()
                error = float((found - expected).norm() / expected.norm())
                least, most = EXACT[precision]
                lab.row(f"{what} in {precision}", difference=error, limit=most, held=least <= error <= most)
