"""Floor: nothing is corrected, the very components against which PCR comparison measures."""

from dgnbench.transforms import log1p_cp10k, principal_components


def integration(counts, *, seed, n_latent):
    x = log1p_cp10k(counts.X)
    return principal_components(x, n_latent, seed).transform(x)


def joint_embedding(source, target, *, seed, n_latent):
    return integration(source, seed=seed, n_latent=n_latent)


mosaic_embedding = joint_embedding
