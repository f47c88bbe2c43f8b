"""The public client: asks a running Whence by GraphQL and answers in frozen values. It knows the server only by its schema."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import httpx

from api.client_results import Drop, Entity, EntityAttribute, Instant, Relation, RelationStatistics, Result, Status, Topology, as_json, read, selection
from api.client_verdicts import (
    Account,
    CausalPath,
    Cause,
    CauseExplanation,
    CauseProbability,
    CauseSet,
    CauseSets,
    Change,
    Condition,
    Diagnosis,
    Effect,
    Evidence,
    Explanation,
    Hop,
    Impact,
    Incident,
    Intervention,
    NextObservation,
    Remedy,
    RootCause,
    RuledOut,
    Step,
    Symptom,
    WhatIf,
)
from api.instants import write_instant

__all__ = [
    "DEFAULT_URL",
    "Account",
    "CausalPath",
    "Cause",
    "CauseExplanation",
    "CauseProbability",
    "CauseSet",
    "CauseSets",
    "Change",
    "Condition",
    "Diagnosis",
    "Drop",
    "Effect",
    "Entity",
    "EntityAttribute",
    "Evidence",
    "Explanation",
    "Hop",
    "Impact",
    "Incident",
    "Instant",
    "Intervention",
    "NextObservation",
    "QueryRefusedError",
    "Relation",
    "RelationStatistics",
    "Remedy",
    "RootCause",
    "RuledOut",
    "ServerUnreachableError",
    "Status",
    "Step",
    "Symptom",
    "Topology",
    "WhatIf",
    "WhenceClient",
    "WhenceClientError",
    "as_json",
]

DEFAULT_URL = "http://127.0.0.1:8080"


class WhenceClientError(Exception):
    """A question that got no answer; the message is a sentence for the user.

    ServerUnreachableError: nobody answers at the address. QueryRefusedError: the server says no, and why.
    """


class ServerUnreachableError(WhenceClientError):
    """No Whence answers at the address."""


class QueryRefusedError(WhenceClientError):
    """The server refused the question. `codes`: its machine-readable reasons, where it gave any."""

    def __init__(self, message: str, codes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.codes = codes


class WhenceClient:
    """Asks the Whence at `url`. Instants are epoch nanoseconds. Every question may raise ServerUnreachableError or QueryRefusedError."""

    def __init__(self, url: str = DEFAULT_URL, *, timeout: float = 10.0, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=self.url, timeout=timeout, transport=transport, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def status(self) -> Status:
        """How the server is."""
        return self._one(Status, "status", {})

    def diagnosis(self, *, at: int | None = None, first: int = 20) -> Diagnosis:
        """All that is believed, or was at an instant, with up to `first` root causes."""
        return self._one(Diagnosis, "diagnosis", {"at": _instant(at), "first": ("Int!", first)})

    def explained(self, *, first: int = 20, sets: int = 0) -> tuple[Diagnosis, Explanation, CauseSets | None]:
        """The latest diagnosis, why it is so, and up to `sets` joint explanations where wanted: all of one instant."""
        data = self.ask(
            f"query($first: Int!) {{ diagnosis(first: $first) {selection(Diagnosis)} explanation {selection(Explanation)}"
            f"{f' causeSets(first: {sets}) {selection(CauseSets)}' if sets else ''} }}",
            {"first": first},
        )
        found = read(CauseSets, data["causeSets"]) if sets else None
        return read(Diagnosis, data["diagnosis"]), read(Explanation, data["explanation"]), found

    def root_causes(self, *, at: int | None = None, first: int = 20) -> tuple[RootCause, ...]:
        """The most probable root causes."""
        return self._many(RootCause, "rootCauses", {"at": _instant(at), "first": ("Int!", first)})

    def incidents(self, *, state: str | None = None, first: int = 20) -> tuple[Incident, ...]:
        """Incidents, the latest first; `state`: only "OPEN" or only "RECOVERED" ones."""
        return self._many(Incident, "incidents", {"state": ("IncidentState", state), "first": ("Int!", first)})

    def impact(self, entity: str, *, defect: str | None = None, condition: str | None = None, first: int = 50) -> Impact:
        """What a defect or a condition of an entity takes down."""
        asked = {"entity": ("ID!", entity), "defect": ("String", defect), "condition": ("String", condition), "first": ("Int!", first)}
        return self._one(Impact, "impact", asked)

    def what_if(self, interventions: Iterable[Intervention], *, first: int = 50) -> WhatIf:
        """What interventions would change."""
        do = [dataclasses.asdict(each) for each in interventions]
        return self._one(WhatIf, "whatIf", {"do": ("[InterventionInput!]!", do), "first": ("Int!", first)})

    def topology(self, root: str, *, depth: int = 1, at: int | None = None) -> Topology:
        """What stands within `depth` relations of an entity."""
        return self._one(Topology, "topology", {"root": ("ID!", root), "depth": ("Int!", depth), "at": _instant(at)})

    def entities(self, *, kind: str | None = None, text: str | None = None, first: int = 100) -> tuple[Entity, ...]:
        """The first entities of a kind, or whose name holds a text."""
        chosen = {key: value for key, value in (("kind", kind), ("text", text)) if value}
        variables = {"filter": ("EntityFilter", chosen or None), "first": ("Int", first)}
        page = self._field("entities", variables, f"{{ edges {{ node {selection(Entity)} }} }}")
        return tuple(read(Entity, edge["node"]) for edge in page["edges"])

    def network(self, root: str | None = None, *, depth: int = 1) -> dict[str, Any]:
        """The causal network within `depth` relations of an entity, or the whole: `at`, `names`, `leak`, `links`, `evidence`, `left_out`."""
        answer = self._answered(lambda: self._http.get("/network", params={"depth": depth, **({"root": root} if root else {})}))
        try:
            body = answer.json()
        except ValueError:
            body = None
        if answer.status_code != httpx.codes.OK or not isinstance(body, dict):
            told = body.get("error") if isinstance(body, dict) else None
            codes = ("NOT_FOUND",) if answer.status_code == httpx.codes.NOT_FOUND and told else ()
            raise QueryRefusedError(told or f"{self.url} answered {answer.status_code} and no network: is this the address of a Whence of today?", codes)
        return body

    def wait_ready(
        self, seconds: float, *, every: float = 0.1, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Returns as soon as the server is ready. Raises ServerUnreachableError when it is not within `seconds`."""
        until = clock() + seconds
        while not self._is_ready():
            if clock() >= until:
                raise ServerUnreachableError(f"Whence at {self.url} did not get ready within {seconds:g} s: see what it printed.")
            sleep(every)

    def ask(self, query: str, variables: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The data of any GraphQL query."""
        return _data(self.url, self._answered(lambda: self._http.post("/graphql", json={"query": query, "variables": dict(variables or {})})))

    def _answered(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        try:
            return ask()
        except httpx.TimeoutException as error:
            raise ServerUnreachableError(f"Whence at {self.url} did not answer in time: is it overloaded?") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServerUnreachableError(f"No Whence answers at {self.url}: start `whence serve`, or give --server URL.") from error

    def _one(self, kind: type[Result], name: str, variables: Mapping[str, tuple[str, object]]) -> Result:
        return read(kind, self._field(name, variables, selection(kind)))

    def _many(self, kind: type[Result], name: str, variables: Mapping[str, tuple[str, object]]) -> tuple[Result, ...]:
        return tuple(read(kind, each) for each in self._field(name, variables, selection(kind)))

    def _field(self, name: str, variables: Mapping[str, tuple[str, object]], fields: str) -> Any:
        """Asks for one field. variables: name -> GraphQL type and value; those without a value are left out."""
        given = {key: value for key, value in variables.items() if value[1] is not None}
        declared = ", ".join(f"${key}: {kind}" for key, (kind, _) in given.items())
        passed = ", ".join(f"{key}: ${key}" for key in given)
        query = f"query{f'({declared})' if given else ''} {{ {name}{f'({passed})' if given else ''} {fields} }}"
        return self.ask(query, {key: value for key, (_, value) in given.items()})[name]

    def _is_ready(self) -> bool:
        try:
            return self._http.get("/readyz").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def _instant(at: int | None) -> tuple[str, str | None]:
    return "DateTime", None if at is None else write_instant(at)


def _data(url: str, answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or not ("data" in body or "errors" in body):
        raise QueryRefusedError(f"{url} answered {answer.status_code} and no GraphQL: is this the address of a Whence?")
    errors: Sequence[Mapping[str, Any]] = body.get("errors") or ()
    if errors or body.get("data") is None:
        codes = tuple(code for error in errors if (code := str((error.get("extensions") or {}).get("code", ""))))
        raise QueryRefusedError("; ".join(str(error.get("message", "no reason given")) for error in errors) or "The server gave no data and no reason.", codes)
    data: dict[str, Any] = body["data"]
    return data
