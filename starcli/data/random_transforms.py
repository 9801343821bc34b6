"""Random transforms in data sets in memory, found by reading some examples twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from starcli.runtime.global_generator import generator_borrowed

LOOKED_AT = 8
"""Examples that tell whether a data set draws something: of a flip, one of two, 1 in 256 times they do not."""


def notes_of_draws(given: Mapping[str, Any], what: str) -> tuple[str, ...]:
    """A note on parts, by role, that are data sets or loaders whose random transforms give other examples each time."""
    drawn = [role for role, examples in given.items() if _draws(examples)]
    where = f"{what}: examples of {', '.join(drawn)} are other ones each time, by random transforms"
    return (f"{where}: each is read once and stays so; leave these out",) if drawn else ()


def _draws(examples: Any) -> bool:
    data = examples.dataset if isinstance(examples, DataLoader) else examples
    if isinstance(data, tuple | list | IterableDataset) or not hasattr(data, "__getitem__"):
        return False
    together = examples.collate_fn if isinstance(examples, DataLoader) and examples.batch_sampler else None

    def inputs(place: int) -> Tensor:
        found = data[place] if together is None else together([data[place]])
        return torch.as_tensor(found[0])

    try:
        with generator_borrowed():
            return not all(torch.equal(inputs(place), inputs(place)) for place in range(min(LOOKED_AT, len(data))))  # type: ignore[arg-type]
    except Exception:  # words or pictures; or a data set that its loader reads otherwise, by names or in pieces
        return False
