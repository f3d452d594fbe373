"""What a method may say while it works."""

import pandas as pd

from dgnbench import progress


def test_the_history_is_written_with_a_column_for_every_loss_part(tmp_path):
    progress.start(tmp_path / "history.csv")
    progress.log(0, loss=2.0)
    progress.log(1, loss=1.0, val_loss=3.0)
    progress.finish()
    table = pd.read_csv(tmp_path / "history.csv")
    assert list(table.columns) == ["epoch", "loss", "val_loss"]
    assert table["loss"].tolist() == [2.0, 1.0]
    assert pd.isna(table["val_loss"][0])


def test_the_bar_gives_back_what_it_is_given():
    assert list(progress.bar([3, 1, 2], "epoch")) == [3, 1, 2]


def test_training_ends_with_its_last_round_or_when_the_time_is_up(monkeypatch):
    progress.start()
    assert list(progress.training([3, 1, 2])) == [3, 1, 2]
    assert not progress.time_is_up()
    monkeypatch.setenv(progress.TRAIN_SECONDS, "0")
    progress.start()
    assert list(progress.training(range(5))) == [0], "one round is made in any case"
    assert progress.time_is_up()


def test_rounds_are_counted_by_the_history():
    progress.start()
    assert progress.rounds() == 0
    progress.log(0, loss=1.0)
    progress.log(4, loss=1.0)
    assert progress.rounds() == 5


def test_phases_add_up():
    progress.start()
    for _ in range(2):
        with progress.phase("predict"):
            sum(range(1000))
    assert progress.seconds("predict") > 0
    assert progress.seconds("fit") == 0
