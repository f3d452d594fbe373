import sys


def denoising(counts, *, seed):
    sys.exit(3)
