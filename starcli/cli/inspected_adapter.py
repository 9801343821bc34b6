"""`inspect` of an adapter: its result and its table."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from starcli.errors import few, number_of

if TYPE_CHECKING:
    from rich.tree import Tree

    from starcli.huggingface.adapter_description import AdapterDescription

_SHOWN = 4
"""Names of modules and tensors that are shown of many."""


def adapter_lines(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """All that an adapter says of itself, a line for each thing; what it does not say is left out.

    row: of `AdapterDescription.to_dict`.
    """
    rank, ranks, targets = row["rank"], row["ranks"], row["target_modules"]
    others = "" if ranks in ([], [rank]) else f" (of its tensors {', '.join(map(str, ranks))})"
    count = len(row["modules"])
    lines = {
        "kind": f"adapter, {row['method']}",
        "base": row["base"],
        "rank": None if rank is None else f"{rank}{others}",
        "alpha": None if row["alpha"] is None else f"{row['alpha']}, scaled by {row['scaled_by']}",
        "target modules": ", ".join(map(str, targets)) if isinstance(targets, list) else targets,
        "changes": f"{number_of(count, 'weight')}: {few(row['modules'], _SHOWN)}" if count else None,
        "holds whole": few(row["whole"], _SHOWN) if row["whole"] else None,
        "parameters": f"{row['parameters']:,} in {number_of(row['tensors'], 'tensor')}",
        "with its base": row["problem"] or "starcli convert ADAPTER --base BASE -o OUT makes a model of it",
    }
    yield from ((what, said) for what, said in lines.items() if said not in (None, ""))


def adapter_tree(found: "AdapterDescription") -> str:
    """An adapter and below it its base: more is not recorded of where it comes from."""
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree(Text(f"{found.path.absolute().name}  adapter, which records no lineage"))
    tree.add(
        Text(f"{found.base}  its base, by the name in its config" if found.base else "a base that it does not name")
    )
    return tree_text(tree)


def tree_text(tree: "Tree") -> str:
    """A tree as lines of text."""
    from rich.console import Console

    console = Console(width=120)
    with console.capture() as capture:
        console.print(tree)
    return capture.get().rstrip()
