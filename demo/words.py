"""The demo in words: entities as people call them, times since the start, and the verdict told from what broke to what would fix it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.text import Text

from api.client import Account, Effect, Evidence, RootCause
from demo.following import Outlook
from demo.verdict import SECOND, Injection, Verdict

BAR = 20
OTHERS, EFFECTS, EVIDENCE = 3, 8, 6
NOTICEABLE = 0.05  # of a probability
AUDIBLE = 0.1  # of log-odds
ECHOES = "endpoint:"  # what happens to an endpoint is told of its service


def called(entity: str) -> str:
    """An entity as people call it: `service checkout` for `service:eu/shop/checkout`."""
    kind, _, rest = entity.partition(":")
    return f"{kind.replace('_', ' ')} {rest.split('/', 2)[-1]}"


def said(name: str) -> str:
    """A condition's or defect's name in words."""
    return name.replace("_", " ")


def passed(since: int, at: int) -> str:
    """Minutes and seconds between two instants (nanoseconds)."""
    seconds = max(at - since, 0) // SECOND
    return f"{seconds // 60:02d}:{seconds % 60:02d}"


def after(injection: Injection | None, at: int | None) -> str:
    """Seconds from the injection to an instant, with a sign."""
    return f"{(at - injection.at) / SECOND:+.0f} s" if injection is not None and at is not None else ""


def bar(probability: float) -> Text:
    """A probability to look at."""
    full = round(probability * BAR)
    style = "bold red" if probability >= 0.5 else "yellow" if probability >= 0.2 else "dim"
    return Text.assemble(("█" * full, style), ("·" * (BAR - full), "dim"), (f" {probability:5.1%}", style))


def cause_line(cause: RootCause) -> Text:
    """A root cause and how probable it is."""
    return Text.assemble(bar(cause.probability), "  ", (called(cause.entity), "bold"), f"  {said(cause.defect)}")


def report(verdict: Verdict, outlook: Outlook) -> Iterator[Text]:
    """The verdict, line by line."""
    injection = verdict.injection
    how = "opened an incident" if verdict.incident is not None else "opened no incident; what stood first"
    yield Text(f"Whence {how} {verdict.seconds:.0f} s after the fault:", "bold")
    yield Text()
    if not verdict.root_causes:
        yield Text("  no root cause at all")
    else:
        yield from _leader(verdict.root_causes[0], injection, outlook.account)
        yield from _titled("Less likely", [cause_line(each) for each in verdict.root_causes[1 : 1 + OTHERS]])
    yield from _effects("What it takes down", outlook.impact.effects if outlook.impact else (), rising=True)
    yield from _remedies(verdict.root_causes)
    yield from _effects("If it were fixed", outlook.without.effects if outlook.without else (), rising=False)
    yield Text()
    yield from _comparison(verdict)


def _leader(cause: RootCause, injection: Injection, account: Account | None) -> Iterator[Text]:
    yield Text("  ").append_text(cause_line(cause))
    since = f" Onset: {after(injection, cause.onset)} from the fault." if cause.onset is not None else ""
    yield Text(f"  {cause.summary}{since}")
    if account is not None:
        yield from _titled("Why: its log-odds, finding by finding", list(_added_up(account)))


def _added_up(account: Account) -> Iterator[Text]:
    """From prior to posterior: the steps that change most, in the account's order, and all others in one."""
    most = sorted(account.steps, key=lambda step: -abs(step.change))[:EVIDENCE]
    told = [step for step in account.steps if step in most]
    yield Text(f"{account.before:+6.1f}  before any finding")
    for step in told:
        seen = "" if step.log_likelihood_ratio >= 0.0 else "no "
        where = Text.assemble(f"  {called(step.entity)}: {seen}{said(step.condition)}", (f"  ({step.observed})", "dim"))
        yield Text(f"{step.change:+6.1f}", "green" if step.change > 0 else "magenta").append_text(where)
    others, rest = account.others + len(account.steps) - len(told), account.after - account.before - sum(step.change for step in told)
    if others or abs(rest) >= AUDIBLE:
        yield Text(f"{rest:+6.1f}  {f'{others} more findings together' if others else 'what lies further away'}")
    yield Text(f"{account.after:+6.1f}  in all: {1.0 / (1.0 + math.exp(-account.after)):.1%}")


def evidence_line(evidence: Evidence) -> Text:
    """A finding that bears on a cause, and how strongly it speaks for or against its own condition."""
    speaks = evidence.log_likelihood_ratio
    where = Text.assemble(f"  {called(evidence.entity)}: {said(evidence.condition)}", (f"  ({evidence.observed})", "dim"))
    return Text(f"{speaks:+6.1f}", "green" if speaks > 0 else "magenta").append_text(where)


def _effects(title: str, effects: Sequence[Effect], *, rising: bool) -> Iterator[Text]:
    moved = [each for each in effects if (each.after - each.before if rising else each.before - each.after) >= NOTICEABLE]
    moved = [each for each in moved if not each.entity.startswith(ECHOES)]
    moved.sort(key=lambda each: -abs(each.after - each.before))
    lines = [Text(f"{each.before:4.0%} → {each.after:4.0%}  {called(each.entity)}: {said(each.condition)}") for each in moved[:EFFECTS]]
    if len(moved) > EFFECTS:
        lines.append(Text(f"and {len(moved) - EFFECTS} more", "dim"))
    yield from _titled(title, lines)


def _remedies(causes: Sequence[RootCause]) -> Iterator[Text]:
    lines = []
    for each in causes[0].remedies if causes else ():
        lines += [Text(each.action, "green"), Text(f"  {each.effect}"), Text(f"  Risk: {each.risk}", "dim")]
    yield from _titled("What would fix it", lines)


def _titled(title: str, lines: Sequence[Text]) -> Iterator[Text]:
    if lines:
        yield Text()
        yield Text(f"  {title}", "bold")
        for line in lines:
            yield Text("    ").append_text(line)


def _comparison(verdict: Verdict) -> Iterator[Text]:
    injection = verdict.injection
    truth = f"What the demo broke, and did not tell: {called(injection.entities[0])}, {said(injection.defect)}."
    yield Text.assemble(truth, "  ", ("Whence is right.", "bold green") if verdict.correct else ("Whence is wrong.", "bold red"))
    if verdict.false_incidents:
        named = ", ".join(f"{called(each.entity)} {said(each.defect)}" for each in verdict.false_incidents)
        yield Text(f"Before anything was broken it had opened {len(verdict.false_incidents)}: {named}.", "red")
