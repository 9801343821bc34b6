"""Metadata of a checkpoint: which network, data, recipe and ancestors its weights have.

It is sorted JSON under the single key `starcli` of a safetensors file: safetensors writes several keys in an unstable
order, one key keeps files byte-stable. It holds no absolute path, no time stamp, and never names code to import, a path
to write or an address.
"""

import json
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from starcli.errors import StarcliError, wrong_fields
from starcli.files.strict_json import strict_json
from starcli.registry.tasks import CLASSES, NEXT_TOKEN, OF_TOKENS
from starcli.version import __version__

FORMAT = 1
"""Version of the metadata's form; files of a newer one are refused."""
KEY = "starcli"
"""Key of our metadata in a safetensors file."""
DEEPEST_METADATA = 32
"""Deepest nesting of metadata that is read; ours has six levels."""
MAXIMUM_ANCESTORS = 10_000
"""Largest number of ancestors that is read."""

Kind = Literal["model", "star", "fused", "bend", "permutation", "element"]
"""What a file holds."""
MODELS: tuple[Kind, ...] = ("model", "star", "fused", "bend")
"""Kinds of files that hold the weights of a network."""
MADE_OF_PARENTS: tuple[Kind, ...] = ("star", "fused", "bend")
"""Kinds of files into whose weights those of all parents went."""
COPIED = {"align": 1, "aligned_by": 0, "permute": 0, "normal_form": 0}
"""Tables in the recipe of a copy with other names of units, and the place among its parents of what it is a copy of."""
Sha256 = str
"""SHA-256 in hexadecimal."""


class _Record(BaseModel):
    """Part of the metadata: immutable, of exact types, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _SparseRecord(_Record):
    """Record whose `LEFT_OUT` fields are left out of files and hashes where they have their default.

    Some files were written before there were these.
    """

    LEFT_OUT: ClassVar[tuple[str, ...]]

    @model_serializer(mode="wrap")
    def _fields(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = fields(self)
        for name in self.LEFT_OUT:
            if getattr(self, name) == type(self).model_fields[name].default:
                found.pop(name, None)
        return found


class Architecture(_SparseRecord):
    """Network by registry name, its complete arguments, and the shape of one input, without the batch."""

    LEFT_OUT = ("input_dtype",)

    name: str = Field(max_length=200)
    arguments: dict[str, Any] = {}
    input_shape: list[int]
    input_dtype: Literal["float32", "int64"] = "float32"
    """Type of inputs; int64 for tokens."""

    @property
    def title(self) -> str:
        """Name and arguments as people read them.

        >>> Architecture(name="mlp", arguments={"width": 16, "depth": 2}, input_shape=[64]).title
        'mlp (depth=2, width=16)'
        """
        words = ", ".join(f"{name}={value}" for name, value in sorted(self.arguments.items()))
        return f"{self.name} ({words})" if words else self.name

    @property
    def extent(self) -> tuple[int, ...]:
        """Shape of an input by which batches are sized: a token counts as a pixel."""
        return tuple(self.input_shape) if self.input_dtype == "float32" else (1, *self.input_shape)


class SpecRecord(_SparseRecord):
    """Spec of the network's symmetries in canonical JSON, its hash, and the result of its proof (None: not proved)."""

    LEFT_OUT = ("kinds",)

    resolved: dict[str, Any]
    sha256: Sha256
    proof: dict[str, Any] | None = None
    kinds: Sha256 | None = None
    """Of an element: hash of what acts on the groups besides permutations."""


class DataRecord(_SparseRecord):
    """Data set by kind (never its path), the hash of its contents, and how inputs were normalised and split.

    `mean` and `std` are empty where several data sets as one were normalised each in its own way.
    """

    LEFT_OUT = ("span", "class_names", "features", "vocab_size", "next_token", "task", "tokenizer")

    name: str
    fingerprint: str
    num_classes: int
    input_shape: list[int]
    mean: list[float]
    std: list[float]
    val_fraction: float = 0.0
    split_seed: int = 0
    limit: int | None = None
    arguments: dict[str, Any] = {}
    span: float | None = None
    """What floats of a file were divided by before `mean` and `std`: 1.

    None for bytes, and for floats when these were standardised unasked, which then were divided by 255 as bytes are.
    """

    class_names: list[str] = []
    """Names of the classes by label, or of the columns that are predicted, where the data have any."""

    features: list[str] = []
    """Names of the columns of a table that inputs are made of, in order."""

    vocab_size: int | None = None
    """How many tokens there are, where inputs are tokens."""

    next_token: bool = False
    """Whether each token's next one is predicted."""

    task: Literal["masked-token", "regression", "multi-label"] | None = None
    """What is predicted where it is neither a class nor the next token."""

    tokenizer: Sha256 | None = None
    """Hash of the file by which texts became tokens."""

    @property
    def input_dtype(self) -> Literal["float32", "int64"]:
        """Type of inputs: int64 for tokens."""
        return "float32" if self.vocab_size is None else "int64"

    @property
    def task_name(self) -> str:
        """Name of the task, as `--task` has it."""
        return self.task or (NEXT_TOKEN if self.next_token else CLASSES)

    @property
    def per_token(self) -> bool:
        """Whether tokens are predicted at places of a text."""
        return self.task_name in OF_TOKENS

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of a network's outputs for one input: (classes,), or (length, classes) where tokens are predicted."""
        return (*self.input_shape, self.num_classes) if self.per_token else (self.num_classes,)


