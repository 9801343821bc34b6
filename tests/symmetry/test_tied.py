"""Tied tensors hold equal values."""

import pytest
import torch

from starcli.errors import StarcliError
from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.tied import check_tied


def test_tied_tensors_must_be_equal() -> None:
    spec = resolve_spec(parse("format: 1\ntensors: {a: [g], b: [g]}\ntied: [[a, b]]"), {"a": (3,), "b": (3,)})
    check_tied(spec, {"a": torch.ones(3), "b": torch.ones(3)}, "the model")
    with pytest.raises(StarcliError, match=r"the model has tied.*unequal\s.*b and a are tied, but differ by up to 1\b"):
        check_tied(spec, {"a": torch.ones(3), "b": torch.zeros(3)}, "the model")
