"""A mode that sees every operator, as torch's own, without torch's compiler."""

from torch.utils._python_dispatch import TorchDispatchMode


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Base of modes whose `__torch_dispatch__` is called as it is.

    Torch would wrap it such that its compiler leaves it alone: that loads the compiler at the first operator, which
    takes more than a second, and costs time at each.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
