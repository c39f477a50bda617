"""Looking before importing, undoing after, and what is exported comes back as it was."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xeno.cli.main import main
from xeno.data.exporting import KINDS, export, export_all
from xeno.data.importing import ImportStoppedError, import_file, preview
from xeno.data.imports import Imports
from xeno.errors import InvalidValueError, StorageFullError
from xeno.events import ChatMessage
from xeno.paths import Home
from xeno.personalization.engine import PersonalizationEngine
from xeno.personalization.memory import ContextualMemory
from xeno.store.conversations import Conversations
from xeno.store.examples import Examples, new_example
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import Profile, open_profile

GOOD = {"prompt": "Why is the sky blue?", "chosen": "Light scatters.", "rejected": "It is paint."}
KTO = {"prompt": "q", "completion": "a", "label": True}
TABLES = ("pairs", "examples", "intent_examples", "conversations", "preferences", "memories")


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(*values: Any, name: str = "file.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(value) + "\n" for value in values))
        return path

    return write


def rows(profile: Profile) -> dict[str, int]:
    return {t: profile.db.read(f"SELECT count(*) AS n FROM {t}")[0]["n"] for t in TABLES}


EVERYTHING: list[Any] = [
    GOOD,
    KTO,
    {"instruction": "do", "output": "done"},
    {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    {"text": "hello there", "intent": "greet"},
    {"title": "T", "messages": [{"role": "user", "content": "q"}]},
    {"preference": "tone", "value": "formal"},
    {"memory": "fact", "topic": "work", "name": "language", "content": "Python"},
    {"nothing": "known"},
]


# Looking first ----------------------------------------------------------------------------


def test_a_preview_shows_what_would_be_stored_and_stores_nothing(
    profile: Profile, file: Callable[..., Path]
) -> None:
    before = rows(profile)
    shown = preview(profile, file(*EVERYTHING))
    assert rows(profile) == before
    assert [row.kind for row in shown.rows] == [
        *("pair", "unpaired", "instruction", "chat", "intent", "conversation", "preference"),
        "memory",
    ]
    assert [row.line for row in shown.rows] == list(range(1, 9))
    assert not any(row.known for row in shown.rows)
    assert [(line.line, "no known form" in line.reason) for line in shown.rejected] == [(9, True)]
    assert (shown.format, shown.records, shown.complete) == ("JSON", 9, True)
    import_file(profile, file(*EVERYTHING))
    assert all(row.known for row in preview(profile, file(*EVERYTHING)).rows)


def test_a_preview_of_a_long_file_looks_at_its_beginning(
    profile: Profile, file: Callable[..., Path]
) -> None:
    shown = preview(profile, file(*(GOOD | {"prompt": str(n)} for n in range(3000))), rows=3)
    assert (len(shown.rows), shown.records, shown.complete) == (3, 500, False)


# Undoing ----------------------------------------------------------------------------------


def test_an_import_is_listed_and_undone_to_the_last_row(
    profile: Profile, file: Callable[..., Path]
) -> None:
    import_file(profile, file(GOOD, name="first.jsonl"))
    before = rows(profile)
    report = import_file(profile, file(*EVERYTHING))
    assert (report.imported, report.duplicates, report.rejected_count) == (7, 1, 1)
    assert report.import_id is not None
    listed = Imports(profile.db).all()
    assert [each.file for each in listed] == ["file.jsonl", "first.jsonl"]
    assert dict(listed[0].counts) == dict(report.counts)
    done = Imports(profile.db).undo(report.import_id)
    assert (done.removed, done.deactivated, done.kept) == (7, 0, 0)
    assert rows(profile) == before
    assert Imports(profile.db).get(report.import_id).undone is not None
    with pytest.raises(InvalidValueError, match="undone already"):
        Imports(profile.db).undo(report.import_id)
    assert import_file(profile, file(*EVERYTHING)).imported == 7


def test_a_pair_that_taught_a_version_is_switched_off_instead(
    profile: Profile, file: Callable[..., Path]
) -> None:
    report = import_file(profile, file(GOOD, GOOD | {"prompt": "x"}))
    assert report.import_id is not None
    used = Pairs(profile.db).all()[0]
    with profile.db.transaction() as connection:
        connection.execute(
            "INSERT INTO versions (model, number, major, minor, patch, address, base_hash, state, "
            "created, bytes, manifest, manifest_hash, signature) "
            "VALUES ('assistant', 1, 1, 0, 0, 'a', 'b', 'checked', 0, 0, '{}', '', '')"
        )
        connection.execute("INSERT INTO version_pairs VALUES ('a', ?)", (used.id,))
    done = Imports(profile.db).undo(report.import_id)
    assert (done.removed, done.deactivated) == (1, 1)
    (left,) = Pairs(profile.db).all()
    assert (left.id, left.active) == (used.id, False)


def test_what_the_user_went_on_with_after_an_import_stays(
    profile: Profile, file: Callable[..., Path]
) -> None:
    report = import_file(profile, file(*EVERYTHING))
    assert report.import_id is not None
    time.sleep(0.01)
    conversations = Conversations(profile.db)
    conversations.add_message(conversations.all()[0].id, "user", "And now?")
    PersonalizationEngine(profile=profile).update_preference("tone", "humorous")
    ContextualMemory(profile=profile).store_fact("work", "language", "Rust")
    assert Imports(profile.db).undo(report.import_id).kept == 1
    assert len(conversations.messages(conversations.all()[0].id)) == 2
    assert PersonalizationEngine(profile=profile).preferences.tone == "humorous"
    assert ContextualMemory(profile=profile).retrieve_fact("work", "language") == "Rust"


def test_an_import_that_brings_nothing_is_not_listed(
    profile: Profile, file: Callable[..., Path]
) -> None:
    import_file(profile, file(GOOD))
    report = import_file(profile, file(GOOD, {"a": 1}))
    assert (report.imported, report.duplicates, report.import_id) == (0, 1, None)
    assert len(Imports(profile.db).all()) == 1


def test_an_import_stops_when_it_is_told_and_leaves_nothing(
    profile: Profile, file: Callable[..., Path]
) -> None:
    path, asked = file(*(GOOD | {"prompt": str(n)} for n in range(1000))), iter([False, False])
    with pytest.raises(ImportStoppedError):
        import_file(profile, path, stop=lambda: next(asked, True))
    assert rows(profile)["pairs"] == 0
    assert Imports(profile.db).all() == []


# There and back ---------------------------------------------------------------------------

plain = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
awkward = st.sampled_from(['[{"role": "user", "content": "x"}]', "\n\nHuman: a", "true", "5"])
text = (plain | awkward).filter(str.strip)
prompts = st.tuples(st.booleans(), text, st.lists(st.tuples(text, text), max_size=2), text).map(
    lambda parts: tuple(
        ChatMessage(role=role, content=content)  # type: ignore[arg-type]
        for role, content in [
            *([("system", parts[1])] if parts[0] else []),
            *(t for q, a in parts[2] for t in (("user", q), ("assistant", a))),
            ("user", parts[3]),
        ]
    )
)
endings = st.sampled_from(
    [".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz", ".json.zst", ".csv.gz"]
)
few = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@contextmanager
def emptied(profile: Profile) -> Iterator[None]:
    """What was there goes out; what comes in is asked for inside."""
    with profile.db.transaction() as connection:
        for table in ("import_rows", "imports", *TABLES):
            connection.execute(f"DELETE FROM {table}")
    yield


@few
@given(
    st.lists(
        st.tuples(prompts, text, text, st.floats(0, 100), st.booleans()), min_size=1, max_size=5
    ),
    endings,
)
def test_pairs_come_back_as_they_were(
    profile: Profile, tmp_path: Path, given_: list[Any], ending: str
) -> None:
    pairs = Pairs(profile.db)
    with emptied(profile):
        for prompt, chosen, rejected, weight, active in given_:
            if chosen.strip() == rejected.strip():
                rejected += "!"
            pair = new_pair(
                *("default", prompt, chosen, rejected),
                feedback_type="choice",
                confidence=0.5,
                quality=0.5,
                weight=weight,
            )
            if pairs.add(pair):
                pairs.set_active(pair.id, active)
    kept = [(p.prompt, p.chosen, p.rejected, p.weight, p.active, p.group_id) for p in pairs.all()]
    path = tmp_path / f"pairs{ending}"
    assert export(profile, "pairs", path).rows == len(kept)
    with emptied(profile):
        report = import_file(profile, path)
    assert report.rejected == ()
    back = pairs.all()
    assert [(p.prompt, p.chosen, p.rejected, p.weight, p.active, p.group_id) for p in back] == kept


@few
@given(
    st.sampled_from([("instruction", None), ("unpaired", "good"), ("unpaired", "bad")])
    | st.just(("chat", None)),
    st.lists(st.tuples(prompts, text, text, st.booleans()), min_size=1, max_size=5),
    endings,
)
def test_examples_come_back_as_they_were(
    profile: Profile, tmp_path: Path, kind: Any, given_: list[Any], ending: str
) -> None:
    examples = Examples(profile.db)
    with emptied(profile):
        for prompt, reply, source, active in given_:
            examples.add(new_example(kind[0], prompt, reply, kind[1], source=source, active=active))
    kept = [(e.fingerprint, e.source, e.active) for e in examples.all()]
    what = {"instruction": "instructions", "chat": "chats"}.get(kind[0], "unpaired")
    path = tmp_path / f"{what}{ending}"
    export(profile, what, path)
    with emptied(profile):
        assert import_file(profile, path).rejected == ()
    assert [(e.fingerprint, e.source, e.active) for e in examples.all()] == kept


@few
@given(st.lists(st.tuples(text, text), min_size=1, max_size=5), endings)
def test_intents_come_back_as_they_were(
    profile: Profile, tmp_path: Path, given_: list[Any], ending: str
) -> None:
    def stored() -> list[tuple[str, str]]:
        found = profile.db.read("SELECT input, intent FROM intent_examples ORDER BY id")
        return [(row["input"], row["intent"]) for row in found]

    wanted = {said: " ".join(intent.split()) for said, intent in given_ if intent.split()}
    with emptied(profile), profile.db.transaction() as connection:
        connection.executemany(
            "INSERT INTO intent_examples (input, intent, created) VALUES (?, ?, 0)", wanted.items()
        )
    path = tmp_path / f"intents{ending}"
    export(profile, "intents", path)
    with emptied(profile):
        assert import_file(profile, path).rejected == ()
    assert stored() == list(wanted.items())


@few
@given(
    text,
    st.lists(st.tuples(text, text, st.none() | text), min_size=1, max_size=3),
    st.sampled_from([".jsonl", ".json", ".csv", ".parquet", ".jsonl.zst"]),
)
def test_conversations_come_back_as_they_were(
    profile: Profile, tmp_path: Path, title: str, said: list[Any], ending: str
) -> None:
    conversations = Conversations(profile.db)

    def stored() -> list[Any]:
        (kept,) = conversations.all()
        messages = conversations.messages(kept.id)
        return [
            (kept.title, kept.created),
            *((m.role, m.content, m.created, m.system_prompt) for m in messages),
        ]

    with emptied(profile):
        made = conversations.create(title.strip())
        for asked, answered, system in said:
            conversations.add_message(made.id, "user", asked)
            conversations.add_message(made.id, "assistant", answered, system_prompt=system)
    kept = stored()
    path = tmp_path / f"conversations{ending}"
    export(profile, "conversations", path)
    with emptied(profile):
        assert import_file(profile, path).rejected == ()
    assert stored() == kept


json_values = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


@few
@given(json_values, text, st.lists(text, min_size=1, max_size=3), endings)
def test_memories_and_preferences_come_back_as_they_were(
    profile: Profile, tmp_path: Path, value: Any, description: str, steps: list[str], ending: str
) -> None:
    memory, engine = ContextualMemory(profile=profile), PersonalizationEngine(profile=profile)

    def stored() -> list[Any]:
        found = memory.all(limit=10)
        return sorted(
            [
                (m.kind, m.topic, m.name, json.dumps(m.content), json.dumps(m.context), m.created)
                for m in found
            ]
        )

    with emptied(profile):
        memory.store_fact("work", "value", value, importance=0.25)
        memory.store_episode("meeting", description, {"where": description})
        memory.store_workflow("morning", steps)
        engine.update_preference("expertise_level.python", "expert")
    kept = stored()
    for what in ("memories", "preferences"):
        export(profile, what, tmp_path / f"{what}{ending}")
    with emptied(profile):
        for what in ("memories", "preferences"):
            assert import_file(profile, tmp_path / f"{what}{ending}").rejected == ()
    assert stored() == kept
    assert dict(engine.preferences.expertise) == {"python": "expert"}


def test_everything_is_exported_at_once_and_brought_back(
    profile: Profile, home: Home, file: Callable[..., Path], tmp_path: Path
) -> None:
    import_file(profile, file(*EVERYTHING))
    reports = export_all(profile, tmp_path / "out")
    assert [r.what for r in reports] == list(KINDS)
    assert all(r.rows == 1 for r in reports)
    if os.name == "posix":
        assert {stat.S_IMODE(r.path.stat().st_mode) for r in reports} == {0o600}
    with open_profile(home, "other") as other:
        for report in reports:
            assert import_file(other, report.path).imported == 1
        assert rows(other) == rows(profile)


@pytest.mark.parametrize("name", ["a", "a.txt", "a.parquet.gz", "a.gz"])
def test_an_export_needs_a_name_that_says_its_format(
    profile: Profile, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InvalidValueError, match="does not say how"):
        export(profile, "pairs", tmp_path / name)
    with pytest.raises(InvalidValueError, match="nothing called"):
        export(profile, "secrets", tmp_path / "a.jsonl")


def test_an_export_that_cannot_be_written_leaves_what_was_there(
    profile: Profile, file: Callable[..., Path], tmp_path: Path
) -> None:
    import_file(profile, file(*(GOOD | {"prompt": str(n)} for n in range(1200))))
    path = tmp_path / "out.jsonl"
    path.write_text("before")

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(profile, "pairs", path, progress=stop)
    assert path.read_text() == "before"
    assert sorted(p.name for p in tmp_path.glob("*out*")) == ["out.jsonl"]
    with pytest.raises(StorageFullError):
        export(profile, "pairs", tmp_path / "none" / "out.jsonl")


# The command line -------------------------------------------------------------------------


def test_the_command_line_previews_imports_lists_undoes_and_exports(
    home: Home, file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str, status: int = 0) -> dict[str, Any]:
        assert main([*arguments, "--json"]) == status
        found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    path = tmp_path / "a.csv"
    path.write_text("frage,gut,schlecht\nq,c,r\n")
    assert said("import", str(path), status=1)["imported"] == 0
    mapping = "prompt=frage,chosen=gut,rejected=schlecht"
    shown = said("import", str(path), "--preview", "--map", mapping)
    assert shown["rows"][0] | {"known": None} == {
        "line": 2,
        "kind": "pair",
        "known": None,
        "prompt": "q",
        "reply": "c",
        "beside": "rejected: r",
    }
    report = said("import", str(path), "--map", mapping)
    assert (report["imported"], report["pairs_ready"]) == (1, 1)
    assert said("export", "pairs", str(tmp_path / "out.parquet"))["files"][0]["rows"] == 1
    assert said("export", "all", str(tmp_path / "all"), "--format", "csv.gz")["files"]
    assert said("import", "--undo", str(report["import"]))["removed"] == 1
    assert [each["undone"] is not None for each in said("import", "--list")["imports"]] == [True]
    assert "import" in said("import", str(tmp_path / "out.parquet"))
    assert "error" in said("import", status=2)
    assert main(["import", str(path), "--preview"]) == 0
    assert "as you said" not in capsys.readouterr().err
