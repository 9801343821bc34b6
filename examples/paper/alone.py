"""Networks that stand alone, and SWAG, held against the ensemble of some sources."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paper.networks import Network
from paper.record import Row

METRICS = {
    "accuracy": "accuracy",
    "nll": "loss",
    "brier": "Brier",
    "ece": "ECE",
    "auroc_max_prob": "AUROC",
    "aurc": "AURC",
}
AT_T = ("nll", "brier", "ece", "aurc")
"""Metrics that are taken at a temperature too."""


def differences_of(sign: str, found: Mapping[str, Mapping[str, Any]]) -> Row:
    """Differences to the ensemble and their intervals under flat names."""
    parts = (("less", "difference"), ("low", "low"), ("high", "high"))
    return {f"{sign}{short}_{name}": each[long] for name, each in found.items() for short, long in parts}


def measure_alone(
    of: Network, places: Sequence[str], star: str, students: Mapping[str, str], out: Path, swag: Mapping[str, Any]
) -> list[Row]:
    """Rows of networks that stand alone, and of SWAG, held against the ensemble of some sources."""
    import torch

    from paper.swag import collected, with_weights
    from starcli.evaluation.evaluator import Evaluator
    from starcli.evaluation.paired_bootstrap import differences, less
    from starcli.evaluation.scoring import Scoring
    from starcli.library.inputs import open_models

    data = os.path.expandvars(of.data).removeprefix("--data ").strip()
    with contextlib.chdir(out):
        files = [*places, star, *students.values()]
        workspace, models, _ = open_models(files, {"data": data} if data else {}, measures=True)
        evaluator, scoring = Evaluator(workspace), Scoring(workspace.dataset, "test", "fit")
    moments = collected(workspace, models[0].tensors, **swag)
    draws = torch.Generator().manual_seed(0)
    samples = [moments.sample(draws) for _ in range(len(places))]
    sources = [each.tensors for each in models[: len(places)]]
    sets: dict[str, Sequence[Mapping[str, Any]]] = {f"ensemble of {len(places)}": sources}
    sets |= {f"single, {number}": [each] for number, each in enumerate(sources)}
    sets |= {"star": [models[len(places)].tensors]}
    sets |= {name: [each.tensors] for name, each in zip(students, models[len(places) + 1 :], strict=True)}
    sets |= {"SWA": [with_weights(workspace, sources[0], moments.mean)]}
    sets |= {f"SWAG of {len(places)}": [with_weights(workspace, sources[0], each) for each in samples]}
    rows, base = [], None
    for name, members in sets.items():
        outputs = []
        for tensors in members:
            evaluator.load(tensors)  # BatchNorm statistics re-estimated
            outputs.append(scoring.outputs(evaluator))
        average = scoring.task.mean(iter(outputs))
        scored = scoring.score(average)
        drawn = scoring.resampled(average, scored.temperature)
        row = {"kind": "one", "name": name.partition(",")[0], "number": name.partition(", ")[2], "models": len(members)}
        row["examples"] = scored.plain.count
        row |= {metric: scored.plain.values[metric] for metric in METRICS} | {"T": scored.temperature}
        row |= {f"T_{metric}": scored.scaled.values[metric] for metric in AT_T} if scored.scaled else {}
        if base is None:
            base = (scored, drawn)
        else:
            for sign, at, other, mine in zip(("", "T_"), ("plain", "scaled"), base[1], drawn, strict=False):
                pair = (getattr(scored, at), getattr(base[0], at))
                found = {k: each.to_dict() for k, each in differences([pair], less(mine, other)).items()}
                row |= differences_of(sign, found)
        rows.append(row)
    return rows
