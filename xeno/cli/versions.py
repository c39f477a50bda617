"""`xeno versions`: what was learned, of which model, from what, and how much room it takes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

from xeno.cli import lineage, version_work
from xeno.cli.commands import Commands
from xeno.cli.lineage import of_model
from xeno.cli.output import Output, size, when
from xeno.cli.session import unlocked
from xeno.store.database import Row
from xeno.versions.activation import Activation
from xeno.versions.control import ModelVersion, ModelVersionControl
from xeno.versions.lifecycle import STATE_WORDS, changes
from xeno.versions.records import ASSISTANT, Records, read_json
from xeno.versions.retention import LEAST_KEPT, Retention, models, tidy
from xeno.words import count


def add(commands: Commands) -> None:
    group = commands.group("versions", "list, tag, trace, delete and restore versions", show_all)
    of_model(group.add("list", "list the versions of a model", show_all)).add_argument(
        "--deleted", action="store_true", help="those that can be restored instead"
    )
    _with_ref(group.add("show", "show a version's manifest and history", show_one))
    tag = _with_ref(group.add("tag", "name a version", tag_one))
    tag.add_argument("tag", help="such as 'best'; another version that has it loses it")
    untag = of_model(group.add("untag", "take a tag away", untag_one))
    untag.add_argument("tag")
    _with_ref(group.add("describe", "say what a version is", describe)).add_argument("text")
    _with_ref(group.add("delete", "delete a version that is not in use", delete))
    _with_ref(group.add("restore", "bring a deleted version back, for 7 days", restore))
    lineage.add(group)
    prune = of_model(group.add("prune", "delete old versions, never one that is needed", prune_all))
    prune.add_argument("--keep", type=int, default=10, metavar="N", help="newest kept (10)")
    prune.add_argument("--dry-run", action="store_true", help="only say which")
    group.add("space", "show what versions take on the disk", space)
    version_work.add(group)
    of_model(commands.add("list", "list the versions (as 'xeno versions list')", show_all))


def show_all(arguments: Namespace, output: Output) -> int | None:
    model = getattr(arguments, "model", ASSISTANT)
    deleted = getattr(arguments, "deleted", False)
    with unlocked(arguments) as profile:
        tidy(profile)
        rows = Records(profile, model).rows(deleted=deleted)
        tags = Records(profile, model).tags()
        active = Activation(profile, model).address()
        manifests = [read_json(row, "manifest") for row in rows]
    output.table(
        ("version", "number", "address", "state", "created", "epsilon", "accuracy", "size", "tags"),
        [
            (
                f"v{row['number']}",
                _semantic(row),
                row["address"][:12],
                "deleted" if deleted else STATE_WORDS[row["state"]],
                when(row["created"]),
                _privacy(manifest),
                _accuracy(manifest),
                size(row["bytes"]),
                ", ".join(tags.get(row["address"], ())),
            )
            for row, manifest in zip(rows, manifests, strict=True)
        ],
        empty="No version can be restored." if deleted else "There are no versions yet.",
    )
    in_use = next((f"v{row['number']}" for row in rows if row["address"] == active), None)
    if not deleted:
        nothing = "the base model" if model == ASSISTANT else "none"
        output.say(f"{'Answering' if model == ASSISTANT else 'In use'}: {in_use or nothing}")
    output.result(
        {
            "model": model,
            "active": active,
            "versions": [
                _values(row, manifest, tags.get(row["address"], ()))
                for row, manifest in zip(rows, manifests, strict=True)
            ],
        }
    )
    return 0


def show_one(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        records = Records(profile, arguments.model)
        row = records.row(arguments.ref)
        values = _values(row, read_json(row, "manifest"), records.tags().get(row["address"], ()))
        values["history"] = [
            {"state": each.state, "reason": each.reason, "created": each.created}
            for each in changes(profile.db, row["address"])
        ]
    for key, value in values.items():
        if key not in ("manifest", "history", "gate"):
            output.say(f"{key}: {value}")
    for key, value in values["manifest"].items():
        shown = count(len(value), "pair") if key == "pair_ids" else value
        output.say(f"  {key}: {shown}")
    for each in values["history"]:
        output.say(f"{when(each['created'])}  {STATE_WORDS[each['state']]}. {each['reason']}")
    output.result(values)
    return 0


def tag_one(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile, ModelVersionControl(profile=profile) as control:
        control.tag(arguments.model, arguments.ref, arguments.tag)
        return _say(control.get_version(arguments.model, arguments.tag), "tagged", output)


def untag_one(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        Records(profile, arguments.model).untag(arguments.tag)
    output.say(f"No version is tagged {arguments.tag!r} any more.")
    output.result({"untagged": arguments.tag})
    return 0


def describe(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile, ModelVersionControl(profile=profile) as control:
        control.describe(arguments.model, arguments.ref, arguments.text)
        return _say(control.get_version(arguments.model, arguments.ref), "described", output)


def delete(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        row = Records(profile, arguments.model).delete(arguments.ref)
    private = read_json(row, "manifest").get("private")
    spent = " What it spent of the privacy stays spent." if private else ""
    label = f"v{row['number']}"
    output.say(
        f"Version {label} is deleted; 'xeno versions restore {label}' brings it back for "
        f"7 days.{spent}"
    )
    output.result({"deleted": row["address"], "label": label})
    return 0


def restore(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile, ModelVersionControl(profile=profile) as control:
        found = control.restore(arguments.model, arguments.ref)
    return _say(found, "there again", output)


def prune_all(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        retention = Retention(profile, arguments.model)
        rows = (retention.prunable if arguments.dry_run else retention.prune)(arguments.keep)
    labels = [f"v{row['number']}" for row in rows]
    freed = size(sum(row["bytes"] for row in rows))
    if not rows:
        output.say("Nothing is old enough, or all of it is needed.")
    elif arguments.dry_run:
        output.say(f"Would delete {', '.join(labels)} ({freed}).")
    else:
        output.say(f"Deleted {', '.join(labels)}; {freed} will be free in 7 days.")
    output.result({"labels": labels, "dry_run": arguments.dry_run, "least_kept": LEAST_KEPT})
    return 0


def space(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        tidy(profile)
        found = [Retention(profile, model).space() for model in models(profile)]
    output.table(
        ("model", "versions", "size", "can be restored", "size of these"),
        [
            (each.model, each.versions, size(each.bytes), each.deleted, size(each.deleted_bytes))
            for each in found
        ],
        empty="There are no versions yet.",
    )
    output.result(
        {
            "models": [
                {
                    "model": each.model,
                    "versions": each.versions,
                    "bytes": each.bytes,
                    "deleted": each.deleted,
                    "deleted_bytes": each.deleted_bytes,
                }
                for each in found
            ]
        }
    )
    return 0


def _with_ref(parser: ArgumentParser) -> ArgumentParser:
    parser.add_argument("ref", help="a number, v3, v1.2.0, a tag or a content address")
    return of_model(parser)


def _say(version: ModelVersion, what: str, output: Output) -> int:
    output.say(f"v{version.version} ({version.semantic}) is {what}.")
    output.result(
        {
            "address": version.address,
            "label": f"v{version.version}",
            "tags": list(version.tags),
            "description": version.description,
        }
    )
    return 0


def _semantic(row: Row) -> str:
    return f"v{row['major']}.{row['minor']}.{row['patch']}"


def _privacy(manifest: Mapping[str, Any]) -> str | None:
    if "private" not in manifest:
        return None
    epsilon = manifest.get("epsilon")
    return "not private" if epsilon is None else f"epsilon {epsilon:.3g}"


def _accuracy(manifest: Mapping[str, Any]) -> float | None:
    metrics = manifest.get("metrics", {})
    found = metrics.get("heldout_preference_accuracy", metrics.get("accuracy"))
    return None if found is None else float(found)


def _values(row: Row, manifest: Mapping[str, Any], tags: tuple[str, ...]) -> dict[str, Any]:
    return {
        "number": row["number"],
        "label": f"v{row['number']}",
        "semantic": _semantic(row),
        "address": row["address"],
        "state": row["state"],
        "tags": list(tags),
        "created": row["created"],
        "bytes": row["bytes"],
        "description": row["description"],
        "run": row["run_id"],
        "private": manifest.get("private", False),
        "epsilon": manifest.get("epsilon"),
        "gate": read_json(row, "gate"),
        "manifest": manifest,
    }
