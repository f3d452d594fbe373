import os
import time
from pathlib import Path


def denoising(counts, *, seed, who):
    while not Path(os.environ["TEST_GO"]).exists():
        time.sleep(0.1)
    return counts.X
