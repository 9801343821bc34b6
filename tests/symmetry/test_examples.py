"""The examples in the docstrings of starcli/symmetry run, and give what they show."""

import doctest
import importlib
import pkgutil

import pytest

from starcli import symmetry

MODULES = [module.name for module in pkgutil.walk_packages(symmetry.__path__, "starcli.symmetry.") if not module.ispkg]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module, raise_on_error=False).failed == 0
