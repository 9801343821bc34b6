"""`starcli inspect`: say what a checkpoint is."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starcli.cli.framework.command import command
from starcli.cli.framework.project_file import find_project_file
from starcli.cli.framework.results import Column
from starcli.cli.inspected_adapter import adapter_lines, adapter_tree, tree_text
from starcli.cli.options.common import Common
from starcli.cli.options.shared import IN
from starcli.data.normalise_option import normalise_words
from starcli.errors import StarcliError, number_of
from starcli.files.names import on_disk, shortest_names

if TYPE_CHECKING:
    from starcli.checkpoints.lineage import Description

_COLUMNS = (
    Column("file", "file", "name"),
    Column("kind", "kind", main=True),
    Column("architecture.name", "network", main=True),
    Column("data.name", "data"),
    Column("seed", "seed", "d"),
    Column("parameters", "parameters", ",d"),
    Column("weights_sha256", "weights", "hash"),
    Column("aligned_to", "aligned to", "hash"),
    Column("proved", "spec proved"),
    Column("verified", "verified", main=True),
)


@command(
    "starcli inspect star.safetensors --lineage",
    "starcli inspect ckpts/*.safetensors --verify",
    see="docs/contracts.md#checkpoints",
)
def inspect_command(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Checkpoints, permutations, adapters; - is stdin."), IN
    ],
    common: Common,
    *,
    lineage: Annotated[bool, typer.Option("--lineage", help="Draw what each was made from, back to training.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash the weights anew, and those of ancestors that lie beside the file.")
    ] = False,
) -> None:
    """Say what a checkpoint is, how it was made and from what; of an adapter, what it changes in which base.

    Needs no torch and reads no weights unless to verify, but for files of PyTorch's own.
    """
    from starcli.checkpoints.lineage import describe
    from starcli.huggingface.adapter_description import AdapterDescription, adapter_place, describe_adapter

    broken: list[str] = []
    project = find_project_file()
    with common.session() as (watch, results):
        for path, name in zip(files, shortest_names(files), strict=True):
            with on_disk(path) as file:
                place = adapter_place(file)
                found = describe_adapter(place) if place else describe(file, verify=verify)
            row = {**found.to_dict(), "file": name, **(project.to_json() if project else {})}
            if results.for_programs or len(files) > 1:
                results.add("inspect", row, _COLUMNS)
            else:
                columns = (Column("what", "file"), Column("found", name, main=True))
                for what, said in adapter_lines(row) if place else _details(row):
                    results.add("inspect", {"what": what, "found": said}, columns)
            if verify and row["verified"] is None:
                watch.note(f"{path}: records no hash of its weights, which cannot be verified")
            if lineage:
                results.text(adapter_tree(found) if isinstance(found, AdapterDescription) else _tree(found))
            if isinstance(found, AdapterDescription):
                continue
            for note in found.notes:
                watch.note(f"{path}: {note}")
            for missing in found.missing:
                watch.note(f"{path}: {missing} does not lie beside it and was not verified")
            broken += [f"{name}: {hashes}" for hashes in found.broken]
    if broken:
        raise StarcliError("the weights are not those that were recorded", broken)


def _details(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """All that one file says of itself, a line for each thing; what it does not say is left out."""
    architecture, data, alignment = row["architecture"] or {}, row["data"] or {}, row["alignment"] or {}
    names = {ancestor["sha256"]: ancestor["name"] for ancestor in row["ancestors"]}
    lines = {
        "kind": row["kind"],
        "architecture": _words({"": architecture.get("name"), **architecture.get("arguments", {})}),
        "input": " x ".join(map(str, architecture.get("input_shape", []))),
        "parameters": f"{row['parameters']:,} in {number_of(row['tensors'], 'tensor')}",
        "data": _words({"": data.get("name"), **{key: data.get(key) for key in ("limit", "val_fraction")}}),
        "normalised": data and (normalise_words(data["mean"], data["std"]) if data["mean"] else "each in its own way"),
        "classes": data.get("num_classes"),
        "seed": row["seed"],
        "recipe": _words(row["recipe"] or {}),
        "made from": [names.get(parent, parent[:12]) for parent in row["parents"]],
        "aligned to": alignment and f"{names.get(row['aligned_to'], row['aligned_to'][:12])} by {alignment['method']}",
        **{split: _words(scores) for split, scores in (row["metrics"] or {}).items() if isinstance(scores, Mapping)},
        "statistics": row["statistics"],
        "spec proved": row["proved"],
        "weights": row["weights_sha256"],
        "verified": row["verified"],
        "written by": row["program"] and f"starcli {row['program']}",
    }
    if not row["weights_sha256"]:  # a file of others, of which the rest is what a reader falls back on
        lines |= {"statistics": None, "written by": None}
    if not row["run_id"] and not architecture:  # nobody wrote any of this down: it is what a reader falls back on
        yield "says", "nothing of itself: bare weights; starcli convert adds what they are"
        lines = {"parameters": lines["parameters"]}
    elif row["kind"] in ("permutation", "element"):
        lines |= {"parameters": None, "statistics": None}
    if "project" in row:
        lines[row["project"]["file"]] = f"{_words(row['project']['values'])}: taken before what this file says"
    yield from ((what, said) for what, said in lines.items() if said not in (None, "", [], {}))


def _words(settings: Mapping[str, Any]) -> str:
    """`adam, lr 0.003, align (method weight)`; what is not set is left out."""

    def said(value: Any) -> str:
        if isinstance(value, Mapping):
            return f"({_words(value)})"
        if isinstance(value, list):
            return " ".join(map(said, value))
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, str) and len(value) == 64:
            return value[:12]  # a hash
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{key} {said(value)}".strip() for key, value in settings.items() if value not in (None, [], {}))


def _tree(found: "Description") -> str:
    """The file and its ancestors, one a line, parents indented below what was made from them."""
    from rich.text import Text
    from rich.tree import Tree

    names = found.names()

    def grow(branch: Tree, parents: list[str]) -> None:
        for parent in parents:
            ancestor = names.get(parent)
            label = parent[:12] if ancestor is None else f"{ancestor.name}  {ancestor.kind}  {parent[:12]}"
            grow(branch.add(Text(label)), [] if ancestor is None else ancestor.parents)

    tree = Tree(Text(f"{found.path.name}  {found.metadata.kind}  {found.sha256[:12]}"))
    grow(tree, found.metadata.parents)
    return tree_text(tree)
