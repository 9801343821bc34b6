"""The merge of several state dicts, made tensor by tensor when a tensor is asked for."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from starcli.errors import StarcliError, first_of
from starcli.files.lazy_tensors import LazyTensors, TensorForm
from starcli.files.slices import HeldTensor, Slices, torch_dtype
from starcli.files.tensor_layout import DTYPES
from starcli.fusion.trimming import with_least
from starcli.merging.merge import Merge
from starcli.merging.method import TensorSettings
from starcli.merging.stack import CHUNK_NUMBERS, Stack, computing_type
from starcli.models.dtypes import holding_type
from starcli.runtime.progress import SILENT, Progress
from starcli.training.seeds import substream

STATISTICS = (".running_mean", ".running_var")
"""Ends of names of BatchNorm's statistics, which are averaged, whatever the method: a variance is not negative."""

_HEAD = 256
"""Numbers at the beginning of a tensor that are compared before the rest is."""


@dataclass(frozen=True)
class SlicedModel:
    """A model whose tensors are read in slices, and its name for people."""

    name: str
    tensors: Mapping[str, Slices]

    @classmethod
    def of(cls, name: str, tensors: Mapping[str, Tensor]) -> "SlicedModel":
        """A model of tensors in memory."""
        return cls(name, {key: HeldTensor(tensor) for key, tensor in tensors.items()})


