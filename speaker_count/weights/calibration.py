"""Probabilities that mean what they say: a temperature, fitted on clips that the net was not trained on."""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

LARGEST = 20.0  # and 1 / LARGEST is the smallest: a net that is always right needs none


def cross_entropy(logits: np.ndarray, target: np.ndarray, temperature: float = 1.0) -> float:
    """The mean cross-entropy of classes.

    Args:
        logits: `(clips, classes)`, to be divided by the temperature.
        target: `(clips,)`, the true classes.
    """
    scaled = logits.astype(np.float64) / temperature
    return float((logsumexp(scaled, axis=1) - scaled[np.arange(len(target)), target]).mean())


def fit_temperature(logits: np.ndarray, target: np.ndarray) -> float:
    """The temperature that minimises the cross-entropy of logits divided by it (Guo et al. 2017, arXiv 1706.04599).

    Args:
        logits: `(clips, classes)`.
        target: `(clips,)`, the true classes.
    """
    most = math.log(LARGEST)
    found = minimize_scalar(
        lambda log: cross_entropy(logits, target, math.exp(log)), bounds=(-most, most), method="bounded"
    )
    return round(math.exp(found.x), 4)
