"""`whence doctor`: what is well, what is not, and what to do about it."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rich.console import Console
from rich.text import Text

from api.client import ServerUnreachableError, WhenceClient
from api.client_results import Entity, Status
from api.render import moment, paragraphs, span_of
from api.settings import Address, ServeSettings, parse_address
from api.terminal import CommandError, print_json, stdout_console

SECOND = 1_000_000_000
STALE = 300 * SECOND
NAMED = 5  # entities in a line
ADVICE = {
    "late": "Senders are behind or clocks differ: send sooner (batch timeouts below 5 s) and synchronise clocks.",
    "ahead": "Clocks run ahead of the others: synchronise them.",
    "buffer_full": "More telemetry arrives than windows may hold: sample, or split the load over several Whences.",
    "waiting_spans_full": "More traces are under way than may be held: sample whole traces at the head.",
    "waiting_records_full": "More logs wait for their request than may be held: send fewer, or from WARN on.",
    "duplicate_spans": "The same spans come twice: two exporters or Collectors send the same telemetry.",
    "spans_without_request": "Set service.name on what sends these spans; their parents may also form a circle.",
    "records_without_span": "Log records name a span that never came: send traces and logs of a service to the same Whence, and sample them alike.",
    "records_without_trace": "Log records that carry no trace id count for their service and for no request: turn on trace context in the log appender.",
    "counted_traces_forgotten": "Traces last longer than can be remembered at this load: late spans of them lack their caller.",
    "implausible_value": "Metric values beyond 1e18: look for overflowing counters in the exporter.",
    "unknown_metric": "Nothing is wrong: Whence has no use for these metrics. Drop them in the Collector to save the way.",
    "metric_without_entity": "Set service.name on what sends these metrics, or k8s.* attributes with the k8sattributes processor.",
    "service_graph_without_ends": "Keep the labels client and server when aggregating service graph metrics.",
    "unknown_event": "Nothing is wrong: no rule is raised by Kubernetes events of these reasons.",
    "event_without_entity": "Kubernetes events about objects that telemetry never named: set k8s.* resource attributes on what runs there.",
    "peer_on_own_host": "Nothing is wrong: calls to localhost are taken for sidecars and proxies. Set service.peer.name on the span if one is not.",
    "temporary_destination": "Nothing is wrong: reply queues that brokers make up are not followed.",
    "unknown_address": "Calls to addresses nobody is known at: set service.peer.name, or send k8s.pod.ip with the k8sattributes processor.",
    "address_contested": "Two pods claim one address: set service.peer.name on the client span.",
    "series_forgotten": "More counters than may be followed: drop metric labels of high cardinality.",
    "limits_forgotten": "More limits than may be followed: drop metric labels of high cardinality.",
    "services_forgotten": "More services than may be followed: keep ids out of service.name.",
    "speakers_forgotten": "More services and pods than may be followed: keep ids out of service.name.",
    "entities_full": "More entities than the graph may hold: keep ids out of service.name and routes.",
    "relations_full": "More relations than the graph may hold: keep ids out of service.name and routes.",
    "identity_table_full": "More identities than may be told apart: keep ids out of names; a restart forgets the old ones.",
    "label_values_full": "An attribute of an entity changes all the time: look for ids in service.version and the like.",
    "place_table_full": "More pods and hosts than may be remembered: those heard longest ago are forgotten.",
    "address_table_full": "More addresses than may be remembered: those heard longest ago are forgotten.",
    "service_table_full": "More service names than may be looked up: keep ids out of service.name.",
    "server_table_full": "More server names than may be looked up: keep ids out of server.address.",
    "namespace_table_full": "More namespaces than may be looked up: keep ids out of service.namespace.",
    "store_backlog_full": "Neither the store nor the journal took writes for long: mend the store. Whence then brings it up to date with the live graph.",
    "store_journal_full": "The store was away so long that the journal filled up: mend the store. Whence then brings it up to date with the live graph.",
    "store_entity_changes": "More than 1,000 changes and events in one window: keep events of no consequence out of the pipeline.",
    "store_refused": "The store refused changes, for another writer had let go of what they need: Whence brings it up to date with the live graph.",
}
HARMLESS = frozenset({"unknown_metric", "unknown_event", "peer_on_own_host", "temporary_destination"})
OTHERWISE = "A bound was met; docs/ingest.md and docs/graph.md tell which."


class Health(StrEnum):
    """How one thing is."""

    WELL = "ok"
    WARNING = "warning"
    TROUBLE = "trouble"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `advice` is empty where nothing is to be done."""

    name: str
    health: Health
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Receiver:
    """A door of telemetry. `given`: its address was given and not supposed."""

    name: str
    address: Address
    given: bool


def examine(client: WhenceClient, otlp_grpc: str, otlp_http: str, *, as_json: bool) -> bool:
    """Prints what was found; True without trouble. Raises CommandError."""
    try:
        receivers = [Receiver(name, parse_address(given or usual), given != "") for name, given, usual in _usual(otlp_grpc, otlp_http)]
    except ValueError as error:
        raise CommandError(f"{error}.") from error
    found = list(checks(client, receivers))
    well = all(check.health is not Health.TROUBLE for check in found)
    if as_json:
        listed = [{"name": each.name, "health": each.health.value, "found": each.found, "advice": each.advice} for each in found]
        print_json({"healthy": well, "checks": listed})
    else:
        render_checks(stdout_console(), found)
    return well


