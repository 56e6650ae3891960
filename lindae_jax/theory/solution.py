"""The exact solution at any epoch, from any weights."""

import functools
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lindae_jax import checks
from lindae_jax.batches import layout
from lindae_jax.batches.alike import in_kinds, where_needed
from lindae_jax.batches.apart import apart
from lindae_jax.batches.blocks import common_size
from lindae_jax.checks import faults
from lindae_jax.problem import Problem, Weights
from lindae_jax.theory.balanced import flow_balanced
from lindae_jax.theory.decay import flow_with_decay, nothing, stages_passed
from lindae_jax.theory.flow import State, follow, prepare

_RULES = {"t": "time"}


def weights(t: ArrayLike, w1: ArrayLike, w2: ArrayLike, problem: Problem) -> Weights:
    """Weights of the gradient flow at epoch t, from any start.

    Without decay the solution behind eq. (5) of the paper, rearranged so that
    nothing cancels or overflows; with decay, where the paper has only small
    balanced weights (eq. (7)), the solution from any weights. docs/theory.md
    sections 2 and 3; measured errors are in docs/accuracy.md.

    Parameters
    ----------
    t : array_like, (...)
        Time in epochs, >= 0; infinity gives the limit.
    w1, w2 : array_like, (...)
        Weights at t = 0, of any signs and sizes.
    problem : Problem
        Fields (...). Eigenvalues and noise in squared units of the data, the
        learning rate per epoch.

    Returns
    -------
    Weights
        w1 and w2 at epoch t, each (...). NaN where an initial weight is not
        finite, and for invalid values under tracing.

    Raises
    ------
    ValueError
        t negative or NaN; eigenvalue, noise or decay NaN, infinite or negative;
        learning rate not finite and positive; shapes that do not broadcast; a
        dtype other than float32, float64 or integers.

    Notes
    -----
    Works under `jit`, `vmap`, `grad` and `jacfwd` in every argument. At
    t = inf the derivative in t is 0. Where the limit has no derivative
    (w1 + w2 = 0; gamma = 0 in gamma; gamma = lambda) what is returned is
    finite: the derivative of the branch taken, 0 in gamma at gamma = 0.
    First derivatives only are promised: at gamma = 0 mixed second ones with
    gamma are not right. From w1 = -w2 the derivatives across the saddle grow
    like exp(lambda t') and end at some huge number where they leave the range.
    Close to w1 = w2 the derivatives in the weights lose as many digits as
    noise / eigenvalue has, where that is large.
    Where decay may be non-zero, reverse mode compiles for half a minute to two,
    forward mode in a third of that.
    """
    return Weights(*_guarded(("w1", "w2"), problem, t=t, w1=w1, w2=w2))


def mapping(t: ArrayLike, w1: ArrayLike, w2: ArrayLike, problem: Problem) -> jax.Array:
    """Mapping w = w1 w2 of the gradient flow at epoch t, from any start.

    Eq. (5) of the paper without decay and eq. (7), extended to any weights,
    with it. The paper prints E_gamma = exp(2 xi t / tau) in eq. (7); the
    derivation gives exp(2 xi lambda t / tau), which is what holds here.

    Parameters
    ----------
    t, w1, w2, problem
        As for `weights`.

    Returns
    -------
    jax.Array, (...)
        w at epoch t. Without decay, from weights of equal signs, its relative
        error is a few eps even where w is tiny; otherwise its error is a few
        eps of w1(t)^2 + w2(t)^2.

    Raises
    ------
    ValueError
        As for `weights`.

    Examples
    --------
    >>> from lindae_jax import Problem, theory
    >>> problem = Problem(eigenvalue=1.0, noise=1.0, learning_rate=0.1)
    >>> print(round(float(theory.mapping(200, 0.01, 0.01, problem)), 6))
    0.5
    """
    return _guarded(("w",), problem, t=t, w1=w1, w2=w2)[0]


def _guarded(names: tuple[str, ...], problem: Problem, **named: ArrayLike) -> list[jax.Array]:
    arrays, problem, unseen = checks.half_door(problem, _RULES, **named)
    values = [value for value, _ in unseen.values()]
    size = common_size((*arrays, *values))
    # What is not allowed gives NaN: one look at the result tells of all inputs.
    later = sum(x.size for x in values) > size and not any(map(checks.is_traced, values))
    if not later:
        checks.check_values(unseen)
    t, w1, w2 = arrays
    found = solve(names, t, w1, w2, problem)
    if later and (checks.is_traced(found[0]) or not _free_of_nan(found[0])):
        checks.check_values(unseen)
    return found


