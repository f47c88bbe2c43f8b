"""A recording asked about instants, in event time: the same path as the live run, and nothing after an instant influences its answer."""

from __future__ import annotations

import gzip
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from rich.console import Console

from api.instants import InstantError, parse_instant, write_instant
from api.pipeline import Pipeline, PipelineSettings
from api.render import columns, described, heading, moment, percent, say
from api.terminal import CommandError, stdout_console, tell, write_line
from ingest.errors import RecordingError
from ingest.otlp.files import read_recording
from schema.batches import Batch, SpanBatch
from schema.loader import CausalModelError, load_knowledge
from schema.verdicts import Diagnosis, RootCause

SECOND = 1_000_000_000
# How far the batches of a recording may stand out of order before rows are late. Live lateness is shorter: there, waiting costs minutes to the verdict.
PATIENCE = 60 * SECOND
END = 1 << 62
TOLD = 5
NAMED = 0.005
OTLP_KEYS = (b"resourceSpans", b"resourceMetrics", b"resourceLogs")


class RecordingNotFoundError(Exception):
    """A path that is not there, or a folder without OTLP files; the message says which."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was believed at `at`, epoch nanoseconds: the instant asked, or the end of the last window."""

    at: int
    diagnosis: Diagnosis


def recordings_in(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The files to read, folders searched at every depth, and the files in folders that were left out because they hold no OTLP.

    Raises RecordingNotFoundError.
    """
    chosen: set[Path] = set()
    left: list[Path] = []
    for path in paths:
        if not path.exists():
            raise RecordingNotFoundError(f"{path} does not exist: name OTLP files, or folders of them.")
        if not path.is_dir():
            chosen.add(path)
            continue
        inside = sorted(each for each in path.rglob("*") if each.is_file())
        found = [each for each in inside if _holds_otlp(each)]
        if not found:
            raise RecordingNotFoundError(f"{path} holds no OTLP file: name the files, or a folder the Collector's file exporter wrote to.")
        chosen.update(found)
        left.extend(each for each in inside if each not in found)
    return sorted(chosen), left


class BrokenRecordingError(Exception):
    """A recording that could not be read to its end; what came before was answered."""


def run_replay(paths: Sequence[Path], at: Sequence[str], knowledge: Path | None, default_cluster: str, *, as_json: bool) -> None:
    """Prints an answer for each instant as soon as it stands. Raises CommandError."""
    try:
        instants = [parse_instant(text) for text in at]
        files, left = recordings_in(paths)
        pipeline = Pipeline(load_knowledge(knowledge), PipelineSettings(default_cluster=default_cluster))
        for path in left:
            tell(f"{path} holds no OTLP and is left out.")
        recording = Replay(pipeline)
        for answer in recording.answers(read_recording(files), instants):
            if as_json:
                write_line(answer_line(answer))
            else:
                render_answer(stdout_console(), answer)
            if answer.diagnosis.stale:
                tell(f"{write_instant(answer.at)}: {answer.diagnosis.stale}")
    except (InstantError, RecordingNotFoundError, BrokenRecordingError, CausalModelError) as error:
        raise CommandError(str(error)) from error
    if not recording.reached:
        raise CommandError("The recording holds no telemetry: there is nothing to say of it.", code=1)
    if late := pipeline.assembler.dropped.get("late", 0):
        tell(f"{late} rows stood more than {PATIENCE // SECOND} s out of order and did not count.")


def render_answer(console: Console, answer: Answer) -> None:
    """The likeliest root causes, a line each."""
    causes = [cause for cause in answer.diagnosis.root_causes[:TOLD] if cause.probability >= NAMED]
    heading(console, moment(answer.at))
    if not causes:
        say(console, "No root cause worth a look.")
        return
    rows = (
        (percent(cause.probability), cause.cause.defect, described(str(cause.cause.entity)), moment(cause.onset) if cause.onset is not None else "")
        for cause in causes
    )
    columns(console, ("", "defect", "of", "since"), rows, right=frozenset({0}))


class Replay:
    """One recording through one pipeline. `reached`: the event time up to which everything was read."""

    def __init__(self, pipeline: Pipeline, *, patience: int = PATIENCE) -> None:
        self._pipeline = pipeline
        self._patience = patience
        self._concluded: Diagnosis | None = None
        self.reached = 0

    def answers(self, batches: Iterable[Batch], instants: Sequence[int]) -> Iterator[Answer]:
        """An answer for each instant in order of time, as soon as nothing can change it; without instants one for the end.

        Windows that end at or before the instant count. Raises BrokenRecordingError after every instant that the recording was whole for.
        """
        waiting = deque(sorted(set(instants)))
        broken: RecordingError | None = None
        try:
            for batch in batches:
                settled = _earliest(batch) - self._patience
                while waiting and waiting[0] <= settled:
                    yield self._answer(waiting.popleft())
                self._gather(settled)
                self._pipeline.add(batch)
                self.reached = max(self.reached, _earliest(batch))
        except RecordingError as error:
            broken = error
        while waiting and (broken is None or waiting[0] <= self.reached):
            yield self._answer(waiting.popleft())
        if not instants and self.reached:
            yield self._answer(END)
        if broken is not None:
            rest = f" {len(waiting)} of the instants asked for lie behind the break and stay unanswered." if waiting else ""
            raise BrokenRecordingError(f"{broken}{rest}") from broken

    def _answer(self, instant: int) -> Answer:
        self._gather(instant)
        if self._concluded is None:
            self._concluded = self._pipeline.reasoner.conclude()
        return Answer(self._concluded.at if instant == END else instant, self._concluded)

    def _gather(self, instant: int) -> None:
        if self._pipeline.gather(instant):
            self._concluded = None


def answer_line(answer: Answer) -> bytes:
    """The answer as one line of JSON, without its end; byte for byte the same for the same answer."""
    return orjson.dumps({"at": write_instant(answer.at), "root_causes": [_cause(cause) for cause in answer.diagnosis.root_causes]})


def _cause(cause: RootCause) -> Mapping[str, object]:
    entity = cause.cause.entity
    return {
        "entity": str(entity),
        "kind": entity.kind,
        "cluster": entity.cluster,
        "namespace": entity.namespace,
        "name": entity.name,
        "service": cause.service.name if cause.service is not None else None,
        "defect": cause.cause.defect,
        "probability": cause.probability,
        "onset": write_instant(cause.onset) if cause.onset is not None else None,
        "explains": [{"entity": str(each.entity), "condition": each.condition} for each in cause.explains],
    }


def _earliest(batch: Batch) -> int:
    return int((batch.end if isinstance(batch, SpanBatch) else batch.time).min())


def _holds_otlp(path: Path) -> bool:
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as content:
            head = content.read(1 << 16).lstrip()
    except (OSError, EOFError, zlib.error):
        # A damaged file says so when it is read.
        return True
    if head[:1] == b"{":
        return any(key in head for key in OTLP_KEYS)
    # Length-delimited protobuf: a length of four bytes, then field 1 of an export request.
    return len(head) > 4 and head[:1] in {b"\0", b"\1"} and head[4:5] == b"\x0a"
