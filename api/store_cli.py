"""The commands of `whence store`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.settings import CONFIG_VARIABLE

app = typer.Typer(
    name="store",
    help="What the graph store holds: look at it, move it, check it, tidy it. The server need not run; what writes wants it stopped.",
    no_args_is_help=True,
)

DataDir = Annotated[str | None, typer.Option("--data-dir", metavar="DIR", show_default=False, help="As of `whence serve`.")]
Store = Annotated[str | None, typer.Option("--store", metavar="URL", show_default=False, help="As of `whence serve`.")]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", envvar=CONFIG_VARIABLE, help="As of `whence serve`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command()
def info(data_dir: DataDir = None, store: Store = None, config: Config = None, as_json: AsJson = False) -> None:
    """How much there is, since when, and how large it is."""
    from api.store_commands import info as run

    run({"data_dir": data_dir, "store": store}, config, as_json=as_json)


@app.command()
def export(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Where to; stdout if left out.")] = None,
    data_dir: DataDir = None,
    store: Store = None,
    config: Config = None,
) -> None:
    """Everything, present and past, as lines of JSON that import into any store. A server may run meanwhile."""
    from api.store_commands import export as run

    run({"data_dir": data_dir, "store": store}, config, file)


@app.command("import")
def import_(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="What `export` wrote; stdin if left out.")] = None,
    data_dir: DataDir = None,
    store: Store = None,
    config: Config = None,
) -> None:
    """An export into an empty store. One that was cut short may be run again."""
    from api.store_commands import import_ as run

    run({"data_dir": data_dir, "store": store}, config, file)


@app.command()
def check(data_dir: DataDir = None, store: Store = None, config: Config = None, as_json: AsJson = False) -> None:
    """Prove that nothing is lost or doubled. Exits 1 where something is."""
    from api.store_commands import check as run

    raise typer.Exit(0 if run({"data_dir": data_dir, "store": store}, config, as_json=as_json) else 1)


@app.command()
def vacuum(
    data_dir: DataDir = None,
    store: Store = None,
    retention_days: Annotated[int | None, typer.Option("--retention-days", metavar="DAYS", show_default=False, help="As of `whence serve`.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Forget what ended before the retention and give the disk back what it took."""
    from api.store_commands import vacuum as run

    run({"data_dir": data_dir, "store": store, "retention_days": retention_days}, config, as_json=as_json)


@app.command()
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    data_dir: DataDir = None,
    store: Store = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Bring the layout up to date, as `whence serve` does at its start."""
    from api.store_commands import migrate as run

    run({"data_dir": data_dir, "store": store}, config, dry_run=dry_run, as_json=as_json)
