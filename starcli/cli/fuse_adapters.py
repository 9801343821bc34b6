"""`fuse` of LoRA adapters: their weighted mean, an adapter again."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from starcli.cli.framework.command import said_in
from starcli.cli.framework.progress_bars import Bars
from starcli.cli.fuse_jobs import FuseOptions
from starcli.cli.job import note_finished
from starcli.cli.options.setup import Setup
from starcli.cli.read_models import refuse_repeats
from starcli.errors import StarcliError, need_several, option_of
from starcli.files.shards import is_adapter
from starcli.runtime import distributed

if TYPE_CHECKING:
    from starcli.huggingface.adapters import Adapter

_METHOD = "linear"
_USED = ("method", "sources", "output", "weights", "normalise_weights", "force", "data_dir", "threads")
"""Options that say what the mean is, where it goes, or nothing of it: a variable of the environment, threads."""


@dataclass(frozen=True)
class WrittenAdapter:
    """A finished mean."""

    path: Path
    adapter: "Adapter"
    alignment: ClassVar[str] = "none"

    def compared(self, _: str | None) -> Iterator[dict[str, Any]]:
        """How large it is."""
        tensors = self.adapter.tensors
        size = {"tensors": len(tensors), "parameters": sum(each.numel() for each in tensors.values())}
        made = {"rank": self.adapter.config["r"], **size, "output": str(self.path)}
        yield {"model": "fused", "name": self.path.name, "alignment": self.alignment, **made}


@dataclass(frozen=True)
class AdapterMean:
    """The mean of the adapters of one command, which are all of its sources."""

    options: FuseOptions
    setup: Setup
    watch: Bars
    drawn: bool
    """Whether a figure of it is asked for."""

    def check(self, _: str | None) -> None:
        """Refuse models among the adapters, and what only models make sense of."""
        options, hint = self.options, "starcli convert ADAPTER --base BASE -o OUT makes a model of each"
        if models := [path for path in options.inputs if not is_adapter(path)]:
            raise StarcliError(f"{models[0]}: is no adapter, as {self._first} is", [hint])
        nothing = {"align": options.align == "none", "arch_args": not self.setup.arch_args}
        said = [name for name in said_in(options, self.setup) if name not in _USED and not nothing.get(name)]
        said += ["plot"] if self.drawn else []
        if options.method != _METHOD or said:
            what = f"{option_of(said[0])} has no use" if said else f"--method {options.method} is for models"
            raise StarcliError(f"{what}: adapters are averaged by --method {_METHOD} and --weights alone", [hint])
        if options.output.suffix == ".safetensors":
            raise StarcliError(f"-o {options.output}: names a file; an adapter is a directory, such as -o adapter_mean")
        need_several(options.sources)
        refuse_repeats(options.sources)

    @property
    def _first(self) -> Path:
        return next(filter(is_adapter, self.options.inputs))

    def all(self) -> Iterator[WrittenAdapter]:
        """Read the adapters and write their mean."""
        from starcli.huggingface.adapter_means import averaged_adapters, is_written, write_adapter
        from starcli.huggingface.adapters import read_adapter

        options = self.options
        adapters = [read_adapter(path) for path in options.sources]
        mean = averaged_adapters(adapters, options.weights, divide=options.normalise_weights is not False)
        if not options.force and distributed.by_writer(partial(is_written, options.output, mean)):
            note_finished(options.output, self.watch)
        else:
            distributed.by_writer(partial(write_adapter, options.output, mean, force=options.force))
        yield WrittenAdapter(options.output, mean)
