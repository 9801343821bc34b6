"""Train and eval mode of a network's modules, attention as its modules compute it, and the precision of products."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from starcli.runtime.process_setting import ProcessSetting

if TYPE_CHECKING:
    import torch
    from torch import nn


@contextmanager
def modes_restored(network: "nn.Module") -> Iterator[None]:
    """Context after which every module of the network is in the mode (train or eval) in which it was before.

    It ends by way of train mode: what a network did to its weights in eval mode is undone before there are others.
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        network.train()
        for module, mode in modes:
            module.training = mode


def set_eval_(network: "nn.Module") -> "nn.Module":
    """Set eval mode after new weights, by way of train mode, and return the network.

    Some networks keep in eval mode what they once computed of their weights (timm's LeViT its tables of positions), or
    add it to these (loralib), and forget or undo it where `train` is called: weights are put in in train mode.
    """
    return network.train().eval()


def notices_mode(network: "nn.Module") -> bool:
    """Whether a module does something of its own where it is put into a mode: all others need no `set_eval_` anew."""
    from torch.nn import Module

    return any(
        type(each).train is not Module.train
        or type(each).eval is not Module.eval
        or not {"train", "eval"}.isdisjoint(vars(each))
        for each in network.modules()
    )


def plain_attention() -> AbstractContextManager[None]:
    """Context without torch's fast path of attention in eval mode, which reads weights out of their modules' sight."""
    return _FAST_ATTENTION


def _has_fast_attention() -> bool:
    import torch

    return torch.backends.mha.get_fastpath_enabled()


def _set_fast_attention(on: bool) -> None:
    import torch

    torch.backends.mha.set_fastpath_enabled(on)


_FAST_ATTENTION = ProcessSetting(_has_fast_attention, _set_fast_attention, False)


def autocast(device: "torch.device", precision: str) -> Any:
    """bf16 convolutions and products where asked for; weights, losses and statistics stay float32 or float64."""
    if precision == "bf16":
        import torch

        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
