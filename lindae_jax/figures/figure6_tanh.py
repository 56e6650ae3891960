"""Figure 6 with tanh for ReLU, as in the paper's supplement."""

import functools

from lindae_jax.figures import figure6

TITLE = "Figure 6 with tanh, as in the paper's supplement: under noise and under weight decay"
SEE = (
    "With tanh for ReLU: below, on the left, how late directions are learned under noise (squares) "
    "and under decay (triangles), as multiples of the time without either."
)
DATA = figure6.DATA

numbers = functools.partial(figure6.numbers, activation="tanh")
check, draw, caption = figure6.check, figure6.draw, figure6.caption
