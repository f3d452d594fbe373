"""A whole ``results/<benchmark>`` of made-up scores, as `dgnbench collect` writes it, without outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from dgnbench.collecting import RUN_COLUMNS, SCORE_COLUMNS
from dgnbench.plan import variant_of
from tests.made_up_results import made_up


def write_benchmark(
    folder: Path,
    means: Mapping[str, Mapping[str, float]],
    *,
    labels: Mapping[str, str] | None = None,
    metrics: int = 1,
    smoke: bool = False,
    budget: Mapping[str, float] | None = None,
    missing: Mapping[str, float] | float = 0.0,
    **how,
) -> pd.DataFrame:
    """Write runs.csv, scores.csv and manifest.json; tasks → methods → true mean. Returns the scores.

    Parameters
    ----------
    labels
        What people call a method, where it is not its id.
    metrics
        How many metrics a task has; the first is primary, the others follow it with noise.
    missing
        The share of runs that failed, of every task or by task.
    how
        Goes to `made_up`, for every task.
    """
    tables = []
    rng = np.random.default_rng(0)
    for i, (task, own) in enumerate(means.items()):
        share = missing.get(task, 0.0) if isinstance(missing, Mapping) else missing
        first = made_up(own, task=task, metric="m0", seed=i, missing=share, **how)
        tables.append(first)
        for k in range(1, metrics):
            other = first.assign(metric=f"m{k}", primary=False)
            noise = rng.normal(0, 0.2 * k, len(other)) * ~other["role"].isin(["floor", "ceiling"])
            other["scaled"] += noise
            other["value"] += 20 * noise
            tables.append(other)
    scores = pd.concat(tables, ignore_index=True)
    folder.mkdir(parents=True, exist_ok=True)
    scores[list(SCORE_COLUMNS)].to_csv(folder / "scores.csv", index=False)
    primary = scores[scores["primary"]]
    seconds = {m: 10 ** rng.uniform(-1, 3) for m in primary["method"].unique()}
    runs = pd.DataFrame(
        {
            **dict.fromkeys(RUN_COLUMNS, ""),
            **{name: primary[name] for name in ("task", "dataset", "replicate", "method", "role",
                                                "status", "uses_labels")},
            "reason": np.where(primary["status"] == "ok", "", "ValueError: made up (method.py line 7)"),
            "stderr_tail": np.where(primary["status"] == "ok", "", "Traceback\n  <made up> & so on"),
            "seconds_fit": primary["method"].map(seconds),
            "seconds_predict": 0.1, "seconds_import": 1.0, "seconds_total": 2.0,
            "peak_rss_mb": primary["method"].map(seconds) * 3 + 300, "peak_gpu_mb": 0.0,
            "parameters": 10_000, "budget_used": 0.5 if budget else "", "params": "{}", "seed": 0,
        }
    )  # fmt: skip
    runs[list(RUN_COLUMNS)].to_csv(folder / "runs.csv", index=False)
    methods = list(dict.fromkeys(scores["method"]))
    first = scores.drop_duplicates("method").set_index("method")
    manifest = {
        "benchmark": folder.name, "created": "2026-01-01T00:00:00Z", "dgnbench": "0",
        "git_commit": "0" * 40, "python": "3.11", "versions": {"numpy": "2"}, "checksums": {},
        "machine": {"cpu": "a CPU", "cores": 2, "memory_gb": 24, "gpu": "none", "platform": "Linux"},
        "seeds": sorted(int(r) for r in scores["replicate"].unique()),
        "config": {"smoke": smoke, "budget": dict(budget or {}),
                   "resolved": {m: {"params": {"beta": 1, **variant_of(m)}} for m in methods}},
        "cards": {
            "tasks": {t: {"label": f"Task {t}", "summary": "A question.", "primary": "m0"}
                      for t in means},
            "methods": {
                m: {"label": (labels or {}).get(m, m), "role": first.loc[m, "role"],
                    "uses_labels": bool(first.loc[m, "uses_labels"]), "summary": "It is made up.",
                    "tasks": list(means), "reference": "10.1000/made.up", "notes": ""}
                for m in methods
            },
            "datasets": {
                d: {"label": f"Dataset {d}", "kind": "simulated", "summary": "Made up.", "has": ["rna"],
                    "source": "none", "licence": "MIT", "reference": "none: made up", "params": {},
                    "notes": ""}
                for d in dict.fromkeys(scores["dataset"])
            },
            "metrics": {
                f"family_{t}": {
                    "tasks": [t],
                    "metrics": {
                        f"m{k}": {"label": f"Metric {k}", "summary": "A number.", "direction": "max",
                                  "reference": "none: made up"}
                        for k in range(metrics)
                    },
                }
                for t in means
            },
        },
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return scores
