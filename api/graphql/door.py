"""GraphQL over HTTP POST and over websockets (graphql-transport-ws): what is a request, how long it may take, what is sent back."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import orjson
from fastapi import Request, Response, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter, GraphQL
from strawberry.exceptions import MissingQueryError
from strawberry.http.exceptions import NonJsonMessageReceived, NonTextMessageReceived, WebSocketDisconnected
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from api.graphql.context import Context
from api.graphql.errors import Code, UserError
from api.graphql.limits import Limits
from api.graphql.schema import make_schema

GREETING = timedelta(seconds=10)
GONE = 499
log = logging.getLogger("whence.graphql")


class RefusedError(Exception):
    """What was sent is no GraphQL request; the message says what would be."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Operation:
    """One request of a client."""

    query: str
    variables: Mapping[str, Any] | None
    name: str | None


class GraphQLDoor:
    """`answer` a POST, `converse` on a websocket. `requests` counts by outcome."""

    def __init__(self, context: Callable[[], Context], limits: Limits) -> None:
        self._context = context
        self._limits = limits
        self._schema = make_schema(limits)
        self._sockets = _Sockets(self._schema, context, limits)
        self.requests: Counter[str] = Counter()

    async def answer(self, request: Request) -> Response:
        """One operation in, one JSON object out."""
        try:
            operation = read_operation(request.headers.get("content-type", ""), await _body(request, self._limits.body))
            result = await self._unless_gone(request, operation)
        except RefusedError as refusal:
            self.requests["refused"] += 1
            return refused(refusal)
        if result is None:
            self.requests["client_gone"] += 1
            return Response(status_code=GONE)
        self.requests[_outcome(result)] += 1
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = [error.formatted for error in result.errors]
        return _json(answer)

    async def converse(self, socket: WebSocket) -> None:
        """Operations on a websocket, until either side ends it."""
        self.requests["websocket"] += 1
        await self._sockets.run(socket)

    async def _unless_gone(self, request: Request, operation: Operation) -> ExecutionResult | None:
        """The result; None if the client hangs up first, which stops the work."""
        work = asyncio.ensure_future(self._execute(operation))
        gone = asyncio.ensure_future(_hang_up(request))
        try:
            await asyncio.wait({work, gone}, timeout=self._limits.seconds, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if gone.done():
                return None
            late = UserError(Code.DEADLINE_EXCEEDED, f"The answer took longer than {self._limits.seconds:g} s. Ask for less, or in several requests.")
            return ExecutionResult(data=None, errors=[late])
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _execute(self, operation: Operation) -> ExecutionResult:
        try:
            return await self._schema.execute(
                operation.query,
                variable_values=dict(operation.variables) if operation.variables else None,
                operation_name=operation.name,
                context_value=self._context(),
                allowed_operation_types={OperationType.QUERY},
            )
        except CannotGetOperationTypeError as trouble:
            raise RefusedError(400, f"{trouble.as_http_error_reason()}") from None
        except InvalidOperationTypeError:
            raise RefusedError(400, "POST takes queries only. Subscribe over a websocket at this address, with graphql-transport-ws.") from None
        except MissingQueryError:
            raise RefusedError(400, "`query` is empty: send one GraphQL query.") from None


def read_operation(content_type: str, body: bytes) -> Operation:
    """Raises RefusedError."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(400, "Send the request as application/json: one object with `query`, and `variables` and `operationName` if needed.")
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError as trouble:
        raise RefusedError(400, f"The body is not JSON: {trouble}.") from None
    if isinstance(sent, list):
        raise RefusedError(400, "Batches are not taken: send each operation in a request of its own.")
    if not isinstance(sent, dict):
        raise RefusedError(400, "The body must be one JSON object with `query`.")
    query, variables, name = sent.get("query"), sent.get("variables"), sent.get("operationName")
    if not isinstance(query, str):
        raise RefusedError(400, "`query` must be a text: a GraphQL query.")
    if variables is not None and not isinstance(variables, dict):
        raise RefusedError(400, "`variables` must be an object, or left out.")
    if name is not None and not isinstance(name, str):
        raise RefusedError(400, "`operationName` must be a text, or left out.")
    return Operation(query, variables, name)


def refused(refusal: RefusedError, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to what is no GraphQL request, in the form of GraphQL errors."""
    return _json({"errors": [{"message": f"{refusal}", "extensions": {"code": "BAD_REQUEST"}}]}, refusal.status, headers)


def _json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, "application/json")


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise RefusedError(413, f"The request is larger than {limit} bytes: send a shorter query.")
    return bytes(body)


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _outcome(result: ExecutionResult) -> str:
    codes = {(error.extensions or {}).get("code") for error in result.errors or ()}
    return "internal_error" if Code.INTERNAL.value in codes else "user_error" if codes else "answered"


