"""Wasserstein GAN with gradient penalty (Gulrajani et al. 2017)."""

from dgnbench import nn
from dgnbench.nn import adversarial


def generation(train, request, *, seed, penalty, **params):
    def critic_loss(critic, real, fake):
        distance = critic(fake).mean() - critic(real).mean()
        return distance + penalty * adversarial.gradient_penalty(critic, real, fake)

    generator = adversarial.train(
        train.X,
        device=nn.start(seed),
        critic_loss=critic_loss,
        generator_loss=lambda judged: -judged.mean(),
        **params,
    )
    return adversarial.make_counts(generator, request.n_obs)
