"""The examples run as they stand: each script with small settings, its `starcli` lines carried out in this process.

A stand-in for the program notes the words of each line instead of running it (3 s for every start add up); the words
are then run here, in order, in the directory where the script had come to.
"""

import contextlib
import csv
import io
import itertools
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from support.program import ROOT, run_here

from starcli.data.digits import FILE as DIGITS

EXAMPLES = ROOT / "examples"
GROUPS = ("source", "held-out")
NOTING = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["NOTES"], "a") as notes:
    notes.write(json.dumps([os.getcwd(), sys.argv[1:]]) + "\\n")
"""


@dataclass(frozen=True)
class Short:
    """Small settings of a script: its words and its environment, in which capitals stand for places of the test."""

    words: Sequence[str] = ("OUT",)
    settings: Mapping[str, str] = field(default_factory=dict)


SHORT = {
    "quickstart.sh": Short(),
    "gallery.sh": Short(settings={"EPOCHS": "1"}),
    "fashion-mnist.sh": Short(("IMAGES", "OUT", "8", "1", "100")),
}


def lines_of(script: str, short: Short, directory: Path) -> list[tuple[Path, list[str]]]:
    """The `starcli` lines that a script with these settings comes to, each with the directory that it is typed in."""
    (directory / "bin").mkdir()
    program = directory / "bin" / "starcli"
    program.write_text(NOTING)
    program.chmod(0o755)
    notes = directory / "notes"
    names = {"OUT": "out", "IMAGES": "images"}
    places = {name: str(directory / file) for name, file in names.items()}
    environment = {
        **os.environ,
        **{name: places.get(value, value) for name, value in short.settings.items()},
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "NOTES": str(notes),
    }
    script_words = [places.get(word, word) for word in short.words]
    ran = subprocess.run(
        ["bash", EXAMPLES / script, *script_words], env=environment, cwd=directory, capture_output=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr.decode()
    assert notes.exists(), "no line of the script is starcli's"
    return [(Path(where), words) for where, words in map(json.loads, notes.read_text().splitlines())]


def write_images(directory: Path) -> None:
    """The digits as files of MNIST's format, in place of Fashion-MNIST."""
    directory.mkdir()
    with np.load(DIGITS) as file:
        images, labels, test = file["images"], file["labels"], file["test"]
    for chosen, name in ((~test, "train"), (test, "t10k")):
        for array, kind in ((images[chosen], "images-idx3"), (labels[chosen], "labels-idx1")):
            header = b"".join(number.to_bytes(4, "big") for number in (0x800 + array.ndim, *array.shape))
            (directory / f"{name}-{kind}-ubyte").write_bytes(header + array.tobytes())


def test_every_example_has_short_settings() -> None:
    assert {path.name for path in EXAMPLES.glob("*.sh")} == SHORT.keys()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(script, marks=[pytest.mark.slow] if script == "gallery.sh" else [])
        for script in sorted(SHORT.keys() - {"quickstart.sh"})
    ],
)
def test_example_runs(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "images")
    lines = lines_of(script, SHORT[script], tmp_path)
    for where, words in lines:
        monkeypatch.chdir(where)
        ran = run_here(*words, *(("--points", "5") if words[0] in ("plane", "surface") else ()))
        assert ran.status == 0, f"starcli {' '.join(words)}\n{ran.err}"


