"""Which changes a merge keeps that keeps the largest ones of whole models, and not of each tensor."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from starcli.merging.method import TensorSettings
from starcli.merging.sparse import least_kept
from starcli.merging.stack import Stack
from starcli.runtime.progress import Progress
from starcli.runtime.rehearsal import few_if_rehearsed, once_if_rehearsed


def with_least(
    settings: Mapping[str, TensorSettings], stacks: Mapping[str, Stack], progress: Progress
) -> dict[str, TensorSettings]:
    """The settings of tensors with the magnitude of the smallest change that is kept of each source.

    Tensors of one density are one vector, so that those that `--overrides` gives another one are trimmed apart. All are
    read twice, unless nothing is left out.
    """
    parts = dict[tuple[float, ...], list[str]]()
    for name, how in settings.items():
        parts.setdefault(how.density, []).append(name)
    found = dict[str, TensorSettings]()
    for density, names in parts.items():
        least = (0.0,) * len(density)
        if min(density) < 1:
            least = _least([stacks[name] for name in names], density, progress)
        found |= {name: replace(settings[name], least=least) for name in names}
    return found


def _least(stacks: Sequence[Stack], density: tuple[float, ...], progress: Progress) -> tuple[float, ...]:
    progress.start("trimming", 2 * len(stacks))

    def read() -> Iterator[Tensor]:
        for stack in few_if_rehearsed(stacks, len(stacks)):
            progress.stop_if_asked()
            yield from stack.changes()
            progress.step()

    least = once_if_rehearsed("trimming", lambda: least_kept(read, density), of=density)
    progress.finish()
    return least
