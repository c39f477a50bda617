"""Checkpoints of a run: everything that its next step depends on, in one encrypted file.

A file is a safetensors container whose metadata hold the rest as JSON; nothing is unpickled. It
is encrypted in chunks (`xeno.versions.container`) under a key that follows from the profile's and
from one of the run's own, which the run's end destroys. What the file is (run, step) is bound to
it, so that a file of another run or step does not open in its place. After a crash a file is
whole or not there.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from xeno.errors import DamagedDataError
from xeno.events import Evaluated
from xeno.models.loading import Dtype
from xeno.privacy.noise import StreamState
from xeno.store import files
from xeno.store.checkpoint_keys import CheckpointKeys
from xeno.training.early_stopping import BestState
from xeno.training.quantisation import Quantisation
from xeno.training.stability import StabilityState
from xeno.versions.container import read_encrypted, write_encrypted

if TYPE_CHECKING:
    from xeno.store.profile import Profile

_SUFFIX = ".xeno"
_METADATA = "checkpoint"


class Units(BaseModel):
    """What a stage learns from and measures itself on, in their order: ids with weights."""

    model_config = ConfigDict(frozen=True)

    training: dict[str, float]
    held_out: dict[str, float]


class Finished(BaseModel):
    """An earlier stage of the run: steps taken, and what was measured."""

    model_config = ConfigDict(frozen=True)

    steps: int
    metrics: dict[str, float | None]


class Origin(BaseModel):
    """What the run's numbers were made from; `xeno.training.resume` compares it.

    Attributes:
        plan, recipe, rows: SHA-256 (hex) of the plan, of the numbers chosen from it, and of the
            token ids and weights of all rows.
        stages: the units of each stage.
        environment: libraries, number format, threads, device.
        noise: sigma of each stage of a private run, 0 of others.
    """

    model_config = ConfigDict(frozen=True)

    plan: str
    recipe: str
    base_hash: str
    rows: str
    stages: tuple[Units, ...]
    environment: dict[str, str | int]
    noise: tuple[float, ...]

    @property
    def dtype(self) -> Dtype:
        """The base's number format."""
        return "bfloat16" if self.environment["dtype"] == "bfloat16" else "float32"

    @property
    def quantisation(self) -> Quantisation:
        """How the base is held."""
        return "nf4" if self.environment.get("quantisation") == "nf4" else "none"

    @property
    def threads(self) -> int:
        return int(self.environment["threads"])


class Stream(BaseModel):
    """A cipher stream's state."""

    model_config = ConfigDict(frozen=True)

    key: str = Field(repr=False)
    position: int

    @classmethod
    def of(cls, state: StreamState) -> Stream:
        return cls(key=state.key.hex(), position=state.position)

    def state(self) -> StreamState:
        return StreamState(bytes.fromhex(self.key), self.position)


class LoopState(BaseModel):
    """Where the loop is after `step` steps; the orders of batches follow from seed and step.

    Attributes:
        seconds, pairs_done, tokens_done: of the steps so far, for the pace.
        spent: seconds that the whole run took so far, without pauses, for its time limit.
        rows_at_once, tokens_at_once, twice: how batches are cut.
        kills: how often the trainer had been killed for its memory when they were cut so.
        before, after: the first and the last evaluation.
        sampling, noise: the streams of a private run: of its batches and of its noise.
        stream, abandoned: see `xeno.training.noisy_steps`.
        learner: what the learner keeps besides tensors.
    """

    step: int
    seconds: float
    pairs_done: int
    tokens_done: int
    spent: float
    rows_at_once: int
    tokens_at_once: int
    twice: bool
    kills: int
    before: Evaluated
    after: Evaluated
    best: BestState
    stability: StabilityState
    sampling: Stream | None
    noise: Stream | None
    stream: int
    abandoned: int
    learner: dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """A run after a step. `at` counts the steps of all stages, `finished` are the stages before
    the one that `state` is of.

    Tensors: `adapter.*`, `best.*` (the adapter of the best step), `learner.*`, and `reference`
    [rows, 2], in the order of the training and then the held-out rows.
    """

    origin: Origin
    at: int
    finished: tuple[Finished, ...]
    state: LoopState
    tensors: Mapping[str, torch.Tensor]

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """The tensors whose names begin with `prefix` and a dot, without that."""
        begin = f"{prefix}."
        return {n.removeprefix(begin): t for n, t in self.tensors.items() if n.startswith(begin)}


