"""Models to merge, read whole and in chunks."""

import pytest
import torch
from support.merging import SHAPE

from starcli.merging import stack as chunked


@pytest.fixture(params=[torch.float32, torch.float64, torch.bfloat16], ids=str)
def models(request):
    """A base and three models near it, as tensors and as arrays."""
    draws = torch.Generator().manual_seed(0)
    base = torch.randn(SHAPE, generator=draws)
    sources = [base + 0.1 * torch.randn(SHAPE, generator=draws) for _ in range(3)]
    return [tensor.to(request.param) for tensor in (base, *sources)]


@pytest.fixture(params=[2**20, 50], ids=["whole", "chunks"], autouse=True)
def chunks(request, monkeypatch):
    monkeypatch.setattr(chunked, "CHUNK_NUMBERS", request.param)
