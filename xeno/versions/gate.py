"""The gate: what a version must pass before it may answer.

First the bytes: the file opens, content and manifest are what was released and signed. Then the
numbers: float32, finite, and of the shapes that the base model has. Reads headers of the base
only, and needs no torch, so any process may check.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from xeno.errors import BaseModelError, DamagedDataError, XenoError
from xeno.models.base import BaseModel as Base
from xeno.models.base import inspect_base
from xeno.models.starter import starter_folder
from xeno.store.profile import Profile
from xeno.store.runs import Runs
from xeno.versions.adapter import module_paths, tensor_names
from xeno.versions.registry import Registry, Version

if TYPE_CHECKING:
    import numpy as np


class GateCheck(BaseModel):
    """One question and its answer; `passed` is None where it could not be asked here."""

    model_config = ConfigDict(frozen=True)

    name: str
    passed: bool | None
    detail: str = ""


class GateReport(BaseModel):
    """All answers, kept with the version. A version passes if no answer is no."""

    model_config = ConfigDict(frozen=True)

    passed: bool
    checks: tuple[GateCheck, ...]
    created: float

    @property
    def reason(self) -> str:
        """What failed, in one sentence; empty if nothing did."""
        return " ".join(check.detail for check in self.checks if check.passed is False)


def check(profile: Profile, version: Version) -> GateReport:
    """Examine `version`, store the report, and move the version on.

    A candidate becomes checked; whatever fails becomes quarantined and can no longer answer.
    A quarantined version that passes again, its file restored, becomes checked.
    """
    report = examine(profile, version)
    with profile.db.transaction() as connection:
        connection.execute(
            "UPDATE versions SET gate = ? WHERE address = ?",
            (report.model_dump_json(), version.address),
        )
        if report.passed:
            connection.execute(
                "UPDATE versions SET state = 'checked' WHERE address = ? "
                "AND state IN ('candidate', 'quarantined')",
                (version.address,),
            )
            return report
        was_active = connection.execute(
            "SELECT 1 FROM versions WHERE address = ? AND state = 'active'", (version.address,)
        ).fetchone()
        connection.execute(
            "UPDATE versions SET state = 'quarantined' WHERE address = ?", (version.address,)
        )
        if was_active:
            connection.execute(
                "INSERT INTO deployments (address, previous, action, reason, created) "
                "VALUES (NULL, ?, 'fallback', ?, ?)",
                (version.address, report.reason, time.time()),
            )
    return report


def examine(profile: Profile, version: Version) -> GateReport:
    """The report on `version`; nothing is changed."""
    checks: list[GateCheck] = []
    try:
        plain, version = Registry(profile).open(version.address)
        tensors = _read(plain)
        paths = module_paths(tensors, version.manifest.adapter)
        checks.append(GateCheck(name="intact", passed=True))
    except DamagedDataError as error:
        checks.append(GateCheck(name="intact", passed=False, detail=str(error)))
        return _report(checks)
    checks.append(_finite(tensors))
    base = find_base(profile, version)
    if base is None:
        detail = f"The base model {version.manifest.base_name} is not here to compare with."
        checks.append(GateCheck(name="fits the base", passed=None, detail=detail))
    else:
        checks.append(_fits(tensors, paths, version, base))
    return _report(checks)


def find_base(profile: Profile, version: Version) -> Base | None:
    """The base model that `version` was trained on, if it is still where it was."""
    folders: list[Path] = []
    if version.run_id is not None:
        with contextlib.suppress(XenoError):
            folders.append(Path(Runs(profile.db).get(version.run_id).plan.base))
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
    return GateCheck(name="finite", passed=True)


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
    return GateCheck(name="fits the base", passed=True)


def _report(checks: list[GateCheck]) -> GateReport:
    passed = all(each.passed is not False for each in checks)
    return GateReport(passed=passed, checks=tuple(checks), created=time.time())
