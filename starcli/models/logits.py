"""What networks return, checked: a network of the user's own may return anything, and something else in training."""

from typing import TypeGuard

from torch import Tensor

from starcli.errors import StarcliError


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
        found = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise StarcliError(f"the network returns {found} in {mode}, expected one tensor of logits {shape}")
    return outputs


def with_gradient(logits: Tensor) -> Tensor:
    """`logits` that depend on the weights. Raises StarcliError for those that were detached from them."""
    if not logits.requires_grad:
        raise StarcliError(
            "the network's outputs in training have no gradient: nothing can be learned",
            ["they were computed under no_grad, detached, or by operators that have no derivative"],
        )
    return logits
