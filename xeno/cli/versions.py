"""`xeno versions`, `xeno deploy`, `xeno rollback`: what was learned, and which of it answers."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from xeno.cli import version_work
from xeno.cli.commands import Commands
from xeno.cli.output import Output, size, when
from xeno.cli.session import unlocked
from xeno.models.base import inspect_base
from xeno.store.profile import Profile
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Registry, Version
from xeno.words import count
from xeno.workers.host_client import base_folder


def add(commands: Commands) -> None:
    group = commands.group("versions", "list, show or delete versions", show_all)
    group.add("list", "list the versions", show_all)
    group.add("show", "show a version's manifest", show_one).add_argument("ref")
    group.add("delete", "delete a version that is not active", delete).add_argument("ref")
    version_work.add(group)
    deploy = commands.add("deploy", "let a version answer from the next reply on", deploy_one)
    deploy.add_argument("ref", help="a version such as v3, a content address, or 'base'")
    rollback = commands.add("rollback", "go back to the previous version, or a named one", back)
    rollback.add_argument("ref", nargs="?", help="a version or 'base' (default: the previous)")
    for parser in (deploy, rollback):
        parser.add_argument("--reason", default="", help="why, kept in the history")


def show_all(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        versions = Registry(profile).all()
        active = Deployment(profile).active()
    output.table(
        ("version", "address", "state", "created", "epsilon", "accuracy", "size"),
        [
            (
                v.label,
                v.address[:12],
                v.state,
                when(v.created),
                _privacy(v),
                v.manifest.metrics.get("heldout_preference_accuracy"),
                size(v.bytes),
            )
            for v in versions
        ],
    )
    output.say(f"Answering: {'the base model' if active is None else active.label}")
    output.result(
        {
            "active": None if active is None else active.address,
            "versions": [_values(version) for version in versions],
        }
    )
    return 0


def show_one(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        version = Registry(profile).get(arguments.ref)
    values = _values(version)
    for key, value in values.items():
        if key != "manifest":
            output.say(f"{key}: {value}")
    for key, value in values["manifest"].items():
        shown = count(len(value), "pair") if key == "pair_ids" else value
        output.say(f"  {key}: {shown}")
    output.result(values)
    return 0


def delete(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        registry = Registry(profile)
        version = registry.get(arguments.ref)
        registry.delete(version.address)
    spent = " What it spent of the privacy stays spent." if version.manifest.private else ""
    output.say(f"Version {version.label} is deleted.{spent}")
    output.result({"deleted": version.address, "label": version.label})
    return 0


def deploy_one(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        deployment = Deployment(profile)
        deployment.deploy(arguments.ref, arguments.reason)
        active = deployment.active()
        _say_active(profile, active, output)
    return 0


def back(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        active = Deployment(profile).rollback(arguments.ref)
        _say_active(profile, active, output)
    return 0


def _say_active(profile: Profile, active: Version | None, output: Output) -> None:
    if active is None:
        output.say("The base model answers from the next reply on.")
    else:
        output.say(f"Version {active.label} answers from the next reply on ({_privacy(active)}).")
    note = None if active is None else _other_base(profile, active)
    if note:
        output.say(note)
    output.result(
        {
            "active": None if active is None else active.address,
            "label": "base" if active is None else active.label,
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


def _values(version: Version) -> dict[str, Any]:
    return {
        "number": version.number,
        "label": version.label,
        "address": version.address,
        "state": version.state,
        "created": version.created,
        "bytes": version.bytes,
        "description": version.description,
        "run": version.run_id,
        "private": version.manifest.private,
        "epsilon": version.manifest.epsilon,
        "gate": version.gate,
        "manifest": version.manifest.model_dump(mode="json"),
    }