def _free_of_nan(x: jax.Array) -> bool:
    if all(device.platform == "cpu" for device in x.devices()):
        # In place; the least of numbers with a NaN among them is NaN.
        parts = (np.asarray(part.data) for part in x.addressable_shards)
        return not any(np.isnan(part.min(initial=0)) for part in parts)
    return not bool(jnp.isnan(x).any())


# Points in a block, whose intermediate results then stay in a core's cache. With decay blocks are
# smaller (`batches/alike.py`).
_BLOCK = 2**12


def solve(
    names: tuple[str, ...],
    t: jax.Array,
    w1: jax.Array,
    w2: jax.Array,
    problem: Problem,
    *,
    decaying: bool | None = None,
    even: bool | None = None,
) -> list[jax.Array]:
    """The named parts of the state, by the cheapest program for what is concretely known.

    Parameters
    ----------
    names : tuple of str
        Of "w1", "w2" and "w".
    t, w1, w2, problem
        Checked arrays of one dtype, (...).
    decaying, even : bool, optional
        Whether decay may be non-zero, and whether |w1| = |w2| everywhere. Parts of one
        whole are to be computed by one program, which these fix; found out by default.

    Returns
    -------
    list of jax.Array
        In the order of the names, (...).
    """
    form = pick(_FORMS, w1, w2, problem, decaying, even)
    # Of any decay compiling is most of what they cost: one program for all parts.
    wanted = State._fields if form is _any_decay else names
    fields = problem.eigenvalue, problem.noise, problem.decay, problem.learning_rate
    arrays = (t, w1, w2, *fields)
    cut = layout.lay_out(arrays, _BLOCK, _BLOCK, one_pass=form is not _any_decay)
    if any(map(checks.is_traced, arrays)):
        found = _traced(wanted, form, arrays)
    else:
        with checks.at_top_level():
            found = cut.call(functools.partial(_placed, wanted, form), arrays)
    return [found[wanted.index(name)] for name in names]


def _placed(names, form, cut: layout.Layout, arrays) -> list[jax.Array]:
    return layout.compiled(_core, _STATIC, arrays)(names, form, cut, arrays)


def _core(names, form, cut: layout.Layout, arrays) -> list[jax.Array]:
    def part(*arrays):
        return form(names, cut, *arrays)

    return cut.compute(part, arrays, len(names))


_STATIC = (0, 1, 2)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _traced(names, form, arrays) -> list[jax.Array]:
    size = common_size(arrays)
    if size <= _BLOCK:
        return form(names, layout.WHOLE, *arrays)
    return _by_platform(names, form, *arrays)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _by_platform(names, form, *arrays) -> list[jax.Array]:
    """As a processor likes it where one runs it; derivatives are taken of the whole."""
    # With several devices the caller's arrays may be spread over them.
    block = _BLOCK if layout.one_cpu_device() else None
    return jax.lax.platform_dependent(
        *arrays,
        cpu=functools.partial(form, names, layout.Layout(None, block, "cpu")),
        default=functools.partial(form, names, layout.WHOLE),
    )


@functools.partial(_by_platform.defjvp, symbolic_zeros=True)
def _by_platform_jvp(names, form, primals, tangents):
    # A loop that writes into its output would be transposed at the square of its cost.
    moves = [not isinstance(x, jax.custom_derivatives.SymbolicZero) for x in tangents]

    def whole(*moving):
        rest = iter(moving)
        arrays = (next(rest) if yes else x for x, yes in zip(primals, moves, strict=True))
        return form(names, layout.WHOLE, *arrays)

    return jax.jvp(
        whole,
        [x for x, yes in zip(primals, moves, strict=True) if yes],
        [x for x, yes in zip(tangents, moves, strict=True) if yes],
    )


Form = TypeVar("Form")


def pick(
    forms: tuple[Form, Form, Form],
    w1: jax.Array,
    w2: jax.Array,
    problem: Problem,
    decaying: bool | None,
    even: bool | None,
) -> Form:
    """That of three forms which is right for arrays: without decay, for even weights, any.

    `decaying` and `even` are as in `solve`.
    """
    if not (checks.decays(problem) if decaying is None else decaying):
        return forms[0]
    return forms[1] if (balanced(w1, w2) if even is None else even) else forms[2]


def balanced(w1, w2) -> bool:
    """Whether all weights are known to be equal in size; no derivative is taken in them."""
    if checks.is_traced(w1) or checks.is_traced(w2):
        return False
    with jax.ensure_compile_time_eval():
        return bool(jnp.all(jnp.abs(w1) == jnp.abs(w2)))


