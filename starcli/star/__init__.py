"""Starlight: find a model that straight lines connect to every source model, and model fusion, which is mu > 0."""

from starcli.star.sampling import Sampling, beta, constant, uniform
from starcli.star.sources import Source, SourceBank
from starcli.star.starlight import Star, starlight

__all__ = [
    "Sampling", "Source", "SourceBank", "Star", "beta", "constant", "starlight", "uniform",
]  # fmt: skip
