def denoising(counts, *, seed):
    raise RuntimeError("No CUDA GPUs are available")
