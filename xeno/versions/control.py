"""The registry of versions for scripts: any model, of any name.

    v = ModelVersionControl("john_doe")
    v.create_version("intent_classifier", b"...", metrics={"accuracy": 0.95})
    v.get_version("intent_classifier").version           # 1
    v.rollback("intent_classifier", target_version=1)

A version answers to its number, to vX.Y.Z, to a tag and to its content address; it never
changes. "assistant" is the model that answers in the chat: its versions come from training and
from imports, and pass the gate before they serve; of others the newest is in use until the
program says otherwise.
"""

from __future__ import annotations

import importlib.metadata
import logging
import math
import platform
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from xeno.errors import DamagedDataError, InvalidValueError
from xeno.store.database import Row
from xeno.store.user import OfUser
from xeno.versions import artefact
from xeno.versions.activation import Activation
from xeno.versions.artefact import ModelData
from xeno.versions.deployment import Deployment
from xeno.versions.lifecycle import State, move
from xeno.versions.manifest import ArtefactManifest
from xeno.versions.records import ASSISTANT, Records, damaged, read_json
from xeno.versions.registry import Registry
from xeno.versions.retention import models

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_log = logging.getLogger(__name__)

Ref = int | str


@dataclass(frozen=True)
class ModelVersion:
    """A version of a model. `version` is its number, `semantic` the same as vX.Y.Z, `parent` a
    content address; `state` is "active" for the one in use."""

    model_name: str
    version: int
    semantic: str
    address: str
    state: State
    created: float
    created_by: str
    description: str
    metrics: Mapping[str, float | None]
    tags: tuple[str, ...]
    parent: str | None
    bytes: int


