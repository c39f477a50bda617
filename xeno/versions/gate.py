"""What a version must pass before it may answer, and what became of it.

This file asks what any process can ask, without torch: the file opens, content and manifest are
what was released and signed, the numbers are float32, finite, and of the shapes that the base
model has. How the version behaves is asked by `xeno.gate`, in a child process; the report of
both is kept here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xeno.errors import BaseModelError, DamagedDataError, XenoError
from xeno.models.base import BaseModel as Base
from xeno.models.base import inspect_base
from xeno.models.starter import starter_folder
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.versions.activation import Activation
from xeno.versions.adapter import module_paths, tensor_names
from xeno.versions.lifecycle import State, move
from xeno.versions.registry import Registry, Version

if TYPE_CHECKING:
    import numpy as np

_NOT_SERVED = ("candidate", "checked", "quarantined")


class GateCheck(BaseModel):
    """One question and its answer in a sentence, with the numbers it rests on; `passed` is None
    where it could not be asked here."""

    model_config = ConfigDict(frozen=True)

    name: str
    passed: bool | None
    detail: str = ""
    values: Mapping[str, float | int | str | None] = Field(default_factory=dict)


class GateReport(BaseModel):
    """All answers, kept with the version. A version passes if no answer is no.

    Attributes:
        complete: whether the version's behaviour was asked too, not only its bytes.
        compared: content address of what it was compared with, None for the base model.
    """

    model_config = ConfigDict(frozen=True)

    passed: bool
    checks: tuple[GateCheck, ...]
    created: float
    complete: bool = False
    compared: str | None = None

    @classmethod
    def of(
        cls, checks: list[GateCheck], *, complete: bool = False, compared: str | None = None
    ) -> GateReport:
        """The report that these answers make."""
        return cls(
            passed=all(each.passed is not False for each in checks),
            checks=tuple(checks),
            created=time.time(),
            complete=complete,
            compared=compared,
        )

    @property
    def reason(self) -> str:
        """What failed, in sentences; empty if nothing did."""
        return " ".join(check.detail for check in self.checks if check.passed is False)


def report_of(version: Version) -> GateReport | None:
    """The report of the last check, None where there was none."""
    try:
        return GateReport.model_validate(dict(version.gate)) if version.gate else None
    except ValidationError:
        return None


def reason_of(version: Version) -> str:
    """What failed in the last check, in sentences; empty if nothing did."""
    report = report_of(version)
    return "" if report is None else report.reason


def check(profile: Profile, version: Version) -> GateReport:
    """Examine the bytes of `version`. One that is damaged is quarantined: it can no longer
    answer, and where it did the last whole one before it does, or the base."""
    report = examine(profile, version)
    if not report.passed:
        _keep(profile, version, report)
        Activation(profile).fall_back(version.address, report.reason)
    return report


def record(profile: Profile, version: Version, report: GateReport) -> None:
    """Keep a complete `report` with the version, and move it on: what passes is checked, what
    fails is quarantined. What has served already stays where it is, so that it can be gone
    back to."""
    with profile.db.transaction() as connection:
        _keep(profile, version, report)
        row = connection.execute(
            "SELECT state FROM versions WHERE address = ?", (version.address,)
        ).fetchone()
        if row is not None and row["state"] in _NOT_SERVED:
            state: State = "checked" if report.passed else "quarantined"
            move(connection, version.address, state, report.reason or "It passed the gate.")


def examine(profile: Profile, version: Version) -> GateReport:
    """The report on the bytes of `version`; nothing is changed."""
    return GateReport.of(_bytes(profile, version))


def _keep(profile: Profile, version: Version, report: GateReport) -> None:
    with profile.db.transaction() as connection:
        connection.execute(
            "UPDATE versions SET gate = ? WHERE address = ?",
            (report.model_dump_json(), version.address),
        )


def _bytes(profile: Profile, version: Version) -> list[GateCheck]:
    checks: list[GateCheck] = []
    try:
        plain, version = Registry(profile).open(version.address)
        tensors = _read(plain)
        paths = module_paths(tensors, version.manifest.adapter)
    except DamagedDataError as error:
        return [GateCheck(name="intact", passed=False, detail=str(error))]
    detail = "Its file, its manifest and its signature are what was released."
    checks.append(GateCheck(name="intact", passed=True, detail=detail))
    checks.append(_finite(tensors))
    base = find_base(profile, version)
    if base is None:
        detail = f"The base model {version.manifest.base_name} is not here to compare with."
        checks.append(GateCheck(name="fits the base", passed=None, detail=detail))
    else:
        checks.append(_fits(tensors, paths, version, base))
    return checks


def find_base(profile: Profile, version: Version) -> Base | None:
    """The base model that `version` was trained on, if it is still where it was."""
    folders: list[Path] = []
    if version.run_id is not None:
        with contextlib.suppress(XenoError):
            folders.append(Path(Runs(profile.db).get(version.run_id).plan.base))
    if chosen := profile.setting("base"):
        folders.append(Path(str(chosen)))
    with contextlib.suppress(XenoError):
        folders.append(starter_folder())
    for folder in folders:
        try:
            base = inspect_base(folder, profile.home)
            if base.base_hash == version.base_hash:
                return base
        except (BaseModelError, OSError):
            continue
    return None


def _read(plain: bytes) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors: dict[str, np.ndarray] = load(plain)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedDataError(
            "The version's content is not an adapter.", str(error), "Use another version."
        ) from error
    return tensors


def _finite(tensors: dict[str, np.ndarray]) -> GateCheck:
    import numpy as np

    for name, tensor in sorted(tensors.items()):
        if tensor.dtype != np.float32:
            detail = f"{name} holds {tensor.dtype}, not float32."
            return GateCheck(name="finite", passed=False, detail=detail)
        if not np.isfinite(tensor).all():
            detail = f"{name} holds numbers that are not finite."
            return GateCheck(name="finite", passed=False, detail=detail)
    detail = "All of its numbers are finite and of the format they should have."
    return GateCheck(name="finite", passed=True, detail=detail)


def _fits(
    tensors: dict[str, np.ndarray], paths: tuple[str, ...], version: Version, base: Base
) -> GateCheck:
    rank = version.manifest.adapter.rank
    for path in paths:
        down, up = (tensors[name].shape for name in tensor_names(path))
        weight = base.shapes.get(f"{path}.weight")
        if weight is None or len(weight) != 2:
            detail = f"The base has no weight matrix {path}."
            return GateCheck(name="fits the base", passed=False, detail=detail)
        turned = weight[::-1]  # GPT-2 stores [d_in, d_out]
        if down[:1] != (rank,) or (*up, *down[1:]) not in (
            (weight[0], rank, weight[1]),
            (turned[0], rank, turned[1]),
        ):
            detail = f"{path} has shapes {down} and {up}, and the base {weight}, at rank {rank}."
            return GateCheck(name="fits the base", passed=False, detail=detail)
    detail = f"Its sizes are those that {base.name} implies."
    return GateCheck(name="fits the base", passed=True, detail=detail)
