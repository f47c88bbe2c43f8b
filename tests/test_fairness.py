"""Nothing of the recorded incidents steers the product: no name of theirs stands anywhere in it."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import orjson
import pytest

from ingest.samples import SERVICE_GRAPH_CALLS

CHECKOUT = Path(__file__).resolve().parents[1]
INCIDENTS = CHECKOUT.parent / "shared" / "incidents"
LINES = 3  # every line of theirs holds a row of nearly all services


def test_no_name_of_a_recorded_service_or_pod_stands_in_the_project() -> None:
    if not INCIDENTS.is_dir():
        pytest.skip(f"There are no recorded incidents in {INCIDENTS}: whether the project names what is in them was not looked at.")
    names = {name for path in INCIDENTS.rglob("metrics.jsonl.gz") for name in _names_in(path)}
    names |= {label[key] for path in INCIDENTS.rglob("labels.json") for label in orjson.loads(path.read_bytes()) for key in ("service", "pod") if key in label}
    assert len(names) > 50
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=CHECKOUT, capture_output=True, check=True)
    texts = {path: (CHECKOUT / path).read_bytes() for path in listed.stdout.decode().split("\0") if path and (CHECKOUT / path).is_file()}
    assert len(texts) > 100
    found = [f"{path}: {name}" for path, text in texts.items() for name in sorted(names) if name.encode() in text]
    assert found == []


def _names_in(path: Path) -> Iterator[str]:
    with gzip.open(path, "rb") as lines:
        for line in islice(lines, LINES):
            for resource in orjson.loads(line)["resourceMetrics"]:
                metrics = {metric["name"] for scope in resource["scopeMetrics"] for metric in scope["metrics"]}
                if metrics == {SERVICE_GRAPH_CALLS}:  # told by a connector, which is no service
                    continue
                for attribute in resource["resource"]["attributes"]:
                    if attribute["key"] in {"service.name", "k8s.pod.name"}:
                        yield attribute["value"]["stringValue"]