class AlignedTo(_SparseRecord):
    """Model that this one was aligned to, how, and the inner product that was reached (`objective`)."""

    LEFT_OUT = ("examples", "share", "gains", "steps", "lr", "kinds", "select", "ends", "joint")

    reference: Sha256
    method: str
    restarts: int
    seed: int
    objective: float
    examples: int | str | None = None
    share: float | None = None
    gains: str | None = None
    steps: int | None = None
    """Of alignment that reads data."""
    lr: float | None = None
    kinds: str | None = None
    """"all" or "permutation", where that is not what the method is of unless told."""
    select: str | None = None
    ends: int | None = None
    """Where one of several ends was chosen by midpoint loss."""
    joint: int | None = None
    """Number of models that were aligned together, which are the file's parents; None where it was one by one."""


class Ancestor(_SparseRecord):
    """File that a checkpoint descends from: hash of its weights, base name, kind and own parents."""

    LEFT_OUT = ("made_of",)

    sha256: Sha256
    name: str
    kind: Kind
    parents: list[Sha256] = []
    made_of: list[Sha256] = []
    """Whose weights went into it: the one that it is a copy of (aligned, permuted, converted), or those that a point
    lies between. Empty: all parents of a star, fused model or bend, none of a model."""

    @property
    def went_in(self) -> list[Sha256]:
        """Hashes of all whose weights went into it."""
        return self.made_of or (self.parents if self.kind in MADE_OF_PARENTS else [])

    @property
    def copy_of(self) -> Sha256 | None:
        """Hash of the model of which it is a copy."""
        return self.made_of[0] if len(self.made_of) == 1 else None


class Metadata(_Record):
    """Everything that a checkpoint says of itself."""

    format: int = FORMAT
    kind: Kind = "model"
    architecture: Architecture | None = None
    spec: SpecRecord | None = None
    data: DataRecord | None = None
    recipe: dict[str, Any] | None = None
    seed: int | None = None
    run_id: Sha256 | None = None
    weights_sha256: Sha256 = ""
    aligned_to: AlignedTo | None = None
    parents: list[Sha256] = []
    ancestors: list[Ancestor] = Field([], max_length=MAXIMUM_ANCESTORS)
    metrics: dict[str, Any] | None = None
    statistics: Literal["training", "recalibrated", "stale"] = "training"
    """BatchNorm statistics: running averages of training, re-estimated for these weights, or those of other weights."""
    program: str = __version__

    @property
    def made_of(self) -> list[Sha256]:
        """The `Ancestor` that stands for this file, under that name."""
        recipe = self.recipe or {}
        if place := [place for table, place in COPIED.items() if table in recipe]:
            return self.parents[place[0] :][:1]
        if "interpolate" in recipe:
            return self.parents
        converted = recipe.get("convert")
        original = converted.get("weights") if isinstance(converted, dict) and self.kind == "model" else None
        return [original] if isinstance(original, str) and original != self.weights_sha256 else []

    def to_text(self) -> str:
        """Serialise as the canonical JSON that is stored."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, allow_nan=False)


def _check_depth(content: Any) -> None:
    """Refuse deep nesting, level by level: a call for each of a million values would take seconds."""
    level = [content]
    for _ in range(DEEPEST_METADATA + 1):
        values = [
            value.values() if isinstance(value, dict) else value for value in level if isinstance(value, dict | list)
        ]
        level = [child for children in values for child in children]
    if level:
        raise ValueError("nested too deeply")


def parse_metadata(text: str | None, source: str) -> Metadata:
    """Metadata from its stored text; None (a foreign file) gives empty metadata.

    Raises StarcliError, with `source` and every wrong field, for a newer format and for metadata of another form.
    """
    if text is None:
        return Metadata()
    try:
        content = strict_json(text)
        _check_depth(content)
        if isinstance(content, dict) and type(content.get("format")) is int and content["format"] > FORMAT:
            raise StarcliError(
                f"{source}: written in format {content['format']} by starcli {content.get('program', '?')!s:.20}; "
                f"this is starcli {__version__}, which reads up to format {FORMAT}"
            )
        return Metadata.model_validate(content)
    except ValidationError as error:
        raise StarcliError(f"{source}: its metadata is not in our form", wrong_fields(error)) from error
    except (ValueError, RecursionError) as error:
        raise StarcliError(f"{source}: its metadata is not readable: {str(error)[:120]}") from error
