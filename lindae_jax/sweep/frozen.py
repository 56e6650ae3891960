"""Mappings that stay as they were made."""

from typing import Any, NoReturn


class Frozen(dict):
    """A dict of a sweep's, checked once and never changed; it can be sent to other processes."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a sweep does not change; make another with dataclasses.replace")

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = pop = popitem = clear = setdefault = _refuse

    def __reduce__(self) -> Any:
        """Made anew at once, for items cannot be set one by one."""
        return Frozen, (dict(self),)
