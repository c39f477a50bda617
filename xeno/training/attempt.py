"""One attempt at a run: from which step, with which streams, at what account, kept where.

Most runs have one. An interrupted one has another, which goes on from a checkpoint under the
rules of `xeno.training.resume`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from xeno.errors import XenoError
from xeno.events import Event, LogLine
from xeno.store.runs import Runs
from xeno.training.checkpoint import Checkpoint, Checkpoints, Finished, LoopState, Origin
from xeno.training.noisy_steps import StageNoise, lost_steps, nothing_left
from xeno.training.resume import differences

if TYPE_CHECKING:
    import torch


class Attempt:
    """An attempt at the run `run_id`.

    Args:
        origin: what the run is made from now.
        planned: steps of each stage.
        sample_rates: of each stage.
        saved: the checkpoint to go on from, if any.

    Attributes:
        saved: as given.
        exact: whether the run goes on bit for bit, with the streams of before.
        noise: of each stage.

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
        sample_rates: Sequence[float],
        saved: Checkpoint | None,
        *,
        private: bool,
    ) -> None:
        notes = runs.noisy_steps(run_id)
        if private and not notes and runs.last_step(run_id) > 0:
            raise XenoError(
                "This run cannot be resumed.",
                "An earlier XENO began it, which did not note its noisy steps.",
                "Start a new run with the same settings; 'xeno runs discard' gives this one up.",
            )
        mechanisms = list(zip(sample_rates, origin.noise, strict=True))
        if any((n.sample_rate, n.noise_multiplier) != mechanisms[n.stage] for n in notes):
            raise XenoError(
                "This run cannot be resumed.",
                "It has no checkpoint, and would have other noise than in the steps that it took.",
                "Start a new run with the same settings; 'xeno runs discard' gives this one up.",
            )
        self.saved = saved
        self._others = () if saved is None else differences(saved.origin, origin)
        self.exact = not self._others
        self.noise = [
            StageNoise(
                lambda note: runs.append_event(run_id, note),
                run_id,
                number,
                mechanisms[number],
                {(note.stream, note.noisy_step) for note in notes if note.stage == number},
                self._taken(number),
                found.state if self.exact and (found := self.of_stage(number)) else None,
            )
            for number in range(len(planned))
        ]
        to_come = list(zip(planned, self.noise, strict=True))[len(self.finished) :]
        if any(steps <= noise.abandoned for steps, noise in to_come):
            raise nothing_left()
        self._origin = origin
        self._checkpoints = checkpoints
        self._planned = planned
        runs.rewind(run_id, saved.at if saved else -1)

    def tell(self, emit: Callable[[Event], None]) -> None:
        """Say how the run goes on, if it does."""
        before = 0
        if self.saved is not None:
            before = self.saved.state.abandoned
            words = f"The run goes on after step {self.saved.at} of {sum(self._planned)}."
            emit(LogLine(text=words))
        if self._others:
            words = f"It goes on in other circumstances ({', '.join(self._others)}), so its result "
            words += "is not bit for bit that of a run without an interruption."
            emit(LogLine(level="warning", text=words))
        done = len(self.finished)
        lost = sum(noise.abandoned for noise in self.noise[done:]) - before
        if lost > 0:
            emit(lost_steps(lost))

    @property
    def finished(self) -> tuple[Finished, ...]:
        """The stages that need not be done again."""
        return () if self.saved is None else self.saved.finished

    def of_stage(self, number: int) -> Checkpoint | None:
        """The checkpoint, if it is of this stage."""
        return self.saved if self.saved and len(self.saved.finished) == number else None

    def keeper(
        self, finished: Sequence[Finished], steps_before: int
    ) -> Callable[[LoopState, Mapping[str, torch.Tensor]], None]:
        """Writes the checkpoints of the stage after those that are `finished`.

        The first one with other streams than before is the only one that stays: what the older
        ones hold must not be used again.
        """
        earlier = tuple(finished)
        begun = self.of_stage(len(earlier))
        stream = self.noise[len(earlier)].number if begun is None else begun.state.stream

        def keep(state: LoopState, tensors: Mapping[str, torch.Tensor]) -> None:
            nonlocal stream
            at = steps_before + state.step
            self._checkpoints.save(Checkpoint(self._origin, at, earlier, state, tensors))
            if state.stream != stream:
                self._checkpoints.forget_others(at)
                stream = state.stream

        return keep

    def noisy_steps(self) -> list[int]:
        """What the account must pay for in each stage."""
        return [noise.counted for noise in self.noise]

    def _taken(self, number: int) -> int:
        """Steps of the stage that the checkpoint has."""
        if number < len(self.finished):
            return self.finished[number].steps
        found = self.of_stage(number)
        return 0 if found is None else found.state.step
