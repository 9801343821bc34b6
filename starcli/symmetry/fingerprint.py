"""Hash of a network from outside, of what it is and computes, under which results may be kept.

Where the code lies, or what it says, does not tell: a builder may read a file or the environment.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from starcli.models.external import code_hash, is_of_library
from starcli.models.names import is_external
from starcli.symmetry.proof.evaluation import ProofNetwork
from starcli.symmetry.proof.redraw import fresh_inputs, redrawn

DIGITS = 1e6
"""Outputs count up to this part of the largest: more digits change with the number of threads."""


def network_fingerprint(name: str, network: nn.Module, example: Sequence[Tensor]) -> str | None:
    """Hash of a network by the name `name`: its code, its modules and their attributes, its tensors, what it computes.

    Outputs are those of eval mode in float64, at fixed generic weights (see `redraw`) and fixed inputs like `example`.
    Empty for an architecture of the registry, which its arguments decide. None where no hash tells the network: it
    cannot be evaluated, or gives other outputs each time.

    >>> first, second = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    >>> example = (torch.zeros(2, 3),)
    >>> network_fingerprint("my:net", first, example) == network_fingerprint("my:net", second, example)
    False
    >>> again = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    >>> network_fingerprint("my:net", first, example) == network_fingerprint("my:net", again, example)
    True
    """
    if not is_external(name):
        return ""
    code = code_hash(name, network)
    if is_of_library(name):  # name, arguments and the version of the library decide these
        return code
    digest = hashlib.sha256(code.encode())
    for line in _structure(network):
        digest.update(f"{line}\n".encode())
    outputs = [_outputs(network, example) for _ in range(2)]
    if outputs[0] is None or outputs[0] != outputs[1]:
        return None
    digest.update(outputs[0])
    return digest.hexdigest()


def _structure(network: nn.Module) -> Iterator[str]:
    """A line for each module with its plain attributes, and one for each tensor."""
    for name, module in network.named_modules(remove_duplicate=False):
        attributes = {key: _plain(_unnumbered(key, value)) for key, value in vars(module).items()}
        attributes = {key: value for key, value in attributes.items() if key not in _TORCHS_OWN}
        yield f"{name} {type(module).__module__}.{type(module).__qualname__} {sorted(attributes.items())}"
    memory: dict[tuple[int, int], str] = {}
    for name, value in network.state_dict(keep_vars=True).items():
        if isinstance(value, Tensor):
            first = memory.setdefault((value.data_ptr(), value.numel()), name)  # tied tensors have one memory
            yield f"{name} {value.dtype} {tuple(value.shape)} {first}"


_TORCHS_OWN = {"training", "_parameters", "_buffers", "_modules", "_is_full_backward_hook"}
"""Attributes of every module that say nothing of the network, or are hashed apart."""


def _unnumbered(key: str, value: Any) -> Any:
    """Hooks without their numbers, which count all hooks of the process."""
    return list(value.values()) if "_hooks" in key and isinstance(value, Mapping) else value


def _plain(value: Any) -> str:
    """An attribute as text that is the same in every process; of what has none, the type."""
    if value is None or isinstance(value, bool | int | float | str | bytes | torch.dtype):
        return repr(value)
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)} {_bytes_hash(value)}"
    if isinstance(value, Mapping):
        return str([(_plain(key), _plain(child)) for key, child in value.items()])
    if isinstance(value, list | tuple):
        return str([_plain(child) for child in value])
    if isinstance(value, set | frozenset):
        return str(sorted(_plain(child) for child in value))
    kind = value if isinstance(value, type) or callable(value) else type(value)
    return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', type(value).__qualname__)}"


def _bytes_hash(tensor: Tensor) -> str:
    if tensor.is_meta:
        return ""
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    return hashlib.sha256(plain.view(torch.uint8).numpy().data if plain.numel() else b"").hexdigest()


def _outputs(network: nn.Module, example: Sequence[Tensor]) -> bytes | None:
    """Rounded outputs at generic weights, as bytes; None where the network cannot be evaluated."""
    state = {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}
    generator = torch.Generator().manual_seed(0)
    try:
        inputs = fresh_inputs(network, example, generator)
        outputs = ProofNetwork(network, redrawn(state, generator), torch.float64).run(inputs)
    except Exception:  # a network of the user's own may raise anything
        return None
    parts = []
    for output in outputs:
        scale = float(output.abs().max()) or 1.0
        parts.append((output / scale * DIGITS).round().to(torch.int64).numpy().tobytes())
        parts.append(f"{tuple(output.shape)} {scale:.5e}".encode())
    return b"".join(parts)
