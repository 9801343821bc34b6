"""How models are aligned, which changes no function: a method and its settings, as one value."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from starcli.alignment.method_settings import SETTING_TYPES, SETTINGS, setting_words
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import AlignedTo
from starcli.errors import StarcliError, unknown
from starcli.registry.alignment_methods import METHODS, SELECTIONS
from starcli.registry.entry import lookup, resolve

if TYPE_CHECKING:
    from starcli.alignment.matching.method import MatchMethod
    from starcli.workspace.workspace import Workspace

OF_EVERY_METHOD = ("method", "restarts", "seed")
"""Settings that every method has."""


AGAIN = 10
"""What was learned before is learned on in one part in `AGAIN` of the steps: the reference has moved a little."""

ENDS = 10
"""Usual number of ends of which one is chosen by midpoint loss."""


@dataclass(frozen=True)
class Alignment:
    """How models are aligned: by which method, in how many restarts, from which seed.

    method: a name of `starcli.registry.alignment_methods`; None or "none" takes models as they are.
    restarts: rounds of the search, 0 for one plain descent.
    seed: of everything that the search draws.
    examples: number of training examples on which activations are compared (default 256), or "noise" for as many
        standard normal inputs, where there are no data.
    share: of activations in the objective, above 0 (default 0.5); 1 is activations alone.
    gains: "least-squares" (the default), or "correlation", in which all units count alike.
    steps: of learning, each on a batch of 256 labelled training examples (default 200; of learn 1000).
    lr: of learn: how far a step turns or scales what is continuous, at first (default 0.02); it falls as a cosine.
    kinds: "permutation", or "all", every symmetry of the network that is proved: signs, scales, rotations, invertible
        matrices. None is what the method is of (weight: permutations), and a choice of that becomes None.
    select: "objective" (or None: one search, the end of highest objective), or "midpoint": of several ends, the one of
        lowest loss half way between the two models, see `starcli.alignment.midpoint`. Labels of training examples are
        used.
    ends: number of these ends (default 10): searches from the seeds `seed`, `seed + 1` and so on, and of methods with
        examples each on other ones. The model as it is counts as one more, so that no choice is worse than none.

    StarcliError for an unknown method, values out of range, and settings that the method does not have.

    >>> Alignment("weight", restarts=10).title
    'weight, 10 restarts'
    >>> Alignment("activation").settings()
    {'method': 'activation', 'restarts': 1, 'seed': 0, 'examples': 256, 'share': 0.5, 'gains': 'least-squares'}
    >>> Alignment("weight", restarts=10, select="midpoint").title
    'weight, 10 restarts, best of 10 by midpoint'
    >>> Alignment("weight", kinds="all").title, Alignment("weight", kinds="permutation") == Alignment("weight")
    ('weight, 1 restart, all kinds', True)
    >>> Alignment("none").active
    False
    """

    method: str | None = "weight"
    restarts: int = 1
    seed: int = 0
    examples: int | str | None = None
    share: float | None = None
    gains: str | None = None
    steps: int | None = None
    lr: float | None = None
    kinds: str | None = None
    select: str | None = None
    ends: int | None = None

    def __post_init__(self) -> None:
        if self.method == "none":
            object.__setattr__(self, "method", None)
        self._check_types()
        if self.method is not None:
            lookup(METHODS, "method", self.method)
        for name in ("restarts", "seed"):
            if getattr(self, name) < 0:
                raise StarcliError(f"{name} is at least 0, found {getattr(self, name)}")
        own = self._own_settings() if self.active else ()
        given = [name for name in SETTINGS if getattr(self, name) is not None]
        given += ["restarts"] if not self.active and self.restarts != Alignment.restarts else []
        if strange := [name for name in given if name not in own]:
            raise self._unused(strange)
        for name in own:
            if name not in given:
                object.__setattr__(self, name, self.match_method.defaults.get(name, SETTINGS[name].default))
        values = {name: getattr(self, name) for name in own}
        problems = [
            f"{setting_words(name)}: {SETTINGS[name].range}, found {value}"
            for name, value in values.items()
            if not SETTINGS[name].allows(value)
        ]
        if problems:
            raise StarcliError(f"alignment by {self.method} cannot be done so", problems)
        if self.active and self.kinds == self.match_method.kinds:
            object.__setattr__(self, "kinds", None)
        self._settle_ends()

    def _own_settings(self) -> tuple[str, ...]:
        """Settings of the method; a rate of learning is of what is continuous alone."""
        own = self.match_method.settings
        return tuple(name for name in own if name != "lr") if self.kinds == "permutation" else own

    def _unused(self, settings: Sequence[str]) -> StarcliError:
        """What says who has `settings`, for which this alignment has no use."""
        if not self.active:
            problems = [f"{setting_words(name)} needs a method: {self._takers(name)} (--align)" for name in settings]
            return StarcliError("no alignment is asked for, only how it would be done", problems)
        problems = [f"{setting_words(name)} is of {self._takers(name)}" for name in settings]
        return StarcliError(f"alignment by {self.method} has no use for some settings", problems)

    def _takers(self, setting: str) -> str:
        """What has a setting that this alignment has not."""
        if setting == "restarts":
            return "any"
        if self.active and setting in self.match_method.settings:
            return "rotations, matrices and scales, and kinds (--align-kinds) are permutation"
        return ", ".join(name for name in METHODS if setting in resolve(METHODS, "method", name).settings)

    def _check_types(self) -> None:
        """StarcliError for what is no word, no whole number or no number, where one is expected."""
        for name, (kind, words) in SETTING_TYPES.items():
            value = getattr(self, name)
            needed = name in ("restarts", "seed")
            if isinstance(value, bool) or not isinstance(value, kind if needed else kind | None):
                raise StarcliError(f"{name}: expected {words}, found {value!r:.80}")

    def _settle_ends(self) -> None:
        """Fill in the number of ends, refuse what makes no sense, and forget a choice that is the default."""
        if self.select not in (None, *SELECTIONS):
            raise unknown("selection", str(self.select), SELECTIONS)
        if self.select != "midpoint" and self.ends is not None:
            raise StarcliError("ends (--ends) goes with select (--select) midpoint: of so many searches one is taken")
        if self.select == "midpoint" and not self.active:
            raise StarcliError("select (--select) midpoint chooses among alignments: it needs a method, found none")
        if self.ends is not None and self.ends < 1:
            raise StarcliError(f"ends (--ends): at least 1, found {self.ends}")
        chosen = self.select == "midpoint"
        object.__setattr__(self, "select", "midpoint" if chosen else None)
        object.__setattr__(self, "ends", (self.ends or ENDS) if chosen else None)

    @property
    def match_method(self) -> "MatchMethod":
        """The method itself; StarcliError where there is none."""
        method: MatchMethod = resolve(METHODS, "method", self.method or "none")
        return method

    @property
    def active(self) -> bool:
        """Whether models are aligned at all."""
        return self.method is not None

    @property
    def reads_activations(self) -> bool:
        """Whether units are compared by what they compute, too."""
        return "examples" in self.match_method.settings if self.active else False

    @property
    def reads_data(self) -> bool:
        """Whether training examples are needed."""
        return self.learns or self.select == "midpoint" or (self.reads_activations and self.examples != "noise")

    @property
    def uses_kinds(self) -> bool:
        """Whether models are aligned by all proved kinds of symmetries, not by permutations alone."""
        return self.active and (self.kinds or self.match_method.kinds) == "all"

    @property
    def learns(self) -> bool:
        """Whether a permutation learns on the loss half way, from labelled training examples."""
        return self.active and self.match_method.relax is not None

    @property
    def later_steps(self) -> int:
        """Steps in which what was learned before is learned on."""
        return -(-int(self.steps or 0) // AGAIN)

    @property
    def title(self) -> str:
        """Method and restarts as people read them, `weight, 10 restarts` or `none`, and what is not the default."""
        if not self.active:
            return "none"
        words = [str(self.method), f"{self.restarts} restart{'s' if self.restarts != 1 else ''}"]
        for name in self._own_settings():
            value, setting = getattr(self, name), SETTINGS[name]
            if setting.usual or value != setting.default:
                words.append(setting.words(value))
        if self.select == "midpoint":
            words.append(f"best of {self.ends} by midpoint")
        return ", ".join(words)

    def label(self, reference: Checkpoint, model: Checkpoint) -> str:
        """How these two are aligned, in words: the title, `recorded` where their files say it, or `none`."""
        if self.active:
            return self.title
        own, its = model.metadata.aligned_to, reference.metadata.aligned_to
        for record, other in ((own, reference), (its, model)):
            if record is not None and record.reference == other.sha256:
                return "recorded (jointly)" if record.joint else "recorded"
        if own is None or its is None or own.reference != its.reference:
            return "none"
        same = own.model_copy(update={"objective": its.objective}) == its
        together = own.joint and same and set(model.metadata.parents) == set(reference.metadata.parents)
        return "recorded (jointly)" if together else "recorded (both to a third model)"

    def labels(self, pairs: Iterable[tuple[Checkpoint, Checkpoint]]) -> str:
        """All labels that occur among `pairs` of reference and model, sorted; `none` where there is no pair."""
        return ", ".join(sorted({self.label(reference, model) for reference, model in pairs})) or "none"

    def facts(self, pairs: Iterable[tuple[Checkpoint, Checkpoint]]) -> dict[str, Any]:
        """Keys of a result on how pairs of reference and model are aligned: labels and, if that is done, the seed."""
        label = self.labels(pairs)
        return {"alignment": label, **({"seed": self.seed} if label == self.title and self.active else {})}

    def settings(self) -> dict[str, Any]:
        """`method`, `restarts`, `seed` and what else is set, as a file's recipe and the cache keep them."""
        return {name: value for name, value in asdict(self).items() if name in OF_EVERY_METHOD or value is not None}

    def kinds_in(self, workspace: "Workspace") -> dict[str, str]:
        """`kinds_sha256`, the hash of what acts in a workspace's network; empty where units only permute."""
        return {"kinds_sha256": workspace.kinds.sha256} if self.uses_kinds else {}

    def notes_in(self, workspace: "Workspace") -> list[str]:
        """Notes on this alignment in a workspace: which symmetries its network has, which setting has no effect."""
        if not self.uses_kinds:
            return []
        notes = list(workspace.kinds.notes)
        if workspace.kinds.only_permutations and self.lr not in (None, SETTINGS["lr"].default):
            notes.append(f"{setting_words('lr')} has no effect: the units of this network only permute")
        return notes

    def record(self, reference_sha256: str, objective: float) -> AlignedTo:
        """The record of an aligned model's checkpoint: the reference, how it was aligned, the objective reached."""
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
