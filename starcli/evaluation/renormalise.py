"""Ways to renormalise activations at a point between models, which has the statistics of none of them."""

from dataclasses import dataclass

from starcli.errors import unknown

RENORMALISATIONS = ("recalibrate", "repair")
"""Ways to renormalise, the default first.

There is no way that interpolates BatchNorm statistics, or keeps them: those of the ends say nothing of a point between.
"""


@dataclass(frozen=True)
class Renormalise:
    """How the activations at a point between models are renormalised.

    method: "recalibrate" estimates BatchNorm statistics anew and leaves networks without BatchNorm as they are;
        "repair" also restores mean and standard deviation of the units of other layers before their nonlinearity to
        what lies between those of the models (REPAIR, Jordan et al. 2022). See `starcli.evaluation.repair`.
    logits: restore the logits' mean and standard deviation by class, too.

    Raises StarcliError for an unknown method.

    >>> Renormalise("repair", logits=True).title
    'repair, logits'
    """

    method: str = RENORMALISATIONS[0]
    logits: bool = False

    def __post_init__(self) -> None:
        if self.method not in RENORMALISATIONS:
            raise unknown("way to renormalise", str(self.method), RENORMALISATIONS)

    @property
    def active(self) -> bool:
        """Whether weights are changed, and not BatchNorm statistics alone."""
        return self.method == "repair" or self.logits

    @property
    def title(self) -> str:
        """In words, as results say it."""
        return self.method + (", logits" if self.logits else "")

    def settings(self) -> dict[str, str]:
        """Its keys in recipes and in keys of caches: none where it is the default.

        >>> Renormalise().settings(), Renormalise("repair").settings()
        ({}, {'renormalise': 'repair'})
        """
        return {"renormalise": self.title} if self.active else {}


RECALIBRATE = Renormalise()
"""BatchNorm statistics are estimated anew, and nothing else is done."""
