"""Some of the tensors of a network, by patterns of their names: such as those of a head, or of one layer."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import Tensor, nn

from starcli.errors import StarcliError, few


def names_like(network: nn.Module, patterns: Sequence[str], option: str) -> list[str]:
    """Names in the state dict of `network` that match any of the patterns, and all other names of the same tensors.

    StarcliError for a pattern that no name matches; `option` is where it was given.

    >>> names_like(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4)), ["1.*"], "--only")
    ['1.weight', '1.bias']
    """
    tensors = network.state_dict(keep_vars=True)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in tensors):
            raise StarcliError(f"{option} {pattern}: no tensor of the network is called so", [few([*tensors], 12)])
    found = {id(tensor) for name, tensor in tensors.items() if any(fnmatchcase(name, each) for each in patterns)}
    return [name for name, tensor in tensors.items() if id(tensor) in found]


def unmatched(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Those of `names` that match none of the patterns.

    >>> unmatched(["body.weight", "fc.weight", "fc.bias"], ["fc.*"])
    ['body.weight']
    """
    return [name for name in names if not any(fnmatchcase(name, pattern) for pattern in patterns)]


def with_own_values(network: nn.Module, tensors: Mapping[str, Tensor], patterns: Sequence[str]) -> dict[str, Tensor]:
    """The state dict `tensors`, but of the names that match `patterns` those of `network`, whatever they are there."""
    own, names = network.state_dict(), names_like(network, patterns, "--reinit")
    kept = {name: tensors[name] for name in unmatched(tensors, patterns)}
    return kept | {name: own[name] for name in names}
