"""Alignment beside a card: many sources cold and warm, and one pair of large networks."""

import torch

from starcli.alignment.align import Alignment
from starcli.alignment.aligner import Aligner
from starcli.alignment.matching.weight_matching import match_weights
from starcli.models.build import build_network, complete_arguments
from starcli.runtime.progress import SILENT
from starcli.star.source_bank import Source, SourceBank
from starcli.symmetry.archspec.resolve import resolve_for
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.shipped import shipped_spec

from .lab import Lab


def run(lab: Lab) -> None:
    """Sources are a few solutions under random permutations, which are as far from the star as any."""
    workspace = lab.workspace("bf16")
    spec, count = workspace.spec.resolved, 3 if lab.quick else 50
    states = [workspace.network(seed).state() for seed in range(1, 4)]
    found = [
        Permutation.random(spec, torch.Generator().manual_seed(number)).apply(states[number % 3])
        for number in range(count)
    ]
    sources = [Source(str(number), lambda state=state: state) for number, state in enumerate(found)]
    bank = SourceBank(sources, workspace.network(0))
    star, aligner = workspace.network(0).state(), Aligner(Alignment(), workspace)
    aligner.match(star, states[0])  # what is imported once
    lab.row("threads", count=torch.get_num_threads())
    for what, limit in (("cold", 10.0), ("warm", 2.0), ("warm again", 2.0)):
        taken = lab.seconds(lambda star=star: bank.align(star, aligner, 0, 1, progress=SILENT))
        lab.row(f"{count} sources aligned, {what}", seconds=taken, limit=limit)
        # a star that training moved
        star = {n: t + 0.1 * t.std() * torch.randn_like(t) if t.is_floating_point() else t for n, t in star.items()}
    taken = lab.seconds(lambda: [bank.vector(number) for number in range(count)])
    lab.row(f"{count} sources composed on the device, first time", seconds=taken)
    bank.set(bank.symmetries)
    taken = lab.seconds(lambda: [bank.vector(number) for number in range(count)])
    lab.row(f"{count} sources composed on the device", seconds=taken)
    bank.close()
    pair(lab)


def pair(lab: Lab) -> None:
    """One pair of ResNet-50, by the default search and by one descent."""
    name = "mlp" if lab.quick else "resnet50"
    shape = (3, 8, 8) if lab.quick else (3, 224, 224)
    arguments = complete_arguments(name, {}, input_shape=shape, num_classes=10)
    one, other = (build_network(name, generator=torch.Generator().manual_seed(s), **arguments) for s in range(2))
    found = shipped_spec(name, arguments)
    assert found is not None
    spec = resolve_for(one, *found)
    a, b = one.state_dict(), other.state_dict()
    for restarts, limit in ((0, 1.0), (1, 1.0)):
        taken = lab.seconds(lambda r=restarts: match_weights(a, b, spec, seed=0, restarts=r))
        lab.row(f"a pair of {name}, {restarts} restarts", seconds=taken, limit=limit)
