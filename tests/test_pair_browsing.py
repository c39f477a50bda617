"""Looking through pairs page by page, and taking edits back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage
from xeno.feedback import doctor
from xeno.feedback.editing import PairEditor
from xeno.store.pair_browsing import SORT_KEYS, PairBrowser, PairFilter, SortKey
from xeno.store.pairs import FeedbackType, Pair, Pairs, new_pair
from xeno.store.profile import Profile


def pair(number: int, kind: FeedbackType = "correction", quality: float = 1.0) -> Pair:
    made = new_pair(
        "default",
        [ChatMessage(role="user", content=f'Question {number} with "quotes"?')],
        f"Chosen {'very ' * number}{number}.",
        f"Rejected {number}.",
        feedback_type=kind,
        confidence=0.9,
        quality=quality,
    )
    return replace(made, created=1000.0 + number)


@pytest.fixture
def stored(profile: Profile) -> list[Pair]:
    kinds: list[FeedbackType] = ["correction", "choice", "import"]
    made = [pair(n, kinds[n % 3], 1.0 - n / 100) for n in range(30)]
    Pairs(profile.db).add_many(made)
    return made


def test_a_listing_gives_any_page_in_order(profile: Profile, stored: list[Pair]) -> None:
    listing = PairBrowser(profile.db).listing(sort="created", descending=False)
    assert len(listing) == 30
    assert [each.pair for each in listing.page(7, 5)] == stored[7:12]
    assert [each.pair for each in listing.page(28, 100)] == stored[28:]
    assert listing.page(30) == []
    assert set(listing.ids()) == {each.id for each in stored}


def test_a_listing_stays_as_it_is_while_pairs_come_and_go(
    profile: Profile, stored: list[Pair]
) -> None:
    listing = PairBrowser(profile.db).listing(sort="created", descending=False)
    Pairs(profile.db).add(pair(99))
    PairEditor(profile.db).delete([stored[1].id])
    assert [each.pair.id for each in listing.page(0, 3)] == [stored[0].id, stored[2].id]
    assert len(listing) == 30


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (PairFilter(text="Question 7"), [7]),
        (PairFilter(text='7 with "quotes"'), [7, 17, 27]),
        (PairFilter(text="very very"), list(range(2, 30))),
        (PairFilter(text="100%"), []),
        (PairFilter(kinds=("choice",)), list(range(1, 30, 3))),
        (PairFilter(kinds=("choice", "import"), until=1003), [1, 2]),
        (PairFilter(since=1028), [28, 29]),
        (PairFilter(lowest_score=0.98), [0, 1, 2]),
        (PairFilter(highest_score=0.72, kinds=("choice",)), [28]),
        (PairFilter(active=False), []),
        (PairFilter(finding="any"), []),
        (PairFilter(version="none"), []),
    ],
)
def test_filters_combine(
    profile: Profile, stored: list[Pair], wanted: PairFilter, numbers: list[int]
) -> None:
    browser = PairBrowser(profile.db)
    found = browser.listing(wanted, descending=False).page()
    assert [each.pair for each in found] == [stored[n] for n in numbers]
    assert browser.count(wanted) == len(numbers)


def test_pairs_sort_by_score_weight_kind_and_length(profile: Profile, stored: list[Pair]) -> None:
    browser = PairBrowser(profile.db)
    PairEditor(profile.db).set_weight([stored[4].id], 3.0)
    assert browser.listing(sort="score", descending=False).page(0, 1)[0].pair.id == stored[29].id
    assert browser.listing(sort="weight").page(0, 1)[0].pair.id == stored[4].id
    assert browser.listing(sort="length").page(0, 1)[0].pair.id == stored[29].id
    kinds = [each.pair.feedback_type for each in browser.listing(sort="kind").page()]
    assert kinds == sorted(kinds, reverse=True)
    with pytest.raises(InvalidValueError, match="sorted"):
        browser.listing(sort="colour")  # type: ignore[arg-type]


def test_the_doctors_score_takes_the_place_of_the_quality(
    profile: Profile, stored: list[Pair]
) -> None:
    browser = PairBrowser(profile.db)
    (before,) = browser.listing(PairFilter(text="Question 20")).page()
    assert (before.examined, before.score) == (False, 0.8)
    doctor.examine(profile)
    (after,) = browser.listing(PairFilter(text="Question 20")).page()
    assert after.examined
    assert after.score == pytest.approx(1 - sum(f.cost for f in after.findings), abs=1e-3)


def test_a_pair_is_named_by_the_beginning_of_its_id(profile: Profile, stored: list[Pair]) -> None:
    browser = PairBrowser(profile.db)
    assert browser.with_id(stored[3].id[:12]) == stored[3].id
    for unknown in ("", "zz", "%"):
        with pytest.raises(InvalidValueError, match="no single pair"):
            browser.with_id(unknown)


def test_versions_that_learned_from_a_pair_are_found(profile: Profile, stored: list[Pair]) -> None:
    with profile.db.transaction() as connection:
        connection.execute(
            "INSERT INTO versions (model, number, major, minor, patch, address, base_hash, state, "
            "created, bytes, manifest, manifest_hash, signature) "
            "VALUES ('assistant', 1, 1, 0, 0, 'abc', 'b', 'checked', 1, 1, '{}', 'h', 's')"
        )
        connection.execute("INSERT INTO version_pairs VALUES ('abc', ?)", (stored[5].id,))
    browser = PairBrowser(profile.db)
    assert browser.versions_of(stored[5].id) == ["abc"]
    assert browser.listing(PairFilter(version="abc")).ids() == [stored[5].id]


def test_every_edit_can_be_taken_back_and_done_again(profile: Profile, stored: list[Pair]) -> None:
    editor, pairs = PairEditor(profile.db), Pairs(profile.db)
    ids = [each.id for each in stored[:3]]
    assert editor.set_active(ids, False) == 3
    assert editor.set_weight(ids[:2], 0.5) == 2
    edited = editor.edit(ids[0], chosen=" Better. ")
    assert edited.chosen == "Better."
    assert editor.delete(ids) == 3
    assert [each.action for each in editor.history()] == ["delete", "edit", "weight", "deactivate"]
    for action in ("delete", "edit", "weight", "deactivate"):
        undone = editor.undo()
        assert undone is not None
        assert (undone.action, undone.undone) == (action, True)
    assert editor.undo() is None
    assert pairs.all() == stored
    for _ in range(3):
        editor.redo()
    assert pairs.get(ids[0]) == edited
    assert pairs.count(active=False) == 3
    editor.set_active([stored[9].id], False)
    assert editor.redo() is None, "what was undone before another edit is gone"


def test_an_edit_that_changes_nothing_leaves_no_trace(profile: Profile, stored: list[Pair]) -> None:
    editor = PairEditor(profile.db)
    assert editor.set_active([stored[0].id, "unknown"], True) == 0
    assert editor.history() == []


def test_a_pair_cannot_be_edited_into_another_or_into_nothing(
    profile: Profile, stored: list[Pair]
) -> None:
    editor, (first, second) = PairEditor(profile.db), stored[:2]
    with pytest.raises(InvalidValueError, match="another pair"):
        editor.edit(first.id, prompt=second.prompt, chosen=second.chosen, rejected=second.rejected)
    with pytest.raises(InvalidValueError, match="empty"):
        editor.edit(first.id, chosen="  ")
    with pytest.raises(InvalidValueError, match="weight"):
        editor.set_weight([first.id], -1)
    assert Pairs(profile.db).all() == stored


def test_a_deleted_pair_cannot_come_back_beside_its_equal(
    profile: Profile, stored: list[Pair]
) -> None:
    editor = PairEditor(profile.db)
    editor.delete([stored[0].id])
    Pairs(profile.db).add(replace(pair(0), quality=1.0))
    with pytest.raises(InvalidValueError, match="another pair"):
        editor.undo()
    assert len(editor.history()) == 1
    assert not editor.history()[0].undone


def test_the_journal_can_be_forgotten(profile: Profile, stored: list[Pair]) -> None:
    editor = PairEditor(profile.db)
    editor.edit(stored[0].id, chosen="Better.")
    assert editor.forget() == 1
    assert editor.undo() is None
    assert Pairs(profile.db).get(stored[0].id).chosen == "Better."


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["off", "on", "weight", "edit", "delete", "undo", "redo"]),
        st.integers(0, 4),
    ),
    max_size=12,
)


@given(actions=ACTIONS)
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_undoing_everything_is_where_it_began(
    profile: Profile, actions: list[tuple[str, int]]
) -> None:
    pairs, editor = Pairs(profile.db), PairEditor(profile.db)
    editor.forget()
    for each in pairs.all():
        pairs.delete(each.id)
    made = [pair(n) for n in range(5)]
    pairs.add_many(made)
    states = [pairs.all()]
    for number, (action, which) in enumerate(actions):
        chosen = made[which].id
        if action in ("off", "on"):
            changed = editor.set_active([chosen, made[0].id], action == "on") > 0
        elif action == "weight":
            changed = editor.set_weight([chosen], float(number)) > 0
        elif action == "edit":
            there = any(each.id == chosen for each in pairs.all())
            changed = there and editor.edit(chosen, chosen=f"Edit {number}.") is not None
        elif action == "delete":
            changed = editor.delete([chosen]) > 0
        elif action == "undo":
            if editor.undo() is not None:
                states.pop()
                assert sorted(pairs.all(), key=lambda p: p.created) == states[-1]
            continue
        else:
            if editor.redo() is not None:
                states.append(pairs.all())
            continue
        if changed:
            states.append(pairs.all())
    while editor.undo() is not None:
        states.pop()
        assert pairs.all() == states[-1]
    assert pairs.all() == made


@pytest.mark.parametrize("sort", SORT_KEYS)
def test_every_order_goes_with_every_filter(
    profile: Profile, stored: list[Pair], sort: SortKey
) -> None:
    browser = PairBrowser(profile.db)
    for wanted in (
        PairFilter(lowest_score=0.0, text="Question"),
        PairFilter(highest_score=1.0, version=None, since=0, until=1e9, active=True),
        PairFilter(lowest_score=0.0, kinds=("choice", "correction", "import")),
    ):
        assert len(browser.listing(wanted, sort)) == 30
    assert len(browser.listing(PairFilter(lowest_score=0.5, version="x"), sort)) == 0
    assert len(browser.listing(PairFilter(highest_score=0.5, finding="any"), sort)) == 0
