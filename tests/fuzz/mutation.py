"""Inputs from seeds: cut, joined, repeated, with bytes and numbers changed. The same seed number gives the same inputs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

# Where parsers of text break: ends of lines and fields, signs, other scripts' digits, numbers at the edge of types.
TOKENS = (
    b"\n", b"\r\n", b"\0", b"\t", b":", b";", b",", b"|", b"+", b"-", b"=", b"[", b"]", b"{", b"}", b'"', b"\\", b"#012",
    b"\xff", b"\xed\xa0\x80", b"\xc2\xa0", b"\xe2\x80\xa8", "٣".encode(), "²".encode(), b"0x", b"NaN", b"inf", b"1e999",
    b"-1", b"18446744073709551616", b"9" * 400, b"NA", b"null", b"\x1b[31m", b"%s", b"PCI:0000:3b:00.0", b"&a", b"*a",
)  # fmt: skip
LONGEST_BYTES = 1 << 16


def inputs(seeds: Sequence[bytes], count: int, number: int = 0) -> Iterator[bytes]:
    """The seeds themselves, then `count` mutations of them."""
    dice = random.Random(number)
    yield from seeds
    pool = [*seeds, b""]
    for _ in range(count):
        data = dice.choice(pool)
        for _ in range(dice.choice((1, 1, 2, 3, 8))):
            data = dice.choice(_WAYS)(data, dice, pool)
        yield data[:LONGEST_BYTES]


def _place(data: bytes, dice: random.Random) -> int:
    return dice.randrange(len(data) + 1)


def _span(data: bytes, dice: random.Random) -> tuple[int, int]:
    start = _place(data, dice)
    return start, min(len(data), start + dice.choice((1, 2, 4, 16, 64, 512)))


def _cut(data: bytes, dice: random.Random, _pool: Sequence[bytes]) -> bytes:
    start, end = _span(data, dice)
    return data[:start] + data[end:]


def _end(data: bytes, dice: random.Random, _pool: Sequence[bytes]) -> bytes:
    return data[: _place(data, dice)]


def _token(data: bytes, dice: random.Random, _pool: Sequence[bytes]) -> bytes:
    start, end = _span(data, dice)
    return data[:start] + dice.choice(TOKENS) + data[dice.choice((start, end)) :]


def _flip(data: bytes, dice: random.Random, _pool: Sequence[bytes]) -> bytes:
    if not data:
        return bytes([dice.randrange(256)])
    place = dice.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << dice.randrange(8))]) + data[place + 1 :]


def _repeat(data: bytes, dice: random.Random, _pool: Sequence[bytes]) -> bytes:
    start, end = _span(data, dice)
    return data[:end] + data[start:end] * dice.choice((1, 2, 30)) + data[end:]


def _join(data: bytes, dice: random.Random, pool: Sequence[bytes]) -> bytes:
    other = dice.choice(pool)
    return data[: _place(data, dice)] + other[_place(other, dice) :]


def _move(data: bytes, dice: random.Random, _pool: Sequence[bytes]) -> bytes:
    lines = data.split(b"\n")
    dice.shuffle(lines)
    return b"\n".join(lines)


_WAYS: tuple[Callable[[bytes, random.Random, Sequence[bytes]], bytes], ...] = (
    _cut, _end, _token, _token, _flip, _flip, _repeat, _join, _move,
)  # fmt: skip
