"""`xeno bench`: measurements of what ships with XENO."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from xeno.cli.commands import Commands
from xeno.cli.output import Output
from xeno.models.starter import starter_folder


def add(commands: Commands) -> None:
    group = commands.group("bench", "measure what ships with XENO", run_starter)
    starter = group.add("starter", "measure the starter model on held-out prompts", run_starter)
    starter.add_argument("--folder", type=Path, help="another folder of the starter model")
    starter.add_argument("--prompts", type=int, default=200, help="how many held-out prompts")


def run_starter(arguments: Namespace, output: Output) -> int | None:
    from xeno.benchmarking import starter

    folder = getattr(arguments, "folder", None) or starter_folder()
    result = starter.measure(folder, getattr(arguments, "prompts", 200))
    missed = starter.missed(result)
    output.table(
        ("measure", "value", "target", ""),
        [
            (name, value, _target(name), "missed" if name in missed else "")
            for name, value in result.items()
        ],
    )
    output.result({"measures": result, "missed": missed})
    return 1 if missed else 0


def _target(name: str) -> str:
    from xeno.benchmarking.starter import TARGETS

    if name not in TARGETS:
        return ""
    at_least, bound = TARGETS[name]
    return f"{'at least' if at_least else 'at most'} {bound:g}"
