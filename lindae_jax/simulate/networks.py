"""Gradient training of nonlinear autoencoders on the samples themselves.

A draw is a pure function of (seed value, what is drawn, epoch, sample,
component): the first three are folded, one after the other, into a Threefry
key, as in `lindae_jax.draws`, which then hashes the last two. So networks of
one seed see the same noise whatever their place in a batch, and neither
minibatches, blocks of samples, further samples nor cuts of a run change it.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lindae_jax import checks, draws
from lindae_jax.problem import Weights
from lindae_jax.simulate import trajectory
from lindae_jax.simulate.products import product
from lindae_jax.simulate.trajectory import Trajectory
from lindae_jax.spectrum import Spectrum

# Values of the data in a block: few enough to stay near the cores, many enough for
# products that keep them busy. It bounds the memory that a step needs.
_BLOCK = 2**20

# phi, and what takes the slope of the loss from behind phi to before it, given phi's value.
_ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "relu": (lambda z: jnp.maximum(z, 0), lambda slope, y: jnp.where(y > 0, slope, 0)),
    "tanh": (jnp.tanh, lambda slope, y: slope * (1 - y * y)),
    "identity": (lambda z: z, lambda slope, y: slope),
}

_FIGURE_6_RATE = 0.9

# The rule of `checks` that an input obeys; any weights, and by type any seed, will do.
_RULES = {"x": "finite", "noise": "non_negative", "decay": "non_negative"}

# Eigenvalues below this part of the largest are rounding, and have no mapping.
_SMALLEST = 1e-10


class _Settings(NamedTuple):
    """What a program is compiled for."""

    activation: str
    optimizer: Any
    batch_size: int | None
    observe: Callable[..., Any] | None


class _Member(NamedTuple):
    """What a network is trained under, besides its optimiser."""

    seed: jax.Array
    noise: jax.Array
    decay: jax.Array


class _State(NamedTuple):
    """Where all networks, (M, ...), have got to."""

    epoch: jax.Array
    weights: Weights
    optimizer: Any


def simulate_networks(
    seed: ArrayLike,
    w1: ArrayLike,
    w2: ArrayLike,
    x: ArrayLike,
    *,
    activation: str = "relu",
    noise: ArrayLike = 0.0,
    decay: ArrayLike = 0.0,
    learning_rate: ArrayLike | None = None,
    optimizer: Any = None,
    hyperparameters: Mapping[str, ArrayLike] | None = None,
    batch_size: int | None = None,
    num_epochs: int,
    first_epoch: int = 0,
    carry: Any = None,
    save_every: int | None = None,
    save_steps: Sequence[int] | None = None,
    observe: Callable[[jax.Array, jax.Array, jax.Array, jax.Array], Any] | None = None,
) -> Trajectory:
    """Train autoencoders x -> W2 phi(W1 x~) on data, noise in x~ drawn anew each epoch.

    The loss is the mean of (x^ - x)^2 over samples and components, as in the
    paper's Figure 6: docs/theory.md section 9, which has what that makes of
    rate and decay beside those of the linear theory.

    Parameters
    ----------
    seed : int or integer array, (...)
        Between 0 and 2^32 - 1; decides noise and minibatches, not the start.
        Networks that share one see the same noise, scaled by the square root
        of theirs, and the same minibatches.
    w1 : array_like, (..., H, D)
        Initial encoders, in the basis of the data.
    w2 : array_like, (..., D, H)
        Initial decoders. Neither need be finite: a diverged run can be continued.
    x : array_like, (N, D)
        One sample per row, shared by all networks.
    activation : {"relu", "tanh", "identity"}
        phi.
    noise : array_like, (...)
        Variance of the Gaussian noise on each component of the inputs, >= 0, in
        squared units of the data. Nothing is drawn for networks without it.
    decay : array_like, (...)
        >= 0; decay * W is added to the gradient before the optimiser sees it.
    learning_rate : array_like, (...), optional
        > 0, short for an entry of `hyperparameters`. By default 0.9 for plain
        gradient descent, and what the optimiser or `carry` has where one is given.
    optimizer : optax.GradientTransformation, optional
        Any that needs gradients, weights and its own state alone; by default
        plain gradient descent. Each network has its own state. Static: make it
        once, for each new object compiles anew.
    hyperparameters : dict of array_like, (...), optional
        Finite, by name, for an optimiser such as
        `optax.inject_hyperparams(optax.adam)(learning_rate=0.001)`. Traced, as
        all of the above arrays are, so that other values do not compile again.
    batch_size : int, optional
        Samples per step of the optimiser, at most N: an epoch is then
        floor(N / batch_size) steps over samples shuffled anew, of which a rest
        too small for a batch is left out. By default one step on all samples.
    num_epochs : int
        Epochs to train, below 2^31; 0 returns the start. Another number does not
        compile again while the number of saves is the same.
    first_epoch : int
        Epochs trained by earlier calls: with it, a run that goes on sees the
        draws that it would have seen uncut. Those of the result count from
        this call.
    carry : pytree, optional
        Where a run goes on: `Trajectory.carry` of the call before.
    save_every : int, optional
        Save epochs 0, k, 2k, ... and num_epochs.
    save_steps : sequence of int, optional
        Save these epochs, strictly increasing in [0, num_epochs], and
        num_epochs. With neither of the two, only num_epochs is saved.
    observe : function, optional
        Pure function (epoch, w1, w2, x) -> pytree of arrays, called at each
        save, for which `identity_mapping` is made; what it returns replaces the
        weights, of which only the last row is kept. Static: each new function
        object compiles anew.

    Returns
    -------
    Trajectory
        `step` (saves,) in epochs, `w1` (saves, ..., H, D), `w2` (saves, ..., D,
        H), `status` (...), `observed`; as `carry` the optimiser's state at the
        end, each leaf with leading axes (...). Status DIVERGED: a weight is not
        finite at the last save. INVALID_INPUT: a bad value was found under
        tracing, the weights are NaN.

    Raises
    ------
    ValueError
        Bad values, unsupported dtype, matrices that do not fit each other or
        the data, batch shapes that do not broadcast, an activation that does
        not exist, an optimiser that is none, hyperparameters that it does not
        have or that are given twice, a carry of another run, counts out of
        range, save_every with save_steps, observe not a function.
    ImportError
        Without optax, which `pip install "lindae_jax[networks]"` brings.

    Notes
    -----
    Networks are trained one after the other, over blocks of samples, so that
    memory hardly grows with N beyond the data. Bitwise, a network does not
    depend on the batch that it is in, and a run cut into segments equals one::

        part = simulate_networks(seed, w1, w2, x, num_epochs=50)
        rest = simulate_networks(
            seed, part.w1[-1], part.w2[-1], x,
            num_epochs=50, first_epoch=50, carry=part.carry,
        )

    Segments with equal numbers of saves compile once. Pass x as a JAX array
    to them, so that it is not copied for each.
    """
    optimizer = _optimizer(optimizer)
    if optimizer is _descent() and learning_rate is None and carry is None:
        learning_rate = _FIGURE_6_RATE
    steps, first = _epochs(num_epochs, first_epoch, save_every, save_steps)
    tuned = _tuned(hyperparameters, learning_rate)
    seed = draws.seeds(seed)
    named = {"w1": w1, "w2": w2, "x": x, "noise": noise, "decay": decay}
    # rmsprop, for one, has a decay of its own.
    labels = {name: f"{name} of the optimiser" if name in named else name for name in tuned}
    cast, _ = checks.cast(named | {labels[name]: value for name, value in tuned.items()})
    weights, data = Weights(cast["w1"], cast["w2"]), cast["x"]
    members = _Member(seed, cast["noise"], cast["decay"])
    _check_shapes(weights, data)
    settings = _Settings(
        _activation(activation), optimizer, _batch_size(batch_size, data), _observer(observe)
    )
    labelled = {label: cast[label] for label in labels.values()}
    batch = checks.broadcast(_batches(weights) | members._asdict() | labelled)
    rules = _RULES | {label: _rule(label) for label in labelled}
    checks.check_values({name: (cast[name], rule) for name, rule in rules.items()})
    tuned = {name: cast[label] for name, label in labels.items()}
    carry = _carried(carry, weights, batch, optimizer)
    _check_tunable(tuned, carry)
    return _simulate(members, tuned, carry, weights, data, steps, first, batch, settings)


def identity_mapping(
    w1: ArrayLike,
    w2: ArrayLike,
    x: ArrayLike,
    spectrum: Spectrum,
    directions: Sequence[int] | None = None,
    *,
    activation: str = "relu",
) -> jax.Array:
    """How much of each direction of the data a network gives back.

    v_j^T (X^^T X / N) v_j / lambda_j with X^ the outputs for clean inputs; for
    a linear network the diagonal of its W2 W1 in the eigenbasis:
    docs/theory.md section 9. K directions cost a forward pass through the
    encoder and 2 N (D + H) K operations.

    Parameters
    ----------
    w1 : array_like, (..., H, D)
        Encoders, in the basis of the data.
    w2 : array_like, (..., D, H)
        Decoders.
    x : array_like, (N, D)
        One sample per row.
    spectrum : Spectrum
        Of x.
    directions : sequence of int, optional
        Positions among the eigenvalues, from 0; all by default.
    activation : {"relu", "tanh", "identity"}
        phi.

    Returns
    -------
    jax.Array, (..., K)
        NaN for directions of eigenvalue at most 1e-10 of the largest.

    Raises
    ------
    ValueError
        Unsupported dtype, matrices that do not fit each other, the data or the
        spectrum, batch shapes that do not broadcast, directions that do not
        exist, spectrum not a Spectrum, an activation that does not exist.
    """
    if not isinstance(spectrum, Spectrum):
        raise checks.mistake(
            "spectrum must be a Spectrum", type(spectrum).__name__, "Make it by Spectrum.from_data."
        )
    values, vectors = _selected(spectrum, directions)
    named = {"w1": w1, "w2": w2, "x": x, "eigenvalues": values, "eigenvectors": vectors}
    cast, _ = checks.cast(named)
    weights, data = Weights(cast["w1"], cast["w2"]), cast["x"]
    _check_shapes(weights, data)
    if len(vectors) != data.shape[1]:
        raise checks.mistake(
            f"spectrum must have D = {data.shape[1]} directions, as x",
            f"{len(vectors)}",
            "Make it of the same data.",
        )
    batch, phi = checks.broadcast(_batches(weights)), _activation(activation)
    return _mapping(weights, data, cast["eigenvalues"], cast["eigenvectors"], batch, phi)


# --- doors --------------------------------------------------------------------


def _optax() -> ModuleType:
    try:
        import optax
    except ImportError as error:
        raise ImportError(
            'Training networks needs optax, an extra: pip install "lindae_jax[networks]".'
        ) from error
    return optax


@functools.cache
def _descent() -> Any:
    """Plain gradient descent, always the same object, for it is a static argument."""
    optax = _optax()
    return optax.inject_hyperparams(optax.sgd)(learning_rate=_FIGURE_6_RATE)


def _optimizer(optimizer: Any) -> Any:
    if optimizer is None:
        return _descent()
    _optax()
    if not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        raise checks.mistake(
            "optimizer must be an optax.GradientTransformation",
            type(optimizer).__name__,
            "Pass for instance optax.adam(0.001).",
        )
    _check_needs(optimizer)
    return optimizer


def _check_needs(optimizer: Any) -> None:
    """That a step takes the gradient and the weights, and nothing else."""
    weights = Weights(jnp.ones((1, 1)), jnp.ones((1, 1)))
    try:
        with jax.numpy_dtype_promotion("standard"):
            jax.eval_shape(lambda w: optimizer.update(w, optimizer.init(w), w), weights)
    except (TypeError, AttributeError) as error:
        # What else may go wrong is not known to be the optimiser's fault.
        if isinstance(error, AttributeError):
            got = f"one that asks weights for more: {error}"
        elif "required keyword-only argument" in str(error):
            got = f"one that also needs {str(error).split(':')[-1].strip()}"
        else:
            return
        raise checks.mistake(
            "optimizer must make its steps of the gradient and the weights alone",
            got,
            "Pass for instance optax.adam(0.001).",
        ) from None


def _epochs(
    num_epochs: Any, first_epoch: Any, save_every: Any, save_steps: Any
) -> tuple[np.ndarray, np.integer]:
    """The epochs to save and the one before the first, in the integers that count them."""
    last = checks.count("num_epochs", num_epochs) + checks.count("first_epoch", first_epoch)
    if last > np.iinfo(np.int32).max:
        raise checks.mistake(
            "first_epoch + num_epochs must be below 2^31",
            checks.brief(last),
            "Epochs are counted in int32.",
        )
    epochs = trajectory.schedule(num_epochs, save_every, save_steps, "num_epochs")
    return epochs, np.int32(first_epoch)


def _tuned(hyperparameters: Any, learning_rate: Any) -> dict[str, Any]:
    """All hyperparameters that are given, by name."""
    if not isinstance(hyperparameters, Mapping | None):
        raise checks.mistake(
            "hyperparameters must be a dict",
            type(hyperparameters).__name__,
            "Write for instance {'b1': 0.9}.",
        )
    tuned = dict(hyperparameters or {})
    if learning_rate is None:
        return tuned
    if "learning_rate" in tuned:
        raise checks.mistake(
            "learning_rate must be given once",
            "it, and an entry of hyperparameters",
            "Leave out one of them.",
        )
    return tuned | {"learning_rate": learning_rate}


def _rule(hyperparameter: str) -> str:
    return "positive" if hyperparameter == "learning_rate" else "finite"


def _batches(weights: Weights) -> dict[str, tuple[int, ...]]:
    return {name: w.shape[:-2] for name, w in weights._asdict().items()}


def _check_shapes(weights: Weights, x: jax.Array) -> None:
    checks.data_matrix("x", x)
    w1, w2 = weights
    matrix = w1.shape[-2:]
    if len(matrix) < 2 or w2.shape[-2:] != matrix[::-1] or matrix[1] != x.shape[1]:
        raise checks.mistake(
            f"w1 and w2 must be matrices (..., H, D) and (..., D, H), D = {x.shape[1]} as in x",
            f"w1 {w1.shape}, w2 {w2.shape}",
            "One column of w1 and one row of w2 for each component of the data.",
        )


def _activation(name: Any) -> str:
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise checks.mistake(
            f"activation must be one of {', '.join(_ACTIVATIONS)}",
            checks.brief(name),
            "Name one of them.",
        )
    return name


def _batch_size(size: Any, x: jax.Array) -> int | None:
    if size is None:
        return None
    size = checks.count("batch_size", size, 1)
    if size > len(x):
        raise checks.mistake(
            f"batch_size must be at most the N = {len(x)} samples",
            checks.brief(size),
            "Leave it out for one step on all samples.",
        )
    return size


def _observer(observe: Any) -> Any:
    if observe is not None and not callable(observe):
        raise checks.mistake(
            "observe must be a function (epoch, w1, w2, x) -> arrays",
            type(observe).__name__,
            "Define one at the top of a module: each new function object compiles anew.",
        )
    return observe


def _carried(carry: Any, weights: Weights, batch: tuple[int, ...], optimizer: Any) -> Any:
    """The optimiser's state to begin with, leaves (*batch, ...)."""
    if carry is None:
        return _fresh(weights, batch, optimizer)
    like = jax.eval_shape(lambda weights: _fresh(weights, batch, optimizer), weights)

    def kinds(tree: Any) -> list[tuple]:
        leaves = jax.tree.leaves_with_path(tree)
        return [(path, jnp.shape(x), getattr(x, "dtype", None)) for path, x in leaves]

    if kinds(carry) != kinds(like):
        raise checks.mistake(
            "carry must be that of a run with this optimiser, batch and dtype",
            type(carry).__name__,
            "Pass Trajectory.carry of the call that this one continues, or nothing.",
        )
    return carry


