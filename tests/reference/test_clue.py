"""Our CLUE beside its authors' package: the same losses and gradients on the same weights."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from dgnbench.cards import read_house
from dgnbench.nn.counts import Counts

HOUSE = read_house()
N_CELLS, N_LATENT, N_BATCHES = 12, 3, 2
ENCODER, DECODER, DISCRIMINATOR = (6, 6), (5,), (7, 7)


def copied(ours, theirs):
    """Linear layers one by one, in their order."""
    of = [[m for m in net.modules() if isinstance(m, torch.nn.Linear)] for net in (ours, theirs)]
    for mine, other in zip(*of, strict=True):
        other.load_state_dict(mine.state_dict())


@pytest.fixture
def both(loaded):
    """Our network and discriminator, what they take, and scglue's with the same weights and data."""
    from scglue.models import scclue
    from scglue.models.sc import Prior

    net, rng = loaded("clue").net, np.random.default_rng(0)
    torch.manual_seed(0)
    n_in, n_features = {"source": 4, "target": 5}, {"source": 9, "target": 8}
    counts = {k: rng.poisson(3.0, (N_CELLS, n)).astype(np.float32) for k, n in n_features.items()}
    features = {
        k: torch.as_tensor(rng.normal(size=(N_CELLS, n)), dtype=torch.float32)
        for k, n in n_in.items()
    }
    batch = torch.arange(N_CELLS) % N_BATCHES

    def made(decoders, normalize_u):
        ours = net.Clue(
            n_in, n_features, decoders, N_BATCHES, n_latent=N_LATENT, encoder_hidden=ENCODER,
            decoder_hidden=DECODER, dropout=0.2, normalize_u=normalize_u,
        )  # fmt: skip
        judge = net.Discriminator(N_LATENT, N_BATCHES, DISCRIMINATOR, 0.2)
        names = {net.CountDecoder: "NB", net.GaussianDecoder: "Normal"}
        x2u, u2x = {}, {}
        for k in net.MODALITIES:
            kind = names[decoders[k]]
            x2u[k] = scclue._ENCODER_MAP[kind](
                n_in[k], n_features[k], N_LATENT, 2, h_depth=len(ENCODER), h_dim=ENCODER[0]
            )
            u2x[k] = scclue._DECODER_MAP[kind](
                N_LATENT, n_features[k], ["a", "b"], h_depth=len(DECODER), h_dim=DECODER[0]
            )
            for parameter in ours.decoders[k].parameters(recurse=False):
                parameter.data += 0.3 * torch.randn_like(parameter)
        for k in net.MODALITIES:
            for mine, other, head in zip(
                ours.encoders[k].bodies, x2u[k].encoders, ours.encoders[k].heads, strict=True
            ):
                linears = [getattr(other, f"linear_{i}") for i in range(len(ENCODER))]
                copied(mine, torch.nn.ModuleList(linears))
                for layer, rows in (
                    (other.loc, slice(N_LATENT)),
                    (other.std_lin, slice(N_LATENT, None)),
                ):
                    layer.weight.data, layer.bias.data = (
                        head.weight.data[rows],
                        head.bias.data[rows],
                    )
            mine, other = ours.decoders[k], u2x[k]
            copied(mine, other)
            if decoders[k] is net.CountDecoder:
                x2u[k].est_l.weight.data.fill_(1)  # the observed library size
                x2u[k].est_l.bias.data.zero_()
                other.scale_lin.data = mine.raw_scale.data.T
                other.bias.data = mine.shift.data.T
                other.log_theta.data = mine.log_theta.data[:, None].expand(-1, N_BATCHES)
            else:
                other.std_lin.data = mine.raw_scale.data.T
        du = scclue.Discriminator(
            2 * N_LATENT, 2, ["a", "b"], h_depth=len(DISCRIMINATOR), h_dim=DISCRIMINATOR[0]
        )
        *hidden, last = [m for m in judge.modules() if isinstance(m, torch.nn.Linear)]
        linears = [getattr(du, f"linear_{i}") for i in range(len(DISCRIMINATOR))]
        copied(torch.nn.ModuleList(hidden), torch.nn.ModuleList(linears))
        for name in ("weight", "bias"):  # the difference of their two logits is our one
            mine = getattr(last, name).data
            getattr(du.pred, name).data = torch.cat([torch.zeros_like(mine), mine])
        theirs = scclue.SCCLUE(x2u, u2x, du, Prior())
        lambdas = {"data": 1.0, "kl": 0.7, "cross": 0.5, "cos": 0.4, "align": 0.3}
        trainer = scclue.SCCLUETrainer(
            theirs, normalize_u=normalize_u, modality_weight=dict.fromkeys(net.MODALITIES, 1.0),
            optim="RMSprop", lr=1e-3, lam_data=lambdas["data"], lam_kl=lambdas["kl"],
            lam_align=lambdas["align"], lam_joint_cross=lambdas["cross"], lam_real_cross=0.0,
            lam_cos=lambdas["cos"], lam_sup=0.0,
        )  # fmt: skip
        observed = {
            k: Counts.of(x) if decoders[k] is net.CountDecoder else torch.as_tensor(np.log1p(x))
            for k, x in counts.items()
        }
        seen = {k: torch.as_tensor(x) if isinstance(observed[k], Counts) else observed[k]
                for k, x in counts.items()}  # fmt: skip
        one = torch.ones(N_CELLS)
        data = (
            seen, features, dict.fromkeys(seen, batch), dict.fromkeys(seen, -one),
            dict.fromkeys(seen, one), {k: torch.full((N_CELLS,), i) for i, k in enumerate(seen)},
            torch.ones(N_CELLS, 2, dtype=torch.bool),
        )  # fmt: skip
        one_hot = torch.nn.functional.one_hot(batch, N_BATCHES).float()
        return (ours, judge, (features, observed, one_hot)), (trainer, data), lambdas

    return net, made


