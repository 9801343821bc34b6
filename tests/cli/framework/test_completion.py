"""Completion: what it offers, and in bash, zsh and fish themselves, shown and installed."""

import os
import pty
import pwd
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.program import ROOT, run_here
from support.refused import refused


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the program sets while it answers a shell, and would leave to the tests that come after."""
    monkeypatch.setenv("COLUMNS", "40")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("starcli tr", {"train"}),
        ("starcli train --arch resnet", {"resnet", "resnet18", "resnet50", "resnet18-cifar"}),
        ("starcli train --data dig", {"digits"}),
        ("starcli align --method w", {"weight"}),
        ("starcli train --recipe paper/vit", {"paper/vit-mnist"}),
        ("starcli star --sam", {"--sampling"}),
    ],
)
def test_completion(words, expected, monkeypatch, capsys):
    from starcli.cli import main

    monkeypatch.setenv("_STARCLI_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit):
        main.main()
    assert set(capsys.readouterr().out.split()) == expected


def test_descriptions_are_not_broken_into_lines(monkeypatch, capsys):
    """Each line is taken for a name."""
    from starcli.cli import main

    monkeypatch.setenv("_STARCLI_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "starcli train --")
    with pytest.raises(SystemExit):
        main.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 30
    assert all(re.match(r"--[a-z-]+\t\S", line) for line in lines)


def test_completion_for_a_user_without_a_home(monkeypatch):
    def unknown(number: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for module in ("typer.completion", "typer._completion_shared"):  # none may have started the tests
        monkeypatch.setattr(f"{module}._get_shell_name", lambda: "bash")
    refused(
        run_here("--install-completion"), "--install-completion: set HOME to the directory of your shell's settings"
    )
    shown = run_here("--show-completion")
    assert (shown.status, shown.err) == (0, "")
    assert "starcli" in shown.out


# -- the shells themselves ---------------------------------------------------------------------------------------------

TYPED = {
    "starcli tr": "starcli train ",
    "starcli spec der": "starcli spec derive ",
    "starcli train --arch densen": "starcli train --arch densenet40-12 ",
    "starcli align --method we": "starcli align --method weight ",
    "starcli train --recipe paper/vit": "starcli train --recipe paper/vit-mnist ",
    "starcli star --sam": "starcli star --sampling ",
    "starcli star --sources on": "starcli star --sources only.safetensors ",
    "starcli star --sources only.safetensors --held-out sub/o": (
        "starcli star --sources only.safetensors --held-out sub/other.safetensors "
    ),
    "starcli eval on": "starcli eval only.safetensors ",
}
"""What is typed before the tab, and what stands there afterwards."""

COMMANDS = ("train", "align", "star", "barrier", "inspect", "spec", "cache")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, the program in its PATH, and files to complete; the working directory."""
    program = tmp_path / "bin" / "starcli"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m starcli "$@"\n')
    program.chmod(0o755)
    (tmp_path / "sub").mkdir()
    for name in ("only.safetensors", "sub/other.safetensors"):
        (tmp_path / name).touch()
    for name, value in (
        ("PATH", f"{program.parent}:{os.environ['PATH']}"),
        ("PYTHONPATH", str(ROOT)),
        ("HOME", str(tmp_path)),
        ("XDG_CONFIG_HOME", str(tmp_path / ".config")),
        ("TERM", "xterm"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ZDOTDIR", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shell(name: str, script: str) -> str:
    """What a shell prints that runs a script; it must not end the script in the program's place."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name}")
    done = subprocess.run([found, "-c", f"{script}; true"], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


class Terminal:
    """A shell that somebody types into."""

    def __init__(self, *words: str) -> None:
        self.process, self.handle = pty.fork()
        if self.process == 0:
            os.execvp(words[0], words)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self.handle, text.encode())

    def wait(self, done: Callable[[], bool]) -> None:
        """Read what it shows until `done`."""
        end = time.monotonic() + 100
        while not done():
            assert time.monotonic() < end, self.shown
            if select.select([self.handle], [], [], 0.1)[0]:
                self.shown += os.read(self.handle, 65536).decode(errors="replace")

    def words(self) -> list[str]:
        """The words that it has shown, without what moves the cursor and sets colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", " ", self.shown).split()

    def close(self) -> None:
        os.close(self.handle)  # which hangs up on the shell
        os.waitpid(self.process, 0)


REPORTS = {
    "bash": "bind -x '\"\\C-t\": printf %s \"$READLINE_LINE\" > line'\nPS1='ready> '\n",
    "zsh": "report() { printf %s $BUFFER > line }; zle -N report; bindkey '^T' report\nPS1='ready> '\n",
}
"""Settings by which the key ^T writes the line as it stands to a file."""


@pytest.fixture(params=["bash", "zsh"])
def terminal(request: pytest.FixtureRequest, home: Path) -> Iterator[Terminal]:
    """A new shell of a user who has installed the completion."""
    name = request.param
    assert f"{name} completion installed" in shell(name, "starcli --install-completion")
    with (home / f".{name}rc").open("a") as settings:
        settings.write(REPORTS[name])
    made = Terminal(name, "-i")
    yield made
    made.close()


@pytest.mark.slow
def test_installed_completion_in_a_terminal(terminal: Terminal, home: Path) -> None:
    line = home / "line"
    for typed, expected in TYPED.items():
        terminal.type(f"{typed}\t\x14")
        terminal.wait(lambda: line.exists() and bool(line.read_text()))
        assert line.read_text() == expected
        line.unlink()
        terminal.type("\x15")  # ^U: an empty line
    terminal.shown = ""
    terminal.type("starcli \t\t")
    terminal.wait(lambda: set(COMMANDS) <= set(terminal.words()))
    terminal.type("\x15")


@pytest.mark.slow
def test_installed_completion_in_fish(home: Path) -> None:
    assert "fish completion installed" in shell("fish", "starcli --install-completion")

    def offered(line: str) -> list[str]:
        return [found.partition("\t")[0] for found in shell("fish", f"complete -C {line!r}").splitlines()]

    for typed, expected in TYPED.items():
        assert offered(typed) == [expected.split()[-1]]
    assert set(COMMANDS) <= set(offered("starcli "))
    assert {"only.safetensors", "sub/"} <= set(offered("starcli eval "))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "asking"),
    [
        ("bash", 'eval "$(starcli --show-completion)"; complete -p starcli'),
        ("zsh", 'compdef() { print -r -- $*; }; eval "$(starcli --show-completion)"'),
        ("fish", "starcli --show-completion | source; complete -C 'starcli barr'"),
    ],
)
def test_shown_completion_is_a_script_of_the_shell(name: str, asking: str, home: Path) -> None:
    expected = {
        "bash": "complete -o default -F _starcli_completion starcli",
        "zsh": "_starcli_completion starcli",
        "fish": "barrier\tMeasure how far",
    }
    assert expected[name] in shell(name, asking)
    assert not [path for path in home.rglob("*") if path.name.startswith((".bash", ".z"))]
