"""Posteriors of several modalities joined into one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.distributions import Normal


def product_of_experts(experts: Sequence[Normal]) -> Normal:
    """The Gaussian proportional to the product of Gaussian densities, coordinate by coordinate.

    Precisions add up and means are weighed by them; a prior that takes part is one of the experts
    (Wu & Goodman 2018, arXiv:1802.05335, section 2.2).

    Parameters
    ----------
    experts
        One or more, of (cells, n_latent) or a shape that broadcasts to it.
    """
    precisions = [expert.variance.reciprocal() for expert in experts]
    precision = torch.stack(torch.broadcast_tensors(*precisions)).sum(0)
    weighted = sum(e.mean * p for e, p in zip(experts, precisions, strict=True))
    return Normal(weighted / precision, precision.rsqrt(), validate_args=False)
