"""The trainer child: `python -m xeno.workers.trainer`. Trains one run, then ends.

Commands: OpenProfile, Train, StopTraining. Events: what `xeno.training.trainer.train` emits,
then RunFinished; a failure is a Failure event and exit status 1.
"""

from __future__ import annotations

from xeno.errors import ChildError
from xeno.events import Command, OpenProfile, StopTraining, Train
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.workers.protocol import Channel, failure, opened, run_child


class Trainer:
    """Carries out the commands of one channel."""

    def __init__(self) -> None:
        self._stop: StopTraining | None = None
        self.channel = Channel(self._urgent)

    def work(self) -> None:
        """Wait for a profile and a run, train it, and return."""
        profile: Profile | None = None
        for command in self.channel:
            match command:
                case OpenProfile():
                    profile = opened(command)
                case Train():
                    if profile is None:
                        raise ChildError("The trainer was given a run before a profile.")
                    with profile:
                        self._train(profile, command.run_id)
                    return
                case _:
                    raise ChildError(f"The trainer does not know the command {command.type}.")

    def _train(self, profile: Profile, run_id: str) -> None:
        from xeno.training.trainer import train  # torch, peft, opacus: seconds to import

        try:
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


def main() -> None:
    """Run the trainer until its run has ended."""
    trainer = Trainer()
    run_child(trainer.work, trainer.channel.emit)


if __name__ == "__main__":
    main()