def _check_tunable(tuned: Mapping[str, Any], state: Any) -> None:
    """What optax computes from a schedule at every step cannot be set."""
    names = set(getattr(state, "hyperparams", ())) - set(getattr(state, "hyperparams_states", ()))
    missing = sorted(set(tuned) - names)
    if missing:
        raise checks.mistake(
            "hyperparameters (and learning_rate) must be injected into the optimiser",
            f"{', '.join(missing)} where it has {', '.join(sorted(names)) or 'none'}",
            "Make it as in optax.inject_hyperparams(optax.adam)(learning_rate=0.001).",
        )


def _selected(spectrum: Spectrum, directions: Sequence[int] | None) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues, NaN where they are rounding, and eigenvectors of the directions."""
    values, vectors = spectrum.eigenvalues, spectrum.eigenvectors
    # Under the caller's jit too the few columns are taken now: whole, a constant is a burden.
    with jax.ensure_compile_time_eval():
        values = jnp.where(values > _SMALLEST * values[0], values, jnp.nan)
        if directions is None:
            return values, vectors
        index = [checks.count("an entry of directions", j) for j in directions]
        if max(index, default=0) >= len(values):
            raise checks.mistake(
                f"directions must be below D = {len(values)}",
                checks.brief(tuple(index)),
                "They are counted from 0.",
            )
        return values[np.asarray(index, int)], vectors[:, np.asarray(index, int)]


# --- cores --------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=(1, 2))
def _fresh(weights: Weights, batch: tuple[int, ...], optimizer: Any) -> Any:
    """The optimiser's state before its first step."""
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        return _unflat(jax.vmap(optimizer.init)(_flat(weights, batch, 2)), batch)


