"""What a bare machine lacks, in a folder that travels with the repository:

    python -m tests.gpu.pack [FOLDER] [--python 3.12] [--platform manylinux_2_17_x86_64 ...]

needs pip and a package index; the line that it prints needs neither. Packages are of the versions that are installed
here. On the machine there are torch, torchvision and what lies beside them, but not pydantic and what that needs;
of that typing-extensions may be there, and too old.
"""

import argparse
import re
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

PLATFORMS = ("manylinux_2_17_x86_64", "manylinux2014_x86_64")
LINE = "PYTHONUNBUFFERED=1 PYTHONPATH={}:tests python3 -m gpu --out gpu.jsonl 2>&1 | tee gpu.log"
"""What is to be typed there, in the root of the repository: `tests` may be a package of others there."""


def lacking() -> list[str]:
    """Distributions that starcli's library needs and torch's own surroundings do not have."""
    return ["pydantic", *(re.split("[^a-z-]", each)[0] for each in requires("pydantic") or () if "extra" not in each)]


def command(folder: Path, python: str, platforms: list[str]) -> list[str]:
    """Pip's line that puts these for another Python into a folder, as they are imported."""
    target = ["--target", str(folder), "--upgrade", "--no-deps", "--no-compile", "--only-binary", ":all:"]
    target += ["--implementation", "cp", "--python-version", python]
    target += [word for name in platforms for word in ("--platform", name)]
    wanted = [f"{name}=={version(name)}" for name in lacking()]
    return [sys.executable, "-m", "pip", "install", "--quiet", *target, *wanted]


def main() -> None:
    """Fill the folder, and say what to type on the machine."""
    parser = argparse.ArgumentParser("python -m tests.gpu.pack", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/gpu"))
    parser.add_argument("--python", default="3.12", help="Python of the machine (default: 3.12)")
    parser.add_argument("--platform", nargs="+", default=list(PLATFORMS), help="pip's names of its platform")
    options = parser.parse_args()
    subprocess.run(command(options.folder, options.python, options.platform), check=True)
    size = sum(file.stat().st_size for file in options.folder.rglob("*") if file.is_file())
    print(f"{options.folder}: {size / 2**20:.1f} MiB. With it, in the root of the repository:")
    print(LINE.format(options.folder))


if __name__ == "__main__":
    main()
