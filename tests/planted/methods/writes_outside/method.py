import json
import subprocess
from pathlib import Path


def denoising(counts, *, seed, how):
    problem = Path(json.loads(Path("request.json").read_text())["problem"])
    if how == "python":
        (problem.parent / "notes.txt").write_text("mine")
    else:  # another program, which Python does not see
        subprocess.run(["sh", "-c", f"printf x >> {problem}/counts.h5ad"], check=True)
    return counts.X
