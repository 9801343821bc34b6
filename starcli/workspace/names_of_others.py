"""Names of tensors in files of others, beside those of the network: prefixes of trainers, and what does not belong."""

from torch import nn

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.prefixes import NetworkNames, named_as, patterns_of
from starcli.checkpoints.state_dict import Pick, StateDict, convert_line
from starcli.errors import StarcliError

NOT_THERE = ": not in the network"
"""End of the line that tells of a tensor that a network does not have."""


def needed_names(network: nn.Module) -> NetworkNames:
    """Names that a state dict of `network` must have, by tensor; BatchNorm's counters may be missing."""
    groups = dict[int, set[str]]()
    for name, tensor in network.state_dict(keep_vars=True).items():
        if name.rpartition(".")[2] != "num_batches_tracked":
            groups.setdefault(id(tensor), set()).add(name)
    return list(groups.values())


def without_prefix(checkpoint: Checkpoint, names: NetworkNames) -> Checkpoint:
    """A checkpoint without a trainer's prefix, and what lies outside it, with notes: see `named_as`."""
    source = str(checkpoint.path or checkpoint.name)
    bare = named_as(StateDict(checkpoint.tensors, checkpoint.versions), names, source)
    return checkpoint.with_tensors(
        bare.tensors,
        reopen=lambda: named_as(StateDict(checkpoint.fresh_tensors()), names, source).tensors,
        versions=bare.versions,
        notes=(*checkpoint.notes, *bare.notes),
    )


def way_out(checkpoint: Checkpoint, error: StarcliError) -> list[str]:
    """A line that leaves out the tensors that are not the network's, where nothing else is wrong; or none."""
    strange = [problem.removesuffix(NOT_THERE) for problem in error.problems if problem.endswith(NOT_THERE)]
    if checkpoint.path is None or len(strange) < len(error.problems):
        return []
    extra = [name for name in checkpoint.tensors if any(f".{name}".endswith(f".{each}") for each in strange)]
    patterns = patterns_of(extra, [name for name in checkpoint.tensors if name not in set(extra)])
    pick = checkpoint.pick or Pick()
    line = convert_line(str(checkpoint.path), Pick(pick.key, (*pick.ignore, *patterns)))
    return [f"{Pick(ignore=patterns).options()} leaves out what follows: {line}"]
