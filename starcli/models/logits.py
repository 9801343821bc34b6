"""Checks of networks' outputs: one of the user's own may return anything, and something else in training."""

from collections.abc import Mapping
from typing import TypeGuard

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError, type_in_words
from starcli.runtime.global_generator import generator_borrowed


def are_logits(outputs: object, shape: tuple[int, ...]) -> TypeGuard[Tensor]:
    """Whether `outputs` are logits of `shape`, (B, classes) or (networks, B, classes); they may be of more classes."""
    return (
        isinstance(outputs, Tensor)
        and outputs.dim() == len(shape)
        and outputs.shape[:-1] == shape[:-1]
        and outputs.shape[-1] >= shape[-1]
    )


def as_logits(outputs: object, shape: tuple[int, ...], mode: str) -> Tensor:
    """`outputs` of a network in `mode`, once they are seen to be logits of `shape`. Raises StarcliError otherwise."""
    if not are_logits(outputs, shape):
        found = tuple(outputs.shape) if isinstance(outputs, Tensor) else type_in_words(outputs)
        raise StarcliError(
            f"the network returns {found} in {mode}, expected one tensor of logits {shape}", how_to_wrap(outputs)
        )
    return outputs


def prediction_rows(outputs: object, labels: Tensor, num_classes: int, mode: str) -> tuple[Tensor, Tensor]:
    """Outputs (R, C), a row for each prediction, and the targets (R,), classes, or (R, C), that these are to be.

    Of labels (B,) each example is one prediction. Labels (B, length) are next tokens: each position with one (not below
    0, as behind the end of a text) is a prediction, and outputs are (B, length, C). Labels (B, C) that are floats are
    targets of the outputs, one for each. Raises StarcliError as `as_logits`, and for outputs of another shape than such
    targets.

    >>> logits, targets = prediction_rows(torch.zeros(1, 3, 7), torch.tensor([[5, 6, -1]]), 7, "training")
    >>> logits.shape, targets
    (torch.Size([2, 7]), tensor([5, 6]))
    """
    if labels.is_floating_point():
        found = as_logits(outputs, tuple(labels.shape), mode)
        if found.shape != labels.shape:
            hint = "it is to have an output for each column that is predicted"
            raise StarcliError(f"the network returns {tuple(found.shape)}, targets are {tuple(labels.shape)}", [hint])
        return found, labels
    logits = as_logits(outputs, (*labels.shape, num_classes), mode)
    if labels.dim() == 1:
        return logits, labels
    there = (labels.flatten() >= 0).nonzero().squeeze(1)  # once: a GPU is waited for, and a mask costs more than rows
    return logits.flatten(0, -2).index_select(0, there), labels.flatten().index_select(0, there)


def token_places(inputs: Tensor) -> Tensor | None:
    """Which positions (batch * length,) of a batch of padded texts are tokens; None where nothing is padded.

    >>> token_places(torch.tensor([[5, 6, -1]]))
    tensor([ True,  True, False])
    """
    if inputs.is_floating_point() or not bool((inputs < 0).any()):
        return None
    return (inputs >= 0).flatten()


def doubts_of_logits(logits: Tensor, num_classes: int) -> list[str]:
    """Notes on odd outputs (..., C) of a network: more of them than classes, or probabilities.

    Losses of probabilities that are taken as logits look right, and are of something else.

    >>> doubts_of_logits(torch.tensor([[0.2, 0.8]]), num_classes=2)
    ['the network outputs probabilities, and they are taken as logits: leave out its softmax']
    """
    doubts = []
    if logits.shape[-1] > num_classes:
        doubts.append(f"the network has {logits.shape[-1]} logits for {num_classes} classes of the data")
    sums = logits.sum(-1)
    if logits.shape[-1] > 1 and bool((logits >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), rtol=1e-4):
        doubts.append("the network outputs probabilities, and they are taken as logits: leave out its softmax")
    return doubts


def doubts_of_passes(network: nn.Module, inputs: Tensor) -> list[str]:
    """Notes on a network whose outputs in eval mode are no function of one example.

    Outputs that are other ones each time, or other ones beside other examples.

    >>> doubts_of_passes(nn.BatchNorm1d(2, track_running_stats=False), torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
    ['in eval mode too the network returns other outputs for an example beside others in its batch']
    """
    alone = inputs[:1].expand_as(inputs)  # no other example beside the first one
    try:
        with torch.no_grad(), generator_borrowed():
            first, again, beside = (network(each.clone()) for each in (inputs, inputs, alone))
        nothing = APART * float(first.abs().max())
        changes, depends = float((again - first).abs().max()), float((beside - first)[0].abs().max())
    except Exception:  # a network of the user's own may raise anything, and says so where it is measured
        return []
    if changes > nothing:
        return ["in eval mode the network returns other outputs each time (F.dropout needs training=self.training)"]
    if depends > nothing:
        return ["in eval mode too the network returns other outputs for an example beside others in its batch"]
    return []


APART = 1e-4
"""Outputs that differ by more than this part of the largest are other ones."""


def how_to_wrap(outputs: object) -> list[str]:
    """Hints how a network that returns `outputs`, which are no tensor, can return logits; none where they are one.

    >>> how_to_wrap({"logits": 0, "loss": 0})
    ["wrap it in a module whose forward returns this output's logits alone"]
    """
    if isinstance(outputs, Tensor):
        return []
    named = "logits" in outputs if isinstance(outputs, Mapping) else hasattr(outputs, "logits")
    whose = "this output's" if named else "the"
    return [f"wrap it in a module whose forward returns {whose} logits alone"]


def looks_ahead(network: nn.Module, tokens: Tensor) -> bool:
    """Whether what a network in eval mode returns for `tokens` (B, length) depends on a later token than it has read.

    Such a network sees what it is to predict, and its losses mean nothing.
    """
    other = tokens.clone()
    other[:, -1] = torch.where(tokens[:, -1] == 0, tokens.amax(), 0)
    with torch.no_grad():
        one, two = network(tokens)[:, :-1], network(other)[:, :-1]
    return not torch.allclose(one, two, rtol=1e-3, atol=1e-5 * float(one.abs().max()))


def with_gradient(logits: Tensor) -> Tensor:
    """`logits` that depend on the weights. Raises StarcliError for those that were detached from them."""
    if not logits.requires_grad:
        raise StarcliError(
            "the network's outputs in training have no gradient: nothing can be learned",
            ["they were computed under no_grad, detached, or by operators that have no derivative"],
        )
    return logits
