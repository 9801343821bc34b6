"""Choice of the device that computes."""

import torch

from starcli.errors import StarcliError


def choose_device(name: str) -> torch.device:
    """Device for `--device`: cpu, cuda, mps or auto (cuda, else mps, else cpu).

    Raises StarcliError where there is none of that kind.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    if not available.get(name, False):
        raise StarcliError(f"--device {name}: there is none here; use auto or cpu")
    return torch.device(name)
