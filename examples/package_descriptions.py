"""Make a table of texts on any Debian or Ubuntu machine: what each package is, and the section that it belongs to.

    python examples/package_descriptions.py -o packages.csv
    starcli train --arch bert --data text:packages.csv --optimizer adam --lr 0.001 -o bert.safetensors
    starcli train --arch gpt --data text:packages.csv --task next-token --optimizer adam --lr 0.001 -o gpt.safetensors

The columns are `text`, the line that describes a package, and `label`, its section. Descriptions that several packages
have in common are left out but for the first, or a network could be tested on what it was trained on; so are the
sections beyond the `--sections` largest.
"""

import argparse
import csv
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path


def packages(dump: str) -> Iterator[tuple[str, str]]:
    """Description and section of each package of `apt-cache dumpavail`, the section without `non-free/`."""
    for entry in dump.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in entry.splitlines() if ": " in line and not line.startswith(" "))
        text = fields.get("Description") or fields.get("Description-en")
        if text and "Section" in fields:
            yield text, fields["Section"].rpartition("/")[2]


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("packages.csv"))
    parser.add_argument("--sections", type=int, default=16, help="how many of the largest sections are kept")
    parser.add_argument("--count", type=int, help="keep so many packages, from all over the list (default: all)")
    parser.add_argument("--dump", type=Path, help="a saved output of apt-cache dumpavail, instead of a new one")
    chosen = parser.parse_args()
    if chosen.dump is None:
        if shutil.which("apt-cache") is None:
            parser.exit(1, "there is no apt-cache here: run it on Debian or Ubuntu, or give a saved --dump\n")
        dump = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    else:
        dump = chosen.dump.read_text(encoding="utf-8")
    first = {}
    for text, section in packages(dump):
        first.setdefault(text, section)
    largest = [section for section, _ in Counter(first.values()).most_common(chosen.sections)]
    rows = [(text, section) for text, section in first.items() if section in largest]
    if chosen.count is not None and chosen.count < len(rows):
        rows = [rows[number * len(rows) // chosen.count] for number in range(chosen.count)]
    with chosen.output.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([("text", "label"), *rows])
    print(f"{chosen.output}: {len(rows)} packages in {len(largest)} sections")


if __name__ == "__main__":
    main()
