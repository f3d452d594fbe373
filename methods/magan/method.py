"""MAGAN (Amodio & Krishnaswamy 2018), our own on `dgnbench.nn`."""

import torch
from net import Discriminators, Generators

from dgnbench import nn, progress
from dgnbench.matching import largest
from dgnbench.modalities import canonical_log_odds, centred, components
from dgnbench.nn.training import minimise, train

VALIDATION_SHARE = 0.1  # of the pairs


def _train(
    source, target, n_pairs, *, generator_hidden, discriminator_hidden, fool, cycle, correspondence,
    r1, epochs, batch_size, learning_rate, patience,
):  # fmt: skip
    """Generators between two domains (cells, features) of which the first `n_pairs` cells are pairs."""
    device = source.device
    n_features = source.shape[1], target.shape[1]
    generators = Generators(*n_features, generator_hidden).to(device)
    discriminators = Discriminators(*n_features, discriminator_hidden).to(device)
    both = [generators, discriminators]
    progress.parameters(sum(p.numel() for network in both for p in network.parameters()))
    optimisers = [
        torch.optim.Adam(network.parameters(), learning_rate, betas=(0.5, 0.99)) for network in both
    ]

    def some(domain, n):
        return domain[torch.randint(len(domain), (n,), device=device)]

    def step(rows, epoch):
        cells = some(source, len(rows)), some(target, len(rows))  # of the whole domains, no pairs
        fooled, back, mapped = generators.losses(*cells, discriminators)
        apart = generators.correspondence(source[rows], target[rows])
        minimise(optimisers[0], (fool * fooled + cycle * back + correspondence * apart) / 6)
        told, slope = discriminators.losses(*cells, *(m.detach() for m in mapped))
        minimise(optimisers[1], told + r1 / 2 * slope)
        return {"loss": apart, "cycle": back, "fooled": fooled, "critic_loss": told}

    order = torch.randperm(n_pairs, device=device)
    held_out, learnt_from = order.tensor_split([max(1, int(VALIDATION_SHARE * n_pairs))])
    train(
        both, optimisers, step, learnt_from, epochs=epochs, batch_size=batch_size, patience=patience,
        validate=lambda: generators.correspondence(source[held_out], target[held_out]).item(),
    )  # fmt: skip
    return generators


def modality_matching(
    train_source, train_target, test_source, test_target, *, seed, n_components, **params
):
    device = nn.start(seed)
    train_parts, test = (train_source, train_target), (test_source, test_target)
    scores = [components(part, n_components, seed) for part in train_parts]

    def domain(side, part):
        values = centred(scores[side](part), part.obs.get("batch"))
        return torch.as_tensor(values, dtype=torch.float32, device=device)

    domains = [
        torch.cat([domain(side, known), domain(side, found)])
        for side, (known, found) in enumerate(zip(train_parts, test, strict=True))
    ]
    generators = _train(*domains, train_source.n_obs, **params)

    to = generators.to_source, generators.to_target

    def log_odds(of):
        """Of pairs in the domain `of`, where one side's cells are and the other's are mapped to."""

        def embed(side, part):
            cells = domain(side, part)
            return (cells if side == of else to[of](cells)).cpu().numpy()

        return canonical_log_odds(embed, train_parts, test)

    with progress.phase("predict"), torch.no_grad():
        of_both = log_odds(0)
        of_both += log_odds(1)
        return largest(of_both)
