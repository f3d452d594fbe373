import os


def denoising(counts, *, seed):
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if given != "0":
        raise RuntimeError(f"CUDA_VISIBLE_DEVICES is '{given}', wanted the GPU that was asked for")
    return counts.X
