"""What `whence knowledge` does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path

from rich.text import Text

from api.doctor_knowledge import render_examples
from api.render import say
from api.terminal import CommandError, print_json, stdout_console, write_line
from reasoning.examples import run_example
from schema.json_schema import json_schema_text
from schema.knowledge import CausalKnowledge, KindKnowledge, Strength
from schema.knowledge_pages import kind_page, pages, strength_text
from schema.linter import count_numbers, lint
from schema.loader import CausalModelError, load_knowledge


def list_kinds(directory: Path | None, *, as_json: bool) -> None:
    """Raises CommandError, as all commands here."""
    knowledge = _load(directory)
    rows = [(kind, count_numbers(kind, knowledge)) for kind in knowledge.kinds.values()]
    if as_json:
        listed = [
            {"kind": kind.kind, "conditions": list(kind.conditions), "defects": list(kind.defects), "numbers": numbers.total, "guesses": numbers.guesses}
            for kind, numbers in rows
        ]
        print_json({"knowledge": knowledge.version, "kinds": listed, "overrides": [flat(each) for each in knowledge.overrides]})
        return
    console = stdout_console()
    for kind, numbers in rows:
        say(console, Text(kind.kind, style="bold"))
        say(
            console,
            f"  {', '.join(kind.defects) or 'no defects of its own'}; {len(kind.conditions)} conditions, {numbers.guesses} of {numbers.total} numbers guessed",
        )
    say(console, f"Knowledge {knowledge.version}: {len(rows)} kinds, {len(knowledge.overrides)} overrides.")


def show(target: str, directory: Path | None, *, as_json: bool) -> None:
    """A kind, or one of its defects."""
    knowledge = _load(directory)
    name, _, defect = target.partition(".")
    kind = knowledge.kinds.get(name)
    if kind is None:
        raise CommandError(f"No rules describe the kind {name!r}. There are: {', '.join(knowledge.kinds)}.", code=1)
    if defect and defect not in kind.defects:
        raise CommandError(f"{name} has no defect {defect!r}. It has: {', '.join(kind.defects) or 'none'}.", code=1)
    if as_json:
        start = f"{name}.defects.{defect}." if defect else f"{name}."
        print_json({key: value for key, value in rules(knowledge).items() if key.startswith(start) or (defect and key.startswith(f"{name}.{defect} -> "))})
        return
    write_line(_without_picture(_section(kind_page(kind, knowledge), kind, defect)).encode())


def test(directory: Path | None, *, as_json: bool) -> bool:
    """Whether all examples hold and nothing must be mended."""
    knowledge = _load(directory)
    results = [(example, run_example(knowledge, example)) for example in knowledge.examples]
    complaints = lint(knowledge)
    well = all(result.passed for _, result in results) and not any(each.is_fault for each in complaints)
    if as_json:
        examples = [{"name": each.name, "location": each.location, "passed": result.passed, "detail": result.detail} for each, result in results]
        told = [{"doubt": each.doubt.value, "about": each.about, "text": each.text, "fault": each.is_fault} for each in complaints]
        print_json({"knowledge": knowledge.version, "passed": well, "examples": examples, "complaints": told})
        return well
    console = stdout_console()
    for each in complaints:
        say(console, f"{'fault' if each.is_fault else 'note'}: {each.doubt.value}: {each.about}. {each.text}")
    numbers = [count_numbers(kind, knowledge) for kind in knowledge.kinds.values()]
    say(console, f"{sum(each.guesses for each in numbers)} of {sum(each.total for each in numbers)} numbers are guesses.")
    render_examples(console, knowledge.version, results)
    return well


def diff(other: Path, directory: Path | None, *, as_json: bool) -> None:
    """Rules that are new, gone or different there."""
    before, after = rules(_load(directory)), rules(_load(other))
    changes = [(key, before.get(key), after.get(key)) for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    if as_json:
        print_json([{"rule": key, "before": old, "after": new} for key, old, new in changes])
        return
    console = stdout_console()
    for key, old, new in changes:
        say(console, f"+ {key}: {new}" if old is None else f"- {key}: {old}" if new is None else f"~ {key}: {old} -> {new}")
    say(console, f"{len(changes)} differences.")


def schema() -> None:
    """The JSON Schema on stdout."""
    write_line(json_schema_text().rstrip("\n").encode())


def docs(directory: Path, knowledge: Path | None) -> None:
    """Pages and schema.json."""
    texts = pages(_load(knowledge)) | {"schema.json": json_schema_text()}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{directory}: the pages can't be written: {error.strerror}.") from error
    write_line(f"{len(texts)} files are in {directory}.".encode())


def rules(knowledge: CausalKnowledge) -> dict[str, str]:
    """Every rule as one line of text under a name that says where it belongs; worked examples by their name alone."""
    found: dict[str, str] = {}
    for kind in knowledge.kinds.values():
        found |= {f"{kind.kind}.{key}": value for key, value in (("source", kind.source), ("owner", kind.owner)) if value}
        for part, named in (("conditions", kind.conditions.values()), ("defects", kind.defects.values())):
            for described in named:
                found |= {f"{kind.kind}.{part}.{described.name}.{key}": value for key, value in flat(described).items() if key != "name"}
        found |= {f"{kind.kind}.{link.cause} -> {link.effect}": f"{link.strength:g}" for link in kind.links}
    for rule in knowledge.propagation:
        key = f"{rule.from_kind}.{rule.cause} -> {rule.to_kind}.{rule.effect} over {rule.relation} toward {rule.toward.value}"
        found[key] = strength_text(rule.strength)
    found |= {f"test: {each.name}": f"{dict(each.symptoms) or dict(each.findings)} {each.first}".strip() for each in knowledge.examples}
    found |= {f"override {number}": str(flat(each)) for number, each in enumerate(knowledge.overrides, 1)}
    return found


def flat(value: object) -> dict[str, str]:
    """The fields of a value as texts, empty ones left out."""
    assert is_dataclass(value)
    pairs = ((field.name, getattr(value, field.name)) for field in fields(value))
    return {name: _text(content) for name, content in pairs if content not in ("", {}, ())}


def _text(content: object) -> str:
    if isinstance(content, Strength):
        return strength_text(content)
    if isinstance(content, tuple):
        return "; ".join(_text(each) for each in content)
    if is_dataclass(content):
        return ", ".join(f"{name} {text}" for name, text in flat(content).items())
    return f"{content:g}" if isinstance(content, float) else str(content)


def _section(page: str, kind: KindKnowledge, defect: str) -> str:
    if not defect:
        return page
    parts: Iterable[str] = page.split("\n## ")
    told = next(part for part in parts if part.startswith(f"Defect: {defect}\n"))
    return f"# {kind.kind}.{told.removeprefix('Defect: ').rstrip()}" + (f"\n- usual owner: {kind.owner}" if kind.owner else "")


def _without_picture(page: str) -> str:
    before, fence, after = page.partition("```mermaid\n")
    lines = (before.rstrip() + after.partition("\n```")[2] if fence else page).rstrip("\n").split("\n")
    return "\n".join(line for line in lines if not line.startswith("<!--"))


def _load(directory: Path | None) -> CausalKnowledge:
    try:
        return load_knowledge(directory)
    except CausalModelError as error:
        raise CommandError(str(error)) from error