@functools.partial(jax.jit, static_argnums=(7, 8))
def _simulate(
    members: _Member,
    tuned: dict[str, jax.Array],
    carry: Any,
    weights: Weights,
    x: jax.Array,
    steps: jax.Array,
    first: jax.Array,
    batch: tuple[int, ...],
    settings: _Settings,
) -> Trajectory:
    good = jnp.broadcast_to(_good(members, tuned, x), batch)
    weights = jax.tree.map(lambda w: jnp.where(good[..., None, None], w, jnp.nan), weights)
    if tuned:
        old = carry.hyperparams
        new = {n: jnp.broadcast_to(v, batch).astype(old[n].dtype) for n, v in tuned.items()}
        carry = carry._replace(hyperparams={**old, **new})
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[len(batch) :]), carry)
    observe = settings.observe
    # What is saved is observed, for of the optimiser's state the last save alone is wanted.
    last, rows, _ = trajectory.follow(
        functools.partial(_advance, settings, x, _flat(members, batch, 0)),
        lambda state: _unflat((*state.weights, state.optimizer), batch),
        _State(first, _flat(weights, batch, 2), flat),
        steps,
        lambda step, *w: Weights(*w) if observe is None else observe(step, *w, x),
    )
    w1, w2, carry = last
    finite = jnp.isfinite(w1[0]).all((-2, -1)) & jnp.isfinite(w2[0]).all((-2, -1))
    status, carry = trajectory.status(good, finite), jax.tree.map(lambda leaf: leaf[0], carry)
    if observe is None:
        return Trajectory(steps, rows.w1, rows.w2, status, None, carry)
    return Trajectory(steps, w1, w2, status, rows, carry)


