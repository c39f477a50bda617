"""Every format comes in without being told, and nothing a file holds can do harm."""

from __future__ import annotations

import csv
import gzip
import io
import json
import resource
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xeno.data import forms
from xeno.data.forms import ExampleRow, IntentRow
from xeno.data.histories import History
from xeno.data.importing import ImportReport, import_file, preview
from xeno.data.mapping import FIELDS, Mappings, guessed, mapped, parse
from xeno.data.records import RECORD_BYTES, HeadReader, records
from xeno.data.rows import PreferenceRow
from xeno.data.tables import csv_rows
from xeno.errors import InvalidValueError
from xeno.store.conversations import Conversations
from xeno.store.examples import Examples
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile

GOOD = {"prompt": "Why is the sky blue?", "chosen": "Light scatters.", "rejected": "It is paint."}


def zstandard(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return file.getvalue()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def write(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


Write = Callable[[str, bytes], Path]


def jsonl(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


# Real files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "counts", "duplicates"),
    [
        ("preferences/oasst_en100_human.jsonl", {"pair": 732}, 0),
        ("preferences/truthfulqa_best.jsonl", {"pair": 790}, 0),
        ("preferences/llamafactory_dpo_en_demo.json", {"pair": 295}, 5),
        ("preferences/llamafactory_kto_en_demo.json", {"unpaired": 300}, 0),
        ("sft/alpaca_en_demo.json", {"instruction": 985}, 14),
        ("intents/banking77_train.csv", {"intent": 10003}, 0),
        ("intents/banking77_test.csv", {"intent": 3080}, 0),
        ("intents/clinc150_data_full.json", {"intent": 23695}, 5),
    ],
)
def test_real_files_come_in_whole_without_a_flag(
    profile: Profile, shared_data: Path, name: str, counts: dict[str, int], duplicates: int
) -> None:
    report = import_file(profile, shared_data / name)
    assert (dict(report.counts), report.duplicates) == (counts, duplicates)
    assert report.rejected == ()


def test_the_fields_of_real_files_are_right(profile: Profile, shared_data: Path) -> None:
    import_file(profile, shared_data / "sft/alpaca_en_demo.json")
    given = json.loads((shared_data / "sft/alpaca_en_demo.json").read_text(encoding="utf-8"))
    stored = Examples(profile.db).all("instruction")
    said = {(e.prompt[-1].content, e.reply) for e in stored}
    assert said == {
        ("\n\n".join(t for t in (g["instruction"], g["input"]) if t.strip()), g["output"])
        for g in given
    }
    import_file(profile, shared_data / "preferences/llamafactory_kto_en_demo.json")
    labels = [example.label for example in Examples(profile.db).all("unpaired")]
    assert (labels.count("good"), labels.count("bad")) == (150, 150)
    import_file(profile, shared_data / "intents/clinc150_data_full.json")
    found = profile.db.read("SELECT intent, count(*) AS n FROM intent_examples GROUP BY intent")
    counts = {row["intent"]: row["n"] for row in found}
    assert len(counts) == 151
    assert counts["unknown"] == 1200


# Forms ------------------------------------------------------------------------------------

ASKED, SAID = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    ("record", "form", "kind", "label"),
    [
        ({"instruction": "q", "output": "a"}, "Alpaca", "instruction", None),
        ({"instruction": "q", "input": "", "output": "a"}, "Alpaca", "instruction", None),
        ({"prompt": "q", "completion": "a"}, "instruction", "instruction", None),
        ({"prompt": [ASKED], "completion": [SAID]}, "instruction", "instruction", None),
        ({"prompt": "q", "response": "a"}, "instruction", "instruction", None),
        ({"messages": [ASKED, SAID]}, "chat", "chat", None),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            "chat",
            "chat",
            None,
        ),
        ({"prompt": "q", "completion": "a", "label": True}, "unpaired", "unpaired", "good"),
        ({"prompt": "q", "completion": "a", "label": "false"}, "unpaired", "unpaired", "bad"),
        ({"messages": [ASKED, SAID], "label": 0}, "unpaired", "unpaired", "bad"),
        ({"messages": [ASKED, SAID], "kto_tag": True}, "unpaired", "unpaired", "good"),
    ],
)
def test_examples_are_recognised(
    record: dict[str, Any], form: str, kind: str, label: str | None
) -> None:
    name, (item,) = forms.read(record)
    assert isinstance(item, ExampleRow)
    assert (name, item.kind, item.label, item.reply) == (form, kind, label, "a")
    assert [turn.content for turn in item.prompt] == ["q"]


