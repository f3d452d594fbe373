import time


def denoising(counts, *, seed):
    held = b"x" * 700_000_000
    time.sleep(2)
    return counts.X[: len(held)]
