# What every stage needs: the plan, and where things lie. Paths are identities.
import json
import os
import sys
from functools import cache
from math import ceil
from pathlib import Path

from dgnbench.cards import component_files
from dgnbench.contract import DgnbenchError
from dgnbench.plan import Run, make_plan
from dgnbench.workflow import check_files, hold_lock, keep_config, set_environment

set_environment(Path(workflow.basedir))
component_files = cache(component_files)  # thousands of runs share some dozens

try:
    PLAN = make_plan(config, "config")
except DgnbenchError as error:
    print(f"dgnbench: {error}", file=sys.stderr)
    os._exit(2)  # before Snakemake wraps the message into a traceback

code_of_metrics = cache(PLAN.code_of_metrics)

RESULTS = f"results/{PLAN.benchmark}"
LOGS = f"logs/{PLAN.benchmark}"
GROUP = f"{RESULTS}/{{task}}/{{dataset}}/r{{replicate}}"
GROUP_LOGS = f"{LOGS}/{{task}}/{{dataset}}/r{{replicate}}"
SCORES = [
    f"{RESULTS}/{task}/{dataset}/r{replicate}/scores.csv"
    for task, dataset, replicate in PLAN.groups
]
RECORDS = [
    f"{RESULTS}/{run.task}/{run.dataset}/r{run.replicate}/{run.method}/run.json"
    for run in PLAN.runs
]
COMPONENTS = [
    word for path in PLAN.component_paths for word in ("--component-path", str(path))
]


wildcard_constraints:
    task=r"[a-z][a-z0-9_]*",
    dataset=r"[a-z][a-z0-9_]*(@[^/]+)?",
    replicate=r"\d+",
    method=r"[a-z][a-z0-9_]*(@[^/]+)?",


hold_lock(Path(".snakemake"), workflow)
KEPT_CONFIG = f".snakemake/dgnbench/{PLAN.benchmark}.json"
CONFIG_SHA256 = keep_config(config, Path(KEPT_CONFIG), workflow)
check_files(PLAN, workflow)
