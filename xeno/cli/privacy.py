"""`xeno privacy`: what has been spent, on what, and how much may be."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, get_args

from xeno.cli.commands import Commands
from xeno.cli.output import Output, when
from xeno.cli.session import unlocked
from xeno.events import AuditProgress
from xeno.models.starter import starter_folder
from xeno.privacy.accounts import PERIOD_MEANING, PERIOD_WARNING, RESET_MEANING, UNITS
from xeno.privacy.audit.words import checks_of, contradicted, leak_sentences
from xeno.privacy.budget import DEFAULT_EPSILON, strength
from xeno.privacy.entries import LedgerEntry, Period, Unit
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.ledger_files import account_of, written
from xeno.store import files
from xeno.words import count
from xeno.workers.audit_client import AuditRun


def add(commands: Commands) -> None:
    group = commands.group("privacy", "show or change the privacy budget", status)
    group.add("status", "show what is spent and what is left", status)
    book = group.add("ledger", "list every entry with what it cost; checks the chain", ledger)
    book.add_argument("--format", choices=("table", "csv", "json"), default="table")
    book.add_argument("--output", metavar="FILE", help="write there instead of the screen")
    budget = group.add("budget", "show or set the budget", set_budget)
    budget.add_argument("epsilon", type=float, nargs="?")
    budget.add_argument("--delta", type=float, default=None)
    budget.add_argument("--unit", choices=UNITS, default="pair")
    budget.add_argument("--period", choices=get_args(Period), default=None)
    again = group.add("reset", "let an account count from nothing again; says what it means", reset)
    again.add_argument("--unit", choices=UNITS, default="pair")
    again.add_argument("--reason", default="", help="kept in the ledger")
    again.add_argument("--yes", action="store_true", help="do it")
    check = group.add("audit", "test the mechanism, the books and how much a run leaks", run_audit)
    check.add_argument("--canaries", type=int, default=200, help="random pairs (0: no leak check)")
    check.add_argument("--epsilon", type=float, default=DEFAULT_EPSILON, help="of the run")
    check.add_argument("--no-privacy", action="store_true", help="a run without noise")
    check.add_argument("--base", type=Path, help="another base than the starter model")


def status(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        _shown(PrivacyLedger(profile), output)
    return 0


def ledger(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        book = PrivacyLedger(profile)
        entries = book.entries()
        book.verify()
        text = "" if arguments.format == "table" else written(book, arguments.format)
    if text and arguments.output:
        files.write_atomic(Path(arguments.output), text.encode())
    elif text:
        output.say(text.rstrip("\n"))
    else:
        output.table(
            ("nr", "written", "kind", "version", "unit", "noise", "steps", "epsilon", "total"),
            [_line(entry) for entry in entries],
        )
        output.say(
            f"{count(len(entries), 'entry', 'entries')}; the chain of their hashes is whole."
        )
    output.result({"entries": [_values(entry) for entry in entries], "verified": True})
    return 0


def set_budget(arguments: Namespace, output: Output) -> int | None:
    unit: Unit = arguments.unit
    with unlocked(arguments) as profile:
        book = PrivacyLedger(profile)
        if (arguments.epsilon, arguments.delta, arguments.period) != (None, None, None):
            rules = book.rules(unit)
            book.set_budget(
                rules.epsilon if arguments.epsilon is None else arguments.epsilon,
                rules.delta if arguments.delta is None else arguments.delta,
                unit,
                arguments.period or rules.period,
            )
        _shown(book, output, unit)
    return 0


def reset(arguments: Namespace, output: Output) -> int | None:
    output.say(RESET_MEANING)
    with unlocked(arguments) as profile:
        book = PrivacyLedger(profile)
        if arguments.yes:
            book.reset(arguments.unit, arguments.reason)
        else:
            output.say("Nothing was changed. Repeat with --yes and --reason to do it.")
        _shown(book, output, arguments.unit)
    return 0


def run_audit(arguments: Namespace, output: Output) -> int | None:
    """Exit status 1 where a check fails, or the leak proves more than the run claims."""
    plan = {"private": not arguments.no_privacy, "epsilon": arguments.epsilon}
    last = -1

    def tell(progress: AuditProgress) -> None:
        nonlocal last
        if int(10 * progress.share) > last:
            last = int(10 * progress.share)
            output.progress(f"{progress.share:4.0%} {progress.text}")

    with unlocked(arguments) as profile:
        run = AuditRun(profile, arguments.base or starter_folder(), arguments.canaries, plan, tell)
        try:
            found = run.wait()
        except BaseException:  # Ctrl-C: no child outlives the command
            run.stop()
            raise
    for title, passed, said in checks_of(found):
        output.say(f"{'ok    ' if passed else 'FAILED'} {title}. {said}")
    for sentence in leak_sentences(found):
        output.say(sentence)
    sound = all(passed for _, passed, _ in checks_of(found)) and not contradicted(found)
    output.result(found | {"sound": sound})
    return 0 if sound else 1


def _shown(book: PrivacyLedger, output: Output, unit: Unit = "pair") -> None:
    account, rules = account_of(book, unit), book.rules(unit)
    spent, left = account["spent"], max(rules.epsilon - account["spent"], 0.0)
    output.say(
        f"Spent: epsilon {spent:.3g} of a budget of {rules.epsilon:.3g} (delta {rules.delta:g}, "
        f"unit: {unit}); {left:.3g} left. {PERIOD_MEANING[rules.period]}"
    )
    if rules.period != "life":
        output.say(PERIOD_WARNING)
    if account["lifetime"]:
        output.say(
            f"All that was ever released: epsilon {account['lifetime']:.3g}, a "
            f"{strength(account['lifetime'])} guarantee per {unit}."
        )
    entries = book.entries()
    for entry in entries:
        if entry.kind == "remembered":
            output.say(f"Entry {entry.seq}: {entry.note}")
    output.say(
        f"It covers what versions reveal about a single {unit}. It does not cover files on this "
        "machine, the measured accuracy of a run, or versions trained without it."
    )
    output.result(
        account
        | {
            "left": left,
            "strength": strength(spent) if spent else None,
            "entries": len(entries),
        }
    )


def _line(entry: LedgerEntry) -> tuple[object, ...]:
    mechanism = entry.mechanism
    return (
        entry.seq,
        when(entry.created),
        entry.kind,
        entry.version[:12] or entry.note[:40] or None,
        entry.unit,
        mechanism.noise_multiplier if mechanism else None,
        mechanism.steps if mechanism else None,
        entry.epsilon_alone if mechanism else None,
        entry.epsilon_total if mechanism else None,
    )


def _values(entry: LedgerEntry) -> dict[str, Any]:
    values = entry.values()
    return values | {"run": values.pop("run_id")}
