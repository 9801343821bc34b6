"""Settings of torch for a GPU: what each precision and --fast mean, and that they are put back."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from starcli.errors import StarcliError
from starcli.runtime.arithmetic import REPEATABLE_CUBLAS, arithmetic_restored, set_arithmetic

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with arithmetic_restored():
        yield


def settings() -> dict[str, Any]:
    backends = torch.backends
    return {
        "products": backends.cuda.matmul.allow_tf32,
        "convolutions": backends.cudnn.allow_tf32,
        "deterministic": backends.cudnn.deterministic,
        "benchmark": backends.cudnn.benchmark,
        "algorithms": torch.are_deterministic_algorithms_enabled(),
        "fills": torch.utils.deterministic.fill_uninitialized_memory,
        "cudnn's attention": torch.backends.cuda.cudnn_sdp_enabled(),
    }


@pytest.mark.parametrize(("precision", "tf32"), [("fp32", False), ("tf32", True), ("bf16", False)])
def test_float32_is_float32_in_products_and_convolutions(precision: str, tf32: bool) -> None:
    assert set_arithmetic(CUDA, precision, fast=False) == []
    assert settings()["products"] == settings()["convolutions"] == tf32


def test_the_same_sums_each_time_unless_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    set_arithmetic(CUDA, "fp32", fast=False)
    found = settings()
    assert found["deterministic"]
    assert found["algorithms"]
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not found["benchmark"]
    assert not found["fills"]
    assert not found["cudnn's attention"]
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == REPEATABLE_CUBLAS
    [note] = set_arithmetic(CUDA, "fp32", fast=True)
    assert "need not give the same bits" in note
    found = settings()
    assert found["benchmark"]
    assert not found["deterministic"]
    assert not found["algorithms"]
    assert found["cudnn's attention"]


def test_a_cpu_is_as_it_was() -> None:
    before = settings()
    assert set_arithmetic(CPU, "bf16", fast=False) == []
    assert "changes nothing on cpu" in set_arithmetic(CPU, "fp32", fast=True)[0]
    assert settings() == before
    with pytest.raises(StarcliError, match="--precision tf32: cpu has none"):
        set_arithmetic(CPU, "tf32", fast=False)


def test_settings_come_back() -> None:
    torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32 = True, True
    before = settings()
    with arithmetic_restored():
        set_arithmetic(CUDA, "fp32", fast=False)
        assert settings() != before
    assert settings() == before


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="this torch has no newer names")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_setting_of_all_at_once_lets_nothing_be_rounded(precision: str) -> None:
    """`torch.backends.fp32_precision` holds wherever nothing else is said, as after `allow_tf32 = False`."""
    backends = torch.backends
    parts = [getattr(each, name) for each in (backends.cudnn, backends.mkldnn) for name in ("conv", "rnn")]
    before = [(each, each.fp32_precision) for each in (*parts, backends.mkldnn.matmul, backends)]
    try:
        for part in parts:
            part.fp32_precision = "none"
        backends.fp32_precision = "tf32"
        with arithmetic_restored():
            set_arithmetic(CUDA, precision, fast=False)
            expected = "tf32" if precision == "tf32" else "ieee"
            assert [each.fp32_precision for each in parts] == [expected] * 2 + ["ieee"] * 2
            assert backends.cuda.matmul.fp32_precision == expected
            assert backends.mkldnn.matmul.fp32_precision == "ieee"
            assert backends.cuda.matmul.allow_tf32 == backends.cudnn.allow_tf32 == (precision == "tf32")
        assert [each.fp32_precision for each in parts] == ["tf32"] * 4
        assert backends.fp32_precision == "tf32"
    finally:
        for each, precision in before:
            each.fp32_precision = precision
        backends.cuda.matmul.allow_tf32 = False


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_products_are_float32_on_a_cpu_too_and_what_was_set_comes_back(precision: str) -> None:
    torch.set_float32_matmul_precision(precision)
    try:
        with arithmetic_restored():
            set_arithmetic(CPU, "fp32", fast=False)
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="this torch has no newer names")
def test_settings_made_by_newer_names_come_back() -> None:
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = products.fp32_precision, convolutions.fp32_precision
    try:
        products.fp32_precision, convolutions.fp32_precision = "tf32", "ieee"
        with arithmetic_restored():
            set_arithmetic(CUDA, "fp32", fast=False)
            assert settings()["products"] is False
        assert (products.fp32_precision, convolutions.fp32_precision) == ("tf32", "ieee")
    finally:
        products.fp32_precision, convolutions.fp32_precision = before
