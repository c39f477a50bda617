"""The audit child: `python -m xeno.workers.audit`. Carries out one audit, then ends.

Commands: OpenProfile (whose books are checked), RunAudit, StopTraining. Events: AuditProgress,
then AuditFinished; a failure is a Failure event and exit status 1.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from xeno.events import (
    AuditFinished,
    AuditProgress,
    Command,
    RunAudit,
    StopTraining,
)
from xeno.store.profile import Profile
from xeno.workers.protocol import Channel, one_order, run_child


class Auditor:
    """Carries out the commands of one channel."""

    def __init__(self) -> None:
        self._stop: StopTraining | None = None
        self.channel = Channel(self._urgent)

    def work(self) -> None:
        """Wait for a profile and an order, carry it out, and return."""
        one_order(self.channel, RunAudit, self._audit)

    def _audit(self, profile: Profile, order: RunAudit) -> None:
        from xeno.benchmarking.leak_check import audit  # torch, peft, opacus: seconds to import

        found = audit(
            Path(order.base),
            order.canaries,
            dict(order.plan),
            lambda share, text: self.channel.emit(AuditProgress(share=share, text=text)),
            lambda: self._stop,
            profile,
        )
        self.channel.emit(AuditFinished(found=dataclasses.asdict(found)))

    def _urgent(self, command: Command) -> bool:
        if isinstance(command, StopTraining):
            self._stop = command
            return True
        return False


if __name__ == "__main__":
    auditor = Auditor()
    run_child(auditor.work, auditor.channel.emit)
