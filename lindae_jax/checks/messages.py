"""The words of a mistake."""

from typing import Any


def mistake(what: str, got: Any, remedy: str) -> ValueError:
    """The one form of a caller's mistake: what must hold, what came, what to do."""
    return ValueError(f"{what}; got {got}. {remedy}")


def brief(x: Any) -> str:
    """What a message shows of a value: one line of at most 60 characters."""
    try:
        text = " ".join(repr(x).split())
    except ValueError:  # an integer of thousands of digits
        text = f"{type(x).__name__} too long to show"
    return text if len(text) <= 60 else f"{text[:57]}..."
