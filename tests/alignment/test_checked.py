"""Whatever aligns by elements refuses one that would not leave the function as it is."""

from dataclasses import replace

import pytest
import torch

import starcli as sc
from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.joint import tensors_jointly
from starcli.library.inputs import open_models

WAYS = {
    "apply": lambda aligner, a, b: aligner.apply(a, b),
    "apply to all": lambda aligner, a, b: aligner.apply_to_all(a, [b]),
    "permuted": lambda aligner, a, b: aligner.permuted(a.tensors, b.tensors),
    "sources of a star": lambda aligner, a, b: aligner.match_all(
        a.tensors, [b.tensors], seeds=[0], restarts=0, starts=[None]
    ),
    "jointly": lambda aligner, a, b: tensors_jointly(aligner, [a, b]),
}


def pair():
    """Two networks with a hidden tanh, and an aligner over all kinds."""
    networks = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        networks.append(torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)))
    workspace, models, _ = open_models(networks, {"input_shape": (4,)}, data=False)
    return Aligner(Alignment("weight", kinds="all"), workspace), models


@pytest.mark.parametrize("way", WAYS)
def test_a_symmetry_that_is_none_is_refused_everywhere(way):
    aligner, models = pair()
    WAYS[way](aligner, *models)
    [(name, kind)] = aligner.kinds.groups.items()  # a tanh, claimed to scale as ReLU does
    scales = {place: -1 if place.tensor == "2.weight" else 1 for place in kind.signs[0]}
    groups = {name: replace(kind, kind="scaled", scalings=(scales,), signs=())}
    vars(aligner)["kinds"] = replace(aligner.kinds, groups=groups)
    with pytest.raises(sc.StarcliError, match="would not stay the same"):
        WAYS[way](aligner, *models)