def _no_decay(names, cut, t, w1, w2, eigenvalue, noise, decay, learning_rate):
    settings = jnp.broadcast_arrays(w1, w2, eigenvalue, noise, decay, learning_rate)
    if jnp.broadcast_shapes(t.shape, settings[0].shape) == settings[0].shape:

        def once(t, *settings):
            return _named(names, follow(_path(*settings), t))

        return cut.once_each(once, (t, *settings), len(names))
    if cut.platform == "cpu":  # where no derivative is taken
        path = apart(_path, *settings)
    else:
        # Or else compilers would do it again at every time. Leaf by leaf, for JAX 0.12 cannot
        # transpose a barrier where some of what passes it does not move.
        path = jax.tree.map(jax.lax.optimization_barrier, _path(*settings))
    leaves, tree = jax.tree.flatten(path)

    def at_a_time(t, *leaves):
        return _named(names, follow(jax.tree.unflatten(tree, leaves), t))

    return cut.once_each(at_a_time, (t, *leaves), len(names))


def _path(w1, w2, eigenvalue, noise, decay, learning_rate):
    path = prepare(w1, w2, eigenvalue, noise, learning_rate)
    return path._replace(fault=path.fault | faults.negative(decay) | faults.not_finite(decay))


def _balanced_decay(names, cut, *arrays):
    return cut.once_each(_at_points(flow_balanced, names), arrays, len(names))


def _any_decay(names, cut, *arrays):
    if cut.block is not None:  # on a processor, where no derivative is taken
        return in_kinds(_at_points(_flow_alike, names), _kind, arrays, len(names))

    def flow(t, w1, w2, *fields):
        return flow_any_decay(t, w1, w2, Problem(*fields))

    return cut.elementwise(_at_points(flow, names), arrays, len(names))


def _flow_alike(t, w1, w2, eigenvalue, noise, decay, learning_rate) -> State:
    """The flow of points most of which need the same of it; no derivatives."""
    none, others = decay == 0, (t, w1, w2, eigenvalue, noise, learning_rate)
    with_decay = functools.partial(_with_decay, alike=True)
    without = where_needed(_without_decay, none, nothing, *others)
    decayed = where_needed(with_decay, ~none, nothing, decay, *others)
    return _where(none, without, decayed)


def _kind(t, w1, w2, eigenvalue, noise, decay, learning_rate):
    """Which parts of the flow a point needs, as a number."""
    stages = stages_passed(t, w1, w2, eigenvalue, noise, decay, learning_rate)
    return jnp.where(decay == 0, 0, 1 + stages).astype(jnp.int32)


_FORMS = (_no_decay, _balanced_decay, _any_decay)


def _at_points(flow, names):
    def at_points(*arrays):
        points = jnp.broadcast_arrays(*arrays)
        state = flow(*points)
        good = checks.valid(Problem(*points[3:])) & checks.allowed("time", points[0])
        return _named(names, State(*(jnp.where(good, x, jnp.nan) for x in state)))

    return at_points


def _named(names, state: State):
    return [getattr(state, name) for name in names]


def flow_any_decay(t, w1, w2, problem: Problem) -> State:
    """The flow of unchecked arrays of one dtype, gamma = 0 and gamma > 0 mixed."""
    return _either(
        *jnp.broadcast_arrays(
            *(problem.decay, t, w1, w2),
            *(problem.eigenvalue, problem.noise, problem.learning_rate),
        )
    )


@jax.custom_jvp
def _either(decay, *others) -> State:
    without, decayed = _without_decay(*others), _with_decay(decay, *others)
    return _where(decay == 0, without, decayed)


@_either.defjvp
def _either_jvp(primals, tangents):
    """At gamma = 0 the sharper form's value, but the other form's slope in gamma."""
    zero = primals[0] == 0
    _, along = jax.jvp(_without_decay, primals[1:], tangents[1:])
    across = (tangents[0], *(jnp.where(zero, 0, x) for x in tangents[1:]))
    _, through = jax.jvp(_with_decay, primals, across)
    total = State(*(x + y for x, y in zip(along, through, strict=True)))
    return _either(*primals), _where(zero, total, through)


def _without_decay(t, *settings):
    return follow(prepare(*settings), t)


def _with_decay(decay, t, w1, w2, eigenvalue, noise, learning_rate, *, alike=False):
    return flow_with_decay(t, w1, w2, eigenvalue, noise, decay, learning_rate, alike=alike)


def _where(condition, yes: State, no: State) -> State:
    return State(*(jnp.where(condition, x, y) for x, y in zip(yes, no, strict=True)))
