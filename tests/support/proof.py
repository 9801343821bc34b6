"""What tests of proofs share: a spec's text resolved for a network, and its proof."""

from collections.abc import Sequence

from torch import Tensor, nn

from starcli.symmetry.archspec.resolve import resolve_for
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.proof.prove import Proof, prove


def resolve(network: nn.Module, text: str) -> Resolved:
    return resolve_for(network, parse(text, "test.yaml"))


def proof_of(network: nn.Module, text: str, example: Sequence[Tensor], seed: int = 0) -> Proof:
    return prove(network, resolve(network, text), tuple(example), seed=seed)
