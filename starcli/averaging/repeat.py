"""One repeat of an average: how averages of the first 2, 3, ... members that it drew score."""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from starcli.averaging.members import Draw, Members
from starcli.evaluation.paired_bootstrap import COMPARED, RESAMPLES, less
from starcli.evaluation.scoring import Resampled, Scored, Scoring
from starcli.runtime.rehearsal import few_if_rehearsed


class Repeat:
    """Averages of the first 2, 3, ... members that were drawn; each member is computed when it is needed, and once."""

    def __init__(self, members: Members, draw: Draw, samples: int, scoring: Scoring) -> None:
        self._scoring, self._ensemble_size = scoring, len(draw.order)
        star = scoring.task.means(members.between(position, t) for position, t in draw.points)
        ensemble = scoring.task.means(members.source(position) for position in draw.order)
        self._star = enumerate(few_if_rehearsed(star, samples), start=1)  # a rehearsal draws few points
        self._ensemble = enumerate(few_if_rehearsed(ensemble, self._ensemble_size), start=1)
        self._ensembles: dict[int, Resampled] = {}

    def scored(self, counts: range) -> dict[str, Any]:
        """Metrics at these numbers of models, each after those of the call before, and their differences, for JSON.

        `star` and `ensemble` have (count, metrics), `star_less_ensemble` (count, packed differences in resamples of the
        examples): from the ensemble of as many, or of all.
        """
        ensemble = []
        # the largest ensemble is what all larger numbers of the star domain are compared with
        for count, found, resampled in self._from(self._ensemble, min(counts.start, self._ensemble_size), counts[-1]):
            self._ensembles[count] = resampled
            if count in counts:
                ensemble.append((count, asdict(found)))
        star, differences = [], []
        for count, found, resampled in self._from(self._star, counts.start, counts[-1]):
            star.append((count, asdict(found)))
            others = self._ensembles.get(min(count, self._ensemble_size), [])
            # a temperature may have been found for one alone
            both = [less(a, b) for a, b in zip(resampled, others, strict=False)]
            if both:
                differences.append((count, _packed(torch.stack(both))))
        return {"star": star, "ensemble": ensemble, "star_less_ensemble": differences}

    def _from(
        self, averages: Iterator[tuple[int, Tensor]], first: int, last: int
    ) -> Iterator[tuple[int, Scored, Resampled]]:
        """Scores and metrics in resamples of the averages of `first` to `last` members, as far as they are there."""
        for count, average in averages:
            if count >= first:
                found = self._scoring.score(average)
                yield count, found, self._scoring.resampled(average, found.temperature)
            if count >= last:
                return


def _packed(differences: Tensor) -> str:
    """Differences, float64, as text of less than half the length of their digits."""
    return b64encode(differences.numpy().astype("<f8").tobytes()).decode()


def _unpacked(text: str) -> Tensor:
    """Inverse of `_packed` for (kinds, metrics, resamples): as predictions are, and at their temperatures."""
    values = np.frombuffer(b64decode(text), "<f8")
    return torch.from_numpy(values.astype(np.float64)).view(-1, len(COMPARED), RESAMPLES)


def add_differences_(sums: dict[int, Tensor], found: Iterable[tuple[int, str]]) -> None:
    """Add differences of a repeat, as of `Repeat.scored`, to `sums`, by number of models; of kinds those of both."""
    for count, text in found:
        values = _unpacked(text)
        if count in sums:
            kinds = min(len(values), len(sums[count]))
            values = sums[count][:kinds] + values[:kinds]
        sums[count] = values
