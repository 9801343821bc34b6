"""The source models of a star: files that are never rewritten, each with the symmetry that aligns it to the star.

A source's vector is composed from file and permutation, or element of a larger group, when a step needs it
(`source_vectors`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from starcli.alignment.aligner import Aligner
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.models.flat_network import FlatNetwork
from starcli.models.spectral_norm import approach_spectral_norms_
from starcli.runtime import sharing
from starcli.runtime.progress import Progress
from starcli.runtime.rehearsal import alike_if_rehearsed, once_if_rehearsed
from starcli.star.source_vectors import KeptVectors, PrefetchedVectors, are_small, fits
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.symmetries import Symmetry
from starcli.training.seeds import substream


@dataclass(frozen=True)
class Source:
    """A solution to connect to: what people call it, and a function that opens its state dict (read-only)."""

    name: str
    open: Callable[[], Mapping[str, Tensor]]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Source":
        """A checkpoint as a source; its file is opened anew at each use."""
        return cls(checkpoint.name, checkpoint.fresh_tensors)


@dataclass(frozen=True)
class Realignment:
    """One alignment of sources: units moved against the one before, and the mean inner product with the star.

    drawn: numbers of the sources, where these are not all.
    """

    moved: tuple[int, ...]
    objective: float
    drawn: tuple[int, ...] | None

    def row(self) -> dict[str, Any]:
        """For the log."""
        drawn = {} if self.drawn is None else {"drawn_sources": list(self.drawn)}
        moved = {"moved": sum(self.moved), **drawn, "moved_by_source": list(self.moved)}
        return {**moved, "objective": self.objective}


@dataclass(frozen=True)
class _Found:
    """One source's alignment as ranks tell each other of it."""

    tensors: dict[str, Tensor]
    moved: int
    objective: float


def _realignment(found: Sequence[_Found], drawn: tuple[int, ...] | None = None) -> Realignment:
    return Realignment(tuple(each.moved for each in found), sum(each.objective for each in found) / len(found), drawn)


def _by_tensor(symmetry: Symmetry | None) -> Permutation | None:
    """A permutation that makes each tensor of this one alone: no element, and nothing between the modules of a list."""
    return symmetry if isinstance(symmetry, Permutation) and not symmetry.spec.stacks else None


class _Opened(Sequence[Mapping[str, Tensor]]):
    """The sources' tensors, opened when asked for; a stop that was asked for is raised then, between two sources."""

    def __init__(self, sources: Sequence[Source], progress: Progress) -> None:
        self.sources, self.progress = sources, progress

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, number: Any) -> Any:
        self.progress.stop_if_asked()
        return self.sources[number].open()


