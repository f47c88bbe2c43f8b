"""Runs a real Neo4j Community server without Docker, for development and tests. `local.py --help` tells how.

The server's jars come from Maven's repository when it first starts, and are cached outside the project. Neo4j Community is
GPL: it is fetched by who runs this, talked to over a socket, never linked or shipped.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bolt import BoltError, logged_in
from jars import class_path, fail, find_java, is_calendar, last_lines

SERIES = {"5.26": "5.26.30", "2026.08": "2026.08.1"}
DEFAULT = "5.26"
USER = "neo4j"
FIRST_PASSWORD = "neo4j"  # noqa: S105  # what a server that was never started knows, and wants changed
USUAL_PORT = 7687
ENCRYPTED_ONLY = "server.bolt.tls_level=REQUIRED"  # a --conf
STOP_SECONDS = 30


def main() -> None:
    """Start prints the line to serve with; run runs a command with a server of its own; status says by its exit code too what it found (0: takes work)."""
    told = arguments()
    if told.command == "run":
        with tempfile.TemporaryDirectory(prefix="neo4j-") as folder:
            sys.exit(run(Path(folder), told))
    version = SERIES.get(told.version, told.version)
    home = told.dir.expanduser().resolve() / ".".join(version.split(".")[:2])
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:  # one start or stop at a time
        if told.command == "status":
            sys.exit(status(home, as_json=told.json))
        fcntl.flock(lock, fcntl.LOCK_EX)
        if told.command == "stop":
            sys.stdout.write("stopped\n" if stop(home, wipe=told.wipe) else "not running\n")
        else:
            report(start(home, version, told), as_json=told.json)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("start", "stop", "status", "run"))
    parser.add_argument("program", nargs="*", metavar="-- PROGRAM", help="run: what to run; it finds the server in WHENCE_STORE and so on")
    parser.add_argument("--version", default=DEFAULT, help=f"{', '.join(SERIES)}, or a full version (default {DEFAULT})")
    parser.add_argument("--dir", type=Path, default=xdg("XDG_STATE_HOME", ".local/state") / "whence" / "neo4j", help="where servers keep data and logs")
    parser.add_argument("--cache", type=Path, default=xdg("XDG_CACHE_HOME", ".cache") / "whence" / "neo4j", help="where the jars are kept")
    parser.add_argument("--json", action="store_true", help="answer for programs")
    starting = parser.add_argument_group("start")
    starting.add_argument("--port", type=int, help=f"Bolt port; 0 picks a free one (default {USUAL_PORT}, or a free one where that is taken)")
    starting.add_argument("--password", help=f"for the user {USER}, 8 characters or more; else the one it has, at first a random one")
    starting.add_argument("--fresh", action="store_true", help="forget the data of the version first")
    starting.add_argument("--heap", default="768m")
    starting.add_argument("--page-cache", default="256m")
    starting.add_argument("--conf", action="append", default=[], metavar="NAME=VALUE", help="a setting of neo4j.conf; may be repeated")
    starting.add_argument("--java", action="append", default=[], metavar="OPTION", help="an option of Java, as --java=-XX:TieredStopAtLevel=1; may be repeated")
    starting.add_argument("--timeout", type=float, default=120, help="seconds to wait until the server takes work")
    parser.add_argument_group("stop").add_argument("--wipe", action="store_true", help="forget the data of the version too")
    return parser.parse_intermixed_args()


def run(home: Path, told: argparse.Namespace) -> int:
    """Runs a program with a new server that ends with it; its exit code."""
    told.port, told.fresh = 0, False
    state = start(home, SERIES.get(told.version, told.version), told)
    store = {"WHENCE_STORE": state["uri"], "WHENCE_STORE_USER": state["user"], "WHENCE_STORE_PASSWORD": state["password"]}
    try:
        return subprocess.run(told.program, env={**os.environ, **store}, check=False).returncode
    except KeyboardInterrupt:
        return 130
    finally:
        stop(home, wipe=True)


def xdg(variable: str, otherwise: str) -> Path:
    """A base directory of the XDG specification."""
    return Path(os.environ.get(variable) or Path.home() / otherwise)


def report(state: dict[str, Any], *, as_json: bool) -> None:
    """Where the server is and how to use it."""
    if as_json:
        sys.stdout.write(json.dumps(state) + "\n")
        return
    sys.stdout.write(
        f"Neo4j {state['version']} is ready at {state['uri']} (pid {state['pid']}, log {state['log']}). Use it with\n\n"
        f"  WHENCE_STORE_USER={state['user']} WHENCE_STORE_PASSWORD={state['password']} whence serve --store {state['uri']}\n\n"
    )


def status(home: Path, *, as_json: bool) -> int:
    """Says whether the server runs and takes work."""
    state = running(home)
    works = state is not None and takes_work(state["port"], state["password"], encrypted=state["uri"].startswith("bolt+ssc"))
    if as_json:
        sys.stdout.write(json.dumps({"running": state is not None, "works": works, **(state or {})}) + "\n")
    elif state is None:
        sys.stdout.write("not running\n")
    else:
        sys.stdout.write(f"Neo4j {state['version']} at {state['uri']} (pid {state['pid']}) {'takes work' if works else 'runs but takes no work'}\n")
    return 0 if works else 3


def stop(home: Path, *, wipe: bool) -> bool:
    """Ends the server: asks first, insists after STOP_SECONDS. Whether it ran."""
    state = running(home)
    if state is not None:
        os.kill(state["pid"], signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while began(state["pid"]) == state["began"]:
            if time.monotonic() > end:
                os.kill(state["pid"], signal.SIGKILL)
                end += STOP_SECONDS
            time.sleep(0.05)
    (home / "state.json").unlink(missing_ok=True)
    if wipe:
        forget(home)
    return state is not None


def start(home: Path, version: str, told: argparse.Namespace) -> dict[str, Any]:
    """The state of the running server; starts it if need be."""
    state = running(home)
    if state is not None:
        if (
            (told.password or state["password"]) != state["password"]
            or (told.port or state["port"]) != state["port"]
            or state["version"] != version
            or told.fresh
        ):
            fail(f"it runs already with other settings ({state['version']} at {state['uri']}): stop it first.")
        return state
    began_at = time.monotonic()
    java, java_version = find_java(version)
    jars = class_path(told.cache.expanduser().resolve(), version)
    resolved_at = time.monotonic()
    if told.fresh:
        forget(home)
    port = told.port or free_port(None if told.port == 0 else USUAL_PORT)
    if told.port and not is_free(told.port):
        fail(f"port {told.port} is taken: choose another, or leave --port away.")
    arguments_file = configure(home, version, jars, told, port)
    encrypted = ENCRYPTED_ONLY in told.conf
    process = launch(home, version, [java, *flags(told.heap, java_version), *told.java, f"@{arguments_file}"])
    try:
        wait_until_started(process, home, told.timeout)
        password = settle_password(home, port, told.password, encrypted=encrypted)
    except PortTakenError:
        if told.port:
            fail(f"port {told.port} was taken while the server started: choose another, or leave --port away.")
        told.port = 0
        return start(home, version, told)
    except BaseException:
        process.kill()
        process.wait()
        raise
    ready_at = time.monotonic()
    state = {
        "pid": process.pid, "began": began(process.pid), "version": version, "java": java_version, "port": port,
        "uri": f"{'bolt+ssc' if encrypted else 'bolt'}://127.0.0.1:{port}", "user": USER, "password": password, "home": str(home), "log": str(home / "logs" / "neo4j.log"),
        "seconds": {"jars": round(resolved_at - began_at, 2), "server": round(ready_at - resolved_at, 2)},
    }  # fmt: skip
    write_private(home / "state.json", json.dumps(state))
    return state


def running(home: Path) -> dict[str, Any] | None:
    """The state of the server that was started in this home, if its process still lives."""
    try:
        state: dict[str, Any] = json.loads((home / "state.json").read_text())
    except (OSError, ValueError):
        return None
    return state if began(state["pid"]) == state["began"] else None


def began(pid: int) -> str | None:
    """When a live process began: tells the server from another process that got its number since."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            return None
        return None if fields[0] == "Z" else fields[19]
    found = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.split(maxsplit=1)
    return None if not found or found[0].startswith("Z") else found[1].strip()