def checks(client: WhenceClient, receivers: Sequence[Receiver]) -> Iterator[Check]:
    """Everything that can be seen from outside; the server first, without it only the ports."""
    try:
        status = client.status()
    except ServerUnreachableError as nobody:
        yield Check("server", Health.TROUBLE, str(nobody))
    else:
        yield from _server(client.url, status)
        yield from _drops(status)
        yield from _correlation(client.entities(kind="service"))
    yield from map(_listening, receivers)


def render_checks(console: Console, found: Sequence[Check]) -> None:
    """A paragraph a check, trouble last, where the eye ends."""
    colours = {Health.WELL: "green", Health.WARNING: "yellow", Health.TROUBLE: "bold red"}
    rows: list[tuple[str, Text | str]] = []
    for check in sorted(found, key=lambda each: list(Health).index(each.health)):
        text = Text(f"{check.health}  ", style=colours[check.health])
        text.append(check.found, style="default not bold")
        if check.advice:
            text.append(f" {check.advice}", style="default not bold")
        rows.append((check.name, text))
    paragraphs(console, rows, indent=0)


def _server(url: str, status: Status) -> Iterator[Check]:
    health = Health.WELL if status.ready else Health.TROUBLE
    yield Check("server", health, f"Whence {status.version} at {url} is {'ready' if status.ready else 'not ready'}.", "" if status.ready else "See its log.")
    if status.at is None:
        yield Check("telemetry", Health.WARNING, "No window of telemetry has closed yet.", "Send OTLP to the receivers; a window closes 10 s after its data.")
    else:
        yield Check("telemetry", Health.WELL, f"Read up to {moment(status.at)}: {status.entities} entities, {status.relations} relations.")
    yield Check("incidents", Health.WELL, f"{status.open_incidents} open." if status.open_incidents else "None open.")
    yield _knowledge(status)
    yield _store(status)
    if status.unsettled:
        listed = ", ".join(status.unsettled_entities[:NAMED])
        more = f" and {status.unsettled - NAMED} more" if status.unsettled > NAMED else ""
        yield Check(
            "belief",
            Health.WARNING,
            f"Found no rest at {listed}{more}: what is believed there may depend on the way to it.",
            "Symptoms contradict each other: take verdicts near them with care.",
        )


def _knowledge(status: Status) -> Check:
    if status.knowledge_trouble:
        return Check(
            "knowledge",
            Health.WARNING,
            f"Version {status.knowledge} stays in force, what came after was refused whole: {status.knowledge_trouble}",
            "Mend it, try it with `whence knowledge test --knowledge DIR`, and send SIGHUP again.",
        )
    return Check("knowledge", Health.WELL, f"Version {status.knowledge}.")


def _store(status: Status) -> Check:
    if status.store_trouble:
        return Check(
            "store",
            Health.TROUBLE,
            f"Takes no writes: {status.store_trouble}",
            "Whence goes on; changes wait in the journal of the data folder and are written, in order, when it does.",
        )
    if status.durable_through is None:
        return Check("store", Health.WELL, "Nothing had to be written yet.")
    behind = (status.at or status.durable_through) - status.durable_through
    if behind > STALE:
        return Check("store", Health.WARNING, f"Durable through {moment(status.durable_through)}, {span_of(behind)} behind.", "Look at the disk's load.")
    return Check("store", Health.WELL, f"Durable through {moment(status.durable_through)}.")


def _drops(status: Status) -> Iterator[Check]:
    if not any(drop.count for drop in status.dropped):
        yield Check("dropped", Health.WELL, "Nothing.")
    for drop in status.dropped:
        if drop.count:
            health = Health.WELL if drop.reason in HARMLESS else Health.WARNING
            yield Check("dropped", health, f"{drop.count:,.0f} by reason {drop.reason}.", ADVICE.get(drop.reason, OTHERWISE))


def _correlation(services: Sequence[Entity]) -> Iterator[Check]:
    silent = [each.name for each in services if "otlp.traces" not in each.sources]
    if silent:
        listed = ", ".join(silent[:NAMED]) + (", …" if len(silent) > NAMED else "")
        yield Check(
            "spans",
            Health.WARNING,
            f"{len(silent)} of {len(services)} services send no spans that serve requests: {listed}.",
            "Instrument them, or propagate context to them: without spans a cause can't be told from its callers.",
        )
    elif services:
        yield Check("spans", Health.WELL, f"All {len(services)} services send spans.")


def _usual(otlp_grpc: str, otlp_http: str) -> list[tuple[str, str, str]]:
    usual = ServeSettings.model_fields
    return [("otlp-grpc", otlp_grpc, str(usual["otlp_grpc"].default)), ("otlp-http", otlp_http, str(usual["otlp_http"].default))]


def _listening(receiver: Receiver) -> Check:
    try:
        with socket.create_connection((receiver.address.host, receiver.address.port), timeout=1.0):
            return Check(receiver.name, Health.WELL, f"{receiver.address} answers.")
    except OSError as error:
        found = f"{receiver.address} does not answer ({error.strerror or error})."
        # Whence may listen elsewhere on purpose: only an address that was given must answer.
        health = Health.TROUBLE if receiver.given else Health.WARNING
        return Check(receiver.name, health, found, f"Start `whence serve`, or give --{receiver.name}.")
