"""Log-likelihoods of counts, entry by entry, in the mean and inverse-dispersion form.

With inverse dispersion theta the variance is ``mean + mean² / theta``.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8  # inside logarithms, as in scvi-tools


def log_nb(x: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
    """Log-probability of counts `x` under the negative binomial; shapes broadcast."""
    log_sum = torch.log(theta + mean + EPSILON)
    return (
        torch.lgamma(x + theta)
        - torch.lgamma(theta)
        - torch.lgamma(x + 1)
        + theta * (torch.log(theta + EPSILON) - log_sum)
        + x * (torch.log(mean + EPSILON) - log_sum)
    )
