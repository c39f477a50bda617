"""Importing preference files: every common form, and everything that can be wrong with one."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xeno.data.importing import ImportReport, import_preferences
from xeno.data.records import RECORD_BYTES, Record, records
from xeno.data.rows import preference_row
from xeno.errors import InvalidValueError
from xeno.events import ChatMessage
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import Profile

GOOD = {"prompt": "Why is the sky blue?", "chosen": "Light scatters.", "rejected": "It is paint."}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes lines (objects become JSON, bytes stay bytes) to a file."""

    def write(*lines: Any, name: str = "file.jsonl") -> Path:
        path = tmp_path / name
        path.write_bytes(
            b"\n".join(x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines)
        )
        return path

    return write


def reasons(report: ImportReport) -> dict[int, str]:
    return {rejected.line: rejected.reason for rejected in report.rejected}


def turns(*said: str) -> list[dict[str, str]]:
    return [
        {"role": "assistant" if number % 2 else "user", "content": text}
        for number, text in enumerate(said)
    ]


# Real files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "imported", "duplicates", "groups"),
    [
        ("oasst_en100_human.jsonl", 732, 0, 95),
        ("truthfulqa_best.jsonl", 790, 0, 790),
        ("llamafactory_dpo_en_demo.json", 295, 5, 295),
    ],
)
def test_real_files_come_in_without_being_told_what_they_are(
    profile: Profile, shared_data: Path, name: str, imported: int, duplicates: int, groups: int
) -> None:
    report = import_preferences(profile, shared_data / "preferences" / name)
    assert (report.imported, report.duplicates, report.rejected) == (imported, duplicates, ())
    assert report.groups == groups
    assert 0.4 < report.longer_chosen < 0.75
    again = import_preferences(profile, shared_data / "preferences" / name)
    assert (again.imported, again.duplicates) == (0, imported + duplicates)
    assert Pairs(profile.db).count() == imported


def test_the_group_of_a_real_file_is_kept(profile: Profile, shared_data: Path) -> None:
    path = shared_data / "preferences" / "oasst_en100_human.jsonl"
    import_preferences(profile, path)
    with path.open(encoding="utf-8") as file:
        groups = [json.loads(line)["group"] for line in file]
    assert [pair.group_id for pair in Pairs(profile.db).all()] == groups


def test_unpaired_feedback_is_refused_with_its_reason(profile: Profile, shared_data: Path) -> None:
    report = import_preferences(profile, shared_data / "preferences/llamafactory_kto_en_demo.json")
    assert (report.imported, report.rejected_count) == (0, 300)
    assert "unpaired" in report.rejected[0].reason


# Forms ------------------------------------------------------------------------------------

