"""`whence store`: moved, checked and migrated from the command line."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from api.cli import main
from graph.sqlite_schema import MIGRATIONS
from graph.sqlite_store import SqliteGraphStore
from graph.topology import Entity, Relation, RelationKey
from schema.identity import EntityRef

LAYOUT_1 = Path(__file__).parent.parent / "graph" / "golden" / "sqlite_layout_1.sql"
DAY = 86_400_000_000_000
A, B = EntityRef("service", "c", "shop", "a"), EntityRef("service", "c", "shop", "b")
Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Said:
    def run(*words: object) -> tuple[int, str, str]:
        code = main(["store", *map(str, words)])
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    async def fill() -> None:
        store = SqliteGraphStore(tmp_path / "one" / "whence.db")
        await store.ensure_schema()
        await store.upsert_entities([Entity(ref, {"version": "1"}, ("t",), DAY, DAY) for ref in (A, B)])
        await store.upsert_relations([Relation(RelationKey(A, "calls", B), ("t",), 0.9, DAY, DAY, None)])
        await store.upsert_entities([Entity(A, {"version": "2"}, ("t",), DAY, 50 * DAY)])
        await store.save_state("belief", b"\x00")
        await store.close()

    asyncio.run(fill())
    return tmp_path / "one"


def test_an_export_imports_into_an_empty_store_and_leaves_as_the_same_lines(say: Said, filled: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    assert say("export", one, "--data-dir", filled)[0] == 0
    assert say("import", one, "--data-dir", tmp_path / "two")[0] == 0
    assert say("export", two, "--data-dir", tmp_path / "two")[0] == 0
    assert one.read_bytes() == two.read_bytes()
    assert len(one.read_text().splitlines()) == 1 + 3 + 1 + 4 + 1
    assert say("check", "--data-dir", tmp_path / "two") == (
        0,
        "Nothing is lost or doubled: 4 changes, 3 entity intervals, 1 relation intervals, 2 saved states.\n",
        "",
    )


def test_an_import_into_a_store_that_is_used_is_refused(say: Said, filled: Path, tmp_path: Path) -> None:
    say("export", tmp_path / "one.jsonl", "--data-dir", filled)
    code, _, told = say("import", tmp_path / "one.jsonl", "--data-dir", filled)
    assert (code, "The store is not empty" in told) == (2, True)


def test_an_import_that_was_cut_short_can_be_run_again(say: Said, filled: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "one.jsonl", tmp_path / "cut.jsonl"
    say("export", whole, "--data-dir", filled)
    lines = whole.read_bytes().splitlines(keepends=True)
    cut.write_bytes(b"".join(lines[:4]) + b'{"entity":')
    code, _, told = say("import", cut, "--data-dir", tmp_path / "two")
    assert (code, f"{cut}:5: it is no record of a store" in told) == (2, True)
    assert say("import", whole, "--data-dir", tmp_path / "two")[0] == 0
    assert say("check", "--data-dir", tmp_path / "two")[0] == 0


def test_what_is_no_export_is_refused(say: Said, tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"resourceSpans":[]}\n')
    code, _, told = say("import", tmp_path / "x", "--data-dir", tmp_path / "two")
    assert (code, "it is no export of a store" in told) == (2, True)


def test_info_tells_how_much_there_is(say: Said, filled: Path) -> None:
    found = json.loads(say("info", "--data-dir", filled, "--json")[1])
    assert (found["entities"], found["relations"], found["layout"], found["open_incidents"]) == (2, 1, len(MIGRATIONS), 0)
    assert found["latest_sighting"] == "1970-02-20T00:00:00Z"
    assert found["bytes"] > 0


def test_a_store_that_is_not_there_is_one_clear_line(say: Said, tmp_path: Path) -> None:
    code, _, told = say("info", "--data-dir", tmp_path)
    assert (code, "There is no store at" in told, (tmp_path / "whence.db").exists()) == (2, True, False)


def test_check_names_what_is_wrong_and_exits_1(say: Said, filled: Path) -> None:
    database = sqlite3.connect(filled / "whence.db")
    database.execute("delete from structure_change where event = 'relation_appeared'")
    database.commit()
    database.close()
    code, told, _ = say("check", "--data-dir", filled)
    assert code == 1
    assert "service:c/shop/a calls service:c/shop/b: the interval that begins at" in told


def test_vacuum_forgets_what_ended_before_the_retention(say: Said, filled: Path) -> None:
    assert json.loads(say("vacuum", "--data-dir", filled, "--retention-days", 0, "--json")[1])["forgotten_intervals"] == 0
    database = sqlite3.connect(filled / "whence.db")
    database.execute("update entity_interval set last_seen = ? where closed is null", (90 * DAY,))
    database.commit()
    database.close()
    assert json.loads(say("vacuum", "--data-dir", filled, "--json")[1])["forgotten_intervals"] == 1
    assert say("check", "--data-dir", filled)[0] == 0


def test_a_dry_run_tells_what_would_migrate_and_touches_nothing(say: Said, tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "whence.db")
    database.executescript(LAYOUT_1.read_text(encoding="utf-8"))
    database.close()
    before = (tmp_path / "whence.db").read_bytes()
    assert json.loads(say("migrate", "--dry-run", "--data-dir", tmp_path, "--json")[1]) == {"layout": 1, "pending": list(range(2, len(MIGRATIONS) + 1))}
    assert (tmp_path / "whence.db").read_bytes() == before
    assert say("migrate", "--data-dir", tmp_path)[0] == 0
    assert json.loads(say("migrate", "--dry-run", "--data-dir", tmp_path, "--json")[1]) == {"layout": len(MIGRATIONS), "pending": []}
    assert say("check", "--data-dir", tmp_path)[0] == 0
