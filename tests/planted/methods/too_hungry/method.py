import time


def denoising(counts, *, seed):
    held = [bytearray(200_000_000) for _ in range(20)]
    for block in held:
        block[::4096] = b"x" * len(block[::4096])
    time.sleep(60)