class SourceBank:
    """Sources, what aligns each (None: as in the file), and the vector (P,) of each in the layout of `flat`."""

    def __init__(self, sources: Sequence[Source], flat: FlatNetwork) -> None:
        if are_small(len(sources), flat.parameters):  # a small file takes longer to open than to read
            sources = [Source(each.name, cache(each.open)) for each in sources]
        self.sources, self.flat = tuple(sources), flat
        self.symmetries: tuple[Symmetry | None, ...] = (None,) * len(sources)
        self.keeps = fits(len(sources), flat.parameters)
        self._vectors = (KeptVectors if self.keeps else PrefetchedVectors)(flat, self._open, self._compose)
        self._fixed: dict[int, dict[str, Tensor]] = {}

    def align(
        self,
        star: Mapping[str, Tensor],
        aligner: Aligner,
        seed: int,
        restarts: int,
        numbers: Sequence[int],
        *,
        progress: Progress,
    ) -> Realignment:
        """Align sources to `star`, each from its present symmetry; all of these `numbers` change, or none.

        restarts: rounds of the search where all have one; else as `aligner` has them. The seed of each source comes
        from `seed` and from its number.
        """
        restarts = aligner.alignment.restarts if self._are_new(numbers) else restarts
        matches = self._matches(numbers, star, aligner, seed, restarts, progress)
        self.set({number: aligner.symmetry(each.tensors) for number, each in zip(numbers, matches, strict=True)})
        return _realignment(matches, tuple(numbers) if len(numbers) < len(self.sources) else None)

    def _are_new(self, numbers: Sequence[int]) -> bool:
        """Whether one of some sources has nothing to begin from."""
        return None in [self.symmetries[number] for number in numbers]

    def gather(self, aligner: Aligner, seed: int, *, progress: Progress) -> Realignment:
        """Align all other sources to the first one, which stays as it is."""
        first, others = self.sources[0].open(), range(1, len(self.sources))
        matches = self._matches(others, first, aligner, seed, aligner.alignment.restarts, progress)
        self.set(dict(enumerate([aligner.identity, *(aligner.symmetry(each.tensors) for each in matches)])))
        return _realignment(matches)

    def mean(self) -> Tensor:
        """The mean of the sources' parameters as they are aligned, (P,)."""
        total = torch.zeros_like(self.flat.parameters)
        for number in range(len(self.sources)):
            total += self.vector(number)
        return total / len(self.sources)

    def _matches(
        self,
        numbers: Sequence[int],
        reference: Mapping[str, Tensor],
        aligner: Aligner,
        seed: int,
        restarts: int,
        progress: Progress,
    ) -> list[_Found]:
        """The matches of some sources to a reference, from where they are; the ranks share them."""

        def aligned(numbers: Sequence[int]) -> list[_Found]:
            found = aligner.match_all(
                reference,
                _Opened([self.sources[number] for number in numbers], progress),
                seeds=[substream(seed, number) for number in numbers],
                restarts=restarts,
                starts=[self.symmetries[number] for number in numbers],
            )
            return [_Found(match.symmetry.to_tensors(), match.moved, match.objective) for match in found]

        again = "" if self._are_new(numbers) else " anew"
        what = f"alignment of {len(numbers)} sources{again}: {aligner.alignment.title}"
        return once_if_rehearsed(
            what, lambda: alike_if_rehearsed(what, numbers, lambda own: sharing.share_list(own, aligned))
        )

    def set(self, symmetries: Mapping[int, Symmetry | None]) -> None:
        """Put these in the place of the present ones of their sources."""
        self._vectors.forget()
        self.symmetries = tuple(symmetries.get(number, own) for number, own in enumerate(self.symmetries))
        self._fixed.clear()

    def _open(self, number: int) -> Mapping[str, Tensor]:
        return self.sources[number].open()

    def aligned(self, number: int) -> dict[str, Tensor]:
        """The full state dict of a source under its present symmetry."""
        symmetry, tensors = self.symmetries[number], self.sources[number].open()
        return dict(tensors) if symmetry is None else symmetry.apply(tensors)

    def fixed(self, number: int, names: Collection[str]) -> dict[str, Tensor]:
        """`names`, which are `fixed_in_training`, of source `number`, aligned: on the network's device."""
        if number in self._fixed:
            return self._fixed[number]
        symmetry, tensors = self.symmetries[number], self.sources[number].open()
        alone = _by_tensor(symmetry)
        tensors = tensors if symmetry is None or alone is not None else symmetry.apply(tensors)
        found = {name: tensors[name] for name in names}
        if alone is not None:
            found = {name: alone.apply_(name, t, torch.empty_like(t)) for name, t in found.items()}
        found = {name: tensor.to(self.flat.parameters.device) for name, tensor in found.items()}
        if self.keeps:
            self._fixed[number] = found
        return found

    def vector(self, number: int, following: int | None = None) -> Tensor:
        """The parameters of source `number`, aligned: (P,) on the network's device, valid until the call after next.

        `following` is the source that the next call will ask for; it is made ready in the meantime.
        """
        return self._vectors.vector(number, following)

    def put_between_(
        self, star: Tensor, fixed: Mapping[str, Tensor], number: int, t: float, following: int | None
    ) -> None:
        """Put (1 - t) star + t source into the network, its vectors of spectral norms nearly.

        star: a vector (P,). fixed: what of it is `fixed_in_training`. following: as of `vector`.
        """
        torch.lerp(star, self.vector(number, following), t, out=self.flat.parameters)
        if fixed:
            point = self.flat.buffers
            for name, other in self.fixed(number, fixed).items():
                own = fixed[name]
                # what is equal stays: infinite entries of a mask would become NaN
                point[name].copy_(torch.where(own == other, own, torch.lerp(own, other.to(own.dtype), t)))
        approach_spectral_norms_(self.flat.normalised_weights)

    def close(self) -> None:
        """End what runs in the background."""
        self._vectors.close()

    def _compose(self, number: int, tensors: Mapping[str, Tensor], out: Tensor) -> Tensor:
        """Write the aligned parameters of a source into `out` (P,), on the device of its `tensors`."""
        symmetry = self.symmetries[number]
        if symmetry is None:
            return self.flat.flatten(tensors, out)
        if (alone := _by_tensor(symmetry)) is None:
            return self.flat.flatten(symmetry.apply(self._open(number)), out)  # on the CPU
        with torch.no_grad():
            for name, view in self.flat.views(out).items():
                alone.apply_(name, tensors[name], view)
        return out
