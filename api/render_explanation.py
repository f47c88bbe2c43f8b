"""Why a cause is believed, what keeps another behind, what would tell most, and which causes hold together, in words."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp

from rich.console import Console

from api.client_verdicts import CausalPath, CauseExplanation, CauseSets, Explanation, NextObservation, Step
from api.render import columns, described, finding, heading, percent, say

SMALLEST_REST = 0.05
LARGEST_LOG_ODDS = 700.0
WAYS = 3
AGAINST = 3
TELLING = 0.1


def told_why(why: CauseExplanation) -> Iterator[tuple[str, str]]:
    """The ways to the symptoms, the account from prior to posterior, and what keeps it behind the first, as labelled paragraphs."""
    for path in _longest(why.paths)[:WAYS]:
        yield "way", _way(path)
    account = why.account
    yield "prior", f"{account.before:+.1f}  {_probability(account.before) * 100.0:.2g} % before any finding; each finding then adds to the log-odds:"
    for step in account.steps:
        yield "for" if step.change > 0.0 else "against", _step(step)
    if account.others or abs(account.rest) >= SMALLEST_REST:
        yield "and", f"{account.rest:+.1f}  {f'{account.others} more findings together' if account.others else 'what lies further away'}"
    yield "so", f"{account.after:+.1f}  {percent(_probability(account.after))}"
    yield from _behind(why)


def _behind(why: CauseExplanation) -> Iterator[tuple[str, str]]:
    if why.leader is None or why.behind is None:
        return
    against = sorted((step for step in why.behind.steps if step.change <= -TELLING), key=lambda step: step.change)[:AGAINST]
    yield "behind", f"{why.behind.after:+.1f}  {why.leader.defect} of {described(why.leader.entity)}, {_advance(why.behind.before)}"
    for step in against:
        yield "behind", _step(step)
    if not against:
        yield "behind", "No finding tells the two apart by much."


def _advance(before: float) -> str:
    if abs(before) < TELLING:
        return "as likely before any finding"
    return f"{before:+.1f} of it before any finding"


def render_would_tell(console: Console, explanation: Explanation) -> None:
    """The observation that would take most doubt away, and what it would mean."""
    if not explanation.would_tell:
        return
    console.print()
    heading(console, "Would tell most")
    for each in explanation.would_tell:
        say(console, f"{each.condition} of {described(each.entity)}: {_meaning(each)}")


def _meaning(found: NextObservation) -> str:
    shown, missed = found.if_shown, found.if_not
    return f"if it holds, {percent(shown.probability)} {shown.defect}; if not, {percent(missed.probability)} {missed.defect} ({found.gain:.1f} bits)"


def render_sets(console: Console, found: CauseSets) -> None:
    """Which causes hold together."""
    console.print()
    heading(console, "Together" if found.exact else "Together (approximate)")
    if not found.sets:
        say(console, "Nothing can be said: no evidence stands concluded.")
        return
    rows = (
        (percent(each.probability), " and ".join(f"{cause.defect} of {described(cause.entity)}" for cause in each.causes) or "none of the causes known")
        for each in found.sets
    )
    columns(console, ("", ""), rows, right=frozenset({0}))


def _longest(paths: tuple[CausalPath, ...]) -> list[CausalPath]:
    """Ways that are no part of another, the strongest first."""
    return [path for path in paths if not any(other is not path and other.hops[: len(path.hops)] == path.hops for other in paths)]


def _way(path: CausalPath) -> str:
    """E.g. latency_high of database d 95 % → queries → latency_high of service s 88 %: 84 % in all."""
    told = ""
    for hop in path.hops:
        over = (f" → {hop.relation.replace('_', ' ')} → " if hop.relation else " → ") if told else ""
        told += f"{over}{hop.condition} of {described(hop.entity)} {percent(hop.strength)}"
    return f"{told}: {percent(path.strength)} in all" if len(path.hops) > 1 else told


def _step(step: Step) -> str:
    return f"{step.change:+.1f}  {finding(step.entity, step.condition, step.log_likelihood_ratio, step.observed)}"


def _probability(log_odds: float) -> float:
    return 1.0 / (1.0 + exp(-max(min(log_odds, LARGEST_LOG_ODDS), -LARGEST_LOG_ODDS)))
