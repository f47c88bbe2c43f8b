"""The two other processes of the demo, a real `whence serve` and the simulated estate: their ports, their start, and their certain end."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import orjson

HOST = "127.0.0.1"
USUAL_PORTS: Mapping[str, int] = {"OTLP/gRPC": 4317, "OTLP/HTTP": 4318, "GraphQL": 8080}
PATIENCE = 2.0  # for a process to end by itself; the whole demo is gone within three seconds
LAST_LINES = 12


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


class Stopped(BaseException):  # like KeyboardInterrupt, not an error
    """A signal asked the demo to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the server listens, and what a user should know about it."""

    grpc: int
    otlp_http: int
    http: int
    notes: tuple[str, ...] = ()


def choose_ports(*, usual: bool) -> Ports:
    """Free ports: the usual ones where they are free and wanted."""
    with ExitStack() as held:
        chosen: list[int] = []
        notes: list[str] = []
        for door, port in USUAL_PORTS.items():
            found = _bound(held, port) if usual else None
            if usual and found is None:
                notes.append(f"Port {port} is taken: {door} listens on another one.")
            chosen.append(found or _bound(held, 0) or 0)
        grpc, otlp_http, http = chosen
        return Ports(grpc, otlp_http, http, tuple(notes))


def _bound(held: ExitStack, port: int) -> int | None:
    door = held.enter_context(socket.socket())
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((HOST, port))
    except OSError:
        return None
    return int(door.getsockname()[1])


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """SIGINT, SIGTERM and the loss of the terminal raise Stopped; once that is under way more of them change nothing."""

    def stop(number: int, _: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class Server:
    """A running `whence serve`."""

    url: str
    otlp: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raises DemoError when it is no longer there."""
        if self.process.poll() is not None:
            raise DemoError(f"whence serve ended with code {self.process.returncode}:\n{last_lines(self.log)}")


@contextmanager
def serving(ports: Ports, store: str) -> Iterator[Server]:
    """A `whence serve` with a data folder of its own that goes when it goes. `store`: its --store, empty for the default."""
    with tempfile.TemporaryDirectory(prefix="whence-demo-", ignore_cleanup_errors=True) as folder:
        doors = ["--otlp-grpc", f"{HOST}:{ports.grpc}", "--otlp-http", f"{HOST}:{ports.otlp_http}", "--http", f"{HOST}:{ports.http}"]
        command = [f"{Path(sys.executable).with_name('whence')}", "serve", "--data-dir", f"{folder}/data", *doors, *(["--store", store] if store else [])]
        log = Path(folder, "serve.log")
        with log.open("wb") as output:
            process = _start(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        with _ended(process):
            yield Server(f"http://{HOST}:{ports.http}", f"{HOST}:{ports.grpc}", process, log)


class Estate:
    """The running estate. What it says is read by a thread; `take` hands it over."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def take(self) -> list[dict[str, Any]]:
        """What it said since. Raises DemoError when it is no longer there."""
        said = []
        while not self._said.empty():
            said.append(self._said.get())
        if not said and self._process.poll() is not None:
            raise DemoError(f"The estate ended with code {self._process.returncode}:\n{last_lines(self._log)}")
        return said

    def go_at(self, speed: float) -> None:
        """Changes its pace: event seconds per wall second, 0 for as fast as it goes."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"speed {speed:g}\n".encode())
            self._process.stdin.flush()
        except OSError:
            return  # it is gone: take() tells

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._said.put(orjson.loads(line))


@contextmanager
def simulating(otlp: str, *, fault: str, seed: int, start: int, inject_at: float, speed: float) -> Iterator[Estate]:
    """The estate, sending to `otlp`. `start`: epoch seconds; `inject_at`: seconds after it; `speed`: event seconds per wall second, 0 for no limit."""
    plan = [
        "--fault",
        fault,
        "--seed",
        f"{seed}",
        "--start",
        f"{start}",
        "--minutes",
        "0",
        "--inject-at-minute",
        f"{inject_at / 60:g}",
        "--speed",
        f"{speed:g}",
    ]
    with tempfile.TemporaryDirectory(prefix="whence-estate-", ignore_cleanup_errors=True) as folder:
        log = Path(folder, "estate.log")
        with log.open("wb") as errors:
            process = _start([sys.executable, "-P", "-m", "demo.estate", "--otlp", otlp, *plan], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        with _ended(process):
            yield Estate(process, log)


def last_lines(log: Path) -> str:
    """The end of what a process wrote."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return "\n".join(text.strip().splitlines()[-LAST_LINES:]) or "It wrote nothing."


def _start(command: Sequence[str], **streams: Any) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C reaches it only through us; on a leash, so that it never outlives us."""
    return subprocess.Popen([sys.executable, "-P", "-m", "demo.leash", f"{os.getpid()}", *command], start_new_session=True, **streams)


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