def takes_work(port: int, password: str, *, encrypted: bool) -> bool:
    """Whether the server lets its user in and answers a query."""
    try:
        with logged_in(port, USER, password, encrypted=encrypted) as bolt:
            bolt.run("RETURN 1")
    except (BoltError, OSError):
        return False
    return True


def forget(home: Path) -> None:
    """Deletes the data, and the password that was in it."""
    shutil.rmtree(home / "data", ignore_errors=True)
    (home / "password").unlink(missing_ok=True)


def free_port(wished: int | None) -> int:
    """The wished port if it is free, else one that is."""
    if wished is not None and is_free(wished):
        return wished
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as trouble:
            if trouble.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def configure(home: Path, version: str, jars: list[str], told: argparse.Namespace, port: int) -> Path:
    """Writes neo4j.conf and the arguments of Java; the path of the latter."""
    for name in ("conf", "logs", "data"):
        (home / name).mkdir(exist_ok=True)
    quiet_period = ("internal.dbms.bolt.netty_server_shutdown_quiet_period_duration", "0s") if is_calendar(version) else (
        "internal.dbms.bolt.netty_server_shutdown_quiet_period", "0")  # fmt: skip
    settings = {
        "server.default_listen_address": "127.0.0.1",
        "server.bolt.listen_address": f"127.0.0.1:{port}",
        "server.bolt.advertised_address": f"127.0.0.1:{port}",
        "server.http.enabled": "false",
        "server.https.enabled": "false",
        "server.memory.heap.initial_size": told.heap,
        "server.memory.heap.max_size": told.heap,
        "server.memory.pagecache.size": told.page_cache,
        "db.tx_log.preallocate": "false",
        "db.tx_log.rotation.size": "32m",
        "db.tx_log.rotation.retention_policy": "keep_none",
        "dbms.usage_report.enabled": "false",
        quiet_period[0]: quiet_period[1],  # or it takes ten seconds to stop
        **dict(each.split("=", 1) for each in told.conf),
    }
    (home / "conf" / "neo4j.conf").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    arguments_file = home / "conf" / "java.args"
    arguments_file.write_text(f'-cp\n"{os.pathsep.join(jars)}"\n')
    return arguments_file


