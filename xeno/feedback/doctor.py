"""The pair doctor: what is wrong with each pair and with the set, and what it would teach.

Every pair gets findings, each with a reason and a cost, and a score: 1 less all costs. Findings
are stored and nothing else is changed: what to do about them is the user's choice, through
`xeno.feedback.editing`. What depends on one pair's texts alone is looked at once and kept; the
comparisons between the active pairs are made anew each time.
"""

from __future__ import annotations

import hashlib
import json
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache

from xeno.errors import InvalidValueError
from xeno.feedback import duplicates, personal_data
from xeno.feedback.contradictions import contradictions
from xeno.feedback.language import asks_for_another_language, language_of, name_of
from xeno.feedback.length_bias import LengthBias, length_bias
from xeno.feedback.quality import assess
from xeno.store.database import Database
from xeno.store.pair_browsing import FINDINGS, Finding, PairBrowser
from xeno.store.pairs import Pair, pair_from
from xeno.store.profile import Profile
from xeno.words import count

RULES = 1  # counted up when the rules change, so that every pair is looked at again
REPORT_SETTING = "pairs.report"
REGION_SETTING = "pairs.region"
LONGEST_REPLY = 12_000  # characters; few models here can learn from more at once
LONGEST_PROMPT = 24_000

_BETWEEN = ("near_duplicate", "contradiction")
_COST = {
    "too_long": 0.2,
    "language": 0.3,
    "secret": 0.6,
    "personal_data": 0.5,
    "near_duplicate": 0.3,
    "contradiction": 0.4,
}
_BATCH = 512


@dataclass(frozen=True)
class SetReport:
    """The set as a whole.

    Attributes:
        pairs: all there are; `compared` of them are learned from and were compared.
        examined: how many were looked at this time; the others have not changed since.
        mean_score: of the compared pairs, 0 to 1.
        findings: how many of all pairs have each kind of finding.
        duplicate_groups: groups of near-duplicates; all but the oldest have a finding.
        length: what the lengths of the compared pairs teach.
        created: Unix seconds; `seconds` is how long it took.
    """

    pairs: int
    compared: int
    examined: int
    mean_score: float
    findings: dict[str, int]
    duplicate_groups: int
    length: LengthBias | None
    created: float
    seconds: float

    def sentences(self) -> tuple[str, ...]:
        """The report in words."""
        lines = [
            f"{count(self.pairs, 'pair')}, {self.compared:,} of them learned from; "
            f"mean score {self.mean_score:.2f}."
        ]
        if self.length is not None:
            lines.append(self.length.teaches)
        for kind, found in sorted(self.findings.items(), key=lambda item: -item[1]):
            lines.append(f"{found:,} with '{kind}': {FINDINGS.get(kind, kind)}.")
        if not self.findings:
            lines.append("Nothing was found that would spoil what they teach.")
        return tuple(lines)


@dataclass
class _Set:
    """What must be known of all pairs at once: places in columns, no texts."""

    rows: array[int] = field(default_factory=lambda: array("q"))
    ids: list[str] = field(default_factory=list)
    prompts: dict[bytes, list[int]] = field(default_factory=dict)
    lengths: list[tuple[int, int]] = field(default_factory=list)
    between: dict[str, list[Finding]] = field(default_factory=dict)


