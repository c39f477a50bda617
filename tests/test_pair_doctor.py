"""What is found in pairs: near-duplicates, contradictions, personal data, length, language."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage
from xeno.feedback import doctor, duplicates
from xeno.feedback.contradictions import contradictions
from xeno.feedback.difference import word_difference
from xeno.feedback.editing import PairEditor
from xeno.feedback.language import language_of
from xeno.feedback.length_bias import length_bias
from xeno.feedback.personal_data import find, redacted
from xeno.store.pair_browsing import PairBrowser, PairFilter
from xeno.store.pairs import Pair, Pairs, new_pair
from xeno.store.profile import Profile

WORDS = [f"{a}{b}" for a in ("tea", "rice", "lamp", "road", "wind") for b in "abcdefgh"]
SENTENCES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=40).map(" ".join)


def pair(question: str, chosen: str, rejected: str) -> Pair:
    return new_pair(
        "default",
        [ChatMessage(role="user", content=question)],
        chosen,
        rejected,
        feedback_type="correction",
        confidence=0.9,
        quality=1.0,
    )


def by_brute_force(texts: list[tuple[str, ...]], threshold: float) -> set[tuple[int, int]]:
    hashes = [duplicates.shingles(fields) for fields in texts]
    return {
        (i, j)
        for i in range(len(texts))
        for j in range(i + 1, len(texts))
        if duplicates.jaccard(hashes[i], hashes[j]) >= threshold
    }


def exact_jaccard(first: str, second: str) -> float:
    def grams(text: str) -> set[bytes]:
        data = text.encode().ljust(8, b"\0")
        return {data[i : i + 8] for i in range(len(data) - 7)}

    a, b = grams(first), grams(second)
    return len(a & b) / len(a | b)


@given(SENTENCES, SENTENCES)
@settings(deadline=None)
def test_the_similarity_of_two_texts_is_the_jaccard_of_their_shingles(a: str, b: str) -> None:
    found = duplicates.jaccard(duplicates.shingles((a,)), duplicates.shingles((b,)))
    assert found == pytest.approx(exact_jaccard(a, b))


@given(st.lists(st.tuples(SENTENCES, SENTENCES), max_size=12), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_near_duplicates_are_those_that_comparing_all_pairs_finds(
    texts: list[tuple[str, str]], rng: random.Random
) -> None:
    changed = [(a, b + " " + rng.choice(WORDS)) for a, b in texts if rng.random() < 0.5]
    everything: list[tuple[str, ...]] = [*texts, *changed, *texts[:2]]
    signatures = duplicates.signatures(everything)
    links = duplicates.near_duplicates(
        signatures, lambda place: duplicates.shingles(everything[place])
    )
    true = by_brute_force(everything, duplicates.THRESHOLD)
    assert {(link.first, link.second) for link in links} <= true
    groups = duplicates.clusters(len(everything), links)
    together = {member: number for number, group in enumerate(groups) for member in group}
    # Beyond 0.9 one in four million is missed; nearer the threshold 0.2 %.
    for first, second in by_brute_force(everything, 0.9):
        assert together.get(first) is not None
        assert together[first] == together.get(second)


def test_hardly_any_near_duplicate_is_missed_and_similarity_is_estimated_without_bias() -> None:
    rng = random.Random(5)
    originals = [" ".join(rng.choices(WORDS, k=80)) + f" {n}" for n in range(400)]
    copies = []
    for text in originals:
        words = text.split()
        for place in rng.sample(range(80), rng.randint(0, 8)):
            words[place] = rng.choice(WORDS) + "x"
        copies.append(" ".join(words))
    texts = [(text,) for text in originals + copies]
    signatures = duplicates.signatures(texts)
    hashes = [duplicates.shingles(text) for text in texts]
    errors = [
        np.mean(signatures[n] == signatures[400 + n])
        - duplicates.jaccard(hashes[n], hashes[400 + n])
        for n in range(400)
    ]
    assert abs(np.mean(errors)) < 0.01
    assert np.std(errors) < 0.05
    links = duplicates.near_duplicates(signatures, lambda place: hashes[place])
    found = {(link.first, link.second) for link in links}
    alike = {
        (n, 400 + n) for n in range(400) if duplicates.jaccard(hashes[n], hashes[400 + n]) >= 0.8
    }
    assert len(alike) > 100
    assert len(alike - found) <= 0.01 * len(alike)


def test_swapping_chosen_and_rejected_is_no_near_duplicate() -> None:
    texts = [
        ("q", "one reply of some length", "another"),
        ("q", "another", "one reply of some length"),
    ]
    assert duplicates.jaccard(*(duplicates.shingles(text) for text in texts)) < 0.3


def test_a_crowd_of_equal_texts_is_one_group() -> None:
    texts = [("the very same text",)] * 300 + [("something else entirely, by far",)]
    links = duplicates.near_duplicates(
        duplicates.signatures(texts), lambda place: duplicates.shingles(texts[place])
    )
    assert [len(group) for group in duplicates.clusters(301, links)] == [300]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=10))
@settings(deadline=None)
def test_a_preference_contradicts_if_the_others_lead_back_from_rejected_to_chosen(
    letters: list[tuple[str, str]],
) -> None:
    names = {letter: f"{letter * 20} is a reply" for letter in "abcdef"}

    def leads(start: str, end: str) -> bool:
        reached, waiting = set(), [start]
        while waiting:
            node = waiting.pop()
            for chosen, rejected in letters:
                if chosen == node and rejected not in reached:
                    reached.add(rejected)
                    waiting.append(rejected)
        return end in reached

    expected = {n for n, (a, b) in enumerate(letters) if a != b and leads(b, a)}
    found = contradictions([(names[a], names[b]) for a, b in letters])
    assert set(found) == expected
    assert all(other != place and other in expected for place, other in found.items())


def test_replies_that_are_nearly_equal_count_as_one_in_contradictions() -> None:
    long = "Rinse the grains until the water runs clear and cook them in twice as much water. " * 2
    found = contradictions(
        [(long + "Enjoy it.", "No."), ("No.", long + "Enjoy!"), ("Other.", "Third.")]
    )
    assert found == {0: 1, 1: 0}


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Write to jane.doe@example.org, please.", ["email"]),
        ("Ring +44 20 7946 0958 after six", ["phone"]),
        ("IBAN DE89 3704 0044 0532 0130 00.", ["bank_account"]),
        ("The card is 4111 1111 1111 1111", ["card"]),
        ("ping 8.8.8.8 now", ["internet_address"]),
        ("at 192.168.0.1 and 10.0.0.7", []),
        ('password = "hunter2hunter2"', ["secret"]),
        ("key AKIAIOSFODNN7EXAMPLE in the log", ["secret"]),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", ["secret"]),
        ("see https://user:s3cretpw@host.org/x", ["secret"]),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\nabc\n-----END PRIVATE KEY-----\nbye", ["secret"]),
        ("My password has eight letters, which is too few.", []),
        ("From 2023-10-15 12:30 to 1000000, about 3.14159265358979", []),
        ("4111 1111 1111 1112 has a wrong check digit", []),
    ],
)
def test_personal_data_and_secrets_are_found_by_form_and_check_digits(
    text: str, kinds: list[str]
) -> None:
    assert [span.kind for span in find(text)] == kinds


def test_national_telephone_numbers_are_known_for_the_users_country() -> None:
    assert [span.kind for span in find("call (415) 555-2671", "US")] == ["phone"]
    assert find("call (415) 555-2671") == ()


def test_what_is_redacted_is_gone_whole() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV"
    text = f"a@b.org sent {token}."
    assert redacted(text, find(text)) == "[email] sent [secret]."


@given(st.text(max_size=200))
@settings(deadline=None, max_examples=150)
def test_any_text_can_be_searched_and_spans_do_not_overlap(text: str) -> None:
    spans = find(text, "DE")
    assert all(0 <= s.start < s.end <= len(text) for s in spans)
    assert all(a.end <= b.start for a, b in pairwise(spans))


def test_length_bias_says_what_it_will_teach() -> None:
    assert length_bias([]) is None
    longer = length_bias([(200, 100)] * 70 + [(100, 200)] * 30)
    assert longer is not None
    assert longer.longer_chosen == 0.7
    assert longer.low > 0.5
    assert "learns to answer longer" in longer.teaches
    assert "70%" in longer.teaches
    even = length_bias([(2, 1), (1, 2)] * 50)
    assert even is not None
    assert "nothing about length" in even.teaches
    few = length_bias([(2, 1)] * 5)
    assert few is not None
    assert "too few" in few.teaches


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Wie kocht man Reis, ohne dass er am Boden des Topfes anbrennt?", "de"),
        ("Comment peut-on garder le riz au chaud sans qu'il devienne collant ?", "fr"),
        ("How does one keep the rice warm without it turning sticky in the pot?", "en"),
        ("Yes, please.", None),
        ("```\nfor x in range(10): print(x)\n```", None),
    ],
)
def test_the_language_is_told_where_it_is_clear(text: str, code: str | None) -> None:
    assert language_of(text) == code


@given(st.text(alphabet="ab c.\n", max_size=60), st.text(alphabet="ab c.\n", max_size=60))
def test_a_difference_gives_back_both_texts(before: str, after: str) -> None:
    pieces = word_difference(before, after)
    assert "".join(p.text for p in pieces if p.kind != "added") == before
    assert "".join(p.text for p in pieces if p.kind != "removed") == after
    assert all(a.kind != b.kind for a, b in pairwise(pieces))


def test_a_difference_of_long_texts_is_quick_and_whole() -> None:
    rng = random.Random(3)
    before = "".join(rng.choice(WORDS) + rng.choice(" \n") for _ in range(8000))
    after = before.replace("teaa", "coffee").replace("winda", "")
    pieces = word_difference(before, after)
    assert "".join(p.text for p in pieces if p.kind != "added") == before
    assert "".join(p.text for p in pieces if p.kind != "removed") == after


# The whole set -----------------------------------------------------------------------------

LONG = (
    "Rinse the grains, cook them in twice as much water, and let them rest for ten minutes. Then "
    "fluff them up with a fork, add a pinch of salt if you like, and serve while it is still hot. "
)


@pytest.fixture
def examined(profile: Profile) -> dict[str, Pair]:
    """Pairs with one fault each, after the doctor's visit."""
    made = {
        "good": pair("How do I fix a flat tyre?", "Take the wheel off first.", "Buy another one."),
        "original": pair("How do I cook rice?", LONG, "No idea at all, sorry about that."),
        "copy": pair("How do I cook rice?", LONG + "Enjoy!", "No idea at all, sorry about that."),
        "for": pair("Tea or coffee?", "Tea is the one to take.", "Coffee, of course."),
        "against": pair("tea or  coffee?", "Coffee, of course.", "Tea is the one to take."),
        "private": pair("Who knows?", "Ask jane.doe@example.org about it.", "Nobody knows that."),
        "secret": pair("And the key?", 'password = "hunter2hunter2"', "I will not say."),
        "same": pair("What time?", "Half past ten.", "half past ten"),
        "foreign": pair(
            "How does one keep the rice warm without it turning sticky in the pot?",
            "Den Reis mit einem Tuch abdecken und bei kleiner Hitze zehn Minuten ruhen lassen.",
            "No.",
        ),
        "long": pair("Tell me everything.", "All of it in many words. " * 600, "Nothing."),
    }
    Pairs(profile.db).add_many(made.values())
    doctor.examine(profile)
    return made


