"""The composition root: everything the process is made of is built here, started in an order that can fail cleanly, and stopped in reverse."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from api.graph_writer import DAY, WriterLimits
from api.http import build_application
from api.pipeline import Pipeline, PipelineSettings
from api.runtime import Runtime
from api.settings import Address, ServeSettings, SettingsError, read_settings
from api.terminal import CommandError, print_json, tell, write_line
from graph.journal import Journal
from graph.opening import open_store
from graph.store import StoreError
from ingest.errors import ListenError
from ingest.listening import listening_socket
from ingest.otlp.grpc_receiver import GrpcReceiver
from ingest.otlp.http_receiver import http_receiver
from ingest.otlp.receiving import ReceiverCounts
from reasoning.prepare import prepare
from reasoning.reasoner import ReasonerSettings
from schema.knowledge import CausalKnowledge
from schema.loader import CausalModelError, load_knowledge

GRACE_SECONDS = 1
INTERRUPTED = 130
log = logging.getLogger("whence.server")
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True, slots=True)
class Doors:
    """The addresses that are open, with the ports that were picked."""

    http: Address
    otlp_grpc: Address
    otlp_http: Address


def run_server(flags: Mapping[str, object], config: Path | None, *, as_json: bool) -> None:
    """Serves until a signal; prints one line when ready. Raises CommandError."""
    try:
        settings = read_settings(flags, config)
        knowledge = load_knowledge(settings.knowledge)
        logging.basicConfig(format=LOG_FORMAT, stream=sys.stderr)
        logging.getLogger("whence").setLevel(settings.log_level.upper())
        # The driver warns of each transaction it repeats; what it gives up comes as the store's trouble.
        logging.getLogger("neo4j").setLevel(logging.ERROR)
        tell("Preparing the inference engine; the first start after an installation takes some seconds.")
        prepare(lambda step: log.debug("Preparing %s.", step))
        asyncio.run(serve(settings, knowledge, print_json_doors if as_json else print_doors))
    except (SettingsError, CausalModelError, ListenError, StoreError) as error:
        raise CommandError(str(error)) from error


def print_doors(doors: Doors) -> None:
    """The addresses on one line."""
    write_line(f"Whence is ready: GraphQL http://{doors.http}/graphql  OTLP/gRPC {doors.otlp_grpc}  OTLP/HTTP http://{doors.otlp_http}".encode())


def print_json_doors(doors: Doors) -> None:
    """The addresses for programs."""
    print_json({"ready": True, "http": f"http://{doors.http}", "otlp_grpc": f"{doors.otlp_grpc}", "otlp_http": f"http://{doors.otlp_http}", "pid": os.getpid()})


async def serve(settings: ServeSettings, knowledge: CausalKnowledge, announce: Callable[[Doors], None]) -> None:
    """Runs Whence until SIGINT or SIGTERM; a second signal ends the process at once.

    `announce` is called once every door is open. Raises ListenError and StoreError with nothing left open.
    """
    stop = asyncio.Event()
    with _stopping_on_signals(stop):
        async with opened(settings, knowledge) as (doors, failed):
            announce(doors)
            await _first_of(stop, failed)


@asynccontextmanager
async def opened(settings: ServeSettings, knowledge: CausalKnowledge) -> AsyncIterator[tuple[Doors, asyncio.Future[None]]]:
    """A running Whence: its doors, and a future that fails when one of them breaks down. Raises ListenError, StoreError."""
    pipeline = Pipeline(knowledge, PipelineSettings(reasoner=ReasonerSettings(shards=settings.shards), default_cluster=settings.default_cluster))
    store = open_store(settings.store, settings.data_dir, settings.store_user, settings.store_password.get_secret_value(), settings.store_ca)
    # Where nothing survives the end anyway, no journal is needed.
    journal = None if settings.store == "memory" else Journal(settings.data_dir / "journal.db")
    runtime = Runtime(pipeline, store, journal, limits=WriterLimits(retention=settings.retention_days * DAY, attributed=settings.attributes_up_to))
    counts = ReceiverCounts()
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with AsyncExitStack() as stack:
        # Every address is claimed before the store is touched; telemetry that comes before it is open is told to come again.
        http = stack.enter_context(listening_socket(settings.http.host, settings.http.port, "GraphQL"))
        otlp_http = stack.enter_context(listening_socket(settings.otlp_http.host, settings.otlp_http.port, "OTLP/HTTP"))
        grpc = GrpcReceiver(runtime.take, host=settings.otlp_grpc.host, port=settings.otlp_grpc.port, counts=counts)
        await grpc.start()
        stack.push_async_callback(grpc.stop)
        application = build_application(runtime, counts)
        await runtime.start()
        stack.push_async_callback(runtime.stop)
        if settings.knowledge is not None:
            stack.enter_context(_reloading_on_signal(runtime, partial(load_knowledge, settings.knowledge)))
        # Stopped last to first: telemetry, then the runtime, which writes and closes the store, then GraphQL, which saw it through.
        await stack.enter_async_context(_door(application, http, failed))
        stack.push_async_callback(runtime.stop)
        await stack.enter_async_context(_door(http_receiver(runtime.take, counts=counts), otlp_http, failed))
        yield (
            Doors(
                Address(settings.http.host, http.getsockname()[1]),
                Address(settings.otlp_grpc.host, grpc.port),
                Address(settings.otlp_http.host, otlp_http.getsockname()[1]),
            ),
            failed,
        )


class _Door(uvicorn.Server):
    """uvicorn without its signal handlers: the process has one owner of signals."""

    def __init__(self, application: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                application, log_config=None, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=GRACE_SECONDS, lifespan="on"
            )
        )
        self.up = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.up.set()


@asynccontextmanager
async def _door(application: FastAPI, listener: socket.socket, failed: asyncio.Future[None]) -> AsyncIterator[None]:
    door = _Door(application)
    running = asyncio.create_task(door.serve(sockets=[listener]))
    running.add_done_callback(lambda task: _report(task, failed))
    await _first_of(door.up, running)
    try:
        yield
    finally:
        door.should_exit = True
        await asyncio.wait({running})


def _report(task: asyncio.Task[None], failed: asyncio.Future[None]) -> None:
    if not failed.done() and not task.cancelled() and (trouble := task.exception()) is not None:
        failed.set_exception(trouble)


async def _first_of(event: asyncio.Event, other: asyncio.Future[None]) -> None:
    """Waits for the event; what `other` raises first comes through."""
    waiting = asyncio.create_task(event.wait())
    either: set[asyncio.Future[Any]] = {waiting, other}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if other.done():
        other.result()


@contextmanager
def _reloading_on_signal(runtime: Runtime, load: Callable[[], CausalKnowledge]) -> Iterator[None]:
    """SIGHUP reads the rule files again. Without files of one's own there is nothing to read, and a closed terminal ends the process as ever."""
    loop = asyncio.get_running_loop()
    under_way: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = asyncio.create_task(runtime.reload_knowledge(load))
        under_way.add(task)
        task.add_done_callback(done)

    def done(task: asyncio.Task[None]) -> None:
        under_way.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("The knowledge could not be renewed; what was in force stays.", exc_info=fault)

    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


@contextmanager
def _stopping_on_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def end() -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
