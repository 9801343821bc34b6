"""Merges that look at data: the Fisher-weighted mean and the regression mean of the sources."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from starcli.barriers.interpolation import complete_state
from starcli.evaluation.batchnorm_statistics import evened_batch_size
from starcli.evaluation.evaluator import Evaluator
from starcli.evaluation.tasks.task import Task, task_named
from starcli.fusion.fusing import Fused, Fusing, scored
from starcli.fusion.input_products import InputProducts, input_products
from starcli.merging.data_weighted import fisher_mean, regression_mean
from starcli.models.flat_network import FlatNetwork
from starcli.models.logits import prediction_rows
from starcli.models.modes import modes_restored, set_eval_
from starcli.runtime.backward import Backward
from starcli.runtime.device import float64
from starcli.runtime.progress import SILENT, Progress
from starcli.training.seeds import generator

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

EXAMPLES = 256
"""Training examples on which a source is looked at."""

Seen = TypeVar("Seen")

SEEN_AT_ONCE = 32
"""How many of these go through a network at a time, where what its layers read is held."""


def fisher_sources(fusing: Fusing) -> Fused:
    """The mean of the sources, aligned to each other, each parameter weighted by its Fisher information.

    See `fisher_mean` and `fisher_information`; on 256 training examples of each source's data, without their labels.
    """
    task, classes = task_named(fusing.workspace.dataset.task), fusing.workspace.dataset.num_classes

    def look(flat: FlatNetwork, workspace: "Workspace") -> dict[str, Tensor]:
        draws = generator(fusing.fusion.seed, "fisher")
        return fisher_information(flat, _examples(fusing, workspace, 1), task, classes, draws, fusing.progress)

    seen = _of_each(fusing, "Fisher information", look)
    merged = {
        name: fisher_mean([model[name] for model in fusing.together], [each[name] for each in seen]) for name in seen[0]
    }
    return scored(fusing, complete_state(fusing.workspace, merged, fusing.together, progress=fusing.progress))


def regression_sources(fusing: Fusing) -> Fused:
    """The regression mean of the sources, aligned to each other.

    See `regression_mean` and `input_products`; on 256 training examples of each source's data, without their labels,
    BatchNorm with the statistics of SEEN_AT_ONCE of them (`layer_inputs`). All parameters but the weights of linear
    layers and convolutions are averaged.
    """

    def look(flat: FlatNetwork, workspace: "Workspace") -> dict[str, InputProducts]:
        return input_products(flat, (inputs for inputs, _ in _examples(fusing, workspace, SEEN_AT_ONCE)))

    seen = _of_each(fusing, "inputs of layers", look)
    names = [slot.name for slot in fusing.workspace.network().layout]
    models = [{name: model[name] for name in names} for model in fusing.together]
    merged = {name: torch.stack([model[name].double() for model in models]).mean(0) for name in names}
    for name in seen[0]:
        merged[name] = _regressed([model[name] for model in models], [each[name] for each in seen])
    share = sum(merged[name].numel() for name in seen[0]) / sum(tensor.numel() for tensor in merged.values())
    fusing.progress.note(f"regression sets {share:.1%} of the parameters, the rest is averaged")
    return scored(fusing, complete_state(fusing.workspace, merged, fusing.together, progress=fusing.progress))


def fisher_information(
    flat: FlatNetwork,
    examples: Iterator[tuple[Tensor, Tensor]],
    task: Task,
    num_classes: int,
    draws: torch.Generator,
    progress: Progress = SILENT,
) -> dict[str, Tensor]:
    """Diagonal of the Fisher information, by the parameter's name, in the network's present mode.

    F = E_x E_y (d log p(y | x) / d theta)^2 over `examples`, batches of one each, with one y for each prediction drawn
    from the model's own p(y | x), as the definition has it (`Task.drawn_loss`); of next tokens log p is the sum over a
    text's, of labels the sum over all.
    """
    named = dict(flat.network.named_parameters())
    total, count, backward = torch.zeros_like(float64(flat.parameters)), 0, Backward(progress)
    squares = flat.views(total)
    for inputs, labels in examples:
        outputs, _ = prediction_rows(flat.network(inputs), labels, num_classes, "evaluation")
        found = backward.gradients(task.drawn_loss(outputs, draws), [named[name] for name in squares])
        for square, gradient in zip(squares.values(), found, strict=True):
            square += float64(gradient).square()
        count += 1
    return {name: (square / count).cpu() for name, square in squares.items()}


def _of_each(
    fusing: Fusing, task: str, look: Callable[[FlatNetwork, "Workspace"], dict[str, Seen]]
) -> list[dict[str, Seen]]:
    """The results of `look` at each source, aligned, with statistics re-estimated, its network in eval mode.

    All on the source's own data, where there are any.
    """
    together = fusing.together
    fusing.progress.start(task, len(together))
    evaluator, found = Evaluator(fusing.workspaces[0], progress=fusing.progress), []
    for model, workspace in zip(together, fusing.workspaces, strict=True):
        fusing.progress.stop_if_asked()
        if evaluator.workspace is not workspace:
            evaluator = Evaluator(workspace, progress=fusing.progress)
        evaluator.load(model)
        with modes_restored(evaluator.network.network):
            set_eval_(evaluator.network.network)
            found.append(look(evaluator.network, workspace))
        fusing.progress.step()
    fusing.progress.finish()
    return found


def _examples(fusing: Fusing, workspace: "Workspace", size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of training examples of a workspace, of `size` at most, the same for all sources of the same data."""
    split = workspace.dataset.train
    some = torch.randperm(len(split), generator=generator(fusing.fusion.seed, "examples"))[:EXAMPLES]
    size = evened_batch_size(size, len(some))  # BatchNorm knows no variance of a last one alone
    return split.subset(some.sort().values).batches(size, device=workspace.device)


def _regressed(weights: Sequence[Tensor], seen: Sequence[InputProducts]) -> Tensor:
    """The regression mean of a weight, in its shape."""
    first, (groups, inputs, _) = seen[0], seen[0].products.shape
    rows = [each.T if first.transposed else each for each in weights]
    found = regression_mean([each.reshape(groups, -1, inputs) for each in rows], [each.products for each in seen])
    return found.reshape(rows[0].shape).T if first.transposed else found.reshape(rows[0].shape)
