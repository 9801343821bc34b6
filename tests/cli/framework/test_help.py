"""Every command has help with a worked example; nothing heavy is imported for it; mistyped words get suggestions."""

import os
import re
import subprocess
import sys
import time

import pytest
from support.program import ROOT, run_here, run_process

COMMANDS = [
    "train",
    "align",
    "permute",
    "star",
    "curve",
    "interpolate",
    "barrier",
    "plane",
    "surface",
    "bma",
    "fuse",
    "eval",
    "predict",
    "plot",
    "report",
    "inspect",
    "convert",
]
SPECS = ["list", "show", "check", "derive", "explain", "diff"]
CACHE = ["show", "clear"]
ALL = [(name,) for name in COMMANDS] + [("spec", name) for name in SPECS] + [("cache", name) for name in CACHE]


def listed(*words):
    """The commands on a help page."""
    rows = run_here(*words, "--help").out.split("Commands")[1].split("\n\n")[0]
    return re.findall(r"^  ([a-z]+) ", rows, flags=re.M)


def test_all_commands_are_listed():
    assert listed() == [*COMMANDS, "spec", "cache"]
    assert listed("spec") == SPECS
    assert listed("cache") == CACHE


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_has_usage_words_and_every_option(words):
    ran = run_here(*words, "--help")
    assert ran.status == 0
    assert ran.err == ""
    assert ran.out.startswith(f"Usage  starcli {' '.join(words)} ")
    for line in ran.out.splitlines():  # an option without a word of explanation helps nobody
        if re.match(r"  -", line) and not re.search(r"\S  +\S", line.strip()):
            assert re.match(r"^ {10,}\S", ran.out.splitlines()[ran.out.splitlines().index(line) + 1]), line
    assert run_here(*words, "-h").out == ran.out


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_has_the_same_forms_of_results(words):
    assert "--format" in run_here(*words, "--help").out
    assert "unknown format 'cvs'; did you mean csv?" in " ".join(run_here(*words, "--format", "cvs").err.split())


def test_help_imports_nothing_heavy_and_is_quick():
    code = (
        "import sys, time; sys.argv = ['starcli', 'star', '--help']\n"
        "from starcli.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pydantic', 'yaml', 'matplotlib', 'rich'} & set(sys.modules)\n"
        "print(sorted(heavy), time.process_time(), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    heavy, seconds = ran.stderr.rsplit(" ", 1)
    assert heavy == "[]"
    assert float(seconds) < 3  # no timing is asserted, only that nothing went wildly wrong; the target is 0.3


def test_wrong_words_are_refused_before_anything_heavy_is_imported():
    code = (
        "import sys; sys.argv = ['starcli', 'barrier', 'README.md']\n"
        "from starcli.cli.main import main\n"
        "try: main()\nexcept SystemExit as end: assert end.code == 1, end.code\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'yaml', 'matplotlib', 'rich'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "at least two" in ran.stderr
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "line", ["inspect MODEL --verify --lineage", "spec list", "spec show vit", "spec show MODEL", "cache show"]
)
def test_no_torch_is_needed(line, solutions):
    words = ["starcli", *(str(solutions[0]) if word == "MODEL" else word for word in line.split())]
    code = (
        f"import sys; sys.argv = {words!r}\n"
        "from starcli.cli.main import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ran.stderr.strip() == "False"


def test_bare_program_and_version():
    from starcli.version import __version__

    assert "Commands" in run_here().out + run_here().err
    assert run_here("--version").out == f"starcli {__version__}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], "train"),
        (["spec", "chekc"], "check"),
        (["train", "--sede", "3", "-o", "x"], "--seed"),
        (["--vresion"], "--version"),
        (["align", "a", "b", "-o", "c", "--method", "wieght"], "weight"),
        (["barrier", "a", "b", "--align", "nnone"], "none"),
        (["star", "--sources", "a", "b", "-o", "c", "--sampling", "unifrom"], "uniform"),
        (["eval", "a", "--device", "cuad"], "cuda"),
    ],
)
def test_mistyped_words_are_status_2_with_a_suggestion(words, expected):
    ran = run_here(*words)
    assert ran.status == 2
    assert ran.out == ""
    assert expected in ran.err.splitlines()[0]
    assert ran.err.startswith("starcli: ")
    assert "--help shows what there is" in ran.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "--arch", "resnte", "--data", "digits", "-o", "x.safetensors"], "resnet"),
        (["train", "--arch", "mlp", "--data", "digist", "-o", "x.safetensors"], "digits"),
        (["train", "--recipe", "quickstrat", "-o", "x.safetensors"], "quickstart"),
        (["train", "--arch", "mlp", "--arch-arg", "hidden_dmi=3", "-o", "x.safetensors"], "hidden_dim"),
        (["spec", "show", "resnte"], "resnet"),
    ],
)
def test_mistyped_names_are_status_1_with_a_suggestion(words, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = run_here(*words)
    assert ran.status == 1
    assert ran.out == ""
    assert expected in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_real_process_from_elsewhere(tmp_path):
    began = time.monotonic()
    ran = run_process("--version", cwd=tmp_path)
    assert ran.status == 0
    assert ran.out.startswith("starcli ")
    assert time.monotonic() - began < 60
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("words", [(), ("spec",), ("cache",)])
def test_without_a_command_the_help_is_shown_once_on_stdout(words):
    bare, asked = run_here(*words), run_here(*words, "--help")
    assert (bare.status, bare.err) == (0, "")
    assert bare.out == asked.out