def merged_tensors(
    merge: Merge,
    sources: Sequence[SlicedModel],
    base: SlicedModel | None = None,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> LazyTensors:
    """The state dict that `merge` makes of `sources`, in the types of theirs, each tensor made when it is asked for.

    Floats are merged in float32, or float64, and rounded once; a type holds those of all models. Other tensors are the
    base's, or the first source's: counts may differ; where several numbers do, as quantised weights, or complex ones,
    StarcliError.
    A tensor that some models lack is left out where the others have it as a copy of another one, as tied weights are:
    what is merged then is that one. Methods that trim read all tensors twice before the first one is made.
    StarcliError for tensors that some model lacks otherwise, or has in another shape, and as of `Merge.check`.
    """
    merge.check(len(sources), base=base is not None)
    models = [*sources, *([base] if base is not None else [])]
    names = _common_names(models)
    forms = {name: _form([model.tensors[name].form for model in models]) for name in names}
    settings = merge.settings_for(names, len(sources))
    progress.start("merging", len(names))
    merging = _Merging(merge, models, len(sources), forms, settings, _first_names(models, forms), seed, progress)
    return LazyTensors(forms, merging.make, merging.prepare)


@dataclass(frozen=True)
class _Merging:
    """A merge of `models`, of which the first so many are the `sources`, a base behind them; `forms` are of results."""

    merge: Merge
    models: Sequence[SlicedModel]
    sources: int
    forms: Mapping[str, TensorForm]
    said: Mapping[str, TensorSettings]
    first_names: Mapping[str, str]
    seed: int
    progress: Progress

    def prepare(self) -> None:
        """Find what has to be known of all tensors before the first one is made."""
        _ = self.settings

    @cached_property
    def settings(self) -> Mapping[str, TensorSettings]:
        """The settings of each tensor: those that were `said`, and where the method trims from which change on."""
        if not self.merge.how.trims:
            return self.said
        floats = [name for name, form in self.forms.items() if form.is_float and not name.endswith(STATISTICS)]
        stacks = {name: self.stack(name) for name in floats if name not in self.first_names}
        found = {**self.said, **with_least({name: self.said[name] for name in stacks}, stacks, self.progress)}
        self.progress.start("merging", len(self.forms))
        return found

    def make(self, name: str) -> Tensor:
        """The merged tensor of this name."""
        self.progress.stop_if_asked()
        form, first = self.forms[name], self.first_names.get(name, name)
        if not form.is_float:
            own = self.models[-1 if self.merge.how.base else 0].tensors[name]
            found = own.read(0, form.numel).to(torch_dtype(form.dtype))
        else:
            found = self._merged(name, replace(self.settings[first], seed=substream(self.seed, "merge", first)))
        self.progress.step()
        return found.reshape(form.shape)

    def stack(self, name: str) -> Stack:
        """The tensor of this name of all models."""
        parts = [model.tensors[name] for model in self.models]
        reads = [part.read for part in parts]
        base = reads[self.sources] if self.merge.how.base else None
        types = computing_type([torch_dtype(part.form.dtype) for part in parts])
        return Stack(name, tuple(self.forms[name].shape), reads[: self.sources], base, types)

    def _merged(self, name: str, settings: TensorSettings) -> Tensor:
        """The merged numbers of a tensor, as one axis in its type."""
        form, stack = self.forms[name], self.stack(name)
        found, position = torch.empty(form.numel, dtype=torch_dtype(form.dtype)), 0
        if not form.numel:
            return found
        averaged = name.endswith(STATISTICS)
        chunks = (values.mean(0) for values in stack.chunks()) if averaged else self.merge.how.merge(stack, settings)
        for chunk in chunks:
            place = found[position : position + len(chunk)]
            place.copy_(chunk)
            if not bool(place.to(stack.dtype).isfinite().all()):  # floats of 8 bits lack it
                parts = [model.tensors[name] for model in self.models]
                return _not_finite(name, parts, form, bool(chunk.isfinite().all()))
            position += len(chunk)
        return found


def _not_finite(name: str, parts: Sequence[Slices], form: TensorForm, fits_not: bool) -> Tensor:
    """What all models have alike, such as a mask, where it is not finite; else StarcliError."""
    if fits_not:
        raise StarcliError(f"{name}: merged values are too large for {torch_dtype(form.dtype)}")
    if not _all_equal(parts):
        raise StarcliError(f"{name}: has values that are not finite, and not the same ones in all models")
    return parts[0].read(0, form.numel).to(torch_dtype(form.dtype))


def _common_names(models: Sequence[SlicedModel]) -> list[str]:
    """Names of the tensors that are merged, sorted; those of no model alone, but for copies of others."""
    all_names = sorted({name for model in models for name in model.tensors})
    common = [name for name in all_names if all(name in model.tensors for model in models)]
    problems = []
    for name in all_names:
        having = [model for model in models if name in model.tensors]
        if len(having) < len(models) and not all(_is_copy(name, model, common) for model in having):
            lacking = next(model for model in models if name not in model.tensors)
            problems.append(f"{name}: in {having[0].name}, not in {lacking.name}")
    for name in common:
        first = models[0].tensors[name].form
        other = next((model for model in models if model.tensors[name].form.shape != first.shape), None)
        if other is not None:
            theirs = other.tensors[name].form.shape
            problems.append(f"{name}: shape {theirs} in {other.name}, {first.shape} in {models[0].name}")
        kinds = {model.tensors[name].form.is_float for model in models}
        counts = first.dtype != "C64" and not len(first.shape)
        if len(kinds) > 1:
            problems.append(f"{name}: floats in some models alone, which are not merged")
        elif kinds == {False} and not counts and not _all_equal([model.tensors[name] for model in models]):
            what = "complex numbers" if first.dtype == "C64" else "integers"
            weights = "" if first.dtype == "C64" else ", as quantised weights are"
            problems.append(f"{name}: other {what} in each model{weights}, which are not merged")
    if problems or not common:
        hints = _prefixed(models) or _without_heads(all_names, problems)
        raise StarcliError("the models do not have the same tensors", first_of([*hints, *problems], 12))
    return common


def _without_heads(names: Sequence[str], problems: Sequence[str]) -> list[str]:
    """How to leave out one or two modules that differ as a whole, in shapes alone, as heads of different tasks do."""
    differing = {problem.partition(": shape ")[0] for problem in problems}
    modules = sorted({name.rpartition(".")[0] for name in differing})
    below = {name for name in names if any(name.startswith(f"{module}.") for module in modules)}
    if len(modules) > 2 or below != differing or len(below) == len(names):
        return []
    left_out = " ".join(f"'{module}.*'" for module in modules)
    return [f"to merge all but these: starcli convert MODEL --ignore {left_out} --plain, of each, leaves them out"]


def _prefixed(models: Sequence[SlicedModel]) -> list[str]:
    """A line for each model whose names would be those of another one without a prefix, such as `module.`.

    Both may have one; what lies outside it, such as the count of averaged weights, may be in one of the two. Weights
    outside one that all models have, such as an output layer that one of them ties to its embedding, differ themselves.
    """
    lines, below = [], [_names_below(model.tensors) for model in models]
    found, weights = set[str](), False
    for number, model in enumerate(models):
        count = len(model.tensors)
        others = [
            (names, len(models[at].tensors))
            for at in range(len(models))
            if at != number
            for names in below[at].values()
        ]
        known, whole = {names for names, _ in others}, {names for names, of in others if len(names) == of}
        shared = {
            start: len(names)
            for start, names in below[number].items()
            if names in (known if len(names) == count else whole)
        }
        prefix = max(shared, key=shared.__getitem__, default="")
        if prefix:
            outside = [name for name in model.tensors if not name.startswith(prefix)]
            weights |= any(model.tensors[name].form.is_float for name in outside)
            found.add(prefix)
            names = f"all names but {', '.join(first_of(outside, 3))}" if outside else "all names"
            line = f"starcli convert --key {prefix.removesuffix('.')} --plain"
            lines.append(f"{model.name}: {names} begin with {prefix}; {line} leaves it out")
    return [] if weights and len(found) == 1 and len(lines) == len(models) else lines


def _names_below(names: Iterable[str]) -> dict[str, frozenset[str]]:
    """For each prefix that ends with a dot, and for none, the rest of the names that begin with it."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in names:
        for end in re.finditer(r"^|\.", name):
            found[name[: end.end()]].add(name[end.end() :])
    return {prefix: frozenset(rests) for prefix, rests in found.items()}


def _is_copy(name: str, model: SlicedModel, common: Sequence[str]) -> bool:
    """Whether a tensor of a model is a copy of one that all models have."""
    own = model.tensors[name]
    return any(_equal(own, model.tensors[other]) for other in common)


def _equal(one: Slices, other: Slices) -> bool:
    """Whether two tensors have the same type, shape and bytes; they are read only as far as they are alike."""
    if one.form != other.form:
        return False
    places = [0, min(_HEAD, one.form.numel), *range(CHUNK_NUMBERS, one.form.numel, CHUNK_NUMBERS), one.form.numel]
    return all(_bytes(one, begin, end) == _bytes(other, begin, end) for begin, end in pairwise(places))


def _all_equal(parts: Sequence[Slices]) -> bool:
    return all(_equal(parts[0], part) for part in parts[1:])


def _bytes(part: Slices, begin: int, end: int) -> bytes:
    numbers = part.read(begin, end).resolve_conj().resolve_neg()  # of one in memory the conjugate may be a view
    return numbers.contiguous().view(torch.uint8).numpy().tobytes()


def _first_names(models: Sequence[SlicedModel], forms: Mapping[str, TensorForm]) -> dict[str, str]:
    """Of tied weights, stored under several names, the first name of each: settings and draws are by that.

    Matrices count as tied whose bytes are the same in every model.
    """
    groups: dict[tuple[TensorForm, bytes], list[str]] = {}
    for name, form in forms.items():
        if len(form.shape) > 1:
            head = b"".join(_bytes(model.tensors[name], 0, min(_HEAD, form.numel)) for model in models)
            groups.setdefault((form, head), []).append(name)
    return {
        name: first
        for first, *others in groups.values()
        for name in others
        if all(_equal(model.tensors[first], model.tensors[name]) for model in models)
    }


def _form(forms: Sequence[TensorForm]) -> TensorForm:
    """The form of a merged tensor: a type that holds those of all, of the first where it is no float."""
    if not all(form.is_float for form in forms):
        return forms[0]
    return TensorForm(DTYPES[str(holding_type([torch_dtype(form.dtype) for form in forms]))], forms[0].shape)
