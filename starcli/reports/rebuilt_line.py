"""The line that makes a file, rebuilt from what the file records of itself."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starcli.checkpoints.metadata import DataRecord, Metadata
from starcli.data.names import IMAGES_OF_ANY_SIZE, needs_path
from starcli.data.normalise_option import AS_THEY_ARE, IMAGENET_MEAN, IMAGENET_STD, same_statistics
from starcli.data.public_files import CIFAR
from starcli.data.text_options import OF_TEXTS
from starcli.errors import option_of
from starcli.models.from_data import SYNONYMS
from starcli.models.names import imports_code, is_huggingface
from starcli.recipes.recipe import Recipe
from starcli.registry.entry import unread
from starcli.registry.fusions import TRAINED_FUSIONS
from starcli.registry.optimizers import OPTIMIZERS
from starcli.registry.schedules import SCHEDULES
from starcli.registry.tasks import CLASSES

ALIGNMENT_OPTIONS = {
    "restarts": "--restarts", "examples": "--align-examples", "share": "--align-share", "gains": "--align-gains",
    "steps": "--align-steps", "lr": "--align-lr", "kinds": "--align-kinds", "select": "--select", "ends": "--ends",
}  # fmt: skip
"""Settings of an alignment, and their options."""

STAR_OPTIONS = (
    "sampling", "realign_every", "realign_restarts", "realign_method", "realign_drift", "realign_noise", "noise",
    "pull", "draws_per_step", "companions", "mu",
)  # fmt: skip
"""Settings of a search for a star whose options have their names."""

STANDARDISED = {"digits": (0.3054, 0.3759), "mnist": (0.1307, 0.3081), "fashion-mnist": (0.2860, 0.3530)}
"""Data sets by name that are standardised unless told otherwise, and their mean and deviation, to four digits."""

_BEGINNING = {"start_epoch", "reinit"}
"""What is recorded of the model that a network began at, besides the model itself."""

Words = Iterator[str]


def rebuilt_line(name: str, found: Metadata, *, seeds: Sequence[int] = ()) -> str | None:
    """The line whose run id is that of the file; None where the file does not record enough, or we do not know how.

    Where data lie at a path, which no file records, DATA stands in its place; inputs have their base names. `seeds`: of
    models that differ in nothing else, in order; `name` is then a template.
    """
    settings = found.recipe or {}
    added = [key for key, value in settings.items() if isinstance(value, Mapping)]
    makers = {
        (): _train,
        ("train",): _train,
        ("align",): _align,
        ("star",): _star,
        ("fused",): _fused,
        ("curve",): _curve,
        ("interpolate",): _interpolate,
        ("normal_form",): _normal_form,
    }
    maker = makers.get(tuple(added))
    if maker is None or found.run_id is None or found.kind in ("permutation", "element"):
        return None
    words = maker(name, found, settings)
    if words is None:
        return None
    place = words.index("-o")
    if maker is _train:
        words[place:place] = ["--seeds", _ranges(seeds)] if seeds else ["--seed", str(found.seed or 0)]
    else:
        words[place:place] = _named_again(found)
    return shlex.join(["starcli", *words])


def _ranges(seeds: Sequence[int]) -> str:
    """Seeds in order as `--seeds` takes them.

    >>> _ranges([0, 1, 2, 5])
    '0-2,5'
    """
    found: list[list[int]] = []
    for seed in seeds:
        if found and seed == found[-1][-1] + 1:
            found[-1].append(seed)
        else:
            found.append([seed])
    return ",".join(f"{some[0]}-{some[-1]}" if len(some) > 1 else str(some[0]) for some in found)


def _names(found: Metadata) -> list[str]:
    """Names of the files that it was made from."""
    names = {ancestor.sha256: ancestor.name for ancestor in found.ancestors}
    return [names.get(parent, parent[:12]) for parent in found.parents]


def _train(name: str, found: Metadata, settings: Mapping[str, Any]) -> list[str] | None:
    how = settings.get("train", {})
    if found.architecture is None or found.data is None or "epochs" not in settings or how.keys() - _BEGINNING:
        return None
    if found.parents:  # named or not, the data are the model's or new ones, whose outputs its network then has
        begun = ["--init", *_names(found), *_code(found), *(["--reinit", *how["reinit"]] if "reinit" in how else [])]
        begun += ["--start-epoch", str(how["start_epoch"])] if "start_epoch" in how else []
        begun += _new_head(found, how)
        return ["train", *begun, "--recipe", "default", *_data(found), *_recipe(settings), "-o", name]
    given = {key: value for key, value in found.architecture.arguments.items() if key not in SYNONYMS}
    arguments = [f"{key}={_value(value)}" for key, value in sorted(given.items())]
    network = ["--arch", found.architecture.name, *(["--arch-arg", *arguments] if arguments else [])]
    return ["train", *network, *_data(found), *_recipe(settings), "-o", name]


def _new_head(found: Metadata, how: Mapping[str, Any]) -> list[str]:
    """What has to be said where a model of `transformers` that predicted tokens may have become a classifier."""
    assert found.architecture is not None
    assert found.data is not None
    drawn = "reinit" in how and is_huggingface(found.architecture.name)
    return ["--task", CLASSES] if drawn and found.data.name in OF_TEXTS and found.data.task_name == CLASSES else []


def _data(found: Metadata) -> Words:
    assert found.data is not None
    yield from ("--data", "DATA" if needs_path(found.data.name) else found.data.name)
    if found.data.limit is not None:
        yield from ("--limit", str(found.data.limit))
    if found.data.val_fraction or found.data.split_seed:
        yield from ("--val-fraction", _value(found.data.val_fraction))
    if found.data.split_seed:
        yield from ("--split-seed", str(found.data.split_seed))

    yield from _reading(found.data)


def _reading(data: DataRecord) -> Words:
    """How data at a path are read, where others of their kind may be read otherwise."""
    if needs_path(data.name) and data.task_name != CLASSES:
        yield from ("--task", data.task_name)
    if data.vocab_size is not None:
        return
    if not _is_usual(data.name, data.mean, data.std):
        yield from ("--normalise", ":".join(",".join(map(_value, numbers)) for numbers in (data.mean, data.std)))
    if data.name in IMAGES_OF_ANY_SIZE:
        yield from ("--image-size", str(data.input_shape[-1]))


def _is_usual(name: str, mean: Sequence[float], std: Sequence[float]) -> bool:
    """Whether inputs of such data are normalised so where nothing is said. Three means of grey images never are."""
    if name in STANDARDISED:
        found = zip((*mean, *std), STANDARDISED[name], strict=False)
        return len(mean) == 1 and all(math.isclose(*each, abs_tol=1e-4) for each in found)
    if name in IMAGES_OF_ANY_SIZE or name in CIFAR:
        return same_statistics((mean, std), (IMAGENET_MEAN, IMAGENET_STD))
    return same_statistics((mean, std), AS_THEY_ARE) and not (len(mean) == 3 and needs_path(name))


def _named_again(found: Metadata) -> Words:
    """What a line with models must say again: code to import, with arguments that are words, and where data lie."""
    yield from _code(found)
    if found.data is not None and needs_path(found.data.name):
        yield from ("--data", "DATA")


def _code(found: Metadata) -> Words:
    """Code to import, with arguments that are words."""
    architecture = found.architecture
    if architecture is not None and imports_code(architecture.name):
        words = [f"{key}={value}" for key, value in sorted(architecture.arguments.items()) if isinstance(value, str)]
        yield from ("--arch", architecture.name, *(["--arch-arg", *words] if words else []))


def _recipe(settings: Mapping[str, Any], *, all_of_it: bool = False) -> Words:
    """Flags of the settings of training that are not those of the default recipe, or of all that have a value.

    What is made of other models has the recipe of these, which its file does not record, unless one is named.
    """
    optimizer = str(settings.get("optimizer", "sgd"))
    usual = Recipe(optimizer=optimizer).settings() if optimizer in OPTIMIZERS else {}
    usual |= {"optimizer": Recipe().optimizer, "class_weights": None, "precision": "fp32"}
    if all_of_it:
        usual = {**dict.fromkeys(usual), "compile": False, "precision": "fp32"}
    without = unread(OPTIMIZERS, optimizer) | unread(SCHEDULES, str(settings.get("schedule")))
    for key, value in settings.items():
        if key in usual and value != usual[key] and key not in without:
            flag = option_of(key)
            if isinstance(value, bool):
                yield flag if value else f"--no-{flag[2:]}"
            elif key == "class_weights" and isinstance(value, list):
                yield from (flag, ",".join(map(_value, value)))
            elif isinstance(value, list):
                yield from (flag, *(map(_value, value) if value else ["none"]))
            else:
                yield from (flag, _value(value))


def _alignment(how: Mapping[str, Any]) -> Words:
    """Options of an alignment besides its method."""
    for key, option in ALIGNMENT_OPTIONS.items():
        if how.get(key) is not None and not (key == "restarts" and how[key] == 1):
            yield from (option, _value(how[key]))
    if how.get("seed"):
        yield from ("--seed", str(how["seed"]))


def _align(name: str, found: Metadata, settings: Mapping[str, Any]) -> list[str] | None:
    how = settings["align"]
    if "joint" in how:
        return None  # one line makes several files, under a template that none of them knows
    reference, model = _names(found)[:2]
    return ["align", reference, model, "--method", str(how["method"]), *_alignment(how), "-o", name]


def _normal_form(name: str, found: Metadata, settings: Mapping[str, Any]) -> list[str] | None:
    return ["align", *_names(found), "--normal-form", "-o", name]


def _interpolate(name: str, found: Metadata, settings: Mapping[str, Any]) -> list[str] | None:
    how = {key.removeprefix("align_"): value for key, value in settings["interpolate"].items()}
    weights, method, only = how.pop("weights", ()), how.pop("align", "none"), how.pop("only", ())
    if len(weights) != 2 or how.keys() - {*ALIGNMENT_OPTIONS, "seed", "kinds_sha256"}:
        return None  # a point of another kind, or one that was renormalised
    where = ["--t", _value(weights[1]), *(["--only", *only] if only else []), "--align", str(method)]
    return ["interpolate", *_names(found), *where, *_alignment(how), "-o", name]


def _star(name: str, found: Metadata, settings: Mapping[str, Any]) -> list[str] | None:
    fused, how = found.kind == "fused", settings[found.kind]
    if how.get("held_out") or how.get("sync_batchnorm"):
        return None
    sources, beginning = _names(found), ["--recipe", "default"]
    if how.get("init"):
        if "grown" not in how or "recipe" in how["grown"]:
            return None  # what it began at, or a recipe that was named, whose place and other settings are not known
        *sources, star = sources
        beginning = ["--grow", star, "--epochs", str(settings["epochs"])]
        settings = {key: value for key, value in settings.items() if key != "epochs"}
    words = ["fuse" if fused else "star", *beginning, "--sources", *sources]
    words += [*_recipe(settings, all_of_it="--grow" in beginning), "--align", str(how.get("method") or "none")]
    words += _alignment({key: value for key, value in how.items() if key != "seed"})
    usual = {"sampling": "uniform", "realign_every": 1, "draws_per_step": 1, "mu": 1.0 if fused else 0.0}
    for key in STAR_OPTIONS:  # the others are recorded only where they are not as usual
        if key in how and how[key] != usual.get(key):
            words += [option_of(key), "never" if how[key] is None else _value(how[key])]
    words += ["--objective", "normalised"] if how.get("normalised") else []
    return [*words, *(["--seed", str(found.seed)] if found.seed else []), "-o", name]


def _fused(name: str, found: Metadata, settings: Mapping[str, Any]) -> list[str] | None:
    how = settings["fused"]
    if "fusion" not in how:
        return _star(name, found, settings)
    if how.keys() - {*ALIGNMENT_OPTIONS, "fusion", "method"} or how["fusion"] in TRAINED_FUSIONS:
        return None  # a merge with settings of its own, or a student
    where = ["--method", how["fusion"], "--align", str(how.get("method") or "none")]
    seed = ["--seed", str(found.seed)] if found.seed else []
    return ["fuse", "--sources", *_names(found), *where, *_alignment(how), *seed, "-o", name]


def _curve(name: str, found: Metadata, settings: Mapping[str, Any]) -> list[str] | None:
    how = settings["curve"]
    aligned = how.get("align", {})
    if how["bends"] != 1 or "pieces" in how or aligned.get("seed", found.seed) != found.seed:
        return None  # one line makes several files, ranks did, or Python aligned by a seed of its own
    form = ["--form", how["form"]] if how["form"] != "bezier" else []
    recipe = ["--recipe", "default", *_recipe(settings)]
    words = ["curve", *_names(found), *form, *recipe, "--align", str(aligned.get("method", "none"))]
    words += _alignment({key: value for key, value in aligned.items() if key != "seed"})
    return [*words, *(["--seed", str(found.seed)] if found.seed else []), "-o", name]


def _value(value: Any) -> str:
    """A value as it is typed: a number in as few digits as give it back.

    >>> _value(5.0), _value(1 / 3)
    ('5', '0.3333333333333333')
    """
    if isinstance(value, float) and float(text := f"{value:.12g}") == value:
        return text
    return str(value)
