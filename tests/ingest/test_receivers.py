"""The doors: good requests, every kind of bad one, overload, and a port that is taken. Loopback only."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import httpx
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from ingest.errors import ListenError, OverloadedError, PortInUseError
from ingest.listening import listening_socket
from ingest.otlp.grpc_receiver import LARGEST_MESSAGE, GrpcReceiver
from ingest.otlp.http_receiver import JSON, LARGEST_BODY, PROTOBUF, http_receiver
from ingest.otlp.receiving import SIGNALS, ReceiverCounts
from schema.batches import Batch
from tests.ingest.telemetry import request, span

GOOD = request([span("front", 1, 0, 1.0, 2.0)]).SerializeToString()
TRACES = SIGNALS["traces"].service


def one_bad_among_good() -> bytes:
    """Three spans: a good one, one without a trace id, one that ends before it starts."""
    spans = [span("front", at, 0, 1.0, 2.0) for at in (1, 2, 3)]
    spans[1][1].trace_id = b"short"
    spans[2][1].end_time_unix_nano = 1
    return request(spans).SerializeToString()


class Taken:
    """A sink that remembers, and refuses when told."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.full = False

    async def __call__(self, batch: Batch) -> None:
        if self.full:
            raise OverloadedError(retry_after=2.5)
        self.batches.append(batch)


@pytest.fixture
def taken() -> Taken:
    return Taken()


@pytest.fixture
def counts() -> ReceiverCounts:
    return ReceiverCounts()


Export = Callable[[bytes], Awaitable[bytes]]


@pytest.fixture
async def export(taken: Taken, counts: ReceiverCounts) -> AsyncIterator[Export]:
    """Sends a body to the gRPC door for traces, inflated or gzip."""
    receiver = GrpcReceiver(taken, port=0, counts=counts)
    await receiver.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}", compression=grpc.Compression.Gzip) as channel:
        yield channel.unary_unary(f"/{TRACES}/Export")
    await receiver.stop()


async def refusal(export: Export, body: bytes) -> tuple[grpc.StatusCode, Status]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await export(body)
    details = dict(caught.value.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    assert isinstance(details, bytes)
    return caught.value.code(), Status.FromString(details)


@pytest.fixture
async def client(taken: Taken, counts: ReceiverCounts) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(http_receiver(taken, counts=counts)), base_url="http://whence") as made:
        yield made


async def post(client: httpx.AsyncClient, body: bytes, media_type: str = PROTOBUF, encoding: str = "", signal: str = "traces") -> httpx.Response:
    headers = {"content-type": media_type} | ({"content-encoding": encoding} if encoding else {})
    return await client.post(f"/v1/{signal}", content=body, headers=headers)


async def test_grpc_takes_a_batch_and_answers_full_success(export: Export, taken: Taken, counts: ReceiverCounts) -> None:
    answer = ExportTraceServiceResponse.FromString(await export(GOOD))
    assert not answer.HasField("partial_success")
    assert [len(batch) for batch in taken.batches] == [1]
    assert counts.received_items == {"traces": 1}


async def test_grpc_keeps_the_good_spans_and_says_which_it_refused_and_why(export: Export, taken: Taken, counts: ReceiverCounts) -> None:
    partial = ExportTraceServiceResponse.FromString(await export(one_bad_among_good())).partial_success
    assert partial.rejected_spans == 2
    assert partial.error_message == "1 refused: a span whose times are missing or end before they start; 1 refused: a span without a 16-byte trace id"
    assert len(taken.batches[0]) == 1
    assert sum(counts.refused_items.values()) == 2


async def test_grpc_refuses_what_it_cannot_decode_with_a_status_and_goes_on(export: Export, taken: Taken, counts: ReceiverCounts) -> None:
    code, status = await refusal(export, b"\xff\xff")
    assert (code, status.code) == (grpc.StatusCode.INVALID_ARGUMENT, 3)
    assert "ExportTraceServiceRequest" in status.message
    await export(GOOD)
    assert len(taken.batches) == 1
    assert counts.refused_requests == {("traces", "undecodable"): 1}


@pytest.mark.parametrize("size", [LARGEST_MESSAGE + 1, 64 << 20])
async def test_grpc_refuses_more_than_4_mebibytes_even_when_they_come_as_a_few_bytes_of_gzip(export: Export, taken: Taken, size: int) -> None:
    code, _ = await refusal(export, bytes(size))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not taken.batches


async def test_grpc_tells_senders_to_retry_when_overloaded(export: Export, taken: Taken, counts: ReceiverCounts) -> None:
    taken.full = True
    code, status = await refusal(export, GOOD)
    retry = RetryInfo()
    assert status.details[0].Unpack(retry)
    assert (code, retry.retry_delay.ToMilliseconds()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 2500)
    assert counts.refused_requests == {("traces", "overloaded"): 1}
    assert counts.received_items == {}


