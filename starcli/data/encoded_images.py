"""Encoded images, in files or inside of archives, and how one is decoded."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from starcli.errors import StarcliError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
"""Image formats that are read, whatever a file's suffix says.

Their readers stay inside this process (no ghostscript).
"""
# Its decoders log what is damaged, and a program without handlers shows that: what matters is raised.
logging.getLogger("PIL").addHandler(logging.NullHandler())

MAX_PIXELS = 50_000_000
"""Largest number of pixels that are decoded: 150 MB as RGB, more than any camera's."""

DEEP = ("I", "F")
"""What the modes of images of more than 8 bits begin with."""


class ImageHeader(NamedTuple):
    """The header of an image, read before it is decoded; `deep`: pixels of more than 8 bits."""

    width: int
    height: int
    deep: bool


class ImageFiles:
    """Encoded images of a split, one after the other: files below a folder."""

    def __init__(self, root: Path, names: NDArray[np.bytes_]) -> None:
        """Images lie at `names` below `root`, as bytes: a million `str` would be copied page by page into every worker.

        Images of other kinds (subclasses) are called so, and `root` is where all of them are.
        """
        self.root, self.names = root, names

    @classmethod
    def below(cls, root: Path, names: Iterable[str]) -> ImageFiles:
        """Files by their names below `root`."""
        return cls(root, np.array([os.fsencode(name) for name in names]))

    def __len__(self) -> int:
        """Number of images."""
        return len(self.names)

    def where(self, position: int) -> Path:
        """Where an image is, as errors say it."""
        return self.root / os.fsdecode(self.names[position])

    def encoded(self, position: int) -> Path | IO[bytes]:
        """The file of an image, or its bytes as a stream."""
        return self.where(position)

    def subset(self, positions: NDArray[np.int64]) -> ImageFiles:
        """The images at `positions`, in that order."""
        return ImageFiles(self.root, self.names[positions])

    def decode(self, position: int, size: int) -> NDArray[np.uint8]:
        """See `decode_image`."""
        return decode_image(self.encoded(position), size, self.where(position))

    def first_header(self) -> ImageHeader:
        """Header of the first image that can be read; broken ones are all told when they are decoded.

        Raises StarcliError where there is none.
        """
        from PIL import Image

        for position in range(len(self)):
            try:
                with Image.open(self.encoded(position), formats=FORMATS) as image:
                    return ImageHeader(image.width, image.height, image.mode.startswith(DEEP))
            # pixels are bounded when they are decoded
            except (OSError, Image.DecompressionBombError, Warning, ValueError, SyntaxError):
                continue
        first = os.fsdecode(self.names[0])
        raise StarcliError(f"{self.root}: none of {len(self)} images can be read", [f"{first} and all others"])


def decode_image(image_file: Path | IO[bytes], size: int, where: Path | None = None) -> NDArray[np.uint8]:
    """Decode an image, resized to a square whatever its own shape, as RGB (3, size, size) uint8.

    where: what errors call it, by default its path.
    Pixels are those of torchvision's ImageFolder and Resize((size, size)): PIL's, converted to RGB, then resized
    bilinearly with antialiasing. Raises StarcliError with its name for what is no image, is damaged or is too large.
    """
    from PIL import Image

    with opened_image(image_file, where or Path(str(image_file))) as image:
        rgb = image.convert("RGB")
        if rgb.size != (size, size):
            rgb = rgb.resize((size, size), Image.Resampling.BILINEAR)
        return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))


@contextmanager
def opened_image(image_file: Path | IO[bytes], where: Path | str) -> Iterator[Image.Image]:
    """Context with an image of PIL's, to be decoded in it.

    Raises StarcliError that begins with `where` for what is no image, is damaged or has more than `MAX_PIXELS`.
    """
    from PIL import Image

    try:
        # Notes about odd metadata would interrupt progress bars; what matters raises.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(image_file, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise StarcliError(
                        f"{where}: {image.width} x {image.height} pixels, at most {MAX_PIXELS:,} are read"
                    )
                yield image
    except StarcliError:
        raise
    except Exception as error:
        # A damaged file makes the decoders raise nearly anything: OSError, SyntaxError, ValueError, struct.error.
        words = f"{error}".replace(str(image_file), Path(where).name).replace("\n", " ") or type(error).__name__
        raise StarcliError(f"{where}: cannot be read as an image: {words}") from error
