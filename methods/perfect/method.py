"""Ceiling: the hidden values themselves."""


def denoising(counts, *, seed, solution):
    truth = solution["truth"]
    return truth.X * (truth.uns["train_sum"] / truth.uns["test_sum"])


def modality_prediction(train_source, train_target, test_source, *, seed, solution):
    return solution["truth"].X
