"""What launches cost: passes, and whole star steps, recorded once as a CUDA graph and replayed.

The recorded step is a prototype, by which one visit decides whether the package is to record its steps. All that
differs from step to step (examples, their windows and flips, the source, t, the rate) lies in two small tensors on the
device, which are filled before each; what happens in between asks the host for nothing.
"""

from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy, pad

from starcli.data.augment import PADDING
from starcli.data.dataset import Dataset
from starcli.data.normalisation import prepare_batch
from starcli.data.splits import MemorySplit
from starcli.models.logits import prediction_rows
from starcli.recipes.recipe import Recipe
from starcli.star.starlight_step import OnLines
from starcli.training.optimizer import build_optimizer
from starcli.training.schedule import learning_rate
from starcli.training.seeds import generator, substream
from starcli.workspace.workspace import Workspace

from .lab import Lab, Stepper
from .steps import recipe_of, sources, star

WARM = 3
"""Steps before one is recorded: kernels are chosen, momenta begun."""


def run(lab: Lab) -> None:
    """Passes alone, then whole steps: of the reference case, and of a network so small that it waits for launches."""
    workspace = lab.workspace("bf16")
    with lab.part("passes"):
        passes(lab, workspace)
    small = {"width": 4, "stages": 2} if lab.quick else {"width": 8}
    for of, ours in (
        ("", workspace),
        (", width 8", lab.workspace("bf16", arch="resnet", dataset=workspace.dataset, **small)),
    ):
        with lab.part(f"whole star step{of}"):
            whole(lab, ours, of)


def passes(lab: Lab, workspace: Workspace) -> None:
    """Forward and backward pass of a plain step, operator by operator and as one graph.

    As torch's notes on CUDA graphs have it: a few passes on a stream beside come first, gradients are made within the
    graph, and autocast keeps no weights between passes.
    """
    recipe = recipe_of(lab)
    network = workspace.network(0).network.train()
    parameters, count = list(network.parameters()), 2 if lab.quick else 20
    batches = workspace.dataset.train.batches(recipe.batch_size, device=lab.device, channels_last=True)
    inputs, labels = next(iter(batches))

    def both() -> None:
        for parameter in parameters:
            parameter.grad = None
        with torch.autocast(lab.device.type, torch.bfloat16, cache_enabled=False):
            outputs = network(inputs)
        cross_entropy(outputs.float(), labels).backward()

    taken = fastest(lab, both, count)
    lab.row("forward and backward pass, bf16, operator by operator", seconds=taken)
    if lab.device.type == "cuda":
        taken = fastest(lab, recorded(lab, both, lambda: [both() for _ in range(WARM)]), count)
        lab.row("forward and backward pass, bf16, one graph", seconds=taken)


def fastest(lab: Lab, work: Callable[[], object], count: int) -> float:
    """Seconds of `work`, one of `count` after each other, in the fastest of five rounds."""

    def many() -> None:
        for _ in range(count):
            work()

    many()
    return min(lab.seconds(many) for _ in range(5)) / count


