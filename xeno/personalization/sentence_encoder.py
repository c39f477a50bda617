"""Sentences as vectors, from an encoder that the user has in a local folder.

The folder is inspected like a base model before anything is loaded: safetensors only, no code of
its own. transformers and torch are imported when the encoder is first used, and only then.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xeno.errors import BaseModelError
from xeno.models.base import inspect_base

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xeno.paths import Home

BATCH = 32
LONGEST = 256  # tokens


class SentenceEncoder:
    """The encoder in `folder`: mean over the tokens, or the first token where the folder's
    1_Pooling/config.json (sentence-transformers) says so. Rows have unit length.

    Raises:
        BaseModelError: the folder cannot be used; nothing was loaded.
    """

    def __init__(self, folder: Path, home: Home | None = None) -> None:
        try:
            self._base = inspect_base(folder, home, writes_text=False)
        except BaseModelError as error:
            raise BaseModelError(
                f"{folder} cannot be used as a sentence encoder.",
                error.why,
                "Choose a folder with config.json, model.safetensors and a tokenizer.",
            ) from error
        self.folder = self._base.folder
        self.hash = self._base.base_hash
        self._first_token = _pools_first_token(self.folder)
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()

    def rows(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 [len(texts), width], each row of length 1; without a token, 0."""
        import torch

        tokenizer, model = self._parts()
        # Texts of like length together: padding costs as much as words.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found: dict[int, NDArray[np.float32]] = {}
        with self._lock, torch.inference_mode():
            for start in range(0, len(order), BATCH):
                batch = order[start : start + BATCH]
                inputs = tokenizer(
                    [texts[i] for i in batch],
                    padding=True,
                    truncation=True,
                    max_length=min(LONGEST, self._base.context),
                    return_tensors="pt",
                )
                hidden = model(**inputs).last_hidden_state.float()  # [batch, tokens, width]
                if self._first_token:
                    pooled = hidden[:, 0]
                else:
                    mask = inputs["attention_mask"].unsqueeze(-1).float()
                    pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
                vectors = torch.nn.functional.normalize(pooled, dim=-1).numpy()
                found.update(zip(batch, vectors, strict=True))
        return np.stack([found[i] for i in range(len(texts))])

    def _parts(self) -> tuple[Any, Any]:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModel, AutoTokenizer

        from xeno.models.loading import quiet

        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            with quiet():
                tokenizer = AutoTokenizer.from_pretrained(str(self.folder), **local)
                model, report = AutoModel.from_pretrained(
                    str(self.folder),
                    use_safetensors=True,
                    dtype=torch.float32,
                    output_loading_info=True,
                    **local,
                )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise self._unusable(f"It cannot be loaded ({error}).") from error
        # A pooler is no part of what is read here, and sentence encoders often come without.
        missing = [name for name in report["missing_keys"] if not name.startswith("pooler.")]
        if missing or report["mismatched_keys"]:
            raise self._unusable("Weights are missing or misshapen.")
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        return tokenizer, model.eval()

    def _unusable(self, why: str) -> BaseModelError:
        return BaseModelError(
            f"{self.folder} cannot be used as a sentence encoder.", why, "Choose another folder."
        )


def _pools_first_token(folder: Path) -> bool:
    path = folder / "1_Pooling" / "config.json"
    try:
        return bool(json.loads(path.read_text("utf-8")).get("pooling_mode_cls_token", False))
    except (OSError, ValueError, AttributeError):
        return False