async def test_a_second_server_on_the_same_port_is_told_so(taken: Taken) -> None:
    first = GrpcReceiver(taken, port=0)
    await first.start()
    with pytest.raises(PortInUseError, match=rf"^127\.0\.0\.1:{first.port} is in use by another process, .*choose another address\.$"):
        await GrpcReceiver(taken, port=first.port).start()
    with pytest.raises(PortInUseError):
        listening_socket("127.0.0.1", first.port, "OTLP/HTTP")
    await first.stop()
    listening_socket("127.0.0.1", first.port, "OTLP/HTTP").close()


async def test_stopping_lets_requests_under_way_finish() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(_: Batch) -> None:
        entered.set()
        await leave.wait()

    receiver = GrpcReceiver(slow, port=0)
    await receiver.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}") as channel:
        sending = asyncio.ensure_future(channel.unary_unary(f"/{TRACES}/Export")(GOOD))
        await entered.wait()
        stopping = asyncio.ensure_future(receiver.stop())
        leave.set()
        assert ExportTraceServiceResponse.FromString(await sending) == ExportTraceServiceResponse()
        await stopping


async def test_stopping_waits_half_a_second_at_most() -> None:
    entered = asyncio.Event()

    async def never(_: Batch) -> None:
        entered.set()
        await asyncio.Event().wait()

    receiver = GrpcReceiver(never, port=0)
    await receiver.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}") as channel:
        sending = asyncio.ensure_future(channel.unary_unary(f"/{TRACES}/Export")(GOOD))
        await entered.wait()
        await asyncio.wait_for(receiver.stop(), 3)
        with pytest.raises(grpc.aio.AioRpcError):
            await sending


def test_an_address_that_is_none_is_told_so() -> None:
    with pytest.raises(ListenError, match="HOST:PORT"):
        listening_socket("no such host", 1, "OTLP/HTTP")


def test_a_listening_socket_takes_connections() -> None:
    with listening_socket("127.0.0.1", 0, "OTLP/HTTP") as listener, socket.create_connection(listener.getsockname(), timeout=1):
        pass


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "deflate"])
async def test_http_takes_protobuf_in_every_encoding(client: httpx.AsyncClient, taken: Taken, encoding: str) -> None:
    body = gzip.compress(GOOD) if encoding == "gzip" else zlib.compress(GOOD) if encoding == "deflate" else GOOD
    answer = await post(client, body, encoding=encoding)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, PROTOBUF, b"")
    assert len(taken.batches) == 1


async def test_http_takes_gzip_of_several_members(client: httpx.AsyncClient, taken: Taken) -> None:
    assert (await post(client, gzip.compress(GOOD[:10]) + gzip.compress(GOOD[10:]), encoding="gzip")).status_code == 200
    assert len(taken.batches) == 1


@pytest.mark.parametrize(("signal", "response"), [("metrics", ExportMetricsServiceResponse), ("logs", ExportLogsServiceResponse)])
async def test_http_has_a_door_for_each_signal(client: httpx.AsyncClient, signal: str, response: Any) -> None:
    answer = await post(client, b"", signal=signal)
    assert answer.status_code == 200
    assert response.FromString(answer.content) == response()


async def test_http_answers_partial_success_in_the_type_of_the_request(client: httpx.AsyncClient) -> None:
    answer = await post(client, one_bad_among_good())
    assert ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans == 2
    in_json = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "00", "spanId": "zz", "name": "x"}]}]}]}
    answer = await post(client, json.dumps(in_json).encode(), f"{JSON}; charset=utf-8")
    assert answer.json() == {"partialSuccess": {"rejectedSpans": "1", "errorMessage": "1 refused: a span without a 16-byte trace id"}}


NOT_UTF8 = GOOD.replace(b"front", b"fr\xffnt")
DEEP_JSON = b'{"resourceSpans":' + b"[" * 100_000
DEEP_VALUE = json.dumps({"resourceSpans": [{"resource": {"attributes": [{"key": "a", "value": None}]}}]}).replace(
    "null", '{"arrayValue":{"values":[' * 200 + "{}" + "]}}" * 200
).encode()  # fmt: skip


def nested_protobuf(depth: int) -> bytes:
    """An AnyValue in an AnyValue in … as an attribute of a resource."""
    value = b""
    for _ in range(depth):
        inner = b"\x0a" + _varint(len(value)) + value
        value = b"\x2a" + _varint(len(inner)) + inner
    for tag in (b"\x12", b"\x0a", b"\x0a", b"\x0a"):
        value = tag + _varint(len(value)) + value
    return value


def _varint(number: int) -> bytes:
    out = b""
    while number >= 128:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


