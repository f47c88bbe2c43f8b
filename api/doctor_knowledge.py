"""`whence doctor --knowledge`: the worked examples that stand inside the rule files, run without a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from api.render import paragraphs, say
from api.terminal import CommandError, print_json, stdout_console
from reasoning.examples import ExampleResult, run_example
from schema.knowledge import WorkedExample
from schema.loader import CausalModelError, load_knowledge


def examine_knowledge(directory: Path | None, *, as_json: bool) -> bool:
    """Prints what the examples gave; True if all hold. None is the packaged knowledge. Raises CommandError."""
    try:
        knowledge = load_knowledge(directory)
    except CausalModelError as error:
        raise CommandError(str(error)) from error
    results = [(example, run_example(knowledge, example)) for example in knowledge.examples]
    if as_json:
        listed = [{"name": each.name, "location": each.location, "passed": result.passed, "detail": result.detail} for each, result in results]
        print_json({"knowledge": knowledge.version, "passed": all(result.passed for _, result in results), "examples": listed})
    else:
        render_examples(stdout_console(), knowledge.version, results)
    return all(result.passed for _, result in results)


def render_examples(console: Console, version: str, results: Sequence[tuple[WorkedExample, ExampleResult]]) -> None:
    """Failed examples in full, the others counted."""
    failed = [(example, result) for example, result in results if not result.passed]
    for example, result in failed:
        say(console, Text(f"{example.location}: {example.name}", style="bold red"))
        paragraphs(console, [("found", result.detail)])
    say(console, f"Knowledge {version}: {len(results) - len(failed)} of {len(results)} worked examples hold.")
