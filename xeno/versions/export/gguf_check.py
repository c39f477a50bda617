"""What a GGUF file says, to hold against the original: by llama.cpp where it is installed.

Without it the file's tensors are read back, unpacked, and computed with by transformers; that
shows every number, and not how llama.cpp would cut text into tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xeno.models.base import BaseModel
from xeno.models.loading import load_model
from xeno.versions.adapter import AdapterConfig, module_paths
from xeno.versions.export import check, gguf, llamacpp
from xeno.versions.export.check import CheckReport, Probe, Tolerance
from xeno.versions.export.merged import merged_tensor

if TYPE_CHECKING:
    import torch

_Adapter = tuple[Mapping[str, "torch.Tensor"], AdapterConfig]
_ROOM = 64  # tokens of context beside the longest prompt


def compare_model(
    path: Path, base: BaseModel, probes: Sequence[Probe], tolerance: Tolerance
) -> CheckReport:
    """Check a merged model. Raises DamagedDataError where it differs."""
    if llamacpp.installed():
        return _through_llamacpp(path, None, probes, tolerance)
    import torch

    model: Any = load_model(base, "float32")
    with torch.no_grad():
        for name, weight in gguf.read_model(path, base).items():
            model.get_parameter(name).copy_(torch.from_numpy(weight))
    return _through_transformers(model, probes, tolerance)


def compare_adapter(
    path: Path,
    base: BaseModel,
    adapter: _Adapter,
    probes: Sequence[Probe],
    plain: Path,
    tolerance: Tolerance,
) -> CheckReport:
    """Check an adapter. Raises DamagedDataError where it differs.

    Args:
        plain: the base as GGUF in float32, for llama.cpp; used only where that is installed.
    """
    if llamacpp.installed():
        return _through_llamacpp(plain, path, probes, tolerance)
    import torch

    stored, scale = gguf.read_adapter(path, base, adapter[1])
    tensors = {name: torch.from_numpy(each) for name, each in stored.items()}
    config = adapter[1].model_copy(update={"rs_lora": False, "alpha": scale * adapter[1].rank})
    model: Any = load_model(base, "float32")
    with torch.no_grad():
        for module in module_paths(tensors, config):
            weight = model.get_parameter(f"{module}.weight")
            weight.copy_(merged_tensor(f"{module}.weight", weight, base, (tensors, config)))
    return _through_transformers(model, probes, tolerance)


def _through_transformers(model: Any, probes: Sequence[Probe], tolerance: Tolerance) -> CheckReport:
    method = "tensors read back and computed by transformers (llama.cpp is not installed)"
    return check.compare(method, probes, lambda probe: check.along(model, probe), tolerance)


def _through_llamacpp(
    path: Path, adapter: Path | None, probes: Sequence[Probe], tolerance: Tolerance
) -> CheckReport:
    context = max(len(each.ids) + len(each.reply) for each in probes) + _ROOM
    with llamacpp.LlamaCpp(path, adapter, context) as opened:
        report = check.compare(
            "llama.cpp, through the file's own template and tokenizer",
            probes,
            lambda probe: opened.along(probe.ids, probe.reply, check.TOP),
            tolerance,
        )
        for number, probe in enumerate(probes, start=1):
            said = opened.answer(probe.messages, len(probe.reply))
            if said.prompt_tokens != len(probe.ids):
                raise check.blocked(
                    f"llama.cpp makes {said.prompt_tokens} tokens of prompt {number}, and the "
                    f"chat {len(probe.ids)}."
                )
            whole = "\ufffd" not in probe.text and not report.ties
            if whole and said.text.strip() != probe.text.strip():
                raise check.blocked(f"llama.cpp gives another reply to prompt {number}.")
    return report
