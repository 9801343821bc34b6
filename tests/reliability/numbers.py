"""Numbers that go wrong, and files that lie about their ancestors: each is named."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .faults import Row, one_line
from .ground import TRAIN, contents, fresh
from .trial import command

SHORT = ("--epochs", "1", "--threads", "1")
NARROW = ("--arch", "resnet", "--arch-arg", "width=4", "--data", "digits", "--limit", "100")


def rows(sources: Path, place: Path) -> Iterator[Row]:
    """All cases; each starts from the two sources."""
    directory = fresh(sources, place / "numbers")
    yield "a loss that is not finite (`train`)", 1, _diverging_training(directory)
    yield "a loss that is not finite (`star`: step, t, source)", 1, _diverging_star(directory)
    yield "a source that is no solution", 1, _no_solution(directory)
    yield "statistics that were never re-estimated", 1, _stale(directory)
    yield "class counts of data and head differ", 2, _classes(directory)
    yield "`inspect --verify`: a changed weight, a forged ancestor", 3, _provenance(directory)


def _diverging_training(directory: Path) -> list[str]:
    ended = command([*TRAIN, "--lr", "1e30", "-o", "nan.safetensors"], directory)
    found = one_line(ended, 1, "the loss became") + one_line(ended, 1, "in step ")
    return found + ([] if not (directory / "nan.safetensors").exists() else ["wrote a model all the same"])


def _diverging_star(directory: Path) -> list[str]:
    words = ("star", "--sources", "0.safetensors", "1.safetensors", *SHORT, "--lr", "1e30", "-o", "nan2.safetensors")
    ended = command(words, directory)
    found = one_line(ended, 1, "the loss became") + one_line(ended, 1, "t = ")
    if "0.safetensors" not in ended.err and "1.safetensors" not in ended.err:
        found.append(f"does not name the source: {ended.err[-300:]}")
    return found


def _no_solution(directory: Path) -> list[str]:
    """Two that were trained, one that was not."""
    for seed, rate, name in ((3, "0.3", "good3"), (4, "0.3", "good4"), (5, "0", "bad")):
        command(["train", "--arch", "mlp", "--data", "digits", "--limit", "500", "--epochs", "10", "--threads", "1",
                 "--lr", rate, "--seed", seed, "-o", f"{name}.safetensors"], directory)  # fmt: skip
    words = ("star", "--sources", "good3.safetensors", "good4.safetensors", "bad.safetensors", *SHORT,
             "--recipe", "default", "-o", "s.safetensors")  # fmt: skip
    ended = command(words, directory)
    said = [line for line in ended.err.splitlines() if "hardly a solution" in line]
    return [] if len(said) == 1 and "bad.safetensors" in said[0] else [f"said {said}: {ended.err[-300:]}"]


def _stale(directory: Path) -> list[str]:
    """A network with BatchNorm whose statistics are those of other weights."""
    from starcli.checkpoints import checkpoint

    command(["train", *NARROW, *SHORT, "-o", "bn.safetensors"], directory)
    found = checkpoint.read(directory / "bn.safetensors")
    stale = found.metadata.model_copy(update={"statistics": "stale"})
    checkpoint.write(directory / "stale.safetensors", found.tensors, stale)
    ended = command(["eval", "stale.safetensors", "--threads", "1"], directory)
    words = "statistics"
    return [] if ended.status == 0 and "stale.safetensors" in ended.err and words in ended.err else [
        f"not said: {ended.status} {ended.err[-300:]}"
    ]  # fmt: skip


def _classes(directory: Path) -> list[str]:
    draws = np.random.default_rng(0)
    images = draws.integers(0, 255, (48, 1, 8, 8), dtype=np.uint8)
    np.savez(directory / "twelve.npz", images=images, labels=np.arange(48) % 12)
    found = []
    for words in (("eval", "0.safetensors"), ("barrier", "0.safetensors", "1.safetensors")):
        ended = command([*words, "--data", "twelve.npz", "--threads", "1"], directory)
        found += one_line(ended, 1, "expected 12 logits")
    return found


def _provenance(directory: Path) -> list[str]:
    """A star whose weights were changed; one whose source was exchanged; and the tree down to training."""
    place = directory.parent / "provenance"
    fresh(directory.parent / "sources", place)
    words = ("star", "--sources", "0.safetensors", "1.safetensors", *SHORT, "-o", "star.safetensors")
    command(words, place)
    whole = command(["inspect", "star.safetensors", "--verify", "--lineage"], place)
    found = [] if whole.status == 0 and json.loads(whole.out.splitlines()[0])["verified"] else [f"whole: {whole}"]
    if not all(name in whole.out + whole.err for name in ("0.safetensors", "1.safetensors")):
        found.append(f"no tree: {whole.out}")
    forged = bytearray(contents(place)["star.safetensors"])
    forged[-1] ^= 1
    (place / "forged.safetensors").write_bytes(forged)
    ended = command(["inspect", "forged.safetensors", "--verify"], place)
    found += [] if ended.status == 1 and "forged.safetensors" in ended.err else [f"a changed weight: {ended}"]
    exchanged = bytearray((place / "0.safetensors").read_bytes())
    exchanged[-1] ^= 1
    os.unlink(place / "0.safetensors")  # it is a link
    (place / "0.safetensors").write_bytes(exchanged)
    ended = command(["inspect", "star.safetensors", "--verify"], place)
    named = "0.safetensors" in ended.err and not json.loads(ended.out.splitlines()[0])["verified"]
    return found + ([] if named else [f"another ancestor: {ended}"])
