import ctypes


def denoising(counts, *, seed):
    ctypes.string_at(0)
