"""A canary answers in the real model host, is counted, and gives way where it is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_personalized import base as base  # a fixture
from test_personalized import released

from xeno.assistant import Assistant
from xeno.events import Sampling
from xeno.experiments.canary import Canaries
from xeno.experiments.decisions import history
from xeno.experiments.observing import Observer
from xeno.inference.adapter_cache import AdapterCache
from xeno.inference.engine import Engine
from xeno.inference.serving import Serving
from xeno.models.base import inspect_base
from xeno.performance.metrics import PerformanceTracker
from xeno.store.conversations import Conversations
from xeno.store.profile import Profile
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Version
from xeno.workers.host_client import HostClient

SHORT = Sampling(max_tokens=4)


@pytest.fixture
def canary(profile: Profile, base: Path) -> Version:
    """v1 answers, and v2 is tried in every conversation."""
    active, tried = released(profile, base, 1), released(profile, base, 2)
    Deployment(profile).deploy(active.address)
    Canaries(profile).start(tried.address, 1.0)
    return tried


def test_the_canary_answers_the_conversation_and_its_reply_is_counted(
    profile: Profile, base: Path, canary: Version
) -> None:
    with HostClient(profile, base) as host:
        assistant = Assistant(profile, host)
        reply = assistant.ask(None, "Is it?", sampling=SHORT, timeout=240)
        assert reply.finished.version == canary.address
        assert reply.finished.fallback is None
        aside = assistant.ask(None, "Is it?", sampling=SHORT, version="base", timeout=240)
        assert (aside.finished.version, aside.finished.trial) == (None, None)
    going = Canaries(profile).current()
    assert going is not None
    standing = Canaries(profile).standing(going)
    assert (standing.canary.requests, standing.canary.failed, standing.active.requests) == (1, 0, 0)
    tracker = PerformanceTracker(profile.name, profile=profile)
    assert tracker.get_statistics(canary.address, "error")["mean"] == 0
    assert tracker.get_statistics(canary.address, "cache_hit")["count"] == 1


def test_a_damaged_canary_gives_way_to_the_active_version_and_its_trial_ends(
    profile: Profile, base: Path, canary: Version
) -> None:
    serving = Serving(Engine(inspect_base(base)), AdapterCache(2**30, 600.0))
    talk = Conversations(profile.db).create("talk")
    choice = serving.find(profile, "active", talk.id)
    assert choice.version is not None
    assert (choice.version.address, choice.cached) == (canary.address, False)
    assert serving.find(profile, "active", talk.id).cached is True
    (file,) = profile.paths.versions.glob(f"{canary.address}*")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    serving.cache.forget(profile.name)

    choice = serving.find(profile, "active", talk.id)
    assert choice.version is not None
    assert choice.version.label == "v1"
    assert "quarantined" in (choice.fallback or "")
    assert choice.trial is not None
    Observer(profile).failed(talk.id, "active")  # the next request of any process
    assert serving.find(profile, "active", talk.id).trial is None
    Canaries(profile).settle()
    assert Canaries(profile).current() is None
    assert history(profile.db)[0].reason == "It is quarantined now."
