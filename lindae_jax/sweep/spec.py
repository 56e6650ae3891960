"""What a sweep is: parameters and their axes, the start, the saves, what is observed."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from lindae_jax import checks
from lindae_jax.problem import Weights
from lindae_jax.simulate import trajectory
from lindae_jax.spectrum import Spectrum
from lindae_jax.sweep import observe as observables
from lindae_jax.sweep.frozen import Frozen
from lindae_jax.sweep.parameters import (
    DEFAULTS,
    INITS,
    KINDS,
    MODELS,
    accepted,
    count,
    flag,
    numbers,
    parameter,
    within,
)

if TYPE_CHECKING:
    import xarray

# More could be held by no result, and their list alone would take long.
_MOST_SAVES = 2**20


@dataclasses.dataclass(frozen=True, eq=False)
class Sweep:
    """A grid of settings, each a run of gradient descent or of its theory.

    Nothing is computed before `run`. Every value is checked here.

    Parameters
    ----------
    axes : mapping of str to number or 1-D array_like
        Values of each parameter: a number is the same for all members, an array an axis of
        the grid, in the order given. Parameters are `eigenvalue` (not of matrices), `noise`,
        `decay`, `learning_rate`; `init_w1` and `init_w2` of a given start; `seed` and
        `init_std` of a small one, `init_std` (and, of matrices, `seed`) of an aligned one;
        `hidden`, the width of matrices. Left out, noise and decay are 0, the learning rate
        0.01, init_std 0.001, the seed 0.
    num_steps : int, optional
        Epochs of gradient descent >= 0. For theory only where `times` is left out.
    linked : mapping of str to sequence of str
        Name of an axis -> parameters that move along it together; they have equally many
        values, which stand beside that axis as coordinates.
    model : str
        "pairs", one pair of weights per member; "matrices", a whole autoencoder per member;
        "theory", the flow of a pair.
    init : str, optional
        The start. "given": `init_w1`, `init_w2` for pairs, `weights` for matrices. "small":
        independent normal weights of a seed. "aligned": pairs with both weights init_std, in
        matrices along every direction. By default "given" for pairs and theory, else "small".
    save_every, save_steps, save_log : int, sequence of int, int, optional
        One of them: save steps 0, k, 2k, ...; these steps; or this many steps spaced
        logarithmically from 1. The last step is always saved; without any, only that.
    times : array_like (T,), optional
        For theory, in epochs, strictly increasing, in place of num_steps and saves.
    observe : sequence of str
        What is kept of each member: see `lindae_jax.sweep.OBSERVABLES`. Always kept is the
        status.
    fraction : float
        Of w*, in (0, 1), whose first passage "first_passage" gives.
    directions : sequence of int, optional
        Of matrices, those whose mapping is kept, 1 for the largest eigenvalue; by default
        all that the widest network can learn.
    spectrum : Spectrum, optional
        Of matrices, whose eigenvalues are taken.
    weights : Weights, optional
        Of matrices with a given start: w1 (H, D) and w2 (D, H) in the eigenbasis, where
        `hidden` is left out or H.
    keep_weights : bool
        Keep each member's last weights, from which more steps can be taken later.
    dtype : str
        "float32" or "float64"; the latter needs `jax_enable_x64` when it runs.

    Raises
    ------
    ValueError
        A parameter that is unknown, missing, not of this model, or out of its range; linked
        axes that contradict each other; a setting out of its range or not of this model. The
        message begins with the name, that of an axis as `axes.noise`.
    """

    axes: Mapping[str, Any]
    num_steps: int | None = None
    _: dataclasses.KW_ONLY
    linked: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    model: str = "pairs"
    init: str | None = None
    save_every: int | None = None
    save_steps: Sequence[int] | None = None
    save_log: int | None = None
    times: ArrayLike | None = None
    observe: Sequence[str] = ("mapping",)
    fraction: float = 0.5
    directions: Sequence[int] | None = None
    spectrum: Spectrum | None = None
    weights: Weights | None = None
    keep_weights: bool = True
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Check every field, and bring it to the one form that the rest relies on."""
        _choice("model", self.model, MODELS)
        if self.init is None:
            self._set("init", "small" if self.model == "matrices" else "given")
        _choice("init", self.init, INITS)
        _choice("dtype", self.dtype, ("float32", "float64"))
        flag("keep_weights", self.keep_weights)
        self._check_matrices()
        self._check_spectrum()
        self._set("axes", Frozen(self._checked_axes()))
        self._set("linked", Frozen(self._checked_links()))
        self._check_saves()
        self._set("observe", observables.checked(self.observe, self.model, self._has_rows()))
        self._set("fraction", _fraction(self.fraction, self.dtype))
        self._set("directions", self._checked_directions())

    def run(
        self,
        store: str | os.PathLike | None = None,
        chunk_size: int | None = None,
        devices: int | None = None,
        progress: bool = True,
        resume: bool = True,
        *,
        process: tuple[int, int] | None = None,
        client: Any = None,
        takeover: bool = False,
        allow_large: bool = False,
    ) -> "xarray.Dataset":
        """Compute all members that are not there yet.

        Parameters
        ----------
        store : path, optional
            Folder of a zarr store, made if it is not there. If it is, what it lacks is
            computed; where this sweep has more values at the end of an axis, or more steps,
            it is extended. Without one the result is in memory.
        chunk_size : int, optional
            Members computed at a time; by default as many as the devices' memory holds. It
            changes no result.
        devices : int, optional
            How many devices of this process to use, by default all. Not with `client`.
        progress : bool
            Show a bar, if standard error is a terminal.
        resume : bool
            Go on with a store that is there; False refuses it.
        process : pair of int, optional
            (I, N): compute only every N-th chunk of the store, from the I-th on, beside
            others that take the rest. By default as Slurm or `jax.distributed` count this
            process, which is logged as a warning, else (0, 1).
        client : distributed.Client, optional
            Have dask's workers compute, who must see the store's path.
        takeover : bool
            Go on although another process seems to be at work, on file systems without locks.
        allow_large : bool
            Begin even if the disk (or memory) has not the room for all results.

        Returns
        -------
        xarray.Dataset
            With the axes as coordinates; of a store, read lazily. Members that nobody has
            computed yet are NaN, of status NOT_RUN.

        Raises
        ------
        ValueError
            A store of another configuration (the message shows the difference), or nothing
            of this library; no room; a path that cannot be written; dtype float64 while
            `jax_enable_x64` is off, here or on dask's workers; other arguments out of their range.
        RuntimeError
            Another process is at the same work; or dask's workers died, or took leave of
            their scheduler. What is done is kept; running again goes on.
        ImportError
            Without xarray and zarr, which `pip install "lindae_jax[sweep]"` brings.
        OSError
            Writing failed. What has been done is kept; running again goes on.
        """
        from lindae_jax.sweep.run import run

        return run(
            self,
            store,
            chunk_size=chunk_size,
            num_devices=devices,
            progress=progress,
            resume=resume,
            process=process,
            client=client,
            takeover=takeover,
            allow_large=allow_large,
        )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    # --- the grid -----------------------------------------------------------------

    @property
    def dims(self) -> dict[str, int]:
        """Axes of the grid in order, with their lengths."""
        group = {name: dim for dim, names in self.linked.items() for name in names}
        return {
            group.get(name, name): values.size
            for name, values in self.axes.items()
            if values.ndim == 1
        }

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(self.dims.values())

    @property
    def num_members(self) -> int:
        """Members of the grid."""
        return math.prod(self.shape)

    def dims_of(self, name: str) -> tuple[str, ...]:
        """The axis along which a parameter varies, if any."""
        if self.axes[name].ndim == 0:
            return ()
        return (next((dim for dim, names in self.linked.items() if name in names), name),)

    # --- time ---------------------------------------------------------------------

    @property
    def rows(self) -> np.ndarray:
        """What is saved: steps (saves,), int64, or times (T,), float64."""
        if self.times is not None:
            return np.asarray(self.times)
        assert self.num_steps is not None
        steps = None if self.save_log is None else _log_steps(self.save_log, self.num_steps)
        saves = trajectory.saved_steps(self.num_steps, self.save_every, steps or self.save_steps)
        return np.asarray(saves, np.int64)

    def _has_rows(self) -> bool:
        asked = any(x is not None for x in (self.save_every, self.save_steps, self.save_log))
        return asked and (self.num_steps == 0 or len(self.rows) > 1)

    # --- matrices -----------------------------------------------------------------

    @property
    def num_directions(self) -> int:
        """D of matrices."""
        assert self.spectrum is not None
        return np.shape(self.spectrum.eigenvalues)[0]

    @property
    def widest(self) -> int:
        """H of the widest network."""
        return int(self.axes["hidden"].max())

    # --- checks -------------------------------------------------------------------

    def _check_matrices(self) -> None:
        matrices = self.model == "matrices"
        if matrices != (self.spectrum is not None):
            raise checks.mistake(
                "spectrum goes with model = 'matrices'",
                f"model = {self.model!r} and {'no' if matrices else 'a'} spectrum",
                "Pass both or neither; pairs have axes.eigenvalue.",
            )
        given = matrices and self.init == "given"
        if given != (self.weights is not None):
            raise checks.mistake(
                "weights goes with model = 'matrices' and init = 'given'",
                f"model = {self.model!r}, init = {self.init!r}, weights "
                f"{'missing' if given else 'given'}",
                "Pass all three, or leave weights out.",
            )
        if given:
            self._set("weights", _start_matrices(self.weights, self.num_directions, self.dtype))
        if self.directions is not None and not matrices:
            raise checks.mistake(
                "directions goes with model = 'matrices'",
                f"model = {self.model!r}",
                "Leave it out: a pair has one direction.",
            )

    def _check_spectrum(self) -> None:
        if self.spectrum is None:
            return
        remedy = "Make one with Spectrum.from_data."
        if not isinstance(self.spectrum, Spectrum):
            raise checks.mistake(
                "spectrum must be a Spectrum", type(self.spectrum).__name__, remedy
            )
        values = numbers(self.spectrum.eigenvalues)
        if values is None or values.ndim != 1 or not values.size or (np.diff(values) > 0).any():
            raise checks.mistake(
                "spectrum must have a list of eigenvalues, descending",
                checks.brief(self.spectrum.eigenvalues),
                remedy,
            )
        within("spectrum", values, "non_negative", self.dtype)

    def _checked_axes(self) -> dict[str, np.ndarray]:
        if not isinstance(self.axes, Mapping):
            raise checks.mistake(
                "axes must map parameters to values",
                type(self.axes).__name__,
                'Write axes={"noise": [0, 0.1]}.',
            )
        names = accepted(self.model, str(self.init))
        for name in self.axes:
            if name not in names:
                raise checks.mistake(
                    f"axes.{name} must be a parameter of model = {self.model!r} with "
                    f"init = {self.init!r}",
                    repr(name),
                    f"Those are {', '.join(names)}.",
                )
        given = dict(self.axes)
        if self.weights is not None:
            given.setdefault("hidden", self.weights.w1.shape[0])
        for name in names:
            if name not in given and name not in DEFAULTS:
                raise checks.mistake(
                    f"axes.{name} must be given for model = {self.model!r} with "
                    f"init = {self.init!r}",
                    "nothing",
                    "Pass a number or a list of numbers.",
                )
        given |= {name: DEFAULTS[name] for name in names if name not in given}
        axes = {
            name: np.asarray(parameter(name, values, self.dtype)) for name, values in given.items()
        }
        for array in axes.values():
            array.flags.writeable = False  # they are this sweep's own
        if self.weights is not None and (axes["hidden"] != self.weights.w1.shape[0]).any():
            raise checks.mistake(
                "axes.hidden must be that of weights",
                f"{axes['hidden']} for w1 {self.weights.w1.shape}",
                "Leave it out.",
            )
        return axes

    def _checked_links(self) -> dict[str, tuple[str, ...]]:
        if not isinstance(self.linked, Mapping):
            raise checks.mistake(
                "linked must map an axis to parameters",
                type(self.linked).__name__,
                'Write linked={"strength": ["noise", "decay"]}.',
            )
        seen: dict[str, str] = {}
        links = {}
        for dim, names in self.linked.items():
            links[dim] = self._checked_link(dim, names)
            for name in names:
                if name in seen:
                    raise checks.mistake(
                        f"linked.{dim} must name parameters that move along one axis only",
                        f"{name!r}, which is in linked.{seen[name]} too",
                        "Take it out of one of them.",
                    )
                seen[name] = dim
        return links

    def _checked_link(self, dim: str, names: Sequence[str]) -> tuple[str, ...]:
        listed = isinstance(names, list | tuple) and all(isinstance(n, str) for n in names)
        if not listed or len(names) < 2 or len(set(names)) < len(names):
            raise checks.mistake(
                f"linked.{dim} must list two parameters or more",
                checks.brief(names),
                'Write linked={"strength": ["noise", "decay"]}.',
            )
        reserved = {*observables.DIMENSIONS, *observables.variable_names(), *KINDS}
        if not isinstance(dim, str) or not dim.isidentifier() or dim in reserved:
            raise checks.mistake(
                f"linked.{dim} must be a name of its own",
                repr(dim),
                "Take another, which no parameter and no result has.",
            )
        lengths = {}
        for name in names:
            if name not in self.axes or self.axes[name].ndim == 0:
                raise checks.mistake(
                    f"linked.{dim} must name parameters with a list of values",
                    repr(name),
                    f"Give axes.{name} such a list, or take it out.",
                )
            lengths[name] = self.axes[name].size
        if len(set(lengths.values())) > 1:
            raise checks.mistake(
                f"linked.{dim} must name parameters with equally many values",
                ", ".join(f"{n} {size}" for n, size in lengths.items()),
                "They move together, value by value.",
            )
        return tuple(names)

    def _check_saves(self) -> None:
        if self.times is not None:
            self._check_times()
            return
        if self.num_steps is None:
            raise checks.mistake(
                "num_steps must be given",
                "nothing",
                "Pass an integer >= 0" + (", or times." if self.model == "theory" else "."),
            )
        chosen = {n: getattr(self, n) for n in ("save_every", "save_steps", "save_log")}
        given = [n for n, value in chosen.items() if value is not None]
        if len(given) > 1:
            raise checks.mistake(
                f"{given[0]} and {given[1]} exclude each other", "both", "Pass one of them."
            )
        self._set("num_steps", count("num_steps", self.num_steps))
        for name in ("save_every", "save_log"):
            if chosen[name] is not None:
                self._set(name, count(name, chosen[name], 1))
        if self.save_steps is not None:
            self._set("save_steps", _integers("save_steps", self.save_steps, 0))
        self._check_number_of_saves()
        trajectory.saved_steps(
            *(self.num_steps, self.save_every),
            (1,) if self.save_log and self.num_steps else self.save_steps,
        )

    def _check_number_of_saves(self) -> None:
        assert self.num_steps is not None
        counts = {
            "save_every": self.num_steps // self.save_every if self.save_every else 0,
            "save_log": min(self.save_log or 0, self.num_steps),
        }
        for name, number in counts.items():
            if number > _MOST_SAVES:
                raise checks.mistake(
                    f"{name} must leave at most {_MOST_SAVES:,} saves",
                    f"{checks.brief(number)} with num_steps = {checks.brief(self.num_steps)}",
                    "Save more rarely.",
                )

    def _check_times(self) -> None:
        others = ("num_steps", "save_every", "save_steps", "save_log")
        given = [name for name in others if getattr(self, name) is not None]
        if self.model != "theory" or given:
            raise checks.mistake(
                "times goes with model = 'theory', in place of num_steps and saves",
                f"model = {self.model!r}" + "".join(f" and {name}" for name in given),
                "Leave out one or the other.",
            )
        times = numbers(self.times)
        if times is None or times.ndim != 1 or times.size == 0:
            raise checks.mistake(
                "times must be a list of numbers",
                checks.brief(self.times),
                "Write epochs, as in [0, 10, 100].",
            )
        times = within("times", times, "non_negative", self.dtype)
        if (np.diff(times.astype(self.dtype)) <= 0).any():
            raise checks.mistake(
                f"times must increase strictly in {self.dtype}",
                checks.brief(self.times),
                "Sort them, and leave out those that are too close.",
            )
        self._set("times", times)

    def _checked_directions(self) -> tuple[int, ...] | None:
        if self.model != "matrices":
            return None
        reach = min(self.widest, self.num_directions)
        if self.directions is None:
            return tuple(range(1, reach + 1))
        chosen = _integers("directions", self.directions, 1)
        if not chosen or max(chosen) > self.num_directions:
            raise checks.mistake(
                f"directions must be a list of integers from 1 to {self.num_directions}",
                checks.brief(self.directions),
                "1 is the direction of the largest eigenvalue.",
            )
        if len(set(chosen)) < len(chosen):
            raise checks.mistake(
                "directions must differ", checks.brief(chosen), "Name each of them once."
            )
        return chosen


