"""`xeno pairs`: the preference pairs that training learns from: seen, examined and edited."""

from __future__ import annotations

import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import get_args

from xeno.cli.commands import Commands, UsageError
from xeno.cli.output import Output, first_line, when
from xeno.cli.session import text_from, unlocked
from xeno.events import ChatMessage
from xeno.feedback.difference import word_difference
from xeno.feedback.editing import PERSONAL_DATA, Edit, PairEditor
from xeno.store.pair_browsing import FINDINGS, SORT_KEYS, ListedPair, PairBrowser, PairFilter
from xeno.store.pairs import FeedbackType, Pair, Pairs
from xeno.store.profile import Profile
from xeno.words import count

_MARKS = {"same": ("", ""), "removed": ("[-", "-]"), "added": ("{+", "+}")}


def add(commands: Commands) -> None:
    group = commands.group("pairs", "see, examine and edit the preference pairs", show_list)
    listing = group.add("list", "list pairs, filtered and sorted", show_list)
    _filter_options(listing)
    listing.add_argument("--sort", choices=SORT_KEYS, default="created")
    listing.add_argument("--descending", action="store_true", help="the highest or latest first")
    listing.add_argument("--limit", type=int, default=20, metavar="N")
    listing.add_argument("--offset", type=int, default=0, metavar="N")
    for name, text, run in (
        ("show", "show a pair: texts, findings, versions that learned from it", show_one),
        ("diff", "show what the chosen reply has that the rejected has not", show_difference),
    ):
        group.add(name, text, run).add_argument("id")
    examining = group.add("doctor", "examine all pairs and report on the set", examine)
    examining.add_argument("--everything", action="store_true", help="unchanged pairs as well")
    examining.add_argument(
        "--region", metavar="CC", help="country whose telephone numbers are known without +"
    )
    for name, text, run in (
        ("activate", "learn from pairs again", activate),
        ("deactivate", "keep pairs but do not learn from them", deactivate),
        ("redact", "replace secrets and personal data in pairs", redact),
        ("keep", "keep pairs as they are in spite of personal data or secrets", keep),
        ("delete", "delete pairs", delete),
    ):
        _chosen_pairs(group.add(name, text, run))
    weighing = group.add("weight", "how much pairs count in training; 1 is usual", weigh)
    weighing.add_argument("weight", type=float)
    _chosen_pairs(weighing)
    editing = group.add("edit", "change the texts of a pair; '-' reads one from stdin", edit)
    editing.add_argument("id")
    for name in ("question", "chosen", "rejected"):
        editing.add_argument(f"--{name}", metavar="TEXT")
    group.add("undo", "take back the last edit", undo)
    group.add("redo", "do again what was taken back", redo)
    history = group.add("history", "list the edits that can be taken back", show_history)
    history.add_argument("--limit", type=int, default=20, metavar="N")
    history.add_argument("--forget", action="store_true", help="delete the earlier texts for good")


def _filter_options(parser: ArgumentParser) -> None:
    parser.add_argument("--search", metavar="TEXT", default="", help="stands in one of the texts")
    parser.add_argument("--from", dest="kind", choices=get_args(FeedbackType), action="append")
    parser.add_argument("--finding", metavar="KIND", help=f"any, {', '.join(FINDINGS)}")
    parser.add_argument("--min-score", type=float, metavar="S")
    parser.add_argument("--max-score", type=float, metavar="S")
    parser.add_argument("--since", type=_day, metavar="DATE", help="YYYY-MM-DD, that day included")
    parser.add_argument("--until", type=_day, metavar="DATE", help="YYYY-MM-DD, that day excluded")
    parser.add_argument("--version", metavar="REF", help="a version that learned from them")
    state = parser.add_mutually_exclusive_group()
    state.add_argument("--active", dest="active", action="store_true", default=None)
    state.add_argument("--inactive", dest="active", action="store_false")


