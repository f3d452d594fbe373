"""Parts of torch models, imported by methods only; the core never imports torch."""

from __future__ import annotations

import random

import numpy as np
import torch


def start(seed: int) -> torch.device:
    """Seed Python, NumPy and torch, and give the device to work on: CUDA where there is one."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - packages draw from the global generator
    torch.manual_seed(seed)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
