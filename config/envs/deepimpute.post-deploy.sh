#!/bin/sh
# Run by Snakemake in the conda environment that it has made of deepimpute.yaml.
set -e
python -m pip install --no-deps deepimpute==1.2
