"""Recorded incidents replayed as `whence replay` does. Labels say what is asked when, and score; nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from api.instants import parse_instant
from api.pipeline import Pipeline
from api.replay import SECOND, Replay, answer_line
from benchmarks.diagnosis_ablation import ABLATIONS
from benchmarks.diagnosis_scoring import Cause, Scored, score, scorer_in
from ingest.otlp.files import read_recording
from schema.batches import Batch
from schema.kinds import SERVICE
from schema.loader import load_knowledge

Label = Mapping[str, Any]
LEADS = (120, 180)  # seconds after an injection
OBSERVED_LEAD = 600  # seconds after an observation, as published


@dataclass(frozen=True, slots=True)
class Replayed:
    """The questions asked of one replay, by seconds after the event, and what all of it took."""

    scored: Mapping[int, tuple[Scored, ...]]
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Answered:
    """The root causes at an instant, as `whence replay --json` prints them, and the names of all services known then."""

    causes: Sequence[Cause]
    services: frozenset[str]


def trainticket(incidents: Path, leads: Sequence[int] = LEADS, ablation: str = "") -> Replayed:
    """One recording asked about every incident in it, each of `leads` seconds after its injection."""
    folder = incidents / "trainticket"
    labels = _labels(folder)
    asked = {(place, lead): parse_instant(label["injected_at"]) + lead * SECOND for place, label in enumerate(labels) for lead in leads}
    began = time.process_time()
    answers = answered(_read(folder, ablation), sorted(asked.values()))
    taken = time.process_time() - began
    scorer = scorer_in(incidents)

    def scored(lead: int, place: int, label: Label) -> Scored:
        answer = answers[asked[place, lead]]
        return score(scorer, f"{place}", label["fault"], label["service"], answer.causes, answer.services)

    return Replayed({lead: tuple(scored(lead, place, label) for place, label in enumerate(labels)) for lead in leads}, taken)


def petshop_cases(incidents: Path) -> list[str]:
    """The names of the cases, each a recording of its own."""
    return [label["case"] for label in _labels(incidents / "petshop")]


def petshop(incidents: Path, case: str, ablation: str = "") -> Replayed:
    """One case asked OBSERVED_LEAD after its observation. No symptom is told."""
    folder = incidents / "petshop"
    label = next(each for each in _labels(folder) if each["case"] == case)
    at = (label["observed_at"] + OBSERVED_LEAD) * SECOND
    began = time.process_time()
    answer = answered(_read(folder / case, ablation), [at])[at]
    taken = time.process_time() - began
    return Replayed({OBSERVED_LEAD: (score(scorer_in(incidents), case, label["fault"], label["service"], answer.causes, answer.services),)}, taken)


def answered(batches: Iterable[Batch], instants: Sequence[int]) -> dict[int, Answered]:
    """What Whence believes at each instant, by the path of `whence replay`."""
    pipeline = Pipeline(load_knowledge())
    found = {}
    for answer in Replay(pipeline).answers(batches, instants):
        services = frozenset(entity.ref.name for entity in pipeline.graph.entities() if entity.ref.kind == SERVICE.name)
        found[answer.at] = Answered(orjson.loads(answer_line(answer))["root_causes"], services)
    return found


def _labels(folder: Path) -> list[Label]:
    labels: list[Label] = orjson.loads((folder / "labels.json").read_bytes())
    return labels


def _read(folder: Path, ablation: str) -> Iterator[Batch]:
    paths = sorted(folder.glob("*.jsonl.gz"))
    return ABLATIONS[ablation](paths) if ablation else read_recording(paths)
