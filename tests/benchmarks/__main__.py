"""All benchmarks, one after the other, each in a process of its own:

    python tests/benchmarks [--quick] [--render] [SECTION ...]

The rows of the sections that ran take the place of theirs in results.json, from which RESULTS.md is written; both lie
beside this file. With --quick nothing is kept. The machine should have nothing else to do: it takes about two hours,
half an hour of them for a whole star at size.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from rows import load, markdown

HERE = Path(__file__).parent
SECTIONS = {
    "matching": "Alignment",
    "realign": "Alignment in a long star run",
    "star": "Star training",
    "train": "Training",
    "barrier": "Barriers",
    "commands": "Whole commands",
    "folder": "Images from a folder",
    "precision": "bf16 against float32",
    "objective": "Does a higher objective lower barriers?",
}


def machine() -> str:
    """What the figures were measured on."""
    bf16 = "with" if torch.cpu._is_avx512_bf16_supported() else "without"
    capability = torch.backends.cpu.get_cpu_capability()
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = [line.partition(":")[2].strip() + ", " for line in lines if line.startswith("model name")][:1]
    return f"{os.cpu_count()} CPU cores, {''.join(model)}{capability}, {bf16} bf16 instructions; {versions}"


def render(results: dict[str, Any]) -> str:
    """RESULTS.md."""
    lines = [
        "# Benchmarks",
        "",
        "Made by `python tests/benchmarks`; every row compares two ways in one run. Figures are medians; in",
        "parentheses the least and largest ratio of the repeats, or its quartiles where there are more than 7. Where",
        "the ratio is not called times faster, it is a price: ours over the other.",
    ]
    for section, title in SECTIONS.items():
        if section in results:
            found = results[section]
            lines += ["", f"## {title}", "", found["machine"] + ".", "", markdown(load(found["rows"]))]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run what is asked for; a section that fails keeps its former rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--render", action="store_true", help="only write RESULTS.md again")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    kept = HERE / "results.json"
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for section in [] if options.render else options.sections or SECTIONS:
            print(f"== {SECTIONS[section]}", flush=True)
            rows = Path(folder, "rows.json")
            command = [sys.executable, str(HERE / f"bench_{section}.py"), "--json", str(rows)]
            if subprocess.run(command + ["--quick"] * options.quick).returncode:
                failed.append(section)
            elif not options.quick:
                results[section] = {"machine": machine(), "rows": json.loads(rows.read_text(encoding="utf-8"))}
                kept.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if not options.quick:
        (HERE / "RESULTS.md").write_text(render(results), encoding="utf-8")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
