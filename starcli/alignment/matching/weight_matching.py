"""Weight matching: the permutation of a model's units that brings its weights nearest to a reference's.

    maximise over pi   sum over learnable parameters  <reference, pi(model)>

which is the same as minimising the L2 distance. Ainsworth et al. 2022 (Git Re-Basin), section 3.2: coordinate descent
over groups, each step a linear assignment. Buffers never take part, 1-D parameters do, tied tensors count once.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from starcli.alignment.matching.method import Match, MatchMethod
from starcli.alignment.matching.problem import MatchingProblem, StackedModel
from starcli.alignment.matching.restarts import search
from starcli.errors import StarcliError
from starcli.models.state_dicts import not_finite
from starcli.runtime.memory import give_back_freed_memory
from starcli.runtime.progress import SILENT, Progress
from starcli.runtime.threads import in_threads
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.tied import check_tied

GIVEN_BACK_AFTER = 2**30
"""Bytes of models after which freed memory is given back: seldom enough to cost nothing."""


def match_weights(
    reference: Mapping[str, Tensor],
    model: Mapping[str, Tensor],
    spec: Resolved,
    *,
    seed: int = 0,
    restarts: int = 1,
    start: Permutation | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = SILENT,
) -> Match:
    """Find the permutation of `model` under which its inner product with `reference` is greatest.

    Given a `start`, descends from there; without one, makes two detours first (see `search`). Each of `restarts` - 1
    further rounds makes a detour from the best permutation that was known when its wave began, and the best end of a
    wave is kept where it is higher; with 0 restarts there is nothing but one descent, the fastest way and the one of
    the paper. The same seed gives the same result, up to rounding on other numbers of threads. The objective is never
    below that of `start` (default: the identity), though it need not be the greatest of all. Costs are computed on
    `device` (see `costs_device`), assignments on the CPU.

    Raises StarcliError where the tensors do not fit the spec or are not finite, Interrupted where `progress` asks to
    stop before a detour.
    """
    _check(reference, spec, "the reference")
    _check(model, spec, "the model")
    sides = StackedModel(spec, reference, device), StackedModel(spec, model, device)
    return _match(*sides, seed, restarts, start, progress)


def match_many(
    reference: Mapping[str, Tensor],
    models: Sequence[Mapping[str, Tensor]],
    spec: Resolved,
    *,
    seeds: Sequence[int],
    restarts: int,
    starts: Sequence[Permutation | None],
    device: torch.device | str = "cpu",
) -> list[Match]:
    """`match_weights` of each model against one reference, each with its seed and its start.

    The reference is laid out once. As many models are matched at a time as torch has threads; each is laid out only
    when its turn comes, so that memory grows with the cores and not with the models.
    """
    _check(reference, spec, "the reference")
    side = StackedModel(spec, reference, device)

    def one(number: int) -> Match:
        model = models[number]  # once: it may be made when it is asked for
        _check(model, spec, f"model {number}")
        own = StackedModel(spec, model, device)
        return _match(side, own, seeds[number], restarts, starts[number], SILENT)

    found, size, matched = [], sum(tensor.nbytes for tensor in side.tensors.values()), 0
    for match in in_threads(one, range(len(models))):
        found.append(match)
        matched += size
        if matched >= GIVEN_BACK_AFTER:
            give_back_freed_memory()
            matched = 0
    return found


ACTIVATION = MatchMethod(one=match_weights, many=match_many, settings=("examples", "share", "gains"))
"""This search, with activations as tensors beside the weights: see `starcli.alignment.activations`."""


def distances(reference: Mapping[str, Tensor], model: Mapping[str, Tensor], spec: Resolved) -> tuple[float, float]:
    """L2 norm of the difference, and cosine, over learnable parameters (tied ones once), in float64.

    The cosine is 0 where one of the two is all zero.
    """
    squares, product, a_squares, b_squares = 0.0, 0.0, 0.0, 0.0
    reference, model = spec.seen(reference), spec.seen(model)
    for name in spec.learnable():
        a, b = (each[name].detach().cpu().double().flatten() for each in (reference, model))
        squares += float((a - b).square().sum())
        product += float(a @ b)
        a_squares += float(a @ a)
        b_squares += float(b @ b)
    norms = math.sqrt(a_squares) * math.sqrt(b_squares)
    return math.sqrt(squares), product / norms if norms else 0.0


def _check(tensors: Mapping[str, Tensor], spec: Resolved, what: str) -> None:
    """Raise StarcliError where `tensors` do not fit the spec, are not finite, or are tied and differ."""
    spec.check(tensors)
    tensors = spec.seen(tensors)
    if bad := not_finite({name: tensors[name] for name in spec.learnable()}):
        raise StarcliError(f"{what} has weights that are not finite", [f"{name}: NaN or infinite" for name in bad])
    check_tied(spec, tensors, what)


def _match(
    reference: StackedModel,
    model: StackedModel,
    seed: int,
    restarts: int,
    start: Permutation | None,
    progress: Progress,
) -> Match:
    """Match two models that are laid out and checked."""
    if restarts < 0:
        raise ValueError(f"restarts: {restarts}, at least 0 expected")
    spec = reference.layout.spec
    first = {
        name: index.cpu().numpy()
        for name, index in (Permutation.identity(spec) if start is None else start).index.items()
    }
    chosen, objective, sweeps = search(
        MatchingProblem(reference, model),
        first,
        seed,
        max(1, restarts),
        cold=start is None and restarts > 0,
        progress=progress,
    )
    index = {name: torch.from_numpy(np.ascontiguousarray(each)) for name, each in chosen.items()}
    moved = sum(int((each != first[name]).sum()) for name, each in chosen.items())
    return Match(Permutation(spec, index), objective, sweeps, restarts, moved)
