"""The same images in each form of data are the same inputs and labels of each split, held to NumPy."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from starcli.data.dataset import open_data

COUNTS = {"train": 7, "val": 2, "test": 3}
CLASSES = 2


def _images() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (N, H, W, 3) of bytes by part, sorted by class, as folders order them."""
    draws = np.random.RandomState(0)
    parts = {}
    for part, count in COUNTS.items():
        labels = np.sort(np.arange(count) % CLASSES)
        parts[part] = draws.randint(0, 256, (count, 5, 5, 3)).astype(np.uint8), labels
    return parts


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def _write(form: str, place: Path) -> str:
    """Write the images, and return the name by which they are opened."""
    parts, first = _images(), {part: x.transpose(0, 3, 1, 2).copy() for part, (x, _) in _images().items()}
    labels = {f"{part}_labels": y for part, (_, y) in parts.items()}
    if form == "last.npz":
        np.savez(place / form, **{f"{part}_images": x for part, (x, _) in parts.items()}, **labels)
    elif form == "first.npz":
        np.savez(place / form, layout="NCHW", **{f"{part}_images": x for part, x in first.items()}, **labels)
    elif form == "first.safetensors":
        save_file({**{f"{part}_images": x for part, x in first.items()}, **labels}, place / form, {"layout": "NCHW"})
    elif form == "own.py:build":
        np.savez(place / "own.npz", **first, **labels)
        code = f"""
import numpy as np, torch
def build():
    file = np.load({str(place / "own.npz")!r})
    return {{part: (torch.from_numpy(file[part]), file[part + "_labels"]) for part in ("train", "val", "test")}}
"""
        (place / "own.py").write_text(code)
    elif form == "wds:":
        for part, (x, y) in parts.items():
            with tarfile.open(place / f"{part}-0.tar", "w") as archive:
                for number, (image, label) in enumerate(zip(x, y, strict=True)):
                    for suffix, content in (("png", _png(image)), ("cls", str(label).encode())):
                        info = tarfile.TarInfo(f"{number:03}.{suffix}")
                        info.size = len(content)
                        archive.addfile(info, io.BytesIO(content))
    else:
        for part, (x, y) in parts.items():
            for number, (image, label) in enumerate(zip(x, y, strict=True)):
                directory = place / part / str(label)
                directory.mkdir(parents=True, exist_ok=True)
                (directory / f"{number:03}.png").write_bytes(_png(image))
    return f"{form}{place}" if form.endswith(":") else str(place / form)


@pytest.mark.parametrize(
    "form", ["last.npz", "first.npz", "first.safetensors", "own.py:build", "wds:", "folder:"], ids=str
)
@pytest.mark.parametrize("how", ["none", "0.4:0.2", "data"])
def test_each_form_of_the_same_images(form: str, how: str, tmp_path: Path) -> None:
    found, parts = open_data(_write(form, tmp_path), normalise=how), _images()
    train = parts["train"][0] / 255
    mean, std = {"none": (0, 1), "0.4:0.2": (0.4, 0.2), "data": (train.mean((0, 1, 2)), train.std((0, 1, 2)))}[how]
    for part, role in (("train", "train"), ("val", "validation"), ("test", "test")):
        images, labels = parts[part]
        [(inputs, classes)] = found.split(role).batches(100)
        expected = torch.from_numpy((images / 255 - mean) / std).permute(0, 3, 1, 2).float()
        torch.testing.assert_close(inputs, expected, rtol=1e-5, atol=1e-5)
        assert classes.tolist() == labels.tolist()
