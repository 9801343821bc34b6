"""Weighted means of LoRA adapters of one base, as adapters again."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from starcli.errors import StarcliError, few, first_of
from starcli.files.safetensors import read_tensors
from starcli.files.shards import ADAPTER
from starcli.files.write import check_output, write_atomically, write_tensors
from starcli.huggingface.adapter_description import WEIGHTS
from starcli.huggingface.adapters import Adapter, Factors
from starcli.huggingface.directory import config_text

_PLACES = (
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "target_parameters",
)  # fmt: skip
"""Settings of a config that say what an adapter changes."""

_ALIKE = ("base_model_name_or_path", "fan_in_fan_out", "bias", "task_type")
"""Settings in which adapters must not differ; what one does not say counts as nothing."""


def averaged_adapters(adapters: Sequence[Adapter], weights: Sequence[float] | None, *, divide: bool) -> Adapter:
    """The adapter whose change of each weight is sum_n w_n s_n B_n A_n, of changes s_n B_n A_n of the same base.

    weights: one each, by default 1, and with `divide` divided by their sum. The factors of all are put one behind the
    other, [c_1 B_1, c_2 B_2, ...] and [A_1; A_2; ...]: the product is exact but for the rounding of c_n B_n, and the
    ranks add. The adapter's scale is w_1 s_1: where all w_n s_n are alike, c_n is 1 and no number changes. A mean
    of the factors B and of the factors A, which would keep the rank, is another change.

    A weight that an adapter does not change counts with a change of 0. Tensors that adapters hold as a whole, as a new
    classifier, must be in all of them, with weights that sum to 1. Raises StarcliError with all that does not fit.
    """
    numbers = _divided(list(weights) if weights is not None else [1.0] * len(adapters), divide=divide)
    _refuse_differences(adapters, numbers)
    parts: dict[tuple[str, str], list[tuple[float, Factors]]] = {}
    for adapter, weight in zip(adapters, numbers, strict=True):
        for each in adapter.factors:
            parts.setdefault(each.names, []).append((weight * each.scale, each))
    scales = [scale for found in parts.values() for scale, _ in found if scale]
    unit = scales[0] if scales else 1.0
    tensors = {}
    for (name_of_a, name_of_b), found in parts.items():
        tensors[name_of_a] = torch.cat([each.down for _, each in found])
        tensors[name_of_b] = torch.cat([_scaled(each.up, scale / unit) for scale, each in found], dim=1)
    ranks = {found[0][1].module: len(tensors[names[0]]) for names, found in parts.items()}
    config = {**adapters[0].config, **_targets(adapters, ranks), **_ranks(ranks, unit)}
    return Adapter(adapters[0].path, config, {**tensors, **_whole(adapters, numbers)})


def write_adapter(place: Path, adapter: Adapter, *, force: bool) -> None:
    """Write an adapter into the directory `place`. StarcliError where there is one, unless `force`."""
    for name in (WEIGHTS, ADAPTER):
        check_output(place / name, force=force)
    write_tensors(place / WEIGHTS, adapter.tensors, {"format": "pt"})
    write_atomically(place / ADAPTER, config_text(adapter.config))


def is_written(place: Path, adapter: Adapter) -> bool:
    """Whether the directory `place` holds just this adapter."""
    try:
        config, tensors = (place / ADAPTER).read_bytes(), read_tensors(place / WEIGHTS)[1]
    except (OSError, StarcliError):
        return False
    same = tensors.keys() == adapter.tensors.keys() and config == config_text(adapter.config)
    return same and all(_same(tensors[name], tensor) for name, tensor in adapter.tensors.items())


def _same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a, b)


def _scaled(up: Tensor, factor: float) -> Tensor:
    """`factor` times B, in its own type; itself where the factor is 1."""
    return up if factor == 1 else (factor * up.double()).to(up.dtype)


def _divided(weights: list[float], *, divide: bool) -> list[float]:
    """Weights, divided by their sum where asked for."""
    total = math.fsum(weights)
    if divide and abs(total) <= 1e-6 * math.fsum(map(abs, weights)):
        raise StarcliError("--weights that sum to 0 cannot be divided by their sum")
    return [weight / total for weight in weights] if divide else weights


def _ranks(ranks: Mapping[str, int], unit: float) -> dict[str, Any]:
    """Settings under which the scale alpha / r is `unit` everywhere: the largest rank, and other ones by module."""
    most = max(ranks.values())
    others = {re.escape(module): rank for module, rank in ranks.items() if rank != most}
    patterns = {"rank_pattern": others, "alpha_pattern": {module: unit * rank for module, rank in others.items()}}
    alpha = unit * most
    whole = int(alpha) if alpha.is_integer() else alpha
    return {"r": most, "lora_alpha": whole, "use_rslora": False, "init_lora_weights": True, **patterns}


def _targets(adapters: Sequence[Adapter], ranks: Mapping[str, int]) -> dict[str, Any]:
    """What is changed, as the adapters say it where they say the same, else by the names of the modules."""
    said = [{key: each.config.get(key) for key in _PLACES} for each in adapters]
    if all(_unordered(each) == _unordered(said[0]) for each in said):
        return {}
    return {**dict.fromkeys(_PLACES), "target_modules": sorted(ranks)}


def _unordered(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: sorted(map(str, value)) if isinstance(value, list) else value for key, value in settings.items()}


def _whole(adapters: Sequence[Adapter], numbers: Sequence[float]) -> dict[str, Tensor]:
    """Weighted means of the tensors that adapters hold as a whole."""
    found = {}
    for name, first in adapters[0].tensors.items():
        if "lora_" not in name:
            pairs = zip(adapters, numbers, strict=True)
            found[name] = sum(number * each.tensors[name].double() for each, number in pairs).to(first.dtype)  # type: ignore[union-attr]
    return found


def _refuse_differences(adapters: Sequence[Adapter], numbers: Sequence[float]) -> None:
    """Refuse weights and adapters of which there is no mean."""
    if len(numbers) != len(adapters) or not all(map(math.isfinite, numbers)):
        found = few([f"{number:g}" for number in numbers], 5)
        raise StarcliError(f"--weights {found}: expected a finite number for each of {len(adapters)} adapters")
    first, problems = adapters[0], []
    holders: dict[str, Adapter] = dict.fromkeys(first.tensors, first)
    whole = {name for name in first.tensors if "lora_" not in name}
    for other in adapters[1:]:
        for key in _ALIKE:
            one, two = first.config.get(key), other.config.get(key)
            if (one or None) != (two or None):
                problems.append(f"{key}: {one} in {first.path}, {two} in {other.path}")
        theirs = {name for name in other.tensors if "lora_" not in name}
        problems += [f"{name}: not in both {first.path} and {other.path}" for name in sorted(whole ^ theirs)]
        for name, tensor in other.tensors.items():
            holder = holders.setdefault(name, other)  # the first one that changes this weight
            if _but_rank(name, holder.tensors[name]) != _but_rank(name, tensor):
                problems.append(
                    f"{name}: {_form(tensor)} in {other.path}, {_form(holder.tensors[name])} in {holder.path}"
                )
    if whole and abs(math.fsum(numbers) - 1) > 1e-9:
        problems.append(f"{min(whole)} is held as a whole: the weights must sum to 1")
    if problems:
        raise StarcliError("the adapters cannot be averaged", first_of(problems, 12))


def _form(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"


def _but_rank(name: str, tensor: Tensor) -> tuple[Any, ...]:
    """Type and shape without the axis of the rank: the first of an A, the second of a B."""
    axis = 0 if re.search(r"lora_(embedding_)?A", name) else 1 if "lora_" in name else None
    return (tensor.dtype, *(size for place, size in enumerate(tensor.shape) if place != axis))
