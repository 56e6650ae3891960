"""A progress bar, for whoever sits at a terminal."""

import contextlib
from typing import Any


def bar(progress: bool, extra: str, **options: Any) -> Any:
    """A context that gives tqdm's bar, or None if none is wanted.

    Parameters
    ----------
    progress : bool
    extra : str
        Of this package, which brings tqdm.
    **options
        Of `tqdm.tqdm`.

    Raises
    ------
    ImportError
        It is wanted and tqdm is missing.
    """
    if not progress:
        return contextlib.nullcontext()
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError(
            f"the progress bar needs tqdm; install it with: pip install 'lindae_jax[{extra}]'"
        ) from error
    # None switches it off where standard error is not a terminal.
    return tqdm(disable=None, leave=False, **options)