def test_every_pair_gets_its_findings_a_reason_and_a_score(
    profile: Profile, examined: dict[str, Pair]
) -> None:
    browser = PairBrowser(profile.db)
    found = {
        name: {finding.kind for finding in browser.findings(made.id)}
        for name, made in examined.items()
    }
    assert found["good"] == set()
    assert found["original"] == set()
    assert found["copy"] == {"near_duplicate"}
    assert found["for"] == found["against"] == {"contradiction"}
    assert found["private"] == {"personal_data"}
    assert found["secret"] == {"secret"}
    assert found["same"] == {"alike"}
    assert found["foreign"] == {"language", "lengths"}
    assert "too_long" in found["long"]
    listed = {each.pair.id: each for each in browser.listing().page()}
    assert listed[examined["good"].id].score == 1.0
    assert listed[examined["copy"].id].score == pytest.approx(0.7)
    (finding,) = browser.findings(examined["copy"].id)
    assert finding.other == examined["original"].id
    assert finding.reason.startswith("Almost the same as the pair")
    assert Pairs(profile.db).count(active=True) == len(examined), "nothing is dropped"


def test_the_report_counts_and_is_there_later(profile: Profile, examined: dict[str, Pair]) -> None:
    report = doctor.last_report(profile)
    assert report is not None
    assert report.pairs == report.compared == report.examined == len(examined)
    assert report.duplicate_groups == 1
    assert report.findings["contradiction"] == 2
    assert report.length is not None
    assert any("personal_data" in sentence for sentence in report.sentences())
    again = doctor.examine(profile)
    assert again.examined == 0
    assert again.findings == report.findings
    assert doctor.unexamined(profile.db) == 0


