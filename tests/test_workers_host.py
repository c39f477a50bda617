"""The model host and the assistant, with a real child and a real small model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from xeno.assistant import Assistant
from xeno.errors import (
    BaseModelError,
    ChildError,
    InvalidValueError,
    StoppedError,
    XenoError,
)
from xeno.events import ChatMessage, Sampling, ScorePair
from xeno.models.starter import starter_folder
from xeno.paths import Home
from xeno.performance.metrics import PerformanceTracker
from xeno.personalization.engine import PersonalizationEngine
from xeno.store.conversations import Conversations
from xeno.store.profile import Profile, open_profile
from xeno.workers.host_client import BASE_SETTING, HostClient, base_folder

QUESTION = (ChatMessage(role="user", content="How do I cook rice?"),)
SHORT = Sampling(max_tokens=16)
LONG = Sampling(max_tokens=4000, temperature=2.0, seed=1)


@pytest.fixture(scope="module")
def base(request: pytest.FixtureRequest) -> Path:
    """The starter model, or a small model where this checkout holds none."""
    try:
        return starter_folder()
    except BaseModelError:
        return request.getfixturevalue("shared_models") / "stories260K"


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Profile]:
    with open_profile(Home.at(tmp_path_factory.mktemp("home"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def host(profile: Profile, base: Path) -> Iterator[HostClient]:
    """One warm host for all tests that leave it alive."""
    with HostClient(profile, base) as client:
        client.ready()
        yield client


def test_the_host_answers_in_pieces_that_make_the_whole(host: HostClient) -> None:
    pieces: list[str] = []
    done: list[bool] = []
    handle = host.generate(
        QUESTION, SHORT, on_delta=pieces.append, on_done=lambda h: done.append(h.done)
    )
    reply = handle.result(120)
    assert "".join(pieces) == reply.text
    assert done == [True]
    assert reply.version is None
    assert reply.fallback is None
    ready = host.ready()
    assert reply.base_hash == ready.base_hash
    assert ready.decoder == "own loop"
    assert (reply.switch_seconds, reply.memory_bytes > 0) == (0, True)


def test_greedy_replies_are_the_same_every_time(host: HostClient) -> None:
    first = host.generate(QUESTION, SHORT).result(120).text
    assert host.generate(QUESTION, SHORT).result(120).text == first


def test_a_stop_ends_the_reply_and_keeps_what_there_is(host: HostClient) -> None:
    begun = threading.Event()
    handle = host.generate(QUESTION, LONG, on_delta=lambda _: begun.set())
    assert begun.wait(120)
    handle.stop()  # how soon it takes effect: xeno bench inference
    reply = handle.result(120)
    assert reply.reason in {"stopped", "end"}
    assert reply.text


def test_a_stop_ends_the_reading_of_a_long_prompt(host: HostClient) -> None:
    long = (ChatMessage(role="user", content="How do I cook rice? " * 100),)
    handle = host.generate(long, LONG)
    handle.stop()
    reply = handle.result(60)
    assert (reply.reason, reply.text, reply.reply_tokens) == ("stopped", "", 0)


def test_the_next_turn_begins_where_the_last_was_read(host: HostClient) -> None:
    talk = [ChatMessage(role="user", content="How do I cook rice? " * 30)]
    first = host.generate(talk, SHORT).result(120)
    assert first.reused_tokens == 0
    talk += [ChatMessage(role="assistant", content=first.text), *QUESTION]
    second = host.generate(talk, SHORT).result(120)
    assert second.reused_tokens >= first.prompt_tokens // 64 * 64
    assert second.cut_tokens == second.dropped_turns == 0
    host.generate(QUESTION, SHORT).result(120)
    assert host.generate(talk, SHORT).result(120).text == second.text


def test_a_reply_ends_before_a_stop_string(host: HostClient) -> None:
    whole = host.generate(QUESTION, SHORT).result(120).text
    stop = whole[8:12]
    pieces: list[str] = []
    sampling = Sampling(max_tokens=16, stop=(stop,))
    reply = host.generate(QUESTION, sampling, on_delta=pieces.append).result(120)
    assert (reply.reason, reply.text) == ("end", whole[: whole.index(stop)])
    assert "".join(pieces) == reply.text


def test_scores_come_in_the_order_asked(host: HostClient) -> None:
    pairs = [
        ScorePair(prompt=QUESTION, chosen="Rinse the rice.", rejected="zq zq zq zq"),
        ScorePair(prompt=QUESTION, chosen="zq zq zq zq", rejected="Rinse the rice."),
    ]
    scored = host.score(pairs, "base", 120)
    assert scored.version is None
    assert scored.scores[0].chosen == pytest.approx(scored.scores[1].rejected)
    assert scored.scores[0].chosen > scored.scores[0].rejected


def test_a_killed_host_fails_the_reply_and_the_message_can_be_sent_again(
    profile: Profile, base: Path
) -> None:
    with HostClient(profile, base) as host:
        assistant = Assistant(profile, host)
        begun = threading.Event()
        pending = assistant.begin(None, "How do I cook rice?", lambda _: begun.set(), sampling=LONG)
        assert begun.wait(120)
        os.kill(host.pid, signal.SIGKILL)
        with pytest.raises(ChildError, match="killed"):
            assistant.complete(pending, timeout=20)
        reply = assistant.complete(assistant.begin_retry(pending.conversation_id, sampling=SHORT))
    turns = Conversations(profile.db).messages(pending.conversation_id)
    assert [turn.role for turn in turns] == ["user", "assistant"]
    assert turns[1].content == reply.finished.text


def test_a_version_that_is_not_there_is_named_and_the_next_request_works(
    host: HostClient,
) -> None:
    with pytest.raises(InvalidValueError, match="no version"):
        host.generate(QUESTION, SHORT, version="deadbeef").result(120)
    assert host.generate(QUESTION, SHORT).result(60).reply_tokens > 0


def test_a_base_that_cannot_be_used_says_why_every_time(profile: Profile, tmp_path: Path) -> None:
    with HostClient(profile, tmp_path) as host:
        for _ in range(2):
            with pytest.raises(XenoError, match="cannot be used as a base model"):
                host.generate(QUESTION).result(60)
        with pytest.raises(XenoError, match="cannot be used as a base model"):
            host.ready(60)


def test_closing_ends_the_reply_and_the_child_in_order(profile: Profile, base: Path) -> None:
    host = HostClient(profile, base)
    begun = threading.Event()
    handle = host.generate(QUESTION, LONG, on_delta=lambda _: begun.set())
    assert begun.wait(120)
    process = psutil.Process(host.pid)
    host.close()
    assert not process.is_running()
    assert handle.result(1).reason in {"stopped", "end"}
    with pytest.raises(ChildError, match="closed"):
        host.generate(QUESTION)


def test_a_host_that_hangs_when_it_is_closed_fails_the_reply_as_stopped(
    profile: Profile, base: Path
) -> None:
    host = HostClient(profile, base)
    begun = threading.Event()
    handle = host.generate(QUESTION, LONG, on_delta=lambda _: begun.set())
    assert begun.wait(120)
    psutil.Process(host.pid).suspend()
    host.close()
    with pytest.raises(StoppedError):
        handle.result(1)


def test_the_key_is_not_in_the_hosts_command_line_or_environment(
    profile: Profile, host: HostClient
) -> None:
    host.ready()
    process = psutil.Process(host.pid)
    assert profile.key.hex() not in " ".join(process.cmdline())
    assert profile.key.hex() not in str(process.environ())


def test_the_chosen_base_is_remembered_in_the_profile(home: Home, tmp_path: Path) -> None:
    with open_profile(home) as profile:
        profile.set_setting(BASE_SETTING, str(tmp_path))
        assert base_folder(profile) == tmp_path
        assert HostClient(profile).base == tmp_path


def test_a_conversation_is_kept_with_its_prompt_version_and_speed(
    profile: Profile, host: HostClient
) -> None:
    PersonalizationEngine(profile.name, profile=profile).update_preference("tone", "formal")
    assistant = Assistant(profile, host)
    speeds = PerformanceTracker(profile.name, profile=profile)
    known = speeds.get_statistics("base", "first_token_seconds")["count"]
    first = assistant.ask(None, "How do I cook rice?", sampling=SHORT)
    second = assistant.ask(first.message.conversation_id, "Say it shorter.", sampling=SHORT)
    assert "formal tone" in first.message.system_prompt
    assert second.finished.prompt_tokens > first.finished.prompt_tokens
    turns = Conversations(profile.db).messages(first.message.conversation_id)
    assert [turn.content for turn in turns] == [
        "How do I cook rice?",
        first.finished.text,
        "Say it shorter.",
        second.finished.text,
    ]
    assert speeds.get_statistics("base", "first_token_seconds")["count"] == known + 2


def test_a_regenerated_reply_takes_the_place_of_the_last_one_only(
    profile: Profile, host: HostClient
) -> None:
    assistant = Assistant(profile, host)
    first = assistant.ask(None, "How do I cook rice?", sampling=SHORT)
    again = assistant.regenerate(first.message.id, sampling=SHORT)
    assert again.finished.text == first.finished.text
    turns = Conversations(profile.db).messages(first.message.conversation_id)
    assert [turn.id for turn in turns[1:]] == [again.message.id]
    assistant.ask(first.message.conversation_id, "Thanks!", sampling=SHORT)
    with pytest.raises(InvalidValueError, match="last reply"):
        assistant.regenerate(again.message.id)
    with pytest.raises(InvalidValueError, match="empty"):
        assistant.ask(None, "  \n")


def test_clients_and_assistant_do_not_import_torch() -> None:
    program = (
        "import sys, xeno.assistant, xeno.demo, xeno.workers.training_client, xeno.workers.host\n"
        "heavy = {'torch', 'transformers', 'peft', 'opacus', 'trl', 'PyQt6'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[1])
