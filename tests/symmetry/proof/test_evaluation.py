"""Evaluation of the network under proof: in what precision, and when one example stands for a batch."""

from threading import Event, Thread
from typing import Any

import pytest
import torch
from support.proof import proof_of
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.symmetry.proof.evaluation import ProofNetwork, difference, last_example_alone, precision, spreads


class Norms(nn.Module):
    """Computes a norm in float32 by its own words, as language models do; its weight scales a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.gate, self.down = (nn.Linear(4, 64, bias=False), nn.Linear(4, 64, bias=False), nn.Linear(64, 2))
        self.weight = nn.Parameter(torch.ones(64))

    def forward(self, x: Tensor) -> Tensor:
        h = nn.functional.silu(self.gate(x)) * self.up(x)
        wide = h.to(torch.float32)
        h = self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(h.dtype)
        return self.down(h)


def test_networks_that_ask_for_float32_are_proved_in_float64() -> None:
    text = "format: 1\ntensors: {up.weight: [h], gate.weight: [h], weight: [h], down.weight: [_, h], down.bias: []}"
    assert proof_of(Norms(), text, (torch.zeros(2, 3, 4),)).proved


class Kept(nn.Module):
    """Makes a table at its first call, in the precision of that call, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 6), nn.Linear(6, 3)
        self.table: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.eye(4) + 0.1
        return self.down(self.up(x @ self.table).relu())


def test_networks_that_keep_a_table_of_their_first_call_are_proved() -> None:
    text = "format: 1\ntensors: {up.weight: [h], up.bias: [h], down.weight: [_, h], down.bias: []}"
    assert proof_of(Kept(), text, (torch.zeros(2, 4),)).proved


class Steps(nn.Module):
    """A recurrent network over the first axis, whose second counts examples."""

    def __init__(self, backwards: bool = False) -> None:
        super().__init__()
        self.enter, self.again, self.leave = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.backwards = backwards

    def forward(self, x: Tensor) -> Tensor:
        state, states = torch.zeros(x.shape[1], 6, dtype=x.dtype), []
        for step in x.flip(0) if self.backwards else x:
            state = torch.tanh(self.enter(step) + self.again(state))
            states.append(self.leave(state))
        return torch.stack(states[::-1] if self.backwards else states)


STEPS = """
format: 1
tensors:
  enter.*: [h]
  again.weight: [h, h]
  again.bias: [h]
  leave.weight: [_, h]
  leave.bias: []
"""


class Mixed(nn.Module):
    """Examples of a batch that see each other."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x - x.mean(0))


class Company(nn.Linear):
    """Takes no batch of one."""

    def forward(self, input: Tensor) -> Tensor:
        if len(input) == 1:
            raise ValueError("more than one example is needed")
        return super().forward(input)


def alone(network: nn.Module, *batch: Tensor) -> bool:
    subject = ProofNetwork(network, network.state_dict(), torch.float32)
    found = last_example_alone(subject, batch, subject.run(batch))
    assert found is None or all(torch.equal(a, b[-1:]) for a, b in zip(found.inputs, batch, strict=True))
    return found is not None


def test_an_example_is_looked_at_alone_where_the_network_does_so() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, generator=generator)
    layers = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    assert alone(layers, x)
    assert alone(nn.Bilinear(3, 3, 2), x, x)
    assert not alone(layers, x[:1])  # it is alone already
    assert not alone(Mixed(), x)
    assert not alone(Company(3, 2), x)
    assert not alone(Steps(), torch.randn(4, 2, 3, generator=generator))


@pytest.mark.parametrize("backwards", [False, True])
def test_a_first_axis_that_counts_steps_is_no_batch(backwards: bool) -> None:
    x = torch.zeros(3, 2, 3)
    assert proof_of(Steps(backwards), STEPS, (x,)).proved
    for wrong in ("[h, _]", "[]"):
        spec = STEPS.replace("again.weight: [h, h]", f"again.weight: {wrong}")
        assert proof_of(Steps(backwards), spec, (x,)).failed == ("h",)


class Gated(nn.Module):
    """Four examples in five use none of the hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :2] + self.down((x[:, :1] > 0.84) * self.up(x).tanh())


GATED = "format: 1\ntensors: {up.*: [h], down.weight: [_, h], down.bias: []}"


