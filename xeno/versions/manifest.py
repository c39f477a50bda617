"""A version's manifest: what it is, what it came from and what it cost, hashed and signed."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from xeno.training.plan import TrainingPlan
from xeno.versions.adapter import AdapterConfig
from xeno.versions.content import canonical_json

if TYPE_CHECKING:
    from xeno.store.keys import ProfileKey

_DOMAIN = b"xeno manifest 1\0"
_HASH = r"^[0-9a-f]{64}$"


class Manifest(BaseModel):
    """Everything known of a version at its release. Holds no local paths and no content.

    `epsilon`, `delta`, `unit` and `mechanism` are None without differential privacy; `seed` is
    the run's, never that of privacy's noise. Metrics that are not finite become None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field(pattern=_HASH)
    base_hash: str = Field(pattern=_HASH)
    base_name: str
    adapter: AdapterConfig
    run_id: str | None = None
    plan: TrainingPlan | None = None
    seed: int = 0
    data_hash: str | None = None
    pair_ids: tuple[str, ...] = ()
    parent: str | None = Field(default=None, pattern=_HASH)
    metrics: dict[str, float | None] = Field(default_factory=dict)
    private: bool = False
    epsilon: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    delta: float | None = Field(default=None, ge=0, le=1)
    unit: Literal["pair", "conversation", "client"] | None = None
    mechanism: dict[str, Any] | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    created: float = Field(ge=0, allow_inf_nan=False)

    @field_validator("metrics", mode="before")
    @classmethod
    def _finite(cls, value: Any) -> Any:
        return _known(value)

    @field_validator("plan")
    @classmethod
    def _without_paths_and_words(cls, plan: TrainingPlan | None) -> TrainingPlan | None:
        if plan is None:
            return None
        name = re.split(r"[\\/]", plan.base.rstrip("\\/"))[-1]
        prompts = TrainingPlan.model_fields["sample_prompts"].default  # the user's may be private
        return plan.model_copy(update={"base": name, "sample_prompts": prompts})

    def canonical(self) -> bytes:
        """The bytes that are hashed and stored."""
        return canonical_json(self.model_dump(mode="json"))


class ArtefactManifest(BaseModel):
    """Everything known of a version of a model that is no adapter, at its creation.

    `kind` is what its content is (`xeno.versions.artefact`), `config` what the program that made
    it says of how. Metrics that are not finite become None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field(pattern=_HASH)
    model: str
    kind: Literal["bytes", "folder", "values"]
    created_by: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    data_hash: str | None = None
    pair_ids: tuple[str, ...] = ()
    parent: str | None = Field(default=None, pattern=_HASH)
    metrics: dict[str, float | None] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)
    created: float = Field(ge=0, allow_inf_nan=False)

    @field_validator("metrics", mode="before")
    @classmethod
    def _finite(cls, value: Any) -> Any:
        return _known(value)

    def canonical(self) -> bytes:
        """The bytes that are hashed and stored."""
        return canonical_json(self.model_dump(mode="json"))


def _known(metrics: Any) -> Any:
    """`metrics` with None for numbers that are not finite, which JSON does not have."""
    if not isinstance(metrics, Mapping):
        return metrics
    return {
        name: None if isinstance(each, float) and not math.isfinite(each) else each
        for name, each in metrics.items()
    }


def hash_of(canonical: bytes) -> str:
    """The SHA-256 (hex) of a manifest's canonical bytes."""
    return hashlib.sha256(canonical).hexdigest()


def sign(key: ProfileKey, manifest_hash: str) -> str:
    """The profile's Ed25519 signature (hex) of a manifest's hash."""
    return key.signing.sign(_DOMAIN + bytes.fromhex(manifest_hash)).hex()


def signed(key: ProfileKey, manifest_hash: str, signature: str) -> bool:
    """Whether `signature` (hex) is this profile's for `manifest_hash` (hex)."""
    from cryptography.exceptions import InvalidSignature

    try:
        content = _DOMAIN + bytes.fromhex(manifest_hash)
        key.signing.public_key().verify(bytes.fromhex(signature), content)
    except (InvalidSignature, ValueError):
        return False
    return True
