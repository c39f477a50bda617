"""Several users on one base: each is answered by the own version, and the base where that fails."""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_models import make_llama
from version_parts import CONFIG, adapter, manifest_for, passed

from xeno import PersonalizedInferenceEngine
from xeno.errors import InvalidValueError, XenoError
from xeno.events import ChatMessage, Sampling
from xeno.inference.adapter_cache import Adapter, AdapterCache
from xeno.inference.engine import BLOCK, Engine
from xeno.inference.serving import Choice, Serving
from xeno.inference.settings import ReplySettings, write_settings
from xeno.models.base import inspect_base
from xeno.paths import Home
from xeno.performance.metrics import PerformanceTracker
from xeno.store.profile import Profile, open_profile
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Registry, Version

ASKED = "What is tea, and how is it made?"
SHORT = {"max_tokens": 20}
USERS = ("ann", "bob", "eve")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "tiny")


def released(profile: Profile, base: Path, seed: int, scale: float = 0.3) -> Version:
    """A version whose adapter changes what is said."""
    tensors = {name: scale * each for name, each in adapter(seed).items()}
    manifest = manifest_for(tensors, inspect_base(base).base_hash)
    version = Registry(profile).release(tensors, manifest)
    passed(profile, version.address)
    return version


@pytest.fixture
def users(home: Home, base: Path) -> Iterator[dict[str, Profile]]:
    """Three open profiles with two versions each."""
    profiles = {name: open_profile(home, name) for name in USERS}
    for number, profile in enumerate(profiles.values()):
        for seed in (2 * number, 2 * number + 1):
            released(profile, base, seed)
    yield profiles
    for profile in profiles.values():
        profile.close()


@pytest.fixture
def engine(base: Path, users: dict[str, Profile]) -> Iterator[PersonalizedInferenceEngine]:
    with PersonalizedInferenceEngine(base, profiles=users) as made:
        yield made


def test_every_user_is_answered_by_the_version_that_was_activated(
    engine: PersonalizedInferenceEngine,
) -> None:
    texts = set()
    for user in USERS:
        for model in (1, "v2", "base"):
            assert engine.activate_personalized_model(user, model)
            text, about = engine.generate_response(user, ASKED, **SHORT)
            assert about["model"] == ("base" if model == "base" else f"v{str(model)[-1]}")
            assert about["fallback"] is None
            assert about["reply_tokens"] > 0
            texts.add((about["model"] if model == "base" else about["version"], text))
    assert len(texts) == 7, "two of the versions say the same, or the base differs among users"
    assert len({text for _, text in texts}) == 7


def test_what_was_activated_answers_in_the_next_process_too(
    base: Path, users: dict[str, Profile]
) -> None:
    with PersonalizedInferenceEngine(base, profiles=users) as first:
        assert first.activate_personalized_model("ann", "v2")
        text, _ = first.generate_response("ann", ASKED, **SHORT)
    with PersonalizedInferenceEngine(base, profiles=users) as second:
        again, about = second.generate_response("ann", ASKED, **SHORT)
    assert (again, about["model"]) == (text, "v2")


def test_without_an_activation_what_is_deployed_answers(
    engine: PersonalizedInferenceEngine, users: dict[str, Profile]
) -> None:
    assert engine.generate_response("ann", ASKED, **SHORT)[1]["model"] == "base"
    Deployment(users["ann"]).deploy("v1")
    assert engine.generate_response("ann", ASKED, **SHORT)[1]["model"] == "v1"
    assert engine.activate_personalized_model("ann", "v2")
    assert engine.activate_personalized_model("ann", "active")
    assert engine.generate_response("ann", ASKED, **SHORT)[1]["model"] == "v1"


def test_the_users_preferences_and_settings_shape_the_reply(
    engine: PersonalizedInferenceEngine, users: dict[str, Profile]
) -> None:
    from xeno import PersonalizationEngine

    before = engine.generate_response("ann", ASKED, **SHORT)[1]["prompt_tokens"]
    PersonalizationEngine("ann", profile=users["ann"]).update_preference("tone", "formal")
    assert engine.generate_response("ann", ASKED, **SHORT)[1]["prompt_tokens"] != before
    write_settings(users["ann"], {"max_tokens": 3})
    assert engine.generate_response("ann", ASKED)[1]["reply_tokens"] == 3
    assert engine.generate_response("bob", ASKED, max_tokens=7)[1]["reply_tokens"] == 7


