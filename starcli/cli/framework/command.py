"""Commands: typer's, with list options, quoted patterns, and groups of options that are one parameter."""

import contextlib
import dataclasses
import functools
import glob
import inspect
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from starcli.cli.framework.checked import check_values
from starcli.cli.framework.help import page
from starcli.cli.framework.project_file import PROJECT_WORDS, find_project_file
from starcli.errors import StarcliError
from starcli.files.number_words import LARGEST_INTEGER, is_number
from starcli.runtime import stdout

F = TypeVar("F", bound=Callable[..., None])

BUNDLE = "starcli_bundle"
"""Name of the mark that `bundle` sets."""


LEFT_OUT = "starcli_left_out"
"""Name of the names of fields that keep their defaults."""


def bundle(cls: type) -> type:
    """Mark a dataclass whose fields are options: a command takes all of them with one parameter of its type."""
    setattr(cls, BUNDLE, True)
    return cls


def said_in(*bundles: Any) -> list[str]:
    """Names of the options of these bundles that have another value than their default."""
    return [
        option.name
        for bundle in bundles
        for option in dataclasses.fields(bundle)
        if getattr(bundle, option.name) != option.default
    ]


def leaving_out(*names: str) -> Callable[[type], type]:
    """Mark a bundle some of whose inherited fields have no meaning for its commands: they are no options there."""

    def mark(cls: type) -> type:
        assert set(names) <= {field.name for field in dataclasses.fields(cls)}, names
        setattr(cls, LEFT_OUT, frozenset(names))
        return cls

    return mark


