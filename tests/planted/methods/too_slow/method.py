import subprocess
import sys
import time


def denoising(counts, *, seed):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)  # dgnbench-stray"])
    time.sleep(600)
