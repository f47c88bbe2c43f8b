"""The commands of `whence knowledge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(name="knowledge", help="What Whence knows of how things fail: read it, test it, compare it. Needs no server.", no_args_is_help=True)

Knowledge = Annotated[Path | None, typer.Option("--knowledge", metavar="DIR", envvar="WHENCE_KNOWLEDGE", help="Rule files to lay over the packaged ones.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command("list")
def list_(knowledge: Knowledge = None, as_json: AsJson = False) -> None:
    """The kinds with their defects, and how many numbers are guesses."""
    from api.knowledge_commands import list_kinds

    list_kinds(knowledge, as_json=as_json)


@app.command()
def show(
    target: Annotated[str, typer.Argument(metavar="KIND[.DEFECT]", help="E.g. database or database.slow_query.")],
    knowledge: Knowledge = None,
    as_json: AsJson = False,
) -> None:
    """All that is known of a kind, or of one of its defects."""
    from api.knowledge_commands import show as run

    run(target, knowledge, as_json=as_json)


@app.command("test")
def examine(knowledge: Knowledge = None, as_json: AsJson = False) -> None:
    """Run the worked examples, then the linter. Exits 1 where one does not hold or something must be mended."""
    from api.knowledge_commands import test as run

    raise typer.Exit(0 if run(knowledge, as_json=as_json) else 1)


@app.command()
def diff(
    other: Annotated[Path, typer.Argument(metavar="OTHER_DIR", help="Rule files, laid over the packaged ones, to compare with.")],
    knowledge: Knowledge = None,
    as_json: AsJson = False,
) -> None:
    """What OTHER_DIR changes, number by number."""
    from api.knowledge_commands import diff as run

    run(other, knowledge, as_json=as_json)


@app.command()
def schema() -> None:
    """Print the JSON Schema of rule files and overrides.yaml, for editors."""
    from api.knowledge_commands import schema as run

    run()


@app.command()
def docs(directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; the folder is made.")], knowledge: Knowledge = None) -> None:
    """Write a page a kind, with a picture of its small network, and schema.json."""
    from api.knowledge_commands import docs as run

    run(directory, knowledge)