class ModelVersionControl(OfUser):
    """The versions of all models of `user_id`; see `OfUser` for the arguments."""

    def create_version(
        self,
        model_name: str,
        model_data: ModelData,
        created_by: str = "",
        description: str = "",
        metrics: Mapping[str, float] | None = None,
        *,
        config: Mapping[str, Any] | None = None,
        seed: int = 0,
        data_hash: str | None = None,
        pair_ids: Sequence[str] = (),
        parent: Ref | None = None,
        activate: bool = True,
    ) -> ModelVersion:
        """Keep a version; the one that is there if it has the same content.

        Args:
            model_data: a folder, bytes, or a mapping of arrays and JSON values.
            config, seed, data_hash, pair_ids: how it was made and from what; kept in its
                manifest, which is signed.
            parent: the version that it continues.
            activate: whether it is in use from now on.

        Raises:
            InvalidValueError: if a name, the data or a metric cannot be kept.
            StorageFullError: if it cannot be written; then there is no version.
        """
        records = self._records(model_name)
        if model_name == ASSISTANT:
            raise InvalidValueError(
                "A version of the assistant is not made this way.",
                "It is an adapter, with what it learned from and what that cost in privacy.",
                "Train one with 'xeno train', or import one with 'xeno versions import'.",
            )
        kind, plain = artefact.pack(model_data)
        address = artefact.address_of(model_name, kind, plain)
        try:
            manifest = ArtefactManifest(
                address=address,
                model=model_name,
                kind=kind,
                created_by=created_by,
                config=dict(config or {}),
                seed=seed,
                data_hash=data_hash,
                pair_ids=tuple(pair_ids),
                parent=None if parent is None else records.row(parent)["address"],
                metrics=_numbers(metrics or {}),
                environment=_environment(),
                created=time.time(),
            )
            manifest.canonical()
        except (ValidationError, TypeError, ValueError) as error:
            if isinstance(error, InvalidValueError):
                raise
            raise InvalidValueError(
                "The version was not made.",
                f"What is said of it cannot be kept ({error}).",
                "Use names, numbers and texts.",
            ) from error
        with self._profile.db.transaction() as connection:
            records.add(plain, manifest, kind, description, pair_ids=manifest.pair_ids)
            row = records.row(address)
            if row["state"] in ("candidate", "quarantined"):
                # It was read and checked just now; a damaged file of it is mended thereby.
                move(connection, address, "checked", "Its content was checked as it was kept.")
            if activate:
                Activation(self._profile, model_name).change(address, "deploy", description)
        return self.get_version(model_name, address)

    def get_version(self, model_name: str, version: Ref = "latest") -> ModelVersion:
        """The newest version, the one in use ("active"), or the one called `version`.

        Raises:
            InvalidValueError: if there is none.
        """
        records = self._records(model_name)
        return self._view(self._row(records, version), records)

    def list_versions(self, model_name: str) -> list[ModelVersion]:
        """All versions of a model, the newest first."""
        records = self._records(model_name)
        tags = records.tags()
        return [self._view(row, records, tags) for row in records.rows()]

    def list_models(self) -> list[str]:
        """The names of the models that have versions."""
        return models(self._profile)

    def load(self, model_name: str, version: Ref = "active") -> bytes | dict[str, Any]:
        """The content of a version, verified: bytes, the files of a folder by their path, or the
        values by name (of the assistant: its tensors).

        Where the one in use is damaged it is quarantined, and the last one before it that is
        whole takes its place; the history and the log say so.

        Raises:
            InvalidValueError: if there is no such version.
            DamagedDataError: if it is damaged, and nothing can take its place.
        """
        records = self._records(model_name)
        row = self._row(records, version)
        try:
            return self._content(records, row)
        except DamagedDataError as error:
            if str(version).strip().lower() != "active":
                raise
            activation = Activation(self._profile, model_name)
            instead = activation.fall_back(row["address"], str(error))
            if instead is None:
                raise
            _log.warning("v%d of %s is damaged; an earlier one is used.", row["number"], model_name)
            return self.load(model_name)

    def extract(self, model_name: str, version: Ref, folder: Path) -> None:
        """Write a version that was a folder to `folder`, which must be empty or not there."""
        records = self._records(model_name)
        row = self._row(records, version)
        if read_json(row, "manifest").get("kind") != "folder":
            raise InvalidValueError(
                f"v{row['number']} of {model_name} is no folder.", "", "Use load()."
            )
        artefact.extract(records.open(row), Path(folder))

    def activate(self, model_name: str, version: Ref, reason: str = "") -> ModelVersion:
        """Put a version in use. Of the assistant only one that passed the gate."""
        records = self._records(model_name)
        if model_name == ASSISTANT:
            Deployment(self._profile).deploy(version, reason)
        else:
            row = self._whole(records, version)
            Activation(self._profile, model_name).change(row["address"], "deploy", reason)
        return self.get_version(model_name, "active")

    def rollback(
        self, model_name: str, target_version: Ref | None = None, reason: str = ""
    ) -> ModelVersion | None:
        """Put `target_version` in use, or what was in use before; it, or None where no version
        is in use then.

        Raises:
            InvalidValueError: if there is nothing to go back to, or no such version.
            DamagedDataError: if it is damaged; what was in use still is.
        """
        records = self._records(model_name)
        activation = Activation(self._profile, model_name)
        if model_name == ASSISTANT:
            Deployment(self._profile).rollback(target_version, reason)
        else:
            wanted = activation.previous() if target_version is None else target_version
            address = None if wanted is None else self._whole(records, wanted)["address"]
            activation.change(address, "rollback", reason)
        in_use = activation.address()
        return None if in_use is None else self.get_version(model_name, in_use)

    def compare_versions(self, model_name: str, version1: Ref, version2: Ref) -> dict[str, Any]:
        """How the metrics of two versions differ: {"metric_changes": {metric: {"v1", "v2",
        "change", "change_percent"}}}, None where a number is missing, or nothing to divide by."""
        first, second = (self.get_version(model_name, each) for each in (version1, version2))
        changes: dict[str, dict[str, float | None]] = {}
        for name in sorted({*first.metrics, *second.metrics}):
            one, two = first.metrics.get(name), second.metrics.get(name)
            change = None if one is None or two is None else two - one
            changes[name] = {
                "v1": one,
                "v2": two,
                "change": change,
                "change_percent": 100 * change / abs(one) if one and change is not None else None,
            }
        return {
            "model_name": model_name,
            "version1": first.version,
            "version2": second.version,
            "metric_changes": changes,
        }

    def tag(self, model_name: str, version: Ref, tag: str) -> None:
        """Name a version; another one that had the tag loses it."""
        records = self._records(model_name)
        records.tag(self._row(records, version)["address"], tag)

    def untag(self, model_name: str, tag: str) -> None:
        """Take a tag away."""
        self._records(model_name).untag(tag)

    def describe(self, model_name: str, version: Ref, text: str) -> None:
        """Give a version another description."""
        records = self._records(model_name)
        records.describe(self._row(records, version)["address"], text)

    def delete(self, model_name: str, version: Ref) -> None:
        """Delete a version that is not in use; `restore` brings it back for 7 days."""
        self._records(model_name).delete(version)

    def restore(self, model_name: str, version: Ref) -> ModelVersion:
        """Bring a deleted version back."""
        return self.get_version(model_name, self._records(model_name).restore(version)["address"])

    # ------------------------------------------------------------------------------------

    def _records(self, model_name: str) -> Records:
        if not isinstance(model_name, str) or not _NAME.fullmatch(model_name):
            raise InvalidValueError(
                f"{model_name!r} cannot be the name of a model.",
                "A name has at most 64 letters, digits, '_', '.' and '-'.",
                "Use a name such as 'intent_classifier'.",
            )
        return Records(self._profile, model_name)

    def _row(self, records: Records, version: Ref) -> Row:
        text = str(version).strip().lower()
        if text == "active":
            address = Activation(self._profile, records.model).address()
            if address is None:
                raise InvalidValueError(
                    f"No version of {records.model} is in use.", "", "Activate one first."
                )
            return records.row(address)
        if text == "latest" and (rows := records.rows()):
            return rows[0]
        return records.row(version)

    def _whole(self, records: Records, version: Ref) -> Row:
        """The row of a version whose content is what was kept; else it is quarantined."""
        row = self._row(records, version)
        try:
            self._content(records, row)
        except DamagedDataError as error:
            Activation(self._profile, records.model).fall_back(row["address"], str(error))
            raise
        return row

    def _content(self, records: Records, row: Row) -> bytes | dict[str, Any]:
        if records.model == ASSISTANT:
            from safetensors.numpy import load

            plain, _ = Registry(self._profile).open(row["address"])
            return dict(load(plain))
        plain = records.open(row)
        kind = str(read_json(row, "manifest").get("kind"))
        if artefact.address_of(records.model, kind, plain) != row["address"]:
            raise damaged(f"v{row['number']}", "its content has another address")
        return artefact.unpack(kind, plain)

    def _view(
        self, row: Row, records: Records, tags: Mapping[str, tuple[str, ...]] | None = None
    ) -> ModelVersion:
        manifest = read_json(row, "manifest")
        tags = records.tags() if tags is None else tags
        return ModelVersion(
            model_name=records.model,
            version=row["number"],
            semantic=f"v{row['major']}.{row['minor']}.{row['patch']}",
            address=row["address"],
            state=row["state"],
            created=row["created"],
            created_by=manifest.get("created_by", ""),
            description=row["description"],
            metrics=manifest.get("metrics", {}),
            tags=tags.get(row["address"], ()),
            parent=row["parent"],
            bytes=row["bytes"],
        )


def _numbers(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """`metrics` as floats, None for those that are not finite."""
    found: dict[str, float | None] = {}
    for name, value in metrics.items():
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise InvalidValueError(
                f"The metric {name!r} is no number.", f"It is {value!r}.", "Give numbers."
            ) from error
        found[str(name)] = number if math.isfinite(number) else None
    return found


def _environment() -> dict[str, str]:
    return {
        "xeno": importlib.metadata.version("xeno"),
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
    }
