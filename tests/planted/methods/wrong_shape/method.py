def denoising(counts, *, seed):
    return counts.X[:, :-1]
