"""Maps of tensors by name, such as state dicts, compared."""

from collections.abc import Mapping

import torch
from torch import Tensor


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether two maps of the same names hold equal tensors; other names are a failure, whatever is asked."""
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)
