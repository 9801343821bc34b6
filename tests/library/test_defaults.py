"""A command and the function of the library that does the same have the same settings, and the same defaults."""

import inspect
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
import typer.main

import starcli as sc
from starcli.cli.fuse_jobs import FuseOptions
from starcli.cli.main import app
from starcli.cli.options.search import SearchOptions
from starcli.library.star import SearchSettings
from starcli.library.train import RecipeSettings
from starcli.registry.fusions import FUSIONS

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
FUNCTIONS = {"star": "find_star", "eval": "evaluate"}
"""Functions that have another name than their command."""
WITHOUT_FUNCTION = {"inspect", "convert", "spec", "cache"}
NO_KEYWORD = {
    "of a process, its files and what it shows": "format json quiet traceback no_cache dry_run output force seeds "
    "log log_test checkpoint_every sync_batchnorm stacked",
    "figures, which sc.plot draws": "plot figure_width figure_font",
    "of an Alignment": "align align_examples align_share align_gains align_steps align_lr align_kinds select ends "
    "barrier.seed plane.seed restarts",
    "functions of their own": "align.joint align.bound align.selftest align.plants align.normal_form barrier.all_pairs "
    "barrier.star barrier.sources barrier.held_out barrier.aligned_sources",
    "of a result": "barrier.epsilon fuse.split star.aligned_sources fuse.aligned_sources",
    "under another name": "input align.models barrier.models train.arch fuse.objective align.permutation "
    "permute.permutation permute.random",
}
"""Options that are no keywords of the library's function of the command, or of any command, by the reason."""
FILES = [Path("a.safetensors"), Path("b.safetensors")]


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - WITHOUT_FUNCTION))
def test_a_keyword_has_the_default_of_the_option(command: str) -> None:
    options = {each.name: each.default for each in COMMANDS[command].params}
    keywords = inspect.signature(getattr(sc, FUNCTIONS.get(command, command))).parameters
    both = {name: keywords[name].default for name in keywords if name in options}
    assert both
    said = {name: value for name, value in both.items() if value not in (None, ()) and options[name] is not None}
    assert said == {name: options[name] for name in said}


def test_an_option_is_a_keyword_unless_there_is_a_reason() -> None:
    without = set()
    for command in COMMANDS.keys() - WITHOUT_FUNCTION:
        function = getattr(sc, FUNCTIONS.get(command, command))
        known = dict(inspect.signature(function).parameters)
        for kind in [each.annotation for each in known.values() if each.kind is inspect.Parameter.VAR_KEYWORD]:
            [keywords] = get_args(kind)
            known |= keywords.__annotations__
        without |= {(command, each.name) for each in COMMANDS[command].params if each.name not in known}
    said = {name for names in NO_KEYWORD.values() for name in names.split()}
    used = {f"{command}.{name}" if f"{command}.{name}" in said else name for command, name in without}
    assert used == said


def test_the_help_of_fuse_names_every_method() -> None:
    [method] = [each for each in COMMANDS["fuse"].params if each.name == "method"]
    assert [name for name in FUSIONS if name not in method.help or f'"{name}"' not in sc.fuse.__doc__] == []


def test_the_options_of_a_search_have_the_defaults_of_its_settings() -> None:
    assert SearchOptions(sources=FILES, output="star.safetensors").settings() == sc.StarSettings()
    fused = inspect.signature(sc.fuse).parameters["mu"].default
    assert FuseOptions(sources=FILES, output="fused.safetensors").settings() == sc.StarSettings(mu=fused)


def test_keywords_are_all_settings_of_training_and_of_a_search() -> None:
    assert RecipeSettings.__annotations__.keys() == sc.Recipe.model_fields.keys() - sc.Where.__annotations__.keys()
    apart = {"alignment", "mu", "normalised", "eval_every"}  # named in the functions themselves
    known = {each.name for each in fields(sc.StarSettings)} - apart - {"sync_batchnorm"}  # which is of ranks alone
    assert SearchSettings.__annotations__.keys() == known | {"renormalise_logits"}