class Command(TyperCommand):
    """Command whose list options take all words up to the next option.

    The shell expands `--sources ckpts/*.safetensors` into many words, of which typer would give `--sources` the first
    and lose the others among the positional arguments.
    """

    def get_help(self, ctx: Any) -> str:
        """Return the help page."""
        return page(self, ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Rewrite `--sources a b` to `--sources a --sources b`, then parse as usual."""
        show_help_if_asked(self, ctx, args)
        _refuse_file_of_json(args)
        lists = {name: option for option in self.params for name in option.opts if _takes_many(option)}
        numbers: frozenset[str] = getattr(self.callback, "number_lists", frozenset())
        known = {name for option in self.params for name in (*option.opts, *option.secondary_opts)}
        words = list(_repeated(args, lists, numbers, known))
        with self._project_defaults(ctx):
            rest = super().parse_args(ctx, words)
        self._refuse_huge_numbers(ctx)
        return rest

    def _refuse_huge_numbers(self, ctx: Any) -> None:
        """Raise typer's error for a whole number that no counter and no generator of random numbers takes."""
        option: Any  # typer's own kind of parameter, of which its error is told, has no public name
        for option in self.params:
            value = ctx.params.get(option.name)
            if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
                raise typer.BadParameter(f"expected at most {LARGEST_INTEGER:,}, found '{value}'", ctx, option)

    @contextlib.contextmanager
    def _project_defaults(self, ctx: Any) -> Iterator[None]:
        """Meanwhile a project file gives the defaults of options; afterwards `PROJECT_WORDS` says which it gave."""
        PROJECT_WORDS.set("")
        options = {option.name for option in self.params if isinstance(option, TyperOption)}
        reads = bool(options & {"arch", "device"}) and not ctx.resilient_parsing
        project = find_project_file() if reads else None
        if project is None:
            yield
            return
        ctx.default_map = {name: value for name, value in project.defaults().items() if name in options}
        yield
        PROJECT_WORDS.set(
            project.used({name: _is_default_map(ctx.get_parameter_source(name)) for name in ctx.default_map})
        )


class CommandGroup(TyperGroup):
    """Commands about one thing, as `starcli spec`; a group of them has its own `examples`, and a page to `see`."""

    examples: tuple[str, ...] = ()
    see = ""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The name of a command; none shows the help."""
        show_help_if_asked(self, ctx, args[:1], bare=True)
        return super().parse_args(ctx, args)

    def get_help(self, ctx: Any) -> str:
        """The help page."""
        return page(self, ctx)


def show_help_if_asked(command: Any, ctx: typer.Context, args: list[str], *, bare: bool = False) -> None:
    """Show the help and end, before typer parses: its conversion of values imports pydantic, a fifth of a second.

    bare: also where there are no words at all, unless a shell asks how they may go on.
    """
    words = args[: args.index("--")] if "--" in args else args
    if {"--help", "-h"} & set(words) or (bare and not (args or ctx.resilient_parsing)):
        typer.echo(command.get_help(ctx))
        raise typer.Exit


def _is_default_map(source: Any) -> bool:
    """Whether the value of a parameter came from the defaults of a project file, by its source as typer says it."""
    return source is not None and source.name == "DEFAULT_MAP"


def _refuse_file_of_json(args: Sequence[str]) -> None:
    """Say where results go to whoever takes `--json` for the name of a file: it would be read as one more model."""
    for option, word in itertools.pairwise(args):
        if option == "--json" and word.endswith((".json", ".jsonl")) and not Path(word).exists():
            raise StarcliError(f"--json {word}: --json takes no file; results go to stdout: --json > {word}")


def _takes_many(parameter: object) -> bool:
    """Whether a parameter is a list option."""
    return isinstance(parameter, TyperOption) and bool(parameter.multiple)


def _is_option(word: str, known: set[str]) -> bool:
    """Whether a word is an option or meant to be one: it begins with a dash, and is neither stdin nor a number."""
    return word.startswith("-") and word != "-" and (word in known or not is_number(word))


def _repeated(args: list[str], lists: dict[str, Any], numbers: frozenset[str], known: set[str]) -> Iterator[str]:
    """The words of `args`, with the name of a list option repeated before each of its values.

    A list of numbers ends at the first word that is none, so that `--t 0 0.5 a.safetensors` means what it says.
    """
    position = 0
    while position < len(args):
        word = args[position]
        position += 1
        if word == "--":
            yield from args[position - 1 :]
            return
        yield word
        if word not in lists or position == len(args):
            continue
        yield args[position]  # a missing value is Typer's to report
        position += 1
        while position < len(args) and not _is_option(args[position], known):
            if lists[word].name in numbers and not is_number(args[position]):
                break
            yield word
            yield args[position]
            position += 1


def command(*examples: str, see: str) -> Callable[[F], Callable[..., None]]:
    """Decorator that makes a function a command, with worked examples below its help, and the page to `see` after it.

    Parameters whose type is a `bundle` become the bundle's options; lists of paths have their patterns expanded; what
    the `Checked` marks of options find wrong is told at once.
    """

    def build(function: F) -> Callable[..., None]:
        signature = inspect.signature(function, eval_str=True)
        parameters = list(signature.parameters.values())
        bundles = {p.name: p.annotation for p in parameters if getattr(p.annotation, BUNDLE, False)}
        options = [each for p in parameters for each in (_options_of(bundles[p.name]) if p.name in bundles else [p])]
        options = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]
        elements = {option.name: _element_of(option.annotation) for option in options}

        @functools.wraps(function)
        def run(**values: Any) -> None:
            for name, value in values.items():
                if isinstance(value, Path):
                    values[name] = expand_home(value)
                elif elements[name] is Path and value is not None:
                    values[name] = expand_patterns(map(expand_home, value))
            check_values(options, values)
            for name, kind in bundles.items():
                values[name] = kind(**{option.name: values.pop(option.name) for option in _options_of(kind)})
            with stdout.reserved_for_results():
                function(**values)

        run.__dict__.update(
            __signature__=signature.replace(parameters=options),
            __annotations__={option.name: option.annotation for option in options},
            number_lists=frozenset(name for name, element in elements.items() if element in (int, float)),
            examples=examples,
            see=see,
        )
        del run.__dict__["__wrapped__"]  # or inspect would look through to the bundles
        return run

    return build


def register(app: typer.Typer, commands: Mapping[str, Callable[..., None]]) -> None:
    """Add what `command` made, by name and in this order, to the program or to a group of its commands."""
    for name, function in commands.items():
        app.command(name, cls=Command)(function)


@functools.cache
def _options_of(kind: type) -> tuple[inspect.Parameter, ...]:
    """Fields of a bundle that are declared as options, as parameters, but those that it leaves out."""
    hints, found = get_type_hints(kind, include_extras=True), []
    for field in dataclasses.fields(kind):
        if get_origin(hints[field.name]) is Annotated and field.name not in getattr(kind, LEFT_OUT, ()):
            default = field.default if field.default is not dataclasses.MISSING else inspect.Parameter.empty
            how: dict[str, Any] = {"default": default, "annotation": hints[field.name]}
            found.append(inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, **how))
    return tuple(found)


def _element_of(annotation: Any) -> Any:
    """Of what an annotation is a list, perhaps annotated or optional; None where it is none."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    lists = (each for each in (annotation, *get_args(annotation)) if get_origin(each) is list)
    return next((get_args(each)[0] for each in lists), None)


def expand_home(path: Path) -> Path:
    """A path with `~` at its begin as the home directory: in quotes, as templates stand, no shell does that."""
    return Path(os.path.expanduser(path))  # that of pathlib raises where there is no such user


def expand_patterns(paths: Iterable[Path]) -> list[Path]:
    """Replace quoted patterns among `paths` by the files they match, sorted.

    Raises StarcliError for a pattern that matches none.
    """
    found: list[Path] = []
    for path in paths:
        pattern = str(path)
        if glob.has_magic(pattern) and not path.exists():
            matches = sorted(glob.glob(pattern, recursive=True))
            if not matches:
                raise StarcliError(f"{pattern}: no file matches")
            found += map(Path, matches)
        else:
            found.append(path)
    return found