class _TextSocket(ASGIWebSocketAdapter):
    """Text frames out; in, only messages of the protocol's shape. A reader that stalls is given up."""

    def __init__(self, view: _Sockets, request: WebSocket, response: WebSocket) -> None:
        super().__init__(cast("Any", view), request, response)
        self._limits = view.limits
        self._receiving: asyncio.Future[str] | None = None
        self._given_up = False

    async def iter_json(self, *, ignore_parsing_errors: bool = False) -> AsyncGenerator[object, None]:  # noqa: ARG002 - strawberry's signature
        """Each message of the client. Raises NonJsonMessageReceived, NonTextMessageReceived, WebSocketDisconnected."""
        while self.ws.application_state is not WebSocketState.DISCONNECTED:
            try:
                text = await self._receive()
            except (WebSocketDisconnect, RuntimeError):  # starlette's answer to a receive after our own close
                return
            except KeyError as trouble:
                raise NonTextMessageReceived from trouble
            try:
                message = orjson.loads(text) if len(text) <= self._limits.body else None
            except orjson.JSONDecodeError as trouble:
                raise NonJsonMessageReceived from trouble
            if not _is_message(message):
                raise NonJsonMessageReceived
            yield message

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Raises WebSocketDisconnected if the client is gone or does not read."""
        try:
            async with asyncio.timeout(self._limits.stall):
                await self.ws.send_text(orjson.dumps(message).decode())
        except (TimeoutError, WebSocketDisconnect, RuntimeError) as trouble:
            self._give_up()
            raise WebSocketDisconnected from trouble

    async def _receive(self) -> str:
        self._receiving = asyncio.ensure_future(self.ws.receive_text())
        try:
            return await self._receiving
        except asyncio.CancelledError:
            if self._given_up:
                raise WebSocketDisconnected from None
            raise

    def _give_up(self) -> None:
        self._given_up = True
        if self._receiving is not None:
            self._receiving.cancel()


class _Conversation(BaseGraphQLTransportWSHandler[Context, None]):
    """strawberry's; a client that went away is no error."""

    async def handle_task_exception(self, error: Exception) -> None:
        """Called with what ended an operation."""
        if not isinstance(error, WebSocketDisconnected):
            log.error("A websocket operation failed by our own fault.", exc_info=error)


class _Sockets(GraphQL[Context, None]):
    """strawberry's view, of which only the websocket half is used."""

    websocket_adapter_class = cast("Any", _TextSocket)
    graphql_transport_ws_handler_class = _Conversation

    def __init__(self, schema: Any, context: Callable[[], Context], limits: Limits) -> None:
        super().__init__(
            schema,
            graphql_ide=None,
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
            connection_init_wait_timeout=GREETING,
            max_subscriptions_per_connection=limits.operations,
        )
        self.limits = limits
        self._make_context = context

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:  # noqa: ARG002 - strawberry's signature
        """One for each connection."""
        return self._make_context()


def _is_message(message: object) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return False
    if message["type"] in {"subscribe", "complete"} and not isinstance(message.get("id"), str):
        return False
    payload = message.get("payload")
    if message["type"] != "subscribe":
        return payload is None or isinstance(payload, dict)
    return isinstance(payload, dict) and isinstance(payload.get("query"), str) and isinstance(payload.get("variables"), dict | None)
