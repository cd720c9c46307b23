"""One request to a FastCGI server over a Unix socket, as far as the probe needs it (FastCGI 1.0)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from pathlib import Path

_HEADER = struct.Struct(">BBHHBx")
_BEGIN, _PARAMS, _STDIN, _STDOUT = 1, 4, 5, 6
_RESPONDER = 1
_REQUEST = 1


def send_request(path: Path, parameters: Mapping[str, str], seconds: float) -> socket.socket:
    """Send one request; the caller reads from the socket and closes it. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(seconds)
    try:
        connection.connect(str(path))
        begin = _record(_BEGIN, struct.pack(">HB5x", _RESPONDER, 0))
        given = b"".join(_pair(name.encode(), value.encode()) for name, value in parameters.items())
        connection.sendall(begin + _record(_PARAMS, given) + _record(_PARAMS, b"") + _record(_STDIN, b""))
    except OSError:
        connection.close()
        raise
    return connection


def first_output(connection: socket.socket) -> bytes:
    """What the script prints first; empty when the server hangs up before. Raises OSError."""
    while True:
        head = _exactly(connection, _HEADER.size)
        if len(head) < _HEADER.size:
            return b""
        _, kind, _, size, padding = _HEADER.unpack(head)
        body = _exactly(connection, size + padding)[:size]
        if kind == _STDOUT and body:
            return body


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            break
        data += piece
    return data


def _record(kind: int, body: bytes) -> bytes:
    return _HEADER.pack(1, kind, _REQUEST, len(body), 0) + body


def _pair(name: bytes, value: bytes) -> bytes:
    return _length(len(name)) + _length(len(value)) + name + value


def _length(size: int) -> bytes:
    return bytes([size]) if size < 128 else struct.pack(">I", size | 1 << 31)
