"""Recordings with something taken away before it enters: a signal, nine tenths of the traces, or what tells who calls whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingest.otlp.files import read_recording
from ingest.samples import SERVICE_GRAPH_CALLS
from schema.batches import Batch, Int32, LogBatch, MetricBatch, SpanBatch, UInt64

KEPT_TRACES = 10  # one in so many
Read = Callable[[Sequence[Path]], Iterator[Batch]]


def without(kind: type[Batch]) -> Read:
    """Reads all but one signal."""
    return lambda paths: (batch for batch in read_recording(paths) if not isinstance(batch, kind))


def tenth_of_traces(paths: Sequence[Path]) -> Iterator[Batch]:
    """Reads one trace in ten, as a sampler at the head would leave; logs and metrics are not sampled."""
    for batch in read_recording(paths):
        kept = spans_where(batch, batch.trace_low % np.uint64(KEPT_TRACES) == 0) if isinstance(batch, SpanBatch) else batch
        if len(kept):
            yield kept


def without_topology(paths: Sequence[Path]) -> Iterator[Batch]:
    """Reads spans without parents in another service, and metrics without the service graph: who calls whom stays unknown."""
    owners = _owners(paths)
    for batch in read_recording(paths):
        if isinstance(batch, SpanBatch):
            yield _rooted(batch, owners)
        else:
            kept = points_where(batch, batch.metric != _place(batch.strings, SERVICE_GRAPH_CALLS)) if isinstance(batch, MetricBatch) else batch
            if len(kept):
                yield kept


ABLATIONS: Mapping[str, Read] = {
    "no_logs": without(LogBatch),
    "no_spans": without(SpanBatch),
    "no_metrics": without(MetricBatch),
    "tenth_of_traces": tenth_of_traces,
    "no_topology": without_topology,
}


def spans_where(batch: SpanBatch, keep: NDArray[np.bool_]) -> SpanBatch:
    """The spans that `keep` (bool[n]) chooses, with their links and exceptions."""
    row = np.cumsum(keep, dtype=np.int32) - np.int32(1)
    links, exceptions = keep[batch.link_row], keep[batch.exception_row]
    return replace(
        batch,
        **{
            name: getattr(batch, name)[keep]
            for name in ("resource", "trace_high", "trace_low", "span_id", "parent_id", "name", "kind", "status", "start", "end")
        },
        attributes={key: column[keep] for key, column in batch.attributes.items()},
        link_row=row[batch.link_row[links]],
        **{name: getattr(batch, name)[links] for name in ("link_trace_high", "link_trace_low", "link_span_id")},
        exception_row=row[batch.exception_row[exceptions]],
        exception_type=batch.exception_type[exceptions],
    )


def points_where(batch: MetricBatch, keep: NDArray[np.bool_]) -> MetricBatch:
    """The metric points that `keep` (bool[n]) chooses, with their buckets."""
    sizes = np.diff(batch.bucket_ptr)
    buckets = np.repeat(keep, sizes)
    return replace(
        batch,
        **{name: getattr(batch, name)[keep] for name in ("resource", "metric", "unit", "kind", "attributes", "start", "time", "value", "count")},
        bucket_ptr=np.concatenate([[0], np.cumsum(sizes[keep])]),
        bucket_count=batch.bucket_count[buckets],
        bucket_bound=batch.bucket_bound[buckets],
    )


def _owners(paths: Sequence[Path]) -> tuple[UInt64, Int32]:
    """The ids of all spans in ascending order, and a number for the service that each is of."""
    numbers: dict[str, int] = {}
    ids, services = [np.empty(0, np.uint64)], [np.empty(0, np.int32)]
    for batch in read_recording(paths):
        if isinstance(batch, SpanBatch):
            ids.append(batch.span_id)
            services.append(_services(batch, numbers))
    every = np.concatenate(ids)
    order = np.argsort(every)
    return every[order], np.concatenate(services)[order]


def _services(batch: SpanBatch, numbers: dict[str, int]) -> Int32:
    of_resource = [numbers.setdefault(resource.get("service.name"), len(numbers)) for resource in batch.resources]
    return np.array(of_resource, np.int32)[batch.resource]


def _rooted(batch: SpanBatch, owners: tuple[UInt64, Int32]) -> SpanBatch:
    ids, services = owners
    place = np.searchsorted(ids, batch.span_id)
    parent = np.minimum(np.searchsorted(ids, batch.parent_id), len(ids) - 1)
    local = (ids[parent] == batch.parent_id) & (services[parent] == services[place])
    return replace(batch, parent_id=np.where(local, batch.parent_id, np.uint64(0)), link_row=batch.link_row[:0])


def _place(strings: Iterable[str], text: str) -> int:
    """Where a text stands among a batch's strings, -2 where it is not: no column refers to that."""
    return {each: place for place, each in enumerate(strings)}.get(text, -2)
