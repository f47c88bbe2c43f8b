"""A closed window of event time, aggregated: what ingest hands to reasoning. Entities are the live graph's dense integers.

Rows stand in ascending key order and all sums are of integers where they can be, so that the order of arrival leaves no trace.
Durations are nanoseconds. Histograms count durations in DURATION_BINS bins, four to an octave from one microsecond.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from schema.batches import Float64, Int32, Int64

DURATION_BINS = 96


def duration_bin(duration_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """The histogram bin of each duration: floor(4 log2(microseconds)), clipped to 0..DURATION_BINS-1."""
    micros = np.maximum(duration_ns, 1_000) / 1_000.0
    return np.clip(np.floor(4.0 * np.log2(micros)), 0, DURATION_BINS - 1).astype(np.int64)


BIN_SECONDS: Float64 = 1e-6 * np.exp2((np.arange(DURATION_BINS) + 0.5) / 4.0)
"""The geometric middle of each bin, in seconds: Float64[DURATION_BINS]."""
BIN_SECONDS.setflags(write=False)


@dataclass(frozen=True, slots=True)
class RequestTable:
    """Requests served (or messages worked on), one row per entity: services, endpoints and pods each count the same requests.

    `own`: time less what the request waited for (calls, queries). Histograms: Int32[n, DURATION_BINS]; where `detailed` is
    False the row comes from metrics: only `requests`, `errors` and `duration` are known, `own` is 0 and the histograms are empty.
    """

    entity: Int32
    requests: Int64
    errors: Int64
    own_errors: Int64  # failed although none of the request's own calls failed
    duration: Int64
    own: Int64
    duration_histogram: Int32
    own_histogram: Int32
    detailed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CallTable:
    """Calls along relations, one row per (source, relation, target), seen from the source.

    `relation`: index into `relations`. `duration`: the source's waiting. `answered`: calls of which the target's own spans know.
    `gap`: client less server time over the `paired` calls; `target_duration`: their server time. `carrying`: requests of the source
    that made at least one such call, of its `source_requests`; `failed_source`: those failed in which such a call failed too.
    Rows from service-graph metrics know `calls` only.
    """

    relations: tuple[str, ...]
    source: Int32
    relation: Int32
    target: Int32
    calls: Int64
    errors: Int64
    timeouts: Int64
    duration: Int64
    target_duration: Int64
    answered: Int64
    paired: Int64
    gap: Int64
    carrying: Int64
    source_requests: Int64
    failed_source: Int64
    duration_histogram: Int32
    gap_histogram: Int32


@dataclass(frozen=True, slots=True)
class BehaviourTable:
    """The coin of each stream (caller operation, operation, event): in how many of the operation's requests the event happened.

    Text columns index `strings`; `caller` -1 where a request had no caller. `entity`: the service that owns the operation.
    `shown` of `trials` requests, one vote a trace, so both may be fractions. `error`: the event is an error (exception, error log,
    failed call). `calls`: the entity a call event reaches, else -1.
    """

    strings: tuple[str, ...]
    entity: Int32
    caller: Int32
    operation: Int32
    event: Int32
    error: NDArray[np.bool_]
    calls: Int32
    shown: Float64
    trials: Float64


@dataclass(frozen=True, slots=True)
class SampleTable:
    """Samples of attributes, one row per (entity, attribute); COUNT attributes hold the increase in the window as `mean`."""

    attributes: tuple[str, ...]
    entity: Int32
    attribute: Int32
    samples: Int64
    mean: Float64
    minimum: Float64
    maximum: Float64


@dataclass(frozen=True, slots=True)
class LogTable:
    """Log records per service and template. `error`: severity ERROR or worse. `per_request` is the exposure: requests in the window."""

    strings: tuple[str, ...]
    entity: Int32
    template: Int32
    error: NDArray[np.bool_]
    records: Int64


class ChangeKind(StrEnum):
    """What happened to an entity on purpose or by the platform."""

    DEPLOY = "deploy"
    CONFIG = "config"
    SCALE = "scale"
    RESTART = "restart"
    OOM_KILLED = "oom_killed"
    NODE_NOT_READY = "node_not_ready"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One event on an entity, from a resource attribute that changed (service.version), a Kubernetes event or a log event."""

    time: int
    entity: int
    kind: ChangeKind
    detail: str


@dataclass(frozen=True, slots=True)
class TelemetryWindow:
    """Everything observed in [start, end) epoch nanoseconds. `late` and other losses are counted by reason in `dropped`."""

    start: int
    end: int
    requests: RequestTable
    calls: CallTable
    behaviour: BehaviourTable
    samples: SampleTable
    logs: LogTable
    changes: tuple[Change, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
