"""Deep probabilistic CCA (Gundersen et al. 2019), our own on `dgnbench.nn`."""

import numpy as np
import torch
from net import MODALITIES, Dpcca, em_step, joint_loadings, posterior

from dgnbench import nn, progress
from dgnbench.contract import Declined
from dgnbench.matching import largest
from dgnbench.modalities import canonical_log_odds
from dgnbench.nn.counts import Counts
from dgnbench.nn.training import minimise, train
from dgnbench.transforms import log1p_cp10k

AT_ONCE = 1024  # cells, when predicting
HELD_OUT = 0.2  # of the cells, where training ends by how well they are predicted
JUDGED_DRAWS, JUDGED_EM_STEPS = 10, 30  # there


class Fitted:
    """The networks, and the factor model after EM on the embeddings of all training cells."""

    def __init__(self, model, values, last_em_steps):
        self.model = model
        y = [self._embedded(k, values[k]) for k in MODALITIES]
        self.centre = [own.mean(0) for own in y]
        y = torch.cat([own - centre for own, centre in zip(y, self.centre, strict=True)], 1)
        moments = y.T @ y / len(y)
        with torch.no_grad():
            self.loadings, self.noise = model.pcca.parts()
            for _ in range(last_em_steps):
                self.loadings, self.noise = em_step(moments, self.loadings, self.noise)

    def _embedded(self, modality, values):
        with torch.no_grad():
            rows = torch.arange(len(values), device=values.home).split(AT_ONCE)
            return torch.cat([self.model.encoders[modality](values[r]) for r in rows]).double()

    def shared(self, values):
        """Posterior mean of the shared factors given one modality or both, (cells, n_latent)."""
        k = self.model.pcca.n_latent
        m = [i for i, name in enumerate(MODALITIES) if name in values]
        y = torch.cat(
            [self._embedded(MODALITIES[i], values[MODALITIES[i]]) - self.centre[i] for i in m], 1
        )
        loadings = joint_loadings(self.loadings) if len(m) > 1 else self.loadings[m[0]]
        return y @ posterior(loadings, torch.cat([self.noise[i] for i in m]))[0][:, :k]

    def translated(self, values, n_samples):
        """The target's mean over draws of its embedding given the source's, (cells, n_target)."""
        k = self.model.pcca.n_latent
        _, covariance = posterior(self.loadings[0], self.noise[0])
        root, shared = torch.linalg.cholesky(covariance[:k, :k]), self.shared(values)
        blocks = []
        with torch.no_grad():
            for mean in shared.split(AT_ONCE):
                total = 0.0
                for _ in range(n_samples):
                    own = torch.randn_like(mean)
                    factors = torch.cat([mean + torch.randn_like(mean) @ root.T, own], 1)
                    y = factors @ self.loadings[1].T + self.centre[1]
                    y = y + self.noise[1].sqrt() * torch.randn_like(y)
                    total = total + self.model.decoders["target"](y.float())
                blocks.append(total / n_samples)
        return torch.cat(blocks)


def _values(part, device):
    values = Counts.of(log1p_cp10k(part.X), device)
    if not len(values.values):
        raise Declined(f"{part.uns.get('modality', 'a modality')} has no counts at all")
    return values


def _fit(
    source, target, device, *, n_latent, n_embedding, hidden, epochs, batch_size, learning_rate, l1,
    clip, em_steps, last_em_steps, patience=None,
):  # fmt: skip
    """The trained model; with a `patience` the one that predicts held-out targets best."""
    values = {"source": source, "target": target}
    model = Dpcca(
        {k: values[k].n_genes for k in MODALITIES},
        n_embedding=n_embedding, n_latent=n_latent, hidden=hidden,
    ).to(device)  # fmt: skip
    progress.parameters(sum(p.numel() for p in model.parameters()))
    optimiser = torch.optim.Adam(model.parameters(), learning_rate, fused=True)

    def step(rows, epoch):
        (of_source, of_target), loadings = model.losses(
            {k: values[k][rows] for k in MODALITIES}, em_steps
        )
        loss = of_source + of_target + l1 * loadings
        minimise(optimiser, loss, clip)
        return {"loss": loss, "source_error": of_source, "target_error": of_target}

    rows = torch.arange(len(source), device=source.home)
    held_out = rows[:0]
    if patience is not None:
        rows = rows[torch.randperm(len(rows), device=rows.device)]
        held_out, rows = rows.tensor_split([max(2, int(HELD_OUT * len(rows)))])

    def validate():
        fitted = Fitted(model, {k: values[k][rows] for k in MODALITIES}, JUDGED_EM_STEPS)
        made = fitted.translated({"source": source[held_out]}, JUDGED_DRAWS)
        return (made - target[held_out].dense()).square().mean().item()

    train(
        [model], [optimiser], step, rows, epochs=epochs, batch_size=batch_size,
        validate=None if patience is None else validate, patience=patience,
    )  # fmt: skip
    return Fitted(model, values, last_em_steps)


def modality_matching(
    train_source, train_target, test_source, test_target, *, seed, n_samples, patience, **params
):
    device = nn.start(seed)
    fitted = _fit(_values(train_source, device), _values(train_target, device), device, **params)
    train, test = (train_source, train_target), (test_source, test_target)

    def embed(side, part):
        return fitted.shared({MODALITIES[side]: _values(part, device)}).cpu().numpy()

    with progress.phase("predict"):
        return largest(canonical_log_odds(embed, train, test))


def joint_embedding(source, target, *, seed, n_samples, patience, **params):
    device = nn.start(seed)
    values = {"source": _values(source, device), "target": _values(target, device)}
    fitted = _fit(*values.values(), device, **params)
    with progress.phase("predict"):
        return fitted.shared(values).cpu().numpy()


def modality_prediction(train_source, train_target, test_source, *, seed, n_samples, **params):
    device = nn.start(seed)
    scored = Counts.of(np.asarray(train_target.X), device)
    fitted = _fit(_values(train_source, device), scored, device, **params)
    with progress.phase("predict"):
        return fitted.translated({"source": _values(test_source, device)}, n_samples).cpu().numpy()


rna_prediction = modality_prediction
