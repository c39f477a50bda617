"""`xeno import` and `xeno pairs`: the preference pairs that training learns from."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from xeno.cli.commands import Commands
from xeno.cli.output import Output, first_line
from xeno.cli.session import unlocked
from xeno.data.importing import LISTED_LINES, import_preferences
from xeno.errors import InvalidValueError
from xeno.store.pairs import Pair, Pairs

SHOWN_REJECTED = 20


def add(commands: Commands) -> None:
    bringing = commands.add("import", "import preference pairs from a JSONL file", load)
    bringing.add_argument("file", type=Path)
    group = commands.group("pairs", "list the preference pairs", show)
    listing = group.add("list", "list the preference pairs", show)
    listing.add_argument("--search", metavar="TEXT", default=None)
    listing.add_argument("--limit", type=int, default=20, metavar="N")
    for name, text, active in (
        ("activate", "learn from a pair again", True),
        ("deactivate", "keep a pair but do not learn from it", False),
    ):
        parser = group.add(name, text, set_active)
        parser.add_argument("id")
        parser.set_defaults(active=active)
    group.add("delete", "delete a pair", delete).add_argument("id")


def load(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        report = import_preferences(profile, arguments.file)
        ready = Pairs(profile.db).count(active=True)
    output.say(
        f"Imported {report.imported} pairs of {report.groups} groups; {report.duplicates} were "
        f"known already, {report.rejected_count} lines could not be used."
    )
    for line in report.rejected[:SHOWN_REJECTED]:
        output.say(f"  line {line.line}: {line.reason}")
    if report.rejected_count > SHOWN_REJECTED:
        more = report.rejected_count - SHOWN_REJECTED
        output.say(f"  and {more} more; --json lists the first {LISTED_LINES}")
    if report.imported:
        output.say(f"The chosen reply is the longer one in {report.longer_chosen:.0%} of them.")
    output.say(f"{ready} pairs are ready to learn from.")
    output.result(
        {
            "imported": report.imported,
            "duplicates": report.duplicates,
            "rejected": [{"line": r.line, "reason": r.reason} for r in report.rejected],
            "rejected_count": report.rejected_count,
            "longer_chosen": report.longer_chosen,
            "groups": report.groups,
            "pairs_ready": ready,
        }
    )
    # A file of which nothing could be used is a failure for a script.
    return 1 if report.rejected and not report.imported and not report.duplicates else 0


def show(arguments: Namespace, output: Output) -> int | None:
    search, limit = getattr(arguments, "search", None), getattr(arguments, "limit", 20)
    with unlocked(arguments) as profile:
        pairs = Pairs(profile.db)
        found, total, ready = (
            pairs.all(limit=limit, search=search),
            pairs.count(),
            pairs.count(active=True),
        )
    output.table(
        ("id", "from", "quality", "active", "question", "chosen"),
        [
            (
                p.id[:8],
                p.feedback_type,
                p.quality,
                p.active,
                _question(p, 30),
                first_line(p.chosen, 40),
            )
            for p in found
        ],
    )
    output.say(f"{len(found)} of {total} pairs shown; {ready} are ready to learn from.")
    output.result({"total": total, "ready": ready, "pairs": [_values(pair) for pair in found]})
    return 0


def set_active(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        pairs = Pairs(profile.db)
        pair = _named(pairs, arguments.id)
        pairs.set_active(pair.id, arguments.active)
    output.say(f"Pair {pair.id[:8]} is {'active' if arguments.active else 'not active'} now.")
    output.result({"pair": pair.id, "active": arguments.active})
    return 0


def delete(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        pairs = Pairs(profile.db)
        pair = _named(pairs, arguments.id)
        pairs.delete(pair.id)
    output.say(f"Pair {pair.id[:8]} is deleted. Versions that learned from it are as they were.")
    output.result({"pair": pair.id, "deleted": True})
    return 0


def _named(pairs: Pairs, wanted: str) -> Pair:
    """The pair with the id `wanted`, or the only one whose id begins with it."""
    found = [pair for pair in pairs.all() if pair.id.startswith(wanted)]
    if len(found) != 1:
        raise InvalidValueError(
            f"There is no single pair {wanted!r}.",
            f"{len(found)} ids begin with that.",
            "See 'xeno pairs list' for the ids.",
        )
    return found[0]


def _question(pair: Pair, width: int) -> str:
    return first_line(pair.prompt[-1].content if pair.prompt else "", width)


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
