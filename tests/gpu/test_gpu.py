"""The visit to a card, tried out on the CPU: every section runs, time is kept, and the table says what was found."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from support.pretended import pretended_cuda

from gpu import captured, pack, table, works
from gpu.__main__ import SECTIONS, inside, main
from gpu.lab import Lab
from starcli.runtime.arithmetic import arithmetic_restored

LONG = ("works", "step", "captured", "epoch", "many")
QUICK = [name for name in SECTIONS if name not in (*LONG, "compiled", "graphs")]  # a minute each, and a C++ compiler
ROOT = Path(__file__).parents[2]


def visit(out: Path, *words: str) -> tuple[int, list[dict[str, Any]]]:
    line = [sys.executable, "-m", "tests.gpu", "--device", "cpu", "--quick", "--out", str(out), *words]
    ran = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return ran.returncode, table.read(out)


@pytest.mark.parametrize(
    "section", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LONG if name != "many")]
)  # which the visit below does
def test_a_section_runs_on_something_tiny(section: str, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    inside(section, "cpu", out, quick=True)
    rows = table.read(out)
    assert {(row["section"], row["card"]) for row in rows} == {(section, "no card")}
    assert not [row for row in rows if not row.get("held", True)]
    assert not [row for row in rows if row["what"].startswith("star after") and row["difference"]]  # the same steps
    profiles = {"step": 1, "epoch": 1, "barrier": 1, "captured": 2}
    assert [row["kind"] for row in rows if "kind" in row] == ["profile"] * profiles.get(section, 0)


@pytest.mark.parametrize(
    "section", [*(pytest.param(name, marks=pytest.mark.slow) for name in (*LONG, "alignment")), "barrier"]
)
def test_a_section_on_a_card_that_is_only_pretended(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tensor on the wrong device, and the CPU's results; profiles, graphs and readers of files need a driver."""

    def not_recorded(lab: Lab, work: Callable[[], object], warm: Callable[[], object]) -> Callable[[], object]:
        warm()
        return work

    monkeypatch.setattr(Lab, "profile", lambda lab, what, work, steps: work())
    monkeypatch.setattr(captured, "recorded", not_recorded)
    monkeypatch.setattr(works, "streamed", lambda lab, place: None)
    with arithmetic_restored(), pretended_cuda(monkeypatch):  # which a section sets for its own process
        inside(section, "cuda", tmp_path / "rows.jsonl", quick=True)
    rows = table.read(tmp_path / "rows.jsonl")
    assert {row["card"] for row in rows} == {"pretended"}
    of_kernels = ("product", "convolution")  # which are the CPU's, in float32
    missed = [row["what"] for row in rows if not row.get("held", True)]
    assert not [what for what in missed if not what.startswith(of_kernels)]
    assert not [row for row in rows if row["what"].startswith("star after") and row["difference"]]


@pytest.mark.slow
def test_a_visit(tmp_path: Path) -> None:
    status, rows = visit(tmp_path / "rows.jsonl", "many")
    assert status == 0
    assert {row["section"] for row in rows} == {"many"}
    assert not [row for row in rows if not row.get("held", True)]


def test_a_section_that_takes_too_long_is_recorded_and_the_next_one_runs(tmp_path: Path) -> None:
    status, rows = visit(tmp_path / "rows.jsonl", "--limit", "0.1", "many", "works")
    assert status == 1
    assert [(row["section"], row["failed"]) for row in rows] == [
        ("many", "not done after 0 s"),
        ("works", "not done after 0 s"),
    ]


def test_a_section_that_is_not_begun_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu.__main__.WHOLE", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--quick", "--out", str(tmp_path / "rows"), "many"])
    assert main() == 1
    [row] = table.read(tmp_path / "rows")
    assert (row["section"], row["failed"]) == ("many", "not begun: the visit's time was over")


def test_what_a_killed_visit_has_left_is_read_and_shown(tmp_path: Path) -> None:
    whole = "".join(json.dumps(row) + "\n" for row in rows())
    (tmp_path / "rows").write_text(whole[:-20])  # in the midst of the last row
    found = table.read(tmp_path / "rows")
    assert found == rows()[:-1]
    assert "| train | 1.25 s |" in table.render(found)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the system does not tell children")
def test_a_visit_that_is_terminated_ends_its_section(tmp_path: Path) -> None:
    line = [
        sys.executable,
        "-m",
        "tests.gpu",
        "--device",
        "cpu",
        "--quick",
        "--out",
        str(tmp_path / "rows"),
        "works",
    ]  # of some seconds
    with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0) as ran:
        children = Path(f"/proc/{ran.pid}/task/{ran.pid}/children")
        while ran.poll() is None and not table.read(tmp_path / "rows"):
            time.sleep(0.05)
        found = children.read_text().split()
        ran.terminate()
        assert ran.wait(20) == 128 + signal.SIGTERM
    assert not Path(f"/proc/{found[0]}").exists()


