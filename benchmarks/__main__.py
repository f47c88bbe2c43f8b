"""`python -m benchmarks NAME [--json]`: prints one JSON object of figures, or a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import demo_faults, diagnosis, graphql, inference, otlp_traces, shards, store
from benchmarks.diagnosis_scoring import ScorerMissingError
from benchmarks.measure import Figures

BENCHMARKS: dict[str, Callable[[], Figures]] = {
    "otlp_traces": otlp_traces.run,
    "store": store.run,
    "graphql": graphql.run,
    "demo_faults": demo_faults.run,
    "inference": inference.run,
    "shards": shards.run,
    "diagnosis": diagnosis.run,
}


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Which: {', '.join(BENCHMARKS)}. Default: all.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a benchmark.")] = False,
    only: Annotated[list[str] | None, typer.Option(help=f"Of diagnosis only this part, may be repeated: {', '.join(diagnosis.PARTS)}.")] = None,
    incidents: Annotated[Path, typer.Option(envvar="WHENCE_INCIDENTS", help="Folder of the recorded incidents.")] = diagnosis.BESIDE_CHECKOUT,
    seeds: Annotated[int, typer.Option(min=1, help="Of diagnosis how many seeds of the demo's estate each fault is tried in.")] = diagnosis.SEEDS,
) -> None:
    """Measures and prints figures with their units in the key."""
    chosen = names or list(BENCHMARKS)
    if unknown := [name for name in chosen if name not in BENCHMARKS]:
        typer.echo(f"There is no benchmark {unknown[0]!r}. Choose from: {', '.join(BENCHMARKS)}.", err=True)
        raise typer.Exit(2)
    benchmarks = BENCHMARKS | {"diagnosis": partial(diagnosis.run, only or (), incidents, seeds)}
    for name in chosen:
        try:
            figures = benchmarks[name]()
        except (diagnosis.UnknownPartError, ScorerMissingError) as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from error
        if as_json:
            typer.echo(json.dumps(figures))
        else:
            _print_table(name, figures)


def _print_table(name: str, figures: Figures) -> None:
    table = Table("figure", "value", title=name)
    for key, value in figures.items():
        table.add_row(key, "\n".join(value) if isinstance(value, list) else str(value))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
