"""The command line. Commands import what they need when they run, so that help is quick; docs/cli.md shows each at work."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from api import knowledge_cli, store_cli
from api.settings import CONFIG_VARIABLE, ServeSettings, flag, variable
from api.terminal import CommandError, ReaderGoneError, print_json, silence, stdout_console, tell, write_line

# typer names only this one of click's family; its parent covers every mistake in the arguments.
USAGE_ERRORS = tuple(base for base in typer.BadParameter.__bases__ if issubclass(base, Exception))
EPILOG = "Exit codes: 0 answered; 1 the asked-for thing is not there, or doctor found trouble; 2 usage or trouble; 130 interrupted; 141 nobody reads on."

app = typer.Typer(
    name="whence",
    help="What broke, how sure, what it takes down, what would fix it.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(store_cli.app)
app.add_typer(knowledge_cli.app)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Server = Annotated[str, typer.Option("--server", metavar="URL", envvar="WHENCE_SERVER", help="The Whence to ask.")]
At = Annotated[str, typer.Option("--at", metavar="TIME", help="As it was at this instant (ISO 8601).")]
First = Annotated[int, typer.Option("--first", min=1, max=100, help="How many.")]
DEFAULT_SERVER = "http://127.0.0.1:8080"
SETS = 5
READER_GONE = 141  # as the shell tells it of what SIGPIPE ended


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line (sys.argv if None) and returns its exit code; what a user can act on is one line on stderr."""
    command = typer.main.get_command(app)
    try:
        result = command.main(args=arguments, prog_name="whence", standalone_mode=False)
    except CommandError as trouble:
        tell(str(trouble))
        return trouble.code
    except ReaderGoneError:
        silence()
        return READER_GONE
    except SystemExit as ended:
        # Help is printed by click, which makes a 1 of a pipe that nobody reads.
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        silence()
        return READER_GONE
    except ImportError as broken:
        from reasoning.errors import NativeCodeError

        if not isinstance(broken, NativeCodeError):
            raise
        tell(str(broken))
        return 2
    except USAGE_ERRORS as usage:
        message = str(getattr(usage, "format_message", usage.__str__)()).rstrip(".")
        # Without a message the help was printed already.
        if message:
            tell(f"{message}. See `whence --help`.")
        return 2
    return result if isinstance(result, int) else 0


def setting(name: str, metavar: str) -> Any:
    """The option of a setting, with its environment variable and default in the help."""
    field = ServeSettings.model_fields[name]
    default = "none" if field.default is None else str(field.default) or "empty"
    return typer.Option(flag(name), metavar=metavar, show_default=False, help=f"{field.description} (env {variable(name)}, default {default})")


