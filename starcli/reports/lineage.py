"""Files and their ancestors in layers, alike ones as one."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from starcli.checkpoints.lineage import Description
from starcli.checkpoints.metadata import Kind, Sha256

FEWEST_ALIKE = 4
"""So many models that descend from the same and lead to the same are drawn as one."""

SORTINGS = 6
"""How often layers are sorted by where their neighbours are."""


@dataclass(frozen=True)
class LineageNode:
    """Weights: under which names they are known, what they are, from which others they were made; `here`: in a file.

    `also`: hashes of the weights that it stands for beside its own.
    """

    sha256: Sha256
    names: tuple[str, ...]
    kind: Kind
    parents: tuple[Sha256, ...]
    here: bool
    also: tuple[Sha256, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Nodes in layers, parents before children, and for each pair of parent and child the places of its line.

    A place is a layer and a number in it: layers also have places of lines that cross them.
    """

    nodes: Mapping[tuple[int, int], LineageNode]
    lines: Sequence[Sequence[tuple[int, int]]]
    sizes: Sequence[int]


def natural(name: str) -> list[tuple[int, int, str]]:
    """Key by which 2 comes before 10.

    >>> sorted(["10.safetensors", "2.safetensors"], key=natural)
    ['2.safetensors', '10.safetensors']
    """
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def nodes_of(files: Iterable[tuple[str, Description]]) -> list[LineageNode]:
    """The weights in files, by the files' names, and all their ancestors, which may be elsewhere."""
    found: dict[Sha256, LineageNode] = {}
    files = list(files)
    for name, file in files:
        sha256 = file.sha256 or f"unknown: {name}"
        if sha256 in found:
            found[sha256] = replace(found[sha256], names=(*found[sha256].names, name))
        else:
            metadata = file.metadata
            found[sha256] = LineageNode(sha256, (name,), metadata.kind, tuple(dict.fromkeys(metadata.parents)), True)
    for _, file in files:
        for each in file.metadata.ancestors:
            node = LineageNode(each.sha256, (each.name,), each.kind, tuple(dict.fromkeys(each.parents)), False)
            found.setdefault(each.sha256, node)
    return sorted(found.values(), key=lambda node: (natural(node.names[0]), node.sha256))


def merged(nodes: Sequence[LineageNode]) -> list[LineageNode]:
    """The nodes, where they are many those with the same parents and children as one."""
    children = _children(nodes)
    alike: dict[object, list[LineageNode]] = {}
    for node in nodes:
        around = frozenset(node.parents), frozenset(children.get(node.sha256, ()))
        alike.setdefault((node.kind, node.here, around), []).append(node)
    stands_for: dict[Sha256, Sha256] = {}
    found: list[LineageNode] = []
    for group in alike.values():
        if len(group) < FEWEST_ALIKE:
            found += group
            continue
        names = tuple(name for node in group for name in node.names)
        found.append(replace(group[0], names=names, also=tuple(node.sha256 for node in group[1:])))
        stands_for |= {node.sha256: group[0].sha256 for node in group}
    return [
        replace(node, parents=tuple(dict.fromkeys(stands_for.get(parent, parent) for parent in node.parents)))
        for node in found
    ]


def layout(nodes: Sequence[LineageNode]) -> Layout:
    """Layers by the longest way from the beginning, sorted so that lines cross seldom (Sugiyama et al. 1981).

    A parent that is no node is left out, and so are nodes that descend from themselves.
    """
    depth = _depths({node.sha256: node for node in nodes})
    nodes = [node for node in nodes if depth[node.sha256] >= 0]
    known = {node.sha256: node for node in nodes}
    layers: list[list[object]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in nodes:
        layers[depth[node.sha256]].append(node.sha256)
    ways = []
    for node in nodes:
        for parent in (each for each in node.parents if each in known):
            crossed = [(parent, node.sha256, layer) for layer in range(depth[parent] + 1, depth[node.sha256])]
            for place in crossed:
                layers[place[2]].append(place)
            ways.append([parent, *crossed, node.sha256])
    _sort(layers, ways)
    places = {each: (number, row) for number, layer in enumerate(layers) for row, each in enumerate(layer)}
    return Layout(
        {places[node.sha256]: node for node in nodes},
        [[places[each] for each in way] for way in ways],
        [len(layer) for layer in layers],
    )


def _children(nodes: Iterable[LineageNode]) -> dict[Sha256, list[Sha256]]:
    """What was made from each parent."""
    found: dict[Sha256, list[Sha256]] = {}
    for node in nodes:
        for parent in node.parents:
            found.setdefault(parent, []).append(node.sha256)
    return found


def _depths(known: Mapping[Sha256, LineageNode]) -> dict[Sha256, int]:
    """Length of the longest way to each node from one without parents; -1 of nodes that descend from themselves.

    A file's own ancestors never do, those of several files together might.
    """
    waiting = {key: sum(parent in known for parent in node.parents) for key, node in known.items()}
    children, found = _children(known.values()), dict.fromkeys(known, -1)
    ready = [key for key, count in waiting.items() if count == 0]
    found |= dict.fromkeys(ready, 0)
    for key in ready:  # grows on the way
        for child in children.get(key, ()):
            waiting[child] -= 1
            found[child] = max(found[child], found[key] + 1)
            if waiting[child] == 0:
                ready.append(child)
    return {key: depth if waiting[key] == 0 else -1 for key, depth in found.items()}


def _sort(layers: Sequence[list[object]], ways: Iterable[Sequence[object]]) -> None:
    """Sort each layer by the mean place of its neighbours in the layer before, then behind, several times."""
    before: dict[object, list[object]] = {}
    behind: dict[object, list[object]] = {}
    for way in ways:
        for first, second in itertools.pairwise(way):
            before.setdefault(second, []).append(first)
            behind.setdefault(first, []).append(second)
    for sweep in range(SORTINGS):
        neighbours, order = (before, layers[1:]) if sweep % 2 == 0 else (behind, layers[-2::-1])
        for layer in order:
            share = {each: (row + 0.5) / len(some) for some in layers for row, each in enumerate(some)}
            means = {each: _mean([share[n] for n in neighbours.get(each, ())], share[each]) for each in layer}
            layer.sort(key=means.__getitem__)


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
