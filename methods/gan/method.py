"""The GAN (Goodfellow et al. 2014) with the non-saturating generator loss, made to converge by R1.

Without a penalty the two networks circle around each other and more steps do not help; that of
Mescheder et al. 2018 makes them settle, and `r1=0` takes it away.
"""

from torch.nn.functional import softplus

from dgnbench import nn
from dgnbench.nn import adversarial


def generator_loss(judged):
    """-log D(G(z)): strong gradients where the critic is sure (Goodfellow 2014, section 3)."""
    return softplus(-judged).mean()


def generation(train, request, *, seed, r1, **params):
    def critic_loss(critic, real, fake):
        """Cross-entropy of telling real from fake, by logits, and the penalty."""
        told = softplus(-critic(real)).mean() + softplus(critic(fake)).mean()
        return told + r1 / 2 * adversarial.squared_gradient(critic, real) if r1 else told

    generator = adversarial.train(
        train.X,
        device=nn.start(seed),
        critic_loss=critic_loss,
        generator_loss=generator_loss,
        critic_steps=1,
        **params,
    )
    return adversarial.make_counts(generator, request.n_obs)
