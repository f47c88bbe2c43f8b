"""Who watches the demo: a terminal that redraws itself, a file that gets a line for each thing that happens, or nobody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from api.client import Relation, Symptom
from demo.following import Outlook, Scene
from demo.verdict import Injection, Verdict
from demo.words import ECHOES, after, called, cause_line, evidence_line, passed, report, said

WORTH_TELLING = 0.2
SYMPTOMS_TOLD = 14


class Silent:
    """Watches and says nothing."""

    def watch(self, scene: Scene) -> None:
        """Sees the next scene."""

    def hear(self, verdict: Verdict, outlook: Outlook) -> None:
        """Hears the verdict."""


class Chronicle:
    """Writes a line for each thing that happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: set[tuple[str, ...]] = set()
        self._leader: tuple[str, str] | None = None

    def watch(self, scene: Scene) -> None:
        """Tells what is new."""
        if scene.calls:
            self._once(
                scene, ("alive",), f"the estate is alive: {len(rates(scene.calls)) + 1} services call each other, {scene.visits_per_second:.0f} visits/s"
            )
        if scene.injection is not None:
            self._once(scene, ("injected",), f"fault injected: {scene.injection.fault} (Whence is not told)", scene.injection.at)
        if scene.diagnosis is None:
            return
        at = scene.diagnosis.at or scene.now
        for symptom in scene.diagnosis.symptoms:
            if len(self._told) < SYMPTOMS_TOLD and not symptom.entity.startswith(ECHOES):
                self._once(scene, (symptom.entity, symptom.condition), f"symptom: {called(symptom.entity)}, {said(symptom.condition)} ({symptom.observed})", at)
        leader = scene.diagnosis.root_causes[0] if scene.diagnosis.root_causes else None
        if leader is not None and leader.probability >= WORTH_TELLING and (leader.entity, leader.defect) != self._leader:
            self._leader = (leader.entity, leader.defect)
            self._say(scene, f"most probable cause: {called(leader.entity)}, {said(leader.defect)}, {leader.probability:.0%}", at)
        for incident in reversed(scene.incidents):
            self._once(scene, (incident.id,), f"incident opened: {called(incident.entity)}, {said(incident.defect)}", incident.opened_at)

    def hear(self, verdict: Verdict, outlook: Outlook) -> None:
        """Tells the verdict."""
        self._console.print()
        for line in report(verdict, outlook):
            self._console.print(line, soft_wrap=True)

    def _once(self, scene: Scene, what: tuple[str, ...], line: str, at: int | None = None) -> None:
        if what not in self._told:
            self._told.add(what)
            self._say(scene, line, at)

    def _say(self, scene: Scene, line: str, at: int | None = None) -> None:
        self._console.print(Text(f"{passed(scene.started_at, at or scene.now)}  {line}"), soft_wrap=True)


class Screen:
    """A terminal: the scene redraws itself, the verdict stays."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, auto_refresh=False, vertical_overflow="ellipsis")
        self.heard = False

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._live.stop()

    def watch(self, scene: Scene) -> None:
        """Draws the scene; after the verdict only how the leading cause stands."""
        self._live.update(Group(*(_standing(scene) if self.heard else self._drawn(scene))), refresh=True)

    def hear(self, verdict: Verdict, outlook: Outlook) -> None:
        """Prints the verdict above what goes on."""
        self.heard = True
        self._live.update(Text(), refresh=True)
        for line in report(verdict, outlook):
            self._console.print(line)
        self._console.print()

    def _drawn(self, scene: Scene) -> Iterator[Text | Table]:
        rows = max(self._console.height - 18, 6)
        yield _header(scene)
        yield Text()
        yield _estate(scene)
        diagnosis = scene.diagnosis
        if diagnosis is None:
            return
        yield from _section("Symptoms", [_symptom(each, scene.injection) for each in _latest(diagnosis.symptoms, min(rows // 2, 8))], "none")
        yield from _section("Root causes", [cause_line(each) for each in diagnosis.root_causes[: min(rows // 3, 4)]], "none")
        leader = diagnosis.root_causes[0] if diagnosis.root_causes else None
        if leader is not None and leader.probability >= WORTH_TELLING:
            strongest = sorted(leader.evidence, key=lambda each: -abs(each.log_likelihood_ratio))[: min(rows // 3, 5)]
            yield from _section(
                f"Found near {called(leader.entity)}, {said(leader.defect)}: each with the log-odds that it speaks",
                [evidence_line(each) for each in strongest],
                "none",
            )


def rates(calls: tuple[Relation, ...]) -> dict[str, tuple[float, float, float]]:
    """Service -> calls per second to it, their mean duration in milliseconds, share of errors."""
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for each in calls:
        if each.statistics is not None:
            total, rate = totals[each.target], each.statistics.request_rate
            total[0] += rate
            total[1] += rate * each.statistics.mean_duration_seconds * 1e3
            total[2] += rate * each.statistics.error_ratio
    return {name: (rate, duration / rate, errors / rate) if rate else (0.0, 0.0, 0.0) for name, (rate, duration, errors) in sorted(totals.items())}


def _header(scene: Scene) -> Text:
    what = f"{scene.injection.fault} since {passed(scene.injection.at, scene.now)}" if scene.injection else "nothing is broken yet"
    return Text.assemble(
        ("Whence demo", "bold"), f"   event time {passed(scene.started_at, scene.now)}   {scene.visits_per_second:.0f} visits/s   ", (what, "bold cyan")
    )


def _estate(scene: Scene) -> Table:
    """Two services a row: calls per second, mean duration, errors; those with symptoms stand out."""
    table = Table.grid(padding=(0, 2))
    ill = {each.entity for each in scene.diagnosis.symptoms} if scene.diagnosis else set()
    cells = []
    for name, (rate, milliseconds, errors) in rates(scene.calls).items():
        style = "yellow" if name in ill else "green"
        cells.append((Text(name.rsplit("/", 1)[-1], style), f"{rate:.1f}/s", f"{milliseconds:.0f} ms", f"{errors:.1%}" if errors >= 0.005 else ""))
    for place in range(0, len(cells), 2):
        table.add_row(*(text for cell in cells[place : place + 2] for text in cell))
    if not cells:
        table.add_row(Text("the estate is starting …", "dim"))
    return table


def _symptom(symptom: Symptom, injection: Injection | None) -> Text:
    when = after(injection, symptom.onset)
    return Text.assemble((f"{when:>6}", "cyan"), f"  {called(symptom.entity)}: {said(symptom.condition)}", (f"  ({symptom.observed})", "dim"))


def _latest(symptoms: tuple[Symptom, ...], number: int) -> list[Symptom]:
    return sorted((each for each in symptoms if not each.entity.startswith(ECHOES)), key=lambda each: (each.onset or 0, each.entity, each.condition))[:number]


def _section(title: str, lines: list[Text], otherwise: str) -> Iterator[Text]:
    yield Text()
    yield Text(title, "bold")
    for line in lines or [Text(otherwise, "dim")]:
        line.no_wrap, line.overflow = True, "ellipsis"
        yield Text("  ", no_wrap=True, overflow="ellipsis").append_text(line)


def _standing(scene: Scene) -> Iterator[Text]:
    yield Text(f"event time {passed(scene.started_at, scene.now)}, at the pace of the wall clock", "dim")
    for cause in (scene.diagnosis.root_causes if scene.diagnosis else ())[:2]:
        yield Text("  ").append_text(cause_line(cause))