@pytest.mark.parametrize("seed", range(8))
def test_an_example_that_shows_nothing_does_not_stand_for_the_others(seed: int) -> None:
    x = torch.zeros(24, 3)
    assert proof_of(Gated(), GATED, (x,), seed=seed).proved
    wrong = GATED.replace("up.*: [h]", "up.weight: [h], up.bias: []")
    assert proof_of(Gated(), wrong, (x,), seed=seed).failed == ("h",)


class Labelled(nn.Module):
    """Each example looks up one row of two tables."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.shift, self.out = nn.Embedding(4, 6), nn.Embedding(4, 2), nn.Linear(6, 2)

    def forward(self, labels: Tensor) -> Tensor:
        return self.out(self.table(labels).tanh()) + self.shift(labels)


@pytest.mark.parametrize("seed", range(8))
def test_what_one_example_does_not_use_is_seen_in_the_others(seed: int) -> None:
    # a permutation of all labels may leave that of the one example where it is
    text = "format: 1\ntensors: {table.weight: [v, h], shift.weight: [v], out.weight: [_, h], out.bias: []}"
    assert proof_of(Labelled(), text, (torch.arange(4).repeat(4),), seed=seed).failed == ("v",)


class Hidden(nn.Module):
    """Has a parameter that its state dict does not name."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(3, 6), nn.Linear(6, 2)
        self.kept = nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), requires_grad=False)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        del destination[prefix + "kept"]

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x).tanh()) @ self.kept


def test_copies_keep_what_no_state_dict_names() -> None:
    network = Hidden()
    subject = ProofNetwork(network, network.state_dict(), torch.float64)
    assert torch.equal(subject.network.get_parameter("kept"), network.kept.double())


def test_networks_that_take_no_batch_of_one_are_proved() -> None:
    proof = proof_of(Company(3, 2), "format: 1\ntensors: {weight: [], bias: []}", (torch.zeros(3, 3),))
    assert proof.proved


def test_proofs_of_several_threads_keep_their_precisions() -> None:
    """torch has one default dtype for all threads: the second waits for the first, and finds what was there before."""
    inside, seen = Event(), []

    def second() -> None:
        inside.wait(10)
        with precision(torch.float32):
            seen.append(torch.empty(0).dtype)

    thread = Thread(target=second)
    thread.start()
    with precision(torch.float64):
        inside.set()
        thread.join(0.2)
        seen.append(torch.empty(0).dtype)
    thread.join()
    assert (seen, torch.get_default_dtype()) == ([torch.float64, torch.float32], torch.float32)


def test_what_varies_by_rounding_alone_is_measured_by_its_size():
    """Two bags of the same words give the same in another order: float32 then says nothing of how far outputs vary."""
    first = torch.full((2, 3), 0.5)
    second = first * (1 + 2**-23)
    assert spreads([first], [second]) == [0.5]
    assert spreads([first.double()], [second.double()])[0] < 1e-7


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_spread_of_an_output_is_its_deviation_over_inputs_whatever_its_size(dtype):
    one, other = (100 + torch.randn(10_000, generator=torch.Generator().manual_seed(seed)).to(dtype) for seed in (0, 1))
    assert spreads([one], [other]) == [pytest.approx(1, rel=0.02)]


def test_outputs_differ_where_one_of_several_does():
    """Each in units of its own spread."""
    same, more = torch.zeros(3), torch.tensor([0.0, 0.0, 0.5])
    for first, second in (([same, same], [same, more]), ([same, same], [more, same])):
        assert difference(first, second, [2.0, 2.0]) == 0.25
    assert difference([same, same], [same, torch.zeros(2)], [1.0, 1.0]) == float("inf")


class Half(nn.Module):
    """Two outputs, of which one number is none."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.layer(x)
        return y, torch.where(torch.arange(3) == 1, y / 0, y)


def test_an_output_that_is_finite_in_part_is_refused():
    network = Half()
    subject = ProofNetwork(network, network.state_dict(), torch.float64)
    with pytest.raises(StarcliError, match="not finite at random weights"):
        subject.run((torch.ones(2, 4),))


class TwoOutputs(nn.Module):
    """Of which the second alone tells hidden units apart."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.up(x).relu()
        return self.down(h), h[:, :2]


def test_what_one_of_several_outputs_tells_apart_is_refuted():
    text = "format: 1\ntensors: {up.weight: [h], up.bias: [h], down.weight: [_, h], down.bias: []}"
    assert proof_of(TwoOutputs(), text, (torch.zeros(2, 4),)).failed == ("h",)
