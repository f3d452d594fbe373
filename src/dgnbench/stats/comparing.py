"""Two score tables side by side: one method at two commits, or two methods of one table."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

from dgnbench.contract import CONTROLS
from dgnbench.stats.cube import Policy
from dgnbench.stats.pairs import Tested, judged, measured
from dgnbench.stats.scaling import KEYS, control_range, scaled_by

UNIT = ["task", "dataset", "replicate", "metric"]


def paired_differences(
    before: pd.DataFrame,
    after: pd.DataFrame,
    *,
    methods: tuple[str, str] | None = None,
    primary_only: bool = True,
) -> pd.DataFrame:
    """The scores of both tables, side by side; what the second lacks is missing there.

    Parameters
    ----------
    before, after
        Rows as in ``scores.csv``.
    methods
        The method of the first and of the second table to compare; None: every method that is in
        the first and is no control with itself.
    primary_only
        Compare the primary metric (else every metric).

    Returns
    -------
    Columns task, dataset, replicate, metric, method, before, after (raw), scaled_before,
    scaled_after, difference (scaled, after − before; NaN where one is missing), status_before,
    status_after, controls_moved (by how much of the range the second table's controls lie
    elsewhere). Both are scaled between the controls of the first table (of the second on datasets
    where the first has none).

    Raises
    ------
    ValueError
        The tables share no dataset, replicate and metric of these methods.
    """
    ranges, later = control_range(before), control_range(after)
    ranges = pd.concat([ranges, later[~later.index.isin(ranges.index)]])
    sides = []
    for table, own, name in ((before, 0, "before"), (after, 1, "after")):
        rows = table[table["status"] != "not_applicable"]
        rows = rows[rows["primary"].astype(bool)] if primary_only else rows
        rows = (rows[~rows["role"].isin(CONTROLS)] if methods is None
                else rows[rows["method"] == methods[own]])  # fmt: skip
        rows = rows.assign(scaled=scaled_by(rows, ranges))
        if methods is not None:
            rows = rows.assign(method=" → ".join(dict.fromkeys(methods)))
        kept = rows[[*UNIT, "method", "value", "scaled", "status"]]
        sides.append(kept.rename(columns={"value": name, "scaled": f"scaled_{name}",
                                          "status": f"status_{name}"}))  # fmt: skip
    # What the second table no longer has is missing there. Two methods may do different tasks.
    how: Literal["left", "inner"] = "left" if methods is None else "inner"
    made = sides[0].merge(sides[1], on=[*UNIT, "method"], how=how)
    made["status_after"] = made["status_after"].fillna("absent")
    if (made["status_after"] == "absent").all():
        what = "any method" if methods is None else " and ".join(methods)
        raise ValueError(
            f"the two tables share no dataset, replicate and metric of {what}; compare tables of "
            "one benchmark, or name a method of each"
        )
    useful = ranges.index[ranges["separated"]]
    made = made[pd.MultiIndex.from_frame(made[KEYS]).isin(useful)].reset_index(drop=True)
    if made.empty:
        raise ValueError("no shared dataset has controls that separate: nothing can be scaled")
    made["difference"] = made["scaled_after"] - made["scaled_before"]
    joined = made[KEYS].merge(ranges, how="left", left_on=KEYS, right_index=True)
    other = made[KEYS].merge(later, how="left", left_on=KEYS, right_index=True)
    moved = pd.concat([(other["lo"] - joined["lo"]).abs(), (other["hi"] - joined["hi"]).abs()],
                      axis=1).max(axis=1)  # fmt: skip
    made["controls_moved"] = (moved / (joined["hi"] - joined["lo"]).abs()).fillna(0.0).to_numpy()
    return made


def compare(
    before: pd.DataFrame,
    after: pd.DataFrame,
    *,
    methods: tuple[str, str] | None = None,
    policy: Policy = "floor",
    tolerance: float = 0.0,
    primary_only: bool = True,
) -> pd.DataFrame:
    """Whether the second table's scores are better than the first's.

    Parameters
    ----------
    before, after, methods, primary_only
        As for `paired_differences`. Two methods of one table: ``compare(t, t, methods=(a, b))``.
    policy
        A score that one side lacks counts 0 (``floor``) or the pair does not count (``skip``).
    tolerance
        Differences within ± tolerance, in scaled units, count as none.

    Returns
    -------
    A row a task, method and metric, Holm-corrected over all rows: task, method, metric, unit, n,
    difference (after − before), lo, hi, effect, won, p, least_p, p_holm, verdict, reason,
    within_tolerance (whether the whole interval lies within ± tolerance), identical (whether all
    differences are exactly 0), missing_before, missing_after (scores), controls_moved (largest).
    """
    pairs = paired_differences(before, after, methods=methods, primary_only=primary_only)
    if policy == "floor":
        one = pairs["scaled_before"].notna() | pairs["scaled_after"].notna()
        filled = pairs["scaled_after"].fillna(0.0) - pairs["scaled_before"].fillna(0.0)
        pairs["difference"] = filled.where(one)
    rows: list[dict[str, Any]] = []
    arrays = []
    shape = (pairs["dataset"].nunique(), pairs["replicate"].nunique())
    place = (pairs["dataset"].astype("category").cat.codes.to_numpy(),
             pairs["replicate"].astype("category").cat.codes.to_numpy())  # fmt: skip
    kinds = pairs.groupby(["task", "method", "metric"]).ngroup().to_numpy()
    for kind in range(int(kinds.max()) + 1):
        positions = np.flatnonzero(kinds == kind)
        own = pairs.iloc[positions]
        differences = np.full(shape, np.nan)
        differences[place[0][positions], place[1][positions]] = own["difference"]
        arrays.append(differences)
        rows.append(
            {
                **{name: own[name].iloc[0] for name in ("task", "method", "metric")},
                "identical": bool((own["difference"].dropna() == 0).all()),
                "missing_before": int(own["scaled_before"].isna().sum()),
                "missing_after": int(own["scaled_after"].isna().sum()),
                "controls_moved": float(own["controls_moved"].max()),
            }
        )
    facts = pd.DataFrame(rows)
    tables, tests = zip(*(measured(a[None], tolerance=tolerance) for a in arrays), strict=True)
    table = judged(pd.concat(tables, ignore_index=True), _family(tests))
    same = facts["identical"] & (table["n"] > 0)
    table.loc[same, ["verdict", "reason"]] = ["no difference shown", "all scores are identical"]
    table["within_tolerance"] = (table["lo"] >= -tolerance) & (table["hi"] <= tolerance)
    return pd.concat([facts.iloc[:, :3], table, facts.iloc[:, 3:]], axis=1)


def _family(tests: tuple[Tested, ...]) -> Tested:
    """Several tests as one family."""
    return Tested(*(np.concatenate([getattr(one, name) for one in tests])
                    for name in ("up", "down", "least", "n")))  # fmt: skip
