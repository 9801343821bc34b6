"""Temperature scaling: one number that makes confidence say how often a prediction is right.

    p_c = exp(z_c / T) / sum_k exp(z_k / T),    T > 0, the same for all examples.    Guo et al. 2017, section 4.2.

T leaves every prediction as it is and changes its confidence alone: above 1 it takes confidence away.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.runtime.memory import row_slices

Temperature = float | Literal["fit"]
"""A temperature, or that it is to be fitted on the validation split."""

VALIDATION = "validation"
"""The split that temperatures are fitted on, and all else is chosen on."""

NOT_FITTED = "no temperature has the least validation loss: without an error, or worse than a guess, there is none"
"""What is said where `fit_temperature` finds none."""


def check_temperature(temperature: Temperature | None) -> None:
    """Raise StarcliError for what is neither a positive finite number nor "fit"; None, for no scaling, is fine."""
    number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    if temperature in (None, "fit") or (number and 0 < float(temperature) < math.inf):
        return
    raise StarcliError(f"the temperature is {temperature!s:.80}, expected a number above 0, or fit")


def scaled(log_probabilities: Tensor, temperature: float) -> Tensor:
    """Log-probabilities (N, classes) at another temperature: log softmax(log p / T). Logits will do too.

    >>> scaled(torch.tensor([[0.8, 0.2]]).log(), 2.0).exp()
    tensor([[0.6667, 0.3333]])
    """
    return torch.log_softmax(log_probabilities / temperature, dim=1)


def fit_temperature(log_probabilities: Tensor, labels: Tensor) -> float | None:
    """The temperature at which predictions (N, classes), float64, have the least loss for labels (N,) int64.

    The mean of logsumexp(b z) - b z_y is convex in b = 1 / T; its slope, the mean of E_b[z] - z_y, is brought to 0
    (Brent 1973). None where no T > 0 has the least loss: without a single error it falls for ever as T goes to 0, and
    where a guess does better than the predictions, as T grows.

    >>> logits = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]).double()
    >>> T = fit_temperature(logits, torch.tensor([0, 0, 1]))    # confidence becomes the accuracy
    >>> scaled(logits, T).exp()[0, 0]
    tensor(0.6667, dtype=torch.float64)
    """
    from scipy.optimize import brentq

    logits = log_probabilities.double()
    true = logits.gather(1, labels[:, None]).mean()

    def slope(b: float) -> float:
        parts = (logits[some] for some in row_slices(logits))
        return float(torch.cat([(torch.softmax(b * part, dim=1) * part).sum(dim=1) for part in parts]).mean() - true)

    limit = float(logits.amax(dim=1).mean() - true)  # the slope for b to infinity
    if not (slope(0.0) < 0 < limit):  # also where a value is not finite
        return None
    high = 1.0
    while slope(high) < 0:
        high *= 2
    return 1 / float(brentq(slope, 0.0, high, xtol=1e-14, rtol=1e-14))
