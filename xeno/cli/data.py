"""`xeno import` and `xeno export`: data in and out, looked at first, and taken back."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from xeno.cli.commands import Commands, UsageError
from xeno.cli.output import Output, first_line, size, when
from xeno.cli.session import unlocked
from xeno.data.exporting import KINDS, export, export_all
from xeno.data.importing import ImportReport, import_file, preview
from xeno.data.imports import Import, Imports
from xeno.data.mapping import parse
from xeno.data.shown import texts, things
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile
from xeno.words import count

SHOWN_REJECTED = 20
PROGRESS_SECONDS = 5.0


def add(commands: Commands) -> None:
    bringing = commands.add(
        "import", "import pairs, examples or chats: JSON, JSONL, CSV, Parquet, packed or not", load
    )
    bringing.add_argument("file", type=Path, nargs="?")
    bringing.add_argument("--preview", action="store_true", help="show what it would store")
    bringing.add_argument(
        "--map",
        metavar="FIELD=COLUMN,...",
        action="append",
        default=[],
        help="which column is the prompt, chosen, rejected, completion, label, ...; remembered",
    )
    bringing.add_argument("--list", action="store_true", help="list the imports")
    bringing.add_argument("--undo", type=int, metavar="ID", help="remove what an import added")
    giving = commands.add("export", "write what the profile holds to files", give)
    giving.add_argument("what", choices=("all", *KINDS))
    giving.add_argument(
        "path", type=Path, help="the file; its end says the format. A folder for all"
    )
    giving.add_argument(
        "--format", default="jsonl", metavar="ENDING", help="for all: jsonl, json, csv, parquet, …"
    )


def load(arguments: Namespace, output: Output) -> int | None:
    chosen = sum((arguments.file is not None, arguments.list, arguments.undo is not None))
    if chosen != 1:
        raise UsageError(
            "It is not clear what to do.", "Give a file, --list or --undo ID, one of them."
        )
    with unlocked(arguments) as profile:
        if arguments.list:
            return _list(profile, output)
        if arguments.undo is not None:
            return _undo(profile, arguments.undo, output)
        mapping = parse(arguments.map) if arguments.map else None
        if arguments.preview:
            return _preview(profile, arguments.file, mapping, output)
        report = import_file(
            profile, arguments.file, mapping=mapping, progress=_Progress(output).show
        )
        ready = Pairs(profile.db).count(active=True)
    _say_report(report, output)
    output.say(f"{count(ready, 'pair is', 'pairs are')} ready to learn from.")
    output.result(
        {
            "import": report.import_id,
            "format": report.format,
            "forms": dict(report.forms),
            "counts": dict(report.counts),
            "imported": report.imported,
            "duplicates": report.duplicates,
            "rejected": _lines(report.rejected),
            "rejected_count": report.rejected_count,
            "mapping": dict(report.mapping),
            "longer_chosen": report.longer_chosen,
            "groups": report.groups,
            "pairs_ready": ready,
        }
    )
    # A file of which nothing could be used is a failure for a script.
    return 1 if report.rejected_count and not report.imported and not report.duplicates else 0


class _Progress:
    """Says how far a long import is, every few seconds."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._next = time.monotonic() + PROGRESS_SECONDS

    def show(self, done: int, total: int) -> None:
        if time.monotonic() >= self._next and total:
            self._output.progress(f"{done / total:.0%} of {size(total)} read")
            self._next = time.monotonic() + PROGRESS_SECONDS


def _say_report(report: ImportReport, output: Output) -> None:
    output.say(f"{things(report.counts)} imported ({report.format}: {_forms(report.forms)}).")
    output.say(
        f"{report.duplicates:,} known already, {count(report.rejected_count, 'record')} could not "
        "be used."
    )
    _say_rejected(report.rejected, report.rejected_count, output)
    if report.counts.get("pair"):
        output.say(
            f"The pairs are of {count(report.groups, 'group')}; the chosen reply is the longer "
            f"one in {report.longer_chosen:.0%} of them."
        )
    if report.import_id is not None:
        output.say(f"'xeno import --undo {report.import_id}' takes this back.")


