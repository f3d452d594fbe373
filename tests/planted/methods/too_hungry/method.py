import time


def denoising(counts, *, seed):
    held = []
    for _ in range(60):
        held.append(b"x" * 100_000_000)
        time.sleep(0.05)
