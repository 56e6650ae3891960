"""The `lindae` command line."""

import contextlib
import functools
import inspect
import io
import itertools
import logging
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_type_hints

import numpy as np

# A mistake of the caller, a computation that failed, Ctrl-C (128 + SIGINT).
_MISTAKE, _FAILURE, _INTERRUPTED = 2, 1, 130


class Option(NamedTuple):
    """How an option is shown by --help."""

    metavar: str | None
    words: str
    default: str | None = None
    """In words, where it depends on other options."""
    positional: bool = False


def reproduce(
    *,
    data: Annotated[
        str,
        Option("NAME|FILE", "digits, mnist, cifar10, or an .npy or .npz file of samples."),
    ] = "digits",
    root: Annotated[
        Path | None,
        Option(
            "DIR",
            "Folder of MNIST's IDX files or CIFAR-10's binary version.",
            "fetched from OpenML",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        Option(
            "N",
            "The first so many samples.",
            "digits 1,497, mnist 50,000, cifar10 30,000, FILE all",
        ),
    ] = None,
    hidden: Annotated[
        int | None,
        Option(
            "H",
            "Hidden units.",
            "digits 32, mnist 256, cifar10 512, FILE half its inputs, at most 256",
        ),
    ] = None,
    noise: Annotated[
        float | None,
        Option(
            "V",
            "Variance of the input noise of the DAE.",
            "digits 0.03, mnist 0.5, cifar10 0.5, FILE half of eigenvalue H/2 or the last above 0",
        ),
    ] = None,
    decay: Annotated[
        float | None, Option("G", "Weight decay of the WDAE.", "the default of --noise")
    ] = None,
    learning_rate: Annotated[
        float | None,
        Option(
            "A",
            "Step size of gradient descent.",
            "digits 0.05, mnist 0.01, cifar10 0.001, FILE 0.5/eigenvalue 1",
        ),
    ] = None,
    steps: Annotated[int | None, Option("T", "Epochs, a full-batch step each.", "5,000")] = None,
    init: Annotated[
        Literal["small", "aligned"],
        Option(
            None,
            "Weights at the start: small and random, as in the paper's Figure 5, or aligned with "
            "the data, where the theory is exact for small steps.",
        ),
    ] = "small",
    init_std: Annotated[
        float | None,
        Option("S", "Standard deviation of small weights, value of aligned ones.", "0.001"),
    ] = None,
    seed: Annotated[int, Option("K", "Seed of the weights.")] = 0,
    directions: Annotated[
        str | None,
        Option(
            "1,2,4",
            "Eigen-directions to show, from that of the largest eigenvalue on.",
            "digits 1,2,4,8,16, mnist and cifar10 1,4,8,16,32, FILE the powers of 2 up to H",
        ),
    ] = None,
    float64: Annotated[bool, Option(None, "Compute in float64, not float32.")] = False,
    out: Annotated[
        Path | None,
        Option("DIR", "Folder of the results.", "lindae-reproduce-NAME in this folder"),
    ] = None,
) -> int:
    """Train three autoencoders on real data, beside the theory.

    An AE, a WDAE (weight decay) and a DAE (input noise) start from the same weights.

    Written: a figure like the paper's Figure 5, and JSON of every number in it.
    """
    import jax

    if float64:
        jax.config.update("jax_enable_x64", True)
    from lindae_jax import reproduce as job

    folder = out or Path(f"lindae-reproduce-{Path(data).stem}")
    with _errors(_MISTAKE, ValueError, OSError, ImportError):
        job.check_out(folder)
        settings, eigenvalues, seconds = job.prepare(
            data,
            root=root,
            num_samples=samples,
            hidden=hidden,
            noise=noise,
            decay=decay,
            learning_rate=learning_rate,
            num_steps=steps,
            init=init,
            init_std=init_std,
            seed=seed,
            directions=directions,
            float64=float64,
        )
    print(settings_text(settings), flush=True)
    failures = FloatingPointError, MemoryError, jax.errors.JaxRuntimeError
    with _errors(_MISTAKE, ImportError), _errors(_FAILURE, *failures):
        result = job.compare(settings, eigenvalues, seconds=seconds)
    print(table_text(result), flush=True)
    with _errors(_FAILURE, ValueError, OSError):
        files = result.save(folder)
    print("\n".join(["", *map(str, files)]))
    return 0


def figure(
    *,
    which: Annotated[
        str,
        Option(
            "N|all",
            "Of the paper 1 to 6, or 6-tanh; sampled, stopping and animation beside it; or all.",
            positional=True,
        ),
    ],
    data: Annotated[
        str | None,
        Option(
            "NAME|FILE",
            "Data of a figure made from data, as of reproduce; with all: but not of stopping. "
            "Alone, that takes some minutes, for it shortens training, not the data.",
            "with --quick the digits, else the paper's, of stopping the digits",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        Option(
            "DIR",
            "Folder of their files, as of reproduce; goes with --quick if data are named.",
            "fetched from OpenML",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        Option(
            "N",
            "The first so many samples; with all: of Figure 6. That takes hours on a CPU with "
            "all of MNIST, ten minutes with 5000.",
            "as many as the paper's",
        ),
    ] = None,
    noise: Annotated[
        float | None,
        Option(
            "V",
            "Variance of the DAE's input noise in Figure 6 and 6-tanh.",
            "digits 0.3, mnist and cifar10 4, FILE as of reproduce",
        ),
    ] = None,
    decay: Annotated[
        float | None,
        Option(
            "G",
            "Weight decay of the WDAE in Figure 6 and 6-tanh.",
            "digits 0.008, mnist and cifar10 0.0045, FILE 2/inputs of that of reproduce",
        ),
    ] = None,
    seed: Annotated[
        int | None, Option("K", "Seed of weights and noise in Figure 6 and 6-tanh.", "0")
    ] = None,
    start_of_theory: Annotated[
        str | None,
        Option(
            "each|mean",
            "Where the theory begins in Figure 5: each direction at its own start, or all at "
            "their mean, as in the authors' code.",
            "each",
        ),
    ] = None,
    quick: Annotated[
        bool, Option(None, "Coarser curves, shorter runs, of the digits unless data are named.")
    ] = False,
    float64: Annotated[bool, Option(None, "Compute in float64, not float32.")] = False,
    out: Annotated[Path, Option("DIR", "Folder of the results.")] = Path("lindae-figures"),
) -> int:
    """Draw a figure of the paper, or all of them, from numbers computed anew.

    Written: the picture as PNG and SVG, and JSON of every number in it, with a caption; of all
    of them also index.html, a page that shows them.
    """
    import jax

    if float64:
        jax.config.update("jax_enable_x64", True)
    from lindae_jax import figures, start

    start.use_all_cores()
    with _errors(_MISTAKE, ValueError, OSError, ImportError):
        jobs = figures.prepare(
            which,
            out,
            data=data,
            root=root,
            num_samples=samples,
            noise=noise,
            decay=decay,
            seed=seed,
            start_of_theory=start_of_theory,
            quick=quick,
        )
    pages: list[dict[str, Any]] = []
    try:
        for job in jobs:
            pages.append(_figure(job, out))
        if which == "all":
            with _errors(_FAILURE, ValueError, OSError):
                print(*figures.save_gallery(pages, out))
    except KeyboardInterrupt:
        if not pages:
            raise
        print("lindae: interrupted; the files listed were written", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _figure(job: Any, out: Path) -> dict[str, Any]:
    """Compute, write and describe one."""
    import jax

    from lindae_jax import figures

    failures = FloatingPointError, MemoryError, jax.errors.JaxRuntimeError
    # Whether data suit a figure is seen where it uses them.
    with _quiet("lindae_jax"), _errors(_FAILURE, *failures), _errors(_MISTAKE, ValueError):
        page = figures.compute(job)
    with _errors(_FAILURE, ValueError, OSError):
        files = figures.save(page, out)
    heading = f"{page['title']} ({page['seconds']['numbers']:.1f} seconds)"
    print("\n".join([heading, "", textwrap.fill(page["caption"], 80), ""]))
    print("\n".join([*map(str, files), ""]), flush=True)
    return page


def bench(
    *,
    quick: Annotated[bool, Option(None, "Smaller sizes and short runs, for a first look.")] = False,
    case: Annotated[
        Literal["all", "pairs", "matrices", "theory", "curvature", "start"],
        Option(None, "What to measure; start is the time to import and to a first result."),
    ] = "all",
    json: Annotated[
        Path | None,
        Option("FILE", "Write all times measured to FILE, a plot beside it.", "nothing is written"),
    ] = None,
) -> int:
    """Measure the library beside its rivals and the limits of this machine.

    Every answer is checked before it is timed; nothing is reported by a JAX that miscompiles.

    All takes less than 20 minutes, or with --quick one; a rival that is not installed is
    left out with a word.
    """
    import jax

    from lindae_jax import bench as suite
    from lindae_jax import start

    if json is not None:
        with _errors(_MISTAKE, ValueError, ImportError):
            suite.check_json(json)
    start.use_all_cores()
    jax.config.update("jax_enable_x64", True)
    with _errors(_FAILURE, FloatingPointError, MemoryError, jax.errors.JaxRuntimeError):
        report = suite.run(
            suite.CASES if case == "all" else (case,),
            quick=quick,
            show=lambda result: print(suite.result_text(result), flush=True),
        )
    print(suite.summary_text(report), suite.heading_text(report), sep="\n\n", flush=True)
    if json is not None:
        with _errors(_FAILURE, ValueError, OSError):
            files = suite.save(report, json)
        print("\n".join(["", *map(str, files)]))
    return 0


def sweep(
    *,
    config: Annotated[
        Path, Option("SWEEP.toml", "What to sweep; docs/examples has some.", positional=True)
    ],
    store: Annotated[
        Path | None,
        Option(
            "DIR",
            "Zarr store of the results, made if it is not there. If it is, what it lacks is "
            "computed, more values or steps are added.",
            "none; needed unless --dry-run",
        ),
    ] = None,
    dry_run: Annotated[
        bool, Option(None, "Only print members, chunks, size and time expected.")
    ] = False,
    status: Annotated[
        bool, Option(None, "Only print how far the store is, while others fill it.")
    ] = False,
    devices: Annotated[
        int | None, Option("N", "Devices to use; on a CPU, cores.", "all there are")
    ] = None,
    process: Annotated[
        str | None,
        Option(
            "I/N",
            "Compute every N-th chunk only, from the I-th on; 0/2 and 1/2 share the work.",
            "Slurm's count of this process, else 0/1",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        Option("ADDRESS", "Have the workers of this dask scheduler compute.", "this process"),
    ] = None,
    takeover: Annotated[
        bool,
        Option(None, "Go on though another process seems to be at work (no locks to tell)."),
    ] = False,
    allow_large: Annotated[
        bool, Option(None, "Begin even if the disk has not the room for all results.")
    ] = False,
    float64: Annotated[bool, Option(None, "Compute in float64, whatever the file says.")] = False,
) -> int:
    """Run a grid of settings into a store that survives kills and can be extended.

    Stop it at any time; the same command goes on. xarray.open_zarr reads the store.
    """
    import jax

    from lindae_jax import start
    from lindae_jax.sweep import Busy, plan, progress, toml
    from lindae_jax.sweep.cluster import WorkersLost
    from lindae_jax.sweep.devices import default_share
    from lindae_jax.sweep.limits import refuse_what_does_not_fit

    with _errors(_MISTAKE, ValueError, label=str(config)):
        tables = toml.read(config)
        if float64 or tables.get("dtype") == "float64":
            tables["dtype"] = "float64"
            jax.config.update("jax_enable_x64", True)
    with _errors(_MISTAKE, ValueError):
        share = None if process is None else _share(process)
        _check_what_to_do(store, dry_run, status, devices, scheduler)
        path = store or Path()
    start.use_all_cores(devices)
    with _errors(_MISTAKE, ValueError, ImportError, OSError, label=str(config)):
        job = toml.sweep_of(tables, config.parent)
    with _errors(_MISTAKE, ValueError, ImportError, Busy):
        if status:
            print(progress.status_text(path, job))
            return 0
        if dry_run:
            print(plan.plan_text(plan.plan(job, devices, store)), flush=True)
            if not allow_large:
                refuse_what_does_not_fit(job, store)
            return 0
        if share is None and scheduler is None:
            index, count = default_share()
            if count > 1:
                share = index, count
                print(f"share {index}/{count} of the chunks, as counted by Slurm or JAX")
    failures = OSError, FloatingPointError, MemoryError, jax.errors.JaxRuntimeError, WorkersLost
    try:
        with (
            _errors(_MISTAKE, ValueError, ImportError, Busy),
            _errors(_FAILURE, *failures),
            _cluster(scheduler) as client,
        ):
            job.run(
                *(path, None, devices),
                process=share,
                client=client,
                takeover=takeover,
                allow_large=allow_large,
            )
            print(progress.summary_text(path), path, sep="\n")
    except KeyboardInterrupt:
        print("lindae: interrupted; the same command goes on", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _share(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ValueError(f"process must be I/N with 0 <= I < N; got {text!r}. Say 0/4.")
    return int(index), int(count)


def _check_what_to_do(
    store: Path | None, dry_run: bool, status: bool, devices: int | None, scheduler: str | None
) -> None:
    if dry_run and status:
        raise ValueError("status and --dry-run exclude each other; got both. Pass one of them.")
    if store is None and not dry_run:
        raise ValueError("store must be given; got nothing. Name a folder, or pass --dry-run.")
    if devices is not None and devices < 1:
        raise ValueError(f"devices must be at least 1; got {devices}. Leave it out for all.")
    if devices is not None and scheduler is not None:
        raise ValueError(
            "devices and --scheduler exclude each other; got both. Leave devices out: each of "
            "dask's workers uses all that it has."
        )


@contextlib.contextmanager
def _cluster(scheduler: str | None):
    """A client of dask's scheduler, if one is named."""
    if scheduler is None:
        yield None
        return
    try:
        from distributed import Client
        from distributed.comm import get_address_host_port
    except ImportError as error:
        raise ImportError(
            "scheduler needs dask; install it with: pip install 'lindae_jax[dask]'"
        ) from error
    try:
        # A client that is told nonsense is long in dying, and loud.
        get_address_host_port(scheduler)
        # As the default it would take what xarray computes later, and be waited for.
        client = Client(scheduler, timeout="10s", set_as_default=False)
    except ValueError as error:
        raise ValueError(
            f"scheduler must be an address; got {scheduler!r} ({error}). Say tcp://host:8786."
        ) from error
    except OSError as error:
        raise OSError(f"scheduler {scheduler} cannot be reached ({error})") from error
    # Of a lost scheduler it logs pages, of which our one line is the gist.
    with _quiet("distributed.client"), client:
        yield client


@contextlib.contextmanager
def _quiet(name: str):
    """Nothing from a logger that speaks to those who write programs."""
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


_COMMANDS: dict[str, Callable[..., int]] = {
    "reproduce": reproduce,
    "figure": figure,
    "sweep": sweep,
    "bench": bench,
}


# --- text --------------------------------------------------------------------


def settings_text(settings: Any) -> str:
    """Settings of a reproduction, one per line.

    Parameters
    ----------
    settings : lindae_jax.reproduce.Settings
    """
    where = f", from {settings.root}" if settings.root else ""
    rows = {
        "data": f"{settings.data}: {settings.num_samples:,} samples of {settings.num_inputs:,} "
        f"inputs ({settings.split}{where})",
        "hidden units": f"{settings.hidden}",
        "noise (DAE)": f"{settings.noise:.6g}",
        "decay (WDAE)": f"{settings.decay:.6g}",
        "learning rate": f"{settings.learning_rate:.6g}",
        "epochs": f"{settings.num_steps:,}",
        "start": f"{settings.init}, {settings.init_std:g}, seed {settings.seed}",
        "precision": f"{settings.dtype}",
    }
    return "\n".join(f"{name:<14} {value}" for name, value in rows.items())


_HEADER = (
    f"{'':>21} {'------- w* -------':>19} {'---- half-time -----':>20} {'worst':>11}",
    f"{'direction':>9} {'eigenvalue':>11} {'predicted':>10} {'reached':>8} {'predicted':>11} "
    f"{'reached':>8} {'difference':>11}",
)


def table_text(result: Any) -> str:
    """Theory beside training, a block per network and a line per direction.

    Parameters
    ----------
    result : lindae_jax.reproduce.Reproduction
    """
    from lindae_jax.reproduce import NETWORKS

    settings = result.settings
    names = ("", f" (decay {settings.decay:.6g})", f" (noise {settings.noise:.6g})")
    lines = []
    for k, network in enumerate(NETWORKS):
        lines += ["", network + names[k], *_HEADER]
        for j in settings.directions:
            at = k, j - 1
            lines.append(
                f"{j:>9} {result.eigenvalue[j - 1]:>#11.5g}"
                f" {result.fixed_point[at]:>10.4f} {result.reached[at]:>8.4f}"
                f" {_epoch(result.half_time[at]):>11}"
                f" {_epoch(result.half_time_reached[at], settings.num_steps):>8}"
                f" {result.worst_difference[at]:>11.4f}"
            )
    lines += ["", *(textwrap.fill(f"Note: {note}", 80) for note in result.notes)]
    spent = sum(result.seconds.values())
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in result.seconds.items())
    return "\n".join([*lines, f"{spent:.1f} seconds ({parts})"])


def _epoch(value: float, last: int | None = None) -> str:
    """A half-time; "-" where w* is 0, so that there is none."""
    if np.isnan(value):
        return "-"
    if np.isinf(value):
        return "never" if last is None else f"> {last}"
    return f"{value:.1f}"


# --- the entry point -----------------------------------------------------------


class _Stop(Exception):
    """Ends the program with one line and an exit code."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


@contextlib.contextmanager
def _errors(code: int, *kinds: type[Exception], label: str | None = None):
    """Turn exceptions of these kinds into one line and an exit code.

    The line speaks of options, or, with the label of a file, of the keys in it.
    """
    try:
        yield
    except kinds as error:
        message = str(error)
        raise _Stop(f"{label}: {message}" if label else _as_options(message), code) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        Exit code: 0; 1 for a computation that failed; 2 for a mistake in the
        arguments or the data; 130 after Ctrl-C.
    """
    try:
        command = _parse(list(sys.argv[1:] if arguments is None else arguments))
        code = 0 if command is None else command()
        sys.stdout.flush()
        return code
    except _Stop as stop:
        print(f"lindae: error: {_one_line(str(stop))}", file=sys.stderr)
        return stop.code
    except KeyboardInterrupt:
        print("lindae: interrupted; nothing was written", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone, so that nobody is left to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILURE


def _parse(arguments: list[str]) -> Callable[[], int] | None:
    """The command asked for, ready to be called; None if only help was."""
    with _errors(_MISTAKE, ImportError):
        try:
            import tyro
        except ImportError as error:
            raise ImportError(
                "the command line needs tyro; install it with: pip install 'lindae_jax[cli]'"
            ) from error
    # Calls are put off: only what the parser itself prints is to be caught.
    commands = {name: _put_off(tyro, command) for name, command in _COMMANDS.items()}
    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            return tyro.extras.subcommand_cli_from_dict(
                commands,
                prog="lindae",
                description="How linear autoencoders learn: theory beside training.",
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if not stop.code:
            return None
        raise _Stop(_parser_message(captured.getvalue()), _MISTAKE) from None


def _put_off(tyro: Any, command: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """The command as a function that returns the call, its options in tyro's terms."""

    def ready(**options: Any) -> Callable[[], int]:
        return functools.partial(command, **options)

    hints = get_type_hints(command, include_extras=True)
    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        kind, option = get_args(hints[parameter.name])
        default = None if option.default is None else f"(default: {option.default})"
        shown = tyro.conf.arg(metavar=option.metavar, help=option.words, help_behavior_hint=default)
        annotation: Any = Annotated[(kind, shown, *_reader(tyro, kind))]
        if option.positional:
            annotation = tyro.conf.Positional[annotation]
        parameters.append(parameter.replace(annotation=annotation))
    ready.__name__, ready.__doc__ = command.__name__, command.__doc__
    ready.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    ready.__annotations__ = {p.name: p.annotation for p in parameters}
    return ready


def _reader(tyro: Any, annotation: Any) -> tuple[Any, ...]:
    """How values of a type are read: tyro's own messages for `int | None` are hard to read."""
    words = {int: "a whole number", float: "a number", Path: "a path", str: "text"}
    kind = next((k for k in words if annotation in (k, k | None)), None)
    if kind is None:
        return ()

    def read(given: list[str]) -> Any:
        try:
            return kind(given[0])
        except ValueError:
            raise ValueError(f"it must be {words[kind]}, not {given[0]!r}") from None

    spec = tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=kind.__name__.upper(),
        instance_from_str=read,
        is_instance=lambda _: True,
        str_from_instance=lambda value: [str(value)],
    )
    return (spec,)


def _parser_message(text: str) -> str:
    """What is wrong, out of the box that the parser draws around it."""
    # Where the terminal knows no lines, they are rows of hyphens.
    bare = re.sub("[\u2500-\u257f]|-{3,}", " ", text)
    title, *lines = [line.strip() for line in bare.splitlines() if line.strip()] or ["Cannot parse"]
    # Below what is wrong comes help on the option, or on how to get help.
    body = itertools.takewhile(lambda line: " helptext" not in line, lines)
    message = " ".join(body).removeprefix("Error parsing ")
    if title == "Required options":
        # What is missing; below it, its help.
        message = " ".join(lines[:2])
    if title == "Missing subcommand":
        message = f"{title}: {message}"
    return f"{(message or title).rstrip('.')}. Try --help."


def _as_options(message: str) -> str:
    """A message about a function's argument, for someone who typed an option."""
    name, _, rest = message.partition(" ")
    option = _ARGUMENTS.get(name, name)
    if any(option in inspect.signature(command).parameters for command in _COMMANDS.values()):
        message = f"--{option.replace('_', '-')} {rest}"
    return message.replace("root=DIR", "--root DIR")


# Those whose option has another name.
_ARGUMENTS = {"num_samples": "samples", "num_steps": "steps"}


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())
