"""A star step against a plain step: data, augmentation, forward, backward and optimiser, as runs take them."""

import warnings
from collections import Counter
from functools import partial
from unittest import mock

import torch

from starcli.alignment.alignment import Alignment
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
            waits(lab, stars)
        with lab.part("profile"):
            lab.profile(f"profile of a star step, {of}", lambda: stars.steps(10), 10)
    objective.bank.close()


def waits(lab: Lab, stepper: Stepper) -> None:
    """Keep what makes the host wait for the card in ten steps."""
    if lab.device.type != "cuda":
        return
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        stepper.steps(10)
    torch.cuda.set_sync_debug_mode("default")
    places = Counter(f"{each.filename.rpartition('/')[2]}:{each.lineno}" for each in said)
    lab.row("waits of the host in 10 star steps", count=len(said), places=str(dict(places)))


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


def run_captured(lab: Lab) -> None:
    """Forward and backward pass of a plain step, operator by operator and as one CUDA graph: what launches cost.

    As torch's notes on CUDA graphs have it: a few passes on a stream beside come first, gradients are made within the
    graph, and autocast keeps no weights between passes.
    """
    workspace, recipe = lab.workspace("bf16"), recipe_of(lab)
    network = workspace.network(0).network.train()
    parameters, count = list(network.parameters()), 2 if lab.quick else 20
    batches = workspace.dataset.train.batches(recipe.batch_size, device=lab.device, channels_last=True)
    inputs, labels = next(iter(batches))

    def clear() -> None:
        for parameter in parameters:
            parameter.grad = None

    def passes() -> None:
        with torch.autocast(lab.device.type, torch.bfloat16, cache_enabled=False):
            outputs = network(inputs)
        torch.nn.functional.cross_entropy(outputs.float(), labels).backward()

    def one_by_one() -> None:
        for _ in range(count):
            clear()
            passes()

    one_by_one()
    taken = min(lab.seconds(one_by_one) for _ in range(5)) / count
    lab.row("forward and backward pass, bf16, operator by operator", seconds=taken)
    if lab.device.type != "cuda":
        return
    beside, main = torch.cuda.Stream(lab.device), torch.cuda.current_stream(lab.device)
    beside.wait_stream(main)
    with torch.cuda.stream(beside):
        one_by_one()
    main.wait_stream(beside)
    clear()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        passes()

    def replayed() -> None:
        for _ in range(count):
            graph.replay()

    replayed()
    taken = min(lab.seconds(replayed) for _ in range(5)) / count
    lab.row("forward and backward pass, bf16, one graph", seconds=taken)
