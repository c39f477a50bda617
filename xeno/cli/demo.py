"""`xeno demo`: the whole loop with a scripted user, in a home of its own."""

from __future__ import annotations

from argparse import Namespace

from xeno.cli.commands import Commands
from xeno.cli.output import Output


def add(commands: Commands) -> None:
    parser = commands.add("demo", "show the whole loop with a scripted user (minutes)", run)
    parser.add_argument("--epsilon", type=float, metavar="E", help="with differential privacy")
    parser.add_argument(
        "--keep-home", action="store_true", help="keep the demo's home and say where it is"
    )


def run(arguments: Namespace, output: Output) -> int | None:
    from xeno.demo import run_demo

    result = run_demo(arguments.epsilon, output.progress, keep_home=arguments.keep_home)
    output.table(("measure", "before", "after"), result.table())
    output.result(result.values())
    return 0
