"""What is particular to the embedded store: it survives being killed, has one owner, and refuses in one clear message."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import graph
from graph.sqlite_schema import MIGRATIONS, migrate
from graph.sqlite_store import SqliteGraphStore
from graph.store import StoreError, StoreUnavailableError, StoreVersionError
from graph.topology import Entity, Relation, RelationKey
from schema.identity import EntityRef

ROOT = Path(graph.__file__).parent.parent
BATCH = 50
WRITER = """
import asyncio, sys
from pathlib import Path
from graph.sqlite_store import SqliteGraphStore
from graph.topology import Entity, Relation, RelationKey
from schema.identity import EntityRef

async def main():
    store = SqliteGraphStore(Path(sys.argv[1]))
    await store.ensure_schema()
    for batch in range(100_000):
        refs = [EntityRef("service", "c", f"b{batch}", f"s{number}") for number in range(int(sys.argv[2]))]
        await store.upsert_entities([Entity(ref, {}, ("t",), batch, batch) for ref in refs])
        await store.upsert_relations([Relation(RelationKey(refs[0], "calls", ref), ("t",), 1.0, batch, batch, None) for ref in refs[1:]])
        print(batch, flush=True)

asyncio.run(main())
"""

LARGE = """
import asyncio, sys
from pathlib import Path
from graph.sqlite_store import SqliteGraphStore
from graph.topology import Entity
from schema.identity import EntityRef

async def main():
    store = SqliteGraphStore(Path(sys.argv[1]))
    await store.ensure_schema()
    await store.upsert_entities([Entity(EntityRef("service", "c", "small", "s"), {}, ("t",), 1, 1)])
    print("ready", flush=True)
    large = [Entity(EntityRef("service", "c", "large", f"s{number}"), {"note": "x" * 900}, ("t",), 1, 1) for number in range(50_000)]
    await store.upsert_entities(large)
    print("done", flush=True)