def test_alpaca_puts_the_input_under_the_instruction_and_earlier_rounds_before_it() -> None:
    record = {
        "instruction": "Shorten this.",
        "input": "A long text.",
        "output": "Text.",
        "system": "Be brief.",
        "history": [["Hello", "Hi"]],
    }
    _, (item,) = forms.read(record)
    assert isinstance(item, ExampleRow)
    assert [(turn.role, turn.content) for turn in item.prompt] == [
        ("system", "Be brief."),
        ("user", "Hello"),
        ("assistant", "Hi"),
        ("user", "Shorten this.\n\nA long text."),
    ]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"a": 1}, "of no known form (a)"),
        ({"prompt": "q", "completion": ""}, "the reply is empty"),
        ({"messages": [ASKED]}, "does not end with a reply"),
        ({"prompt": "q", "completion": "a", "label": "maybe"}, "neither true nor false"),
        ({"text": "t", "intent": " "}, "empty"),
        (["one"], "not a text and its intent"),
        ("text", "not an object"),
    ],
)
def test_what_is_incomplete_says_what_it_lacks(record: object, reason: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        forms.read(record)
    assert reason in caught.value.what


def test_an_intent_outside_of_everything_is_unknown() -> None:
    _, (item,) = forms.read({"text": "t", "label": "oos"})
    assert isinstance(item, IntentRow)
    assert (item.intent, item.fields["label"]) == ("unknown", "oos")


# Histories of other programs --------------------------------------------------------------


def node(name: str, parent: str | None, role: str | None, text: str = "", **more: Any) -> Any:
    message = role and {
        "author": {"role": role},
        "content": {"content_type": "text", "parts": [text]},
        "create_time": 1700000000.0 + len(name),
        **more,
    }
    return {"id": name, "parent": parent, "children": [], "message": message}


CHATGPT = {
    "title": "Sky",
    "create_time": 1700000000.5,
    "current_node": "e",
    "mapping": {
        "r": node("r", None, None),
        "s": node("s", "r", "system", ""),
        "a": node("a", "s", "user", "Why is the sky blue?"),
        "b": node("b", "a", "assistant", "An abandoned answer."),
        "c": node("c", "a", "assistant", "search()", recipient="browser"),
        "t": node("t", "c", "tool", "result"),
        "d": node("d", "t", "assistant", "Light"),
        "e": node("e", "d", "assistant", "scatters."),
    },
}


def test_a_chatgpt_export_keeps_what_was_shown_last(profile: Profile, write: Write) -> None:
    report = import_file(profile, write("conversations.json", json.dumps([CHATGPT]).encode()))
    assert dict(report.counts) == {"conversation": 1}
    (conversation,) = Conversations(profile.db).all()
    turns = Conversations(profile.db).messages(conversation.id)
    assert (conversation.title, conversation.created) == ("Sky", 1700000000.5)
    assert [(turn.role, turn.content) for turn in turns] == [
        ("user", "Why is the sky blue?"),
        ("assistant", "Light\n\nscatters."),
    ]
    again = import_file(profile, write("again.json", json.dumps([CHATGPT]).encode()))
    assert (again.imported, again.duplicates) == (0, 1)


def test_an_account_export_is_read_in_its_zip(profile: Profile, write: Write) -> None:
    content = json.dumps([CHATGPT]).encode()
    path = write("export.zip", zipped(conversations__json=content, user__json=b"{}", a__txt=b"x"))
    report = import_file(profile, path)
    assert (dict(report.counts), report.format) == ({"conversation": 1}, "JSON, zip")


def test_without_a_current_node_the_newest_branch_counts() -> None:
    record = {key: value for key, value in CHATGPT.items() if key != "current_node"}
    nodes = json.loads(json.dumps(CHATGPT["mapping"]))
    for name, each in nodes.items():
        each["children"] = [other for other in nodes if nodes[other]["parent"] == name]
    nodes["e"]["message"]["create_time"] = 1800000000
    _, (item,) = forms.read(record | {"mapping": nodes})
    assert isinstance(item, History)
    assert item.turns[-1].content == "Light\n\nscatters."


def webui_message(name: str, parent: str | None, role: str, text: str, model: str = "") -> Any:
    return {"id": name, "parentId": parent, "role": role, "content": text, "model": model}


WEBUI_HISTORY = {
    "currentId": "b",
    "messages": {
        "a": webui_message("a", None, "user", "Hello?"),
        "b": webui_message("b", "a", "assistant", "Hi.", "one"),
        "c": webui_message("c", "a", "assistant", "Go away.", "two"),
    },
}


def webui_feedback(rating: object, siblings: list[str] | None) -> dict[str, Any]:
    return {
        "id": "f",
        "type": "rating",
        "data": {"rating": rating, "model_id": "one", "sibling_model_ids": siblings},
        "meta": {"model_id": "one", "message_id": "b", "chat_id": "chat"},
        "snapshot": {"chat": {"title": "T", "chat": {"history": WEBUI_HISTORY}}},
    }


@pytest.mark.parametrize("rating", [1, -1, "1"])
def test_an_open_webui_rating_alone_is_a_rated_reply(rating: object) -> None:
    _, (item,) = forms.read(webui_feedback(rating, None))
    assert isinstance(item, ExampleRow)
    assert (item.kind, item.reply) == ("unpaired", "Hi.")
    assert item.label == ("bad" if rating == -1 else "good")


@pytest.mark.parametrize("rating", [1, -1])
def test_an_open_webui_rating_beside_other_models_is_a_preference(rating: int) -> None:
    _, (item,) = forms.read(webui_feedback(rating, ["two"]))
    assert isinstance(item, PreferenceRow)
    better, worse = ("Hi.", "Go away.") if rating == 1 else ("Go away.", "Hi.")
    assert (item.chosen, item.rejected, item.group) == (better, worse, "chat")
    assert item.prompt[-1].content == "Hello?"


@pytest.mark.parametrize(
    "record",
    [
        {"chat": {"title": "T", "history": WEBUI_HISTORY}},
        {"title": "T", "history": WEBUI_HISTORY},
        {
            "title": "T",
            "history": WEBUI_HISTORY | {"messages": [*WEBUI_HISTORY["messages"].values()]},
        },  # type: ignore[attr-defined]
        {
            "name": "T",
            "chat_messages": [
                {"sender": "human", "text": "Hello?"},
                {"sender": "assistant", "text": "", "content": [{"type": "text", "text": "Hi."}]},
            ],
        },
    ],
)
def test_other_histories_become_conversations(record: dict[str, Any]) -> None:
    _, (item,) = forms.read(record)
    assert isinstance(item, History)
    assert item.title == "T"
    assert [(t.role, t.content) for t in item.turns] == [("user", "Hello?"), ("assistant", "Hi.")]


def test_a_tree_that_runs_in_a_circle_ends() -> None:
    nodes = {"a": node("a", "b", "user", "x"), "b": node("b", "a", "assistant", "y")}
    _, (item,) = forms.read({"mapping": nodes, "current_node": "a"})
    assert isinstance(item, History)
    assert len(item.turns) == 2


# Tables -----------------------------------------------------------------------------------


def test_a_csv_with_known_names_needs_nothing(profile: Profile, write: Write) -> None:
    text = 'prompt,chosen,rejected,group,weight\n"Why,\nhow?",good,bad,g,2.5\nx,y,z,,\n'
    report = import_file(profile, write("a.csv", text.encode()))
    assert dict(report.counts) == {"pair": 2}
    first, second = Pairs(profile.db).all()
    assert (first.prompt[0].content, first.weight, first.group_id) == ("Why,\nhow?", 2.5, "g")
    assert second.metadata["line"] == 4


@pytest.mark.parametrize(("mark", "suffix"), [(";", ".csv"), ("\t", ".tsv"), ("|", ".csv")])
def test_other_delimiters_are_found(profile: Profile, write: Write, mark: str, suffix: str) -> None:
    text = f"\ufeffprompt{mark}completion\nq{mark}a\n"
    assert dict(import_file(profile, write("a" + suffix, text.encode())).counts) == {
        "instruction": 1
    }


def test_a_mapping_is_used_and_remembered(profile: Profile, write: Write) -> None:
    path = write("a.csv", b"frage,gut,schlecht\nq,c,r\n")
    assert import_file(profile, path).rejected[0].line == 2
    said = parse(["prompt=frage,chosen=gut", "rejected=schlecht"])
    assert import_file(profile, path, mapping=said).imported == 1
    other = write("b.csv", b"schlecht,gut,frage\nr2,c2,q2\n")
    report = import_file(profile, other)
    assert (report.imported, dict(report.mapping)) == (1, said)
    assert Pairs(profile.db).all()[-1].chosen == "c2"
    mappings = Mappings(profile.db)
    assert [mapping for _, mapping in mappings.all()] == [said]
    mappings.forget(("frage", "gut", "schlecht"))
    assert import_file(profile, other).imported == 0


def test_names_that_say_enough_are_guessed_and_said(profile: Profile, write: Write) -> None:
    path = write("a.csv", b"Question,Best Answer,Incorrect Answers\nq,a,b\n")
    shown = preview(profile, path)
    assert (shown.guessed, dict(shown.mapping)) == (
        True,
        {"prompt": "Question", "completion": "Best Answer"},
    )
    assert guessed(["question", "good_answer", "bad_answer", "response"]) == {
        "prompt": "question",
        "chosen": "good_answer",
        "rejected": "bad_answer",
    }
    assert guessed(["a", "b"]) == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("colour=x", "no field colour"),
        ("prompt", "says no column"),
        ("prompt=a,chosen=a", "two fields"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidValueError, match=reason):
        parse([text])


def test_a_mapping_to_columns_that_are_not_there_names_those_that_are(
    profile: Profile, write: Write
) -> None:
    with pytest.raises(InvalidValueError, match="it has a, b"):
        import_file(profile, write("a.csv", b"a,b\n1,2\n"), mapping={"prompt": "frage"})


def test_broken_rows_of_a_csv_cost_only_themselves(profile: Profile, write: Write) -> None:
    lines = [
        b"prompt,completion",
        b"q1,a1",
        b"too,many,cells",
        b'q3,"never closed',
        b"q4,a4",
        "q5,Grüße".encode("latin-1"),
        b'"a"b,c',
        b"q7,a7",
    ]
    report = import_file(profile, write("a.csv", b"\n".join(lines)))
    assert [e.reply for e in Examples(profile.db).all()] == ["a1", "a4", "a7"]
    found = {line.line: line.reason for line in report.rejected}
    assert found.keys() == {3, 4, 6, 7}
    assert "3 cells" in found[3]
    assert "UTF-8" in found[6]


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8))
def test_a_csv_is_read_exactly_as_it_was_written(rows: list[tuple[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("text", "title"))
    writer.writerows(rows)
    found = list(csv_rows(HeadReader(io.BytesIO(text.getvalue().encode()))))
    kept = [
        {k: v for k, v in zip(("text", "title"), row, strict=True) if v}
        for row in rows
        if any(cell.strip() for cell in row)
    ]
    assert [row.record for row in found] == kept
    assert not any(row.broken for row in found)


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_break_a_table(content: bytes) -> None:
    try:
        for row in csv_rows(HeadReader(io.BytesIO(content))):
            assert (row.record is None) == bool(row.broken)
    except InvalidValueError as error:
        assert error.why  # noqa: PT017


def test_parquet_comes_in_with_lists_of_messages(profile: Profile, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}]
    table = pa.table(
        {
            "prompt": [turns, turns, None],
            "chosen": ["a", None, "c"],
            "rejected": ["b", "b", "b"],
            "group": ["g", "g", "g"],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    report = import_file(profile, tmp_path / "a.parquet")
    assert (report.imported, report.format) == (1, "Parquet")
    assert {line.line: line.reason for line in report.rejected} == {
        2: "chosen is missing",
        3: "prompt is missing",
    }


def test_a_damaged_parquet_file_is_refused(profile: Profile, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"prompt": ["q"] * 1000, "completion": ["a" * 50] * 1000}), path)
    content = path.read_bytes()
    for damaged in (content[:200], content[:50] + bytes(40) + content[90:], b"PAR1"):
        path.write_bytes(damaged)
        with pytest.raises(InvalidValueError, match="damaged"):
            import_file(profile, path)
    assert Examples(profile.db).count() == 0


# Packed files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pack", "name"),
    [
        (gzip.compress, "gzip"),
        (zstandard, "zstd"),
        (lambda c: gzip.compress(c[:20]) + gzip.compress(c[20:]), "gzip"),
        (lambda c: zstandard(c[:20]) + zstandard(c[20:]), "zstd"),
        (lambda c: zipped(data__jsonl=c), "zip"),
    ],
)
def test_packed_files_are_unpacked_whatever_their_name(
    profile: Profile, write: Write, pack: Callable[[bytes], bytes], name: str
) -> None:
    seen: list[tuple[int, int]] = []
    path = write("file", pack(jsonl(GOOD, GOOD | {"prompt": "x"})))
    report = import_file(profile, path, progress=lambda done, size: seen.append((done, size)))
    assert (report.imported, report.format) == (2, f"JSON, {name}")
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard])
def test_a_packed_file_that_is_cut_off_brings_nothing_in(
    profile: Profile, write: Write, pack: Callable[[bytes], bytes]
) -> None:
    content = pack(jsonl(*(GOOD | {"prompt": f"{n} {hash(str(n))}"} for n in range(2000))))
    with pytest.raises(InvalidValueError, match="damaged"):
        import_file(profile, write("a", content[: len(content) // 2]))
    assert Pairs(profile.db).count() == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(gzip.compress(b"x" * 100)), "compressed twice"),
        (zipped(a__jsonl=b"{}", b__csv=b"a"), "2 files"),
        (zipped(a__txt=b"x"), "0 files"),
        (gzip.compress(b""), "empty"),
        (b"PK\x03\x04 nonsense", "cannot be unpacked"),
    ],
    ids=["twice", "two files", "no file", "empty", "nonsense"],  # packed bytes hold the time
)
def test_packed_files_that_cannot_be_meant_are_refused(
    profile: Profile, write: Write, content: bytes, reason: str
) -> None:
    with pytest.raises(InvalidValueError, match=reason):
        import_file(profile, write("a.gz", content))


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_bomb_is_stopped_before_it_fills_memory(
    profile: Profile, tmp_path: Path, kind: str
) -> None:
    """300 MB in one line, packed in less than one."""
    path = tmp_path / "bomb"
    with path.open("wb") as file:
        packed: Any = (
            gzip.GzipFile(fileobj=file, mode="wb", compresslevel=9)
            if kind == "gzip"
            else pa.CompressedOutputStream(pa.PythonFile(file, mode="w"), "zstd")
        )
        for _ in range(300):
            packed.write(b"x" * 2**20)
        packed.close()
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    with pytest.raises(InvalidValueError, match="times its size"):
        import_file(profile, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * RECORD_BYTES


def test_a_pipe_or_a_device_is_no_file(profile: Profile, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("a\0b")):
        with pytest.raises(InvalidValueError):
            import_file(profile, path)


# Layouts of JSON --------------------------------------------------------------------------


@pytest.mark.parametrize("indent", [None, 2])
def test_an_object_of_lists_is_a_file_of_records(
    profile: Profile, write: Write, indent: int | None
) -> None:
    held = {"version": "1.0", "train": [GOOD], "test": [GOOD | {"prompt": 'b]}"'}], "n": 3}
    path = write("a.json", json.dumps(held, indent=indent).encode())
    assert dict(import_file(profile, path).counts) == {"pair": 2}


@pytest.mark.parametrize("record", [GOOD, {"messages": [ASKED, SAID]}, CHATGPT])
def test_one_record_written_over_several_lines_is_read(
    profile: Profile, write: Write, record: dict[str, Any]
) -> None:
    path = write("a.json", b"\n\n" + json.dumps(record, indent=2).encode())
    assert import_file(profile, path).imported == 1


def test_a_broken_first_line_does_not_swallow_the_rest(profile: Profile, write: Write) -> None:
    content = b'{"prompt": "cut,\n' + jsonl(GOOD, GOOD | {"prompt": "x"})
    report = import_file(profile, write("a.jsonl", content))
    assert (report.imported, [line.line for line in report.rejected]) == (2, [1])


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.text("abcde", min_size=1, max_size=5),
        st.lists(st.dictionaries(texts, texts, min_size=1), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    )
)
def test_the_sections_of_an_object_are_cut_where_json_would_cut_them(
    held: dict[str, list[dict[str, str]]],
) -> None:
    found = list(records(io.BytesIO(json.dumps(held, indent=1).encode())))
    assert [(r.section, json.loads(r.content)) for r in found] == [
        (name, each) for name, several in held.items() for each in several
    ]


