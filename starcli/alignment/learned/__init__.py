"""Learning on the loss half way between two models: permutations that are made to have a gradient."""