class _Metadata(BaseModel):
    origin: Origin
    at: int
    finished: tuple[Finished, ...]
    state: LoopState


class Checkpoints:
    """The checkpoints of one run of `profile`, at most `kept` of them."""

    def __init__(self, profile: Profile, run_id: str, kept: int = 2) -> None:
        self._profile = profile
        self._keys = CheckpointKeys(profile.db)
        self._run_id = run_id
        self._kept = kept
        self.folder = profile.paths.checkpoints / run_id

    def save(self, checkpoint: Checkpoint) -> None:
        """Write `checkpoint`, and delete those that are too many.

        Raises:
            StorageFullError: if it cannot be written; the earlier ones are as they were.
            DamagedDataError: if the run has ended and its key is gone.
        """
        step = checkpoint.at
        metadata = _Metadata(
            origin=checkpoint.origin,
            at=step,
            finished=checkpoint.finished,
            state=checkpoint.state,
        )
        tensors = {name: each.contiguous() for name, each in checkpoint.tensors.items()}
        plain = save(tensors, {_METADATA: metadata.model_dump_json()})
        files.private_folder(self._profile.paths.checkpoints)
        files.private_folder(self.folder)
        write_encrypted(self._file(step), plain, self._key(), self._associated(step))
        self._keys.saved(self._run_id, step)
        for old in self._files()[self._kept :]:
            old.unlink(missing_ok=True)

    def latest(self) -> Checkpoint | None:
        """The newest one that is intact; None where there is none."""
        for path in self._files():
            try:
                return self._read(path)
            except DamagedDataError:
                continue  # the one before is older, but whole
        return None

    def forget_others(self, step: int) -> None:
        """Delete all but the one of `step`: they hold a stream that must not be used again."""
        for path in self._files():
            if path != self._file(step):
                path.unlink(missing_ok=True)

    def _read(self, path: Path) -> Checkpoint:
        step = int(path.name.removesuffix(_SUFFIX))
        plain = read_encrypted(path, self._key(), self._associated(step))
        try:
            found = _Metadata.model_validate_json(_metadata(plain))
            return Checkpoint(found.origin, found.at, found.finished, found.state, load(plain))
        except (SafetensorError, ValidationError, KeyError, ValueError) as error:
            raise DamagedDataError(
                f"The checkpoint of step {step} cannot be read.",
                "Another XENO wrote it.",
                "Start a new run with the same settings.",
            ) from error

    def _files(self) -> list[Path]:
        """The run's files, the newest first."""
        if not self.folder.is_dir():
            return []
        found = [
            p for p in self.folder.glob(f"*{_SUFFIX}") if p.name.removesuffix(_SUFFIX).isdigit()
        ]
        return sorted(found, key=lambda path: int(path.name.removesuffix(_SUFFIX)), reverse=True)

    def _file(self, step: int) -> Path:
        return self.folder / f"{step:09d}{_SUFFIX}"

    def _key(self) -> bytes:
        own = self._keys.get(self._run_id)
        if own is None:
            raise DamagedDataError(
                "The run's checkpoints cannot be opened.",
                "The run has ended, and their key was destroyed.",
                "Start a new run with the same settings.",
            )
        return hmac.digest(self._profile.key.subkey("checkpoints"), own, hashlib.sha256)

    def _associated(self, step: int) -> bytes:
        return f"xeno checkpoint {self._run_id} {step}".encode("ascii")


def sweep(profile: Profile) -> None:
    """Remove the files of runs that have ended: their keys are gone already."""
    folder = profile.paths.checkpoints
    if not folder.is_dir():
        return
    alive = CheckpointKeys(profile.db).steps()
    for run in folder.iterdir():
        if run.is_dir() and run.name not in alive:
            shutil.rmtree(run, ignore_errors=True)


def _metadata(plain: bytes) -> str:
    """The JSON in the header of a safetensors container."""
    length = int.from_bytes(plain[:8], "little")
    header: dict[str, Any] = json.loads(plain[8 : 8 + length])
    found: str = header["__metadata__"][_METADATA]
    return found
