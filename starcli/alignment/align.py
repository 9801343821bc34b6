"""Alignment: a model brought nearest to a reference by renaming its units, which changes no function."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import AlignedTo
from starcli.errors import StarcliError
from starcli.registry.alignment_methods import GAINS, METHODS
from starcli.registry.entry import lookup, resolve

OF_EVERY_METHOD = ("method", "restarts", "seed")
"""Settings that every method has."""

EXAMPLES, ACTIVATION_SHARE = 256, 0.75
"""Defaults of what alignment by activations has besides."""


@dataclass(frozen=True)
class Alignment:
    """How models are aligned: by which method, in how many restarts, from which seed.

    method: a name of `starcli.registry.alignment_methods`; None or "none" takes models as they are.
    restarts: rounds of the search, 0 for one plain descent.
    seed: of everything that the search draws.
    examples: number of training examples on which activations are compared (default 256), or "noise" for as many
        standard normal inputs, where there are no data.
    share: of activations in the objective, above 0 (default 0.75); 1 is activations alone.
    gains: "least-squares" (the default), or "correlation", in which all units count alike.

    StarcliError for an unknown method, values out of range, and where the last three go with a method that has no use
    for them.

    >>> Alignment("weight", restarts=10).title
    'weight, 10 restarts'
    >>> Alignment("activation").settings()
    {'method': 'activation', 'restarts': 1, 'seed': 0, 'examples': 256, 'share': 0.75, 'gains': 'least-squares'}
    >>> Alignment("none").active
    False
    """

    method: str | None = "weight"
    restarts: int = 1
    seed: int = 0
    examples: int | str | None = None
    share: float | None = None
    gains: str | None = None

    def __post_init__(self) -> None:
        if self.method == "none":
            object.__setattr__(self, "method", None)
        if self.method is not None:
            lookup(METHODS, "method", self.method)
        if self.restarts < 0:
            raise StarcliError(f"restarts is at least 0, found {self.restarts}")
        usual = {"examples": EXAMPLES, "share": ACTIVATION_SHARE, "gains": GAINS[0]}
        given = [name for name in usual if getattr(self, name) is not None]
        if not self.reads_activations:
            if given:
                raise StarcliError(
                    f"{' and '.join(given)}: for alignment by activation, not by {self.method or 'none'}"
                )
            return
        for name in usual.keys() - given:
            object.__setattr__(self, name, usual[name])
        problems = []
        if self.examples != "noise" and not (isinstance(self.examples, int) and self.examples >= 2):
            problems.append(f"examples: at least 2, or noise, found {self.examples}")
        if not 0 < float(self.share or 0) <= 1:
            problems.append(f"share: above 0, at most 1, found {self.share}")
        if self.gains not in GAINS:
            problems.append(f"gains: {' or '.join(GAINS)}, found {self.gains}")
        if problems:
            raise StarcliError("alignment by activation cannot be done so", problems)

    @property
    def active(self) -> bool:
        """Whether models are aligned at all."""
        return self.method is not None

    @property
    def reads_activations(self) -> bool:
        """Whether units are compared by what they compute, too."""
        return self.method is not None and bool(resolve(METHODS, "method", self.method).reads_activations)

    @property
    def reads_examples(self) -> bool:
        """Whether training examples are needed."""
        return self.reads_activations and self.examples != "noise"

    @property
    def title(self) -> str:
        """Method and restarts as people read them, `weight, 10 restarts` or `none`, and what is not the default."""
        if not self.active:
            return "none"
        words = [str(self.method), f"{self.restarts} restart{'s' if self.restarts != 1 else ''}"]
        if self.reads_activations:
            words += [f"{self.examples} examples"] if self.reads_examples else ["noise"]
            words += [f"share {self.share:g}"] if self.share != ACTIVATION_SHARE else []
            words += [str(self.gains)] if self.gains != GAINS[0] else []
        return ", ".join(words)

    def label(self, reference: Checkpoint, model: Checkpoint) -> str:
        """What a result of these two rests on: the title, or what the files record (`recorded`), or `none`."""
        if self.active:
            return self.title
        recorded = model.metadata.aligned_to, reference.metadata.aligned_to
        for mine, other in zip(recorded, (reference, model), strict=True):
            if mine is not None and mine.reference == other.sha256:
                return "recorded"
        if recorded[0] is not None and recorded[1] is not None and recorded[0].reference == recorded[1].reference:
            return "recorded (both to a third model)"
        return "none"

    def labels(self, pairs: Iterable[tuple[Checkpoint, Checkpoint]]) -> str:
        """All labels that occur among `pairs` of reference and model, sorted."""
        return ", ".join(sorted({self.label(reference, model) for reference, model in pairs}))

    def settings(self) -> dict[str, Any]:
        """`method`, `restarts` and `seed`, as a file's recipe and the cache keep them, and of activations the rest."""
        return {name: value for name, value in asdict(self).items() if name in OF_EVERY_METHOD or value is not None}

    def record(self, reference_sha256: str, objective: float) -> AlignedTo:
        """What the checkpoint of an aligned model keeps: the reference, how it was aligned, the objective reached."""
        assert self.method is not None
        return AlignedTo(reference=reference_sha256, objective=objective, **self.settings())


AS_GIVEN = Alignment(method=None)
"""Models are taken as they are."""


def is_left_by(star: Checkpoint, source: Checkpoint) -> bool:
    """Whether a source says that it was aligned to `star`, or kept by its search where that aligned nothing."""
    if source.metadata.aligned_to is not None:
        return source.metadata.aligned_to.reference == star.sha256
    search = (source.metadata.recipe or {}).get("aligned_by")
    return isinstance(search, Mapping) and search.get("run") == star.metadata.run_id
