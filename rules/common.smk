# What every stage needs: the plan, and where things lie. Paths are identities.
import json
import os
import sys
from math import ceil
from pathlib import Path

os.environ.setdefault("DGNBENCH_ROOT", str(workflow.basedir))
os.environ["DGNBENCH_WORKFLOW_PID"] = str(os.getpid())

from dgnbench.cards import component_files
from dgnbench.contract import DgnbenchError
from dgnbench.plan import Run, make_plan
from dgnbench.workflow import hold_lock

try:
    PLAN = make_plan(config, "config")
except DgnbenchError as error:
    print(f"dgnbench: {error}", file=sys.stderr)
    os._exit(2)  # before Snakemake wraps the message into a traceback

RESULTS = f"results/{PLAN.benchmark}"
LOGS = f"logs/{PLAN.benchmark}"
GROUP = f"{RESULTS}/{{task}}/{{dataset}}/r{{replicate}}"
GROUP_LOGS = f"{LOGS}/{{task}}/{{dataset}}/r{{replicate}}"
# The interpreter of this very environment, so that a job can be pasted into any terminal.
DGNBENCH = f"{sys.executable} -m dgnbench"
COMPONENTS = " ".join(f"--component-path {path}" for path in PLAN.component_paths)


wildcard_constraints:
    task=r"[a-z][a-z0-9_]*",
    dataset=r"[a-z][a-z0-9_]*(@[^/]+)?",
    replicate=r"\d+",
    method=r"[a-z][a-z0-9_]*(@[^/]+)?",


hold_lock(Path(".snakemake"), workflow)
