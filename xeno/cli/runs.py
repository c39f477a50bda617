"""xeno runs: what was trained, how two runs differ, and the same again."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from xeno.cli.commands import Commands
from xeno.cli.output import Output, duration, shown, size, when
from xeno.cli.session import unlocked
from xeno.cli.train import ON_STOP, carry_out, go_on, say_samples
from xeno.errors import InvalidValueError
from xeno.events import LogLine, SampleReplies
from xeno.store import files
from xeno.store.profile import Profile
from xeno.store.runs import Run, Runs
from xeno.training.candidates import repeated
from xeno.training.curves import CHARTS, Curves
from xeno.training.record import Difference, compare, record
from xeno.words import count

_SHOWN = 50  # runs that are listed unless more are asked for
_PLACES = 12  # values of a curve that are printed


def add(commands: Commands) -> None:
    group = commands.group("runs", "list the training runs", show_runs)
    parser = group.add("list", "list the training runs, the newest first", show_runs)
    how_many = parser.add_mutually_exclusive_group()
    how_many.add_argument(
        "--limit", type=int, metavar="N", help=f"how many (default: {_SHOWN})", default=_SHOWN
    )
    how_many.add_argument("--all", action="store_true", help="all of them")
    group.add("show", "show one run", show_run).add_argument("id", metavar="RUN")
    parser = group.add("compare", "how the second run differs from the first", compare_runs)
    parser.add_argument("first", metavar="RUN")
    parser.add_argument("second", metavar="RUN")
    parser = group.add("again", "train once more with the settings of a run", again)
    parser.add_argument("id", metavar="RUN")
    parser.add_argument("--force", action="store_true", help="train although there are few pairs")
    parser.add_argument("--on-stop", **ON_STOP)
    parser = group.add("resume", "go on with a run that was interrupted", resume)
    parser.add_argument("id", nargs="?", metavar="RUN", help="the newest one if not given")
    parser.add_argument("--on-stop", **ON_STOP)
    parser = group.add("discard", "give up a run that could be resumed", discard)
    parser.add_argument("id", metavar="RUN")
    parser = group.add("export", "write the record of a run as JSON, without any text", export)
    parser.add_argument("id", metavar="RUN")
    parser.add_argument("--out", metavar="FILE", help="file to write; otherwise it is printed")


def show_runs(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        runs = Runs(profile.db)
        runs.mark_interrupted()
        limit = -1 if getattr(arguments, "all", False) else getattr(arguments, "limit", _SHOWN)
        found, total = runs.all(limit), runs.count()
    output.table(
        ("run", "status", "created", "private", "accuracy", "version"),
        [
            (
                each.id[:8],
                each.status,
                when(each.created),
                each.plan.private,
                each.metrics.get("heldout_preference_accuracy"),
                (each.version or "-")[:12],
            )
            for each in found
        ],
    )
    if len(found) < total:
        output.say(f"{len(found)} of {count(total, 'run')}; see 'xeno runs list --all'.")
    output.result({"runs": [_values(each) for each in found], "total": total})
    return 0


def show_run(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        run = find(profile, arguments.id)
        events = Runs(profile.db).events(run.id)
    for key, value in _values(run).items():
        if key == "metrics":
            value = {name: each for name, each in value.items() if not isinstance(each, list)}
        output.say(f"{key}: {value}")
    for out in run.metrics.get("pairs_left_out", ()):
        output.say(f"left out: {out['pair']}. {out['reason']}")
    for cut in run.metrics.get("cuts", ()):
        what = "prompt" if cut["part"] == "prompt" else f"{cut['part']} reply"
        end = "beginning" if cut["side"] == "left" else "end"
        output.say(f"cut: {cut['pair']} lost {cut['tokens']} tokens at the {end} of its {what}")
    curves = Curves(events)
    for chart in CHARTS:
        for line, curve in curves.lines(chart.name).items():
            every = max(1, -(-len(curve) // _PLACES))
            values = " ".join(f"{value:.3g}" for value in curve.values[::every])
            output.say(f"{chart.title} ({line}): {values} {chart.unit}".rstrip())
    for event in events:
        if isinstance(event, LogLine):
            output.say(f"log: {event.text}")
        elif isinstance(event, SampleReplies):
            say_samples(event, output)
    output.result({**_values(run), "events": [event.model_dump() for event in events]})
    return 0


def compare_runs(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        first, second = find(profile, arguments.first), find(profile, arguments.second)
    found = compare(first, second)
    heads = (first.id[:8], second.id[:8])
    for title, differences in (
        ("setting", found.settings),
        ("circumstance", found.facts),
        ("result", found.metrics),
    ):
        if differences:
            rows = [(each.title, _cell(each, 0), _cell(each, 1)) for each in differences]
            output.table((title, *heads), rows)
            output.say()
    if not found.settings:
        output.say("Both runs have the same settings.")
    output.result(
        {
            "first": first.id,
            "second": second.id,
            "settings": {each.name: [each.first, each.second] for each in found.settings},
            "facts": {each.name: [each.first, each.second] for each in found.facts},
            "metrics": {each.name: [each.first, each.second] for each in found.metrics},
        }
    )
    return 0


def again(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        plan = repeated(find(profile, arguments.id).plan)
        if arguments.force:
            plan = plan.model_copy(update={"force": True})
        return carry_out(profile, plan, arguments.on_stop, output)


def resume(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        runs = Runs(profile.db)
        runs.mark_interrupted()
        known = [each.run.id for each in runs.resumable()]
        wanted = [each for each in known if each.startswith(arguments.id or "")]
        if not wanted or (arguments.id and len(wanted) > 1):
            raise InvalidValueError(
                f"There is no single run {arguments.id!r} to resume."
                if arguments.id
                else "There is no run to resume.",
                f"Those that can be resumed are: {', '.join(each[:8] for each in known)}."
                if known
                else "None was interrupted.",
                "See 'xeno runs' for all runs, or start one with 'xeno train'.",
            )
        return go_on(profile, wanted[0], arguments.on_stop, output)


def discard(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        run = find(profile, arguments.id)
        Runs(profile.db).discard(run.id)
    output.say(f"The run {run.id[:8]} was given up; its checkpoints cannot be opened any more.")
    output.result({"run": run.id, "status": "discarded"})
    return 0


def export(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        run = find(profile, arguments.id)
        found = record(run, Runs(profile.db).events(run.id))
    if arguments.out:
        path = Path(arguments.out).expanduser()
        files.write_atomic(path, (found.model_dump_json(indent=1) + "\n").encode())
        output.say(f"The record of the run {run.id[:8]} is in {path}.")
        if found.left_out:
            output.say(found.left_out)
        output.result({"run": run.id, "file": str(path), "left_out": found.left_out})
    else:
        output.say(found.model_dump_json(indent=1))
        output.result(found.model_dump(mode="json"))
    return 0


def find(profile: Profile, beginning: str) -> Run:
    """The run whose id begins with `beginning`.

    Raises:
        InvalidValueError: if there is none, or more than one.
    """
    runs = Runs(profile.db)
    runs.mark_interrupted()
    found = [each for each in runs.all(-1) if each.id.startswith(beginning)]
    if len(found) != 1:
        raise InvalidValueError(
            f"There is no single run {beginning!r}.",
            f"{len(found)} ids begin with that.",
            "See 'xeno runs' for the ids.",
        )
    return found[0]


def _cell(difference: Difference, place: int) -> str:
    value = (difference.first, difference.second)[place]
    if value is None:
        return "-"
    if difference.name == "seconds":
        return duration(value)
    if difference.name == "peak_memory_bytes":
        return size(value)
    return shown(value)[:40]


def _values(each: Run) -> dict[str, Any]:
    return {
        "id": each.id,
        "status": each.status,
        "created": each.created,
        "started": each.started,
        "finished": each.finished,
        "plan": each.plan.model_dump(),
        "base_hash": each.base_hash,
        "data_hash": each.data_hash,
        "environment": dict(each.environment),
        "metrics": dict(each.metrics),
        "failure": None if each.failure is None else each.failure.model_dump(),
        "version": each.version,
    }