def flags(heap: str, java_version: int) -> list[str]:
    """What Java is told."""
    opened = ("java.nio", "java.io", "sun.nio.ch")
    return [
        f"-Xms{heap}", f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Dfile.encoding=UTF-8",
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in opened),
        *(["--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED"] if java_version >= 24 else []),
    ]  # fmt: skip


def launch(home: Path, version: str, java: list[str]) -> subprocess.Popen[bytes]:
    """Starts the server's process, in a session of its own."""
    (home / "logs" / "neo4j.log").unlink(missing_ok=True)
    entry = "org.neo4j.server.Neo4jCommunity" if is_calendar(version) else "org.neo4j.server.CommunityEntryPoint"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEO4J_")}  # it would read settings there
    with (home / "logs" / "console.log").open("wb") as console:
        return subprocess.Popen(
            [*java, entry, f"--home-dir={home}", f"--config-dir={home / 'conf'}"],
            stdout=console, stderr=console, stdin=subprocess.DEVNULL, start_new_session=True, env=environment, cwd=home,
        )  # fmt: skip


class PortTakenError(Exception):
    """Somebody took the port between its choice and its use."""


def wait_until_started(process: subprocess.Popen[bytes], home: Path, seconds: float) -> None:
    """Returns once the server says that it has started. Raises PortTakenError."""
    log, console, end = home / "logs" / "neo4j.log", home / "logs" / "console.log", time.monotonic() + seconds
    while " Started." not in (told := log.read_text(errors="replace") if log.exists() else ""):
        if process.poll() is not None:
            if "Address already in use" in told or "is already in use" in told:
                raise PortTakenError
            fail(f"the server ended with code {process.returncode}; the end of {log}:\n{last_lines(log)}\nand of {console}:\n{last_lines(console)}")
        if time.monotonic() > end:
            fail(f"the server was not ready in {seconds:.0f} s; the end of {log}:\n{last_lines(log)}")
        time.sleep(0.1)


def settle_password(home: Path, port: int, wanted: str | None, *, encrypted: bool) -> str:
    """Makes the wanted password the server's, and sees that it takes work with it. The password is kept in the home."""
    kept = home / "password"
    known = kept.read_text() if kept.exists() else FIRST_PASSWORD
    password = wanted or (known if kept.exists() else secrets.token_urlsafe(12))
    try:
        if password != known:
            with logged_in(port, USER, known, encrypted=encrypted) as bolt:
                bolt.run("ALTER CURRENT USER SET PASSWORD FROM $known TO $password", {"known": known, "password": password}, "system")
        with logged_in(port, USER, password, encrypted=encrypted) as bolt:
            bolt.run("RETURN 1")
    except BoltError as refused:
        if "Unavailable" in refused.code or "ReadOnly" in refused.code:  # as one that was killed may be, before it has recovered
            fail(f"the server started and takes no work ({refused}): see {home / 'logs'}, and start it without --conf if that made it read-only.")
        fail(f"the server refused the password ({refused}): choose another, or start it with --fresh if its data may go.")
    except OSError as trouble:
        fail(f"the server started but does not answer at port {port} ({trouble}): see {home / 'logs'}.")
    write_private(kept, password)
    return password


def write_private(path: Path, content: str) -> None:
    """Replaces a file that only its owner may read."""
    unfinished = path.with_suffix(".new")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
    unfinished.replace(path)


if __name__ == "__main__":
    main()