def test_a_pair_that_is_not_learned_from_makes_no_other_a_duplicate(
    profile: Profile, examined: dict[str, Pair]
) -> None:
    PairEditor(profile.db).set_active([examined["original"].id], False)
    assert doctor.unexamined(profile.db) == 1
    doctor.examine(profile)
    assert PairBrowser(profile.db).findings(examined["copy"].id) == ()
    assert doctor.unexamined(profile.db) == 0


def test_personal_data_can_be_redacted_kept_or_dropped(
    profile: Profile, examined: dict[str, Pair]
) -> None:
    editor, browser, pairs = PairEditor(profile.db), PairBrowser(profile.db), Pairs(profile.db)
    private, secret = examined["private"].id, examined["secret"].id
    done = editor.redact([private, examined["good"].id])
    assert done.redacted == (private,)
    assert done.clean == (examined["good"].id,)
    assert pairs.get(private).chosen == "Ask [email] about it."
    editor.keep([secret])
    doctor.examine(profile)
    assert browser.findings(private) == ()
    (kept,) = browser.findings(secret)
    assert kept.cost == 0
    assert kept.reason.endswith("You chose to keep it.")
    editor.undo()
    editor.undo()
    assert pairs.get(private) == examined["private"]
    doctor.examine(profile)
    ids = browser.listing(PairFilter(finding="personal_data")).ids()
    assert ids == [private]
    editor.set_active(ids, False)
    assert not pairs.get(private).active


def test_a_pair_that_differs_only_in_personal_data_is_switched_off_by_redaction(
    profile: Profile,
) -> None:
    only = pair("Who?", "Ask a.b@example.org", "Ask c.d@example.org")
    Pairs(profile.db).add(only)
    assert PairEditor(profile.db).redact([only.id]).off == (only.id,)
    kept = Pairs(profile.db).get(only.id)
    assert not kept.active
    assert kept.chosen == only.chosen


def test_an_unknown_country_is_refused(profile: Profile) -> None:
    with pytest.raises(InvalidValueError, match="not a country"):
        doctor.set_region(profile, "Atlantis")