CONVERSATION = turns("Hello", "Hi!", "Why is the sky blue?")
FORMS: dict[str, dict[str, Any]] = {
    "texts": {"prompt": CONVERSATION, "chosen": "Good.", "rejected": "Bad."},
    "messages": {
        "prompt": CONVERSATION,
        "chosen": [{"role": "assistant", "content": "Good."}],
        "rejected": [{"role": "assistant", "content": "Bad."}],
    },
    "one message": {
        "prompt": CONVERSATION,
        "chosen": {"role": "assistant", "content": "Good."},
        "rejected": {"role": "assistant", "content": "Bad."},
    },
    "implicit prompt": {
        "chosen": turns("Hello", "Hi!", "Why is the sky blue?", "Good."),
        "rejected": turns("Hello", "Hi!", "Why is the sky blue?", "Bad."),
    },
    "prompt repeated in the replies": {
        "prompt": CONVERSATION,
        "chosen": turns("Hello", "Hi!", "Why is the sky blue?", "Good."),
        "rejected": turns("Hello", "Hi!", "Why is the sky blue?", "Bad."),
    },
    "first question as prompt, whole conversations as replies": {
        "prompt": "Hello",
        "chosen": turns("Hello", "Hi!", "Why is the sky blue?", "Good."),
        "rejected": turns("Hello", "Hi!", "Why is the sky blue?", "Bad."),
    },
    "sharegpt": {
        "conversations": [
            {"from": "human", "value": "Hello"},
            {"from": "gpt", "value": "Hi!"},
            {"from": "human", "value": "Why is the sky blue?"},
        ],
        "chosen": {"from": "gpt", "value": "Good."},
        "rejected": {"from": "gpt", "value": "Bad."},
    },
    "transcripts": {
        "chosen": "\n\nHuman: Hello\n\nAssistant: Hi!\n\nHuman: Why is the sky blue?"
        "\n\nAssistant: Good.",
        "rejected": "\n\nHuman: Hello\n\nAssistant: Hi!\n\nHuman: Why is the sky blue?"
        "\n\nAssistant: Bad.",
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pair(form: str) -> None:
    row = preference_row(FORMS[form])
    assert [(turn.role, turn.content) for turn in row.prompt] == [
        ("user", "Hello"),
        ("assistant", "Hi!"),
        ("user", "Why is the sky blue?"),
    ]
    assert (row.chosen, row.rejected) == ("Good.", "Bad.")


def test_a_system_turn_group_weight_and_other_fields_are_kept(
    profile: Profile, write: Write
) -> None:
    import_preferences(
        profile, write(GOOD | {"system": "Be brief.", "group": 7, "weight": 2, "source": "me"})
    )
    pair = Pairs(profile.db).all()[0]
    assert [turn.role for turn in pair.prompt] == ["system", "user"]
    assert (pair.group_id, pair.weight, pair.feedback_type) == ("7", 2.0, "import")
    assert pair.metadata == {"file": "file.jsonl", "line": 1, "fields": {"source": "me"}}


def test_without_a_group_pairs_of_the_same_prompt_belong_together(
    profile: Profile, write: Write
) -> None:
    report = import_preferences(
        profile, write(GOOD, GOOD | {"chosen": "Rayleigh."}, GOOD | {"prompt": "Why?"})
    )
    assert (report.imported, report.groups) == (3, 2)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_names_the_lines_of_its_records(
    profile: Profile, write: Write, indent: int | None
) -> None:
    text = json.dumps([GOOD, {"chosen": "x"}, GOOD | {"prompt": '[{\\"'}], indent=indent)
    report = import_preferences(profile, write(text.encode(), name="file.json"))
    assert report.imported == 2
    assert reasons(report) == {1 if indent is None else 7: "rejected is missing"}


def test_a_byte_order_mark_and_windows_lines_are_fine(profile: Profile, write: Write) -> None:
    line = json.dumps(GOOD).encode()
    path = write(b"\xef\xbb\xbf" + line + b"\r", json.dumps(GOOD | {"prompt": "x"}).encode(), b"")
    assert import_preferences(profile, path).imported == 2


# Bad input --------------------------------------------------------------------------------


def test_what_is_good_comes_in_and_what_is_not_is_listed(profile: Profile, write: Write) -> None:
    path = write(
        GOOD,
        b'{"prompt": "cut off',
        {"prompt": "p", "chosen": "c"},
        GOOD | {"chosen": "  "},
        GOOD | {"prompt": "x", "chosen": "same", "rejected": "same "},
        '{"prompt": "Grüße", "chosen": "a", "rejected": "b"}'.encode("latin-1"),
        b"",
        ["not", "an", "object"],
        GOOD | {"prompt": [{"role": "tool", "content": "x"}]},
        GOOD | {"prompt": "w", "weight": -1},
        GOOD | {"prompt": turns("q", "a")},
        {"chosen": "no", "rejected": "prompt"},
        b'{"prompt": "p", "chosen": "\\ud83d", "rejected": "b"}',
        b"[" * 100_000,
        b'{"prompt": "p", "chosen": "a", "rejected": "b", "n": ' + b"9" * 5000 + b"}",
        GOOD | {"prompt": 5},
        GOOD | {"prompt": "w", "weight": float("nan")},
        GOOD | {"prompt": "last"},
    )
    report = import_preferences(profile, path)
    expected = {
        2: "not JSON",
        3: "rejected is missing",
        4: "chosen is empty",
        5: "identical",
        6: "not UTF-8",
        8: "not an object",
        9: "unknown role 'tool'",
        10: "weight",
        11: "does not end with something that the user said",
        12: "prompt is missing",
        13: "Unicode",
        14: "nested too deeply",
        15: "too long",
        16: "neither text nor a list",
        17: "weight",
    }
    found = reasons(report)
    assert found.keys() == expected.keys()
    assert [line for line, reason in expected.items() if reason not in found[line]] == []
    assert (report.imported, report.rejected_count) == (2, len(expected))


@pytest.mark.parametrize("array", [False, True])
def test_a_line_of_50_megabytes_costs_only_itself(
    profile: Profile, tmp_path: Path, array: bool
) -> None:
    path = tmp_path / "large"
    good, other = json.dumps(GOOD).encode(), json.dumps(GOOD | {"prompt": "x"}).encode()
    with path.open("wb") as file:
        file.write((b"[" if array else b"") + good + (b",\n" if array else b"\n"))
        file.write(b'{"prompt": "')
        for _ in range(50):
            file.write(b"x" * 2**20)
        file.write(b'"}' + (b",\n" if array else b"\n") + other + (b"]" if array else b""))
    tracemalloc.start()
    report = import_preferences(profile, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.imported == 2
    assert reasons(report) == {2: "it is longer than 8 MB"}
    assert peak < 4 * RECORD_BYTES


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n\n ", "no records"),
        (b"[ ]", "no records"),
        (json.dumps(GOOD).encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04", "compressed"),
    ],
)
def test_a_file_that_holds_nothing_is_refused(
    profile: Profile, write: Write, content: bytes, reason: str
) -> None:
    with pytest.raises(InvalidValueError, match=reason):
        import_preferences(profile, write(content))


def test_a_folder_and_a_missing_file_are_refused(profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="folder"):
        import_preferences(profile, tmp_path)
    with pytest.raises(InvalidValueError, match="no file"):
        import_preferences(profile, tmp_path / "missing.jsonl")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'[{"a": 1}, {"b": "x', "file ends before"),
        (b'[{"a": 1}] tail', "text after the end"),
    ],
)
def test_a_broken_array_says_where_it_breaks(text: bytes, reason: str) -> None:
    found = list(records(io.BytesIO(text)))
    assert found[0] == Record(1, b'{"a": 1}')
    assert reason in found[1].broken


