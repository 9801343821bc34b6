"""Permutation files: read with the check that they belong to the network's spec, or a random permutation instead."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from starcli.checkpoints import checkpoint
from starcli.checkpoints.metadata import Sha256
from starcli.errors import StarcliError
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.permutation import Permutation


def read_permutation(path: Path, spec: Resolved) -> tuple[Permutation, Sha256]:
    """The permutation in a file and its hash; one that was made for another spec is refused."""
    found = checkpoint.read(path, kinds=("permutation",))
    recorded = found.metadata.spec
    if recorded is not None and recorded.sha256 != spec.sha256:
        raise StarcliError(
            f"{path}: permutes another network's groups",
            [f"its spec is {recorded.sha256[:12]}, the model's {spec.sha256[:12]}"],
        )
    return Permutation.from_tensors(spec, found.tensors), found.sha256


def chosen_permutation(
    spec: Resolved, by: Path | None, *, seed: int, invert: bool
) -> tuple[Permutation, Mapping[str, Any]]:
    """The permutation of a file, or a random one drawn from `seed`; and the settings that say which it was."""
    if by is not None:
        permutation, sha256 = read_permutation(by, spec)
        settings: dict[str, Any] = {"by": sha256}
    else:
        permutation, settings = Permutation.random(spec, torch.Generator().manual_seed(seed)), {"random": seed}
    return (permutation.inverse() if invert else permutation), {**settings, "invert": invert}