# Properties of mappings and forms ---------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
field_names = st.sampled_from(
    [
        *(*FIELDS, "instruction", "output", "mapping", "chat_messages", "history", "chat"),
        *("title", "data", "meta", "snapshot", "memory", "topic", "content", "preference"),
        "value",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(field_names, values | st.dictionaries(texts, values), max_size=6))
def test_no_record_breaks_the_reading(record: dict[str, Any]) -> None:
    try:
        name, items = forms.read(record)
    except InvalidValueError as error:
        assert error.what  # noqa: PT017
    else:
        assert name
        assert items


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.dictionaries(texts, texts, min_size=1), st.data())
def test_a_mapping_only_renames(record: dict[str, str], data: st.DataObject) -> None:
    columns = [c for c in record if c not in FIELDS]
    chosen = data.draw(st.lists(st.sampled_from(columns or ["x"]), unique=True, max_size=3))
    mapping = dict(zip(FIELDS, chosen, strict=False))
    found = mapped(record, mapping)
    for field, column in mapping.items():
        assert found.get(field) == record.get(column)
    assert {k: v for k, v in found.items() if k not in mapping} == {
        k: v for k, v in record.items() if k not in chosen and k not in mapping
    }


def test_a_long_import_does_not_keep_what_it_has_read(profile: Profile, tmp_path: Path) -> None:
    """8 MB of records; the measurement with 1 GB is benchmarks/import_large.py."""
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        for number in range(800):
            file.write(jsonl(GOOD | {"prompt": f"{number} " + "word " * 2000}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    report: ImportReport = import_file(profile, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.imported == 800
    assert peak < 3 * 2**20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 2**10
