"""Bounds-checked reading of FlatBuffers: tables, vectors and strings, whatever they mean.  No numpy, no flatbuffers.

The flatbuffers package has no verifier in Python, so offsets are followed here with exact integers and checked before
anything is read or allocated.  How a FlatBuffer lies in memory, in short (https://flatbuffers.dev/internals/):

    file      u32 position of the root table, 4 bytes identifier, then tables, vectors and strings in any order
    table     i32 (position of the table - position of its vtable), then the fields, in any order, with gaps
    vtable    u16 own size, u16 size of the table, then for field 0, 1, ... its u16 place in the table, 0 if absent
    offset    u32 field that counts from itself to the table, vector or string it points to
    vector    u32 number of elements, elements; a string is a vector of bytes with a zero byte behind
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from operator import add, itemgetter
from struct import Struct, unpack_from
from typing import Any, NamedTuple

from tinynet.errors import FormatError

CORRUPT = "; the file is corrupt: convert the model again"

_U32 = Struct("<I").unpack_from
_I32 = Struct("<i").unpack_from
_VTABLE = Struct("<HH").unpack_from
_WIDTHS = {"B": 1, "?": 1, "H": 2, "I": 4, "i": 4, "o": 4, "Q": 8, "q": 8, "d": 8}


class TableType(NamedTuple):
    """Fields in the order of model.fbs: struct characters ("o" is an offset) and, unless all are 0, defaults."""

    name: str
    fields: str
    defaults: tuple[int, ...] = ()


class _Form(NamedTuple):
    """What one vtable says, ready to use: one call reads all present fields of a table, one sorts them.

    A file has a dozen vtables and a thousand tables, and `inspect` and `load` wait for this reader.
    """

    unpack: Callable[..., tuple]           # the present fields in the order of their place
    absent: tuple[Any, ...]                # defaults of the others
    pick: Callable[[tuple], tuple]         # unpacked + absent -> schema order
    offsets: tuple[tuple[int, int], ...]   # (field, place) of present offsets
    size: int                              # of the table
    residue: int                           # position of the table modulo 8 that aligns its 8-byte fields; -1: any


@lru_cache(256)
def _compile(places: tuple[int, ...], size: int, kind: TableType) -> _Form | None:
    """The form of a vtable; None if fields overlap, lie outside the table or cannot all be aligned."""
    pattern, end, residue, order, offsets = "<4x", 4, -1, [], []
    for place, field in sorted(zip(places, range(len(places)), strict=True)):
        if not place:
            continue
        char = kind.fields[field]
        width = _WIDTHS[char]
        if place < end or place + width > size or place & min(width - 1, 3):
            return None
        if width == 8:
            if residue not in (-1, -place & 7):
                return None
            residue = -place & 7
        pattern += f"{place - end}x"
        pattern += "I" if char == "o" else char
        if char == "o":
            offsets.append((field, place))
        end = place + width
        order.append(field)
    absent = [field for field in range(len(kind.fields)) if field not in order]
    defaults = kind.defaults or (0,) * len(kind.fields)
    order += absent
    pick = itemgetter(*map(order.index, range(len(order)))) if len(order) > 1 else tuple
    unpack = Struct(pattern).unpack_from
    return _Form(unpack, tuple(defaults[field] for field in absent), pick, tuple(offsets), size, residue)


class FlatBuffer:
    """Bounds-checked access to tables, vectors and strings.  A position of 0 stands for an absent object."""

    def __init__(self, buffer: Any, name: str):
        self.name = name
        self.data = memoryview(buffer).cast("B").toreadonly()
        self.size = len(self.data)
        # Every byte of an honest file is decoded once; objects laid over each other on purpose would multiply.
        self.budget = 2 * self.size
        self._forms: dict[tuple[int, str], _Form] = {}
        self._texts: dict[int, str] = {0: ""}
        self._numbers: dict[tuple[int, str], tuple] = {}

    def bad(self, expected: str, found: object, remedy: str = CORRUPT) -> FormatError:
        return FormatError(f"{self.name}: expected {expected}, found {found}{remedy}")

    def spend(self, count: int) -> None:
        self.budget -= count
        if self.budget < 0:
            raise self.bad("a description no larger than the file", "parts that lie over each other")

    def table(self, at: int, kind: TableType) -> list[Any]:
        """All fields of a table in schema order, absent ones as their default, offsets as absolute positions."""
        if at & 3 or not 4 <= at <= self.size - 4:
            raise self.bad(f"a {kind.name} table inside the file", f"position {at} of {self.size} bytes")
        vtable = at - _I32(self.data, at)[0]
        form = self._forms.get((vtable, kind.name))
        if form is None:
            form = self._forms[vtable, kind.name] = self._form(vtable, kind)
        unpack, absent, pick, offsets, size, residue = form
        if at + size > self.size or (residue >= 0 and at & 7 != residue):
            raise self.bad(f"an aligned {kind.name} table inside the file", f"position {at} of {self.size} bytes")
        values = list(pick(unpack(self.data, at) + absent))
        for field, place in offsets:
            values[field] += at + place
        return values

    def _form(self, vtable: int, kind: TableType) -> _Form:
        if vtable & 1 or not 4 <= vtable <= self.size - 4:
            raise self.bad(f"the vtable of a {kind.name} inside the file", f"position {vtable} of {self.size} bytes")
        vtable_size, table_size = _VTABLE(self.data, vtable)
        if vtable_size < 4 or vtable_size & 1 or vtable + vtable_size > self.size or table_size < 4:
            raise self.bad(f"the vtable of a {kind.name}", f"sizes {vtable_size} and {table_size}")
        known = min((vtable_size - 4) // 2, len(kind.fields))
        form = _compile(unpack_from(f"<{known}H", self.data, vtable + 4), table_size, kind)
        if form is None:
            raise self.bad(f"aligned fields of a {kind.name} that do not overlap", "others")
        return form

    def vector(self, at: int, width: int, what: str) -> tuple[int, int]:
        """(position of the first element, number of elements); the whole vector lies inside the file."""
        if not at:
            return 0, 0
        if at & 3 or at > self.size - 4:
            raise self.bad(f"{what} inside the file", f"position {at} of {self.size} bytes")
        count, = _U32(self.data, at)
        if count * width > self.size - at - 4 or (width == 8 and at & 7 != 4 and count):
            raise self.bad(f"{what} inside the file", f"{count} elements at {at} of {self.size} bytes")
        return at + 4, count

    def text(self, at: int, what: str) -> str:
        found = self._texts.get(at)
        if found is None:
            data = self.data
            if at & 3 or at > self.size - 4:
                raise self.bad(f"{what} inside the file", f"position {at} of {self.size} bytes")
            end = at + 4 + _U32(data, at)[0]
            if end >= self.size or data[end]:
                raise self.bad(f"{what} with a zero byte behind it", f"none at {end} of {self.size} bytes")
            self.spend(end - at)
            try:
                found = str(data[at + 4:end], "utf-8")
            except UnicodeDecodeError:
                raise self.bad(f"{what} in UTF-8", show(bytes(data[at + 4:end][:40]))) from None
            self._texts[at] = found
        return found

    def numbers(self, at: int, char: str, what: str) -> tuple:
        """A vector of scalars; `char` is their struct character."""
        if not at:
            return ()
        found = self._numbers.get((at, char))
        if found is None:
            start, count = self.vector(at, _WIDTHS[char], what)
            self.spend(count * _WIDTHS[char] + 4)
            found = self._numbers[at, char] = unpack_from(f"<{count}{char}", self.data, start)
        return found

    def offsets(self, at: int, what: str) -> list[int]:
        """A vector of tables or strings, as absolute positions."""
        start, count = self.vector(at, 4, what)
        self.spend(count * 4)
        steps = unpack_from(f"<{count}I", self.data, start)
        return list(map(add, steps, range(start, start + 4 * count, 4)))

    def texts(self, at: int, what: str) -> list[str]:
        return [self.text(place, what) for place in self.offsets(at, what)]


def show(value: object) -> str:
    """repr() on one line, cut to a length that a person reads."""
    text = repr(value[:80] if isinstance(value, (str, bytes, list, tuple)) else value)
    return text if len(text) <= 80 else text[:77] + "..."
