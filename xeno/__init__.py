"""XENO's core: everything but the window and the federation, usable headless."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xeno.experiments.ab import ABTestingManager as ABTestingManager
    from xeno.inference.personalized import (
        PersonalizedInferenceEngine as PersonalizedInferenceEngine,
    )
    from xeno.performance.metrics import PerformanceTracker as PerformanceTracker
    from xeno.personalization.engine import PersonalizationEngine as PersonalizationEngine
    from xeno.personalization.intents import CustomModelTrainer as CustomModelTrainer
    from xeno.personalization.memory import ContextualMemory as ContextualMemory
    from xeno.privacy.analyzer import PrivacyAnalyzer as PrivacyAnalyzer
    from xeno.privacy.gaussian import DifferentialPrivacy as DifferentialPrivacy
    from xeno.versions.control import ModelVersionControl as ModelVersionControl

__version__ = "0.1.0"

# The names for scripts, imported when they are first used: `import xeno` stays light.
_PUBLIC = {
    "ABTestingManager": "xeno.experiments.ab",
    "ContextualMemory": "xeno.personalization.memory",
    "CustomModelTrainer": "xeno.personalization.intents",
    "DifferentialPrivacy": "xeno.privacy.gaussian",
    "ModelVersionControl": "xeno.versions.control",
    "PerformanceTracker": "xeno.performance.metrics",
    "PersonalizationEngine": "xeno.personalization.engine",
    "PersonalizedInferenceEngine": "xeno.inference.personalized",
    "PrivacyAnalyzer": "xeno.privacy.analyzer",
}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
