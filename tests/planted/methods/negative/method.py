import numpy as np


def denoising(counts, *, seed):
    return np.full(counts.shape, -1.0)
