"""Cases that libFuzzer makes by the branches that they reach in our readers, by way of atheris where it is installed.

    python -m tests.reliability.guided TARGET CASES PLACE KEEP

is one reader in a process of its own: atheris ends the process with the last case. A line of JSON is one defect.
"""

import importlib.util
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .targets import Target

OBSERVED = ["starcli", "PIL"]
"""Whose branches guide: our own modules', and those of the decoders of images."""

LONGEST = 4096
"""Bytes of a case."""


def installed() -> bool:
    """Whether atheris is; the extra `fuzz` brings it."""
    found = importlib.util.find_spec("atheris")
    return found is not None and found.origin is not None  # else a directory that happens to have the name


def run(target: "Target", count: int, place: Path, keep: Path) -> list[str]:
    """`count` cases for a target, as `fuzz.run` counts them; what went wrong."""
    count //= target.every
    words = [sys.executable, "-W", "ignore", "-m", "tests.reliability.guided", target.name, str(count), place, keep]
    root = Path(__file__).parents[2]
    keep.mkdir(exist_ok=True)
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    defects = [json.loads(line) for line in done.stdout.splitlines()]
    if f"Done {count} runs" not in done.stderr and not defects:
        defects.append(f"ended early, with status {done.returncode}: {done.stderr[-300:]}")
    return defects


def main() -> None:
    """Fuzz one target; never returns."""
    import atheris
    import torch  # first: to look for branches in all of it takes minutes

    atheris.instrument_func(torch._weights_only_unpickler.Unpickler.load)
    with atheris.instrument_imports(include=OBSERVED):
        from . import fuzz, targets

    name, count, place, keep = sys.argv[1:]
    target = next(target for target in targets.targets() if target.name == name)
    warnings.simplefilter("ignore")
    feeder = targets.Feeder(target, Path(place), Path(keep))
    corpus, words = Path(place, "corpus"), Path(place, "words")
    corpus.mkdir()
    for number, content in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(content)
    words.write_text("".join(f'"{_escaped(token)}"\n' for token in fuzz.TOKENS))

    def feed(content: bytes) -> None:
        if len(feeder.defects) < targets.ENOUGH:
            for defect in feeder.feed(content):
                print(json.dumps(f"case {feeder.cases}: {defect}"), flush=True)

    options: dict[str, Any] = {"runs": count, "seed": 1, "max_len": LONGEST, "dict": words, "timeout": 30,
                               "rss_limit_mb": 0, "artifact_prefix": f"{keep}/{targets.file_name(name)}."}  # fmt: skip
    atheris.Setup(["guided", *(f"-{key}={value}" for key, value in options.items()), str(corpus)], feed)
    atheris.Fuzz()


def _escaped(token: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in token)


if __name__ == "__main__":
    main()
