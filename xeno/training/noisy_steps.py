"""The noisy steps of a private run: where their randomness comes from, and that none is forgotten.

A step is noted with the run, on the disk, before its noise is drawn. Notes are never taken back:
not when the run goes back to a checkpoint, and not when its streams are replaced. The account
therefore pays for every noisy sum that anybody can have seen something of, whatever killed the
run and however often; a step that is repeated bit for bit, under the same stream, is one note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from xeno.errors import XenoError
from xeno.events import LogLine, NoiseDrawn
from xeno.privacy.noise import CipherStream
from xeno.words import count

if TYPE_CHECKING:
    from xeno.training.checkpoint import LoopState


class StageNoise:
    """The streams of one stage, and the steps that noise was drawn for.

    Args:
        note: keeps a note with the run for good.
        run_id: the run.
        stage: the stage's number, from 0.
        mechanism: its sample rate and noise multiplier.
        drawn: (stream, step) of all notes so far.
        taken: steps of the stage that the adapter has.
        same: the state whose streams go on; None for fresh ones.

    Attributes:
        sampling, noise: the streams of the batches and of the noise.
        number: of these streams among those that the stage has had.
        abandoned: noisy steps that count without being part of the adapter. The stage takes so
            many steps less, and the run never spends more than it was granted.
    """

    def __init__(
        self,
        note: Callable[[NoiseDrawn], None],
        run_id: str,
        stage: int,
        mechanism: tuple[float, float],
        drawn: Iterable[tuple[int, int]],
        taken: int,
        same: LoopState | None,
    ) -> None:
        self._note = note
        self._run_id = run_id
        self._stage = stage
        self._mechanism = mechanism
        self._drawn = set(drawn)
        if same is not None and same.sampling is not None and same.noise is not None:
            self.sampling = CipherStream(same.sampling.state())
            self.noise = CipherStream(same.noise.state())
            self.number, self.abandoned = same.stream, same.abandoned
        else:
            self.sampling, self.noise = CipherStream(), CipherStream()
            self.number, self.abandoned = self._unused(), max(0, self.counted - taken)

    @property
    def counted(self) -> int:
        """The noisy steps that the account pays for."""
        return len(self._drawn)

    def drawing(self, step: int) -> None:
        """The noise of `step` (from 1) is about to be drawn.

        Raises:
            StorageFullError: if that cannot be noted; it must not be drawn then.
        """
        if (self.number, step) in self._drawn:
            return
        sample_rate, noise_multiplier = self._mechanism
        self._note(
            NoiseDrawn(
                run_id=self._run_id,
                stage=self._stage,
                stream=self.number,
                noisy_step=step,
                sample_rate=sample_rate,
                noise_multiplier=noise_multiplier,
            )
        )
        self._drawn.add((self.number, step))

    def ahead(self, taken: int) -> bool:
        """Whether these streams were used for a step after the first `taken` ones before."""
        return any(stream == self.number and step > taken for stream, step in self._drawn)

    def renew(self, taken: int) -> None:
        """Go on after `taken` steps with fresh streams. Both are replaced: a batch that is noised
        twice would not be two samplings, as which the account counts them."""
        self.sampling.renew()
        self.noise.renew()
        self.number, self.abandoned = self._unused(), self.counted - taken

    def _unused(self) -> int:
        return 1 + max((stream for stream, _ in self._drawn), default=-1)


def nothing_left() -> XenoError:
    """All steps that the run's epsilon pays for were taken, and its adapter has none of them."""
    return XenoError(
        "This run cannot be resumed.",
        "Its noisy steps were all taken before, and no checkpoint has them.",
        "Start a new run with the same settings; 'xeno runs discard' gives this one up.",
    )


def lost_steps(number: int) -> LogLine:
    """So many noisy steps count and are not learned from."""
    steps = count(number, "noisy step")
    words = f"{steps} of before can no longer be part of it, but count in its epsilon."
    return LogLine(level="warning", text=words)
