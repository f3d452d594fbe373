"""The vanilla GAN (Goodfellow et al. 2014) with the non-saturating generator loss."""

from torch.nn.functional import softplus

from dgnbench import nn
from dgnbench.nn import adversarial


def critic_loss(critic, real, fake):
    """Cross-entropy of telling real from fake, by logits."""
    return softplus(-critic(real)).mean() + softplus(critic(fake)).mean()


def generator_loss(judged):
    """-log D(G(z)): strong gradients where the critic is sure (Goodfellow 2014, section 3)."""
    return softplus(-judged).mean()


def generation(train, request, *, seed, **params):
    generator = adversarial.train(
        train.X,
        device=nn.start(seed),
        critic_loss=critic_loss,
        generator_loss=generator_loss,
        critic_steps=1,
        **params,
    )
    return adversarial.make_counts(generator, request.n_obs)
