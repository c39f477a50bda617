"""The trained intent classifiers, kept as versions of the model "intent_classifier".

The one in use is what predictions are made with; `xeno.ModelVersionControl` lists them, compares
them and goes back to an earlier one. An earlier release kept a single sealed file: it becomes the
first version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xeno.store.profile import Profile
from xeno.versions.activation import Activation
from xeno.versions.container import read_encrypted
from xeno.versions.control import ModelVersionControl
from xeno.versions.records import Records
from xeno.versions.retention import Retention

MODEL = "intent_classifier"
_KEPT = 5  # learning again by itself makes many


class IntentVersions:
    """The intent classifiers of `profile`."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._control = ModelVersionControl(profile.name, profile=profile)
        self._earlier = profile.paths.folder / "intents" / "classifier.sealed"

    def keep(self, content: bytes, found: Mapping[str, Any]) -> None:
        """Keep a classifier with what its fit found, and use it from now on."""
        self._control.create_version(
            MODEL, content, created_by=self._profile.name, metrics=dict(found)
        )
        Retention(self._profile, MODEL).prune(_KEPT)

    def in_use(self) -> str | None:
        """The content address of the classifier in use, None where there is none."""
        found = Activation(self._profile, MODEL).address()
        if self._earlier.exists():
            if found is None:
                key = self._profile.key.subkey("intents")
                self.keep(read_encrypted(self._earlier, key, b"xeno intent classifier"), {})
                found = Activation(self._profile, MODEL).address()
            self._earlier.unlink(missing_ok=True)
        return found

    def read(self) -> bytes:
        """The classifier in use; where it is damaged the one before it.

        Raises:
            DamagedDataError: if there is none before it.
        """
        content = self._control.load(MODEL, "active")
        assert isinstance(content, bytes)
        return content

    def forget(self) -> None:
        """Remove all classifiers for good."""
        records = Records(self._profile, MODEL)
        with self._profile.db.transaction():
            Activation(self._profile, MODEL).change(None, "rollback", "The user forgot them.")
            for row in records.rows():
                records.delete(row["address"])
        for row in records.rows(deleted=True):
            records.purge(row["address"])
        self._earlier.unlink(missing_ok=True)
