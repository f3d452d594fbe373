import sys


def denoising(counts, *, seed):
    for _ in range(100):
        sys.stdout.write("x" * 1_000_000)
    sys.stderr.write("y" * 1_000_000)
    print("the last words")
    return counts.X
