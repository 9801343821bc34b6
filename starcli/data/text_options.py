"""How texts become tokens and what is predicted of them, as options say it. Needs no torch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from starcli.errors import StarcliError, unknown
from starcli.registry.tasks import OF_TOKENS, TASKS

OPTIONS = {
    "text_column": "--text-column",
    "label_column": "--label-column",
    "tokenizer": "--tokenizer",
    "length": "--length",
    "task": "--task",
}
"""Option of each field."""

OF_TEXTS = ("text", "hf")
"""Kinds of data whose tokens are made of texts here."""

OPTIONS_OF_KINDS: Mapping[str, Collection[str]] = {
    **{kind: set(OPTIONS) for kind in OF_TEXTS},
    **{kind: {"task"} for kind in ("arrays", "build")},
    **{kind: {"label_column", "task"} for kind in ("table", "wds")},
}
"""Fields that data of a kind can use."""


@dataclass(frozen=True)
class TextOptions:
    """How texts are read; None leaves it to the file.

    text_column, label_column: names of columns of a table, else `text` and `label`; of several columns of labels with
    commas between them. tokenizer: a file of the package `tokenizers`; else tokens are bytes. length: tokens of a text
    that are read. task: what is predicted (`TASKS`), by default what the labels look like, and the next token where
    texts have none. classes: the labels in order, of the model that is to read the texts; no option.
    named: the same of a model whose labels may also be their numbers, from 0.
    unnamed: the numbers of the classes, as words, of a model that has no names for them.
    features: the columns of a table of numbers that the model reads, in its order; no option either.
    """

    text_column: str | None = None
    label_column: str | None = None
    tokenizer: Path | None = None
    length: int | None = None
    task: str | None = None
    classes: tuple[str, ...] | None = None
    named: tuple[str, ...] | None = None
    unnamed: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None

    def refuse_useless(self, kind: str) -> None:
        """Raise StarcliError for what data of this `kind` do not have, and for a task that is none."""
        known = OPTIONS_OF_KINDS.get(kind, set())
        said = [option for name, option in OPTIONS.items() if getattr(self, name) is not None]
        if useless := [option for option in said if option not in {OPTIONS[name] for name in known}]:
            raise StarcliError(f"{useless[0]} is for texts (text:FILE), and has no effect on {kind} data")
        if self.task is not None and self.task not in TASKS:
            raise unknown("task", self.task, TASKS)
        if self.task in OF_TOKENS and self.label_column is not None:
            raise StarcliError(f"--label-column has no effect with --task {self.task}")
        if self.length is not None and not 2 <= self.length <= 65_536:
            raise StarcliError(f"--length {self.length}: expected 2 to 65536")


AS_THE_FILE_HAS_IT = TextOptions()
"""Nothing is said."""
