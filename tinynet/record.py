"""Plain data with names, equality and a readable repr.

What a dataclass gives, but no code is generated when the module is imported: a dataclass costs a board about a millisecond
at every start, a NamedTuple a quarter of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Record:
    """A subclass names its fields in `__slots__` and sets them in `__init__`, which takes them by name."""

    __slots__: tuple[str, ...] = ()

    def values(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self.__slots__])

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values())

    def as_dict(self) -> dict[str, Any]:
        return dict(zip(self.__slots__, self.values(), strict=True))

    def replaced(self, **changes: Any) -> Any:
        """A record like this one, except for the fields given."""
        return type(self)(**{**self.as_dict(), **changes})

    def __eq__(self, other: object) -> bool:
        return self.values() == other.values() if type(other) is type(self) else NotImplemented

    def __repr__(self) -> str:
        fields = (f"{name}={value!r}" for name, value in zip(self.__slots__, self.values(), strict=True))
        return f"{type(self).__name__}({', '.join(fields)})"
