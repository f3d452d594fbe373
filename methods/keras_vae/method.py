"""The lecture's beta-VAE (P. Papasaikas, 2022; Kingma & Welling 2014; Higgins et al. 2017).

Written from a description of the model; Keras 3 on TensorFlow.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from dgnbench import progress
from dgnbench.transforms import inverse_dispersion, library_size, log1p_cp10k

DROPOUT = 0.2  # after every hidden layer, as in the lecture
WIDTHS = (8, 4, 2)  # hidden units in multiples of the latent size, encoder order
VALIDATION_SHARE = 0.2  # of the cells; the lecture's 80/20 split


def _lecture_rate(epoch):
    """The lecture's learning-rate schedule, made for hundreds of epochs."""
    if epoch <= 80:
        return 2e-5
    if epoch <= 450:
        return min(2e-3, 2e-5 + 1.5e-4 * (epoch - 80) / 20)
    return 1e-4 if epoch <= 600 else 5e-6


def _one_of(name, value, *choices):
    if value not in choices:
        raise ValueError(f"{name}: wanted {' or '.join(choices)}, got {value!r}")


def build(n_genes, n_latent):
    """Encoder (genes -> mean and log-variance) and decoder (latent -> non-negative expression)."""
    x = inputs = keras.Input((n_genes,))
    for width in WIDTHS:
        x = layers.Dropout(DROPOUT)(layers.Dense(width * n_latent, activation="elu")(x))
    encoder = keras.Model(inputs, [layers.Dense(n_latent)(x), layers.Dense(n_latent)(x)])
    z = latent = keras.Input((n_latent,))
    for width in reversed(WIDTHS):
        z = layers.Dropout(DROPOUT)(layers.Dense(width * n_latent, activation="elu")(z))
    decoder = keras.Model(latent, layers.Dense(n_genes, activation="relu")(z))
    return encoder, decoder


def kl_divergence(mean, log_var, sigma0):
    """KL(N(mean, e^log_var) || N(0, sigma0^2)), mean over latent dimensions: shape (cells,)."""
    ratio = log_var - 2 * np.log(sigma0)
    inner = 1 + ratio - mean**2 / sigma0**2 - tf.exp(log_var) / sigma0**2
    return -0.5 * tf.reduce_mean(inner, axis=1)


def _train(x, *, seed, n_latent, beta, sigma0, epochs, batch_size, schedule, learning_rate, patience,
           noise):  # fmt: skip
    _one_of("schedule", schedule, "lecture", "constant")
    _one_of("noise", noise, "per_cell", "shared")
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    encoder, decoder = build(x.shape[1], n_latent)
    optimizer = keras.optimizers.Adam(learning_rate, amsgrad=True)
    weights = encoder.trainable_variables + decoder.trainable_variables
    optimizer.build(weights)
    progress.parameters(sum(int(np.prod(weight.shape)) for weight in weights))

    def losses(batch, training):
        mean, log_var = encoder(batch, training=training)
        if noise == "per_cell":
            epsilon = tf.random.normal(tf.shape(mean))
        else:
            epsilon = sigma0 * tf.random.normal((n_latent,))
        z = mean + tf.exp(log_var / 2) * epsilon if training else mean
        mse = tf.reduce_mean((decoder(z, training=training) - batch) ** 2)
        kl = tf.reduce_mean(kl_divergence(mean, log_var, sigma0))
        return mse + beta * kl, mse, kl

    @tf.function(reduce_retracing=True)
    def step(batch):
        with tf.GradientTape() as tape:
            loss, mse, kl = losses(batch, True)
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss, mse, kl

    @tf.function
    def validate(batch):
        return losses(batch, False)[0]

    order = rng.permutation(len(x))
    n_validation = max(1, int(VALIDATION_SHARE * len(x)))
    held_out, train = tf.constant(x[order[:n_validation]]), x[order[n_validation:]]
    best, best_weights, since = np.inf, None, 0
    for epoch in progress.training(range(epochs)):
        if schedule == "lecture":
            optimizer.learning_rate = _lecture_rate(epoch)
        cells = rng.permutation(len(train))
        parts = [
            step(tf.constant(train[cells[i : i + batch_size]]))
            for i in range(0, len(train), batch_size)
        ]
        loss, mse, kl = np.mean([[float(v) for v in part] for part in parts], axis=0)
        val_loss = float(validate(held_out))
        progress.log(epoch, loss=loss, mse=mse, kl=kl, val_loss=val_loss)
        if val_loss < best:
            best, since = val_loss, 0
            best_weights = [w.numpy() for w in weights]
        else:
            since += 1
            if since >= patience:
                break
    for weight, value in zip(weights, best_weights, strict=True):
        weight.assign(value)
    return encoder, decoder