def test_a_long_list_of_bad_lines_is_cut_and_counted(profile: Profile, write: Write) -> None:
    report = import_preferences(profile, write(*[{"x": 1}] * 1500))
    assert (len(report.rejected), report.rejected_count) == (1000, 1500)


def test_an_import_that_is_stopped_leaves_nothing(profile: Profile, write: Write) -> None:
    path = write(*(GOOD | {"prompt": f"{number}"} for number in range(300)))

    def stop(done: int, size: int) -> None:
        if done > 0.5 * size:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_preferences(profile, path, progress=stop)
    assert Pairs(profile.db).count() == 0


def test_progress_ends_at_the_end(profile: Profile, write: Write) -> None:
    seen: list[tuple[int, int]] = []
    path = write(*(GOOD | {"prompt": f"{number}"} for number in range(300)))
    import_preferences(profile, path, progress=lambda done, size: seen.append((done, size)))
    size = path.stat().st_size
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)


# Properties -------------------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)
few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
names = st.sampled_from(
    ["prompt", "chosen", "rejected", "conversations", "system", "weight", "group", "role", "from"]
)


@few
@given(st.lists(json_values, max_size=6), st.sampled_from([None, 1]), st.integers(1, 70))
def test_an_array_is_cut_exactly_where_json_would_cut_it(
    values: list[Any], indent: int | None, chunk: int
) -> None:
    class Slow(io.BytesIO):
        """Gives few bytes at a time, so that every boundary is tried."""

        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size, chunk) if size and size > 0 else size)

    content = json.dumps(values, indent=indent, ensure_ascii=True).encode()
    found = [json.loads(record.content) for record in records(Slow(content))]
    assert json.dumps(found) == json.dumps(values)


@few
@given(st.lists(st.binary(max_size=60) | json_values.map(lambda v: json.dumps(v).encode())))
def test_no_bytes_whatsoever_break_the_import(
    profile: Profile, write: Write, lines: list[bytes]
) -> None:
    path = write(*lines)
    try:
        report = import_preferences(profile, path)
    except InvalidValueError as error:
        assert error.why  # noqa: PT017
    else:
        assert report.imported == 0
        assert report.rejected_count > 0


@few
@given(st.dictionaries(names, json_values | st.lists(st.dictionaries(names, json_values))))
def test_no_record_breaks_the_reading(record: dict[str, Any]) -> None:
    try:
        row = preference_row(record)
    except InvalidValueError as error:
        assert error.what  # noqa: PT017
    else:
        assert row.prompt
        assert row.chosen != row.rejected


@few
@given(st.lists(st.tuples(text, text, text), min_size=1, max_size=8))
def test_what_is_imported_comes_back_as_it_was_once(
    profile: Profile, write: Write, rows: list[tuple[str, str, str]]
) -> None:
    with profile.db.transaction() as connection:
        connection.execute("DELETE FROM pairs")
    rows = [row for row in rows if row[1].strip() != row[2].strip()]
    rows = [row for row in rows if not any("Human:" in part for part in row)]
    wanted = list(dict.fromkeys(rows))
    if not rows:
        return
    names = ("prompt", "chosen", "rejected")
    report = import_preferences(
        profile, write(*(dict(zip(names, row, strict=True)) for row in rows))
    )
    stored = Pairs(profile.db).all()
    assert [(pair.prompt[0].content, pair.chosen, pair.rejected) for pair in stored] == wanted
    assert (report.imported, report.duplicates) == (len(wanted), len(rows) - len(wanted))
    assert report.rejected == ()


@few
@given(
    st.lists(text, min_size=1, max_size=3),
    text,
    text,
    st.floats(0, 1),
    st.floats(0, 1e9),
    st.dictionaries(text, text | st.integers(-(2**53), 2**53), max_size=3),
)
def test_a_pair_survives_storage(
    profile: Profile,
    said: list[str],
    chosen: str,
    rejected: str,
    confidence: float,
    weight: float,
    metadata: dict[str, Any],
) -> None:
    pairs = Pairs(profile.db)
    with profile.db.transaction() as connection:
        connection.execute("DELETE FROM pairs")
    prompt = [ChatMessage(role="user", content=content) for content in said]
    if chosen.strip() == rejected.strip():
        rejected += "!"
    pair = new_pair(
        "default",
        prompt,
        chosen,
        rejected,
        feedback_type="choice",
        confidence=confidence,
        quality=0.5,
        weight=weight,
        metadata=metadata,
    )
    assert pairs.add(pair)
    assert pairs.get(pair.id) == pair
    assert not pairs.add(pair)
