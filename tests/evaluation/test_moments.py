"""Pooled means and variances against torch's over all data at once, and many samples together against each alone."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from starcli.evaluation.moments import MeansOfMoments, Moments, Observed, TogetherPooled

SIZES = {(0, 0): 3, (1, 0): 1, (1, 1): 1, (2, 0): 5}
BATCHES = (7, 7, 4)


def batches(seed: int = 0) -> list[dict[tuple[int, int], Tensor]]:
    """Examples (batch, entries) of each sample, batch by batch."""
    generator = torch.Generator().manual_seed(seed)
    return [{key: 3 + torch.randn(n, size, generator=generator) for key, size in SIZES.items()} for n in BATCHES]


def observed(batch: dict[tuple[int, int], Tensor]) -> list[Observed]:
    return [Observed(key, len(x), x.mean(0), x.var(0)) for key, x in batch.items()]


@pytest.mark.parametrize("kind", [Moments, MeansOfMoments])
def test_together_as_each_alone_to_the_bit(kind: type[Moments]) -> None:
    together, alone = TogetherPooled(kind), {key: kind() for key in SIZES}
    for batch in map(observed, batches()):
        together.add(batch)
        for each in batch:
            alone[each.key].add(each.count, each.mean, each.unbiased_variance)
    found = together.moments()
    assert found.keys() == alone.keys()
    for key, moments in alone.items():
        assert found[key].count == moments.count == sum(BATCHES)
        assert torch.equal(found[key].mean, moments.mean)
        assert torch.equal(found[key].unbiased_variance(), moments.unbiased_variance())


def test_they_are_the_moments_of_all_data() -> None:
    together = TogetherPooled(Moments)
    for batch in batches():
        together.add(observed(batch))
    for key, moments in together.moments().items():
        whole = torch.cat([batch[key] for batch in batches()]).double()
        torch.testing.assert_close(moments.mean, whole.mean(0), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(moments.unbiased_variance(), whole.var(0), rtol=1e-5, atol=1e-6)


def test_samples_that_are_not_in_every_batch() -> None:
    """As of a layer that some batches call twice and others once."""
    together, part = TogetherPooled(Moments), {key for key in SIZES if key != (1, 1)}
    for number, batch in enumerate(batches()):
        together.add(observed({key: x for key, x in batch.items() if number != 1 or key in part}))
    found = together.moments()
    for key in SIZES:
        whole = torch.cat([batch[key] for number, batch in enumerate(batches()) if number != 1 or key in part]).double()
        assert found[key].count == len(whole)
        torch.testing.assert_close(found[key].mean, whole.mean(0), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found[key].unbiased_variance(), whole.var(0), rtol=1e-5, atol=1e-6)


def test_moments_of_two_parts_are_merged_to_those_of_all() -> None:
    """As ranks do, of which one may have seen nothing."""
    data = 3 + torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = [Moments() for _ in range(3)]
    for moments, part in zip(parts, (data[:8], data[8:48], data[48:]), strict=True):
        for batch in part.split(5):
            moments.add(len(batch), batch.mean(0), batch.var(0))
    merged = Moments()
    for each in (Moments(), *parts, Moments()):
        merged.merge(each)
    assert merged.count == 50
    torch.testing.assert_close(merged.mean, data.mean(0))
    torch.testing.assert_close(merged.unbiased_variance(), data.var(0))


def test_means_of_moments_weigh_each_batch_by_its_examples() -> None:
    """The mean over examples of each one's own mean and variance, in parts too."""
    means, variances = torch.rand(2, 30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = [MeansOfMoments() for _ in range(2)]
    for moments, rows in zip(parts, (slice(0, 11), slice(11, 30)), strict=True):
        for mean, variance in zip(means[rows].split(4), variances[rows].split(4), strict=True):
            moments.add(len(mean), mean.mean(0), variance.mean(0))
    parts[0].merge(parts[1])
    assert parts[0].count == 30
    torch.testing.assert_close(parts[0].mean, means.mean(0))
    torch.testing.assert_close(parts[0].unbiased_variance(), variances.mean(0))


class Counting(TorchDispatchMode):
    """Counts operators."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_as_few_operators_for_many_samples_as_for_one() -> None:
    counts = []
    for samples in (1, 40):
        together = TogetherPooled(Moments)
        batch = [Observed((number, 0), 9, torch.randn(6), torch.rand(6)) for number in range(samples)]
        together.add(batch)
        with Counting() as counting:
            together.add(batch)
        counts.append(counting.count)
    assert counts[0] == counts[1] < 20
