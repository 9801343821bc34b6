"""Alignment beside a card: many sources cold and warm, and one pair of large networks."""

from collections.abc import Mapping
from unittest import mock

import torch
from torch import Tensor

from starcli.alignment import search
from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.matching.problem import costs_device
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
    star = workspace.network(0).state()
    lab.row("threads", count=torch.get_num_threads())
    for method in ("weight", "activation"):
        with lab.part(f"{count} sources aligned by {method}"):
            star = all_sources(lab, bank, Aligner(Alignment(method), workspace), star)
    with lab.part("a pair"):
        pair(lab)
    with lab.part("composed"):
        taken = lab.seconds(lambda: [bank.vector(number) for number in range(count)])
        lab.row(f"{count} sources composed on the device, first time", seconds=taken)
        start = bank.symmetries[0]
        bank.set({})
        taken = lab.seconds(lambda: [bank.vector(number) for number in range(count)])
        lab.row(f"{count} sources composed on the device", seconds=taken)
        bank.close()
    steps = 2 if lab.quick else 10
    for method in ("straight-through", "learn"):
        with lab.part(f"a step of learned alignment, {method}"):
            learner = Aligner(Alignment(method), workspace)
            learner.learn(star, found[0], start, seed=0, steps=1)  # kinds are proved once
            short, long = (
                lab.seconds(lambda with_=learner, n=n: with_.learn(star, found[0], start, seed=0, steps=n))
                for n in (steps, 3 * steps)
            )
            lab.row(f"a step of learned alignment, {method}", seconds=(long - short) / (2 * steps))
            lab.waits(
                f"{steps} steps of learned alignment, {method}, and what is around them",
                lambda with_=learner: with_.learn(star, found[0], start, seed=0, steps=steps),
            )


def all_sources(lab: Lab, bank: SourceBank, aligner: Aligner, star: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Cold, then warm from where they are, to a star that moves in between; the star at the end. What it is made of."""
    count, method = len(bank.sources), aligner.alignment.method
    states = [source.open() for source in bank.sources]

    def aligned() -> object:
        return bank.align(star, aligner, 0, 1, range(count), progress=SILENT)

    aligner.match(star, states[0])  # what is imported once
    bank.set(dict.fromkeys(range(count)))
    for what, limit in (("cold", 10.0), ("warm", 2.0), ("warm again", 2.0)):
        star = {n: _moved(tensor) for n, tensor in star.items()}  # as training does
        lab.row(f"{count} sources aligned by {method}, {what}", seconds=lab.seconds(aligned), limit=limit)
    if method == "activation":
        taken = lab.seconds(lambda: [len(each) for each in aligner.compared(states)])
        lab.row(f"what layers read of {count} sources, one after the other", seconds=taken)
    with mock.patch.object(search, "costs_device", return_value=torch.device("cpu")):
        taken = lab.seconds(aligned)
    lab.row(f"{count} sources aligned by {method}, warm again, costs on the host's threads", seconds=taken)
    return star


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
    for device in (costs_device(spec, lab.device, "bf16"), torch.device("cpu")):
        for restarts in (0, 1):
            how = {"seed": 0, "restarts": restarts, "device": device}
            taken = lab.seconds(lambda how=how: match_weights(a, b, spec, **how))
            lab.row(f"a pair of {name}, {restarts} restarts, costs on {device.type}", seconds=taken, limit=1.0)


def _moved(tensor: Tensor) -> Tensor:
    return tensor + 0.1 * tensor.std() * torch.randn_like(tensor) if tensor.is_floating_point() else tensor
