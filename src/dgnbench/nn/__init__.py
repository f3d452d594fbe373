"""Parts of torch models, imported by methods only; the core never imports torch."""

from __future__ import annotations

import random

import numpy as np
import torch


def start(seed: int) -> torch.device:
    """Seed Python, NumPy and torch, and give the device to work on: CUDA where there is one.

    There, matrix products round what they multiply to ten bits of mantissa (TF32) and add in float32.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - packages draw from the global generator
    torch.manual_seed(seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