def _chosen_pairs(parser: ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("id", nargs="*", default=[])
    which.add_argument("--finding", metavar="KIND", help="all pairs with this finding")
    which.add_argument("--all", action="store_true", help="all pairs")


def _day(text: str) -> float:
    try:
        return datetime.strptime(text, "%Y-%m-%d").astimezone().timestamp()
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a date such as 2026-01-31") from error


def show_list(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        browser = PairBrowser(profile.db)
        listing = browser.listing(
            _filter(profile, arguments),
            getattr(arguments, "sort", "created"),
            getattr(arguments, "descending", False),
        )
        offset, limit = getattr(arguments, "offset", 0), getattr(arguments, "limit", 20)
        found = listing.page(offset, limit)
        total, ready = browser.count(), browser.count(PairFilter(active=True))
        unexamined = _unexamined(profile)
    output.table(
        ("id", "from", "score", "active", "question", "chosen", "found"),
        [
            (
                p.pair.id[:8],
                p.pair.feedback_type,
                p.score,
                p.pair.active,
                _question(p.pair, 30),
                first_line(p.pair.chosen, 40),
                ", ".join(dict.fromkeys(f.kind for f in p.findings)),
            )
            for p in found
        ],
    )
    output.say(
        f"{len(found)} of {count(len(listing), 'pair')} shown; {total} in all, {ready} ready to "
        "learn from."
    )
    if unexamined:
        have = count(unexamined, "pair has", "pairs have")
        output.say(f"{have} yet to be examined: 'xeno pairs doctor'.")
    output.result(
        {
            "total": total,
            "ready": ready,
            "found": len(listing),
            "unexamined": unexamined,
            "pairs": [_listed(each) for each in found],
        }
    )
    return 0


def _filter(profile: Profile, arguments: Namespace) -> PairFilter:
    version = getattr(arguments, "version", None)
    if version is not None:
        from xeno.versions.registry import Registry

        version = Registry(profile).get(version).address
    return PairFilter(
        text=getattr(arguments, "search", ""),
        kinds=tuple(getattr(arguments, "kind", None) or ()),
        lowest_score=getattr(arguments, "min_score", None),
        highest_score=getattr(arguments, "max_score", None),
        since=getattr(arguments, "since", None),
        until=getattr(arguments, "until", None),
        active=getattr(arguments, "active", None),
        version=version,
        finding=_known_finding(getattr(arguments, "finding", None)),
    )


def show_one(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        browser, pair = PairBrowser(profile.db), _named(profile, arguments.id)
        findings, versions = browser.findings(pair.id), browser.versions_of(pair.id)
    for turn in pair.prompt:
        output.say(f"{turn.role}: {turn.content}\n")
    output.say(f"chosen: {pair.chosen}\n\nrejected: {pair.rejected}\n")
    output.say(
        f"{pair.feedback_type} of {when(pair.created)}; weight {pair.weight:g}, "
        f"{'active' if pair.active else 'not active'}"
    )
    for finding in findings:
        output.say(f"  -{finding.cost:.2f}  {finding.reason}")
    if versions:
        output.say(f"Learned by: {', '.join(address[:12] for address in versions)}")
    output.result(
        {
            **_values(pair),
            "findings": [asdict(finding) for finding in findings],
            "versions": versions,
        }
    )
    return 0


def show_difference(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        pair = _named(profile, arguments.id)
    pieces = word_difference(pair.rejected, pair.chosen)
    output.say("".join(p.text.join(_MARKS[p.kind]) for p in pieces))
    output.result({"pair": pair.id, "pieces": [asdict(piece) for piece in pieces]})
    return 0


def examine(arguments: Namespace, output: Output) -> int | None:
    from xeno.feedback import doctor  # brings numpy

    shown = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal shown
        if time.monotonic() - shown > 2:
            shown = time.monotonic()
            output.progress(f"{done} of {count(total, 'pair')}")

    with unlocked(arguments) as profile:
        if arguments.region is not None:
            doctor.set_region(profile, arguments.region or None)
        report = doctor.examine(profile, everything=arguments.everything, progress=progress)
    for line in report.sentences():
        output.say(line)
    if report.findings:
        output.say("See them with 'xeno pairs list --finding KIND'; nothing was changed.")
    output.result({**asdict(report), "sentences": report.sentences()})
    return 0


def activate(arguments: Namespace, output: Output) -> int | None:
    return _switch(arguments, output, True)


def deactivate(arguments: Namespace, output: Output) -> int | None:
    return _switch(arguments, output, False)


def _switch(arguments: Namespace, output: Output, active: bool) -> int | None:
    with unlocked(arguments) as profile:
        ids = _ids(profile, arguments)
        changed = PairEditor(profile.db).set_active(ids, active)
    state = "active" if active else "not active"
    output.say(f"{_these(ids)} {state} now; that changed {changed}. 'xeno pairs undo' undoes it.")
    output.result({"pairs": ids, "changed": changed, "active": active})
    return 0


def weigh(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        ids = _ids(profile, arguments)
        changed = PairEditor(profile.db).set_weight(ids, arguments.weight)
    output.say(f"{_these(ids)} of weight {arguments.weight:g} now; that changed {changed}.")
    output.result({"pairs": ids, "changed": changed, "weight": arguments.weight})
    return 0


def redact(arguments: Namespace, output: Output) -> int | None:
    from xeno.feedback.doctor import REGION_SETTING

    with unlocked(arguments) as profile:
        region = profile.setting(REGION_SETTING)
        done = PairEditor(profile.db).redact(_ids(profile, arguments), region)
    output.say(
        f"{count(len(done.redacted), 'pair')} redacted, {len(done.clean)} held nothing to redact."
    )
    for pair_id in done.off:
        output.say(
            f"  {pair_id[:8]} cannot be learned from without what would be redacted: switched off"
        )
    output.say(
        "The earlier texts are kept for 'xeno pairs undo' until 'xeno pairs history --forget'; "
        "the conversations that they come from are as they were."
    )
    output.result(asdict(done))
    return 0


def keep(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        ids = _ids(profile, arguments)
        kinds = (arguments.finding,) if arguments.finding else PERSONAL_DATA
        changed = PairEditor(profile.db).keep(ids, kinds)
    output.say(f"{count(changed, 'pair is', 'pairs are')} kept; 'xeno pairs doctor' scores anew.")
    output.result({"pairs": ids, "changed": changed, "kept": list(kinds)})
    return 0


def delete(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        ids = _ids(profile, arguments)
        deleted = PairEditor(profile.db).delete(ids)
    output.say(
        f"{count(deleted, 'pair')} deleted; 'xeno pairs undo' brings back what was deleted. "
        "Versions that learned from it are as they were."
    )
    output.result({"pairs": ids, "deleted": deleted})
    return 0


def edit(arguments: Namespace, output: Output) -> int | None:
    texts = {
        name: None if value is None else text_from(value)
        for name, value in (("chosen", arguments.chosen), ("rejected", arguments.rejected))
    }
    with unlocked(arguments) as profile:
        pair = _named(profile, arguments.id)
        prompt = None
        if arguments.question is not None:
            last = ChatMessage(role="user", content=text_from(arguments.question))
            prompt = (*pair.prompt[:-1], last)
        changed = PairEditor(profile.db).edit(pair.id, prompt=prompt, **texts)
    output.say(f"Pair {changed.id[:8]} is changed; 'xeno pairs undo' undoes it.")
    for note in changed.quality_notes:
        output.say(f"  {note}")
    output.result(_values(changed))
    return 0


def undo(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        done = PairEditor(profile.db).undo()
    return _travelled(done, "Undone", output)


def redo(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        done = PairEditor(profile.db).redo()
    return _travelled(done, "Done again", output)


def _travelled(done: Edit | None, word: str, output: Output) -> int:
    if done is None:
        output.say("There is nothing to take back or do again.")
    else:
        output.say(f"{word}: {done.action} of {count(done.pairs, 'pair')}, {when(done.created)}.")
    output.result({"edit": None if done is None else asdict(done)})
    return 0


def show_history(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        editor = PairEditor(profile.db)
        forgotten = editor.forget() if arguments.forget else 0
        edits = editor.history(arguments.limit)
    if forgotten:
        output.say(f"{count(forgotten, 'edit')} forgotten, for good.")
    output.table(
        ("when", "edit", "pairs", "undone"),
        [(when(each.created), each.action, each.pairs, each.undone) for each in edits],
    )
    output.result({"forgotten": forgotten, "edits": [asdict(each) for each in edits]})
    return 0


def _unexamined(profile: Profile) -> int:
    from xeno.feedback import doctor

    return doctor.unexamined(profile.db)


def _ids(profile: Profile, arguments: Namespace) -> list[str]:
    """The pairs that a command is about: named, with a finding, or all."""
    browser = PairBrowser(profile.db)
    if arguments.id:
        return [browser.with_id(each) for each in arguments.id]
    if not arguments.all and not arguments.finding:
        raise UsageError(
            "No pair was named.", "", "Name pairs by their ids, or give --finding or --all."
        )
    return browser.listing(PairFilter(finding=_known_finding(arguments.finding))).ids()


def _known_finding(kind: str | None) -> str | None:
    if kind not in (None, "any", *FINDINGS):
        raise UsageError(f"There is no finding {kind!r}.", "", f"Use any, {', '.join(FINDINGS)}.")
    return kind


def _named(profile: Profile, wanted: str) -> Pair:
    return Pairs(profile.db).get(PairBrowser(profile.db).with_id(wanted))


def _these(ids: Sequence[str]) -> str:
    return f"Pair {ids[0][:8]} is" if len(ids) == 1 else count(len(ids), "pair is", "pairs are")


def _question(pair: Pair, width: int) -> str:
    return first_line(pair.prompt[-1].content if pair.prompt else "", width)


def _listed(listed: ListedPair) -> dict[str, object]:
    return {
        **_values(listed.pair),
        "score": listed.score,
        "examined": listed.examined,
        "findings": [asdict(finding) for finding in listed.findings],
    }


def _values(pair: Pair) -> dict[str, object]:
    return {
        "id": pair.id,
        "group": pair.group_id,
        "feedback_type": pair.feedback_type,
        "prompt": [message.model_dump() for message in pair.prompt],
        "chosen": pair.chosen,
        "rejected": pair.rejected,
        "quality": pair.quality,
        "quality_notes": list(pair.quality_notes),
        "confidence": pair.confidence,
        "created": pair.created,
        "active": pair.active,
        "weight": pair.weight,
    }