def test_a_section_says_where_it_is_before_its_time_is_over(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "tests.gpu", "--inside", "many", "--limit", "0.2", "--device", "cpu", "--quick"]
    with subprocess.Popen([*line, "--out", str(tmp_path / "rows")], cwd=ROOT, stderr=subprocess.PIPE, text=True) as ran:
        assert ran.stderr is not None
        said = [ran.stderr.readline() for _ in range(3)]
        ran.kill()
    assert said[0].startswith("Timeout")
    assert "most recent call first" in said[1]
    assert "File" in said[2]


def test_a_part_that_fails_is_recorded_with_its_traceback_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("gpu.card.memory", broken)
    inside("card", "cpu", tmp_path / "rows.jsonl", quick=True)
    rows = table.read(tmp_path / "rows.jsonl")
    [failed] = [row for row in rows if "failed" in row]
    assert failed["failed"] == "failed: RuntimeError: CUDA error: an illegal memory access was encountered"
    assert any("in broken" in line for line in failed["said"])
    assert rows[-1]["what"] == "a product of large matrices, fp32"
    assert "| memory | | | **failed: RuntimeError" in table.render(
        [{**row, "quick": False, "card": "X"} for row in rows]
    )


def test_what_is_typed_on_the_machine_works_beside_a_package_that_is_called_tests(tmp_path: Path) -> None:
    others = tmp_path / "site" / "tests" / "__init__.py"
    others.parent.mkdir(parents=True)
    others.touch()
    line = pack.LINE.format(others.parents[1]).partition(" 2>&1")[0].replace("python3", sys.executable) + " --help"
    ran = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr


def rows() -> list[dict[str, Any]]:
    card = {"card": "Card X", "torch": "2.11", "python": "3.12", "quick": False}
    found = [
        {"section": "works", "what": "eval", "difference": 2e-5, "limit": 1e-4, "held": True},
        {"section": "works", "what": "train twice", "difference": 1e-9, "limit": 0.0, "held": False},
        {"section": "step", "what": "star step over plain step", "ratio": 1.05, "limit": 1.03},
        {
            "section": "epoch", "what": "train", "seconds": 1.25, "least": 1.2, "largest": 1.3,
            "share_of_matrix_rate": 0.2,
        },
        {"section": "many", "what": "Many small networks", "failed": "not done after 90 s"},
        {
            "section": "step", "what": "profile", "kind": "profile", "milliseconds_a_step": 5.0, "busy": 0.8,
            "launches_a_step": 400.0, "top": [["aten::conv", 2.0, 20]],
        },
    ]  # fmt: skip
    return [{**row, **card} for row in found]


def test_the_table_says_what_was_found_and_what_failed() -> None:
    text = table.render(rows())
    assert "Card X, torch 2.11, Python 3.12:" in text
    assert "| eval | 2.0e-05 | 0.0001 | held |" in text
    assert "| train twice | 1.0e-09 | 0 | **missed** |" in text
    assert "| star step over plain step | 1.050 | 1.03 | **missed** |" in text
    assert "| train | 1.25 s |  | 1.2 to 1.3, 20% of the matrix rate |" in text
    assert "**not done after 90 s**" in text
    assert "profile: 5.00 ms a step, the device busy 80% of it, 400 launches" in text


def test_rows_without_a_card_make_no_figure(tmp_path: Path) -> None:
    tried = [{**row, "card": "no card"} for row in rows()] + [{**row, "quick": True} for row in rows()]
    assert table.render(tried) == table.render([]) == table.NOTHING + "\n"
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}old\n{table.END}after\n")
    table.write([], page)
    assert page.read_text() == f"before\n{table.BEGIN}{table.NOTHING}\n{table.END}after\n"


def test_the_page_shows_the_rows_that_are_kept() -> None:
    text = table.PAGE.read_text(encoding="utf-8")
    _, _, rest = text.partition(table.BEGIN)
    assert rest.partition(table.END)[0] == table.render(table.read(table.KEPT))


def test_what_a_bare_machine_lacks_is_named_as_it_is_installed_here() -> None:
    words = pack.command(Path("there"), "3.12", ["manylinux_2_17_x86_64"])
    assert words[words.index("--python-version") + 1] == "3.12"
    versions = dict(word.split("==") for word in words if "==" in word)
    assert {"pydantic", "pydantic-core", "annotated-types", "typing-extensions"} <= versions.keys()
    assert versions["pydantic"] == version("pydantic")
