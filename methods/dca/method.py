"""DCA, the deep count autoencoder (Eraslan et al. 2019), written from the paper; Keras 3 on TensorFlow."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from dgnbench import progress
from dgnbench.transforms import library_size

EPSILON = 1e-10  # inside logarithms (dca)
VALIDATION_SHARE = 0.1  # the last rows; the cells come shuffled


class History(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        progress.log(epoch, loss=logs["loss"], val_loss=logs["val_loss"])
        self.model.stop_training |= progress.time_is_up()


def nb_nll(x, mean, theta):
    """Negative log-likelihood of NB(mean, inverse dispersion theta), entry by entry."""
    log_sum = ops.log(theta + mean + EPSILON)
    return (
        tf.math.lgamma(theta)
        + tf.math.lgamma(x + 1)
        - tf.math.lgamma(x + theta)
        - theta * (ops.log(theta + EPSILON) - log_sum)
        - x * (ops.log(mean + EPSILON) - log_sum)
    )


def zinb_nll(x, mean, theta, dropout):
    """Negative log-likelihood of the zero-inflated NB; `dropout` is a probability."""
    nb_zero = ops.power(theta / (theta + mean + EPSILON), theta)
    zero = -ops.log(dropout + (1 - dropout) * nb_zero + EPSILON)
    return ops.where(x < 0.5, zero, nb_nll(x, mean, theta) - ops.log(1 - dropout + EPSILON))


def build(n_genes, hidden, likelihood):
    """Inputs (z-scores, size factors); output mean, theta and dropout side by side; and the encoder."""
    inputs, factor = keras.Input((n_genes,)), keras.Input((1,))
    x = inputs
    for i, width in enumerate(hidden):
        x = layers.Dense(width, name="latent" if i == len(hidden) // 2 else None)(x)
        x = layers.Activation("relu")(layers.BatchNormalization(scale=False)(x))

    def head(activation):
        return layers.Dense(n_genes, activation=activation)(x)

    mean = head(lambda v: ops.clip(ops.exp(v), 1e-5, 1e6)) * factor
    theta = head(lambda v: ops.clip(ops.softplus(v), 1e-4, 1e4))
    heads = [mean, theta, *([head("sigmoid")] if likelihood == "zinb" else [])]
    model = keras.Model([inputs, factor], layers.Concatenate()(heads))
    return model, keras.Model(inputs, model.get_layer("latent").output)


def _train(counts, *, seed, likelihood, hidden, ridge, epochs, batch_size, learning_rate, patience,
           reduce_patience):  # fmt: skip
    if likelihood not in ("nb", "zinb"):
        raise ValueError(f"likelihood: wanted nb or zinb, got {likelihood!r}")
    keras.utils.set_random_seed(seed)
    raw = counts.X.toarray().astype(np.float32)
    library = library_size(counts.X)
    factor = (library / np.median(library)).astype(np.float32)[:, None]
    x = np.log1p(raw / factor)
    spread = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1)
    model, encoder = build(raw.shape[1], hidden, likelihood)

    def loss(target, heads):
        if likelihood == "nb":
            return ops.mean(nb_nll(target, *ops.split(heads, 2, axis=1)))
        mean, theta, dropout = ops.split(heads, 3, axis=1)
        return ops.mean(zinb_nll(target, mean, theta, dropout) + ridge * dropout**2)

    progress.parameters(model.count_params())
    model.compile(keras.optimizers.RMSprop(learning_rate, clipvalue=5.0), loss)
    model.fit(
        [x, factor],
        raw,
        epochs=epochs,
        batch_size=batch_size,
        validation_split=VALIDATION_SHARE,
        callbacks=[
            History(),
            keras.callbacks.ReduceLROnPlateau(patience=reduce_patience),
            keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=True),
        ],
        verbose=0,
    )
    return model, encoder, x, factor


def denoising(counts, *, seed, likelihood, **params):
    model, _, x, factor = _train(counts, seed=seed, likelihood=likelihood, **params)
    with progress.phase("predict"):
        heads = model.predict([x, factor], verbose=0)
        if likelihood == "nb":
            return heads[:, : counts.n_vars]
        mean, _, dropout = np.split(heads, 3, axis=1)
        return (1 - dropout) * mean


def integration(counts, *, seed, **params):
    _, encoder, x, _ = _train(counts, seed=seed, **params)
    with progress.phase("predict"):
        return encoder.predict(x, verbose=0)
