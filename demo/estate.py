"""`python -m demo.estate`: runs the simulated estate and sends its telemetry to a server or into a recording.

It writes one JSON object a line to its output: {"event": "started" | "progress" | "injected" | "ended", "at": epoch ns, ...}; a line
`speed X` on its input changes the pace. Event time starts at --start and goes as fast as --speed and the receiver allow.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from demo.export import ExportError, GrpcSink, Recording, Sink
from demo.faults import FAULTS, Fault, fault_named
from demo.shop import SHOP
from demo.world import World

STEP = 0.5
SECOND = 1_000_000_000
DAY_OF_RECORDINGS = 1_767_600_000  # 2026-01-05 08:00 UTC, where recordings start unless told otherwise
Report = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Pace:
    """Event seconds per wall second; 0 means as fast as it goes."""

    speed: float = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """What to run. Times are seconds of event time; `start` is epoch seconds; `seconds` 0 means until it is ended."""

    seed: int
    start: int
    seconds: float
    fault: Fault | None = None
    inject_at: float = 300.0


def run(plan: Run, sink: Sink, report: Report, pace: Pace, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic) -> None:
    """Lives through a run. Raises ExportError."""
    world = World(SHOP, plan.seed, plan.start * SECOND)
    report({"event": "started", "at": world.clock.start})
    now, injected, due = 0.0, False, clock()
    while not plan.seconds or now < plan.seconds - 1e-9:
        if plan.fault is not None and not injected and now >= plan.inject_at:
            truth = plan.fault.inject(world, world.random("fault"))
            injected = True
            report({"event": "injected", "at": world.clock.at(now), "entities": list(truth.entities), "defect": truth.defect})
        now += STEP
        sent = world.run_until(now)
        sink.send(sent)
        report({"event": "progress", "at": world.clock.at(now), "visits": world.visits, "requests": len(sent)})
        due = max(due + STEP / pace.speed, clock() - 1.0) if pace.speed else clock()
        if due > clock():
            sleep(due - clock())
    report({"event": "ended", "at": world.clock.at(now)})


def main(
    record: Annotated[
        Path | None, typer.Option(help="Write a recording: .jsonl (Collector JSON lines) or .pb (length-delimited protobuf), .gz to compress.")
    ] = None,
    otlp: Annotated[str, typer.Option(help="Send to this OTLP/gRPC server, HOST:PORT.")] = "127.0.0.1:4317",
    fault: Annotated[str, typer.Option(help="Inject this fault; empty for a quiet run.")] = "",
    seed: Annotated[int, typer.Option(help="All chance comes from it.")] = 1,
    minutes: Annotated[float, typer.Option(help="Minutes of event time to run; 0: until ended.")] = 8.0,
    inject_at_minute: Annotated[float, typer.Option(help="When to inject the fault, in minutes of event time.")] = 5.0,
    start: Annotated[int, typer.Option(help="Event time to start at, epoch seconds; 0: a fixed day for recordings, now for servers.")] = 0,
    speed: Annotated[float, typer.Option(help="Event seconds per wall second; 0: as fast as it goes.")] = 0.0,
) -> None:
    """Runs the simulated estate."""
    chosen = fault_named(fault)
    if fault and chosen is None:
        sys.stderr.write(f"There is no fault {fault!r}: choose one of {', '.join(each.name for each in FAULTS)}.\n")
        raise typer.Exit(2)
    begin = start or (DAY_OF_RECORDINGS if record else int(time.time()) // 60 * 60)
    pace = Pace(speed)
    try:
        sink: Sink = Recording(record) if record else GrpcSink(otlp)
        if record is None:
            threading.Thread(target=_follow_input, args=(pace,), daemon=True).start()
        run(Run(seed, begin, minutes * 60.0, chosen, inject_at_minute * 60.0), sink, _quiet if record else _say, pace)
        sink.close()
    except (ExportError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _say(what: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(what) + b"\n")
    sys.stdout.buffer.flush()


def _quiet(what: dict[str, Any]) -> None:
    if what["event"] != "progress":
        _say(what)


def _follow_input(pace: Pace) -> None:
    for line in sys.stdin:
        words = line.split()
        if len(words) == 2 and words[0] == "speed":
            pace.speed = float(words[1])


if __name__ == "__main__":
    typer.run(main)
