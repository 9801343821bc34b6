"""The choice of the device, and the device that tests pretend to have."""

import pytest
import torch
from support.pretended import pretended_cuda, pretended_mps

from starcli.errors import StarcliError
from starcli.runtime import distributed
from starcli.runtime.device import choose_device, float64, to_device


def test_a_gpu_has_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended_cuda(monkeypatch):
        assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 0)
        assert choose_device("cuda:1") == torch.device("cuda", 1)
        torch.cuda.set_device(torch.device("cuda", 1))
        assert choose_device("cuda") == torch.device("cuda", 1)
        assert choose_device("cpu") == torch.device("cpu")
        with pytest.raises(StarcliError, match="there are 2 GPUs, from cuda:0 on"):
            choose_device("cuda:2")


def test_the_driver_is_not_started_to_name_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def start() -> int:
        raise AssertionError("the driver was started")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "current_device", start)
    assert choose_device("cuda") == torch.device("cuda", 0)


def test_a_gpu_by_number_is_not_for_several_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "size", lambda: 2)
    with pretended_cuda(monkeypatch), pytest.raises(StarcliError, match="each rank has a GPU of its own"):
        choose_device("cuda:0")


def test_an_apple_gpu_is_for_those_who_ask_and_has_no_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended_mps(monkeypatch):
        assert choose_device("auto") == torch.device("cpu")
        there = torch.arange(3.0, device=choose_device("mps"))
        assert there.device == choose_device("mps")
        for wide in (there.double, lambda: torch.ones(2, dtype=torch.float64).to(there.device)):
            with pytest.raises(TypeError, match=r"no torch\.float64 on mps"):
                wide()
        assert float64(there).device == torch.device("cpu")
        assert float64(there).dtype == torch.float64


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for error in (RuntimeError("Found no NVIDIA driver on your system.\nMore"), AssertionError("Torch not compiled")):

        def start(error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(torch.cuda, "init", start)
        with pytest.raises(StarcliError, match="--device cuda:1: there is none here") as caught:
            choose_device("cuda:1")
        assert caught.value.problems == (f"torch {torch.__version__}: {str(error).partition(chr(10))[0]}",)


def test_copies_that_nobody_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.arange(5)
    assert to_device(values, torch.device("cpu")) is values
    with pretended_cuda(monkeypatch) as pretended:
        there = to_device(values, choose_device("cuda"))
        assert there.device == torch.device("cuda", 0)
        assert not pretended.waits
        assert torch.equal(there.cpu(), values)


def test_the_pretended_device_tells_what_a_card_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended_cuda(monkeypatch) as pretended:
        there = torch.ones(3, device="cuda")
        for mixed in (
            lambda: there + torch.ones(3),
            lambda: torch.ones(3).copy_(there) + there,
            lambda: there.index_select(0, torch.tensor([0])),
            lambda: torch.nn.functional.linear(torch.ones(2, 3), there.view(1, 3)),
        ):
            with pytest.raises(RuntimeError, match="tensors on cpu, cuda:0"):
                mixed()
        with pytest.raises(TypeError, match="is no array"):
            there.numpy()
        assert (there * torch.tensor(2.0)).device.type == "cuda"  # a number
        layer = torch.nn.Linear(3, 2).to("cuda")
        output = layer(there)
        output.sum().backward()
        assert {layer.weight.grad.device, output.device, there[1:].device} == {torch.device("cuda", 0)}
        assert torch.zeros_like(there).device == there.new_ones(2).device == there.device
        before = sum(pretended.waits.values())
        float(there.sum())
        there.cpu()
        there.tolist()
        assert sum(pretended.waits.values()) == before + 3
