"""One attempt at a run: from which step, with which streams, at what account, kept where.

Most runs have one. An interrupted one has another, which goes on from a checkpoint under the
rules of `xeno.training.resume`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xeno.errors import XenoError
from xeno.events import Event, LogLine
from xeno.privacy.noise import CipherStream
from xeno.store.runs import Runs
from xeno.training.checkpoint import Checkpoint, Checkpoints, Finished, LoopState, Origin
from xeno.training.resume import abandoned, differences
from xeno.words import count

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Streams:
    """Where a private stage's batches and its noise come from."""

    sampling: CipherStream
    noise: CipherStream


class Attempt:
    """An attempt at the run `run_id`.

    Args:
        origin: what the run is made from now.
        planned: steps of each stage.
        saved: the checkpoint to go on from, if any.

    Attributes:
        origin: with the noisy steps that count without being part of the run.
        saved: as given.
        exact: whether the run goes on bit for bit, with the streams of before.

    Raises:
        XenoError: if the run cannot go on from there.
    """

    def __init__(
        self,
        runs: Runs,
        run_id: str,
        checkpoints: Checkpoints,
        origin: Origin,
        planned: Sequence[int],
        saved: Checkpoint | None,
        *,
        private: bool,
    ) -> None:
        told = runs.last_step(run_id)
        before, at = (origin, 0) if saved is None else (saved.origin, saved.at)
        self._others = () if saved is None else differences(before, origin)
        self._lost: tuple[int, ...] = (0,) * len(planned)
        if private and (self._others or (saved is None and told)):
            self._lost = abandoned(planned, at, told)
        total = tuple(was + more for was, more in zip(before.abandoned, self._lost, strict=True))
        done = 0 if saved is None else len(saved.finished)
        if min([steps - away for steps, away in zip(planned, total, strict=True)][done:]) <= 0:
            raise XenoError(
                "This run cannot be resumed.",
                "Its noisy steps were all taken before, and no checkpoint has them.",
                "Start a new run with the same settings; 'xeno runs discard' gives this one up.",
            )
        self._checkpoints = checkpoints
        self._planned = planned
        self._renewed = bool(self._others)  # older checkpoints hold a stream that must not go on
        self.origin = origin.model_copy(update={"abandoned": total})
        self.saved = saved
        self.exact = not self._others
        runs.rewind(run_id, at if saved else -1)

    def tell(self, emit: Callable[[Event], None]) -> None:
        """Say how the run goes on, if it does."""
        if self.saved is not None:
            words = f"The run goes on after step {self.saved.at} of {sum(self._planned)}."
            emit(LogLine(text=words))
        if self._others:
            words = f"It goes on in other circumstances ({', '.join(self._others)}), so its result "
            words += "is not bit for bit that of a run without an interruption."
            emit(LogLine(level="warning", text=words))
        if any(self._lost):
            steps = count(sum(self._lost), "noisy step")
            words = f"{steps} of before can no longer be part of it, but count in its epsilon."
            emit(LogLine(level="warning", text=words))

    @property
    def finished(self) -> tuple[Finished, ...]:
        """The stages that need not be done again."""
        return () if self.saved is None else self.saved.finished

    def of_stage(self, number: int) -> Checkpoint | None:
        """The checkpoint, if it is of this stage."""
        return self.saved if self.saved and len(self.saved.finished) == number else None

    def streams(self, number: int) -> Streams:
        """Those that the stage began with where it goes on bit for bit, fresh ones otherwise."""
        saved = self.of_stage(number)
        state = saved.state if saved is not None and self.exact else None
        sampling = state.sampling if state else None
        noise = state.noise if state else None
        return Streams(
            CipherStream(sampling.state() if sampling else None),
            CipherStream(noise.state() if noise else None),
        )

    def keeper(
        self, finished: Sequence[Finished], steps_before: int
    ) -> Callable[[LoopState, Mapping[str, torch.Tensor]], None]:
        """Writes the checkpoints of the stage after those that are `finished`."""
        earlier = tuple(finished)

        def keep(state: LoopState, tensors: Mapping[str, torch.Tensor]) -> None:
            at = steps_before + state.step
            self._checkpoints.save(Checkpoint(self.origin, at, earlier, state, tensors))
            if self._renewed:
                self._checkpoints.forget_others(at)
                self._renewed = False

        return keep

    def noisy_steps(self, taken: Sequence[int]) -> list[int]:
        """What the account must pay for in each stage, where `taken` steps were taken (none in
        a stage that was not reached)."""
        missing = len(self._planned) - len(taken)
        return [
            lost + steps
            for lost, steps in zip(self.origin.abandoned, [*taken, *[0] * missing], strict=True)
        ]
