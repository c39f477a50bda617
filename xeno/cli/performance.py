"""`xeno performance`: how fast and how well liked the replies of each version are."""

from __future__ import annotations

from argparse import Namespace

from xeno.cli.commands import Commands
from xeno.cli.output import Output
from xeno.cli.session import unlocked
from xeno.performance.metrics import PerformanceTracker


def add(commands: Commands) -> None:
    commands.add("performance", "how fast and how well liked each version's replies are", show)


def show(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        rows = PerformanceTracker(profile=profile).table()
    if not rows:
        output.say("No replies yet: ask something with 'xeno chat'.")
    else:
        output.table(
            ("version", "replies", "first token, s", "tokens/s", "rating", "accepted"),
            [
                (
                    each["label"],
                    each["replies"],
                    each["first_token_seconds"],
                    each["tokens_per_second"],
                    each["rating"],
                    None if each["acceptance"] is None else f"{each['acceptance']:.0%}",
                )
                for each in rows
            ],
        )
        output.say("Times are medians. Accepted: neither thumbed down, corrected nor regenerated.")
    output.result({"models": rows})
    return 0
