"""`xeno canary`, `promote`, `stats`, `ab`: versions tried in a part of the conversations."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import Any

from xeno.cli.commands import Commands
from xeno.cli.output import Output, when
from xeno.cli.performance import say_table
from xeno.cli.session import unlocked
from xeno.experiments.ab import CHAT_METRICS, ABTest, ABTestingManager
from xeno.experiments.canary import Canaries, Canary
from xeno.experiments.canary_rules import Limits, Standing
from xeno.experiments.decisions import history
from xeno.performance import summary
from xeno.store.profile import Profile

_COUNTED = "A conversation counts once the user has turned to another one, or paused for an hour."


def add(commands: Commands) -> None:
    canary = commands.add("canary", "try a version in a part of the conversations", try_out)
    canary.add_argument("ref", nargs="?", help="a version such as v3; without it, how it does")
    canary.add_argument(
        "--traffic", type=float, default=10.0, metavar="PERCENT", help="of them (default: 10)"
    )
    canary.add_argument(
        "--max-seconds",
        type=float,
        default=Limits.seconds,
        metavar="S",
        help="mean time of a reply that takes it back (default: 5)",
    )
    canary.add_argument(
        "--max-memory", type=float, metavar="GB", help="of the model host (default: 90 %% of all)"
    )
    canary.add_argument(
        "--override", default="", metavar="WHY", help="try it although it did not pass the gate"
    )
    promote = commands.add("promote", "let the version that is tried answer everywhere", promote_it)
    promote.add_argument("--reason", default="", help="why, kept in the history")
    commands.add("stats", "how the versions do, what is tried, and what was decided", stats)
    tests = commands.group("ab", "A/B tests of two versions in the chat", list_tests)
    create = tests.add("create", "begin a test in the chat", create_test)
    create.add_argument("name")
    create.add_argument("a", help="a version such as v3, or 'base'")
    create.add_argument("b", help="the other one")
    create.add_argument(
        "--split", type=float, default=50.0, metavar="PERCENT", help="of conversations for A (50)"
    )
    create.add_argument(
        "--metrics",
        nargs="+",
        choices=CHAT_METRICS,
        default=list(CHAT_METRICS),
        help="what decides (default: all; fewer are decided sooner)",
    )
    tests.add("list", "list the tests", list_tests)
    tests.add("show", "what a test says so far", show_test).add_argument("name")
    end = tests.add("end", "end a test", end_test)
    end.add_argument("name")
    end.add_argument("--winner", choices=("a", "b"), help="what you decide for")


def try_out(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        canaries = Canaries(profile)
        canaries.settle()
        if arguments.ref is not None:
            canaries.start(
                arguments.ref,
                arguments.traffic / 100,
                seconds=arguments.max_seconds,
                memory_bytes=arguments.max_memory and arguments.max_memory * 1e9,
                override=arguments.override,
            )
        found = _canary(profile, output)
    output.result({"canary": found})
    return 0


def promote_it(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        version = Canaries(profile).promote(arguments.reason)
    output.say(f"Version {version.label} answers everywhere from the next reply on.")
    output.result({"active": version.address, "label": version.label})
    return 0


def stats(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        Canaries(profile).settle()
        rows = summary.summaries(profile)
        labels = {each.model: each.label for each in rows}
        say_table(rows, output)
        output.say()
        canary = _canary(profile, output)
        decided = history(profile.db, 20)
    output.say()
    output.table(
        ("when", "what", "decided", "by", "why"),
        [
            (
                when(each.created),
                labels.get(each.subject, each.subject[:12]),
                each.action.replace("_", " "),
                "itself" if each.automatic else "you",
                each.reason,
            )
            for each in decided
        ],
        empty="Nothing was tried yet: see 'xeno canary' and 'xeno ab'.",
    )
    output.result(
        {
            "models": [asdict(each) for each in rows],
            "canary": canary,
            "decisions": [asdict(each) for each in decided],
        }
    )
    return 0


def create_test(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        test = ABTestingManager(profile=profile).create_test(
            arguments.name,
            arguments.a,
            arguments.b,
            arguments.split / 100,
            arguments.metrics,
            in_chat=True,
        )
    output.say(f"{arguments.a} and {arguments.b} answer by turns; the chat does not say which.")
    output.result(_values(test))
    return 0


def list_tests(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        found = ABTestingManager(profile=profile).all()
    output.table(
        ("test", "begun", "ended", "winner", "in the chat", "metrics"),
        [
            (
                each.name,
                when(each.created),
                when(each.ended),
                each.winner,
                each.in_chat,
                ", ".join(each.metrics),
            )
            for each in found
        ],
        empty="There is no test yet: 'xeno ab create NAME v1 v2' begins one.",
    )
    output.result({"tests": [_values(each) for each in found]})
    return 0


def show_test(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        tests = ABTestingManager(profile=profile)
        test, found = tests.get(arguments.name), tests.analyze_test(arguments.name)
    _say_analysis(found, output)
    if test.in_chat:
        output.say(_COUNTED)
    output.result({**_values(test), **found})
    return 0


def end_test(arguments: Namespace, output: Output) -> int | None:
    winner = None if arguments.winner is None else f"variant_{arguments.winner}"
    with unlocked(arguments) as profile:
        found = ABTestingManager(profile=profile).end_test(arguments.name, winner)
    _say_analysis(found, output)
    output.say("The test has ended; what is deployed answers again everywhere.")
    output.result(found)
    return 0


def _canary(profile: Profile, output: Output) -> dict[str, Any] | None:
    canaries = Canaries(profile)
    canary = canaries.current()
    if canary is None:
        output.say("No version is being tried.")
        return None
    standing = canaries.standing(canary)
    version = canaries.label(canary)
    output.say(f"{version} answers in {100 * canary.traffic:.3g} % of the conversations.")
    _say_standing(version, canary, standing, output)
    return {**asdict(canary), "label": version, "standing": asdict(standing)}


def _say_standing(version: str, canary: Canary, standing: Standing, output: Output) -> None:
    limits = canary.limits
    output.table(
        ("", "requests", "failed", "seconds", "conversations", "accepted"),
        [
            (name, arm.requests, arm.failed, arm.seconds, arm.conversations, arm.acceptance)
            for name, arm in ((version, standing.canary), ("active", standing.active))
        ],
    )
    output.say(
        f"Taken back at over {limits.error_rate:.0%} errors, {limits.seconds:g} s per reply, "
        f"{limits.memory_bytes / 1e9:.3g} GB, or evidence of {standing.needed:g} that its replies "
        f"are accepted less often (now {standing.evidence:.3g})."
    )
    output.say(_COUNTED)


def _say_analysis(found: dict[str, Any], output: Output) -> None:
    output.table(
        ("metric", "A", "B", "results", "difference", "percent", "evidence", "better"),
        [
            (
                metric,
                each["variant_a_mean"],
                each["variant_b_mean"],
                f"{each['variant_a_count']} + {each['variant_b_count']}",
                each["difference"],
                each["percent_change"],
                f"{each['evidence']:.3g} of {each['needed']:g}",
                each["winner"] or "not enough evidence",
            )
            for metric, each in found["metrics"].items()
        ],
    )
    output.say(
        f"Of tests without a difference {found['alpha']:.0%} at most name a winner, however often "
        "one looks."
    )


def _values(test: ABTest) -> dict[str, Any]:
    return asdict(test)
