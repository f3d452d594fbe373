"""One run, supervised: the method works in a child process, the parent watches and records."""

from dgnbench.runner.supervise import fit, limits_of

__all__ = ["fit", "limits_of"]
