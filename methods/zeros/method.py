"""Floor: zero everywhere."""

import numpy as np


def denoising(counts, *, seed):
    return np.zeros(counts.shape)


def modality_prediction(train_source, train_target, test_source, *, seed):
    return np.zeros((test_source.n_obs, train_target.n_vars))


rna_prediction = modality_prediction
