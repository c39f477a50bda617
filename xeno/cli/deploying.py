"""`xeno deploy`, `xeno rollback`, `xeno current`: which version answers, and the gate before it."""

from __future__ import annotations

from argparse import Namespace

from xeno.cli.commands import Commands
from xeno.cli.output import Output, when
from xeno.cli.session import unlocked
from xeno.errors import XenoError
from xeno.events import GateProgress
from xeno.models.base import inspect_base
from xeno.store.profile import Profile
from xeno.versions.deployment import BASE, Deployment
from xeno.versions.gate import GateReport
from xeno.versions.registry import Version
from xeno.workers import gate_client
from xeno.workers.host_client import base_folder

_ANSWERS = {True: "yes", False: "NO", None: "-"}


def add(commands: Commands) -> None:
    deploy = commands.add("deploy", "let a version answer from the next reply on", deploy_one)
    deploy.add_argument("ref", help="a number, v3, v1.2.0, a tag, a content address, or 'base'")
    deploy.add_argument(
        "--dry-run", action="store_true", help="only send it through the gate and print the report"
    )
    deploy.add_argument(
        "--override",
        default="",
        metavar="WHY",
        help="let it answer also if it does not pass the gate; WHY is kept in the history",
    )
    rollback = commands.add("rollback", "go back to the previous version, or a named one", back)
    rollback.add_argument("ref", nargs="?", help="a version or 'base' (default: the previous)")
    for parser in (deploy, rollback):
        parser.add_argument("--reason", default="", help="why, kept in the history")
    commands.add("current", "show what answers now, and how it came to that", current)


def deploy_one(arguments: Namespace, output: Output) -> int | None:
    told = _Progress(output)
    with unlocked(arguments) as profile:
        if arguments.dry_run:
            if arguments.ref == BASE:
                raise XenoError("The base model needs no check.", "It is no version.", "")
            report = gate_client.GateRun(profile, arguments.ref, told).wait()
            _say_report(report, output)
            return 0 if report.passed else 1
        active = gate_client.deploy(
            profile,
            arguments.ref,
            arguments.reason,
            override=arguments.override,
            on_progress=told,
        )
        if arguments.override:
            output.say("It answers because you said so; the reason is kept in the history.")
        _say_active(profile, active, output)
    return 0


def back(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        deployment = Deployment(profile)
        canary = deployment.canary()
        active = deployment.rollback(arguments.ref, arguments.reason)
        if canary is not None:
            output.say(f"{canary.label} is not tried any more.")
        _say_active(profile, active, output)
    return 0


def current(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        deployment = Deployment(profile)
        active, canary = deployment.active(), deployment.canary()
        history = deployment.history()
        note = None if active is None else _other_base(profile, active)
    output.say(f"{_name(active)} answers.")
    if history:
        last = history[-1]
        reason = f": {last.override or last.reason}" if last.override or last.reason else ""
        output.say(f"Since {when(last.created)} ({last.action}{reason}).")
    if canary is not None:
        output.say(f"{canary.label} is tried in some replies.")
    if note:
        output.say(note)
    output.result(
        {
            "active": None if active is None else active.address,
            "label": BASE if active is None else active.label,
            "canary": None if canary is None else canary.address,
            "since": history[-1].created if history else None,
            "action": history[-1].action if history else None,
            "reason": history[-1].reason if history else None,
            "override": history[-1].override if history else None,
            "note": note,
        }
    )
    return 0


class _Progress:
    """Says what the gate does, each thing once."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._said = ""

    def __call__(self, event: GateProgress) -> None:
        if event.text != self._said:
            self._said = event.text
            self._output.progress(f"{event.share:4.0%}  {event.text}")


def _say_report(report: GateReport, output: Output) -> None:
    output.table(
        ("check", "passed", "what was found"),
        [(check.name, _ANSWERS[check.passed], check.detail) for check in report.checks],
    )
    output.say("It passes the gate." if report.passed else "It does not pass the gate.")
    output.result(report.model_dump(mode="json"))


def _name(active: Version | None) -> str:
    return "The base model" if active is None else f"Version {active.label} ({active.semantic})"


def _say_active(profile: Profile, active: Version | None, output: Output) -> None:
    how = "" if active is None else f" ({_privacy(active)})"
    output.say(f"{_name(active)} answers from the next reply on{how}.")
    note = None if active is None else _other_base(profile, active)
    if note:
        output.say(note)
    output.result(
        {
            "active": None if active is None else active.address,
            "label": BASE if active is None else active.label,
            "note": note,
        }
    )


def _other_base(profile: Profile, active: Version) -> str | None:
    base = inspect_base(base_folder(profile), profile.home)
    if base.base_hash == active.base_hash:
        return None
    return (
        f"{active.label} was trained on {active.manifest.base_name}, and the chat uses "
        f"{base.name}: until you choose that base with 'xeno base DIR', the base model answers."
    )


def _privacy(version: Version) -> str:
    epsilon = version.manifest.epsilon
    if not version.manifest.private or epsilon is None:
        return "not private"
    return f"epsilon {epsilon:.3g}"
