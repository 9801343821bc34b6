"""The device that computes."""

import torch

from starcli.errors import StarcliError


def choose_device(name: str) -> torch.device:
    """The device that `auto`, `cpu`, `cuda` or `mps` stands for here; one that is not there is an error."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    if not available.get(name, False):
        raise StarcliError(f"--device {name}: there is none here; use auto or cpu")
    return torch.device(name)
