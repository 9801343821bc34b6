"""Interface of an alignment method: how one model, or many, are matched to a reference."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.element import Element
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.symmetries import Symmetry, units_of

if TYPE_CHECKING:
    import torch

    from starcli.alignment.learned.relaxation import Relaxation


@dataclass(frozen=True)
class Match:
    """Permutation or element of the whole symmetry group that was found, and how."""

    permutation: Permutation
    """Of units: of an element its own."""
    objective: float
    """Inner product over learnable parameters under the permutation, in float64; of an element between normal forms."""
    sweeps: int
    """Number of sweeps, of all rounds together."""
    restarts: int
    moved: int
    """Number of units that are not where the start had them."""
    midpoint_loss: float | None = None
    """Loss half way to the reference, in nats, on the training examples that it was judged on; None: it was not."""
    element: Element | None = None
    """The whole of what was found, where it is more than a permutation."""
    difference: float | None = None
    """Largest change of an output, in units of its spread, where more than a permutation acts: seen on the model."""

    @classmethod
    def of(cls, symmetry: Symmetry, **figures: Any) -> "Match":
        """The match that found `symmetry`; `figures` are the other fields."""
        return cls(units_of(symmetry), element=symmetry if isinstance(symmetry, Element) else None, **figures)

    def figures(self) -> dict[str, Any]:
        """All besides what is applied, as `of` takes it."""
        names = ("objective", "sweeps", "restarts", "moved", "midpoint_loss", "difference")
        return {name: getattr(self, name) for name in names}

    @property
    def symmetry(self) -> Symmetry:
        """The symmetry that is applied to the model: the element, or else the permutation."""
        return self.permutation if self.element is None else self.element


@dataclass(frozen=True)
class MatchMethod:
    """Alignment method, as `starcli.registry.alignment_methods` names it.

    one: `one(reference, model, spec, seed=, restarts=, start=, device=, progress=)`, the `Match` of one model; both are
        state dicts, `start` is the permutation to begin from (None: a cold search), `device` where costs are computed.
    settings: names of `starcli.alignment.method_settings.SETTINGS` that it has; with `examples`, the state dicts that
        it is given have activations beside the weights.
    many: `many(reference, models, spec, seeds=, restarts=, starts=, device=)`, several models against one reference,
        where that is faster than one after the other; None: one after the other.
    elements: `elements(reference, model, kinds, seed=, restarts=, start=, progress=)`, the `Match` of one model over
        all `kinds` of symmetry (`Kinds`), `start` an `Element`; None: the method knows permutations alone.
    kinds: what it is of where nothing says so, "permutation" or "all".
    realign: name of the method by which the sources of a star are aligned anew, unless told; None: by the same. With
        such a method the first alignment of a star is to its first source.
    defaults: values of settings where it has others than `SETTINGS`.
    relax: class of a `Relaxation`, where the method goes on from the permutation that was found and learns on the loss
        half way between the models (`starcli.alignment.learned.learner`); None: it does not.
    """

    one: Callable[..., Match]
    many: Callable[..., list[Match]] | None = None
    settings: tuple[str, ...] = ()
    elements: Callable[..., Match] | None = None
    kinds: str = "permutation"
    realign: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    relax: "type[Relaxation] | None" = None

    def match_all(
        self,
        reference: Mapping[str, Tensor],
        models: Sequence[Mapping[str, Tensor]],
        spec: Resolved,
        *,
        seeds: Sequence[int],
        restarts: int,
        starts: Sequence[Symmetry | None],
        device: "torch.device | str" = "cpu",
    ) -> list[Match]:
        """Match each of `models` to `reference` by permutations, each with its seed and from its start."""
        how: dict[str, Any] = {"restarts": restarts, "device": device}
        if self.many is not None:
            return self.many(reference, models, spec, seeds=seeds, starts=starts, **how)
        each = zip(models, seeds, starts, strict=True)
        return [self.one(reference, m, spec, seed=seed, start=start, **how) for m, seed, start in each]