def test_readme_begins_with_the_quickstart() -> None:
    """README's first block is shell, and ends in the script that is there."""
    blocks = re.findall(r"^(?:    .+\n)+", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    assert "bash examples/quickstart.sh" in blocks[0]
    ran = subprocess.run(["bash", "-n"], input=blocks[0].encode(), capture_output=True, timeout=60)
    assert ran.returncode == 0, ran.stderr


def test_quickstart_is_a_short_pipeline(tmp_path: Path) -> None:
    """It reads only what an earlier line wrote, and its words are the program's."""
    lines = lines_of("quickstart.sh", SHORT["quickstart.sh"], tmp_path)
    assert len(lines) <= 12
    written: set[str] = set()
    for _, words in lines:
        help_page = run_here(words[0], "--help").out
        assert [word for word in words if word.startswith("--") and word not in help_page] == []
        output = [word for before, word in itertools.pairwise(words) if before == "-o"]
        read = {word for word in words if word.endswith(".safetensors")} - set(output)
        assert read <= written
        written |= {name.replace("{seed}", str(seed)) for name in output for seed in range(8)}


def printed(script: str, *words: object) -> str:
    """What a script prints when it runs with these words, in this process."""
    out = io.StringIO()
    with mock.patch.object(sys, "argv", [script, *map(str, words)]), contextlib.redirect_stdout(out):
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    return out.getvalue()


def test_the_python_session_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "star-held-out: mean barrier" in printed("library.py", 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_table_of_alignments_is_printed_and_kept(tmp_path: Path) -> None:
    words = ["mlp", "--pairs", "1", "--methods", "weight, 10 restarts", "activation", "--out", str(tmp_path)]
    first, again = (printed("alignment.py", *words) for _ in range(2))
    assert again == first, "what is there is not measured again"
    assert first.count("| activation |") == 4, "barriers and their differences, for two splits"
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
def test_stars_are_measured_and_kept(tmp_path: Path) -> None:
    """Three stars, each judged in two ways on lines to one source and to one held-out model."""
    ways = ["none", "learn, once", "learn, then weight"]
    words = ["mlp", "--pairs", "0", "--stars", "2", "--epochs", "3", "--trained", *ways]
    words += ["--judged", "none", "activation", "--held-out", "1", "--judged-sources", "1", "--out", str(tmp_path)]
    first, again = (printed("learned.py", *words) for _ in range(2))
    assert again == first, "what is there is not measured again"
    lines = [json.loads(each) for each in (tmp_path / "lines.jsonl").read_text().splitlines()]
    asked = {(star, how, group) for star in ways for how in ("none", "activation") for group in GROUPS}
    found = [(each["trained"], each["judged"], each["group"]) for each in lines]
    assert sorted(each for each in found if each in asked) == sorted(asked)
    assert [found.count((star, "as trained", "source")) for star in ways] == [2, 2, 2]
    assert first.count("| 2 `mlp`, 3 epochs |") == 3


def test_tables_of_the_documentation_are_what_was_kept(tmp_path: Path) -> None:
    page, kept = (ROOT / "docs" / "alignment-measured.md").read_text(), ROOT / "tests" / "benchmarks" / "learned"
    written = tmp_path / "page"
    written.write_text(page)
    printed("learned.py", "--out", kept, "--page", written)
    assert written.read_text() == page


def test_descriptions_of_packages_become_a_table(tmp_path: Path) -> None:
    entries = [("ping", "net", "Description"), ("ping twin", "net", "Description-en"), ("same", "x/doc", "Description")]
    entries += [("same", "doc", "Description"), ("rare", "odd", "Description"), ("no section", "", "Description")]
    dump = ""
    for number, (text, section, key) in enumerate(entries):
        dump += f'Package: p{number}\n{key}: {text}: a, "b"\nTag: one: two,\n Section: none\n'
        dump += f"Section: {section}\n\n" if section else "\n"
    (tmp_path / "dump").write_text(dump)
    where = ["--dump", str(tmp_path / "dump"), "-o", str(tmp_path / "t.csv"), "--sections", "2"]
    subprocess.run([sys.executable, EXAMPLES / "package_descriptions.py", *where], check=True, capture_output=True)
    with (tmp_path / "t.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    said = [[f'{text}: a, "b"', section] for text, section in (("ping", "net"), ("ping twin", "net"), ("same", "doc"))]
    assert rows == [["text", "label"], *said]
    words = [sys.executable, EXAMPLES / "package_descriptions.py", "-o", str(tmp_path / "none.csv")]
    elsewhere = subprocess.run(words, capture_output=True, text=True, env={"PATH": str(tmp_path)})
    assert (elsewhere.returncode, len(elsewhere.stderr.splitlines())) == (1, 1)
    assert "there is no apt-cache here" in elsewhere.stderr
