"""The conversation at the terminal, with a real model host on a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tiny_models import make_llama

from xeno.cli.main import main
from xeno.cli.output import Output
from xeno.cli.talk import Talk
from xeno.events import Sampling
from xeno.store.conversations import Conversations
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile
from xeno.workers.host_client import HostClient

Say = Callable[[Sequence[str]], None]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("base"))


@pytest.fixture
def say(profile: Profile, base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Say]:
    """Has one talk in which the user types these lines."""
    with HostClient(profile, base) as host:

        def typed(lines: Sequence[str]) -> None:
            waiting = iter(lines)

            def read(_prompt: str) -> str:
                line = next(waiting, None)
                if line is None:
                    raise EOFError
                return line

            monkeypatch.setattr("builtins.input", read)
            found = Conversations(profile.db).all(limit=1)
            conversation = found[0].id if found else None
            Talk(profile, host, Output(False), SHORT, conversation=conversation).go()

        yield typed


SHORT = Sampling(max_tokens=12)


def test_after_again_one_of_two_replies_is_chosen(
    profile: Profile, say: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    say(["/set top_k many", "/set max-tokens 11", "/earlier", "Which tea?", "/again", "/earlier"])
    said, wrong = capsys.readouterr()
    assert "max_tokens 11" in said
    assert "top_k" in wrong
    assert "no two replies" in said
    assert "The talk goes on with the earlier reply" in said
    (conversation,) = Conversations(profile.db).all()
    first, second = Conversations(profile.db).messages(conversation.id, superseded=True)[1:]
    assert (first.superseded, second.superseded) == (False, True)
    (pair,) = Pairs(profile.db).all()
    assert (pair.chosen, pair.rejected) == (first.content, second.content)

    say(["/again", "/this", "/this", "/again", "Why?", "/this"])  # the last is another message's
    third = Conversations(profile.db).messages(conversation.id, superseded=True)[3]
    pairs = Pairs(profile.db).all()
    assert [(p.chosen, p.rejected) for p in pairs[1:]] == [(third.content, first.content)]


def test_without_a_terminal_the_choice_is_shown_and_made(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    conversations = Conversations(profile.db)
    made = conversations.create("Tea")
    conversations.add_message(made.id, "user", "Which tea?")
    earlier = conversations.add_message(made.id, "assistant", "Black tea.")
    assert main(["feedback", "choose", "this"]) == 1
    assert "once only" in capsys.readouterr().err
    conversations.supersede(earlier.id)
    this = conversations.add_message(made.id, "assistant", "Green tea.")
    assert main(["feedback", "choose"]) == 0
    said = capsys.readouterr().out
    assert "Black tea." in said
    assert "Green tea." in said
    assert Pairs(profile.db).count() == 0
    assert main(["feedback", "choose", "earlier", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["earlier"], result["this"]) == (earlier.id, this.id)
    (pair,) = Pairs(profile.db).all()
    assert (pair.id, pair.chosen) == (result["pair"], "Black tea.")
    assert [m.id for m in conversations.messages(made.id)][1:] == [earlier.id]
