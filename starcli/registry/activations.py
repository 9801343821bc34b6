"""Activations by name."""

from collections.abc import Mapping

from starcli.registry.entry import Entry

ACTIVATIONS: Mapping[str, Entry] = {
    "relu": Entry("torch.nn:ReLU", "max(x, 0)"),
    "elu": Entry("torch.nn:ELU", "x above 0, exp(x) - 1 below"),
    "silu": Entry("torch.nn:SiLU", "x sigmoid(x), also called swish"),
    "tanh": Entry("torch.nn:Tanh", "hyperbolic tangent"),
    "gelu": Entry("torch.nn:GELU", "x Phi(x)"),
    "identity": Entry("torch.nn:Identity", "none: a linear network"),
}
"""`--arch-arg activation=NAME`: modules without arguments."""