def examine(
    profile: Profile,
    *,
    everything: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SetReport:
    """Look at all pairs, store what is found, and report.

    Args:
        everything: look again at pairs that have not changed, too.
        progress: called now and then with (pairs done, pairs). What it raises ends the
            examination; what was stored before stays.
    """
    start, db = time.monotonic(), profile.db
    region = profile.setting(REGION_SETTING)
    if everything:
        with db.transaction() as connection:
            connection.execute("DELETE FROM pair_checks")
    row = db.one("SELECT count(*) FROM pairs")
    total, examined = int(row[0]) if row else 0, 0
    compared = _Set()

    def texts() -> Iterator[tuple[str, ...]]:
        """Goes through all pairs once: stores what is found in each, yields the compared ones."""
        nonlocal examined
        done = 0
        for batch in _batches(db):
            fresh = _fresh(db, batch)
            examined += _store_own(db, [p for _, p in batch if p.id not in fresh], region)
            for place, pair in batch:
                if pair.active and pair.weight > 0:
                    _take(compared, place, pair)
                    yield compared_texts(pair)
            done += len(batch)
            if progress:
                progress(done, total)

    found = duplicates.signatures(texts())
    groups = _find_duplicates(db, compared, found)
    _find_contradictions(db, compared)
    _store_between(db, compared)
    report = SetReport(
        pairs=total,
        compared=len(compared.ids),
        examined=examined,
        mean_score=_mean_score(db),
        findings=PairBrowser(db).finding_counts(),
        duplicate_groups=groups,
        length=length_bias(compared.lengths),
        created=time.time(),
        seconds=time.monotonic() - start,
    )
    profile.set_setting(REPORT_SETTING, asdict(report))
    return report


def last_report(profile: Profile) -> SetReport | None:
    """The report of the last examination, or None."""
    stored = profile.setting(REPORT_SETTING)
    if stored is None:
        return None
    length = stored.pop("length")
    return SetReport(**stored, length=None if length is None else LengthBias(**length))


def unexamined(db: Database) -> int:
    """How many pairs were added, edited or switched on or off since they were examined."""
    row = db.one(
        "SELECT count(*) FROM pairs p LEFT JOIN pair_checks c ON c.pair_id = p.id "
        "WHERE c.pair_id IS NULL OR c.active != p.active OR c.rules != ?",
        (RULES,),
    )
    return int(row[0]) if row else 0


def set_region(profile: Profile, region: str | None) -> None:
    """The country (ISO 3166, two letters) whose telephone numbers are known without +.

    Raises:
        InvalidValueError: it is no country.
    """
    if region is not None:
        import phonenumbers

        region = region.upper()
        if region not in phonenumbers.SUPPORTED_REGIONS:
            raise InvalidValueError(
                f"{region!r} is not a country.", "", "Give its two letters, such as DE or US."
            )
    profile.set_setting(REGION_SETTING, region)
    with profile.db.transaction() as connection:
        connection.execute("DELETE FROM pair_checks")


def findings_of(pair: Pair, region: str | None = None) -> list[Finding]:
    """What is wrong with a pair by its own texts. Pure, but for loading what it looks with."""
    quality = assess(pair.prompt, pair.chosen, pair.rejected, pair.feedback_type)
    found = [Finding(doubt.kind, doubt.cost, doubt.reason) for doubt in quality.doubts]
    found += _too_long(pair)
    found += _language(pair)
    found += _personal(pair, region)
    kept = set(pair.metadata.get("kept", ()))
    return [
        Finding(f.kind, 0.0, f"{f.reason} You chose to keep it.") if f.kind in kept else f
        for f in found
    ]


def _too_long(pair: Pair) -> Iterator[Finding]:
    prompt = sum(len(turn.content) for turn in pair.prompt)
    for name, length, limit in (
        ("chosen reply", len(pair.chosen), LONGEST_REPLY),
        ("rejected reply", len(pair.rejected), LONGEST_REPLY),
        ("prompt", prompt, LONGEST_PROMPT),
    ):
        if length > limit:
            reason = (
                f"The {name} has {length:,} characters; above {limit:,} most base models leave the "
                "pair out or see only part of it."
            )
            yield Finding("too_long", _COST["too_long"], reason)
            return


def _language(pair: Pair) -> Iterator[Finding]:
    question = pair.prompt[-1].content
    asked = language_of(question)
    answered = language_of(pair.chosen) if asked else None
    if asked and answered and asked != answered and not asks_for_another_language(question):
        reason = f"The prompt is in {name_of(asked)}, the chosen reply in {name_of(answered)}."
        yield Finding("language", _COST["language"], reason)


def _personal(pair: Pair, region: str | None) -> Iterator[Finding]:
    where: dict[str, list[str]] = {}
    texts = [("prompt", turn.content) for turn in pair.prompt]
    for name, text in [*texts, ("chosen reply", pair.chosen), ("rejected reply", pair.rejected)]:
        for span in personal_data.find(text, region):
            places = where.setdefault(span.kind, [])
            if name not in places:
                places.append(name)
    for kind, names in where.items():
        finding = "secret" if kind == "secret" else "personal_data"
        reason = f"There is {personal_data.KINDS[kind]} in the {' and the '.join(names)}."
        yield Finding(finding, _COST[finding], reason)


# Between the pairs -------------------------------------------------------------------------


def _take(compared: _Set, place: int, pair: Pair) -> None:
    prompt = "\x1e".join(f"{m.role} {duplicates.normalised(m.content)}" for m in pair.prompt)
    key = hashlib.blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    compared.prompts.setdefault(key, []).append(len(compared.ids))
    compared.rows.append(place)
    compared.ids.append(pair.id)
    compared.lengths.append((len(pair.chosen), len(pair.rejected)))


def compared_texts(pair: Pair) -> tuple[str, ...]:
    """What near-duplicates agree in. System prompt and earlier turns are left out: all pairs of
    a conversation share them, however different the pairs are."""
    return tuple(
        duplicates.normalised(text)
        for text in (pair.prompt[-1].content, pair.chosen, pair.rejected)
    )


def _find_duplicates(db: Database, compared: _Set, found: duplicates.Signatures) -> int:
    @lru_cache(maxsize=8192)
    def load(place: int) -> duplicates.Hashes:
        row = db.one("SELECT * FROM pairs WHERE rowid = ?", (compared.rows[place],))
        return duplicates.shingles(() if row is None else compared_texts(pair_from(row)))

    links = duplicates.near_duplicates(found, load)
    neighbours: dict[int, list[tuple[int, float]]] = {}
    for link in links:
        neighbours.setdefault(link.first, []).append((link.second, link.similarity))
        neighbours.setdefault(link.second, []).append((link.first, link.similarity))
    groups = duplicates.clusters(len(found), links)
    for group in groups:  # from the oldest along the links: each of the others is one too many
        reached, waiting = {group[0]}, [group[0]]
        while waiting:
            place = waiting.pop()
            original = compared.ids[place]
            for other, similarity in neighbours[place]:
                if other not in reached:
                    reached.add(other)
                    waiting.append(other)
                    reason = f"Almost the same as the pair {original[:8]} ({similarity:.0%} alike)."
                    finding = Finding("near_duplicate", _COST["near_duplicate"], reason, original)
                    compared.between.setdefault(compared.ids[other], []).append(finding)
    return len(groups)


def _find_contradictions(db: Database, compared: _Set) -> None:
    for places in compared.prompts.values():
        if len(places) < 2:
            continue
        inside = json.dumps([compared.rows[place] for place in places])
        rows = db.read(
            "SELECT id, chosen, rejected FROM pairs WHERE rowid IN "
            "(SELECT value FROM json_each(?)) ORDER BY rowid",
            (inside,),
        )
        against = contradictions([(row["chosen"], row["rejected"]) for row in rows])
        for place, other in against.items():
            second = str(rows[other]["id"])
            reason = f"The pair {second[:8]} says the opposite about the same prompt."
            finding = Finding("contradiction", _COST["contradiction"], reason, second)
            compared.between.setdefault(str(rows[place]["id"]), []).append(finding)


# Storing -----------------------------------------------------------------------------------


def _batches(db: Database) -> Iterator[list[tuple[int, Pair]]]:
    last = -1
    while True:
        rows = db.read(
            "SELECT rowid AS place, * FROM pairs WHERE rowid > ? ORDER BY rowid LIMIT ?",
            (last, _BATCH),
        )
        if not rows:
            return
        last = int(rows[-1]["place"])
        yield [(int(row["place"]), pair_from(row)) for row in rows]


def _fresh(db: Database, batch: list[tuple[int, Pair]]) -> set[str]:
    rows = db.read(
        "SELECT pair_id, fingerprint FROM pair_checks WHERE rules = ? AND pair_id IN "
        "(SELECT value FROM json_each(?))",
        (RULES, json.dumps([pair.id for _, pair in batch])),
    )
    seen = {row["pair_id"]: row["fingerprint"] for row in rows}
    return {pair.id for _, pair in batch if seen.get(pair.id) == pair.fingerprint}


def _store_own(db: Database, pairs: list[Pair], region: str | None) -> int:
    found = [(pair, findings_of(pair, region)) for pair in pairs]
    now = time.time()
    with db.transaction() as connection:
        connection.execute(
            "DELETE FROM pair_findings WHERE pair_id IN (SELECT value FROM json_each(?))",
            (json.dumps([pair.id for pair in pairs]),),
        )
        # Selected from the pairs, because one may have been deleted meanwhile.
        connection.executemany(
            "INSERT OR REPLACE INTO pair_checks "
            "(pair_id, fingerprint, active, rules, score, examined) "
            "SELECT id, ?, ?, ?, ?, ? FROM pairs WHERE id = ?",
            [
                (pair.fingerprint, int(pair.active), RULES, _score(findings), now, pair.id)
                for pair, findings in found
            ],
        )
        connection.executemany(
            "INSERT INTO pair_findings (pair_id, kind, cost, reason) "
            "SELECT id, ?, ?, ? FROM pairs WHERE id = ?",
            [(f.kind, f.cost, f.reason, pair.id) for pair, findings in found for f in findings],
        )
    return len(pairs)


def _store_between(db: Database, compared: _Set) -> None:
    """Replace what was said of pairs beside each other, and bring all scores up to date."""
    with db.transaction() as connection:
        connection.execute(
            "DELETE FROM pair_findings WHERE kind IN (SELECT value FROM json_each(?))",
            (json.dumps(_BETWEEN),),
        )
        for pair_id, findings in compared.between.items():
            row = connection.execute(
                "SELECT metadata FROM pairs WHERE id = ?", (pair_id,)
            ).fetchone()
            kept = json.loads(row["metadata"]).get("kept", ()) if row else ()
            connection.executemany(
                "INSERT INTO pair_findings (pair_id, kind, cost, reason, other) "
                "SELECT id, ?, ?, ?, ? FROM pairs WHERE id = ?",
                [
                    (f.kind, 0.0 if f.kind in kept else f.cost, f.reason, f.other, pair_id)
                    for f in findings
                ],
            )
        connection.execute(
            "UPDATE pair_checks SET active = (SELECT active FROM pairs WHERE id = pair_id), "
            "score = round(max(0.0, 1.0 - coalesce((SELECT sum(cost) FROM pair_findings f "
            "WHERE f.pair_id = pair_checks.pair_id), 0.0)), 3)"
        )


def _score(findings: list[Finding]) -> float:
    return round(max(0.0, 1.0 - sum(finding.cost for finding in findings)), 3)


def _mean_score(db: Database) -> float:
    row = db.one("SELECT avg(score) FROM pair_checks WHERE active = 1")
    return float(row[0]) if row and row[0] is not None else 1.0
