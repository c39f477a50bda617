"""The trainer child: `python -m xeno.workers.trainer`. Trains one run, then ends.

Commands: OpenProfile, Train, StopTraining. Events: what `xeno.training.trainer.train` emits,
then RunFinished; a failure is a Failure event and exit status 1.
"""

from __future__ import annotations

import sys

from xeno.errors import InvalidValueError, RunGoingOnError
from xeno.events import Command, StopTraining, Train
from xeno.store import files
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.workers.protocol import Channel, failure, one_order, run_child

_PATIENCE = 10.0  # seconds for an earlier trainer to find out that its program is gone


class Trainer:
    """Carries out the commands of one channel."""

    def __init__(self) -> None:
        self._stop: StopTraining | None = None
        self.channel = Channel(self._urgent)

    def work(self) -> None:
        """Wait for a profile and a run, train it, and return."""
        one_order(self.channel, Train, lambda profile, order: self._train(profile, order.run_id))

    def _train(self, profile: Profile, run_id: str) -> None:
        try:
            _only_one(profile)
            from xeno.training.trainer import train  # torch, peft, opacus: seconds to import

            _limit_memory(Runs(profile.db).get(run_id).plan.memory_limit)
            finished = train(profile, run_id, self.channel.emit, lambda: self._stop)
        except Exception as error:  # written down, then raised again
            runs = Runs(profile.db)
            if runs.get(run_id).status in {"waiting", "running"}:
                runs.finish(run_id, "failed", failure=failure(error))
            raise
        self.channel.emit(finished)

    def _urgent(self, command: Command) -> bool:
        if isinstance(command, StopTraining):
            self._stop = command
            return True
        return False


def _only_one(profile: Profile) -> None:
    """Let this process be the only one that trains on `profile`, until it ends.

    The table of runs says so already; the lock says it too where a clock was set, a program was
    killed at the wrong moment, or the profile's folder is used from another container.
    """
    if files.hold(profile.paths.training_lock, _PATIENCE) is None:
        raise RunGoingOnError(
            "Another run of this profile is going on.",
            "Its trainer still lives, though its program may be gone.",
            "Wait until it has ended, or end its process.",
        )


def _limit_memory(megabytes: int | None) -> None:
    """Let the system refuse this process more memory of its own than so much."""
    if megabytes is None:
        return
    if sys.platform != "linux":
        raise InvalidValueError(
            "The memory limit cannot be kept here.",
            "Only Linux refuses a process more memory than a limit.",
            "Take the memory limit out of the plan.",
        )
    import resource

    limit = megabytes * 10**6
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def main() -> None:
    """Run the trainer until its run has ended."""
    trainer = Trainer()
    run_child(trainer.work, trainer.channel.emit)


if __name__ == "__main__":
    main()
