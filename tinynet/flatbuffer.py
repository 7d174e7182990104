"""Bounds-checked reading of FlatBuffers: tables, vectors and strings, whatever they mean.  No numpy, no flatbuffers.

The flatbuffers package has no verifier in Python, so offsets are followed here with exact integers and checked before
anything is read or allocated.  How a FlatBuffer lies in memory, in short (https://flatbuffers.dev/internals/):

    file      u32 position of the root table, 4 bytes identifier, then tables, vectors and strings in any order
    table     i32 (position of the table - position of its vtable), then the fields, in any order, with gaps
    vtable    u16 own size, u16 size of the table, then for field 0, 1, ... its u16 place in the table, 0 if absent
    offset    u32 field that counts from itself to the table, vector or string it points to
    vector    u32 number of elements, elements; a string is a vector of bytes with a zero byte behind

All numbers are little-endian, and so are the machines that tinynet runs on: `cast` reads them in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from operator import add, itemgetter
from struct import Struct, unpack_from
from typing import Any

from tinynet.errors import FormatError

CORRUPT = "; the file is corrupt: convert the model again"

_WIDTHS = {"B": 1, "?": 1, "H": 2, "I": 4, "i": 4, "o": 4, "Q": 8, "q": 8, "d": 8}


class TableType:
    """Fields in the order of model.fbs: struct characters ("o" is an offset) and, unless all are 0, defaults."""

    __slots__ = ("name", "fields", "defaults")

    def __init__(self, name: str, fields: str, defaults: tuple[int, ...] = ()):
        self.name = name
        self.fields = fields
        self.defaults = defaults or (0,) * len(fields)


@lru_cache(256)
def _compile(places: tuple[int, ...], size: int, kind: TableType) -> tuple[Any, ...] | None:
    """What a vtable says, ready to use: one call reads all present fields of a table, one sorts them.

    A file has a dozen vtables and a thousand tables, and `inspect` and `load` wait for this reader.  Returned are

        unpack     buffer, position -> the present fields in the order of their place
        absent     defaults of the others
        pick       unpacked + absent -> schema order
        offsets    (field, place) of every present offset
        size       of the table
        residue    position of the table modulo 8 that aligns its 8-byte fields; -1: any

    or None if fields overlap, lie outside the table or cannot all be aligned.
    """
    pattern, end, residue, order, offsets = "<4x", 4, -1, [], []
    for place, field in sorted([(place, field) for field, place in enumerate(places) if place]):
        char = kind.fields[field]
        width = _WIDTHS[char]
        if place < end or place + width > size or place & min(width - 1, 3):
            return None
        if width == 8:
            if residue not in (-1, -place & 7):
                return None
            residue = -place & 7
        if place > end:
            pattern += f"{place - end}x"
        if char == "o":
            char = "I"
            offsets.append((field, place))
        pattern += char
        end = place + width
        order.append(field)
    absent = [field for field in range(len(kind.fields)) if field not in order]
    order += absent
    pick = itemgetter(*map(order.index, range(len(order)))) if len(order) > 1 else tuple
    unpack = Struct(pattern).unpack_from
    return unpack, tuple(kind.defaults[field] for field in absent), pick, tuple(offsets), size, residue


class FlatBuffer:
    """Bounds-checked access to tables, vectors and strings.  A position of 0 stands for an absent object."""

    def __init__(self, buffer: Any, name: str):
        self.name = name
        self.data = memoryview(buffer).cast("B").toreadonly()
        self.size = len(self.data)
        self._u16, self._i32, self._u32 = [self.data[:self.size & -_WIDTHS[char]].cast(char) for char in "HiI"]
        # Every byte of an honest file is decoded once; objects laid over each other on purpose would multiply.
        self.budget = 2 * self.size
        self._forms: dict[TableType, dict[int, tuple[Any, ...]]] = {}
        self._texts: dict[int, str] = {0: ""}
        self._numbers: dict[tuple[int, str], tuple] = {}

    def bad(self, expected: str, found: object, remedy: str = CORRUPT) -> FormatError:
        return FormatError(f"{self.name}: expected {expected}, found {found}{remedy}")

    def overlaid(self) -> FormatError:
        """What to raise once the budget is spent."""
        return self.bad("a description no larger than the file", "parts that lie over each other")

    def table(self, at: int, kind: TableType) -> list[Any]:
        """All fields of a table in schema order, absent ones as their default, offsets as absolute positions."""
        return next(self.tables((at,), kind))

    def tables(self, places: Iterable[int], kind: TableType) -> Iterator[list[Any]]:
        """The same of one table after another."""
        data, i32, size = self.data, self._i32, self.size
        forms = self._forms.setdefault(kind, {})
        for at in places:
            if at & 3 or not 4 <= at <= size - 4:
                raise self.bad(f"a {kind.name} table inside the file", f"position {at} of {size} bytes")
            vtable = at - i32[at >> 2]
            form = forms.get(vtable)
            if form is None:
                form = forms[vtable] = self._form(vtable, kind)
            unpack, absent, pick, offsets, table_size, residue = form
            if at + table_size > size or (residue >= 0 and at & 7 != residue):
                raise self.bad(f"an aligned {kind.name} table inside the file", f"position {at} of {size} bytes")
            values = list(pick(unpack(data, at) + absent))
            for field, place in offsets:
                values[field] += at + place
            yield values

    def _form(self, vtable: int, kind: TableType) -> tuple[Any, ...]:
        if vtable & 1 or not 4 <= vtable <= self.size - 4:
            raise self.bad(f"the vtable of a {kind.name} inside the file", f"position {vtable} of {self.size} bytes")
        vtable_size, table_size = self._u16[vtable >> 1], self._u16[(vtable >> 1) + 1]
        if vtable_size < 4 or vtable_size & 1 or vtable + vtable_size > self.size or table_size < 4:
            raise self.bad(f"the vtable of a {kind.name}", f"sizes {vtable_size} and {table_size}")
        first, known = (vtable >> 1) + 2, min((vtable_size - 4) // 2, len(kind.fields))
        form = _compile(tuple(self._u16[first:first + known].tolist()), table_size, kind)
        if form is None:
            raise self.bad(f"aligned fields of a {kind.name} that do not overlap", "others")
        return form

    def vector(self, at: int, width: int, what: str) -> tuple[int, int]:
        """(position of the first element, number of elements); the whole vector lies inside the file."""
        if not at:
            return 0, 0
        if at & 3 or at > self.size - 4:
            raise self.bad(f"{what} inside the file", f"position {at} of {self.size} bytes")
        count = self._u32[at >> 2]
        if count * width > self.size - at - 4 or (width == 8 and at & 7 != 4 and count):
            raise self.bad(f"{what} inside the file", f"{count} elements at {at} of {self.size} bytes")
        return at + 4, count

    def text(self, at: int, what: str) -> str:
        found = self._texts.get(at)
        if found is None:
            data = self.data
            if at & 3 or at > self.size - 4:
                raise self.bad(f"{what} inside the file", f"position {at} of {self.size} bytes")
            end = at + 4 + self._u32[at >> 2]
            if end >= self.size or data[end]:
                raise self.bad(f"{what} with a zero byte behind it", f"none at {end} of {self.size} bytes")
            self.budget -= end - at
            if self.budget < 0:
                raise self.overlaid()
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
            width = _WIDTHS[char]
            start, count = self.vector(at, width, what)
            self.budget -= count * width + 4
            if self.budget < 0:
                raise self.overlaid()
            found = self._numbers[at, char] = unpack_from(f"<{count}{char}", self.data, start)
        return found

    def offsets(self, at: int, what: str) -> list[int]:
        """A vector of tables or strings, as absolute positions."""
        start, count = self.vector(at, 4, what)
        self.budget -= count * 4
        if self.budget < 0:
            raise self.overlaid()
        steps = self._u32[start >> 2:(start >> 2) + count].tolist()
        return list(map(add, steps, range(start, start + 4 * count, 4)))

    def texts(self, at: int, what: str) -> list[str]:
        return [self.text(place, what) for place in self.offsets(at, what)]


def show(value: object) -> str:
    """repr() on one line, cut to a length that a person reads."""
    text = repr(value[:80] if isinstance(value, (str, bytes, list, tuple)) else value)
    return text if len(text) <= 80 else text[:77] + "..."
