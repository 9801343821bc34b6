"""How good a network is: losses, accuracies and predictions over a split, with BatchNorm statistics treated alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from starcli.errors import few
from starcli.evaluation.batches import Batches, outputs_per_example, scoring_batch_size
from starcli.evaluation.batchnorm_statistics import has_batch_statistics, recalibrate_from_, statistics_batch_size
from starcli.evaluation.mixed_buffers import admit_buffers, recomputed_buffers
from starcli.evaluation.renormalise import RECALIBRATE, Renormalise
from starcli.evaluation.repair import Corrections, NetworkMoments, Repair, moments_between
from starcli.evaluation.repairable_layers import layers_to_repair
from starcli.evaluation.scores import folding_of, predictions_of
from starcli.evaluation.tasks.task import Scores, task_named
from starcli.models.flat_network import FlatNetwork, weighted_sum_
from starcli.models.modes import autocast
from starcli.models.spectral_norm import solve_spectral_norms_
from starcli.runtime import distributed
from starcli.runtime.progress import SILENT, Progress
from starcli.runtime.rehearsal import few_if_rehearsed

if TYPE_CHECKING:
    from starcli.data.splits import Split
    from starcli.workspace.workspace import Workspace

Statistics = Literal["recalibrate", "own-ends"]

Model = Mapping[str, Tensor]
"""A state dict: the tensors of a network by name."""


def recalibrate_(
    network: nn.Module,
    split: "Split",
    *,
    batch_size: int,
    device: torch.device,
    precision: str = "fp32",
    progress: Progress = SILENT,
) -> None:
    """Set what weights and data decide: vectors of spectral norms, and the running statistics of every BatchNorm layer.

    The vectors are the converged ones (see `solve_spectral_norms_`), the statistics the exact ones over `split`: reset,
    then one pass over the un-augmented split in file order, BatchNorm in train mode and all else (dropout) in eval
    mode; the batches' means and unbiased variances are pooled in float64 by their sizes. Afterwards running_mean = mean
    and running_var = M2 / (count - 1); momenta, modes and `num_batches_tracked` are as before.
    Raises StarcliError for a batch of a single example, `Interrupted` when asked to stop (statistics are then partial).
    Ainsworth et al. 2022 and Jordan et al. 2022 (REPAIR) say why. The ranks share the batches.
    """
    if distributed.size() > 1:
        count, rank, size = -(-len(split) // batch_size), distributed.rank(), distributed.size()
        first, last = (min(number * count // size * batch_size, len(split)) for number in (rank, rank + 1))
        split = split.subset(torch.arange(first, last))
    solve_spectral_norms_(network)
    batches = few_if_rehearsed(Batches(split, batch_size, device), -(-len(split) // batch_size))
    recalibrate_from_(network, batches, autocast=autocast(device, precision), progress=progress, shared=True)


@dataclass
class PathEnd:
    """A model (memory-mapped tensors will do) as the end of several paths, and what is known of it once it is measured.

    scores: by split. moments: those of its units, for points between it and others.
    """

    model: Mapping[str, Tensor]
    scores: Mapping[str, Scores] | None = None
    moments: NetworkMoments | None = None


class Evaluator:
    """One network, into which any number of models are loaded one after the other to be measured.

    `statistics` says what the ends of a path are measured with: statistics re-estimated like everything between them
    ("recalibrate"), or their stored ones ("own-ends", the paper's way, which raises the line between the ends).
    `renormalise` says what is done to the activations at points between. `splits` are those that `scores` covers.
    """

    def __init__(
        self,
        workspace: "Workspace",
        *,
        statistics: Statistics = "recalibrate",
        renormalise: Renormalise = RECALIBRATE,
        splits: tuple[str, ...] = ("train", "test"),
        progress: Progress = SILENT,
    ) -> None:
        self.workspace = workspace
        self.statistics = statistics
        self.splits = splits
        self.progress = progress
        self.network: FlatNetwork = workspace.network()
        self.has_statistics = has_batch_statistics(self.network.network)
        self._autocast = autocast(workspace.device, workspace.precision)
        self._recomputed = recomputed_buffers(self.network.network)
        self._noted = False
        self.task = task_named(workspace.task_name)
        self._batches: dict[tuple[str | Split, int], Batches] = {}
        self._vectors: dict[int, tuple[Mapping[str, Tensor], Tensor]] = {}
        self._folding = folding_of(self.network.network, workspace.precision)
        self._repair: Repair | None = None
        if layers := layers_to_repair(workspace, renormalise, progress):
            how = (self.batches("train"), self.recalibrate, self._autocast, progress)
            self._repair = Repair(self.network.network, layers, *how)

    def batches(self, which: "str | Split", *, scored: bool = False) -> Batches:
        """Batches of a split, by name or its own: of the size that statistics need, or that suits the device."""
        if isinstance(which, str):
            dataset = self.workspace.dataset
            split, shape, classes = dataset.split(which), dataset.extent, dataset.num_classes
        else:
            split, shape, data = which, self.workspace.architecture.extent, self.workspace.data
            classes = 1 if data is None else data.num_classes
        size = statistics_batch_size(shape, len(split))
        if scored:
            size = scoring_batch_size(shape, len(split), self.workspace.device, outputs_per_example(split, classes))
        if (which, size) not in self._batches:
            self._batches[which, size] = Batches(split, size, self.workspace.device)
        return self._batches[which, size]

    @property
    def keeps_models(self) -> bool:
        """Whether the ends of paths are measured just as their files have them: nothing of them is computed anew."""
        return not self._recomputed or self.statistics == "own-ends"

    def load(self, model: Mapping[str, Tensor], *, own_statistics: bool = False) -> None:
        """Put a model into the network; its statistics are re-estimated unless it keeps its own.

        Raises StarcliError with every tensor that is missing or has another shape.
        """
        self.network.flatten(model, out=self.network.parameters)
        self.load_buffers([model], [1.0])
        if not own_statistics:
            self.recalibrate()

    def load_buffers(self, models: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> None:
        """Put the models' buffers, averaged, into the network (see `FlatNetwork.load_buffers`), and no parameters.

        What is computed anew is so afterwards; a note names other tensors in which the models differ. Errors as of
        `admit`.
        """
        several = sum(map(bool, weights)) > 1
        if several:
            self.admit([model for model, weight in zip(models, weights, strict=True) if weight])
        mixed = self.network.load_buffers(models, weights)
        others = [name for name in mixed if name not in self._recomputed] if several else []
        if others and not self._noted:
            self._noted = True
            self.progress.note(f"not learned, and averaged like weights: {few(others, 3)}")

    def admit(self, models: Sequence[Mapping[str, Tensor]]) -> None:
        """Check that points between `models` have buffers (see `admit_buffers`), before any work."""
        admit_buffers(self.network, models, average=self.workspace.average_buffers)

    def _vector(self, model: Mapping[str, Tensor], slot: int) -> Tensor:
        """A model's learnable parameters (P,) in a reused buffer, a slot for each node of a path; kept if there."""
        found = self._vectors.get(slot)
        if found is None or found[0] is not model:
            vector = self.network.flatten(model, out=None if found is None else found[1])
            self._vectors[slot] = (model, vector)
        return self._vectors[slot][1]

    def load_between(self, a: PathEnd, b: PathEnd, t: float) -> None:
        """Put (1 - t) a + t b into the network, and all that follows from weights and data: see `renormalise_`.

        Exactly a at t = 0, b at t = 1, and a at every t where a = b.
        """
        self.load_mean([a, b], [1 - t, t])

    def load_mean(self, nodes: Sequence[PathEnd], weights: Sequence[float]) -> None:
        """Put sum_i weights[i] nodes[i] into the network, of weights that sum to 1, and all that follows."""
        targets = self.moments_between(nodes, weights)
        self.load_buffers([node.model for node in nodes], weights)
        vectors = [self._vector(node.model, slot) for slot, node in enumerate(nodes)]
        weighted_sum_(self.network.parameters, vectors, weights)
        self.renormalise_(targets)

    def moments_between(self, ends: Sequence[PathEnd], weights: Sequence[float]) -> NetworkMoments | None:
        """Moments to which units of a point between `ends` are restored; None where nothing is, as at an end itself.

        Ends whose moments are not known are loaded and measured.
        """
        if self._repair is None or sum(map(bool, weights)) == 1:
            return None
        for end in ends:
            if end.moments is None:
                self.load(end.model, own_statistics=self.statistics == "own-ends")
                end.moments = self._repair.measure()
        return moments_between([end.moments for end in ends if end.moments is not None], weights)

    def renormalise_(self, targets: NetworkMoments | None) -> Corrections:
        """`recalibrate`, and restore the moments of units to `targets`; return the corrections that do it."""
        self.recalibrate()
        return {} if self._repair is None or targets is None else self._repair.restore_(targets)

    def recalibrate(self) -> None:
        """Compute anew what weights and data decide: spectral norms' vectors, statistics over the training split."""
        solve_spectral_norms_(self.network.network)
        if self.has_statistics:
            batches = self.batches("train")
            recalibrate_from_(self.network.network, batches, autocast=self._autocast, progress=self.progress)

    def scores(self) -> dict[str, Scores]:
        """Loss and metrics of what is loaded on each of `splits`."""
        return {name: self.task.score(self.predictions(name)) for name in self.splits}

    def predictions(self, split: "str | Split") -> Iterator[tuple[Tensor, Tensor]]:
        """Predictions (n, ...) of what is loaded over a split, as of its task, piece by piece, and their targets."""
        batches = self.batches(split, scored=True)
        return predictions_of(self.network.network, self.task, batches, self._autocast, self._folding, self.progress)

    def end_scores(self, end: PathEnd) -> Mapping[str, Scores]:
        """The scores of an end, measured once and then remembered in it."""
        if end.scores is None:
            self.load(end.model, own_statistics=self.statistics == "own-ends")
            end.scores = self.scores()
            self.progress.step()
        return end.scores

    def all_predictions(self, split: "str | Split" = "test") -> Tensor:
        """Predictions of what is loaded over a split, by name or its own: (N, ...), float64, on the CPU.

        Of classes log-probabilities (N, classes), of others see their `Task.predictions`. N is the number of
        predictions, those of `Split.targets`.
        """
        return torch.cat([found.cpu() for found, _ in self.predictions(split)])
