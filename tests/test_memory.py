"""What is remembered, what of it a message brings, and that forgetting forgets."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import make_llama

from xeno.assistant import Assistant
from xeno.errors import InvalidValueError
from xeno.events import Sampling
from xeno.paths import Home
from xeno.personalization import relevance
from xeno.personalization.memories import HEADING, section
from xeno.personalization.memory import ContextualMemory
from xeno.store.conversations import Conversations
from xeno.store.profile import Profile
from xeno.workers.host_client import HostClient

SHARED_PROFILE = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
NAMES = TEXT.filter(lambda text: bool(text.strip()))
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def memory(profile: Profile) -> ContextualMemory:
    return ContextualMemory(profile.name, profile=profile)


def test_the_calls_of_the_python_contract_run_as_written_in_two_sessions(home: Home) -> None:
    with ContextualMemory(user_id="john_doe") as m:
        m.store_fact("preferences", "favorite_language", "Python")
        m.store_episode(
            event_type="meeting", description="Planned the release", context={"with": "Sarah"}
        )
        m.store_episode(event_type="meeting", description="Looked back at the release")
        m.store_workflow("morning_routine", ["Check email", "Review the calendar"])
    with ContextualMemory(user_id="john_doe") as m:
        assert m.retrieve_fact("preferences", "favorite_language") == "Python"
        assert m.retrieve_fact("preferences", "favorite_food") is None
        episodes = m.retrieve_episodes(event_type="meeting", limit=5)
        assert [each["description"] for each in episodes] == [
            "Looked back at the release",
            "Planned the release",
        ]
        assert episodes[1]["context"] == {"with": "Sarah"}
        assert len(m.retrieve_episodes(event_type="meeting", limit=1)) == 1
        assert m.retrieve_episodes(event_type="dinner") == []
        assert m.retrieve_workflow("morning_routine") == ["Check email", "Review the calendar"]
        assert m.retrieve_workflow("evening_routine") is None
    with ContextualMemory(user_id="jane_doe") as m:
        assert m.count() == 0


def test_a_fact_that_changes_keeps_its_identity_and_its_first_time(
    memory: ContextualMemory,
) -> None:
    first = memory.store_fact("home", "city", "Graz")
    second = memory.store_fact("home", "city", "Linz", source="a letter")
    assert memory.retrieve_fact("home", "city") == "Linz"
    assert memory.count() == 1
    assert (second.id, second.created) == (first.id, first.created)
    assert second.updated > first.updated
    assert memory.get(first.id).source == "a letter"


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("Which programming language should I use?", {"favorite language"}),
        ("Write an invitation to Sarah for the next meeting.", {"roadmap"}),
        ("When do I check my emails?", {"morning routine"}),
        ("Any tips for cooking with PEANUTS", {"allergies"}),
        ("What is the capital of France?", set()),
        ("Thank you, that helps! Can you tell me more about it?", set()),
        ("", set()),
        ('"AND" OR NOT NEAR( * ^ : -', set()),
    ],
)
def test_a_message_brings_what_shares_a_telling_word_and_nothing_else(
    memory: ContextualMemory, message: str, found: set[str]
) -> None:
    memory.store_fact("preferences", "favorite_language", "Python")
    memory.store_fact("health", "allergies", ["peanut", "pollen"])
    memory.store_episode("meeting", "Drew up the roadmap with Sarah and Tom")
    memory.store_workflow("morning routine", ["Check email", "Make coffee"])
    memory.store_fact("home", "pet", "a dog that is called Rex")
    texts = [memory.text for memory in memory.chosen_for(message)]
    assert len(texts) == len(found)
    assert all(any(part in text for text in texts) for part in found)


def test_a_rare_word_says_more_than_a_common_one(memory: ContextualMemory) -> None:
    for number in range(60):
        memory.store_episode("note", f"The project went on, part {number}")
    telling = memory.store_episode("note", "The project is waiting for the plumber")
    found = memory.recall("Has the plumber called about the project?")
    assert found[0].memory.id == telling.id
    assert found[0].words == ("plumber", "project")
    assert memory.recall("How is the project?") == []  # nearly every memory has that word


def test_of_equal_matches_the_newer_and_the_more_important_come_first(
    profile: Profile, memory: ContextualMemory
) -> None:
    old = memory.store_episode("note", "The bicycle has a flat tyre")
    new = memory.store_episode("note", "The bicycle is repaired")
    with profile.db.transaction() as connection:
        connection.execute("UPDATE memories SET updated = updated - 5e6 WHERE id = ?", (old.id,))
    assert [r.memory.id for r in memory.recall("my bicycle")] == [new.id, old.id]
    memory.edit(old.id, importance=1.0)
    memory.edit(new.id, importance=0.0)
    assert [r.memory.id for r in memory.recall("my bicycle")] == [old.id, new.id]


def test_a_pinned_memory_is_in_every_prompt(memory: ContextualMemory) -> None:
    name = memory.store_fact("person", "name", "Ana")
    memory.edit(name.id, pinned=True)
    assert [m.id for m in memory.chosen_for("How do I cook rice?")] == [name.id]


def test_a_message_without_a_subject_goes_on_with_the_memories_before(
    memory: ContextualMemory,
) -> None:
    pet = memory.store_fact("home", "pet", "a dog")
    car = memory.store_fact("home", "car", "a red one")
    assert [m.id for m in memory.chosen_for("Shorter, please.", kept=[pet.id])] == [pet.id]
    assert [m.id for m in memory.chosen_for("And the car?", kept=[pet.id])] == [car.id]
    memory.delete(pet.id)
    assert memory.chosen_for("Shorter, please.", kept=[pet.id]) == []


def test_switched_off_it_brings_nothing_and_keeps_everything(memory: ContextualMemory) -> None:
    memory.store_fact("home", "pet", "a dog")
    memory.set_enabled(False)
    assert memory.chosen_for("my pet") == []
    assert memory.count() == 1
    memory.set_enabled(True)
    assert len(memory.chosen_for("my pet")) == 1


@SHARED_PROFILE
@given(
    values=st.lists(NAMES, min_size=1, max_size=6),
    pinned=st.booleans(),
    budget=st.integers(0, 400),
    per_character=st.integers(1, 3),
)
def test_the_prompt_never_gets_more_than_its_budget(
    memory: ContextualMemory, values: list[str], pinned: bool, budget: int, per_character: int
) -> None:
    _clear(memory)
    for number, value in enumerate(values):
        kept = memory.store_fact("thing", f"key {number}", value * 8)
        memory.edit(kept.id, pinned=pinned)

    def measure(text: str) -> int:
        return len(text) * per_character

    chosen = memory.chosen_for("thing " + values[0], budget=budget, measure=measure)
    assert measure(section(chosen)) <= budget
    assert section(chosen).count("\n") == len(chosen)  # no memory can add a line of its own


@SHARED_PROFILE
@given(category=NAMES, key=NAMES, value=VALUES)
def test_every_value_that_json_can_hold_comes_back_the_same(
    memory: ContextualMemory, category: str, key: str, value: Any
) -> None:
    _clear(memory)
    stored = memory.store_fact(category, key, value)
    assert memory.retrieve_fact(category, key) == value
    memory.delete(stored.id)
    assert memory.retrieve_fact(category, key) is None
    memory.restore([stored])
    assert memory.get(stored.id) == stored


@SHARED_PROFILE
@given(message=TEXT, said=NAMES)
def test_any_message_can_be_asked_about_any_memory(
    memory: ContextualMemory, message: str, said: str
) -> None:
    _clear(memory)
    memory.store_episode("note", said)
    for found in memory.recall(message):
        assert 0 < found.score <= 1
        assert found.words
    assert memory.count(search=message) in (0, 1)
    memory.about(said)


STEPS = st.lists(
    st.tuples(st.sampled_from(["store", "edit", "delete", "forget", "restore"]), st.integers(0, 4)),
    max_size=20,
)


@SHARED_PROFILE
@given(steps=STEPS)
def test_the_index_always_says_what_the_table_says(
    profile: Profile, memory: ContextualMemory, steps: list[tuple[str, int]]
) -> None:
    _clear(memory)
    gone: list[Any] = []
    for action, number in steps:
        there = memory.all()
        target = there[number % len(there)] if there else None
        if action == "store":
            memory.store_fact(f"topic{number}", "key", f"word{number} common")
        elif action == "forget":
            gone += memory.forget(f"word{number}")
        elif action == "restore" and gone:
            memory.restore([gone.pop()])
        elif target is not None and action == "edit":
            gone.append(memory.edit(target.id, content=f"other{number} common"))
        elif target is not None and action == "delete":
            gone.append(memory.delete(target.id))
    with profile.db.transaction() as connection:
        connection.execute(
            "INSERT INTO memory_index(memory_index, rank) VALUES ('integrity-check', 1)"
        )
    there = memory.all()
    assert {m.id for m in memory.all(search="common")} == {m.id for m in there}
    for number in range(5):
        found = {m.id for m in memory.all(search=f"word{number}")}
        assert found == {m.id for m in there if f"word{number}" in m.text}


def test_forgetting_a_topic_forgets_what_speaks_of_it_and_can_be_undone(
    memory: ContextualMemory,
) -> None:
    memory.store_fact("Work", "employer", "Acme")
    memory.store_episode("meeting", "Quarrelled with the people of Acme")
    memory.store_workflow("work", ["Open the laptop"])
    kept = memory.store_fact("home", "pet", "a dog")
    before = {m.id: m for m in memory.all()}
    gone = memory.forget("work")
    assert {m.text.split(",")[0].split(":")[0] for m in gone} == {
        "Work",
        "how the user does work",
    }
    gone += memory.forget("acme")
    assert [m.id for m in memory.all()] == [kept.id]
    memory.restore(gone)
    assert {m.id: m for m in memory.all()} == before
    assert memory.topics() == [("Work", 1), ("home", 1), ("meeting", 1), ("work", 1)]


def test_what_is_forgotten_is_gone_from_the_index_too(
    profile: Profile, memory: ContextualMemory
) -> None:
    memory.store_fact("secret", "word", "xylophonistic")
    memory.forget("xylophonistic")
    blocks = profile.db.read("SELECT block FROM memory_index_data")
    assert not any(b"xylophon" in bytes(row["block"]) for row in blocks)


def test_lists_come_in_pages_and_are_searched_by_the_beginnings_of_words(
    memory: ContextualMemory,
) -> None:
    for number in range(25):
        memory.store_episode("walk" if number % 5 else "swim", f"Round {number} of the lake")
    assert memory.count(kind="episode", topic="swim") == 5
    pages = [memory.all(limit=10, offset=start) for start in (0, 10, 20)]
    assert [len(page) for page in pages] == [10, 10, 5]
    assert len({m.id for page in pages for m in page}) == 25
    assert memory.count(search="lak roun") == 25
    assert memory.count(search="ocean") == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.store_fact("", "key", "value"),
        lambda m: m.store_fact("category", " ", "value"),
        lambda m: m.store_fact("category", "key", None),
        lambda m: m.store_fact("category", "key", float("nan")),
        lambda m: m.store_fact("category", "key", object()),
        lambda m: m.store_fact("category", "key", "half a pair \ud800"),
        lambda m: m.store_fact("category", "key", "x" * 200_000),
        lambda m: m.store_fact("category", "key", "value", importance=2),
        lambda m: m.store_workflow("name", []),
        lambda m: m.store_workflow("name", "not a list"),
        lambda m: m.store_episode("type", ""),
        lambda m: m.set_budget(-1),
        lambda m: m.get(99),
        lambda m: m.delete(99),
        lambda m: m.forget(" "),
    ],
)
def test_what_cannot_be_remembered_is_refused_and_changes_nothing(
    memory: ContextualMemory, call: Any
) -> None:
    with pytest.raises(InvalidValueError):
        call(memory)
    assert memory.count() == 0


def test_threads_and_another_process_remember_at_once(
    home: Home, profile: Profile, memory: ContextualMemory
) -> None:
    program = (
        "from xeno import ContextualMemory\n"
        "with ContextualMemory() as m:\n"
        "    for i in range(20): m.store_episode('process', f'happening {i}')\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program])
    threads = [
        threading.Thread(
            target=lambda name=name: [  # type: ignore[misc]
                memory.store_fact(f"thread {name}", f"key {i}", i) for i in range(20)
            ]
        )
        for name in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert child.wait(60) == 0
    assert memory.count(kind="fact") == 80
    assert memory.count(kind="episode") == 20
    assert memory.count(search="happening") == 20


def test_a_long_message_is_asked_about_by_its_longest_words() -> None:
    words = relevance.words(" ".join(f"w{'o' * (i % 90)}rd{i}" for i in range(1000)))
    assert len(words) == relevance.MOST_WORDS
    assert min(map(len, words)) > 80


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "tiny", max_position_embeddings=2048)


@pytest.fixture
def assistant(profile: Profile, base: Path) -> Iterator[Assistant]:
    with HostClient(profile, base) as host:
        yield Assistant(profile, host)


def test_a_reply_names_the_memories_it_was_given_and_its_prompt_says_them(
    profile: Profile, memory: ContextualMemory, assistant: Assistant
) -> None:
    pet = memory.store_fact("home", "pet", "a dog called Rex")
    memory.store_fact("home", "car", "a red one")
    short = Sampling(max_tokens=4)
    prompt, memories = assistant.system_prompt("What does my pet eat?")
    assert [m.id for m in memories] == [pet.id]
    first = assistant.ask(None, "What does my pet eat?", sampling=short).message
    assert first.system_prompt == prompt
    assert prompt.endswith(f"{HEADING}\n- home, pet: a dog called Rex")
    assert first.metadata["memories"] == [
        {"id": pet.id, "kind": "fact", "text": "home, pet: a dog called Rex"}
    ]
    again = assistant.ask(first.conversation_id, "Shorter, please.", sampling=short).message
    assert again.system_prompt == prompt  # goes on with what was spoken of
    assert memory.get(pet.id).uses == 2
    assert memory.replies_with(pet.id)[-1] == first.id

    memory.set_enabled(False)
    plain = assistant.ask(None, "What does my pet eat?", sampling=short).message
    assert plain.metadata["memories"] == []
    assert HEADING not in str(plain.system_prompt)

    memory.forget("pet")
    kept = Conversations(profile.db).message(first.id)
    assert kept is not None
    assert "Rex" in str(kept.system_prompt)  # what was said stays said, and is counted
    assert first.id in memory.replies_with(pet.id)


def test_a_memory_outlives_the_message_it_came_from(
    profile: Profile, memory: ContextualMemory
) -> None:
    conversations = Conversations(profile.db)
    conversation = conversations.create("Pets").id
    said = conversations.add_message(conversation, "user", "My dog is called Rex")
    fact = memory.store_fact("home", "pet", "Rex", source="message", message_id=said.id)
    assert memory.get(fact.id).message_id == said.id
    conversations.delete(conversation)
    assert memory.get(fact.id).message_id is None
    assert memory.retrieve_fact("home", "pet") == "Rex"


def _clear(memory: ContextualMemory) -> None:
    for each in memory.all():
        memory.delete(each.id)
