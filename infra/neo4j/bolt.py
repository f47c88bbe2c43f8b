"""Just enough of the Bolt 4.4 protocol to log in and run a statement, in the standard library: local.py needs no driver."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PREAMBLE = bytes.fromhex("6060b01700000404000000000000000000000000")
HELLO, RUN, PULL, GOODBYE = 0x01, 0x10, 0x3F, 0x02
SUCCESS, RECORD = 0x70, 0x71
SECONDS = 60.0  # a server that has just started on a busy machine takes its time


class BoltError(Exception):
    """What the server answered in place of success: its code, and its message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Bolt:
    """One conversation. Raises BoltError for what the server refuses, OSError for what the network does."""

    def __init__(self, conversation: socket.socket) -> None:
        self._socket = conversation

    def run(self, statement: str, parameters: dict[str, Any] | None = None, database: str = "neo4j") -> None:
        """Runs one statement in a transaction of its own; what it returns is not kept."""
        self._send(RUN, statement, parameters or {}, {"db": database})
        self.receive()
        self._send(PULL, {"n": -1})
        self.receive()

    def greet(self, user: str, password: str) -> None:
        """Logs in."""
        self._send(HELLO, {"user_agent": "whence-local/1", "scheme": "basic", "principal": user, "credentials": password})
        self.receive()

    def receive(self) -> None:
        """Reads messages until one that is no record."""
        while (message := self._message())[1] == RECORD:
            pass
        if message[1] != SUCCESS:
            told, _ = _unpacked(message, 2)
            raise BoltError(str(told.get("code")), str(told.get("message")))

    def _send(self, kind: int, *fields: object) -> None:
        message = bytes([0xB0 | len(fields), kind]) + b"".join(map(_packed, fields))
        self._socket.sendall(struct.pack(">H", len(message)) + message + b"\0\0")

    def _message(self) -> bytes:
        parts = []
        while size := struct.unpack(">H", self._exactly(2))[0]:
            parts.append(self._exactly(size))
        return b"".join(parts) or self._message()  # an empty message only keeps the connection alive

    def _exactly(self, size: int) -> bytes:
        got = bytearray()
        while len(got) < size:
            part = self._socket.recv(size - len(got))
            if not part:
                raise ConnectionError("The server closed the connection.")
            got += part
        return bytes(got)


@contextmanager
def logged_in(port: int, user: str, password: str, *, encrypted: bool = False) -> Iterator[Bolt]:
    """A conversation with the server on loopback. Raises BoltError, OSError."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as plain, _trusting(plain) if encrypted else plain as conversation:
        conversation.sendall(PREAMBLE)
        bolt = Bolt(conversation)
        if bolt._exactly(4) != bytes.fromhex("00000404"):  # noqa: SLF001  # the handshake is no message
            raise BoltError("Handshake", "what listens there does not speak Bolt 4.4")
        bolt.greet(user, password)
        yield bolt
        bolt._send(GOODBYE)  # noqa: SLF001


def _trusting(conversation: socket.socket) -> ssl.SSLSocket:
    """Encrypted, whatever the certificate: it is this machine's own server."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(conversation)


def _packed(value: object) -> bytes:
    if isinstance(value, str):
        text = value.encode()
        return b"\xd1" + struct.pack(">H", len(text)) + text
    if isinstance(value, int):
        return b"\xcb" + struct.pack(">q", value)
    if isinstance(value, dict):
        return b"\xd8" + bytes([len(value)]) + b"".join(_packed(name) + _packed(each) for name, each in value.items())
    raise TypeError(f"{value!r} is not sent here")


SIZES = {0xD0: ">B", 0xD1: ">H", 0xD2: ">I", 0xD4: ">B", 0xD5: ">H", 0xD6: ">I", 0xD8: ">B", 0xD9: ">H", 0xDA: ">I"}
NUMBERS = {0xC1: ">d", 0xC8: ">b", 0xC9: ">h", 0xCA: ">i", 0xCB: ">q"}
CONSTANTS: dict[int, bool | None] = {0xC0: None, 0xC2: False, 0xC3: True}


def _unpacked(message: bytes, at: int) -> tuple[Any, int]:
    """A value, and where the next one begins."""
    marker = message[at]
    at += 1
    if marker in CONSTANTS:
        return CONSTANTS[marker], at
    if marker < 0x80 or marker >= 0xF0:
        return marker if marker < 0x80 else marker - 0x100, at
    if marker in NUMBERS:
        return struct.unpack_from(NUMBERS[marker], message, at)[0], at + struct.calcsize(NUMBERS[marker])
    if marker < 0xC0:
        kind, size = (marker & 0xF0) << 1 & 0xFF, marker & 0x0F
    else:
        kind, size = marker, struct.unpack_from(SIZES[marker], message, at)[0]
        at += struct.calcsize(SIZES[marker])
    return _sized(message, at, kind, size)


def _sized(message: bytes, at: int, kind: int, size: int) -> tuple[Any, int]:
    if kind in {0x00, 0xD0, 0xD1, 0xD2}:  # 0x8_ doubled
        return message[at : at + size].decode(), at + size
    values = []
    pairs = kind in {0x40, 0xD8, 0xD9, 0xDA}  # 0xA_ doubled
    for _ in range(size * 2 if pairs else size):
        value, at = _unpacked(message, at)
        values.append(value)
    return (dict(zip(values[::2], values[1::2], strict=True)) if pairs else values), at
