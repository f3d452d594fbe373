"""What the scores say, and how surely. No plotting, no files; ``docs/statistics.md`` explains."""

from dgnbench.stats.bootstrap import dataset_intervals, intervals
from dgnbench.stats.comparing import compare, paired_differences
from dgnbench.stats.cube import Policy
from dgnbench.stats.friedman import CriticalDifference, critical_differences
from dgnbench.stats.noise import metric_correlations, replicate_noise, split_half
from dgnbench.stats.pairs import Verdict, against_baselines, all_pairs
from dgnbench.stats.ranking import aggregate, both_policies
from dgnbench.stats.scaling import KEYS, control_range, left_out, not_separated, scaled
from dgnbench.stats.standing import standings
from dgnbench.stats.sweeps import response_curves, tuning_gain
from dgnbench.stats.variance import variance_split

__all__ = [
    "KEYS",
    "CriticalDifference",
    "Policy",
    "Verdict",
    "against_baselines",
    "aggregate",
    "all_pairs",
    "both_policies",
    "compare",
    "control_range",
    "critical_differences",
    "dataset_intervals",
    "intervals",
    "left_out",
    "metric_correlations",
    "not_separated",
    "paired_differences",
    "replicate_noise",
    "response_curves",
    "scaled",
    "split_half",
    "standings",
    "tuning_gain",
    "variance_split",
]
