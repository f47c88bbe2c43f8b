"""Pieces of text that every answer is made of: identities, probabilities, instants, labelled paragraphs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from api.instants import write_instant

SECOND = 1_000_000_000
DIM = "bright_black"


def percent(probability: float) -> str:
    """87 %, and never 0 % or 100 % of what is not certain."""
    if 0.0 < probability < 0.005:
        return "<1 %"
    return ">99 %" if 0.995 <= probability < 1.0 else f"{probability * 100:.0f} %"


def moment(at: int) -> str:
    """2026-03-01 12:30:00 UTC."""
    return f"{write_instant(at).partition('.')[0].rstrip('Z').replace('T', ' ')} UTC"


def span_of(nanoseconds: int) -> str:
    """A length of time in its two largest units, e.g. 1 min 40 s."""
    seconds = max(round(nanoseconds / SECOND), 0)
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    parts = []
    for size, unit in units:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def place(entity: str) -> str:
    """What is not empty of an identity's cluster/namespace/name."""
    return "/".join(part for part in entity.partition(":")[2].split("/", 2) if part)


def described(entity: str) -> str:
    """An identity as people say it, e.g. network path prod/shop/checkout->cart."""
    return f"{entity.partition(':')[0].replace('_', ' ')} {place(entity)}"


def finding(entity: str, condition: str, log_likelihood_ratio: float, observed: str) -> str:
    """E.g. `latency_high of service c/shop/cart: mean 0.02 s -> 0.26 s`, or `no latency_high of ...` where it was looked for and not seen."""
    return f"{'' if log_likelihood_ratio >= 0.0 else 'no '}{condition} of {described(entity)}: {observed}"


def heading(console: Console, text: str) -> None:
    """A line that stands out."""
    say(console, Text(text, style="bold"))


def paragraphs(console: Console, rows: Iterable[tuple[str, Text | str]], *, indent: int = 3) -> None:
    """Labelled paragraphs; a repeated label is written once."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style=DIM)
    grid.add_column(overflow="fold")
    last = ""
    for label, text in rows:
        grid.add_row("" if label == last else label, text)
        last = label
    if grid.row_count:
        say(console, Padding(grid, (0, 0, 0, indent)))


def columns(console: Console, head: Sequence[str], rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset()) -> None:
    """A table without lines. `right`: places of the columns that stand to the right and are never folded."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=DIM, show_header=any(head))
    for place, name in enumerate(head):
        table.add_column(name, justify="right" if place in right else "left", overflow="fold", no_wrap=place in right)
    for row in rows:
        table.add_row(*row)
    say(console, table)


def say(console: Console, what: RenderableType) -> None:
    """Prints without the blanks that fill lines, which are in the way where text is piped or copied."""
    for line in console.render_lines(what, pad=False):
        text = Text()
        for segment in line:
            text.append(segment.text, segment.style)
        text.rstrip()
        console.print(text, soft_wrap=True)
