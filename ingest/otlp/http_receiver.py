"""The OTLP/HTTP door: an ASGI application for /v1/traces, /v1/metrics and /v1/logs, in protobuf and JSON."""

from __future__ import annotations

import math
import zlib
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.code_pb2 import RESOURCE_EXHAUSTED
from starlette.requests import ClientDisconnect

from ingest.errors import OverloadedError
from ingest.otlp.receiving import SIGNALS, ReceiverCounts, RequestError, Signal, Sink, accept, parse_json, parse_protobuf, status_of

LARGEST_BODY = 20 << 20
PROTOBUF, JSON = "application/x-protobuf", "application/json"
PARSERS = {PROTOBUF: parse_protobuf, JSON: parse_json}
WINDOW_BITS = {"gzip": 31, "deflate": 15}


class _HttpError(RequestError):
    """A request refused with `status`."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.status = status


def http_receiver(sink: Sink, *, counts: ReceiverCounts | None = None) -> FastAPI:
    """The application; api/server.py runs it. Each batch goes to `sink`, one await a request."""
    counts = counts or ReceiverCounts()
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    for signal in SIGNALS.values():
        app.add_route(f"/v1/{signal.name}", _export(signal, sink, counts), methods=["POST"])
    return app


def _export(signal: Signal, sink: Sink, counts: ReceiverCounts) -> Callable[[Request], Awaitable[Response]]:
    async def export(request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            if media_type not in PARSERS:
                raise _HttpError(415, "unsupported_media_type", f"Content-Type {media_type[:80]!r} is not read here: send {PROTOBUF} or {JSON}.")
            return _answer(200, media_type, await accept(signal, PARSERS[media_type], await _body(request), sink, counts))
        except RequestError as error:
            counts.refused_requests[signal.name, error.reason] += 1
            return _answer(error.status if isinstance(error, _HttpError) else 400, media_type, status_of(str(error)))
        except OverloadedError as error:
            counts.refused_requests[signal.name, "overloaded"] += 1
            answer = _answer(429, media_type, status_of(str(error), RESOURCE_EXHAUSTED))
            answer.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
            return answer

    return export


def _answer(status: int, media_type: str, message: Message) -> Response:
    """In the request's media type; JSON where that is none of ours."""
    if media_type == PROTOBUF:
        return Response(message.SerializeToString(), status, media_type=PROTOBUF)
    return Response(MessageToJson(message, indent=None), status, media_type=JSON)


async def _body(request: Request) -> bytes:
    """The body without its content encoding; reading and inflating stop at the limit."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", ""} and encoding not in WINDOW_BITS:
        raise _HttpError(415, "unsupported_encoding", f"Content-Encoding {encoding[:80]!r} is not read here: send gzip, deflate or identity.")
    raw = bytearray()
    try:
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > LARGEST_BODY:
                raise _too_large()
    except ClientDisconnect as error:
        raise _HttpError(400, "disconnected", "The connection ended before the body did: send it again.") from error
    return bytes(raw) if encoding in {"identity", ""} else _inflate(bytes(raw), encoding)


def _inflate(packed: bytes, encoding: str) -> bytes:
    """All members of a gzip body. Raises _HttpError."""
    plain = bytearray()
    while packed:
        inflater = zlib.decompressobj(WINDOW_BITS[encoding])
        try:
            plain += inflater.decompress(packed, LARGEST_BODY + 1 - len(plain))
        except zlib.error as error:
            raise _HttpError(400, "undecodable", f"The body is not {encoding} ({error}): send it whole, or without Content-Encoding.") from error
        if len(plain) > LARGEST_BODY:
            raise _too_large()
        if not inflater.eof:
            raise _HttpError(400, "undecodable", f"The {encoding} body is cut: send it whole.")
        packed = inflater.unused_data
    return bytes(plain)


def _too_large() -> _HttpError:
    return _HttpError(413, "too_large", f"The body is more than {LARGEST_BODY} bytes: send smaller batches.")
