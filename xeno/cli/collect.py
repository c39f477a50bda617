"""`xeno collect`: examples from a repository, documents, a journal, or a teacher."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from xeno.cli.commands import Commands, UsageError
from xeno.cli.output import Output
from xeno.cli.session import interactive, unlocked
from xeno.collect.collecting import Collector, Plan, collect, plan
from xeno.collect.documents import markdown, source
from xeno.collect.git import GitHistory
from xeno.collect.journal import journal
from xeno.collect.teacher import (
    Question,
    Teacher,
    TeacherAddress,
    prompts_of,
    replies_of,
    set_teacher,
    teacher_of,
)
from xeno.data.importing import import_file
from xeno.errors import InvalidValueError
from xeno.store.profile import Profile
from xeno.words import count

_SHOWN = 20
_FOLDERS = {"markdown": markdown, "source": source, "journal": journal}


def add(commands: Commands) -> None:
    group = commands.group("collect", "collect examples from what you have", _overview)
    history = group.add("git", "commit messages and changes of a git repository", from_git)
    history.add_argument("place", type=Path, help="the repository's folder")
    history.add_argument("--author", metavar="NAME", help="only commits of this author")
    history.add_argument("--limit", type=int, default=10_000, metavar="N")
    for name, text in (
        ("markdown", "sections of markdown documents"),
        ("source", "documented functions and classes of source files"),
        ("journal", "dated entries of journal text"),
    ):
        parser = group.add(name, text, from_folder)
        parser.add_argument("place", type=Path, help="a folder, or one file")
        parser.set_defaults(collector=name)
        _output_options(parser)
    _output_options(history)
    teacher = group.add("teacher", "corrections and pairs from a larger model", from_teacher)
    teacher.add_argument("task", nargs="?", choices=("correct", "compare"))
    teacher.add_argument("--address", metavar="URL", help="name the teacher; it is off until then")
    teacher.add_argument("--model", metavar="NAME")
    teacher.add_argument("--key-stdin", action="store_true", help="read its key from stdin")
    teacher.add_argument("--off", action="store_true", help="forget the teacher and its key")
    teacher.add_argument("--prompts", type=Path, metavar="FILE", help="questions, one per line")
    teacher.add_argument("--limit", type=int, default=100, metavar="N")
    _output_options(teacher)


def _output_options(parser: ArgumentParser) -> None:
    parser.add_argument("--to", type=Path, metavar="FILE", help="the JSONL file to add to")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be read")
    parser.add_argument("--yes", action="store_true", help="go on without asking")
    parser.add_argument("--import", action="store_true", dest="bring", help="import it afterwards")


def _overview(arguments: Namespace, output: Output) -> int | None:
    output.say("xeno collect git|markdown|source|journal|teacher; each shows first what it reads.")
    output.result({"collectors": ["git", *_FOLDERS, "teacher"]})
    return 0


def from_git(arguments: Namespace, output: Output) -> int | None:
    collector = GitHistory(arguments.place, author=arguments.author, limit=arguments.limit)
    return _run(collector, arguments, output)


def from_folder(arguments: Namespace, output: Output) -> int | None:
    return _run(_FOLDERS[arguments.collector](arguments.place), arguments, output)


def from_teacher(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        _name_teacher(profile, arguments, output)
        if arguments.task is None:
            teacher = teacher_of(profile)
            shown = f"{teacher.address}, model {teacher.model}" if teacher else "none, it is off"
            output.say(f"Teacher: {shown}.")
            output.result(
                {
                    "address": teacher.address if teacher else None,
                    "model": teacher.model if teacher else None,
                }
            )
            return 0
        if arguments.prompts is not None:
            if arguments.task == "correct":
                raise UsageError(
                    "Only replies can be corrected.", "", "Use 'compare' for questions of a file."
                )
            questions = _questions(arguments.prompts)
        else:
            choose = replies_of if arguments.task == "correct" else prompts_of
            questions = choose(profile, arguments.limit)
        return _run(Teacher(profile, arguments.task, questions), arguments, output, profile)


def _name_teacher(profile: Profile, arguments: Namespace, output: Output) -> None:
    if arguments.off:
        set_teacher(profile, None)
        output.say("The teacher is off; its key is forgotten.")
        return
    before = teacher_of(profile)
    key = sys.stdin.readline().strip() if arguments.key_stdin else None
    if arguments.address or arguments.model or key is not None:
        address = arguments.address or (before.address if before else "")
        model = arguments.model or (before.model if before else "")
        set_teacher(profile, TeacherAddress(address, model), key)


def _questions(path: Path) -> list[Question]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(
            f"{path} cannot be read.", str(error), "Name a UTF-8 text file, one question per line."
        ) from error
    asked = [line.strip() for line in lines if line.strip()]
    return [Question(({"role": "user", "content": line},)) for line in asked]


def _run(
    collector: Collector, arguments: Namespace, output: Output, profile: Profile | None = None
) -> int | None:
    """Show what will be read; go on when that is wanted; collect, and import if asked to."""
    target = arguments.to or Path(f"{collector.name}.jsonl")
    planned = plan(collector, target)
    _show(planned, output)
    if arguments.dry_run or not _agreed(planned, arguments, output):
        output.say("Nothing was read yet." if planned.entries else "There is nothing new.")
        output.result(_values(planned) | {"dry_run": True})
        return 0
    report = collect(collector, target)
    output.say(f"{count(report.added, 'record')} added to {report.path}, {report.total} in all.")
    for reason, number in sorted(report.skipped.items()):
        output.say(f"  {number} gave none: {reason}")
    imported = None
    if arguments.bring and report.total:
        if profile is not None:
            imported = import_file(profile, report.path)
        else:
            with unlocked(arguments) as opened:
                imported = import_file(opened, report.path)
        output.say(f"{imported.imported} imported, {imported.duplicates} known already.")
    output.result(
        _values(planned)
        | {
            "file": str(report.path),
            "manifest": str(report.manifest),
            "added": report.added,
            "known": report.known,
            "total": report.total,
            "skipped": dict(report.skipped),
            "imported": imported.imported if imported else None,
        }
    )
    return 0


def _show(planned: Plan, output: Output) -> None:
    output.say(f"{planned.where}.")
    output.say(f"{len(planned.entries)} to read:")
    for entry in planned.entries[:_SHOWN]:
        output.say(f"  {entry.name}  ({entry.size})")
    if len(planned.entries) > _SHOWN:
        output.say(f"  and {len(planned.entries) - _SHOWN} more")
    for reason, number in sorted(planned.left_out.items()):
        output.say(f"{number} left out: {reason}")


def _agreed(planned: Plan, arguments: Namespace, output: Output) -> bool:
    if not planned.entries:
        return False
    if arguments.yes:
        return True
    if output.as_json or not interactive():
        output.say("Say --yes to go on.")
        return False
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")


def _values(planned: Plan) -> dict[str, object]:
    return {
        "where": planned.where,
        "to_read": len(planned.entries),
        "size": planned.size,
        "left_out": dict(planned.left_out),
        "entries": [{"name": e.name, "size": e.size} for e in planned.entries[:100]],
    }
