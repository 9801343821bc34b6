"""Networks that do more than compute: they write into inputs, keep results, merge weights, drop in eval mode."""

from functools import partial
from typing import Any

import pytest
import torch
from support.own_modules import Data, Net, modules
from support.tensors import same
from torch import Tensor, nn

import starcli as sc
from starcli.models.dtypes import cast_floats_


def unnamed(barrier: sc.Barrier) -> dict[str, Any]:
    """All that a barrier says, but the names of its ends, which are those of their classes."""
    return {key: value for key, value in barrier.to_dict().items() if key not in ("a", "b")}


class Shifting(Net):
    """Writes into its input."""

    def forward(self, inputs: Tensor) -> Tensor:
        inputs -= 0.5
        return super().forward(inputs.mul_(2.0))


class Shifted(Net):
    """The same function, with tensors of its own."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward((inputs - 0.5) * 2.0)


@pytest.mark.filterwarnings("ignore:.*is hardly a solution")  # stars of one epoch
def test_a_network_may_write_into_its_input(data: Data) -> None:
    before = {role: inputs.clone() for role, (inputs, _) in data.items()}
    found = []
    for make in (Shifting, Shifted):
        a, b = (sc.train(make, data, epochs=3, batch_size=30, seed=seed) for seed in (0, 1))
        fused = sc.fuse([a, b], epochs=1)  # passes twice over each batch
        rows = [sc.evaluate(a, b, fused).column(name) for name in ("nll", "accuracy")]
        lines = [unnamed(sc.barrier(a, b, points=3, alignment=how)) for how in (None, "activation")]
        found.append((rows, lines, sc.bma(fused, [a, b], samples=2, repeats=1, alignment=None).column("nll")))
    assert found[0] == found[1]
    assert all(torch.equal(data[role][0], inputs) for role, inputs in before.items())


class Memory:
    """What is kept, where no tracer looks: torch 2.6 follows no network whose dictionaries grow."""

    waves: Tensor | None = None


class Remembering(nn.Module):
    """Keeps in eval mode what it computed of a weight, as timm's LeViT, and forgets it where it is set to train."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
        self.table, self.kept = nn.Parameter(torch.randn(8)), Memory()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.table)

    def train(self, mode: bool = True) -> "Remembering":
        if mode:
            self.kept.waves = None
        return super().train(mode)

    def waves(self) -> Tensor:
        return torch.sin(3 * self.table)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            return self.last(self.norm(torch.relu(self.first(inputs)) * self.waves()))
        if self.kept.waves is None:
            self.kept.waves = self.waves()
        return self.last(self.norm(torch.relu(self.first(inputs)) * self.kept.waves))


class Forgetful(Remembering):
    """The same without a memory."""

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.norm(torch.relu(self.first(inputs)) * self.waves()))


@pytest.mark.filterwarnings("ignore:.*is hardly a solution", "ignore:repaired")  # stars of one epoch
def test_a_network_forgets_what_it_computed_of_other_weights(data: Data) -> None:
    found = []
    for make in (Remembering, Forgetful):
        models = [sc.train(make, data, epochs=3, batch_size=30, seed=seed) for seed in (0, 1)]
        learned = sc.Alignment("straight-through", steps=3)
        lines = [unnamed(sc.barrier(*models, points=3, alignment=how)) for how in (None, "activation", learned)]
        star = sc.find_star(models, epochs=1)
        distilled = sc.fuse(models, method="distil", star=star, samples=2, epochs=1)
        repaired = sc.interpolate(*models, t=0.5, alignment=None, renormalise="repair")
        rows = sc.evaluate(*models, star, distilled, repaired, recalibrate=True)
        found.append((lines, rows.column("nll"), sc.bma(star, models, samples=2, repeats=1).column("nll")))
    assert found[0] == found[1]


class Added(nn.Module):
    """A change of low rank beside a weight, as LoRA has it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)
        self.down, self.up = nn.Linear(4, 2, bias=False), nn.Linear(2, 8, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(inputs) + self.up(self.down(inputs))))


class Merging(Added):
    """The same, which in eval mode adds the change to the weight itself, as layers of loralib do."""

    merged = False

    def train(self, mode: bool = True) -> "Merging":
        if mode == self.merged:
            change = self.up.weight.data @ self.down.weight.data
            self.first.weight.data += -change if mode else change
            self.merged = not mode
        return super().train(mode)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(inputs))) if self.merged else super().forward(inputs)


@pytest.mark.filterwarnings("ignore:.*is hardly a solution")  # stars of one epoch
def test_a_network_may_merge_weights_in_eval_mode(data: Data) -> None:
    """What it adds to one model's weights is taken away before another's are there."""
    found = []
    for make in (Merging, Added):
        models = [sc.train(make, data, epochs=3, batch_size=30, seed=seed) for seed in (0, 1)]
        star = sc.find_star(models, epochs=1, alignment=None)
        distilled = sc.fuse(models, method="distil", star=star, samples=2, epochs=1, alignment=None)
        rows = sc.evaluate(*models, star, distilled, sc.interpolate(*models, t=0.5, alignment=None))
        found.append([*rows.column("nll"), *sc.barrier(*models, points=3, alignment=None).curves["test"].loss])
    assert found[0] == pytest.approx(found[1], abs=1e-4)


class AlwaysDropping(Net):
    """Drops in eval mode too, as `F.dropout` does that is not told of the mode."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(inputs, 0.5))


