"""Figure 6 with tanh for ReLU, as in the paper's supplement."""

import functools

from lindae_jax.figures import figure6

TITLE = "Figure 6 of the supplement: nonlinear networks (tanh) under noise and under weight decay"
SEE = "With tanh for ReLU noise hardly changes when directions are learned, and decay delays them."

numbers = functools.partial(figure6.numbers, activation="tanh")
check, draw, caption = figure6.check, figure6.draw, figure6.caption
