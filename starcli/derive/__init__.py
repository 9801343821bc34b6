"""Permutation specs by tracing: derive(network, example) -> spec, derive_and_prove, explain, to_yaml."""

from starcli.derive.build import Frozen
from starcli.derive.main import Derived, derive

__all__ = ["Derived", "Frozen", "derive"]
