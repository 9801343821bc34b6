"""How words are understood: list options, quoted patterns, templates, seeds, arguments of architectures."""

from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from support.program import run_here

from starcli.cli.framework.command import _repeated, expand_patterns
from starcli.cli.options.values import epochs_between, pairs, seed_list
from starcli.cli.outputs import output_paths
from starcli.errors import StarcliError
from starcli.files.names import stem


class Option:
    def __init__(self, name: str) -> None:
        self.name = name


LISTS = {"--sources": Option("sources"), "--held-out": Option("held_out"), "--t": Option("t")}
KNOWN = {*LISTS, "-o", "--output", "--seed", "--force"}


def rewritten(*words: str) -> list[str]:
    return list(_repeated(list(words), LISTS, frozenset({"t"}), KNOWN))


def test_a_list_option_takes_all_words_up_to_the_next_option():
    assert rewritten("--sources", "a", "b", "c", "-o", "out") == [
        "--sources", "a", "--sources", "b", "--sources", "c", "-o", "out",
    ]  # fmt: skip
    assert rewritten("x", "--sources", "a", "--held-out", "b", "-") == [
        "x", "--sources", "a", "--held-out", "b", "--held-out", "-",
    ]  # fmt: skip


def test_a_list_with_an_equals_sign_takes_one():
    assert rewritten("--sources=a", "b") == ["--sources=a", "b"]


def test_numbers_may_be_negative_and_end_at_the_first_word_that_is_none():
    assert rewritten("--t", "-0.5", "0", "1e-3", "a.safetensors", "-o", "x") == [
        "--t", "-0.5", "--t", "0", "--t", "1e-3", "a.safetensors", "-o", "x",
    ]  # fmt: skip


def test_two_dashes_end_the_options():
    assert rewritten("--sources", "a", "--", "--sources", "b") == ["--sources", "a", "--", "--sources", "b"]


