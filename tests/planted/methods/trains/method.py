import os
import time
from pathlib import Path

import torch

from dgnbench import nn
from dgnbench.nn import training

training.EVERY_S = 0  # a checkpoint after every epoch


def denoising(counts, *, seed, epochs):
    nn.start(seed)
    x = torch.linspace(-1, 1, 40)[:, None]
    model = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
    optimiser = torch.optim.Adam(model.parameters(), 0.05)

    def step(rows, epoch):
        while epoch == 3 and not Path(os.environ["TEST_GO"]).exists():
            time.sleep(0.05)
        loss = ((model(x[rows]) - 2 * x[rows]) ** 2).mean()
        training.minimise(optimiser, loss)
        return {"loss": loss}

    training.train([model], [optimiser], step, torch.arange(40), epochs=epochs, batch_size=8)
    return counts.X
