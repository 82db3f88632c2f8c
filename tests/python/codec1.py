"""Codec 1 of the wire: section "Codec 1" of protocols/SPEC.md.

A codec is an object with ``encode`` and ``decode`` for one type; ``encoded`` and ``decoded`` are for
whole messages. Values of a struct are instances of its Python class, values of an enum are a
:class:`Variant`, those of a result are an :class:`Ok` or an :class:`Err`.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

MESSAGE_BYTES_MAX = 67_108_864
DEPTH_MAX = 64
ELEMENTS_BEYOND_BYTES = 1024

T = TypeVar("T")
V = TypeVar("V")


class CodecError(Exception):
    """The bytes, or the value, do not belong to the type."""


class Reader:
    """Bytes that are decoded, with the bounds that a receiver keeps."""

    def __init__(self, data: bytes) -> None:
        if len(data) > MESSAGE_BYTES_MAX:
            raise CodecError(f"a message of {len(data)} bytes")
        self._data = data
        self._at = 0
        self._depth = 0
        self._elements = len(data) + ELEMENTS_BEYOND_BYTES

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise CodecError("the message ends early")
        taken, self._at = self._data[self._at : end], end
        return taken

    def count(self, elements: int) -> int:
        """Accounts for the elements of a sequence or a map."""
        self._elements -= elements
        if self._elements < 0:
            raise CodecError("the message claims too many elements")
        return elements

    def nested(self, decode: Callable[[], T]) -> T:
        """Decodes what lies one level deeper."""
        if self._depth == DEPTH_MAX:
            raise CodecError(f"values lie deeper within each other than {DEPTH_MAX} levels")
        self._depth += 1
        value = decode()
        self._depth -= 1
        return value

    def finish(self) -> None:
        if self._at != len(self._data):
            raise CodecError(f"{len(self._data) - self._at} bytes follow the value")


class Codec(Protocol[T]):
    """How values of one type are laid out."""

    def encode(self, value: T, out: bytearray) -> None: ...

    def decode(self, reader: Reader) -> T: ...


def encoded(codec: Codec[T], value: T) -> bytes:
    out = bytearray()
    codec.encode(value, out)
    if len(out) > MESSAGE_BYTES_MAX:
        raise CodecError(f"a message of {len(out)} bytes")
    return bytes(out)


def decoded(codec: Codec[T], data: bytes) -> T:
    reader = Reader(data)
    value = codec.decode(reader)
    reader.finish()
    return value


class _Bool:
    def encode(self, value: bool, out: bytearray) -> None:
        out.append(int(value))

    def decode(self, reader: Reader) -> bool:
        byte = reader.take(1)[0]
        if byte > 1:
            raise CodecError(f"{byte} is no bool")
        return byte == 1


# Marker and width of integers that do not fit into one byte.
_WIDTHS = {0xFB: 2, 0xFC: 4, 0xFD: 8, 0xFE: 16}


class _Unsigned:
    def __init__(self, bits: int) -> None:
        self._bytes = bits // 8

    def encode(self, value: int, out: bytearray) -> None:
        if not 0 <= value < 1 << 8 * self._bytes:
            raise CodecError(f"{value} is no u{8 * self._bytes}")
        if self._bytes == 1 or value <= 250:
            out.append(value)
            return
        for marker, width in _WIDTHS.items():
            if value < 1 << 8 * width:
                out.append(marker)
                out += value.to_bytes(width, "little")
                return

    def decode(self, reader: Reader) -> int:
        first = reader.take(1)[0]
        if self._bytes == 1 or first <= 250:
            return first
        width = _WIDTHS.get(first)
        if width is None or width > self._bytes:
            raise CodecError(f"the marker {first:02x} in a u{8 * self._bytes}")
        return int.from_bytes(reader.take(width), "little")


class _Signed:
    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._unsigned = _Unsigned(bits)

    def encode(self, value: int, out: bytearray) -> None:
        if not -(1 << self._bits - 1) <= value < 1 << self._bits - 1:
            raise CodecError(f"{value} is no i{self._bits}")
        if self._bits == 8:
            out += value.to_bytes(1, "little", signed=True)
        else:
            self._unsigned.encode(2 * value if value >= 0 else -2 * value - 1, out)

    def decode(self, reader: Reader) -> int:
        if self._bits == 8:
            return int.from_bytes(reader.take(1), "little", signed=True)
        zigzag = self._unsigned.decode(reader)
        return zigzag >> 1 if zigzag % 2 == 0 else -(zigzag + 1 >> 1)


class _Float:
    def __init__(self, layout: str) -> None:
        self._layout = struct.Struct(layout)

    def encode(self, value: float, out: bytearray) -> None:
        out += self._layout.pack(value)

    def decode(self, reader: Reader) -> float:
        value: float = self._layout.unpack(reader.take(self._layout.size))[0]
        return value


BOOL = _Bool()
U8, U16, U32, U64, U128 = (_Unsigned(bits) for bits in (8, 16, 32, 64, 128))
I8, I16, I32, I64, I128 = (_Signed(bits) for bits in (8, 16, 32, 64, 128))
F32, F64 = _Float("<f"), _Float("<d")


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CodecError("a text is not UTF-8") from error


class _Char:
    def encode(self, value: str, out: bytearray) -> None:
        out += value.encode()

    def decode(self, reader: Reader) -> str:
        first = reader.take(1)
        following = next((n for n, low in ((3, 0xF0), (2, 0xE0), (1, 0xC0)) if first[0] >= low), 0)
        return _utf8(first + reader.take(following))


class _Bytes:
    def encode(self, value: bytes, out: bytearray) -> None:
        U64.encode(len(value), out)
        out += value

    def decode(self, reader: Reader) -> bytes:
        return reader.take(U64.decode(reader))


BYTES = _Bytes()


class _String:
    def encode(self, value: str, out: bytearray) -> None:
        BYTES.encode(value.encode(), out)

    def decode(self, reader: Reader) -> str:
        return _utf8(BYTES.decode(reader))


class _Uuid:
    def encode(self, value: uuid.UUID, out: bytearray) -> None:
        BYTES.encode(value.bytes, out)

    def decode(self, reader: Reader) -> uuid.UUID:
        data = BYTES.decode(reader)
        if len(data) != 16:
            raise CodecError(f"a uuid of {len(data)} bytes")
        return uuid.UUID(bytes=data)


class _Floats:
    def encode(self, value: Sequence[float], out: bytearray) -> None:
        BYTES.encode(struct.pack(f"<{len(value)}d", *value), out)

    def decode(self, reader: Reader) -> list[float]:
        data = BYTES.decode(reader)
        if len(data) % 8 != 0:
            raise CodecError(f"floats of {len(data)} bytes")
        return list(struct.unpack(f"<{len(data) // 8}d", data))


class _Unit:
    def encode(self, value: None, out: bytearray) -> None:
        pass

    def decode(self, reader: Reader) -> None:
        return None


CHAR, STRING, UUID, FLOATS, UNIT = _Char(), _String(), _Uuid(), _Floats(), _Unit()


class Option(Generic[T]):
    def __init__(self, inner: Codec[T]) -> None:
        self._inner = inner

    def encode(self, value: T | None, out: bytearray) -> None:
        BOOL.encode(value is not None, out)
        if value is not None:
            self._inner.encode(value, out)

    def decode(self, reader: Reader) -> T | None:
        return reader.nested(lambda: self._inner.decode(reader) if BOOL.decode(reader) else None)


class Tuple:
    """A tuple, or an array as a tuple of equal types."""

    def __init__(self, *elements: Codec[Any]) -> None:
        self._elements = elements

    def encode(self, value: Sequence[Any], out: bytearray) -> None:
        if len(value) != len(self._elements):
            raise CodecError(f"{len(value)} elements for {len(self._elements)}")
        for codec, element in zip(self._elements, value, strict=True):
            codec.encode(element, out)

    def decode(self, reader: Reader) -> tuple[Any, ...]:
        return reader.nested(lambda: tuple(codec.decode(reader) for codec in self._elements))


class List(Generic[T]):
    """A sequence."""

    def __init__(self, element: Codec[T]) -> None:
        self._element = element

    def encode(self, value: Sequence[T], out: bytearray) -> None:
        U64.encode(len(value), out)
        for element in value:
            self._element.encode(element, out)

    def decode(self, reader: Reader) -> list[T]:
        count = reader.count(U64.decode(reader))
        return reader.nested(lambda: [self._element.decode(reader) for _ in range(count)])


class Map(Generic[T, V]):
    def __init__(self, key: Codec[T], value: Codec[V]) -> None:
        self._key = key
        self._value = value

    def encode(self, value: Mapping[T, V], out: bytearray) -> None:
        U64.encode(len(value), out)
        for key, mapped in value.items():
            self._key.encode(key, out)
            self._value.encode(mapped, out)

    def decode(self, reader: Reader) -> dict[T, V]:
        count = reader.count(U64.decode(reader))
        # Of a pair the key is evaluated first.
        return reader.nested(
            lambda: {self._key.decode(reader): self._value.decode(reader) for _ in range(count)}
        )


class Struct(Generic[T]):
    """A struct, as instances of a class that takes its fields by name."""

    def __init__(self, made: Callable[..., T], **fields: Codec[Any]) -> None:
        self._made = made
        self._fields = fields

    def encode(self, value: T, out: bytearray) -> None:
        for name, codec in self._fields.items():
            codec.encode(getattr(value, name), out)

    def decode(self, reader: Reader) -> T:
        fields = reader.nested(lambda: {name: codec.decode(reader) for name, codec in self._fields.items()})
        return self._made(**fields)


@dataclass(frozen=True)
class Variant:
    """A value of an enum: which variant, and its fields in their order."""

    name: str
    fields: tuple[Any, ...] = ()


class Enum:
    """An enum: its variants in their order, each with its fields."""

    def __init__(self, **variants: tuple[Codec[Any], ...]) -> None:
        self._variants = variants
        self._names = list(variants)

    def encode(self, value: Variant, out: bytearray) -> None:
        U32.encode(self._names.index(value.name), out)
        for codec, field in zip(self._variants[value.name], value.fields, strict=True):
            codec.encode(field, out)

    def decode(self, reader: Reader) -> Variant:
        index = U32.decode(reader)
        if index >= len(self._names):
            raise CodecError(f"{index} is no variant of {', '.join(self._names)}")
        name = self._names[index]
        return reader.nested(lambda: Variant(name, tuple(c.decode(reader) for c in self._variants[name])))


@dataclass(frozen=True)
class Ok(Generic[T]):
    value: T


@dataclass(frozen=True)
class Err(Generic[T]):
    error: T


class Result(Generic[T, V]):
    def __init__(self, value: Codec[T], error: Codec[V]) -> None:
        self._value = value
        self._error = error

    def encode(self, value: Ok[T] | Err[V], out: bytearray) -> None:
        if isinstance(value, Ok):
            U32.encode(0, out)
            self._value.encode(value.value, out)
        else:
            U32.encode(1, out)
            self._error.encode(value.error, out)

    def decode(self, reader: Reader) -> Ok[T] | Err[V]:
        index = U32.decode(reader)
        if index > 1:
            raise CodecError(f"{index} is no variant of a result")
        if index == 0:
            return reader.nested(lambda: Ok(self._value.decode(reader)))
        return reader.nested(lambda: Err(self._error.decode(reader)))


class Checked(Generic[T]):
    """A codec whose values are checked both ways; ``check`` says what is wrong, or nothing."""

    def __init__(self, inner: Codec[T], check: Callable[[T], str | None]) -> None:
        self._inner = inner
        self._check = check

    def encode(self, value: T, out: bytearray) -> None:
        self._refuse(value)
        self._inner.encode(value, out)

    def decode(self, reader: Reader) -> T:
        value = self._inner.decode(reader)
        self._refuse(value)
        return value

    def _refuse(self, value: T) -> None:
        reason = self._check(value)
        if reason is not None:
            raise CodecError(reason)
