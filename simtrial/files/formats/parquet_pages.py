"""Whether the pages of a Parquet file are what its footer says, from their headers alone.

Headers are structs in Thrift's compact protocol; numbers of fields are those of Apache Parquet's parquet.thrift.
"""

from __future__ import annotations

from typing import Any

Fields = dict[int, Any]

TRUE, FALSE, BYTE, INTEGERS, DOUBLE, BINARY, LISTS, MAP, STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, (9, 10), 11, 12


def sound(data: bytes) -> bool:
    """Whether every page lies where it should and together they hold the values that the footer counts."""
    try:
        length = int.from_bytes(data[-8:-4], "little")
        footer = Reader(data, len(data) - 8 - length).struct()
        return all(_chunk(data, chunk[3]) for group in footer[4] for chunk in group[1])
    except Exception:  # bytes that are no header may be anything, and go wrong in any way
        return False


def _chunk(data: bytes, column: Fields) -> bool:
    """Whether the pages of one column chunk end where it ends, with as many values as it has."""
    at = column.get(11) or column[9]  # its dictionary, if there is one, else its first page of values
    end, left = at + column[7], column[5]
    while at < end:
        reader = Reader(data, at)
        header = reader.struct()
        page = header.get(5) or header.get(8)
        sizes = [header[2], header[3], *(page or header[7]).values()]
        if any(size < 0 for size in sizes if not isinstance(size, (bool, dict))):
            return False
        left -= page[1] if page else 0
        at = reader.at + header[3]
    return bool(at == end and left == 0)


class Reader:
    """Reads structs from a place on; text is passed over."""

    def __init__(self, data: bytes, at: int) -> None:
        if at < 0:
            raise ValueError("before the file")
        self.data, self.at = data, at

    def struct(self) -> Fields:
        """Fields by number."""
        found, number = Fields(), 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            found[number] = kind == TRUE if kind in (TRUE, FALSE) else self._value(kind)
        return found

    def _value(self, kind: int) -> Any:
        if kind in (TRUE, FALSE, BYTE):
            return self._byte()
        if kind in INTEGERS:
            return self._integer()
        if kind == STRUCT:
            return self.struct()
        if kind in LISTS:
            head = self._byte()
            length = head >> 4 if head >> 4 < 15 else self._natural()
            return [self._value(head & 15) for _ in range(length)]
        if kind == MAP:
            length = self._natural()
            kinds = self._byte() if length else 0
            return [(self._value(kinds >> 4), self._value(kinds & 15)) for _ in range(length)]
        if kind not in (DOUBLE, BINARY):
            raise ValueError("no such type")
        length = 8 if kind == DOUBLE else self._natural()
        self.at += length
        if self.at > len(self.data):
            raise ValueError("beyond the file")
        return 0

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _natural(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("no number of 64 bits")

    def _integer(self) -> int:
        value = self._natural()
        return (value >> 1) ^ -(value & 1)
