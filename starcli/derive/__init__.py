"""Permutation specs by tracing: derive, derive_and_prove (what the proof rejects is fixed), to_yaml."""

from starcli.derive.branches import subject
from starcli.derive.build import Frozen
from starcli.derive.folding import to_yaml
from starcli.derive.main import Derived, derive, derive_and_prove

__all__ = ["Derived", "Frozen", "derive", "derive_and_prove", "subject", "to_yaml"]
