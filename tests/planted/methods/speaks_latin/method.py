import os


def denoising(counts, *, seed):
    os.write(2, b"Zo\xeb \xff\xfe \x00\x1b[31m red\n")
    raise ValueError("no such file: Zo\udceb \x00")
