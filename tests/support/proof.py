"""What tests of proofs share: a spec's text resolved for a network, and its proof."""

from collections.abc import Sequence

from torch import Tensor, nn

from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.proof.prove import Proof, prove


def resolve(network: nn.Module, text: str) -> Resolved:
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    return resolve_spec(parse(text, "test.yaml"), shapes, buffers=[name for name, _ in network.named_buffers()])


def proof_of(network: nn.Module, text: str, example: Sequence[Tensor], seed: int = 0) -> Proof:
    return prove(network, resolve(network, text), tuple(example), seed=seed)
