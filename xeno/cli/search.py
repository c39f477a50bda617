"""`xeno search`: try a few settings in short runs, and say which scored best."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from xeno.cli.commands import Commands
from xeno.cli.output import Output, shown
from xeno.cli.plans import add_options, plan_from
from xeno.cli.session import unlocked
from xeno.errors import InvalidValueError
from xeno.training.plan import TrainingPlan
from xeno.training.plan_files import write
from xeno.workers.search import Trial, search

_MOST = 27


def add(commands: Commands) -> None:
    parser = commands.add("search", "try a few settings in short runs without privacy", run)
    add_options(parser)
    parser.add_argument("--runs", type=int, default=6, metavar="N", help="how many (default: 6)")
    parser.add_argument("--out", metavar="FILE", help="write the plan with the best settings")


def run(arguments: Namespace, output: Output) -> int | None:
    if not 2 <= arguments.runs <= _MOST:
        raise InvalidValueError(
            f"{arguments.runs} runs are no search.", "", f"Choose 2 to {_MOST} with --runs."
        )

    def tried(trial: Trial) -> None:
        output.progress(
            f"{_said(trial)}: accuracy {shown(trial.accuracy)}, loss {shown(trial.loss)}"
        )

    with unlocked(arguments) as profile:
        plan = plan_from(arguments, profile, output)
        found = search(profile, plan, arguments.runs, tried)
    best = found[0]
    if arguments.out:
        chosen = TrainingPlan.model_validate(plan.model_dump() | dict(best.values))
        write(chosen, Path(arguments.out).expanduser())
    names = list(best.values)
    output.table(
        (*names, "accuracy", "loss"),
        [(*(each.values[name] for name in names), each.accuracy, each.loss) for each in found],
    )
    said = " ".join(f"--set {name}={value}" for name, value in best.values.items())
    output.say(f"The best: xeno train --no-privacy {said}")
    output.result(
        {
            "trials": [
                {
                    "values": dict(each.values),
                    "heldout_preference_accuracy": each.accuracy,
                    "heldout_loss": each.loss,
                    "run": each.run_id,
                }
                for each in found
            ],
            "file": arguments.out,
        }
    )
    return 0


def _said(trial: Trial) -> str:
    return ", ".join(f"{name} {shown(value)}" for name, value in trial.values.items())
