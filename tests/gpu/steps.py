"""A star step against a plain step: data, augmentation, forward, backward and optimiser, as runs take them."""

import copy
from functools import partial
from unittest import mock

import torch

from starcli.alignment.alignment import Alignment
from starcli.models.modes import autocast
from starcli.recipes.recipe import Recipe
from starcli.runtime.progress import SILENT
from starcli.star import source_bank
from starcli.star.settings import StarSettings
from starcli.star.source_bank import Source, SourceBank
from starcli.star.starlight_step import OnLines
from starcli.training.train import PlainObjective
from starcli.workspace.workspace import Workspace

from .lab import Lab, Stepper


def recipe_of(lab: Lab, **changes: object) -> Recipe:
    """The recipe of all steps and epochs."""
    return Recipe(epochs=1000, batch_size=lab.size.batch, lr=0.02).override(**changes)


def sources(workspace: Workspace, count: int) -> list[Source]:
    """Sources, each with memory of its own; of 5 different ones, for drawing weights takes long."""
    states = [workspace.network(seed).state() for seed in range(1, min(count, 5) + 1)]
    return [Source(str(number), lambda state=states[number % 5]: state) for number in range(count)]


def star(workspace: Workspace, found: list[Source], recipe: Recipe) -> OnLines:
    """The objective of a star whose sources are taken as they are."""
    settings = StarSettings(alignment=Alignment(None), draws_per_step=1)
    bank = SourceBank(found, workspace.network(0))
    return OnLines(workspace, bank, recipe, 0, settings, (), SILENT)


def compared(
    lab: Lab, what: str, workspace: Workspace, count: int, *, ahead: bool = False, compiled: bool = False
) -> None:
    """Time plain and star steps in turn; `ahead`: sources are read ahead, as if they did not fit on the device."""
    recipe, (rounds, steps) = recipe_of(lab, compile=compiled), (2, 2) if lab.quick else (7, 20)
    plain = Stepper(PlainObjective(workspace, workspace.network(0), recipe), workspace.dataset, recipe)
    with mock.patch.object(source_bank, "fits", return_value=not ahead):
        objective = star(workspace, sources(workspace, count), recipe)
    stars = Stepper(objective, workspace.dataset, recipe)
    for stepper in (plain, stars):  # kernels are chosen, every source is composed once
        stepper.steps(2 if lab.quick or compiled or ahead else 3 * count)
    times = [[lab.seconds(lambda s=s: s.steps(steps)) / steps for s in (plain, stars)] for _ in range(rounds)]
    ratios = sorted(ours / theirs for theirs, ours in times)
    of = f"{what}, {count} sources"
    lab.measured(f"plain step, {what}", [theirs for theirs, _ in times])
    lab.measured(f"star step, {of}", [ours for _, ours in times])
    lab.row(f"star step over plain step, {of}", ratio=ratios[len(ratios) // 2], limit=1.03)
    if not (ahead or compiled) and count == 5:
        with lab.part("waits"):
            lab.waits("10 star steps", lambda: stars.steps(10))
        with lab.part("profile"):
            lab.profile(f"profile of a star step, {of}", lambda: stars.steps(10), 10)
    objective.bank.close()


def run(lab: Lab) -> None:
    """bf16 with 5 and 50 sources, sources read ahead, then float32."""
    workspace = lab.workspace("bf16")
    for count in (5, 6 if lab.quick else 50):
        with lab.part(f"bf16, {count} sources"):
            compared(lab, "bf16", workspace, count)
    with lab.part("bf16, read ahead"):
        compared(lab, "bf16, read ahead", workspace, 5, ahead=True)
    for precision in ("tf32", "fp32") if lab.device.type == "cuda" else ("fp32",):
        with lab.part(precision):
            compared(lab, precision, lab.workspace(precision, dataset=workspace.dataset), 3)


def run_compiled(lab: Lab) -> None:
    """bf16 through torch.compile."""
    compared(lab, "bf16, compiled", lab.workspace("bf16"), 5, compiled=True)


def run_graphs(lab: Lab) -> None:
    """The same where passes are recorded once and replayed as CUDA graphs; updates of weights stay outside of them."""
    with mock.patch("torch.compile", partial(torch.compile, mode="reduce-overhead")):
        compared(lab, "bf16, compiled, CUDA graphs", lab.workspace("bf16"), 5, compiled=True)


def run_layouts(lab: Lab) -> None:
    """Passes of the network with its channels innermost, as the package has them, and outermost, by precision.

    float32 may be slower with channels innermost, where cuDNN has kernels for TF32 and bf16 above all; and what it
    costs that sums are taken in the same order each time.
    """
    dataset = lab.images()
    for precision in ("bf16", "tf32", "fp32") if lab.device.type == "cuda" else ("bf16", "fp32"):
        for fast in (False, True):
            with lab.part(f"passes, {precision}{', --fast' * fast}"):
                workspace = lab.workspace(precision, dataset=dataset, fast=fast)
                for name, layout in (("innermost", torch.channels_last), ("outermost", torch.contiguous_format)):
                    if not fast or precision == "fp32" or name == "innermost":
                        taken = passes(lab, workspace, layout)
                        what = f"forward and backward pass, {precision}{', --fast' * fast}, channels {name}"
                        lab.row(what, seconds=taken)


def passes(lab: Lab, workspace: Workspace, layout: torch.memory_format) -> float:
    """Seconds of a forward and backward pass of a batch."""
    network = copy.deepcopy(workspace.network(0).network).to(memory_format=layout).train()
    parameters, count = list(network.parameters()), 2 if lab.quick else 10
    inputs, labels = next(iter(workspace.dataset.train.batches(lab.size.batch, device=lab.device)))
    inputs = inputs.contiguous(memory_format=layout)

    def work() -> None:
        for _ in range(count):
            with autocast(lab.device, workspace.precision):
                outputs = network(inputs)
            torch.autograd.grad(torch.nn.functional.cross_entropy(outputs.float(), labels), parameters)

    work()
    return min(lab.seconds(work) for _ in range(3)) / count
