import os
import signal


def denoising(counts, *, seed):
    os.kill(os.getpid(), signal.SIGKILL)