def test_every_reply_is_measured(
    engine: PersonalizedInferenceEngine, users: dict[str, Profile]
) -> None:
    engine.activate_personalized_model("ann", "v1")
    _, about = engine.generate_response("ann", ASKED, **SHORT)
    assert about["memory_bytes"] > 0
    assert about["switch_seconds"] > 0
    kept = PerformanceTracker("ann", profile=users["ann"])
    for name in ("first_token_seconds", "tokens_per_second"):
        assert kept.get_statistics(about["version"], name)["latest"] == about[name]
    engine.activate_personalized_model("ann", "v9")
    engine.generate_response("ann", ASKED, **SHORT)
    assert kept.get_statistics("base", "fallback")["latest"] == 1


# What fails -----------------------------------------------------------------------------------


def test_a_version_that_is_not_there_is_not_activated_and_the_reply_says_so(
    engine: PersonalizedInferenceEngine,
) -> None:
    plain, _ = engine.generate_response("ann", ASKED, **SHORT)
    assert engine.activate_personalized_model("ann", "v1")
    assert not engine.activate_personalized_model("ann", "v9")
    text, about = engine.generate_response("ann", ASKED, **SHORT)
    assert (text, about["model"], about["version"]) == (plain, "base", None)
    assert "v9" in about["fallback"]
    assert engine.activate_personalized_model("ann", "v1")
    assert engine.generate_response("ann", ASKED, **SHORT)[1]["fallback"] is None


def test_a_flipped_byte_is_named_and_the_base_answers(
    engine: PersonalizedInferenceEngine, users: dict[str, Profile]
) -> None:
    plain, _ = engine.generate_response("ann", ASKED, **SHORT)
    version = Registry(users["ann"]).get("v1")
    Deployment(users["ann"]).deploy("v1")
    (file,) = users["ann"].paths.versions.glob(f"*{version.address}*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    text, about = engine.generate_response("ann", ASKED, **SHORT)
    assert (text, about["model"]) == (plain, "base")
    assert "v1 is damaged" in about["fallback"]
    assert not engine.activate_personalized_model("ann", "v1")


def test_a_version_of_another_base_is_refused_by_name(
    engine: PersonalizedInferenceEngine, users: dict[str, Profile]
) -> None:
    tensors = adapter(9)
    Registry(users["eve"]).release(tensors, manifest_for(tensors))
    assert not engine.activate_personalized_model("eve", "v3")
    _, about = engine.generate_response("eve", ASKED, **SHORT)
    assert "another base model" in about["fallback"]


def test_an_adapter_whose_numbers_overflow_gives_way_to_the_base(
    engine: PersonalizedInferenceEngine, users: dict[str, Profile], base: Path
) -> None:
    plain, _ = engine.generate_response("ann", ASKED, **SHORT)
    released(users["ann"], base, 7, scale=1e25)  # finite, but its products are not
    assert engine.activate_personalized_model("ann", "v3")
    text, about = engine.generate_response("ann", ASKED, **SHORT)
    assert (text, about["model"]) == (plain, "base")
    assert "no usable numbers" in about["fallback"]
    assert engine.generate_response("bob", ASKED, **SHORT)[1]["fallback"] is None


@pytest.mark.parametrize("already", [0, 1])
def test_memory_that_runs_out_while_a_version_is_put_in_leaves_the_base(
    engine: PersonalizedInferenceEngine, monkeypatch: pytest.MonkeyPatch, already: int
) -> None:
    plain, _ = engine.generate_response("ann", ASKED, **SHORT)
    engine.activate_personalized_model("ann", "v2")
    engine.generate_response("ann", ASKED, **SHORT)
    inner = engine._serving().engine
    product, calls = torch.addmm, iter(range(100))

    def full(*arguments: object, **options: object) -> torch.Tensor:
        if next(calls) == already:
            raise MemoryError
        return product(*arguments, **options)

    assert engine.activate_personalized_model("ann", "v1")
    monkeypatch.setattr(torch, "addmm", full)
    text, about = engine.generate_response("ann", ASKED, **SHORT)
    assert (text, about["model"]) == (plain, "base")
    assert "not enough memory" in about["fallback"]
    assert inner.active_address is None
    assert engine.generate_response("ann", ASKED, **SHORT)[1]["model"] == "v1"


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": 9}, {"top_p": 0}, {"top_k": -1}, {"colour": "red"}, {"stop": [""] * 17}],
)
def test_a_sampling_that_cannot_be_is_refused(
    engine: PersonalizedInferenceEngine, wrong: dict[str, object]
) -> None:
    with pytest.raises(InvalidValueError, match=next(iter(wrong))):
        engine.generate_response("ann", ASKED, **wrong)


