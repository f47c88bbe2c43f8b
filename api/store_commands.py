"""`whence store`: what the graph store holds, moved, checked, tidied and migrated, without a server. Written for the one who runs Whence."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from api.instants import write_instant
from api.settings import ServeSettings, SettingsError, read_settings
from api.terminal import CommandError, print_json, tell, write_line
from graph.checking import check as check_records
from graph.neo4j_schema import LAYOUT
from graph.neo4j_store import Neo4jGraphStore
from graph.opening import open_store
from graph.record_json import RecordError, record_line, record_of
from graph.records import Record, SavedState
from graph.sqlite_schema import MIGRATIONS
from graph.sqlite_store import SqliteGraphStore
from graph.store import GraphStore, StoreError
from schema.verdicts import IncidentState

BATCH = 2_000
IMPORTING = "importing"
HEADER = b'{"whence_store":1}'
Flags = Mapping[str, object]


def info(flags: Flags, config: Path | None, *, as_json: bool) -> None:
    """What there is. Raises CommandError."""

    async def work(store: GraphStore, settings: ServeSettings) -> None:
        now, changes = await store.snapshot(), await store.changes(-1, limit=1)
        found: dict[str, object] = {
            "store": _shown(store, settings),
            "entities": len(now.entities),
            "relations": len(now.relations),
            "latest_sighting": write_instant(now.at) if now.entities else None,
            "oldest_change": write_instant(changes[0].at) if changes else None,
            "open_incidents": len(await store.incidents(IncidentState.OPEN, 1_000_000)),
            "incidents": len(await store.incidents(None, 1_000_000)),
        }
        if isinstance(store, SqliteGraphStore):
            found |= {"layout": await store.layout(), "bytes": sum(file.stat().st_size for file in _files(store.path))}
        _answer(found, as_json=as_json)

    _with_store(flags, config, work)


def export(flags: Flags, config: Path | None, target: Path | None) -> None:
    """Everything, as lines of JSON, to a file that is whole or not there, or to stdout. Raises CommandError."""

    async def work(store: GraphStore, _: ServeSettings) -> None:
        if target is None:
            await _write_lines(store, sys.stdout.buffer)
            return
        part = target.with_name(target.name + ".part")
        try:
            with part.open("wb") as file:
                count = await _write_lines(store, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except OSError as trouble:
            part.unlink(missing_ok=True)
            raise CommandError(f"{target} can't be written: {trouble.strerror}.") from trouble
        tell(f"{count} records are in {target}.")

    _with_store(flags, config, work)


def import_(flags: Flags, config: Path | None, source: Path | None) -> None:
    """The lines of an export into a store that holds nothing, or an import that was cut short. Raises CommandError."""

    async def work(store: GraphStore, _: ServeSettings) -> None:
        if await store.load_state(IMPORTING) != b"1":
            if (await store.snapshot()).entities or await store.changes(-1, limit=1) or await store.incidents(None, 1):
                raise CommandError("The store is not empty: import into a new one (another --data-dir or --store), so that nothing is mixed.")
            await store.save_state(IMPORTING, b"1")
        if source is None:
            count = await _read_lines(store, sys.stdin.buffer, "stdin")
        else:
            try:
                with source.open("rb") as file:
                    count = await _read_lines(store, file, str(source))
            except OSError as trouble:
                raise CommandError(f"{source} can't be read: {trouble.strerror}.") from trouble
        await store.save_state(IMPORTING, b"")
        tell(f"{count} records are in the store.")

    _with_store(flags, config, work, writing=True)


def check(flags: Flags, config: Path | None, *, as_json: bool) -> bool:
    """Whether nothing is lost or doubled, with what is. Raises CommandError."""
    sound = True

    async def work(store: GraphStore, _: ServeSettings) -> None:
        nonlocal sound
        try:
            damage = [f"The file is damaged: {each}" for each in await store.damage()] if isinstance(store, SqliteGraphStore) else []
            found = await check_records(store.records())
            counts, problems = found.counts, [*damage, *found.problems]
        except (ValueError, KeyError, TypeError) as wrong:
            counts, problems = {}, [f"A record can't be read ({type(wrong).__name__}: {wrong})."]
        sound = not problems
        if as_json:
            print_json({"sound": sound, "records": dict(counts), "problems": problems})
            return
        for problem in problems:
            write_line(problem.encode())
        told = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items()) or "nothing"
        write_line(f"{'Nothing is lost or doubled' if sound else f'{len(problems)} problems'}: {told}.".encode())

    _with_store(flags, config, work)
    return sound


def vacuum(flags: Flags, config: Path | None, *, as_json: bool) -> None:
    """Forgets what ended before the retention and gives the disk back what it took. Raises CommandError."""

    async def work(store: GraphStore, settings: ServeSettings) -> None:
        at, forgotten = (await store.snapshot()).at, 0
        if settings.retention_days and at:
            while count := await store.compact(at - settings.retention_days * 86_400_000_000_000, BATCH):
                forgotten += count
        found: dict[str, object] = {"forgotten_intervals": forgotten}
        if isinstance(store, SqliteGraphStore):
            before = sum(file.stat().st_size for file in _files(store.path))
            await store.vacuum()
            found |= {"bytes_before": before, "bytes": sum(file.stat().st_size for file in _files(store.path))}
        _answer(found, as_json=as_json)

    _with_store(flags, config, work, writing=True)


def migrate(flags: Flags, config: Path | None, *, dry_run: bool, as_json: bool) -> None:
    """Brings the layout up to date, or tells what would be done. `serve` does the same at its start. Raises CommandError."""
    _, store = _opened(flags, config)
    if isinstance(store, Neo4jGraphStore):
        _migrate_neo4j(store, dry_run=dry_run, as_json=as_json)
        return
    if not isinstance(store, SqliteGraphStore):
        raise CommandError("This store has no layout to migrate.")
    try:
        before = store.layout_on_disk()
    except StoreError as trouble:
        raise CommandError(str(trouble)) from trouble
    pending = list(range(before + 1, len(MIGRATIONS) + 1))
    if not dry_run:
        _with_store(flags, config, _nothing, writing=True)
    _answer({"layout": before if dry_run else len(MIGRATIONS), "pending" if dry_run else "migrated": pending}, as_json=as_json)


def _migrate_neo4j(store: Neo4jGraphStore, *, dry_run: bool, as_json: bool) -> None:
    async def run() -> Sequence[int]:
        try:
            pending = await store.due()
            if not dry_run:
                await store.ensure_schema()
        finally:
            await store.close()
        return pending

    try:
        pending = asyncio.run(run())
    except StoreError as trouble:
        raise CommandError(str(trouble)) from trouble
    before = LAYOUT - len(pending)
    _answer({"layout": before if dry_run else LAYOUT, "pending" if dry_run else "migrated": list(pending)}, as_json=as_json)


async def _nothing(_: GraphStore, __: ServeSettings) -> None:
    """Opening migrates."""


def _with_store(flags: Flags, config: Path | None, work: Callable[[GraphStore, ServeSettings], Awaitable[None]], *, writing: bool = False) -> None:
    settings, store = _opened(flags, config)
    if isinstance(store, SqliteGraphStore) and not writing:
        if not store.path.exists():
            raise CommandError(f"There is no store at {store.path}: give --data-dir or --store.")
        store = SqliteGraphStore(store.path, read_only=True)

    async def run() -> None:
        async with _open(store):
            await work(store, settings)

    try:
        asyncio.run(run())
    except StoreError as trouble:
        raise CommandError(str(trouble)) from trouble


def _opened(flags: Flags, config: Path | None) -> tuple[ServeSettings, GraphStore]:
    try:
        settings = read_settings(flags, config)
        return settings, open_store(settings.store, settings.data_dir, settings.store_user, settings.store_password.get_secret_value(), settings.store_ca)
    except (SettingsError, StoreError) as trouble:
        raise CommandError(str(trouble)) from trouble


@asynccontextmanager
async def _open(store: GraphStore) -> AsyncIterator[None]:
    try:
        await store.ensure_schema()
        yield
    finally:
        await store.close()


async def _write_lines(store: GraphStore, file: BinaryIO) -> int:
    count = 0
    file.write(HEADER + b"\n")
    async for batch in store.records():
        kept = [record for record in batch if not (isinstance(record, SavedState) and record.name == IMPORTING)]
        file.writelines(record_line(record) + b"\n" for record in kept)
        count += len(kept)
    return count


async def _read_lines(store: GraphStore, file: BinaryIO, name: str) -> int:
    batch, count = list[Record](), 0
    for number, line in enumerate(file, start=1):
        if number == 1:
            if line.strip() != HEADER:
                raise CommandError(f"{name}: it is no export of a store, or of a newer Whence: its first line is not {HEADER.decode()}.")
            continue
        try:
            batch.append(record_of(line))
        except RecordError as wrong:
            raise CommandError(f"{name}:{number}: {wrong}; what came before is in the store. Mend the file and import it again.") from wrong
        count += 1
        if len(batch) == BATCH:
            await store.load(batch)
            batch.clear()
    await store.load(batch)
    return count


def _files(path: Path) -> Sequence[Path]:
    return [file for suffix in ("", "-wal", "-shm") if (file := Path(f"{path}{suffix}")).exists()]


def _shown(store: GraphStore, settings: ServeSettings) -> str:
    # A URL may hold a password.
    return str(store.path) if isinstance(store, SqliteGraphStore) else settings.store.partition("://")[0]


def _answer(found: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        shown = ", ".join(map(str, value)) or "none" if isinstance(value, list) else "none" if value is None else value
        write_line(f"{name.replace('_', ' ')}: {shown}".encode())