@app.command()
def serve(
    data_dir: Annotated[str | None, setting("data_dir", "DIR")] = None,
    store: Annotated[str | None, setting("store", "URL")] = None,
    retention_days: Annotated[int | None, setting("retention_days", "DAYS")] = None,
    attributes_up_to: Annotated[int | None, setting("attributes_up_to", "N")] = None,
    http: Annotated[str | None, setting("http", "HOST:PORT")] = None,
    otlp_grpc: Annotated[str | None, setting("otlp_grpc", "HOST:PORT")] = None,
    otlp_http: Annotated[str | None, setting("otlp_http", "HOST:PORT")] = None,
    default_cluster: Annotated[str | None, setting("default_cluster", "NAME")] = None,
    knowledge: Annotated[str | None, setting("knowledge", "DIR")] = None,
    shards: Annotated[int | None, setting("shards", "N")] = None,
    log_level: Annotated[str | None, setting("log_level", "LEVEL")] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", envvar=CONFIG_VARIABLE, help="TOML file with any of these settings.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run Whence: receive OTLP, reason, answer. Flags go before WHENCE_* variables, these before the file, and this before defaults."""
    from api.server import run_server

    flags = {
        "data_dir": data_dir, "store": store, "retention_days": retention_days, "attributes_up_to": attributes_up_to,
        "http": http, "otlp_grpc": otlp_grpc, "otlp_http": otlp_http, "default_cluster": default_cluster, "knowledge": knowledge, "shards": shards, "log_level": log_level,
    }  # fmt: skip
    run_server(flags, config, as_json=as_json)
    # All is stopped and written: the interpreter's own end would take another second of a machine under load.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def demo(context: typer.Context) -> None:
    """Watch Whence find an injected fault in a simulated estate (`whence demo --help`)."""
    sys.stdout.flush()
    # In place of this process, so that Ctrl-C and the exit code need no passing on. -P: a folder called demo here is not meant.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "demo", *context.args])  # noqa: S606  # our own module, our own arguments


@app.command()
def replay(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="OTLP files, or folders of them.")],
    at: Annotated[list[str] | None, typer.Option("--at", metavar="TIME", help="An instant to answer for (ISO 8601), repeatable; the end if left out.")] = None,
    knowledge: Annotated[Path | None, typer.Option("--knowledge", metavar="DIR", help="Folder of causal rule files to lay over the packaged ones.")] = None,
    default_cluster: Annotated[str, typer.Option("--default-cluster", metavar="NAME", help="Cluster of telemetry that does not name its own.")] = "",
    as_json: AsJson = False,
) -> None:
    """Ask a recording what was wrong, in event time. Instants are answered in order of time; nothing after an instant influences its answer."""
    from api.replay import run_replay

    run_replay(paths, at or [], knowledge, default_cluster, as_json=as_json)


@app.command()
def causes(
    sets: Annotated[bool, typer.Option("--sets", help="Also which causes hold together.")] = False,
    server: Server = DEFAULT_SERVER,
    at: At = "",
    first: First = 20,
    as_json: AsJson = False,
) -> None:
    """What broke, where, since when, how sure, why, why not the others, and what to look at and to do next."""
    from api.client_results import as_json as jsonable
    from api.questions import asking, instant
    from api.render_causes import render_diagnosis

    if sets and at:
        raise CommandError("--sets and --at do not go together: only the latest diagnosis can be explained by sets.")
    with asking(server) as client:
        if at:
            _answer(client.diagnosis(at=instant(at), first=first), render_diagnosis, as_json=as_json)
            return
        diagnosis, explanation, found = client.explained(first=first, sets=SETS if sets else 0)
    if as_json:
        more = {"cause_sets": jsonable(found)} if sets else {}
        print_json({**jsonable(diagnosis), "explanation": jsonable(explanation), **more})
    else:
        render_diagnosis(stdout_console(), diagnosis, explanation, found)


@app.command()
def impact(
    target: Annotated[str, typer.Argument(metavar="ENTITY.NAME", help="A defect or condition of an entity, e.g. service:prod/shop/cart.slow_code.")],
    defect: Annotated[str | None, typer.Option("--defect", help="Defect, where TARGET is the entity alone.")] = None,
    condition: Annotated[str | None, typer.Option("--condition", help="Condition, where TARGET is the entity alone.")] = None,
    server: Server = DEFAULT_SERVER,
    first: First = 50,
    as_json: AsJson = False,
) -> None:
    """What a defect or condition takes down, with probabilities."""
    from api.questions import asking
    from api.questions import impact as ask_impact
    from api.render_causes import render_impact

    with asking(server) as client:
        _answer(ask_impact(client, target, defect, condition, first), render_impact, as_json=as_json)


@app.command("what-if")
def what_if(
    do: Annotated[list[str], typer.Argument(metavar="ENTITY.NAME=true|false...", help="What to force, e.g. service:prod/shop/cart.slow_code=false.")],
    server: Server = DEFAULT_SERVER,
    first: First = 50,
    as_json: AsJson = False,
) -> None:
    """The estate if defects or conditions were made to hold, or not to hold."""
    from api.questions import asking, intervention
    from api.render_causes import render_what_if

    with asking(server) as client:
        answer = client.what_if([intervention(client, each) for each in do], first=first)
        before = () if as_json else client.root_causes(first=100)
    _answer(answer, partial(render_what_if, before=before), as_json=as_json)


@app.command()
def topology(
    root: Annotated[str, typer.Argument(metavar="[ENTITY]", help="Show what is around this entity; the whole estate if left out.")] = "",
    depth: Annotated[int, typer.Option("--depth", min=1, max=5, help="Relations away from ENTITY.")] = 1,
    at: At = "",
    kind: Annotated[str, typer.Option("--kind", help="Without ENTITY: only entities of this kind.")] = "",
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Who is there, and who relates to whom with what traffic."""
    from api.questions import asking, estate, identity, instant
    from api.render_topology import render_topology

    if not root and at:
        raise CommandError("--at needs an ENTITY: name one, e.g. `whence topology service:prod/shop/cart --at 2026-03-01T12:30:00Z`.")
    with asking(server) as client:
        found = client.topology(identity(client, root), depth=depth, at=instant(at)) if root else estate(client, kind or None)
        _answer(found, render_topology, as_json=as_json)


@app.command()
def incidents(
    state: Annotated[str, typer.Option("--state", metavar="open|recovered", help="Only these.")] = "",
    why: Annotated[bool, typer.Option("--why", help="Of each also the evidence, what it takes down, and what was changed before.")] = False,
    server: Server = DEFAULT_SERVER,
    first: First = 20,
    as_json: AsJson = False,
) -> None:
    """Root causes followed through time, newest first."""
    from api.questions import asking
    from api.render_causes import render_incidents, render_incidents_in_full

    if state.upper() not in {"", "OPEN", "RECOVERED"}:
        raise CommandError(f"--state {state!r}: write open or recovered.")
    with asking(server) as client:
        _answer(client.incidents(state=state.upper() or None, first=first), render_incidents_in_full if why else render_incidents, as_json=as_json)


@app.command()
def doctor(
    knowledge: Annotated[
        bool, typer.Option("--knowledge", help="Run the worked examples of the packaged rule files, with those in DIR over them; needs no server.")
    ] = False,
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="With --knowledge: the folder of rule files.")] = None,
    otlp_grpc: Annotated[str, typer.Option("--otlp-grpc", metavar="HOST:PORT", envvar=variable("otlp_grpc"), help="Where OTLP/gRPC should answer.")] = "",
    otlp_http: Annotated[str, typer.Option("--otlp-http", metavar="HOST:PORT", envvar=variable("otlp_http"), help="Where OTLP/HTTP should answer.")] = "",
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """What is well, what is not, what is dropped and why, and what to do about it. Exits 1 on trouble."""
    if directory is not None and not knowledge:
        raise CommandError("A folder goes with --knowledge: write `whence doctor --knowledge DIR`.")
    if knowledge:
        from api.doctor_knowledge import examine_knowledge

        well = examine_knowledge(directory, as_json=as_json)
    else:
        from api.doctor import examine
        from api.questions import asking

        with asking(server) as client:
            well = examine(client, otlp_grpc, otlp_http, as_json=as_json)
    raise typer.Exit(0 if well else 1)