@pytest.mark.parametrize(
    ("status", "media_type", "encoding", "body"),
    [
        (400, PROTOBUF, "", b"\xff\xff"),
        (400, PROTOBUF, "", GOOD[:-5]),
        (400, PROTOBUF, "", NOT_UTF8),
        (400, PROTOBUF, "", nested_protobuf(2_000)),
        (400, PROTOBUF, "gzip", GOOD),
        (400, PROTOBUF, "gzip", gzip.compress(GOOD)[:-4]),
        (400, PROTOBUF, "gzip", gzip.compress(GOOD) + b"tail"),
        (400, PROTOBUF, "deflate", gzip.compress(GOOD)),
        (415, PROTOBUF, "br", GOOD),
        (415, "text/plain", "", GOOD),
        (415, "", "", GOOD),
        (400, JSON, "", b""),
        (400, JSON, "", b"[]"),
        (400, JSON, "", b"null"),
        (400, JSON, "", b'{"resourceSpans": 3}'),
        (400, JSON, "", b'{"resourceSpans": [3]}'),
        (400, JSON, "", b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": "soon"}]}]}]}'),
        (400, JSON, "", b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": 1e400}]}]}]}'),
        (400, JSON, "", b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"kind": 1e20}]}]}]}'),
        (400, JSON, "", b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": [{"key": "a", "value": {"intValue": "1e5"}}]}]}]}]}'),
        (400, JSON, "", b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "\\ud800"}]}]}]}'),
        (400, JSON, "", b'{"resourceSpans": "\xff"}'),
        (400, JSON, "", DEEP_JSON),
        (400, JSON, "", DEEP_VALUE),
        (413, PROTOBUF, "", bytes(LARGEST_BODY + 1)),
        (413, PROTOBUF, "gzip", gzip.compress(bytes(LARGEST_BODY + 1))),
        (413, JSON, "gzip", gzip.compress(bytes(LARGEST_BODY // 2 + 1)) * 2),
    ],
)
async def test_http_refuses_bad_requests_with_a_status_and_a_sentence(
    client: httpx.AsyncClient, taken: Taken, counts: ReceiverCounts, status: int, media_type: str, encoding: str, body: bytes
) -> None:
    answer = await post(client, body, media_type, encoding)
    assert answer.status_code == status
    message = Status.FromString(answer.content).message if media_type == PROTOBUF else answer.json()["message"]
    assert message.endswith(".")
    assert len(message) < 400
    assert not taken.batches
    assert sum(counts.refused_requests.values()) == 1


async def test_http_tells_senders_to_retry_when_overloaded(client: httpx.AsyncClient, taken: Taken, counts: ReceiverCounts) -> None:
    taken.full = True
    answer = await post(client, GOOD)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert Status.FromString(answer.content).code == 8
    assert counts.refused_requests == {("traces", "overloaded"): 1}


async def test_numbers_out_of_every_range_are_the_senders_trouble_not_ours(client: httpx.AsyncClient, taken: Taken) -> None:
    """Enum values nobody knows, links and parents of odd length, exponents no float holds: kept or refused, never a traceback."""
    made = span("front", 1, 0, 1.0, 2.0)
    made[1].kind = 99  # type: ignore[assignment]  # enums are open
    made[1].status.code = -3  # type: ignore[assignment]  # enums are open
    made[1].links.add(trace_id=bytes(40), span_id=b"\xff" * 40)
    odd = span("front", 2, 0, 1.0, 2.0)
    odd[1].parent_span_id = b"\xff" * 40
    answer = await post(client, request([made, odd]).SerializeToString())
    assert ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans == 1
    (batch,) = taken.batches
    assert len(batch) == 1
    points = [
        {"timeUnixNano": "1", "count": "1", "sum": 1, "scale": scale, "positive": {"offset": 2**31 - 1, "bucketCounts": ["1"]}} for scale in (-(2**31), 0, 20)
    ]
    points.append({"timeUnixNano": "1", "startTimeUnixNano": str(2**64 - 1), "sum": 1})
    body = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "exponentialHistogram": {"dataPoints": points}}]}]}]}
    assert (await post(client, json.dumps(body).encode(), JSON, signal="metrics")).status_code == 200


async def test_http_takes_exactly_the_limit(client: httpx.AsyncClient, taken: Taken) -> None:
    padded = ExportTraceServiceRequest.FromString(GOOD)
    padded.resource_spans[0].schema_url = "x" * (LARGEST_BODY - len(GOOD) - 10)
    padded.resource_spans[0].schema_url += "x" * (LARGEST_BODY - padded.ByteSize())
    assert padded.ByteSize() == LARGEST_BODY
    assert (await post(client, gzip.compress(padded.SerializeToString(), 1), encoding="gzip")).status_code == 200
    assert len(taken.batches) == 1