def _log2(counts):
    return (log1p_cp10k(counts.X) / np.log(2)).toarray().astype(np.float32)


def _decode(decoder, z):
    """Decoded log2 expression (cells x genes)."""
    return decoder.predict(z, verbose=0).astype(np.float64)


def _shares(expression):
    return expression / np.maximum(expression.sum(axis=1, keepdims=True), 1e-12)


def integration(counts, *, seed, batch_shift, latents, **params):
    x = _log2(counts)
    encoder, _ = _train(x, seed=seed, **params)
    with progress.phase("predict"):
        z = encoder.predict(x, verbose=0)[0]
        if batch_shift:
            batch = counts.obs["batch"].to_numpy()
            largest = counts.obs["batch"].value_counts().index[0]
            target = z[batch == largest].mean(axis=0)
            for level in np.unique(batch):
                z[batch == level] += target - z[batch == level].mean(axis=0)
    return z


def denoising(counts, *, seed, batch_shift, latents, **params):
    x = _log2(counts)
    encoder, decoder = _train(x, seed=seed, **params)
    with progress.phase("predict"):
        decoded = _decode(decoder, encoder.predict(x, verbose=0)[0])
    # 2 to the power of an expected logarithm is too little, and the ReLU says zero where a count is
    # merely unlikely. Duan's smearing (10.2307/2288126) averages over what the residuals make of it.
    smearing = np.exp2(x - decoded).mean(axis=0)
    expression = np.maximum(np.exp2(decoded) * smearing - 1, 0)
    return _shares(expression) * library_size(counts.X)[:, None]


def _draw(rng, latents, n, mean, log_var, sigma0):
    """`n` latents, from the prior or from the posteriors (mean, log_var) of the training cells."""
    if latents == "prior":
        return rng.normal(0, sigma0, (n, mean.shape[1]))
    if latents == "posterior":
        cells = rng.integers(len(mean), size=n)
        return rng.normal(mean[cells], np.exp(log_var[cells] / 2))
    # The Gaussian with the moments of all posteriors together: what the prior ought to have been.
    covariance = np.cov(mean.T) + np.diag(np.exp(log_var).mean(axis=0))
    return rng.multivariate_normal(mean.mean(axis=0), covariance, n)


def generation(train, request, *, seed, batch_shift, latents, **params):
    _one_of("latents", latents, "gaussian", "prior", "posterior")
    x = _log2(train)
    encoder, decoder = _train(x, seed=seed, **params)
    rng = np.random.default_rng(seed)
    with progress.phase("predict"):
        z_mean, z_log_var = encoder.predict(x, verbose=0)
        z = _draw(rng, latents, request.n_obs, z_mean, z_log_var, params["sigma0"])
        made = np.exp2(_decode(decoder, z.astype(np.float32))) - 1
        fitted = np.exp2(_decode(decoder, z_mean)) - 1
    # Zeros stay zeros here, for they tell types apart; each gene gets back its mean.
    observed, average = (np.exp2(x.astype(np.float64)) - 1).mean(axis=0), fitted.mean(axis=0)
    gain = np.divide(observed, average, out=np.ones_like(average), where=average > 0)
    # The residuals of the training cells say how much the counts spread around the profile.
    expected = _shares(fitted * gain) * library_size(train.X)[:, None]
    theta = inverse_dispersion(train.X.toarray(), expected)
    mean = _shares(made * gain) * rng.choice(library_size(train.X), request.n_obs)[:, None]
    return rng.poisson(rng.gamma(theta, mean / theta))
