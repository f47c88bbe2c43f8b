"""The HTTP application: GraphQL and its page, health, readiness and metrics. server.py gives it a Runtime and a port."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated

import orjson
from fastapi import FastAPI, Query, Request, Response, WebSocket
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.staticfiles import StaticFiles

from api.graphql.context import Context
from api.graphql.diagnosis_pages import DiagnosisPages
from api.graphql.door import GraphQLDoor, RefusedError, refused
from api.graphql.entity_index import EntityIndex
from api.graphql.limits import Limits
from api.metrics import make_registry
from api.runtime import Runtime
from ingest.otlp.receiving import ReceiverCounts
from reasoning.errors import ReasoningError, UnknownVariableError
from schema.identity import EntityRef, IdentityError

# Nothing from elsewhere. GraphiQL and CodeMirror set styles on elements, hence 'unsafe-inline' for styles alone.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
MOST_DEPTH = 5
GRAPHIQL = ("graphene_django_graphiql_static", "static/graphene_django_graphiql_static")


def build_application(
    runtime: Runtime, received: ReceiverCounts | None = None, *, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic
) -> FastAPI:
    """The application over a runtime. `received`: the OTLP receivers' counts, shown in /metrics; `clock`: seconds, for the deadline of a request."""
    limits = limits or Limits()
    index, pages = EntityIndex(runtime.pipeline.graph), DiagnosisPages()
    whence = version("whence")
    door = GraphQLDoor(lambda: Context(runtime, index, pages, whence, limits.seconds, clock), limits)
    application = FastAPI(title="Whence", version=whence, docs_url=None, redoc_url=None, openapi_url=None)
    _add_graphql(application, door)
    _add_operations(application, runtime, received, door)
    return application


def _add_graphql(application: FastAPI, door: GraphQLDoor) -> None:
    own = files("api.graphql") / "graphiql"
    page = (own / "index.html").read_bytes()

    @application.post("/graphql")
    async def query(request: Request) -> Response:
        return await door.answer(request)

    @application.websocket("/graphql")
    async def subscribe(socket: WebSocket) -> None:
        await door.converse(socket)

    @application.get("/graphql")
    async def graphiql(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", "") and "query" not in request.query_params:
            return Response(page, headers=PAGE_HEADERS, media_type="text/html")
        return refused(RefusedError(405, "Send queries by POST, as application/json. A browser gets GraphiQL here."), {"Allow": "POST"})

    @application.get("/")
    async def front() -> Response:
        return Response(page, headers=PAGE_HEADERS, media_type="text/html")

    application.mount("/graphiql", StaticFiles(directory=f"{own}", packages=[GRAPHIQL]))


def _add_operations(application: FastAPI, runtime: Runtime, received: ReceiverCounts | None, door: GraphQLDoor) -> None:
    registry = make_registry(runtime, received, door.requests)

    @application.get("/network")
    async def network(root: str = "", depth: Annotated[int, Query(ge=1, le=MOST_DEPTH)] = 1) -> Response:
        """For `whence export`: the causal network within `depth` relations of an entity, or the whole."""
        try:
            found = runtime.named_network(EntityRef.parse(root) if root else None, depth)
        except IdentityError as wrong:
            return _json({"error": str(wrong)}, 400)
        except UnknownVariableError as missing:
            return _json({"error": str(missing)}, 404)
        except ReasoningError as trouble:
            return _json({"error": str(trouble)}, 503)
        return _json(dataclasses.asdict(found))

    @application.get("/healthz")
    async def alive() -> Response:
        return _json({"alive": True})

    @application.get("/readyz")
    async def ready() -> Response:
        reasons = reasons_not_ready(runtime)
        return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    @application.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def reasons_not_ready(runtime: Runtime) -> list[str]:
    """Why no traffic should be sent here; empty if it may be."""
    reasons = [] if runtime.ready else ["Whence is starting or stopping."]
    trouble = runtime.status().store_trouble
    return [*reasons, f"The store takes no writes: {trouble}"] if trouble else reasons


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
