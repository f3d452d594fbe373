"""DeepImpute (Arisdakessian et al. 2019), by the authors' package, which needs Keras 2."""

import os

import keras
import pandas as pd
from deepimpute import multinet

from dgnbench import Declined, progress

# The package says Adam(lr=…), which the newer optimizers of Keras 2 accept and ignore.
multinet.keras.optimizers.Adam = keras.optimizers.legacy.Adam


def denoising(counts, *, seed, policy, ntop, min_vmr, **params):
    table = pd.DataFrame(counts.X.toarray().astype(float), counts.obs_names, counts.var_names)
    if table.to_numpy().max() < 10:
        raise Declined("no count of 10 or more: the package takes such data for log-transformed")
    variable, block = int((table.var() > 0).sum()), params["sub_outputdim"]
    if variable <= block:
        raise Declined(f"{variable} variable genes fit into one block of {block}: no predictors")
    keras.utils.set_random_seed(seed)  # the package leaves initial weights to Python's own
    cores = int(os.environ.get("OMP_NUM_THREADS", 1))  # the package's default are all
    net = multinet.MultiNet(seed=seed, ncores=cores, output_prefix="model", verbose=0, **params)
    net.fit(table, ntop=ntop, minVMR=min_vmr)
    with progress.phase("predict"):
        return net.predict(table, policy=policy)
