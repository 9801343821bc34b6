"""From words to files to write: templates, what stands in the way, figures."""

import contextlib
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from starcli.cli.framework.typed_line import typed_with_slash
from starcli.errors import StarcliError
from starcli.files.formats import is_pickled
from starcli.files.links import behind_links
from starcli.files.names import is_standard_stream, refuse_other_kind_of_name
from starcli.files.other_weights import other_weights
from starcli.files.run_logs.targets import LogTarget
from starcli.files.shards import files_of, is_index
from starcli.files.write import check_directory, check_replaceable
from starcli.files.write_shards import refuse_links
from starcli.huggingface.companions import weights_in


def output_paths(
    template: Path,
    values: Sequence[Mapping[str, object]],
    inputs: Sequence[Path] = (),
    *,
    pickled: bool = False,
    option: str = "-o",
) -> list[Path]:
    """One output path for each of `values`: `out/{name}.safetensors` with `name`, `{seed}`, `{t}`.

    Refused before any work: a placeholder that there is not, two outputs of one name, an output that is an input, a
    place that may not be written to, a name by which everybody would take it for a file of another kind, as of PyTorch
    unless `pickled`.
    """
    text = str(template)
    if is_standard_stream(template):
        if len(values) > 1:
            raise StarcliError(f"{option} -: stdout takes one checkpoint, this makes {len(values)}")
        return [template]
    named = [filled(template, value, option) for value in values]
    for path in named:
        refuse_other_kind_of_name(path, pickled=pickled)
    paths = [_place(path, inputs, option) for path in named]
    if paths[0] == named[0]:
        usual = next((f"{{{name}}}" for name in values[0]), "model")
        refuse_directory(template, f"{usual}.safetensors", paths[0], option=option)
    for path, count in Counter(map(behind_links, paths)).most_common(1):
        if count > 1:
            differing = [name for name in values[0] if len({str(value[name]) for value in values}) > 1]
            unused = [name for name in (f"{{{name}}}" for name in differing) if name not in text]
            apart = f"a template with {' or '.join(unused)} tells them apart" if unused else "give these one at a time"
            raise StarcliError(f"{option} {text}: {count} files would have the same name, {path}", [apart])
    for path in paths:
        check_place(path, inputs)
    return paths


def refuse_directory(template: Path, usual: str, path: Path | None = None, *, option: str = "-o") -> None:
    """StarcliError where a file is to be written, and a directory is there or meant; it says a `usual` name in it.

    path: what the template stands for.
    """
    if typed_with_slash(template) or (path or template).is_dir():
        raise StarcliError(f"{option} {template}/: names a directory; a file in it is {option} '{template / usual}'")


def _place(path: Path, inputs: Sequence[Path], option: str) -> Path:
    """The file to write: in a directory where that is what a model among `inputs` is, and no file is named."""
    if option != "-o" or path.suffix.lower() == ".safetensors" or is_pickled(path):
        return path
    return weights_in(path, inputs) or path


def log_targets(words: Sequence[str] | None, output: Path) -> list[LogTarget]:
    """Where the curves of runs go, by the words of `--log`; a model that goes to stdout has no log."""
    if words and is_standard_stream(output):
        raise StarcliError("--log: a model that goes to stdout has no log")
    return [LogTarget.of(word) for word in dict.fromkeys(words or ())]


def permutation_paths(
    template: Path | None, values: Sequence[Mapping[str, object]], inputs: Sequence[Path], outputs: Sequence[Path]
) -> list[Path]:
    """The paths of `--permutation`, beside `outputs` that are settled; none where it was not said."""
    if template is None:
        return []
    if is_standard_stream(template) and any(map(is_standard_stream, outputs)):
        raise StarcliError("-o - --permutation -: stdout takes one file")
    paths = output_paths(template, values, inputs, option="--permutation")
    written = {behind_links(path.absolute()) for path in outputs}
    if both := [path for path in paths if behind_links(path.absolute()) in written and not is_standard_stream(path)]:
        raise StarcliError(f"{both[0]}: is named by -o and by --permutation, which are two files")
    return paths


def filled(template: Path, values: Mapping[str, object], option: str) -> Path:
    """The path that a template of an option stands for. StarcliError for a placeholder that is not among `values`."""
    text, known = str(template), ", ".join(f"{{{name}}}" for name in values)
    try:
        for _, name, form, conversion in string.Formatter().parse(text):
            if name is not None and (name not in values or form or conversion):
                raise StarcliError(f"{option} {text}: unknown {{{name}}}; this command knows {known}")
    except ValueError as error:
        raise StarcliError(f"{option} {text}: a brace has no partner; this command knows {known}") from error
    return Path(text.format(**values))


def check_place(path: Path, inputs: Sequence[Path]) -> None:
    """A file to write must not be an input, and lie where files may be written; its directory is made with it."""
    for other in (file for given in inputs for file in files_of(given)):
        with contextlib.suppress(OSError):
            if path == other or (path.exists() and path.samefile(other)):
                raise StarcliError(f"{path}: is an input; a file is never written over one")
            if any(each.samefile(other) for each in other_weights(path)):
                raise StarcliError(f"{other}: is an input, and would be loaded in place of {path.name}, or beside it")
    check_replaceable(path)
    if is_index(path):
        refuse_links(path)
    check_directory(behind_links(path).parent)
