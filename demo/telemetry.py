"""Spans, log records and resources as OTLP protobuf, as an SDK in a pod would build and keep them until they are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

Value = str | int | float | bool

SERVER, CLIENT, PRODUCER, CONSUMER = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_PRODUCER, Span.SPAN_KIND_CONSUMER
INFO, WARN, ERROR = SeverityNumber.SEVERITY_NUMBER_INFO, SeverityNumber.SEVERITY_NUMBER_WARN, SeverityNumber.SEVERITY_NUMBER_ERROR
SEVERITY_TEXT: Mapping[SeverityNumber.ValueType, str] = {INFO: "INFO", WARN: "WARN", ERROR: "ERROR"}
SAMPLED = 0x101  # W3C sampled, and "whether the parent is remote" is known
KEPT_PAIRS = 20_000


class Words:
    """Key-value pairs in protobuf, built once for the few values that recur."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, type, Value], KeyValue] = {}

    def pair(self, key: str, value: Value) -> KeyValue:
        """The pair, shared with all who use it: do not change it."""
        known = self._pairs.get((key, type(value), value))
        if known is None:
            known = KeyValue(key=key, value=any_value(value))
            if len(self._pairs) < KEPT_PAIRS:
                self._pairs[key, type(value), value] = known
        return known

    def pairs(self, values: Mapping[str, Value]) -> list[KeyValue]:
        """A pair for each entry."""
        return [self.pair(key, value) for key, value in values.items()]


def any_value(value: Value) -> AnyValue:
    """A value in protobuf."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(double_value=value) if isinstance(value, float) else AnyValue(string_value=value)


class Clock:
    """Simulated seconds -> epoch nanoseconds."""

    def __init__(self, start: int) -> None:
        self.start = start

    def at(self, seconds: float) -> int:
        """Epoch nanoseconds at `seconds` after the start."""
        return self.start + round(seconds * 1e9)


class Recorder:
    """What a pod's SDK has recorded and not yet sent."""

    def __init__(self, clock: Clock, words: Words, resource: Mapping[str, Value], random: Random) -> None:
        self.clock = clock
        self.words = words
        self.resource = Resource(attributes=[KeyValue(key=key, value=any_value(value)) for key, value in resource.items()])
        self.random = random
        self.spans: list[Span] = []
        self.logs: list[LogRecord] = []

    def trace_id(self) -> bytes:
        """A new trace's id."""
        return self.random.getrandbits(128).to_bytes(16, "big")

    def span_id(self) -> bytes:
        """A new span's id."""
        return (self.random.getrandbits(64) | 1).to_bytes(8, "big")

    def span(
        self,
        context: tuple[bytes, bytes, bytes],
        name: str,
        kind: Span.SpanKind.ValueType,
        times: tuple[float, float],
        attributes: Sequence[KeyValue],
        *,
        error: str = "",
        exception: tuple[str, str] | None = None,
        link: tuple[bytes, bytes] | None = None,
    ) -> None:
        """Records an ended span. `context`: trace, span and parent ids; `times`: seconds; `error`: the status message of a failure."""
        start, end = self.clock.at(times[0]), self.clock.at(times[1])
        span = Span(
            trace_id=context[0],
            span_id=context[1],
            parent_span_id=context[2],
            name=name,
            kind=kind,
            start_time_unix_nano=start,
            end_time_unix_nano=max(end, start + 1_000),
            attributes=attributes,
            flags=SAMPLED,
        )
        if error:
            span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=error))
        if exception is not None:
            span.events.append(Span.Event(time_unix_nano=end, name="exception", attributes=self._exception(exception)))
        if link is not None:
            span.links.append(Span.Link(trace_id=link[0], span_id=link[1]))
        self.spans.append(span)

    def log(
        self, at: float, severity: SeverityNumber.ValueType, body: str, context: tuple[bytes, bytes, bytes], exception: tuple[str, str] | None = None
    ) -> None:
        """Records a log line of the request that `context` names."""
        when = self.clock.at(at)
        self.logs.append(
            LogRecord(
                time_unix_nano=when,
                observed_time_unix_nano=when,
                severity_number=severity,
                severity_text=SEVERITY_TEXT[severity],
                body=AnyValue(string_value=body),
                trace_id=context[0],
                span_id=context[1],
                flags=1,
                attributes=self._exception(exception) if exception else (),
            )
        )

    def take(self) -> tuple[list[Span], list[LogRecord]]:
        """Hands over what is recorded."""
        taken = self.spans, self.logs
        self.spans, self.logs = [], []
        return taken

    def _exception(self, exception: tuple[str, str]) -> list[KeyValue]:
        kind, message = exception
        trace = f"{kind}: {message}\n\tat handle(request)\n\tat dispatch(request)"
        return self.words.pairs({"exception.type": kind, "exception.message": message, "exception.stacktrace": trace})
