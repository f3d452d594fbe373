"""``python -m dgnbench``."""

from dgnbench.cli import main

main()
