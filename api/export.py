"""`whence export`: the causal network of a running Whence, or of a recording, as files other tools read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from api.instants import InstantError, parse_instant
from api.pipeline import Pipeline, PipelineSettings
from api.questions import IDENTITY, asking, identity
from api.replay import BrokenRecordingError, RecordingNotFoundError, Replay, recordings_in
from api.terminal import CommandError, tell
from graph.live import LiveGraph
from ingest.otlp.files import read_recording
from reasoning.errors import ReasoningError
from reasoning.export import NamedNetwork, bif, pgmpy_module
from schema.identity import EntityRef
from schema.loader import CausalModelError, load_knowledge


def write_network(network: NamedNetwork, bif_file: Path | None, pgmpy_file: Path | None) -> None:
    """Writes the files asked for; says on stderr what is in them. Raises CommandError."""
    for path, text in ((bif_file, bif), (pgmpy_file, pgmpy_module)):
        if path is None:
            continue
        try:
            path.write_text(text(network), encoding="utf-8")
        except OSError as trouble:
            raise CommandError(f"{path} can't be written: {trouble.strerror}.") from trouble
    part = f"; {network.left_out} links from outside are left out" if network.left_out else ""
    tell(f"{len(network.names)} variables, {len(network.links)} links, {sum(map(bool, network.evidence))} findings{part}.")


def network_of_server(server: str, root: str, depth: int) -> NamedNetwork:
    """What a running Whence reasons with. Raises CommandError."""
    with asking(server) as client:
        found = client.network(identity(client, root) if root else None, depth=depth)
    return NamedNetwork(
        found["at"],
        tuple(found["names"]),
        tuple(found["leak"]),
        tuple((cause, effect, strength) for cause, effect, strength in found["links"]),
        tuple(found["evidence"]),
        found["left_out"],
    )


def network_of_recording(paths: Sequence[Path], at: str, knowledge: Path | None, default_cluster: str, root: str, depth: int) -> NamedNetwork:
    """What a recording led to at an instant, or at its end. Raises CommandError."""
    try:
        files, _ = recordings_in(paths)
        pipeline = Pipeline(load_knowledge(knowledge), PipelineSettings(default_cluster=default_cluster))
        for _ in Replay(pipeline).answers(read_recording(files), [parse_instant(at)] if at else []):
            # As it stood when it was answered: what comes after must not count.
            return pipeline.reasoner.named_network(_entity(pipeline.graph, root) if root else None, depth)
    except (InstantError, RecordingNotFoundError, BrokenRecordingError, CausalModelError, ReasoningError) as error:
        raise CommandError(str(error)) from error
    raise CommandError("The recording holds no telemetry: there is nothing to export.", code=1)


def _entity(graph: LiveGraph, text: str) -> EntityRef:
    """The entity meant by an identity, or by a name that is the only one."""
    if IDENTITY.fullmatch(text):
        return EntityRef.parse(text)
    named = [entity.ref for entity in graph.entities() if entity.ref.name == text]
    chosen = named if len(named) == 1 else [ref for ref in named if ref.kind == "service"]
    if len(chosen) != 1:
        raise CommandError(f"{len(named) or 'No'} entities are called {text!r}: write the whole identity.", code=2 if named else 1)
    return chosen[0]
