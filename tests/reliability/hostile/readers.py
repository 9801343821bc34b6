"""What must withstand a stranger's file: everything that is done with one before a network is built."""

from pathlib import Path

import torch

from starcli.alignment.element_file import read_symmetry
from starcli.checkpoints import checkpoint, lineage
from starcli.data.dataset import open_data
from starcli.files.state import StateFile
from starcli.symmetry.archspec.library import load_spec
from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.archspec.validate import resolved_from_json
from starcli.symmetry.kinds.group_kind import GroupKind
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.proof.places import GroupPlace

SHAPES = {f"{part}.{i}.{kind}": shape for i in range(20) for part in ("layer", "head")
          for kind, shape in (("weight", (16, 16)), ("bias", (16,)))}  # fmt: skip
"""Tensors that a stranger's archspec is resolved for."""


def read_checkpoint(path: Path) -> None:
    """Everything that is done with a stranger's checkpoint before a network is built."""
    found = checkpoint.read(path, kinds=("model", "star", "fused", "permutation", "element"))
    _ = found.sha256
    if found.metadata.spec is not None:
        resolved = resolved_from_json(found.metadata.spec.resolved)
        _ = resolved.blocks, resolved.sha256, resolved.log10_symmetries(), resolved.movable()
    found.metadata.to_text()
    lineage.describe(path, verify=True).to_dict()


def read_spec(path: Path) -> None:
    _ = resolve_spec(load_spec(path), SHAPES, {"depth": 20}).blocks


def read_permutation_file(path: Path) -> None:
    spec = resolve_spec(parse("format: 1\ntensors:\n  w: [a, b]\n"), {"w": (4, 6)})
    here, there = GroupPlace("w", 0, 0, "a"), GroupPlace("w", 1, 0, "b")
    kinds = {"a": GroupKind("a", "orthogonal", {here: 1}), "b": GroupKind("b", "scaled", scalings=({there: 1},))}
    symmetry, _ = read_symmetry(path, spec, lambda: Kinds(spec, kinds, 0.0))
    symmetry.inverse().apply({"w": torch.zeros(4, 6)})


def read_state(path: Path) -> None:
    StateFile(path.with_name(path.name.removesuffix(".state")), "a run").load()


def read_data(path: Path) -> None:
    prefix = {".d": "idx:", ".f": "folder:"}.get(path.suffix, "")
    read_named(prefix + str(path))


def read_named(name: str) -> None:
    """The data set of this name, and some of its batches."""
    found = open_data(name)
    for split in (found.train, found.test):
        for _ in split.batches(8, order=torch.arange(min(8, len(split)))):
            pass
