"""Archspecs: which permutation group acts on which axis of every tensor of a network. Needs no torch."""

from starcli.archspec.blocks import Block, Group, SubAxis, Term
from starcli.archspec.compare import same_symmetries
from starcli.archspec.library import load, shipped, spec_dir, stdin
from starcli.archspec.render import render
from starcli.archspec.resolved import Resolved
from starcli.archspec.spec import Spec, parse

__all__ = [
    "Block",
    "Group",
    "Resolved",
    "Spec",
    "SubAxis",
    "Term",
    "load",
    "parse",
    "render",
    "same_symmetries",
    "shipped",
    "spec_dir",
    "stdin",
]
