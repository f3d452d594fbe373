"""Made-up score tables whose truth is known: means, dataset effects, noise, missing runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

FLOOR, CEILING = 10.0, 30.0  # raw values of the controls: scaled = (raw − 10) / 20


def made_up(
    means: Mapping[str, float],
    *,
    datasets: int = 12,
    replicates: int = 3,
    dataset_sd: float = 0.1,
    interaction_sd: float = 0.05,
    split_sd: float = 0.02,
    noise_sd: float = 0.02,
    initialisations: int = 1,
    method_split_sd: float = 0.0,
    missing: float = 0.0,
    baselines: tuple[str, ...] = (),
    label_users: tuple[str, ...] = (),
    task: str = "t",
    metric: str = "m",
    seed: int = 0,
) -> pd.DataFrame:
    """A ``scores.csv``: methods with known true means among a floor and a ceiling.

    Parameters
    ----------
    means
        True scaled mean of every method over all datasets there could be.
    dataset_sd, interaction_sd, split_sd, noise_sd
        Standard deviations, scaled, of what all methods share on a dataset, of what a method has
        on a dataset, of what all methods share in a replicate, and of a single run.
    initialisations, method_split_sd
        Runs on each split (a column `initialisation` where more than one), and what a split does
        to one method.
    missing
        The share of runs that failed.
    baselines, label_users
        The methods of role baseline, and those that use labels.
    """
    rng = np.random.default_rng(seed)
    names = list(means)
    shape = (len(names), datasets, replicates, initialisations)
    value = np.array([means[name] for name in names])[:, None, None, None] + (
        dataset_sd * rng.standard_normal((1, datasets, 1, 1))
        + interaction_sd * rng.standard_normal((len(names), datasets, 1, 1))
        + split_sd * rng.standard_normal((1, datasets, replicates, 1))
        + method_split_sd * rng.standard_normal((*shape[:3], 1))
        + noise_sd * rng.standard_normal(shape)
    )
    value[rng.random(shape) < missing] = np.nan
    controls = np.broadcast_to(
        np.array([0.0, 1.0])[:, None, None, None], (2, datasets, replicates, initialisations)
    )
    everything = np.concatenate([value, controls])
    m, d, r, i = (axis.ravel() for axis in np.indices(everything.shape))
    all_names = np.array([*names, "floor", "ceiling"])
    roles = np.array(["baseline" if n in baselines else "method" for n in names]
                     + ["floor", "ceiling"])  # fmt: skip
    labels = np.array([n in label_users for n in names] + [False, False])
    flat = everything.ravel()
    table = pd.DataFrame(
        {
            "task": task,
            "dataset": np.array([f"d{j:02}" for j in range(datasets)])[d],
            "replicate": r,
            "method": all_names[m],
            "role": roles[m],
            "metric": metric,
            "group": "g",
            "value": FLOOR + (CEILING - FLOOR) * flat,
            "scaled": flat,
            "status": np.where(np.isnan(flat), "failed", "ok"),
            "reason": np.where(np.isnan(flat), "made up", ""),
            "direction": "max",
            "primary": True,
            "uses_labels": labels[m],
            "seconds": 1.0,
            "note": "",
        }
    )
    if initialisations > 1:
        table["initialisation"] = i
    return table
