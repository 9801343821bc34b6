"""The pages of docs/: their lines are the program's, the tutorial runs, the site is built, `man` reads its pages."""

import glob
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.program import ROOT, run_here

from starcli.cli.reference import all_commands, man_pages, markdown_reference, write_man_pages

PAGES = sorted((ROOT / "docs").rglob("*.md"))
KNOWN = {name: {word for rows in page["sections"].values() for words, _ in rows for word in words.split()}
         for name, page in all_commands()}  # fmt: skip


def lines_of(page: Path) -> Iterator[list[str]]:
    """The words of each line of a page's shell blocks that begins with `starcli`, up to a pipe or a redirection."""
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.split("#")[0])
            if words[:1] == ["starcli"]:
                end = next((at for at, word in enumerate(words) if word in ("|", ">", "&&")), len(words))
                yield words[1:end]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_of_a_page_have_options_that_there_are(page: Path) -> None:
    wrong = []
    for words in lines_of(page):
        name = next(
            (f"starcli {' '.join(words[:n])}" for n in (2, 1) if f"starcli {' '.join(words[:n])}" in KNOWN), "starcli"
        )
        options = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        wrong += [
            f"{name} {option}" for option in options if f"{option}," not in KNOWN[name] and option not in KNOWN[name]
        ]
    assert wrong == []


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands, but for fewer epochs; what a redirection would have kept is kept."""
    monkeypatch.chdir(tmp_path)
    for words in lines_of(ROOT / "docs" / "tutorial.md"):
        given = [found for word in words for found in (sorted(glob.glob(word)) or [word])]
        if "--epochs" in given:
            given[given.index("--epochs") + 1] = "1"
        ran = run_here(*given)
        assert ran.status == 0, f"starcli {' '.join(given)}\n{ran.err}"
        if "--json" in given:
            Path("barrier.jsonl").write_bytes(ran.stdout)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode == 0, built.stderr
    assert "find_star" in (tmp_path / "reference" / "library.html").read_text()


def test_the_page_of_commands_has_every_option() -> None:
    page = markdown_reference()
    for name, options in KNOWN.items():
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert all(option.replace("|", "\\|") in section for option in options)


def test_man_reads_its_pages(tmp_path: Path) -> None:
    write_man_pages([str(tmp_path / "man1")])
    assert {path.name for path in (tmp_path / "man1").iterdir()} == man_pages().keys()
    if shutil.which("groff"):
        pages = sorted(map(str, (tmp_path / "man1").iterdir()))
        read = subprocess.run(["groff", "-man", "-Tutf8", "-ww", *pages], capture_output=True, text=True, timeout=60)
        assert (read.returncode, read.stderr) == (0, "")
        assert "STARCLI-BARRIER(1)" in read.stdout
        assert "--all-pairs" in re.sub(r".\x08|\x1b\[\d*m", "", read.stdout).replace("\N{HYPHEN-MINUS}", "-")
    with pytest.raises(SystemExit, match="usage"):
        write_man_pages([])
