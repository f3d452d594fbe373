"""The networks of MAGAN: a generator each way between two domains, and a discriminator of each domain."""

from torch import nn
from torch.nn.functional import mse_loss, softplus

from dgnbench.nn.adversarial import squared_gradient
from dgnbench.nn.blocks import mlp


def _network(n_in, hidden, n_out):
    """Layers with ReLU, and a linear one."""
    return nn.Sequential(mlp(n_in, hidden), nn.Linear(hidden[-1], n_out))


class Generators(nn.Module):
    """Cells of the source domain (cells, n_source) to the target domain (cells, n_target), and back."""

    def __init__(self, n_source, n_target, hidden):
        super().__init__()
        self.to_target = _network(n_source, hidden, n_target)
        self.to_source = _network(n_target, hidden, n_source)

    def correspondence(self, source, target):
        """Squared error of mapped pairs, a mean over cells and features; of both domains the sum, ()."""
        return mse_loss(self.to_target(source), target) + mse_loss(self.to_source(target), source)

    def losses(self, source, target, discriminators):
        """How little mapped cells fool the discriminators, and the squared error there and back.

        Each the sum of both domains' means, (). Also returns the mapped cells: those of the source in
        the target domain, (its cells, n_target), and the other way round.
        """
        in_target, in_source = self.to_target(source), self.to_source(target)
        of_target, of_source = (
            discriminators.of_target(in_target),
            discriminators.of_source(in_source),
        )
        fooled = softplus(-of_target).mean() + softplus(-of_source).mean()
        there_and_back = self.to_source(in_target), self.to_target(in_source)
        cycle = mse_loss(there_and_back[0], source) + mse_loss(there_and_back[1], target)
        return fooled, cycle, (in_target, in_source)


class Discriminators(nn.Module):
    """A logit a cell for each domain, large for what looks like one of its own cells."""

    def __init__(self, n_source, n_target, hidden):
        super().__init__()
        self.of_source = _network(n_source, hidden, 1)
        self.of_target = _network(n_target, hidden, 1)

    def losses(self, source, target, in_target, in_source):
        """Mean of the four cross entropies, and the squared gradient at real cells, of both domains, ()."""
        told = (
            softplus(-self.of_source(source)).mean()
            + softplus(-self.of_target(target)).mean()
            + softplus(self.of_source(in_source)).mean()
            + softplus(self.of_target(in_target)).mean()
        ) / 4
        slope = squared_gradient(self.of_source, source) + squared_gradient(self.of_target, target)
        return told, slope
