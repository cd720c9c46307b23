"""Compressed streams as chunks of bytes, with bounded memory.

Each reader yields what a stream unpacks to, chunk by chunk, and raises `Broken` where the stream
is cut off or damaged; what was yielded until then is good.
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

import lz4.frame
import zstandard

CHUNK = 1 << 20
_MEMORY = 256 << 20
"""What a decompressor may take: xz -9 needs 65 MiB, zstd --long=27 128 MiB."""


class Broken(Exception):
    """The stream ends early or is damaged; the message is one clause."""


MAGIC: Mapping[bytes, str] = {
    b"\x1f\x8b\x08": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}


def compression(head: bytes) -> str | None:
    """How a file that begins with `head` is compressed, `None` when it is not in a way known here."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


def unpacked(stream: BinaryIO, kind: str) -> Iterator[bytes]:
    """The chunks `stream` unpacks to. Raises Broken."""
    try:
        yield from _READERS[kind](stream)
    except EOFError as error:
        raise Broken("it is cut off") from error
    except (OSError, lzma.LZMAError, zlib.error, zstandard.ZstdError, RuntimeError, ValueError) as error:
        raise Broken(f"it is damaged ({error})") from error


def _gzip(stream: BinaryIO) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=stream) as reader:
        while chunk := reader.read1(CHUNK):
            yield chunk


def _lz4(stream: BinaryIO) -> Iterator[bytes]:
    with lz4.frame.LZ4FrameFile(stream) as reader:
        while chunk := reader.read1(CHUNK):
            yield chunk


def _zstd(stream: BinaryIO) -> Iterator[bytes]:
    # Its reader ends without an error where a frame is cut off; the core's own headers tell, then.
    plain = zstandard.ZstdDecompressor(max_window_size=_MEMORY)
    with plain.stream_reader(stream, read_across_frames=True, closefd=False) as reader:
        while chunk := reader.read(CHUNK):
            yield chunk


def _xz(stream: BinaryIO) -> Iterator[bytes]:
    reader = lzma.LZMADecompressor(memlimit=_MEMORY)
    raw = b""
    while True:
        if reader.eof:
            raw = (reader.unused_data or stream.read(CHUNK)).lstrip(b"\0")  # streams may be padded
            if not raw:
                return
            reader = lzma.LZMADecompressor(memlimit=_MEMORY)
        elif reader.needs_input:
            raw = stream.read(CHUNK)
            if not raw:
                raise EOFError
        else:
            raw = b""
        chunk = reader.decompress(raw, CHUNK)
        if chunk:
            yield chunk


def _zlib(stream: BinaryIO) -> Iterator[bytes]:
    reader = zlib.decompressobj()
    while not reader.eof:
        raw = reader.unconsumed_tail or stream.read(CHUNK)
        if not raw:
            raise EOFError
        if chunk := reader.decompress(raw, CHUNK):
            yield chunk


_READERS: Mapping[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    "gzip": _gzip,
    "zlib": _zlib,
    "xz": _xz,
    "zstd": _zstd,
    "lz4": _lz4,
}
