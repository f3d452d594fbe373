"""Log-likelihoods of counts, entry by entry, in the mean and inverse-dispersion form.

With inverse dispersion theta the variance is ``mean + mean² / theta``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

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


def log_zinb(x: Tensor, mean: Tensor, theta: Tensor, logit: Tensor) -> Tensor:
    """The same with extra zeros; `logit` is the logit of their probability (scvi-tools)."""
    log_nb_zero = theta * (torch.log(theta + EPSILON) - torch.log(theta + mean + EPSILON))
    zero = softplus(log_nb_zero - logit) - softplus(-logit)
    return torch.where(x < 0.5, zero, log_nb(x, mean, theta) - softplus(-logit) - logit)