def _preview(
    profile: Profile, file: Path, mapping: dict[str, str] | None, output: Output
) -> int | None:
    found = preview(profile, file, mapping=mapping)
    more = "" if found.complete else ", and more follow"
    output.say(f"{found.file}: {found.format}, {count(found.records, 'record')} looked at{more}.")
    output.say(f"Forms: {_forms(found.forms) or 'none known'}.")
    if found.columns:
        output.say(f"Columns: {', '.join(found.columns)}.")
    if found.mapping:
        how = "guessed" if found.guessed else "as you said"
        pairs = ", ".join(f"{field}={column}" for field, column in found.mapping.items())
        output.say(f"Mapping ({how}): {pairs}.")
    values = [(row, texts(row.stored)) for row in found.rows]
    output.table(
        ("line", "kind", "prompt", "reply", "beside it", "known"),
        [
            (row.line, row.kind, *(first_line(part, 36) for part in shown), row.known)
            for row, shown in values
        ],
    )
    _say_rejected(found.rejected, found.rejected_count, output)
    output.say("Nothing is stored yet.")
    output.result(
        {
            "file": found.file,
            "format": found.format,
            "forms": dict(found.forms),
            "columns": list(found.columns),
            "mapping": dict(found.mapping),
            "guessed": found.guessed,
            "records": found.records,
            "complete": found.complete,
            "rejected": _lines(found.rejected),
            "rejected_count": found.rejected_count,
            "rows": [
                {
                    "line": row.line,
                    "kind": row.kind,
                    "known": row.known,
                    **dict(zip(("prompt", "reply", "beside"), shown, strict=True)),
                }
                for row, shown in values
            ],
        }
    )
    return 1 if found.rejected_count and not found.rows else 0


def _list(profile: Profile, output: Output) -> int | None:
    imports = Imports(profile.db).all()
    output.table(
        ("id", "when", "file", "format", "added", "undone"),
        [
            (i.id, when(i.created), i.file, i.format, things(i.counts), i.undone is not None)
            for i in imports
        ],
        "Nothing was imported yet.",
    )
    output.result({"imports": [_values(each) for each in imports]})
    return 0


def _undo(profile: Profile, import_id: int, output: Output) -> int | None:
    done = Imports(profile.db).undo(import_id)
    output.say(f"Import {import_id} is undone: {done.removed} removed.")
    if done.deactivated:
        output.say(f"{count(done.deactivated, 'pair')} taught a version and stay, switched off.")
    if done.kept:
        output.say(f"{count(done.kept, 'conversation')} went on since, and stay.")
    output.result(
        {
            "import": import_id,
            "removed": done.removed,
            "deactivated": done.deactivated,
            "kept": done.kept,
        }
    )
    return 0


def give(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        if arguments.what == "all":
            reports = export_all(profile, arguments.path, arguments.format)
        else:
            reports = [export(profile, arguments.what, arguments.path)]
    output.table(
        ("what", "rows", "size", "file"),
        [(r.what, r.rows, size(r.size), str(r.path)) for r in reports],
    )
    output.say("These files are not encrypted.")
    output.result(
        {
            "files": [
                {"what": r.what, "rows": r.rows, "bytes": r.size, "path": str(r.path)}
                for r in reports
            ]
        }
    )
    return 0


def _say_rejected(rejected: Any, total: int, output: Output) -> None:
    for line in rejected[:SHOWN_REJECTED]:
        output.say(f"  line {line.line}: {line.reason}")
    if total > SHOWN_REJECTED:
        output.say(f"  and {total - SHOWN_REJECTED:,} more")


def _lines(rejected: Any) -> list[dict[str, object]]:
    return [{"line": each.line, "reason": each.reason} for each in rejected]


def _forms(counts: Any) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items())


def _values(each: Import) -> dict[str, object]:
    return {
        "id": each.id,
        "file": each.file,
        "format": each.format,
        "created": each.created,
        "counts": dict(each.counts),
        "duplicates": each.duplicates,
        "rejected": each.rejected,
        "mapping": dict(each.mapping),
        "undone": each.undone,
    }
