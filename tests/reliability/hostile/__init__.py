"""Files that a stranger might send, by what reads them; each is made when its trial needs it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from starcli.checkpoints import checkpoint
from starcli.recipes import recipe

from ..trial import have_packages
from .arrays import IDX, archives, idx_directory
from .checkpoints import HARMLESS, SAFETENSORS
from .data_files import ARROW, SAVED, SHARDS, TOKENIZERS, read_saved, read_shard, read_tokenizer
from .images import IMAGES, image_directory
from .models import ADAPTERS, CONFIGS, read_adapter_at, read_directory
from .permutations import ELEMENTS, PERMUTATIONS
from .pickles import HARMLESS as READABLE
from .pickles import payloads
from .readers import read_checkpoint, read_data, read_permutation_file, read_spec, read_state
from .texts import SPECS, YAML

Content = Callable[[], bytes]


@dataclass(frozen=True)
class Case:
    """A hostile file: `make` writes it into a directory and returns its path; `read` is what must withstand it."""

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    harmless: bool = False
    """Whether reading it may also succeed: the content is odd, and none the worse for it."""


def _file(name: str, content: Content) -> Callable[[Path], Path]:
    def make(directory: Path) -> Path:
        path = directory / name
        path.write_bytes(content())
        return path

    return make


def _folder(name: str, files: Callable[[], Mapping[str, bytes]]) -> Callable[[Path], Path]:
    """Files of one folder, of which the reader is given `name`."""

    def make(directory: Path) -> Path:
        for each, content in files().items():
            (directory / each).write_bytes(content)
        return directory / name

    return make


def _marked(file: str, name: str, made: Callable[[Path], Mapping[str, Content]]) -> Callable[[Path], Path]:
    """A file whose payload would leave its mark in the directory where it lies."""
    return lambda directory: _file(file, made(directory)[name])(directory)


def cases() -> Iterator[tuple[str, Case]]:
    """(kind of file, case), all of the catalogue."""
    for name, content in SAFETENSORS.items():
        yield "safetensors", Case(name, _file("x.safetensors", content), read_checkpoint, name in HARMLESS)
    for name, content in YAML.items():
        yield "archspec", Case(name, _file("x.yaml", content), read_spec)
        yield "recipe", Case(name, _file("x.yaml", content), recipe.load_recipe, name == "empty")
    for name, content in SPECS.items():
        yield "archspec", Case(name, _file("x.yaml", content), read_spec, True)
    for name in payloads(Path()):
        harmless = name.startswith(READABLE)
        yield "PyTorch file", Case(name, _marked("x.pt", name, payloads), checkpoint.read, harmless)
        yield "state", Case(name, _marked("x.safetensors.state", name, payloads), read_state)
    for name in archives(Path()):
        yield "npz", Case(name, _marked("x.npz", name, archives), read_data)
    for name, content in IDX.items():
        yield "idx", Case(name, lambda directory, content=content: idx_directory(directory, content()), read_data)
    for name, content in IMAGES.items():
        made = lambda directory, content=content: image_directory(directory, content())  # noqa: E731
        yield "images", Case(name, made, read_data, name == "a PNG that unfolds")
    for name, content in (PERMUTATIONS | ELEMENTS).items():
        yield "permutation", Case(name, _file("p.safetensors", content), read_permutation_file)
    if have_packages():
        yield from _of_packages()


def _of_packages() -> Iterator[tuple[str, Case]]:
    for name, content in SHARDS.items():
        yield "webdataset", Case(name, _file("x.tar", content), read_shard)
    for name, files in SAVED.items():
        yield "saved data set", Case(name, _folder(ARROW, files), read_saved)
    for name, content in TOKENIZERS.items():
        yield "tokenizer", Case(name, _file("tokenizer.json", content), read_tokenizer)
    for name, files in CONFIGS.items():
        yield "config of a model", Case(name, _folder("config.json", files), read_directory, True)
    for name, files in ADAPTERS.items():
        yield "adapter", Case(name, _folder("adapter_config.json", files), read_adapter_at)
