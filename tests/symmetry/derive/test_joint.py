"""Units told by two axes together, those of each head or expert; where the guess of which axes they are leads nowhere,
as many symmetries are found as if one axis told them.

Counts are written out by hand, and whatever is derived is proved as well.
"""

from math import factorial, log10, prod

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.derive.derive import derive_and_prove

torch.set_num_threads(1)

EXAMPLE = (torch.rand(2, 6, 7, generator=torch.Generator().manual_seed(0)),)


def proved(network: nn.Module) -> Resolved:
    derived = derive_and_prove(network, EXAMPLE, seed=0)
    assert (derived.notes, derived.rejected) == ((), {})
    return derived.resolved


def assert_counted(network: nn.Module, *sizes: int) -> None:
    """The network has as many symmetries as the product of these factorials."""
    assert proved(network).log10_symmetries() == pytest.approx(log10(prod(map(factorial, sizes))))


class Stream(nn.Module):
    """A stream of 12 units, what `mixed` adds to it, and a mean over tokens: (examples, tokens, 7) -> (examples, 3)."""

    def __init__(self, *shapes: tuple[int, ...]) -> None:
        """A parameter of each shape."""
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(7, 12), nn.Linear(12, 3)
        self.weights = nn.ParameterList(torch.randn(shape) / shape[-1] ** 0.5 for shape in shapes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last((x + self.mixed(x, *self.weights)).mean(1))

    def mixed(self, x: Tensor, *weights: Tensor) -> Tensor:
        raise NotImplementedError


class Attention(Stream):
    """Four heads of 5 units, their matrices laid out as letters say."""

    def __init__(self, into: str, out: str) -> None:
        sizes = {"d": 12, "h": 4, "k": 5}
        read, written = (tuple(sizes[c] for c in letters) for letters in (into, out))
        super().__init__(read, read, read, written)
        self.into, self.out = into, out

    def mixed(self, x: Tensor, *weights: Tensor) -> Tensor:
        query, key, value = (torch.einsum(f"btd,{self.into}->bthk", x, weight) for weight in weights[:3])
        scores = torch.einsum("bqhk,bthk->bhqt", query, key).softmax(-1)
        return torch.einsum(f"bqhk,{self.out}->bqd", torch.einsum("bhqt,bthk->bqhk", scores, value), weights[3])


@pytest.mark.parametrize(("into", "out"), [("hdk", "hdk"), ("dhk", "hkd"), ("dkh", "khd"), ("khd", "dhk")])
def test_heads_are_found_in_whatever_order_their_axes_stand(into: str, out: str):
    assert_counted(Attention(into, out), 12, 4, *[5] * 4, *[5] * 4)


class Bilinear(Stream):
    """One vector read twice by a parameter of three axes: its units stand on two of them."""

    def mixed(self, x: Tensor, *weights: Tensor) -> Tensor:
        read, both, out = weights
        x = F.linear(x, read)
        return F.linear(torch.relu(torch.einsum("bti,btj,oij->bto", x, x, both)), out)


def test_two_axes_that_different_tensors_read_are_told_by_one_each():
    assert_counted(Bilinear((5, 12), (8, 5, 5), (12, 8)), 12, 5, 8)


class Adapters(Stream):
    """A sum of low-rank matrices (Hu et al. 2021), in one einsum."""

    def mixed(self, x: Tensor, *weights: Tensor) -> Tensor:
        return torch.einsum("btd,ndr,nre->bte", x, *weights)


def test_each_pair_of_low_rank_matrices_has_ranks_of_its_own():
    assert_counted(Adapters((3, 12, 2), (3, 2, 12)), 12, 3, 2, 2, 2)


class OneAlways(Stream):
    """The last expert of a stack is not weighted: the others change places, and the units of all move alike."""

    def mixed(self, x: Tensor, *weights: Tensor) -> Tensor:
        router, up, down = weights
        scores = F.linear(x, router).softmax(-1).unsqueeze(-1)
        made = torch.einsum("bteh,ehd->bted", torch.relu(torch.einsum("btd,edh->bteh", x, up)), down)
        return (made[..., :3, :] * scores).sum(2) + made[..., 3, :]


def test_a_part_of_a_stack_changes_places_where_another_part_stays():
    found = proved(OneAlways((3, 12), (4, 12, 5), (4, 5, 12)))
    assert found.groups[found.expressions["weights.0"][0]].size == 3
    assert found.log10_symmetries() == pytest.approx(log10(factorial(12) * factorial(3) * factorial(5)))


class Memory(Stream):
    """Two heads, each with 8 slots of its own, of which the two best are read: no line of a spec names slots so."""

    def mixed(self, x: Tensor, *weights: Tensor) -> Tensor:
        read, keys, values = weights
        scores = torch.einsum("bthk,hnk->bthn", torch.einsum("btd,hdk->bthk", x, read), keys)
        best, which = scores.topk(2, -1)
        return torch.einsum("bthn,hnd->btd", torch.zeros_like(scores).scatter(-1, which, best.softmax(-1)), values)


def test_heads_move_whose_units_are_told_apart():
    assert_counted(Memory((2, 12, 4), (2, 8, 4), (2, 8, 12)), 12, 2, 4, 4)


class BestOfEach(Stream):
    """The number of the best unit in each of four heads, as a vector of 0 and 1."""

    def mixed(self, x: Tensor, *weights: Tensor) -> Tensor:
        scores = F.linear(x, weights[0]).unflatten(-1, (4, 5))
        return F.linear(F.one_hot(scores.argmax(-1), 5).to(x.dtype).flatten(2), weights[1])


def test_heads_move_in_which_a_position_is_told():
    assert_counted(BestOfEach((20, 12), (12, 20)), 12, 4)


class Pooled(Stream):
    """Attention by a learned query of each of four heads, over the tokens of a stream."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """(examples, heads, tokens), keys (examples, heads, tokens, units)."""
        raise NotImplementedError

    def mixed(self, x: Tensor, *weights: Tensor) -> Tensor:
        query, key, value, out = weights
        keys, values = (F.linear(x, weight).unflatten(-1, (4, 5)).transpose(1, 2) for weight in (key, value))
        pooled = self.scores(query, keys).softmax(-1).unsqueeze(2) @ values
        return F.linear(pooled.flatten(1), out).unsqueeze(1)


class ByEinsum(Pooled):
    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return torch.einsum("hk,bhtk->bht", query, keys)


class ByProduct(Pooled):
    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return (query @ keys.mT).squeeze(2)


class BySpread(Pooled):
    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return (query[None, :, None].expand(len(keys), -1, -1, -1) @ keys.mT).squeeze(2)


class ByAttention(Pooled):
    def mixed(self, x: Tensor, *weights: Tensor) -> Tensor:
        query, key, value, out = weights
        keys, values = (F.linear(x, weight).unflatten(-1, (4, 5)).transpose(1, 2) for weight in (key, value))
        query = query.expand(len(keys), -1, -1, -1)
        return F.linear(F.scaled_dot_product_attention(query, keys, values).flatten(1), out).unsqueeze(1)


@pytest.mark.parametrize(
    ("network", "query"),
    [(ByEinsum, (4, 5)), (BySpread, (4, 5)), (ByProduct, (1, 4, 1, 5)), (ByAttention, (1, 4, 1, 5))],
)
def test_units_of_a_learned_query_move_in_each_head_alone(network: type[Pooled], query: tuple[int, ...]):
    assert_counted(network(query, (20, 12), (20, 12), (12, 20)), 12, 4, *[5] * 4, *[5] * 4)


class OneKey(Stream):
    """Learned queries of four heads that share keys and values: their units move alike."""

    def mixed(self, x: Tensor, *weights: Tensor) -> Tensor:
        query, key, value, out = weights
        keys, values = (F.linear(x, weight).unsqueeze(1) for weight in (key, value))
        return F.linear(((query @ keys.mT).softmax(-1) @ values).flatten(1), out).unsqueeze(1)


def test_units_of_learned_queries_move_alike_where_heads_share_their_keys():
    assert_counted(OneKey((1, 4, 1, 5), (5, 12), (6, 12), (12, 24)), 12, 4, 5, 6)