asyncio.run(main())
"""


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("acknowledged", [1, 9, 30])
async def test_what_was_acknowledged_survives_kill_minus_nine_and_nothing_is_there_by_half(tmp_path: Path, acknowledged: int) -> None:
    path = tmp_path / "whence.db"
    with run_python(WRITER, str(path), str(BATCH)) as writer:
        assert writer.stdout is not None
        last = [int(writer.stdout.readline()) for _ in range(acknowledged)][-1]
        writer.kill()
        last = max([last, *(int(line) for line in writer.stdout.read().split("\n") if line)])
    store = SqliteGraphStore(path)
    await store.ensure_schema()
    snapshot = await store.snapshot()
    await store.close()
    entities, relations = [entity.ref.namespace for entity in snapshot.entities], [relation.key.source.namespace for relation in snapshot.relations]
    for batch in range(last + 1):
        assert (entities.count(f"b{batch}"), relations.count(f"b{batch}")) == (BATCH, BATCH - 1)
    assert entities.count(f"b{last + 1}") in {0, BATCH}
    assert relations.count(f"b{last + 1}") in {0, BATCH - 1}
    assert len(entities) <= (last + 2) * BATCH


async def test_a_large_write_that_is_killed_when_half_is_on_disk_never_was(tmp_path: Path) -> None:
    path = tmp_path / "whence.db"
    with run_python(LARGE, str(path)) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        before = size_on_disk(tmp_path)
        while writer.poll() is None and size_on_disk(tmp_path) < before + 5_000_000:
            pass
        writer.kill()
        assert writer.stdout.read() == "", "the write was over before it was killed"
    store = SqliteGraphStore(path)
    await store.ensure_schema()
    assert [entity.ref.namespace for entity in (await store.snapshot()).entities] == ["small"]
    assert store._database is not None
    # Losing power can't be tried; that a commit waits for the disk, and that no half of one is ever in the file, is SQLite's own promise.
    assert [store._database.execute(f"pragma {name}").fetchone()[0] for name in ("integrity_check", "journal_mode", "synchronous")] == ["ok", "wal", 2]
    await store.close()


def size_on_disk(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())


async def test_a_second_process_is_refused_and_told_who_has_the_store(tmp_path: Path) -> None:
    path = tmp_path / "whence.db"
    store = SqliteGraphStore(path)
    await store.ensure_schema()
    with run_python(WRITER, str(path), "1") as second:
        _, trouble = second.communicate(timeout=60)
    await store.close()
    assert f"in use by another whence (pid {os.getpid()}): stop it, or choose another --data-dir." in trouble
    with run_python(WRITER, str(path), "1") as third:
        assert third.stdout is not None
        assert third.stdout.readline() == "0\n"
        third.kill()


async def opening_fails(path: Path) -> StoreError:
    store = SqliteGraphStore(path)
    with pytest.raises(StoreError) as trouble:
        await store.ensure_schema()
    await store.close()
    return trouble.value


async def test_a_file_of_a_newer_layout_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "whence.db"
    database = sqlite3.connect(path)
    database.execute(f"pragma user_version = {len(MIGRATIONS) + 1}")
    database.close()
    trouble = await opening_fails(path)
    assert isinstance(trouble, StoreVersionError)
    assert (
        str(trouble) == f"The store has layout {len(MIGRATIONS) + 1}, this Whence knows up to {len(MIGRATIONS)}: upgrade Whence, or choose another --data-dir."
    )


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "whence.db"
    path.write_bytes(b"holiday pictures" * 100)
    trouble = await opening_fails(path)
    assert isinstance(trouble, StoreUnavailableError)
    assert str(trouble).startswith(f"The store {path} can't be opened (file is not a database): check the path")
    assert path.read_bytes() == b"holiday pictures" * 100


async def test_a_directory_that_is_a_file_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    trouble = await opening_fails(tmp_path / "data" / "whence.db")
    assert isinstance(trouble, StoreUnavailableError)
    assert "--data-dir" in str(trouble)
    assert "\n" not in str(trouble)


async def test_a_directory_without_permission_is_one_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # tests may run as root, whom no permission stops
    trouble = await opening_fails(tmp_path / "whence.db")
    assert isinstance(trouble, StoreUnavailableError)
    assert "Permission denied" in str(trouble)


async def test_an_opening_that_failed_leaves_the_store_free(tmp_path: Path) -> None:
    path = tmp_path / "whence.db"
    path.write_bytes(b"holiday pictures" * 100)
    await opening_fails(path)
    path.unlink()
    store = SqliteGraphStore(path)
    await store.ensure_schema()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailableError, match="is closed"):
        await store.snapshot()


async def test_a_disk_that_fails_is_a_message_and_not_a_traceback(tmp_path: Path) -> None:
    store = SqliteGraphStore(tmp_path / "whence.db")
    await store.ensure_schema()
    database = store._database
    assert database is not None
    database.execute("pragma max_page_count = 1")  # the disk is full
    ref = EntityRef("service", "c", "shop", "x" * 1_000_000)
    with pytest.raises(StoreUnavailableError, match=r"does not work .*full"):
        await store.upsert_entities([Entity(ref, {}, (), 1, 1)])
    assert (await store.snapshot()).entities == ()
    database.execute("pragma max_page_count = 100000")
    await store.upsert_entities([Entity(ref, {}, (), 1, 1)])
    assert len((await store.snapshot()).entities) == 1
    await store.close()


def columns(database: sqlite3.Connection) -> Sequence[str]:
    return [row[1] for row in database.execute("pragma table_info(state)")]


def test_migrations_run_once_each_and_keep_what_is_there() -> None:
    database = sqlite3.connect(":memory:", isolation_level=None)
    migrate(database)
    database.execute("insert into state values('belief', x'01')")
    grown = (*MIGRATIONS, ("alter table state add column saved_at integer",))
    migrate(database, grown)
    migrate(database, grown)
    assert database.execute("select name, content, saved_at from state").fetchall() == [("belief", b"\x01", None)]
    assert database.execute("pragma user_version").fetchone() == (len(grown),)
    database.close()


def test_a_migration_that_fails_leaves_the_layout_before_it() -> None:
    database = sqlite3.connect(":memory:", isolation_level=None)
    migrate(database)
    before = columns(database)
    with pytest.raises(sqlite3.OperationalError):
        migrate(database, (*MIGRATIONS, ("alter table state add column saved_at integer", "alter table nowhere add column x integer")))
    assert columns(database) == before
    assert database.execute("pragma user_version").fetchone() == (len(MIGRATIONS),)
    database.close()


@pytest.mark.slow
async def test_a_hub_with_more_neighbours_than_a_statement_has_variables(tmp_path: Path) -> None:
    store = SqliteGraphStore(tmp_path / "whence.db")
    await store.ensure_schema()
    hub, spokes = EntityRef("service", "c", "", "hub"), [EntityRef("endpoint", "c", "", f"e{number:05}") for number in range(33_000)]
    await store.upsert_entities([Entity(ref, {}, (), 1, 1) for ref in (hub, *spokes)])
    await store.upsert_relations([Relation(RelationKey(ref, "part_of", hub), (), 1.0, 1, 1, None) for ref in spokes])
    assert len((await store.neighbours(spokes[0], depth=2)).relations) == len(spokes)
    await store.close()


@pytest.mark.parametrize("forgetting", ["compact", "vacuum", "neither"])
async def test_a_heartbeat_finds_relations_in_the_rows_they_are_in_now(tmp_path: Path, forgetting: str) -> None:
    refs = [EntityRef("service", "c", "shop", f"s{number}") for number in range(6)]
    keys = [RelationKey(refs[0], "calls", ref) for ref in refs[1:]]
    store = SqliteGraphStore(tmp_path / "whence.db")
    await store.ensure_schema()
    await store.upsert_entities([Entity(ref, {}, ("t",), 1, 1) for ref in refs])
    await store.upsert_relations([Relation(key, ("t",), 1.0, 1, 1, None) for key in keys])
    assert await store.touch(refs, keys, 2) == []
    await store.expire([], keys[:1] + keys[3:], 3)
    if forgetting != "neither":
        await store.compact(4, 99)
    if forgetting == "vacuum":
        await store.vacuum()
    await store.upsert_relations([Relation(keys[4], ("t",), 1.0, 5, 5, None)])
    assert await store.touch(refs[:1], keys, 6) == [keys[0], keys[3]]
    held = await store.snapshot()
    await store.close()
    assert {relation.key: relation.last_seen for relation in held.relations} == dict.fromkeys([keys[1], keys[2], keys[4]], 6)