def _good(members: _Member, tuned: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Where all inputs are allowed."""
    named = {"x": x, "noise": members.noise, "decay": members.decay}
    masks = [checks.allowed(rule, named[name]) for name, rule in _RULES.items()]
    masks += [checks.allowed(_rule(name), value) for name, value in tuned.items()]
    masks += [draws.good(members.seed)]
    masks[0] = masks[0].all()
    return functools.reduce(jnp.logical_and, masks)


def _flat(tree: Any, batch: tuple[int, ...], own: int) -> Any:
    """Arrays with so many axes of their own, their batch axes made one."""

    def one(leaf: jax.Array) -> jax.Array:
        shape = leaf.shape[leaf.ndim - own :]
        return jnp.broadcast_to(leaf, batch + shape).reshape(math.prod(batch), *shape)

    return jax.tree.map(one, tree)


def _unflat(tree: Any, batch: tuple[int, ...]) -> Any:
    return jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), tree)


def _advance(
    settings: _Settings, x: jax.Array, members: _Member, state: _State, num_epochs: jax.Array
) -> _State:
    """Train a traced number of epochs, network by network."""

    def one(network: tuple[_Member, Weights, Any]) -> tuple[Weights, Any]:
        member, weights, optimizer = network
        root = draws.root(member.seed)
        noise, shuffle = (draws.fold(root, k) for k in (draws.NETWORK_NOISE, draws.SHUFFLE))

        def train(i: jax.Array, now: tuple[Weights, Any]) -> tuple[Weights, Any]:
            epoch = (state.epoch + i).astype(jnp.uint32)
            take = functools.partial(_step, settings, x, member, draws.fold(noise, epoch))
            if settings.batch_size is None:
                return take(None, now)
            order = _shuffled(draws.fold(shuffle, epoch), len(x))
            batches = order[: len(x) // settings.batch_size * settings.batch_size]
            batches = batches.reshape(-1, settings.batch_size)
            return jax.lax.fori_loop(0, len(batches), lambda b, now: take(batches[b], now), now)

        return jax.lax.fori_loop(0, num_epochs, train, (weights, optimizer))

    weights, optimizer = jax.lax.map(one, (members, state.weights, state.optimizer))
    return _State(state.epoch + num_epochs, weights, optimizer)


def _step(
    settings: _Settings,
    x: jax.Array,
    member: _Member,
    key: draws.Key,
    chosen: jax.Array | None,
    now: tuple[Weights, Any],
) -> tuple[Weights, Any]:
    """One step of one network's optimiser, on all samples or on those chosen."""
    weights, state = now
    gradient = _gradient(settings.activation, weights, x, member.noise, key, chosen)
    gradient = jax.tree.map(lambda g, w: g + member.decay * w, gradient, weights)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        updates, state = settings.optimizer.update(gradient, state, weights)
        return _optax().apply_updates(weights, updates), state


def _gradient(
    activation: str,
    weights: Weights,
    x: jax.Array,
    noise: jax.Array,
    key: draws.Key,
    chosen: jax.Array | None,
) -> Weights:
    """Gradient of the mean of (x^ - x)^2 over samples and components."""
    w1, w2 = weights
    phi, back = _ACTIVATIONS[activation]

    def part(clean: jax.Array, index: jax.Array, fresh: jax.Array) -> Weights:
        noisy = jax.lax.cond(
            noise > 0,
            lambda: clean + jnp.sqrt(noise) * fresh * _normal(key, index, clean),
            lambda: clean,
        )
        hidden = phi(product("nd,hd->nh", noisy, w1))
        residual = product("nh,dh->nd", hidden, w2) - clean
        slope = back(product("nd,dh->nh", residual, w2), hidden)
        slopes = product("nh,nd->hd", slope, noisy), product("nd,nh->dh", residual, hidden)
        return Weights(*slopes)

    scale = 2 / ((len(x) if chosen is None else len(chosen)) * x.shape[1])
    return jax.tree.map(lambda g: scale * g, _sum_over_blocks(part, x, chosen))


def _sum_over_blocks(part: Callable[..., Any], x: jax.Array, chosen: jax.Array | None) -> Any:
    """Sum of part(rows, their numbers, which are fresh) over blocks of samples.

    All blocks are of one size, so that the last may begin before the one before it has
    ended. Rows that it repeats are 0 and not fresh: networks have no biases, so where
    the noise is 0 too, outputs are, and such rows add nothing.
    """
    num_rows = len(x) if chosen is None else len(chosen)
    num_blocks = -(-num_rows * x.shape[1] // _BLOCK)
    size = -(-num_rows // num_blocks)

    def block(i: jax.Array | int) -> Any:
        start = jnp.minimum(i * size, num_rows - size)
        index = start + jnp.arange(size)
        fresh = (index >= i * size)[:, None]
        if chosen is None:
            rows = jax.lax.dynamic_slice_in_dim(x, start, size)
        else:
            index = jax.lax.dynamic_slice_in_dim(chosen, start, size)
            rows = x.at[index].get(mode="promise_in_bounds")
        return part(jnp.where(fresh, rows, 0), index, fresh.astype(x.dtype))

    if num_blocks == 1:
        return block(0)
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(block, 0))
    return jax.lax.fori_loop(
        0, num_blocks, lambda i, total: jax.tree.map(jnp.add, total, block(i)), zero
    )


@functools.partial(jax.jit, static_argnums=(4, 5))
def _mapping(
    weights: Weights,
    x: jax.Array,
    values: jax.Array,
    vectors: jax.Array,
    batch: tuple[int, ...],
    activation: str,
) -> jax.Array:
    phi, _ = _ACTIVATIONS[activation]

    def one(weights: Weights) -> jax.Array:
        decoder = product("dh,dk->hk", weights.w2, vectors)

        def part(rows: jax.Array, *_: jax.Array) -> jax.Array:
            hidden = phi(product("nd,hd->nh", rows, weights.w1))
            out = product("nh,hk->nk", hidden, decoder)
            return (out * product("nd,dk->nk", rows, vectors)).sum(0)

        return _sum_over_blocks(part, x, None) / (len(x) * values)

    return _unflat(jax.lax.map(one, _flat(weights, batch, 2)), batch)


# --- draws --------------------------------------------------------------------


def _normal(key: draws.Key, sample: jax.Array, like: jax.Array) -> jax.Array:
    """Standard normal numbers, one row per sample, of the shape and dtype of an array."""
    component = jnp.arange(like.shape[1], dtype=jnp.uint32)
    high, low = jnp.broadcast_arrays(sample.astype(jnp.uint32)[:, None], component)
    word, _ = draws.words(key, high, low)
    return draws.normal_24(word, like.dtype)


def _shuffled(key: draws.Key, num_samples: int) -> jax.Array:
    """The numbers of the samples, in an order drawn for the key."""
    sample = jnp.arange(num_samples)
    words = draws.words(key, sample.astype(jnp.uint32), jnp.zeros(num_samples, jnp.uint32))
    return jax.lax.sort((*words, sample), num_keys=2)[2]
