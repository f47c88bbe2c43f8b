"""Addresses to listen on, claimed before a server starts, so that trouble is one clear sentence."""

from __future__ import annotations

import errno
import socket

from ingest.errors import ListenError, PortInUseError


def listening_socket(host: str, port: int, purpose: str) -> socket.socket:
    """A bound TCP socket that no other process shares; port 0 picks a free one. `purpose`: e.g. "OTLP/HTTP", for messages. Raises ListenError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, OverflowError) as error:
        raise ListenError(f"{host}:{port} is no address to listen on for {purpose} ({error}): write HOST:PORT, e.g. 127.0.0.1:{port}.") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"{host}:{port} is in use by another process, so {purpose} can't listen there: stop that process or choose another address."
            ) from error
        raise ListenError(f"{host}:{port} can't be listened on for {purpose} ({error.strerror}): choose another address.") from error
    return listener
