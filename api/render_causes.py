"""A diagnosis as a good engineer would write it down: what, where, since when, how sure, why, why not the others, what next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from api.client_verdicts import CauseExplanation, CauseSets, Diagnosis, Effect, Evidence, Explanation, Impact, Incident, RootCause, WhatIf
from api.render import columns, described, finding, heading, moment, paragraphs, percent, say, span_of
from api.render_explanation import render_sets, render_would_tell, told_why

LIKELY = 0.05
NAMED = 0.005
TELLING = 0.15
IN_FULL = 3
SHOWN = 8


def render_diagnosis(console: Console, diagnosis: Diagnosis, explanation: Explanation | None = None, sets: CauseSets | None = None) -> None:
    """Likely causes in full, the others in a line each; with an explanation also why, and what would tell most."""
    if diagnosis.at is None:
        say(console, "No window of telemetry has closed yet: nothing can be said.")
        return
    if diagnosis.stale:
        say(console, f"This diagnosis is not the latest possible: {diagnosis.stale}")
    likely = [cause for cause in diagnosis.root_causes if cause.probability >= LIKELY]
    if not likely:
        say(console, f"{moment(diagnosis.at)}: {_counted(len(diagnosis.symptoms), 'symptom')}, no root cause worth a look.")
        _symptoms(console, diagnosis)
        if sets is not None:
            render_sets(console, sets)
        return
    exact = "" if diagnosis.exact else ", probabilities are approximate"
    say(console, f"{moment(diagnosis.at)}: {_counted(len(diagnosis.symptoms), 'symptom')}, {_counted(len(likely), 'root cause')} worth a look{exact}.")
    why = {(each.entity, each.defect): each for each in explanation.causes} if explanation is not None else {}
    for number, cause in enumerate(likely[:IN_FULL], start=1):
        console.print()
        _cause(console, number, cause, why.get((cause.entity, cause.defect)), diagnosis.at)
    if explanation is not None:
        render_would_tell(console, explanation)
    if sets is not None:
        render_sets(console, sets)
    if rest := [cause for cause in diagnosis.root_causes if cause.probability >= NAMED and cause not in likely[:IN_FULL]][:SHOWN]:
        console.print()
        heading(console, "Less likely")
        columns(console, ("", "", ""), ((percent(cause.probability), cause.defect, described(cause.entity)) for cause in rest), right=frozenset({0}))
    _ruled_out(console, diagnosis)


def _ruled_out(console: Console, diagnosis: Diagnosis) -> None:
    if not diagnosis.ruled_out:
        return
    console.print()
    heading(console, "Ruled out")
    paragraphs(console, ((f"{each.defect} of {described(each.entity)}", each.because) for each in diagnosis.ruled_out[:SHOWN]), indent=0)
    if (more := max(len(diagnosis.ruled_out) - SHOWN, 0) + diagnosis.omitted) > 0:
        say(console, f"and {more} more")


def _cause(console: Console, number: int, cause: RootCause, why: CauseExplanation | None, at: int) -> None:
    title = Text(f"{number}. ")
    title.append(f"{percent(cause.probability)} {cause.defect}", style="bold red" if cause.probability >= 0.5 else "bold")
    title.append(f" of {described(cause.entity)}")
    say(console, title)
    paragraphs(console, _told(cause, why, at))


def _told(cause: RootCause, why: CauseExplanation | None, at: int) -> Iterator[tuple[str, Text | str]]:
    yield "what", cause.summary
    if cause.service is not None and cause.service != cause.entity:
        yield "where", f"belongs to {described(cause.service)}"
    if cause.onset is not None:
        yield "since", f"{moment(cause.onset)}, {span_of(at - cause.onset)} before"
    for condition, entities in _by_condition(cause):
        yield "explains", f"{condition} of {', '.join(entities[:SHOWN])}" + (f" and {len(entities) - SHOWN} more" if len(entities) > SHOWN else "")
    yield from _weighed(cause.evidence) if why is None else told_why(why)
    for remedy in cause.remedies:
        yield "do", f"{remedy.action} {_sentence(remedy.effect)} Risk: {_sentence(remedy.risk)}"


def _weighed(evidence: Sequence[Evidence]) -> Iterator[tuple[str, str]]:
    """Each finding by what it alone adds to all others: what is left of the why once the diagnosis is past."""
    for each in sorted(evidence, key=lambda each: -each.weight):
        if abs(each.weight) >= TELLING or each == evidence[0]:
            label = "for" if each.weight > 0 else "against"
            yield label, f"{each.weight:+.1f}  {finding(each.entity, each.condition, each.log_likelihood_ratio, each.observed)}"


def _by_condition(cause: RootCause) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    # Services first: they are what people know by name.
    for each in sorted(cause.explains, key=lambda each: not each.entity.startswith("service:")):
        found.setdefault(each.condition, []).append(described(each.entity))
    return sorted(found.items(), key=lambda each: (-len(each[1]), each[0]))


def _symptoms(console: Console, diagnosis: Diagnosis) -> None:
    rows = (
        (percent(each.probability), f"{each.condition} of {described(each.entity)}", each.observed)
        for each in diagnosis.symptoms[:SHOWN]
    )  # fmt: skip
    if diagnosis.symptoms:
        columns(console, ("", "symptom", "observed"), rows, right=frozenset({0}))


def render_incidents(console: Console, incidents: tuple[Incident, ...]) -> None:
    """Newest first, as given."""
    if not incidents:
        say(console, "No incidents.")
        return
    rows = (
        (each.state.lower(), moment(each.opened_at), span_of(each.closed_at - each.opened_at) if each.closed_at else "", percent(each.peak_probability),
         f"{each.defect} of {described(each.entity)}")
        for each in incidents
    )  # fmt: skip
    columns(console, ("state", "opened", "lasted", "peak", "root cause"), rows, right=frozenset({3}))


def render_incidents_in_full(console: Console, incidents: tuple[Incident, ...]) -> None:
    """The same, and of each why it was believed, what it takes down, and what was changed before."""
    render_incidents(console, incidents)
    for each in incidents:
        console.print()
        heading(console, f"{moment(each.opened_at)}: {each.defect} of {described(each.entity)}")
        paragraphs(console, _kept(each))


def _kept(incident: Incident) -> Iterator[tuple[str, str]]:
    for change in incident.changes:
        yield "changed", f"{span_of(incident.opened_at - change.at)} before: {change.kind} of {described(change.entity)}: {change.detail}"
    yield from _weighed(incident.evidence)
    for effect in incident.impacts[:SHOWN]:
        yield "takes down", f"{percent(effect.after)}  {effect.condition} of {described(effect.entity)}"
    if more := len(incident.impacts[SHOWN:]):
        yield "takes down", f"and {more} more"


def render_impact(console: Console, impact: Impact) -> None:
    """What it takes down, in descending probability."""
    name = impact.defect or impact.condition
    raised = [effect for effect in impact.effects if effect.after - effect.before >= 0.005]
    if not raised:
        say(console, f"{name} of {described(impact.entity)} takes nothing down that is known.")
        return
    say(console, f"If {name} of {described(impact.entity)} holds ({_sure(exact=impact.exact, standard_error=impact.standard_error)}):")
    _effects(console, raised)


def render_what_if(console: Console, answer: WhatIf, before: tuple[RootCause, ...] = ()) -> None:
    """The changes an intervention makes, largest first, and the root causes that would be left."""
    forced = ", ".join(f"{each.name} of {described(each.entity)} {'holds' if each.value else 'does not hold'}" for each in answer.interventions)
    say(console, f"If {forced} ({_sure(exact=answer.exact, standard_error=answer.standard_error)}):")
    changed = [effect for effect in answer.effects if abs(effect.after - effect.before) >= 0.005]
    if changed:
        _effects(console, changed)
    else:
        say(console, "nothing else changes by as much as 1 %.")
    left = [cause for cause in answer.causes if cause.probability >= LIKELY]
    known = {(cause.entity, cause.defect): cause.probability for cause in before}
    console.print()
    say(console, "Root causes then:" if left else "No root cause is likely then.")
    if left:
        rows = ((percent(known[each.entity, each.defect]) if (each.entity, each.defect) in known else "", percent(each.probability),
                 f"{each.defect} of {described(each.entity)}") for each in left[:SHOWN])  # fmt: skip
        columns(console, ("now", "then", ""), rows, right=frozenset({0, 1}))


def _sure(*, exact: bool, standard_error: float | None) -> str:
    if exact:
        return "exact"
    return f"sampled worlds, standard error at most {standard_error * 100:.1f} %" if standard_error else "approximate"


def _effects(console: Console, effects: list[Effect]) -> None:
    rows = ((percent(each.before), percent(each.after), f"{each.condition} of {described(each.entity)}") for each in effects)
    columns(console, ("now", "then", "condition"), rows, right=frozenset({0, 1}))


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text[-1] in ".!?" else f"{text}."


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
