"""`whence demo`: a simulated estate breaks in front of a real Whence, which is asked what broke. Three processes: this one, the server, the estate."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from typing import Annotated

import orjson
import typer
from rich.console import Console

from api.client import WhenceClient, WhenceClientError
from demo.audiences import Chronicle, Screen, Silent
from demo.faults import FAULTS, fault_named
from demo.following import Course
from demo.processes import DemoError, Ports, Server, Stopped, choose_ports, last_lines, serving, simulating, stopping_on_signals
from demo.shop import SHOP
from demo.verdict import Verdict

RIGHT, WRONG, TROUBLE, READER_GONE = 0, 1, 2, 141
WARM_UP = 300.0
READY_WITHIN = 180.0
ANSWER_WITHIN = 20.0
WATCHABLE = 4.0  # event seconds per wall second, while somebody watches
PLAIN_WIDTH = 120
DAY_OF_RUNS = 1_767_600_000  # 2026-01-05 08:00 UTC: where nobody watches, a seed gives the same telemetry to the byte
LONG_AGO = 600


def main(
    *,
    fault: Annotated[str, typer.Option(help="What to break; see --list-faults.")] = "slow_query",
    list_faults: Annotated[bool, typer.Option("--list-faults", help="List the faults, one a line, and end.")] = False,
    seed: Annotated[int, typer.Option(help="All chance in the estate comes from it.")] = 1,
    speed: Annotated[float, typer.Option(help="Event seconds per wall second until the verdict; 0: fast, slower while there is something to see.")] = 0.0,
    once: Annotated[bool, typer.Option("--once", help="End after the verdict.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as one JSON object and end.")] = False,
    store: Annotated[str, typer.Option(help="Graph store of the server; see `whence serve --help`.")] = "",
) -> None:
    """A simulated estate sends real OTLP to a real Whence, something breaks, and Whence says what.

    Ends with 0 when the verdict was right, 1 when it was wrong, 2 on trouble.
    """
    if list_faults:
        width = max(len(each.name) for each in FAULTS)
        _write("".join(f"{each.name:<{width}}  {each.summary}\n" for each in FAULTS))
        return
    if fault_named(fault) is None:
        sys.stderr.write(f"There is no fault {fault!r}: choose one of {', '.join(each.name for each in FAULTS)}.\n")
        raise typer.Exit(TROUBLE)
    watched = sys.stdout.isatty() and not as_json
    demonstration = Demonstration(fault, seed, speed, store, watched=watched, stays=watched and not once, as_json=as_json)
    try:
        with stopping_on_signals():
            verdict = demonstration.run()
    except (DemoError, WhenceClientError) as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(TROUBLE) from error
    except Stopped as stopped:
        raise typer.Exit(demonstration.code if demonstration.code is not None else stopped.code) from None
    raise typer.Exit(_code(verdict))


class Demonstration:
    """One run of the demo."""

    def __init__(self, fault: str, seed: int, speed: float, store: str, *, watched: bool, stays: bool, as_json: bool) -> None:
        self._fault = fault
        self._seed = seed
        self._speed = speed
        self._store = store
        self._watched = watched
        self._stays = stays
        self._as_json = as_json
        self._console = Console(width=None if watched else PLAIN_WIDTH, highlight=False, soft_wrap=not watched)
        self.code: int | None = None  # once there is a verdict

    def run(self) -> Verdict:
        """Runs it to the verdict, and on until a signal if it stays. Raises DemoError, WhenceClientError, Stopped."""
        ports = choose_ports(usual=self._stays)
        began = time.monotonic()
        with ExitStack() as stack:
            server = stack.enter_context(serving(ports, self._store))
            client = stack.enter_context(WhenceClient(server.url, timeout=ANSWER_WITHIN))
            self._wait(client, server)
            self._introduce(ports, server)
            start = int(time.time()) // 60 * 60 - LONG_AGO if self._stays else DAY_OF_RUNS
            estate = stack.enter_context(simulating(server.otlp, fault=self._fault, seed=self._seed, start=start, inject_at=WARM_UP, speed=self._speed))
            screen = stack.enter_context(Screen(self._console)) if self._watched else None
            audience = screen or (Silent() if self._as_json else Chronicle(self._console))
            entry = "" if self._as_json else _entry()
            pace = self._speed or (WATCHABLE if self._watched else 0.0)
            course = Course(client, estate, audience, self._fault, self._seed, entry, server.check, pace)
            verdict = course.to_verdict()
            self.code = _code(verdict)
            if self._as_json:
                sys.stdout.buffer.write(
                    orjson.dumps(verdict.as_json() | {"wall_seconds": round(time.monotonic() - began, 1)}, option=orjson.OPT_APPEND_NEWLINE)
                )
            if self._stays:
                self._console.print(_addresses(server.url))
                estate.go_at(1.0)
                while True:
                    course.look()
                    time.sleep(1.0)
            return verdict

    def _wait(self, client: WhenceClient, server: Server) -> None:
        if not self._as_json:
            self._console.print("Whence starts; the first time after an installation it compiles its inference, which takes a while.")
        until = time.monotonic() + READY_WITHIN
        while True:
            server.check()
            try:
                client.wait_ready(1.0)
            except WhenceClientError:
                if time.monotonic() > until:
                    raise DemoError(f"whence serve is not ready after {READY_WITHIN:g} s:\n{last_lines(server.log)}") from None
            else:
                return

    def _introduce(self, ports: Ports, server: Server) -> None:
        if self._as_json:
            return
        summary = next(each.summary for each in FAULTS if each.name == self._fault)
        for note in ports.notes:
            self._console.print(note)
        self._console.print(f"Whence serves at {server.url}; a simulated online shop over two clusters sends it OTLP, seed {self._seed}.")
        self._console.print(f"To be broken after {WARM_UP / 60:g} minutes of event time: {self._fault}. {summary}")
        self._console.print()


def _write(text: str) -> None:
    """Ends with READER_GONE where nobody reads on."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(READER_GONE) from None


def _entry() -> str:
    cluster = next(each.cluster for each in SHOP.services if each.name == SHOP.entry)
    return f"service:{cluster}/{SHOP.namespace}/{SHOP.entry}"


def _addresses(url: str) -> str:
    return f"GraphiQL  {url}/graphql   (open it in a browser; GraphQL clients use the same address)\nMetrics   {url}/metrics\nCtrl-C ends the demo.\n"


def command() -> typer.Typer:
    """The command line."""
    application = typer.Typer(add_completion=False)
    application.command()(main)
    return application


def _code(verdict: Verdict) -> int:
    return RIGHT if verdict.correct else WRONG


if __name__ == "__main__":
    try:
        command()(prog_name="whence demo")
    except SystemExit as ended:
        # Help is printed by click, which makes a 1 of a pipe that nobody reads.
        raise SystemExit(READER_GONE if isinstance(ended.__context__, BrokenPipeError) else ended.code) from None