@pytest.mark.parametrize("normalize_u", [True, False])
@pytest.mark.parametrize("target", ["CountDecoder", "GaussianDecoder"])
def test_losses_and_gradients_are_those_of_scglue_on_the_same_weights(
    target, normalize_u, both, monkeypatch
):
    net, made = both
    decoders = {"source": net.CountDecoder, "target": getattr(net, target)}
    (ours, judge, given), (trainer, data), lambdas = made(decoders, normalize_u)
    monkeypatch.setattr(Normal, "rsample", lambda self, *_: self.mean)  # the same draw in both
    for module in (ours, judge, trainer.net):
        module.train()
        for layer in module.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
    theirs = trainer.compute_losses(data, epoch=1)
    parts, u = ours.losses(*given)
    told = judge.cross_entropy(u, given[2], 0.0)
    for mine, other in (
        (parts["data"], theirs["x_source_nll"] + theirs["x_target_nll"]),
        (parts["kl"], theirs["x_source_kl"] + theirs["x_target_kl"]),
        (parts["cross"], theirs["joint_cross_loss"]),
        (parts["cos"], theirs["cos_loss"]),
        (told, theirs["dsc_loss"]),
    ):
        assert mine.item() == pytest.approx(other.item(), rel=1e-5)
    loss = sum(lambdas[name] * value for name, value in parts.items())
    (loss - lambdas["align"] * told).backward()
    theirs["gen_loss"].backward()
    for k in net.MODALITIES:
        mine, other = ours.encoders[k].bodies[0].linears[0], trainer.net.x2u[k].encoders[0].linear_0
        torch.testing.assert_close(mine.weight.grad, other.weight.grad, rtol=1e-3, atol=1e-6)
        mine, other = ours.decoders[k].raw_scale, trainer.net.u2x[k]
        other = other.scale_lin if decoders[k] is net.CountDecoder else other.std_lin
        torch.testing.assert_close(mine.grad, other.grad.T, rtol=1e-3, atol=1e-6)


def test_the_wrapper_trains_on_every_kind_of_pair_and_gives_equal_embeddings_for_equal_seeds(
    loaded,
):
    from tests.reference.test_multimodal_models import settings, simulate

    module = loaded("clue_scglue")
    for kind in ("protein", "atac"):
        source, target, _ = simulate(kind, n_cells=100)
        first, again = (
            module.joint_embedding(source, target, seed=0, **settings("clue_scglue", epochs=2))
            for _ in range(2)
        )
        assert first.shape == (100, 2 * HOUSE.methods["clue_scglue"].params["n_latent"])
        assert np.array_equal(first, again)
