"""The demo's other processes: free ports, output, and that none of them outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo.processes import HOST, USUAL_PORTS, DemoError, Estate, Stopped, choose_ports, last_lines, simulating, stopping_on_signals

GONE_WITHIN = 10.0
FOREVER = "import time; time.sleep(600)"


def gone(process: int) -> bool:
    """Whether a process is no longer there, or only waits to be collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(process: int) -> bool:
    until = time.monotonic() + GONE_WITHIN
    while not gone(process) and time.monotonic() < until:
        os.sched_yield()
    return gone(process)


def listen_until_it_ends(estate: Estate) -> None:
    while True:
        estate.take()
        time.sleep(0.01)


def stop_twice(number: signal.Signals) -> None:
    with stopping_on_signals():
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)  # while it ends: changes nothing


def test_ports_are_free_and_different() -> None:
    ports = choose_ports(usual=False)
    assert len({ports.grpc, ports.otlp_http, ports.http}) == 3
    for port in (ports.grpc, ports.otlp_http, ports.http):
        with socket.socket() as door:
            door.bind((HOST, port))
    assert ports.notes == ()


def test_a_usual_port_that_is_taken_is_replaced_and_told() -> None:
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # taken by somebody else: as good
            taken.bind((HOST, USUAL_PORTS["OTLP/gRPC"]))
        taken.listen()
        ports = choose_ports(usual=True)
    assert ports.grpc != USUAL_PORTS["OTLP/gRPC"]
    assert "Port 4317 is taken: OTLP/gRPC listens on another one." in ports.notes


def test_a_process_on_the_leash_ends_with_a_parent_that_was_killed() -> None:
    start = f"import subprocess, sys, os, time; p = subprocess.Popen([sys.executable, '-m', 'demo.leash', str(os.getpid()), sys.executable, '-c', {FOREVER!r}], start_new_session=True)"
    with subprocess.Popen([sys.executable, "-c", f"{start}; print(p.pid, flush=True); {FOREVER}"], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not gone(child)
        parent.kill()
    assert wait_until_gone(child)


def test_the_leash_gives_way_to_the_command() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "demo.leash", f"{os.getpid()}", sys.executable, "-c", "print('here')"], capture_output=True, text=True, check=True
    )
    assert said.stdout == "here\n"


def test_a_parent_that_is_already_gone_starts_nothing() -> None:
    said = subprocess.run([sys.executable, "-m", "demo.leash", "0", sys.executable, "-c", "print('here')"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (1, "")


def test_an_estate_without_a_server_says_so_and_ends() -> None:
    port = choose_ports(usual=False).grpc
    with (
        simulating(f"{HOST}:{port}", fault="", seed=1, start=1_767_600_000, inject_at=60.0, speed=0.0) as estate,
        pytest.raises(DemoError, match="does not take OTLP"),
    ):
        listen_until_it_ends(estate)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_demo_once(number: signal.Signals) -> None:
    with pytest.raises(Stopped) as caught:
        stop_twice(number)
    assert caught.value.code == 128 + number


def test_the_end_of_a_log_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log) == "It wrote nothing."
    log.write_text("\n".join(f"line {number}" for number in range(100)), encoding="utf-8")
    assert last_lines(log).splitlines()[-1] == "line 99"
    assert len(last_lines(log).splitlines()) == 12