def recorded(lab: Lab, work: Callable[[], object], warm: Callable[[], object]) -> Callable[[], object]:
    """`work` as one CUDA graph, after `warm` on a stream beside; without a card `work` itself."""
    if lab.device.type != "cuda":
        warm()
        return work
    beside, main = torch.cuda.Stream(lab.device), torch.cuda.current_stream(lab.device)
    beside.wait_stream(main)
    with torch.cuda.stream(beside):
        warm()
    main.wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class StepOnDevice:
    """Star steps of seed 0, epoch 0, as the package takes them, by operators that a graph can record.

    `fill` puts what a step draws on the device, `work` does the step. Sources lie side by side, (N, P).
    """

    def __init__(self, objective: OnLines, dataset: Dataset, recipe: Recipe) -> None:
        split, device = dataset.train, objective.vector.device
        assert isinstance(split, MemorySplit)
        self.objective, self.recipe, self.split, self.classes = objective, recipe, split, dataset.num_classes
        self.raw, self.labels = split.raw.to(device), split.labels.to(device)
        self.sources = torch.stack([objective.bank.vector(n) for n in range(len(objective.bank.sources))])
        size, (channels, height, width) = recipe.batch_size, split.raw.shape[1:]
        self.size, self.steps = size, len(split) // size  # a last batch of another size would be another graph
        self.shape, self.padded = (size, channels, height, width), (height + 2 * PADDING, width + 2 * PADDING)
        planes = torch.arange(size * channels).view(size, channels, 1) * (self.padded[0] * self.padded[1])
        self.begins = (planes + torch.arange(height) * self.padded[1]).to(device)  # of each row of a window at (0, 0)
        self.order = torch.randperm(len(split), generator=generator(0, "order", 0))
        self.numbers = torch.zeros(3 * size + 1, dtype=torch.int64, device=device)
        self.rows, self.corners, self.flips, self.source = self.numbers.split([size, size, size, 1])
        self.reals = torch.zeros(3, device=device)  # t, 1 - t, rate
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.optimizer = build_optimizer(recipe, objective.parts)
        self.optimizer.param_groups[0]["lr"] = self.reals[2]

    def fill(self, number: int) -> None:
        """Draw what step `number` needs, as runs draw it, and put it on the device: two copies."""
        step = number % self.steps
        draws, most = torch.Generator().manual_seed(substream(0, "augment", 0, step)), 2 * PADDING + 1
        top, left = (torch.randint(most, (self.size,), generator=draws) for _ in range(2))
        flips = torch.arange(self.size) + self.size * torch.randint(2, (self.size,), generator=draws)
        source, t = self.objective.draw(0, step, 0)
        rows = self.order[step * self.size : (step + 1) * self.size]
        numbers = torch.cat([rows, top * self.padded[1] + left, flips, torch.tensor([source])])
        reals = torch.tensor([t, 1 - t, learning_rate(self.recipe, step, self.steps)])
        for there, here in ((self.numbers, numbers), (self.reals, reals)):
            there.copy_(here.pin_memory() if there.is_cuda else here, non_blocking=True)

    def work(self) -> None:
        """The step: batch, point on the line, forward and backward pass, update of the star."""
        objective, flat = self.objective, self.objective.flat
        images = pad(self.raw.index_select(0, self.rows), [PADDING] * 4)
        lines = images.view(-1).unfold(0, self.shape[3], 1)
        images = lines.index_select(0, (self.begins + self.corners.view(-1, 1, 1)).flatten()).view(self.shape)
        images = torch.cat([images, images.flip(3)]).index_select(0, self.flips)
        inputs = prepare_batch(images, self.split.input_shape, self.split.normalisation, channels_last=True)
        other = self.sources.index_select(0, self.source)[0]
        torch.lerp(objective.vector, other, self.reals[0], out=flat.parameters)
        with torch.autocast(inputs.device.type, torch.bfloat16, cache_enabled=False):
            outputs = flat.network(inputs)
        labels = self.labels.index_select(0, self.rows)
        logits, targets = prediction_rows(outputs, labels, self.classes, "training")
        logits = logits.float()
        loss = objective.loss(logits, targets, inputs, labels)
        objective.clear()
        torch.autograd.backward(self.reals[1] * loss)
        for part, gradient in zip(objective.parts, objective.gradients(), strict=True):
            part.grad = gradient
        self.optimizer.step()
        self.loss.copy_(loss.detach())
        self.correct += (logits.detach().argmax(1) == targets).sum()


def whole(lab: Lab, workspace: Workspace, of: str) -> None:
    """Star steps of the package, and the same as one graph: what they take, and how far the stars are apart then."""
    recipe, (rounds, count) = recipe_of(lab), (2, 2) if lab.quick else (5, 20)
    found = sources(workspace, 5)
    plain = Stepper(star(workspace, found, recipe), workspace.dataset, recipe)
    objective = star(workspace, found, recipe)
    objective.begin_epoch(0)
    step = StepOnDevice(objective, workspace.dataset, recipe)

    def warm() -> None:
        for number in range(WARM):
            step.fill(number)
            step.work()

    replay, taken = recorded(lab, step.work, warm), WARM

    def graphs() -> None:
        nonlocal taken
        for _ in range(count):
            step.fill(taken)
            replay()
            taken += 1

    plain.steps(WARM + count)
    graphs()
    apart = float((plain.run.objective.vector - objective.vector).abs().max())
    lab.row(f"star after {taken} steps, one graph against operators{of}", difference=apart)
    times = [(lab.seconds(lambda: plain.steps(count)), lab.seconds(graphs)) for _ in range(rounds)]
    lab.measured(f"star step, bf16, operator by operator{of}", [one / count for one, _ in times])
    lab.measured(f"star step, bf16, one graph{of}", [other / count for _, other in times])
    ratios = sorted(other / one for one, other in times)
    lab.row(f"star step, one graph over operator by operator{of}", ratio=ratios[len(ratios) // 2])
    lab.row(f"star step, bf16, the graph alone, nothing drawn{of}", seconds=fastest(lab, replay, count))
    lab.profile(f"profile of a star step as one graph, bf16{of}", graphs, count)
    for each in (plain.run.objective, objective):
        each.bank.close()