@app.command()
def export(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH...]", help="OTLP files, or folders of them; a running Whence is asked if left out.")
    ] = None,
    pgmpy: Annotated[Path | None, typer.Option("--pgmpy", metavar="FILE", help="Write a Python module that builds a pgmpy DiscreteBayesianNetwork.")] = None,
    bif: Annotated[Path | None, typer.Option("--bif", metavar="FILE", help="Write the Bayesian Interchange Format.")] = None,
    root: Annotated[str, typer.Option("--root", metavar="ENTITY", help="Only what is around this entity; the whole estate if left out.")] = "",
    depth: Annotated[int, typer.Option("--depth", min=1, max=5, help="Relations away from ENTITY.")] = 1,
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="With PATH: as it was at this instant (ISO 8601).")] = "",
    knowledge: Annotated[
        Path | None, typer.Option("--knowledge", metavar="DIR", help="With PATH: folder of causal rule files to lay over the packaged ones.")
    ] = None,
    default_cluster: Annotated[str, typer.Option("--default-cluster", metavar="NAME", help="With PATH: cluster of telemetry that does not name its own.")] = "",
    server: Server = DEFAULT_SERVER,
) -> None:
    """Write the causal network, with what was found, for other tools to check or to use."""
    from api.export import network_of_recording, network_of_server, write_network

    if pgmpy is None and bif is None:
        raise CommandError("Say what to write: --pgmpy FILE, --bif FILE, or both.")
    if not paths and (at or knowledge or default_cluster):
        raise CommandError("--at, --knowledge and --default-cluster need a recording: name its files.")
    found = network_of_recording(paths, at, knowledge, default_cluster, root, depth) if paths else network_of_server(server, root, depth)
    write_network(found, bif, pgmpy)


@app.command()
def schema(as_json: AsJson = False) -> None:
    """Print the GraphQL schema, or with --json its introspection."""
    from api.graphql.schema import make_schema, print_schema

    if as_json:
        print_json(make_schema().introspect())
    else:
        write_line(print_schema().removesuffix("\n").encode())


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False) -> None:
    if version:
        from importlib.metadata import version as version_of

        write_line(f"whence {version_of('whence')}".encode())
        raise typer.Exit


def _answer(value: Any, render: Any, *, as_json: bool) -> None:
    from api.client_results import as_json as jsonable

    if as_json:
        print_json(jsonable(value))
    else:
        render(stdout_console(), value)