def test_a_missing_value_is_left_for_the_parser_to_report():
    assert rewritten("--sources") == ["--sources"]
    assert rewritten("--sources", "--force") == ["--sources", "--force"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b.safetensors", "--sources", "--held-out", "-o", "--force", "-", "3", "-2"])))
def test_rewriting_loses_no_word_and_changes_nothing_the_second_time(words):
    once = rewritten(*words)
    assert [w for w in once if w not in LISTS] == [w for w in words if w not in LISTS]
    assert rewritten(*once) == once


def test_a_quoted_pattern_is_expanded_sorted_and_must_match(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.safetensors", "a.safetensors", "[x].safetensors", ".hidden.safetensors", "a.metrics.jsonl"):
        (tmp_path / name).touch()
    assert expand_patterns([Path("[ab].safetensors"), Path("c")]) == [
        Path("a.safetensors"),
        Path("b.safetensors"),
        Path("c"),
    ]
    assert expand_patterns([Path("[x].safetensors")]) == [Path("[x].safetensors")]  # there is such a file
    assert Path(".hidden.safetensors") not in expand_patterns([Path("*.safetensors")])
    with pytest.raises(StarcliError, match="no file matches"):
        expand_patterns([Path("z*.safetensors")])


def test_the_home_directory_is_meant_in_quotes_too(tmp_path, monkeypatch):
    """In a template and behind the colon of a log, where no shell expands it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ("--arch", "mlp", "--data", "digits", "--limit", 20, "--epochs", 1)
    assert run_here("train", *words, "-o", "~/{seed}.safetensors").status == 0
    assert run_here("inspect", "~/[0].safetensors").rows[0]["seed"] == 0
    pytest.importorskip("tensorboard")
    assert run_here("train", *words, "--log", "tensorboard:~/logs", "-o", "~/b.safetensors").status == 0
    assert (tmp_path / "logs").is_dir()
    assert not Path("~").exists()


def test_templates(tmp_path):
    template = tmp_path / "{seed}-{name}.safetensors"
    assert output_paths(template, [{"seed": 3, "name": "a"}]) == [tmp_path / "3-a.safetensors"]
    assert len(output_paths(template, [{"seed": n, "name": "a"} for n in range(3)])) == 3


@pytest.mark.parametrize(
    ("template", "values", "message"),
    [
        ("{t}.safetensors", [{"seed": 1}], "unknown {t}"),
        ("{seed!r}.safetensors", [{"seed": 1}], "unknown {seed}"),
        ("{seed:>9999999}.safetensors", [{"seed": 1}], "unknown {seed}"),
        ("{seed.real}.safetensors", [{"seed": 1}], "unknown {seed.real}"),
        ("{seed.safetensors", [{"seed": 1}], "brace|unknown"),
        ("one.safetensors", [{"seed": 1}, {"seed": 2}], "same name"),
        ("file/{seed}.safetensors", [{"seed": 1}], "is no directory"),
    ],
)
def test_wrong_templates(template, values, message, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StarcliError, match=message):
        output_paths(tmp_path / template, values)


def test_stdout_takes_one(tmp_path):
    assert output_paths(Path("-"), [{"seed": 1}]) == [Path("-")]
    with pytest.raises(StarcliError, match="one checkpoint"):
        output_paths(Path("-"), [{"seed": 1}, {"seed": 2}])


def test_an_output_is_never_an_input(tmp_path):
    model = tmp_path / "a.safetensors"
    model.touch()
    (tmp_path / "link.safetensors").symlink_to(model)
    for output in (model, tmp_path / "link.safetensors", tmp_path / "." / "a.safetensors"):
        with pytest.raises(StarcliError, match="is an input"):
            output_paths(output, [{}], [model])


def test_stems():
    assert stem(Path("runs/a.b.safetensors")) == "a.b"
    assert stem(Path("-")) == "stdin"


def test_seeds():
    assert seed_list(["0-3,7"]) == seed_list(["0-3", "7"]) == [0, 1, 2, 3, 7]
    assert seed_list(["5"]) == seed_list(None, 5) == [5]
    with pytest.raises(StarcliError, match="expected one of both"):
        seed_list(["5"], 3)


@pytest.mark.parametrize("text", ["", "a", "3-1", "1,1", "0-2,1", "-1", "1-", "0-99999999", "1.5"])
def test_wrong_seeds(text):
    with pytest.raises(StarcliError):
        seed_list([text])


def test_architecture_arguments():
    found = pairs(["width=16", "batch-norm=true", "activation=gelu", "drop=0.5"])
    assert found == {"width": 16, "batch_norm": True, "activation": "gelu", "drop": 0.5}


@pytest.mark.parametrize(
    "text", ["width", "=3", "width=[1]", "width={}", "width=!!python/name:os.system", "w=", "a=&a b"]
)
def test_wrong_architecture_arguments(text):
    if text == "a=&a b":  # an anchor on a word is a word
        assert pairs([text]) == {"a": "b"}
        return
    with pytest.raises(StarcliError):
        pairs([text])
    with pytest.raises(StarcliError, match="twice"):
        pairs(["width=1", "width=2"])


def test_realignment():
    assert [epochs_between(word) for word in ("epoch", "never", "5", "drawn")] == [1, None, 5, "drawn"]
    for word in ("0", "often", "-1", "1.5"):
        with pytest.raises(StarcliError):
            epochs_between(word)


def test_typer_alone_would_assign_the_words_wrongly():
    """Why commands rewrite their words at all; when this fails, they need not any more."""
    app = typer.Typer()
    seen = {}

    @app.command()
    def star(sources: list[str] = typer.Option(...), rest: list[str] = typer.Argument(None)) -> None:  # noqa: B008
        seen.update(sources=sources, rest=rest)

    app(["--sources", "a", "b", "c"], standalone_mode=False)
    assert seen["sources"] == ["a"]