class OfBatches(Net):
    """Subtracts the mean of whatever examples lie in a batch."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs - inputs.mean(0))


@pytest.mark.parametrize(
    ("make", "note"),
    [(AlwaysDropping, "other outputs each time"), (OfBatches, "other outputs for an example beside others")],
)
def test_figures_that_another_pass_would_not_give_are_noted(data: Data, make: Any, note: str) -> None:
    with pytest.warns(sc.StarcliWarning, match=f"in eval mode .*the network returns {note}"):
        sc.evaluate(make(), data=data)


class Undropped(Net):
    """`Net` without dropout: the same function in eval mode, with the same names of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self[3].p = 0.0


@pytest.mark.parametrize("method", ["straight-through", "sinkhorn", "learn"])
def test_nothing_is_dropped_where_an_alignment_is_learned(data: Data, method: str) -> None:
    a, b = modules(2)
    states = [dict(module.state_dict()) for module in (a, b)]
    how = sc.Alignment(method, steps=20)
    first, second = (sc.align(*states, method=how, data=data, arch=arch) for arch in (Net, Undropped))
    assert same(first.tensors, second.tensors)


class Viewed(nn.Module):
    """Views the outputs of a convolution as rows, which channels that lie innermost do not admit."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 5, 3), nn.Linear(5 * 4 * 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(images)).view(-1, 5 * 4 * 4))


def test_a_network_may_view_images_as_rows() -> None:
    images, labels = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    a, b = (
        sc.train(Viewed, dict.fromkeys(("train", "test"), (images, labels)), epochs=1, batch_size=20, seed=seed)
        for seed in (0, 1)
    )
    middle = {name: (a.tensors[name] + b.tensors[name]) / 2 for name in a.tensors}
    logits = torch.func.functional_call(Viewed(), middle, (images,))
    loss = float(nn.functional.cross_entropy(logits, labels))
    assert sc.barrier(a, b, points=3, alignment=None).curves["test"].loss[1] == pytest.approx(loss, abs=1e-6)


class Turning(nn.Module):
    """Turns pairs of hidden units by complex factors, as rotary positions are often written."""

    def __init__(self, persistent: bool) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 8), nn.Linear(8, 6), nn.Linear(6, 3)
        turns = torch.polar(torch.ones(4), torch.arange(1.0, 5.0))
        self.register_buffer("turns", turns, persistent=persistent)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs)
        pairs = torch.view_as_complex(hidden.reshape(-1, 4, 2).contiguous())
        turned = torch.view_as_real(pairs * self.turns).flatten(1)
        return self.last(self.second(turned.to(hidden.dtype)).relu())


@pytest.mark.filterwarnings("ignore:the weights are float64")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("persistent", [False, True])
def test_complex_buffers_keep_their_imaginary_part(data: Data, persistent: bool, dtype: torch.dtype) -> None:
    a, b = (cast_floats_(module, dtype).eval() for module in modules(2, partial(Turning, persistent)))
    inputs, labels = data["test"]
    found = sc.evaluate(a, b, data=data).column("nll")
    own = [nn.functional.cross_entropy(each(inputs.to(dtype)), labels).item() for each in (a, b)]
    assert found == pytest.approx(own, abs=1e-6)
    moved = sc.align(a, b, data=data).module()
    assert moved.turns.is_complex()
    torch.testing.assert_close(moved(inputs.to(dtype)), b(inputs.to(dtype)))


@pytest.mark.parametrize("call", [sc.evaluate, sc.train])
def test_a_complex_buffer_that_no_file_can_hold_is_refused(data: Data, call: Any) -> None:
    network = Turning(persistent=True)
    network.turns = network.turns.to(torch.complex128)
    with pytest.raises(sc.StarcliError, match=r"turns is complex128(.|\n)*persistent=False"):
        call(network, data=data)
