"""The OTLP/gRPC door: TraceService, MetricsService and LogsService on one port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from ingest.errors import OverloadedError, PortInUseError
from ingest.listening import listening_socket
from ingest.otlp.receiving import SIGNALS, ReceiverCounts, RequestError, Signal, Sink, accept, parse_protobuf, status_of

LARGEST_MESSAGE = 4 << 20
GRACE_SECONDS = 0.5
OPTIONS = (
    # Off, for otherwise a second server silently takes half of the connections.
    ("grpc.so_reuseport", 0),
    # Wider than our own limit, so that most of what is too large is counted; the library enforces it while inflating.
    ("grpc.max_receive_message_length", 4 * LARGEST_MESSAGE),
)


class GrpcReceiver:
    """Serves OTLP/gRPC on `host:port`; port 0 picks a free one. Each batch goes to `sink`, one await a request."""

    def __init__(self, sink: Sink, *, host: str = "127.0.0.1", port: int = 4317, counts: ReceiverCounts | None = None) -> None:
        self._sink = sink
        self._host = host
        self._port = port
        self._server: Any = None
        self.counts = counts or ReceiverCounts()

    @property
    def port(self) -> int:
        """The port listened on, after `start`."""
        return self._port

    async def start(self) -> None:
        """Listens. Raises ListenError, PortInUseError."""
        with listening_socket(self._host, self._port, "OTLP/gRPC") as probe:
            self._port = probe.getsockname()[1]
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(signal.service, {"Export": grpc.unary_unary_rpc_method_handler(self._export(signal))})
                for signal in SIGNALS.values()
            )
        )
        host = f"[{self._host}]" if ":" in self._host else self._host
        try:
            server.add_insecure_port(f"{host}:{self._port}")
        except RuntimeError as error:
            raise PortInUseError(
                f"{self._host}:{self._port} is in use by another process, so OTLP/gRPC can't listen there: stop that process or choose another address."
            ) from error
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Refuses new requests and gives those under way half a second."""
        if self._server is not None:
            await self._server.stop(GRACE_SECONDS)
            self._server = None

    def _export(self, signal: Signal) -> Callable[[bytes, Any], Awaitable[bytes]]:
        # Bytes reach us undecoded: a deserializer that fails inside the library would answer INTERNAL, which senders retry for ever.
        async def export(body: bytes, context: Any) -> bytes:
            try:
                if len(body) > LARGEST_MESSAGE:
                    await self._refuse_too_large(signal, len(body), context)
                answer = await accept(signal, parse_protobuf, body, self._sink, self.counts)
            except RequestError as error:
                self.counts.refused_requests[signal.name, error.reason] += 1
                await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, status_of(str(error)))
            except OverloadedError as error:
                self.counts.refused_requests[signal.name, "overloaded"] += 1
                await _abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, _retry_later(error))
            return answer.SerializeToString()

        return export

    async def _refuse_too_large(self, signal: Signal, size: int, context: Any) -> NoReturn:
        self.counts.refused_requests[signal.name, "too_large"] += 1
        message = f"The request is {size} bytes, more than the {LARGEST_MESSAGE} allowed: send smaller batches."
        await _abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, status_of(message, grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]))


async def _abort(context: Any, code: grpc.StatusCode, status: Status) -> NoReturn:
    await context.abort(code, status.message, (("grpc-status-details-bin", status.SerializeToString()),))
    raise AssertionError("abort raises")


def _retry_later(error: OverloadedError) -> Status:
    """Senders retry RESOURCE_EXHAUSTED only if the details hold a RetryInfo (OTLP specification, failures)."""
    nanoseconds = round(error.retry_after * 1e9)
    status = status_of(str(error), grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9)))
    return status
