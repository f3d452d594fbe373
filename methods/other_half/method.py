"""Ceiling: real against real, the best that anything could do."""


def generation(train, request, *, seed, solution):
    return solution["other"].X