def _choice(name: str, value: Any, choices: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(map(repr, choices[:-1])) + f" or {choices[-1]!r}"
        raise checks.mistake(f"{name} must be {listed}", checks.brief(value), "Name one of them.")


def _fraction(value: Any, dtype: str) -> float:
    real = isinstance(value, float | np.floating)
    # As it will be computed with, it must not be rounded to 0 or 1.
    if not real or not 0 < np.dtype(dtype).type(value) < 1:
        raise checks.mistake("fraction must lie between 0 and 1", checks.brief(value), "Say 0.5.")
    return float(value)


def _integers(name: str, values: Any, least: int) -> tuple[int, ...]:
    listed = np.iterable(values) and not isinstance(values, str | bytes | Mapping)
    entries: list[Any] = list(values) if listed else [None]
    whole = (isinstance(x, int | np.integer) and not isinstance(x, bool) for x in entries)
    if not all(whole) or min(entries, default=least) < least:
        raise checks.mistake(
            f"{name} must be a list of integers >= {least}",
            checks.brief(values),
            "Write [1, 2, 4].",
        )
    return tuple(map(int, entries))


def _log_steps(num: int, num_steps: int) -> tuple[int, ...]:
    """About so many steps, spaced logarithmically from 1 to the last."""
    if num >= num_steps:
        return tuple(range(1, num_steps + 1))
    return tuple(np.unique(np.geomspace(1, num_steps, num).round().astype(int)).tolist())


def _start_matrices(weights: Any, num_directions: int, dtype: str) -> Weights:
    try:
        w1, w2 = (np.asarray(numbers(w)) for w in weights)
    except (TypeError, ValueError):
        w1 = w2 = np.asarray(None)
    fits = w1.ndim == w2.ndim == 2 and w1.shape == w2.shape[::-1] and w1.size > 0
    if not fits or w1.shape[1] != num_directions:
        raise checks.mistake(
            f"weights must be a pair of matrices (H, {num_directions}) and ({num_directions}, H)",
            checks.brief(weights) if w1.dtype == object else f"{w1.shape} and {w2.shape}",
            "Give both in the eigenbasis; Spectrum.rotate brings them there.",
        )
    own = []
    for w in (w1, w2):
        with np.errstate(over="ignore"):
            checks.check_host("weights", w.astype(dtype), "finite")
        own.append(w.copy())  # the caller's may change
        own[-1].setflags(write=False)
    return Weights(*own)
