"""The gate child: `python -m xeno.workers.gate`. Examines one version, then ends.

Commands: OpenProfile, CheckVersion, StopTraining. Events: GateProgress, then GateFinished; a
failure is a Failure event and exit status 1. A base model of its own, so that chat goes on.
"""

from __future__ import annotations

import threading

from xeno.events import CheckVersion, Command, GateFinished, GateProgress, StopTraining
from xeno.store.profile import Profile
from xeno.versions.registry import Registry
from xeno.workers.protocol import Channel, one_order, run_child


class Gatekeeper:
    """Carries out the commands of one channel."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.channel = Channel(self._urgent)

    def work(self) -> None:
        """Wait for a profile and an order, carry it out, and return."""
        one_order(self.channel, CheckVersion, self._check)

    def _check(self, profile: Profile, order: CheckVersion) -> None:
        from xeno.gate.examination import StoppedError, examine  # torch: seconds to import

        try:
            report = examine(
                profile,
                Registry(profile).get(order.address),
                lambda share, text: self.channel.emit(GateProgress(share=share, text=text)),
                self._stop.is_set,
            )
        except StoppedError:
            return
        self.channel.emit(GateFinished(report=report.model_dump(mode="json")))

    def _urgent(self, command: Command) -> bool:
        if isinstance(command, StopTraining):
            self._stop.set()
            return True
        return False


if __name__ == "__main__":
    gatekeeper = Gatekeeper()
    run_child(gatekeeper.work, gatekeeper.channel.emit)
