import os


def denoising(counts, *, seed):
    os._exit(4)
