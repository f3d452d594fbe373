def denoising(counts, *, seed):
    raise ValueError("the matrix <b>is</b> singular")
