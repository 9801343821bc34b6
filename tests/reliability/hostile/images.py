"""Images that are no images, or far larger than they look."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def _png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def good_image(form: str) -> bytes:
    """A sound picture of 16 x 16."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(buffer, form)
    return buffer.getvalue()


IMAGES: Mapping[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"hello",
    "a program": lambda: b"\x7fELF" + bytes(1000),
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
    "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://localhost/x"/></svg>',
    "a cut PNG": lambda: good_image("PNG")[:-60],
    "a cut JPEG": lambda: good_image("JPEG")[:-60],
    "a PNG of 60,000 x 60,000": lambda: _png(60_000, 60_000),
    "a PNG of 2^31 x 2^31": lambda: _png(2**31 - 1, 2**31 - 1),
    "a PNG of 20,000 x 2,400 without data": lambda: _png(20_000, 2_400),
    "a PNG of nothing": lambda: _png(0, 0),
    "a PNG that unfolds": lambda: _png(16, 16, bytes(100_000_000)),
    "a PPM of 10^9 x 1": lambda: b"P6 1000000000 1 255\n",
    "a BMP of lies": lambda: b"BM" + bytes(24) + struct.pack("<ii", 2**30, -(2**30)) + bytes(100),
    "a TIFF of lies": lambda: b"II*\0" + struct.pack("<I", 8) + b"\xff\xff" + bytes(range(200)),
    # of which its decoder writes a line, and goes on
    "a TIFF of 39,683 samples": lambda: good_image("TIFF").replace(
        struct.pack("<HHII", 277, 3, 1, 3), struct.pack("<HHII", 277, 3, 1, 39_683)
    ),
    "a WEBP of lies": lambda: b"RIFF\xff\xff\xff\xffWEBPVP8L" + bytes(range(200)),
}


def image_directory(directory: Path, image: bytes) -> Path:
    """A folder of pictures, of which one in each part is `image`."""
    place = directory / "data.f"
    for part in ("train", "val"):
        for number, name in enumerate(("cat", "dog")):
            (place / part / name).mkdir(parents=True)
            for i in range(3):
                content = image if (number, i) == (1, 2) else good_image("PNG")
                (place / part / name / f"{i}.png").write_bytes(content)
    return place
