"""A command and the function of the library that does the same have the same settings, and the same defaults."""

import inspect
from dataclasses import fields
from pathlib import Path

import pytest
import typer.main

import starcli as sc
from starcli.cli.fuse_jobs import FuseOptions
from starcli.cli.main import app
from starcli.cli.options.search import SearchOptions
from starcli.library.star import SearchSettings
from starcli.library.train import RecipeSettings

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
FUNCTIONS = {"star": "find_star", "eval": "evaluate"}
"""Functions that have another name than their command."""
WITHOUT_FUNCTION = {"inspect", "convert", "spec", "cache"}
FILES = [Path("a.safetensors"), Path("b.safetensors")]


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - WITHOUT_FUNCTION))
def test_a_keyword_has_the_default_of_the_option(command: str) -> None:
    options = {each.name: each.default for each in COMMANDS[command].params}
    keywords = inspect.signature(getattr(sc, FUNCTIONS.get(command, command))).parameters
    both = {name: keywords[name].default for name in keywords if name in options}
    assert both
    said = {name: value for name, value in both.items() if value not in (None, ()) and options[name] is not None}
    assert said == {name: options[name] for name in said}


def test_the_options_of_a_search_have_the_defaults_of_its_settings() -> None:
    assert SearchOptions(sources=FILES, output="star.safetensors").settings() == sc.StarSettings()
    fused = inspect.signature(sc.fuse).parameters["mu"].default
    assert FuseOptions(sources=FILES, output="fused.safetensors").settings() == sc.StarSettings(mu=fused)


def test_keywords_are_all_settings_of_training_and_of_a_search() -> None:
    assert RecipeSettings.__annotations__.keys() == sc.Recipe.model_fields.keys() - sc.Where.__annotations__.keys()
    apart = {"alignment", "mu", "normalised", "eval_every"}  # named in the functions themselves
    known = {each.name for each in fields(sc.StarSettings)} - apart - {"sync_batchnorm"}  # which is of ranks alone
    assert SearchSettings.__annotations__.keys() == known | {"renormalise_logits"}