@pytest.mark.parametrize("prompt", ["", " \n", [], [ChatMessage(role="assistant", content="x")]])
def test_nothing_asked_is_nothing_answered(
    engine: PersonalizedInferenceEngine, prompt: str | list[ChatMessage]
) -> None:
    with pytest.raises(InvalidValueError, match="nothing to answer"):
        engine.generate_response("ann", prompt)


def test_a_user_that_cannot_be_a_profile_is_refused(engine: PersonalizedInferenceEngine) -> None:
    with pytest.raises(InvalidValueError, match="profile name"):
        engine.activate_personalized_model("../ann", "v1")
    with pytest.raises(InvalidValueError, match="names no model"):
        engine.activate_personalized_model("ann", None)  # type: ignore[arg-type]


def test_a_closed_engine_says_so(base: Path, users: dict[str, Profile]) -> None:
    engine = PersonalizedInferenceEngine(base, profiles=users)
    engine.close()
    with pytest.raises(XenoError, match="closed"):
        engine.generate_response("ann", ASKED)


# Several at once ------------------------------------------------------------------------------


def test_replies_asked_for_at_once_are_those_asked_for_alone(
    engine: PersonalizedInferenceEngine,
) -> None:
    alone = {}
    for number, user in enumerate(USERS):
        engine.activate_personalized_model(user, 1 + number % 2)
        alone[user] = engine.generate_response(user, ASKED, **SHORT)[0]
    found: list[tuple[str, str]] = []

    def ask(user: str) -> None:
        for _ in range(3):
            found.append((user, engine.generate_response(user, ASKED, **SHORT)[0]))

    threads = [threading.Thread(target=ask, args=(user,)) for user in USERS * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted((user, text) for user, text in alone.items() for _ in range(6))


def test_a_change_of_version_waits_for_the_next_reply(engine: PersonalizedInferenceEngine) -> None:
    engine.activate_personalized_model("ann", "v1")
    alone, _ = engine.generate_response("ann", ASKED, **SHORT)
    changed: list[bool] = []

    def change(_: str) -> None:
        if not changed:
            changed.append(engine.activate_personalized_model("ann", "v2"))

    text, about = engine.generate_response("ann", ASKED, on_text=change, **SHORT)
    assert changed == [True]
    assert (text, about["model"]) == (alone, "v1")
    assert engine.generate_response("ann", ASKED, **SHORT)[1]["model"] == "v2"


def test_what_one_user_said_is_not_kept_for_another(engine: PersonalizedInferenceEngine) -> None:
    long = "word " * BLOCK
    engine.generate_response("ann", long, **SHORT)
    assert engine.generate_response("ann", long, **SHORT)[1]["reused_tokens"] >= BLOCK
    assert engine.generate_response("bob", long, **SHORT)[1]["reused_tokens"] == 0
    assert engine.generate_response("ann", long, **SHORT)[1]["reused_tokens"] == 0


# What is kept of a conversation -----------------------------------------------------------------


def test_edits_regenerations_and_switches_answer_as_if_nothing_had_been_kept(base: Path) -> None:
    kept, fresh = Engine(inspect_base(base)), Engine(inspect_base(base))
    fresh.forget()
    tensors = {name: 0.3 * each for name, each in adapter(1).items()}
    sampling = Sampling(max_tokens=24)

    def said(role: str, text: str) -> ChatMessage:
        return ChatMessage.model_validate({"role": role, "content": text})

    def both(talk: list[ChatMessage], sampling: Sampling = sampling) -> str:
        fresh.forget()
        wanted = fresh.generate(talk, sampling).text
        assert kept.generate(talk, sampling).text == wanted
        return wanted

    talk = [said("system", "Be brief. " * 12), said("user", "Tell me of tea. " * 6)]
    first = both(talk)
    longer = [*talk, said("assistant", first), said("user", "And of coffee?")]
    both(longer)
    assert kept.generate(longer, sampling).reused_tokens >= 2 * BLOCK
    both(longer, Sampling(max_tokens=24, temperature=1.0, seed=4))  # regenerated
    both([*longer[:2], said("assistant", "Tea is a drink. " * 8), longer[3]])  # a reply edited
    both([said("system", "Be brief! " * 12), *longer[1:]])  # another system prompt
    kept.read_ahead([*longer, said("assistant", first)])
    both([*longer, said("assistant", first), said("user", "And of milk?")])
    both([*longer, said("assistant", "Something else."), said("user", "And of milk?")])
    for address in ("1" * 64, None, "1" * 64):  # a version in, out, in again
        for each in (kept, fresh):
            if address:
                each.activate(address, tensors, CONFIG)
            else:
                each.deactivate()
        assert kept.generate(longer, sampling).reused_tokens == 0
        both(longer)


# Opened versions --------------------------------------------------------------------------------


def test_a_day_of_several_users_finds_its_versions_open(
    base: Path, users: dict[str, Profile]
) -> None:
    """Users come in sittings of a few replies, mostly with the version they used last."""
    order = random.Random(3)
    model = Engine(inspect_base(base))
    serving = Serving(model, AdapterCache(ReplySettings().cache_bytes, 3600))
    for _ in range(40):
        user = users[order.choice(USERS)]
        wanted = order.choice(["v1", "v1", "v1", "v2"])
        for _ in range(order.randrange(1, 6)):
            choice = serving.find(user, wanted)
            serving.use(choice)
            assert choice.version is not None
            assert model.active_address == choice.version.address
    hits, misses = serving.cache.hits, serving.cache.misses
    assert hits / (hits + misses) >= 0.8
    assert misses == len(serving.cache) == 6


def test_a_thousand_switches_leave_nothing_behind(base: Path) -> None:
    model = Engine(inspect_base(base))
    before = {name: each.clone() for name, each in model.model.state_dict().items()}
    serving = Serving(model, AdapterCache(10**6, 3600))
    adapters = [Adapter(str(n) * 64, adapter(n), CONFIG) for n in range(4)]

    def switches(count: int) -> int:
        for number in range(count):
            chosen = adapters[number % 4]
            kept = serving.cache.get(("ann", chosen.address), lambda chosen=chosen: chosen)
            serving.use(Choice("ann", adapter=kept if number % 7 else None))
        gc.collect()
        return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())

    tensors = switches(50)
    assert switches(1000) == tensors
    assert len(model._merge._originals) == 2
    serving.use(Choice("ann"))
    for name, each in model.model.state_dict().items():
        assert torch.equal(each, before[name]), name


