def denoising(counts, *, seed):
    raise MemoryError("cannot allocate")
