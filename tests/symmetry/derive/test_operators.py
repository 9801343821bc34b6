"""Operators on what layers compute for each token: which leave the units free, which tell them apart.

Whatever is derived is proved as well, on the network itself.
"""

from collections.abc import Callable

import pytest
import torch
from support.tracing import traced_truly
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from starcli.errors import StarcliError
from starcli.symmetry.derive.derive import derive_and_prove

torch.set_num_threads(1)

AT = torch.tensor([0, 2, 1, 1])
"""A position for each of four tokens."""
EXAMPLE = (torch.rand(2, 4, 6, generator=torch.Generator().manual_seed(0)),)
"""Inputs (examples, tokens, 6)."""


class Tokens(nn.Module):
    """Two layers of 8 units for each token, with an operator on what the first computes, and a mean over tokens."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.second(self.function(torch.relu(self.first(x))))).mean(1))


def at_all(x: Tensor) -> Tensor:
    """Where each token goes, for every unit."""
    return AT[None, :, None].expand_as(x)


def written(x: Tensor, *where: object, value: Tensor | float) -> Tensor:
    made = torch.zeros_like(x)
    made[where] = value
    return made


def scaled_as_a_whole(x: Tensor) -> Tensor:
    made = x.clone()
    made[...] *= 1.5
    made[..., :] += 0.5
    made.detach()[:, 0] = 1.0
    return made


def token_by_token(x: Tensor) -> Tensor:
    made = torch.empty(2, 4, 8)
    for token in range(4):
        made[:, token] = x[:, token] * (token + 1)
    return made


def unpooled(x: Tensor) -> Tensor:
    largest, places = F.max_pool2d(x, (2, 1), return_indices=True)
    return F.max_unpool2d(largest, places, (2, 1))


def masked(x: Tensor) -> Tensor:
    x = x.clone()
    x[x > 0.3] = 0.1
    return x


def in_place(x: Tensor) -> Tensor:
    x /= 1 + x.sum(-1, keepdim=True)
    return x


def in_a_view(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, 1].mul_(2)
    x[:, 2:].add_(x[:, :2])
    return x


FREE = {
    "index_add": lambda x: torch.zeros_like(x).index_add(1, AT, x),
    "index_add into other positions": lambda x: x.new_zeros(2, 3, 8).index_add_(1, AT, x),
    "index_copy": lambda x: torch.zeros_like(x).index_copy(1, torch.tensor([1, 0, 3, 2]), x),
    "index_fill": lambda x: x.index_fill(1, torch.tensor([1]), 0.5),
    "scatter": lambda x: torch.zeros_like(x).scatter(1, at_all(x), x),
    "scatter_add": lambda x: torch.zeros_like(x).scatter_add(1, at_all(x), x),
    "scatter_reduce": lambda x: torch.zeros_like(x).scatter_reduce(1, at_all(x), x, "amax"),
    "index_put": lambda x: torch.zeros_like(x).index_put((torch.arange(2)[:, None], AT[None]), x, accumulate=True),
    "a mask": masked,
    "a mask of tokens": lambda x: x.index_put((torch.tensor([[True, False, True, False]] * 2),), torch.tensor(0.5)),
    "written into zeros": lambda x: written(x, slice(None), slice(0, 2), value=x[:, 2:]),
    "written into every other one": lambda x: written(x, slice(None), slice(None, None, 2), value=x[:, :2]),
    "written from the end": lambda x: written(x, slice(None), -1, value=x[:, 0]),
    "written token by token": token_by_token,
    "written as a whole": scaled_as_a_whole,
    "changed in a view": in_a_view,
    "slice_scatter": lambda x: torch.slice_scatter(torch.zeros_like(x), x[:, :2], 1, 0, 2),
    "select_scatter": lambda x: torch.select_scatter(torch.zeros_like(x), x[:, 0], 1, 0),
    "take_along_dim": lambda x: x.take_along_dim(AT[None, :, None], 1),
    "windows": lambda x: x.unfold(1, 2, 1).mean(-1),
    "differences": lambda x: x.diff(dim=1),
    "the largest so far": lambda x: x.cummax(1).values,
    "the largest unit": lambda x: x / (1 + x.max(-1, keepdim=True).values),
    "the largest and the least": lambda x: x - x.aminmax(dim=-1, keepdim=True).min,
    "mantissas and exponents": lambda x: x.frexp().mantissa,
    "units above the third": lambda x: x * (x >= x.topk(3, -1).values[..., -1:]),
    "units below the median": lambda x: x * (x <= x.median(-1, keepdim=True).values),
    "a quantile of units": lambda x: x - x.quantile(0.3, -1, keepdim=True),
    "quantiles of tokens": lambda x: x.quantile(torch.tensor([0.2, 0.6]), 1).transpose(0, 1),
    "a norm of matrices": lambda x: x / (1 + torch.linalg.matrix_norm(x, 2, keepdim=True)),
    "a length of matrices": lambda x: x / (1 + torch.linalg.norm(x, dim=(-2, -1), keepdim=True)),
    "renormed": lambda x: x.renorm(2, 0, 1.0),
    "searchsorted": lambda x: x * torch.searchsorted(torch.tensor([0.2, 0.6]), x.contiguous()),
    "sorted tokens": lambda x: x.sort(1).values,
    "fft of tokens": lambda x: torch.fft.fft(x, dim=1).real,
    "rfft and back": lambda x: torch.fft.irfft(torch.fft.rfft(x, dim=1) * 0.5, n=4, dim=1),
    "cosine": lambda x: x * F.cosine_similarity(x, x.flip(1), -1)[..., None],
    "distance": lambda x: x * F.pairwise_distance(x, x.flip(1), keepdim=True),
    "distances": lambda x: torch.cdist(x, x) @ x,
    "einsum with an ellipsis": lambda x: torch.einsum("...i,...i->...", x, x)[..., None] * x,
    "einsum of an ellipsis that is broadcast": lambda x: torch.einsum("...ti,ij->...tj", x, torch.ones(8, 8)) * x,
    "einsum without a result": lambda x: torch.einsum("bti,bsi", x, x) @ x,
    "einsum of a diagonal": lambda x: torch.einsum("bii->bi", x @ x.mT)[..., None] * x,
    "einsum of a diagonal of units": lambda x: torch.einsum("btii->bti", x[..., :, None] * x[..., None, :]),
    "unpooled": lambda x: unpooled(x.mT[..., None]).squeeze(-1).mT,
    "conjugate": lambda x: (torch.fft.fft(x, dim=1).conj() * torch.fft.fft(x, dim=1)).imag + x,
    "an inverse": lambda x: x @ torch.linalg.inv(x.mT @ x + torch.eye(8)),
    "a system of equations": lambda x: torch.linalg.solve(torch.eye(8) + x.mT @ x, x.mT).mT,
    "equations from the right": lambda x: torch.linalg.solve(torch.eye(8) + x.mT @ x, x, left=False),
    "an exponential of matrices": lambda x: x @ torch.matrix_exp(-x.mT @ x / 8),
    "a power of matrices": lambda x: x @ torch.matrix_power(x.mT @ x / 8, 3),
    "trapezoids": lambda x: torch.trapezoid(x, dim=1)[:, None],
    "dropout of features": lambda x: F.feature_alpha_dropout(x, training=False),
    "a result changed in place": lambda x: x * in_place(x.topk(2, -1).values).sum(-1, keepdim=True),
    "hstack": lambda x: torch.hstack([x, x]),
    "diagonal matrices": lambda x: torch.diag_embed(x).sum(-1),
    "adaptive pooling": lambda x: F.adaptive_max_pool3d(x.mT[..., None, None], (2, 1, 1)).flatten(2).mT,
    "trilinear": lambda x: F.interpolate(x.mT[..., None, None], scale_factor=2, mode="trilinear").flatten(2).mT,
}  # fmt: skip


@pytest.mark.parametrize("name", FREE)
def test_units_stay_free(name):
    if "quantile" in name and not traced_truly(Tokens(FREE[name]), EXAMPLE):
        pytest.skip("this torch cannot trace quantiles")
    derived = derive_and_prove(Tokens(FREE[name]), EXAMPLE, seed=0)
    assert derived.notes == ()
    assert not derived.rejected
    assert {name: group.size for name, group in derived.resolved.groups.items()} == {"first": 8, "second": 8}
    assert derived.resolved.expressions["second.weight"] == ("second", "first")


APART = {
    "fft of units": lambda x: torch.fft.fft(x).real,
    "differences of units": lambda x: F.pad(x.diff(dim=-1), (0, 1)),
    "sorted units": lambda x: x.sort(-1).values * torch.arange(8),
    "positions of the largest": lambda x: x * x.max(-1, keepdim=True).indices,
    "index_add of units": lambda x: torch.zeros_like(x).index_add(-1, torch.arange(8).flip(0), x),
    "one unit changed": lambda x: x.index_fill(-1, torch.tensor([1]), 0.5) + x.cumsum(-1),
    "ordered by a mask": lambda x: torch.zeros_like(x).masked_scatter(x > 0.3, x),
}


@pytest.mark.parametrize("name", APART)
def test_units_that_are_told_apart(name):
    derived = derive_and_prove(Tokens(APART[name]), EXAMPLE, seed=0)
    assert derived.notes == ()
    free = {"first": 8, "second": 8} if name == "sorted units" else {"second": 8}  # sorting forgets their order
    assert {name: group.size for name, group in derived.resolved.groups.items()} == free
    assert "first" not in str(derived.resolved.expressions["second.weight"])


def test_halves_that_are_written_over_are_two_sets():
    def swapped(x: Tensor) -> Tensor:
        made = torch.empty(2, 4, 8)
        made[..., ::2], made[..., 1::2] = x[..., 4:], x[..., :4].sigmoid()
        return made

    derived = derive_and_prove(Tokens(swapped), EXAMPLE, seed=0)
    assert sorted(group.size for group in derived.resolved.groups.values()) == [4, 4, 8]


def test_units_that_are_written_over_in_a_part_are_told_from_the_others():
    def silenced(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, 1:3, 2:4] = 0.0
        return x

    derived = derive_and_prove(Tokens(silenced), EXAMPLE, seed=0)
    assert derived.notes == ()
    assert not derived.rejected
    # the six others have the two in their midst: no expression says so, unless they are two and four
    assert sorted(group.size for group in derived.resolved.groups.values()) == [2, 2, 4, 8]

    def silenced_at_the_end(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, 1:3, 5:] = 0.0
        return x

    derived = derive_and_prove(Tokens(silenced_at_the_end), EXAMPLE, seed=0)
    assert sorted(group.size for group in derived.resolved.groups.values()) == [3, 5, 8]


def test_a_view_from_before_a_write_that_is_read_after_it_freezes_both():
    def stale(x: Tensor) -> Tensor:
        x = x.clone()
        front = x[:, :2]
        x[:, 0].mul_(2)
        return torch.cat([front, x], 1)

    derived = derive_and_prove(Tokens(stale), EXAMPLE, seed=0)
    assert set(derived.resolved.groups) == {"second"}


def test_what_a_mask_chooses_among_is_fixed():
    """No graph has a size that only the input tells: it is traced as if all were chosen, and proved as it is."""

    def chosen(x: Tensor) -> Tensor:
        return x + x[x > 0.3].sum()

    assert set(derive_and_prove(Tokens(chosen), EXAMPLE, seed=0).resolved.groups) == {"second"}


def test_a_size_that_only_the_input_tells_is_an_error():
    def chosen(x: Tensor) -> Tensor:
        flat = x.flatten()
        return x + flat.repeat_interleave((flat > 0.3).long()).sum()

    with pytest.raises(StarcliError, match=r"a size depends on the values of the input.*test_operators\.py"):
        derive_and_prove(Tokens(chosen), EXAMPLE, seed=0)


def test_memory_as_it_is_says_nothing_of_units():
    """A network that writes into `torch.empty` has the same spec each time, whatever lay there."""

    def filled(x: Tensor) -> Tensor:
        made = torch.empty(2, 4, 8)
        made[..., :] = x
        return made

    assert set(derive_and_prove(Tokens(filled), EXAMPLE, seed=0).resolved.groups) == {"first", "second"}