def opened(number: int, width: int = 32) -> Adapter:
    return Adapter(str(number) * 64, adapter(number, width), CONFIG)


def test_the_least_recently_used_version_makes_room() -> None:
    size = opened(0).bytes
    cache = AdapterCache(2 * size, 3600)
    for number in (0, 1, 0, 2):
        cache.get(("ann", str(number)), lambda number=number: opened(number))
    assert (cache.hits, cache.misses, len(cache), cache.bytes) == (1, 3, 2, 2 * size)
    cache.get(("ann", "0"), lambda: pytest.fail("the one used last was dropped"))
    cache.get(("ann", "1"), lambda: opened(1))
    assert cache.misses == 4


def test_a_version_too_large_for_the_cache_is_used_and_not_kept() -> None:
    cache = AdapterCache(opened(0).bytes, 3600)
    cache.get(("ann", "0"), lambda: opened(0))
    assert cache.get(("ann", "1"), lambda: opened(1, width=64)).bytes > opened(0).bytes
    assert len(cache) == 1


def test_a_version_unused_for_long_is_dropped() -> None:
    now = [0.0]
    cache = AdapterCache(10**9, 60, clock=lambda: now[0])
    cache.get(("ann", "0"), lambda: opened(0))
    now[0] = 50
    cache.get(("ann", "0"), lambda: pytest.fail("dropped too early"))
    now[0] = 111
    assert (len(cache), cache.bytes) == (0, 0)


def test_what_cannot_be_opened_is_not_kept_and_users_share_nothing() -> None:
    cache = AdapterCache(10**9, 60)

    def fail() -> Adapter:
        raise XenoError("damaged")

    with pytest.raises(XenoError, match="damaged"):
        cache.get(("ann", "0"), fail)
    cache.get(("ann", "0"), lambda: opened(0))
    with pytest.raises(XenoError, match="damaged"):
        cache.get(("bob", "0"), fail)
    cache.forget("ann")
    assert len(cache) == 0
