"""Batches of an epoch: in which order examples come, in which pieces, and what each counts for."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from starcli.data.splits import Split
from starcli.recipes.recipe import Recipe
from starcli.training.batch_pieces import BatchPiece, own_pieces, steps_per_epoch
from starcli.training.class_weights import example_masses
from starcli.training.seeds import generator, substream

Batch = Sequence[tuple[Tensor, Tensor, BatchPiece]]
"""This process's pieces of a batch: inputs and labels of each."""


class EpochBatches:
    """Batches of `split`, in an order of its own for each epoch, each piece augmented by the generator of its place.

    sizes: examples of each batch. totals: what its examples count for together, in the present epoch: their number
    unless classes or tokens are weighted.
    """

    def __init__(
        self,
        split: Split,
        recipe: Recipe,
        seed: int,
        augmentation: tuple[str, ...],
        pieces: int,
        device: torch.device,
    ) -> None:
        self.split, self.seed, self.augmentation, self.pieces, self.device = split, seed, augmentation, pieces, device
        self.size, steps = recipe.batch_size, steps_per_epoch(len(split), recipe.batch_size)
        self.sizes = [min(self.size, len(split) - number * self.size) for number in range(steps)]
        self.masses = example_masses(recipe, split)
        self.totals: Sequence[float] = self.sizes

    def of_epoch(self, epoch: int, step: int) -> Iterator[Batch]:
        """Batches of an epoch from `step` on."""
        order, steps = torch.randperm(len(self.split), generator=generator(self.seed, "order", epoch)), len(self.sizes)
        if self.masses is not None:
            batches = torch.split(self.masses[order], self.size)
            self.totals = [each.sum().item() for each in batches[:steps]]
        short = self.sizes[-1] != self.sizes[0]
        last = steps - short
        yield from self._alike(order, epoch, range(step, last))
        if short:  # its pieces have other sizes
            yield from self._alike(order, epoch, range(max(step, last), steps))

    def _alike(self, order: Tensor, epoch: int, steps: range) -> Iterator[Batch]:
        """Batches of `steps`, all of one size, read one piece after the other."""
        if not steps:
            return
        pieces = own_pieces(self.sizes[steps[0]], self.pieces)
        if len({piece.stop - piece.start for piece in pieces}) == 1:
            readers = [self._reader(order, steps, pieces)] * len(pieces)
        else:
            readers = [self._reader(order, steps, [piece]) for piece in pieces]
        for step in steps:
            batch = []
            for piece, (batches, augmenting) in zip(pieces, readers, strict=True):
                augmenting.manual_seed(substream(self.seed, "augment", epoch, step, *piece.place))
                batch.append((*next(batches), self._weighed(piece, order, step)))
            yield batch

    def _weighed(self, piece: BatchPiece, order: Tensor, step: int) -> BatchPiece:
        """A piece with its share of the batch's mass as weight."""
        if self.masses is None or not piece.weight:
            return piece
        start = step * self.size
        own = self.masses[order[start + piece.start : start + piece.stop]].sum()
        return replace(piece, weight=own.item() / self.totals[step])

    def _reader(
        self, order: Tensor, steps: range, pieces: Sequence[BatchPiece]
    ) -> tuple[Iterator[tuple[Tensor, Tensor]], torch.Generator]:
        """Examples of `pieces`, all of one size, of each step; and the generator that augments them."""
        starts = [step * self.size for step in steps]
        rows = torch.cat([order[start + piece.start : start + piece.stop] for start in starts for piece in pieces])
        augmenting = torch.Generator()
        batches = self.split.batches(
            pieces[0].stop - pieces[0].start,
            order=rows,
            augmentation=self.augmentation,
            generator=augmenting,
            device=self.device,
            channels_last=True,
        )
        return batches, augmenting
