"""Training: history, early stopping, divergence, and going on after a kill."""

import pytest
import torch

from dgnbench import nn, progress
from dgnbench.nn import training
from dgnbench.nn.training import Diverged, minimise, split, train

X = torch.linspace(-1, 1, 50)[:, None]


class Line:
    """A line learnt from points on another; `spoil(epoch, step)` may raise or give a loss."""

    def __init__(self, seed=0, spoil=lambda epoch, step: None):
        nn.start(seed)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(1, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1)
        )
        self.optimiser = torch.optim.Adam(self.model.parameters(), 0.01)
        self.spoil, self.steps = spoil, 0

    def step(self, rows, epoch):
        loss = ((self.model(X[rows]) - 3 * X[rows]) ** 2).mean()
        minimise(self.optimiser, loss)
        given = self.spoil(epoch, self.steps)
        self.steps += 1
        return {"loss": loss if given is None else torch.tensor(given)}

    def train(self, epochs=8, **options):
        progress.start()
        train(
            [self.model], [self.optimiser], self.step, torch.arange(50),
            epochs=epochs, batch_size=20, **options,
        )  # fmt: skip
        return progress.rows()

    def weights(self):
        return torch.cat([w.flatten() for w in self.model.parameters()]).detach()


def test_training_logs_the_mean_over_cells_of_every_epoch_and_learns():
    rows = Line(spoil=lambda epoch, step: [1.0, 2.0, 7.0][step % 3]).train(epochs=2)
    assert rows == [
        {"epoch": e, "loss": pytest.approx((20 * 1 + 20 * 2 + 10 * 7) / 50)} for e in (0, 1)
    ]
    learnt = Line().train(epochs=60)
    assert learnt[-1]["loss"] < learnt[0]["loss"] / 5


def test_training_stops_when_patience_ends_and_keeps_the_best_weights():
    line, losses, seen = Line(), iter([5.0, 3.0, 4.0, 6.0, 1.0]), []

    def validate():
        assert not line.model.training
        seen.append(line.weights())
        return next(losses)

    rows = line.train(validate=validate, patience=2)
    assert [row["val_loss"] for row in rows] == [5, 3, 4, 6]
    assert torch.equal(line.weights(), seen[1])
    assert not line.model.training


def test_a_schedule_hears_of_every_validation_loss():
    line = Line()
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(line.optimiser, patience=1, factor=0.1)
    line.train(epochs=5, validate=lambda: 1.0, schedule=schedule)
    assert line.optimiser.param_groups[0]["lr"] == pytest.approx(0.0001)


def test_a_loss_that_is_not_finite_names_the_step_and_leaves_the_last_good_weights():
    three = Line()
    three.train(epochs=3)
    line = Line(spoil=lambda epoch, step: float("nan") if step == 10 else None)
    with pytest.raises(Diverged, match=r"finite losses, got .*nan.* at step 10 \(epoch 3\)"):
        line.train()
    assert torch.equal(line.weights(), three.weights())
    assert len(progress.rows()) == 3


@pytest.mark.parametrize("kill_at", [4, 7])
def test_a_training_that_was_killed_goes_on_with_the_same_curve(tmp_path, monkeypatch, kill_at):
    validation = {"validate": lambda: float(progress.rows()[-1]["loss"] if progress.rows() else 9)}
    whole = Line()
    expected = whole.train(**validation)

    def kill(epoch, step):
        if epoch == kill_at and step % 3 == 1:
            raise KeyboardInterrupt

    file = tmp_path / "checkpoint.pt"
    monkeypatch.setenv(training.CHECKPOINT, str(file))
    monkeypatch.setattr(training, "EVERY_S", 0)
    with pytest.raises(KeyboardInterrupt):
        Line(spoil=kill).train(**validation)
    assert file.exists()
    resumed = Line(seed=1)  # begins elsewhere, and goes on from the file
    assert resumed.train(**validation) == expected
    assert torch.equal(resumed.weights(), whole.weights())
    assert resumed.steps == 3 * (8 - kill_at)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_training_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(training.CHECKPOINT, str(tmp_path / "checkpoint.pt"))
    monkeypatch.setattr(training, "EVERY_S", 0)

    def kill(epoch, step):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Line(spoil=kill).train(epochs=8)
    with pytest.raises(
        ValueError, match="wanted a checkpoint of 9 epochs on 50 cells, got 8 on 50"
    ):
        Line().train(epochs=9)


def test_every_cell_is_trained_on_or_held_out_and_no_minibatch_has_one_or_two():
    for n in range(60, 90):
        some, held_out = split(n, 0.1, 20, torch.device("cpu"))
        assert sorted([*some.tolist(), *held_out.tolist()]) == list(range(n))
        assert len(some) % 20 not in (1, 2)
        assert len(held_out) >= int(n * 0.1)


def test_epochs_before_the_first_validated_one_neither_end_training_nor_give_weights():
    line, losses = Line(), iter([5.0, 6.0, 7.0])
    rows = line.train(validate=lambda: next(losses), patience=2, validate_from=4)
    assert [row.get("val_loss") for row in rows] == [None] * 4 + [5.0, 6.0, 7.0]


@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_gradient_is_no_longer_than_its_clip(clip):
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    minimise(torch.optim.SGD([weight], 1.0), (weight * torch.tensor([3.0, 4.0])).sum(), clip)
    moved = torch.tensor([1.0, 2.0]) - weight.detach()
    assert moved.norm() == pytest.approx(clip or 5.0, rel=1e-5)
