"""Networks of every kind in float64, at weights of which none is special, and elements of their symmetry groups."""

from functools import cache

import torch
from support.networks.dense import Layered, Stepped
from support.networks.lists import BRANCHES, HEADS, MIXTURE, Branches, HeadList, Mixture
from support.rotary import Decoder, by_neighbours
from support.small_transformers import BERTLike, GPTLike, LlamaLike
from torch import Tensor, nn

from starcli.models.build import build_network
from starcli.symmetry.archspec.resolve import resolve_for
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.derive_kinds import derive_kinds
from starcli.symmetry.kinds.kinds import Kinds

TOKENS = (torch.zeros(2, 5, dtype=torch.int64),)
VIT = {
    "image_size": 8,
    "patch_size": 4,
    "in_channels": 1,
    "num_classes": 3,
    "dim": 8,
    "depth": 2,
    "heads": 2,
    "mlp_dim": 6,
}


def dense(activation: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 4), activation, nn.Linear(4, 3), activation, nn.Linear(3, 2))


NETWORKS = {
    "relu": lambda: (dense(nn.ReLU()), (torch.zeros(2, 5),)),
    "tanh": lambda: (dense(nn.Tanh()), (torch.zeros(2, 5),)),
    "linear": lambda: (dense(nn.Identity()), (torch.zeros(2, 5),)),
    "vit": lambda: (build_network("vit", **VIT), (torch.zeros(2, 1, 8, 8),)),
    "gpt": lambda: (GPTLike(), TOKENS),
    "bert": lambda: (BERTLike(), TOKENS),
    "llama": lambda: (LlamaLike(), TOKENS),
    "rotary": lambda: (Decoder(by_neighbours), TOKENS),
    "lstm": lambda: (Layered("LSTM", bidirectional=True), (torch.zeros(2, 4, 3),)),
    "cells": lambda: (Stepped(), (torch.zeros(2, 4, 3),)),
    "experts": lambda: (Mixture(), (torch.zeros(2, 8),)),
    "heads": lambda: (HeadList(), (torch.zeros(2, 5, 7),)),
    "branches": lambda: (Branches(), (torch.zeros(2, 4),)),
}
SPECS = {"experts": MIXTURE, "heads": HEADS, "branches": BRANCHES}
"""Of networks whose specs are written by hand, with stacks."""
CONTINUOUS = [name for name in NETWORKS if name not in ("tanh", "cells")]
"""Those that have more than signs."""


@cache
def case(name: str) -> tuple[nn.Module, Kinds, dict[str, Tensor], Tensor]:
    """A network in float64, its kinds, weights of which none is special, and inputs."""
    torch.manual_seed(0)
    network, example = NETWORKS[name]()
    spec = resolve_for(network, parse(SPECS[name])) if name in SPECS else None
    kinds = derive_kinds(network, example, spec=spec)
    network = network.eval().double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    for norm in network.modules():
        if (type(norm).__name__.endswith("Norm")) and getattr(norm, "weight", None) is not None:
            nn.init.uniform_(norm.weight, 0.5, 2.0)
    shape = (4, *example[0].shape[1:])
    inputs = torch.randint(0, 5, shape) if example[0].dtype == torch.int64 else torch.randn(shape).double()
    return network, kinds, {each: t.clone() for each, t in network.state_dict().items()}, inputs


def outputs(network: nn.Module, tensors: dict[str, Tensor], inputs: Tensor) -> Tensor:
    network.load_state_dict(tensors)
    with torch.no_grad():
        found = network(inputs)
    return found[0] if isinstance(found, tuple) else found


def drawn(kinds: Kinds, seed: int) -> Element:
    return Element.random(kinds, torch.Generator().manual_seed(seed))


def close(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.allclose(one[name], other[name], rtol=1e-9, atol=1e-9) for name in one)
