"""Recordings: every form a Collector writes, and what happens where one is cut."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from ingest.errors import RecordingError
from ingest.otlp.files import read_recording
from schema.batches import Batch, LogBatch, MetricBatch, SpanBatch
from tests.ingest.telemetry import SECOND, START, pairs, request, span
from tests.ingest.test_decoding import otlp_json
from tests.ingest.test_windows import content

Message = ExportTraceServiceRequest | ExportMetricsServiceRequest | ExportLogsServiceRequest
CART = Resource(attributes=pairs({"service.name": "cart"}))


def traces(at: float, spans: int = 2) -> ExportTraceServiceRequest:
    return request([span("front", number, 0, at, at + 1, name=f"at {at}") for number in range(1, spans + 1)])


def metrics(at: float) -> ExportMetricsServiceRequest:
    point = NumberDataPoint(time_unix_nano=START + round(at * SECOND), as_double=0.5, attributes=pairs({"state": "used"}))
    scope = ScopeMetrics(metrics=[Metric(name="k8s.pod.cpu_limit_utilization", unit="1", gauge=Gauge(data_points=[point]))])
    return ExportMetricsServiceRequest(resource_metrics=[ResourceMetrics(resource=CART, scope_metrics=[scope])])


def logs(at: float) -> ExportLogsServiceRequest:
    record = LogRecord(time_unix_nano=START + round(at * SECOND), body=AnyValue(string_value="all is well"), severity_text="INFO", severity_number=9)  # type: ignore[arg-type]  # SEVERITY_NUMBER_INFO
    return ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=CART, scope_logs=[ScopeLogs(log_records=[record])])])


MESSAGES: list[Message] = [traces(1), logs(2), metrics(3), traces(4)]


def json_lines(messages: list[Message]) -> bytes:
    return b"".join(otlp_json(message, numbers_for_enums=True) + b"\n" for message in messages)


def delimited(messages: list[Message]) -> bytes:
    return b"".join(len(body).to_bytes(4, "big") + body for body in (message.SerializeToString() for message in messages))


def plain(raw: bytes) -> bytes:
    return raw


FORMS = pytest.mark.parametrize("form", [json_lines, delimited])
Form = Callable[[list[Message]], bytes]


def read_until_trouble(path: Path) -> tuple[list[Batch], str]:
    batches: list[Batch] = []
    try:
        batches.extend(read_recording([path]))
    except RecordingError as error:
        return batches, str(error)
    return batches, ""


@FORMS
@pytest.mark.parametrize("pack", [plain, gzip.compress])
def test_all_signals_of_a_recording_are_read_in_every_form(tmp_path: Path, form: Form, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "recording"
    path.write_bytes(pack(form(MESSAGES)))
    batches, trouble = read_until_trouble(path)
    assert trouble == ""
    assert [type(batch) for batch in batches] == [SpanBatch, LogBatch, MetricBatch, SpanBatch]
    assert [len(batch) for batch in batches] == [2, 1, 1, 2]


def test_both_forms_hold_the_same(tmp_path: Path) -> None:
    for form in (json_lines, delimited):
        (tmp_path / form.__name__).write_bytes(form(MESSAGES))
    one, other = (content(tuple(read_recording([tmp_path / form.__name__]))) for form in (json_lines, delimited))
    assert one == other


def test_several_files_are_merged_in_event_time(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_bytes(json_lines([traces(1), traces(5)]))
    (tmp_path / "a.jsonl").write_bytes(json_lines([metrics(4), metrics(7)]))
    (tmp_path / "c.bin").write_bytes(delimited([logs(2), logs(6)]))
    firsts = [(batch.end if isinstance(batch, SpanBatch) else batch.time).min() for batch in read_recording(sorted(tmp_path.iterdir()))]
    assert [(int(first) - START) // SECOND for first in firsts] == [2, 2, 4, 6, 6, 7]


@FORMS
def test_a_recording_cut_in_the_middle_yields_what_came_before_and_one_sentence(tmp_path: Path, form: Form) -> None:
    path = tmp_path / "cut"
    path.write_bytes(form(MESSAGES)[:-40])
    batches, trouble = read_until_trouble(path)
    assert len(batches) == 3
    assert trouble.startswith(f"{path}:")
    assert "cut" in trouble
    assert trouble.endswith(".")


@FORMS
def test_a_compressed_recording_cut_in_the_middle_yields_what_came_before_and_one_sentence(tmp_path: Path, form: Form) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(form(MESSAGES * 500))[:-400])
    batches, trouble = read_until_trouble(path)
    assert 0 < len(batches) < 2000
    assert trouble == f"{path} is cut or damaged in its compressed data: record it again, or replay what is before the cut."


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"resourceSpans": []}\nnonsense\n{"resourceSpans": []}\n', ":2: this line is no OTLP/JSON export request: it is not JSON"),
        (b'{"somethingElse": []}\n', ":1: this line is no OTLP/JSON export request: none of resourceSpans"),
        (b'{"resourceSpans": 7}\n', ":1: this line is no OTLP/JSON export request: it does not have the shape"),
        (b"\x00\x00\x00\x04abcd", "the message at byte 0 is no OTLP export request"),
        (b"\xff\xff\xff\xffabcd", "the message at byte 0 is cut or no length-delimited OTLP"),
        (b"\x00\x00", "the message at byte 0 is cut or no length-delimited OTLP"),
        (gzip.compress(b"x" * 1000)[:15] + bytes(40), "is cut or damaged in its compressed data"),
        (gzip.compress(bytes(range(256)))[:10] + b"\xff" * 40, "is cut or damaged in its compressed data"),
        (gzip.compress(b"\n" * 1000)[:-8] + bytes(8), "is cut or damaged in its compressed data"),
    ],
)
def test_what_is_no_recording_is_told_with_its_place(tmp_path: Path, raw: bytes, expected: str) -> None:
    path = tmp_path / "strange"
    path.write_bytes(raw)
    _, trouble = read_until_trouble(path)
    assert expected in trouble
    assert trouble.startswith(str(path))


def test_a_file_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    _, trouble = read_until_trouble(tmp_path / "missing")
    assert trouble == f"{tmp_path / 'missing'} can't be read (No such file or directory): check the path."


def test_an_empty_recording_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert read_until_trouble(tmp_path / "empty") == ([], "")


def test_empty_requests_and_profiles_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(b'{}\n{"resourceProfiles": [{}]}\n\n' + json_lines([logs(1)]))
    (batch,) = read_recording([path])
    assert isinstance(batch, LogBatch)


@pytest.mark.parametrize("message", [traces(1), metrics(1), logs(1)])
def test_a_binary_message_is_known_by_its_content(tmp_path: Path, message: Message) -> None:
    path = tmp_path / "one"
    path.write_bytes(delimited([message]))
    (batch,) = read_recording([path])
    assert type(batch) is {ExportTraceServiceRequest: SpanBatch, ExportMetricsServiceRequest: MetricBatch, ExportLogsServiceRequest: LogBatch}[type(message)]


@FORMS
def test_an_export_without_rows_is_passed_over(tmp_path: Path, form: Form) -> None:
    path = tmp_path / "one"
    path.write_bytes(form([traces(1), ExportMetricsServiceRequest(resource_metrics=[ResourceMetrics(resource=CART)]), traces(2)]))
    assert [len(batch) for batch in read_recording([path])] == [2, 2]
