"""`xeno privacy`: what has been spent, on what, and how much may be."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from xeno.cli.commands import Commands
from xeno.cli.output import Output, when
from xeno.cli.session import unlocked
from xeno.privacy.budget import strength
from xeno.privacy.ledger import LedgerEntry, PrivacyLedger
from xeno.words import count


def add(commands: Commands) -> None:
    group = commands.group("privacy", "show or change the privacy budget", status)
    group.add("status", "show what is spent and what is left", status)
    group.add("ledger", "list every release with what it cost; checks the chain", ledger)
    budget = group.add("budget", "show or set the lifetime budget", set_budget)
    budget.add_argument("epsilon", type=float, nargs="?")
    budget.add_argument("--delta", type=float, default=None)


def status(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        _shown(PrivacyLedger(profile), output)
    return 0


def ledger(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        book = PrivacyLedger(profile)
        book.verify()
        entries = book.entries()
    output.table(
        ("nr", "released", "version", "unit", "noise", "steps", "epsilon", "total"),
        [
            (
                e.seq,
                when(e.created),
                e.version[:12],
                e.unit,
                e.mechanism.noise_multiplier,
                e.mechanism.steps,
                e.epsilon_alone,
                e.epsilon_total,
            )
            for e in entries
        ],
    )
    output.say(f"{count(len(entries), 'entry', 'entries')}; the chain of their hashes is whole.")
    output.result({"entries": [_values(entry) for entry in entries], "verified": True})
    return 0


def set_budget(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        book = PrivacyLedger(profile)
        if arguments.epsilon is not None or arguments.delta is not None:
            epsilon, delta = book.budget()
            book.set_budget(
                epsilon if arguments.epsilon is None else arguments.epsilon,
                delta if arguments.delta is None else arguments.delta,
            )
        _shown(book, output)
    return 0


def _shown(book: PrivacyLedger, output: Output) -> None:
    spent, (budget, delta) = book.spent(), book.budget()
    left = max(budget - spent, 0.0)
    output.say(
        f"Spent: epsilon {spent:.3g} of a lifetime budget of {budget:.3g} (delta {delta:g}); "
        f"{left:.3g} left."
    )
    if spent:
        output.say(f"What was released so far has a {strength(spent)} guarantee per pair.")
    output.say(
        "It covers what versions reveal about single pairs. It does not cover files on this "
        "machine, the measured accuracy of a run, or versions trained without it."
    )
    output.result(
        {
            "spent": spent,
            "budget": budget,
            "left": left,
            "delta": delta,
            "strength": strength(spent) if spent else None,
            "entries": len(book.entries()),
        }
    )


def _values(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "run": entry.run_id,
        "version": entry.version,
        "unit": entry.unit,
        "mechanism": entry.mechanism.model_dump(),
        "delta": entry.delta,
        "epsilon_alone": entry.epsilon_alone,
        "epsilon_total": entry.epsilon_total,
        "created": entry.created,
        "hash": entry.hash,
    }
