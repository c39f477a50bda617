"""How replies are drawn and computed: kept in the profile, from the command line and in a talk."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from xeno.assistant import anew
from xeno.cli.main import main
from xeno.errors import InvalidValueError
from xeno.events import Sampling
from xeno.inference.probe import fitting_threads, threads_known, usable_cores
from xeno.inference.settings import ReplySettings, from_text, read_settings, write_settings
from xeno.models.machine import write_fact
from xeno.paths import Home
from xeno.store.profile import Profile

Result = Callable[..., dict[str, object]]


@pytest.fixture
def result(profile: Profile, capsys: pytest.CaptureFixture[str]) -> Result:
    """Runs a command and returns its JSON."""

    def run(*arguments: str) -> dict[str, object]:
        assert main([*arguments, "--json"]) == 0
        found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    return run


def test_settings_are_kept_one_by_one(profile: Profile) -> None:
    assert read_settings(profile) == ReplySettings()
    write_settings(profile, {"temperature": 0.8, "stop": ["\nUser:"]})
    write_settings(profile, {"top_k": 40})
    kept = read_settings(profile)
    assert (kept.temperature, kept.top_k, kept.stop) == (0.8, 40, ("\nUser:",))
    assert kept.sampling == Sampling(temperature=0.8, top_k=40, stop=("\nUser:",))
    assert write_settings(profile, {"temperature": None}).temperature == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"temperature": 3}, "temperature"),
        ({"top_p": 0.5, "threads": -1}, "threads"),
        ({"colour": "red"}, "colour"),
        ({"dtype": "int2"}, "dtype"),
    ],
)
def test_what_is_not_allowed_is_named_and_changes_nothing(
    profile: Profile, changes: dict[str, object], named: str
) -> None:
    with pytest.raises(InvalidValueError, match=named):
        write_settings(profile, changes)
    assert read_settings(profile) == ReplySettings()


def test_a_stored_value_that_is_no_longer_allowed_counts_as_not_set(profile: Profile) -> None:
    profile.set_setting("reply.temperature", 99)
    profile.set_setting("reply.top_k", 5)
    assert read_settings(profile) == ReplySettings(top_k=5)


def test_every_sampling_setting_is_a_reply_setting_of_the_same_range() -> None:
    for name, declared in Sampling.model_fields.items():
        mine = ReplySettings.model_fields[name]
        assert mine.default == declared.default
        for bound in (-1, 0, 0.5, 1, 2, 3, 1000, 1001, 4096, 4097, (), ("x",) * 17):
            assert _allowed(Sampling, name, bound) == _allowed(ReplySettings, name, bound) or (
                name == "seed" and bound == -1
            )


def _allowed(kind: type[Sampling] | type[ReplySettings], name: str, value: object) -> bool:
    try:
        kind.model_validate({name: value})
    except ValueError:
        return False
    return True


def test_the_command_line_shows_and_changes_them(result: Result, profile: Profile) -> None:
    assert result("replies", "set", "temperature", "0.7")["settings"]["temperature"] == 0.7
    assert result("replies", "set", "stop", "User:")["settings"]["stop"] == ["User:"]
    assert result("replies", "set", "stop", '["a", "b"]')["settings"]["stop"] == ["a", "b"]
    assert result("replies", "set", "stop")["settings"]["stop"] == []
    shown = result("replies")
    assert shown["settings"]["temperature"] == 0.7
    assert set(shown["probe"]) == {"dtype", "threads"}
    assert read_settings(profile).temperature == 0.7


def test_a_wrong_value_on_the_command_line_is_refused(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replies", "set", "top_p", "2"]) == 1
    assert "top_p" in capsys.readouterr().err
    assert main(["chat", "hello", "--top-k", "-1"]) == 2
    assert "top_k" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("seed", "none", None), ("temperature", "", None), ("top_k", " 40 ", "40")],
)
def test_texts_stand_for_values(name: str, text: str, value: object) -> None:
    assert from_text(name, text) == value


def test_another_reply_is_never_drawn_as_the_one_that_is_there() -> None:
    assert anew(Sampling(max_tokens=9)).temperature > 0
    assert anew(Sampling(max_tokens=9)).max_tokens == 9
    assert anew(Sampling(temperature=1.2, seed=4)) == Sampling(temperature=1.2)


def test_the_probe_is_remembered_and_can_be_asked_again(home: Home) -> None:
    chosen = fitting_threads(home)
    assert chosen in (usable_cores(), max(1, usable_cores() // 2))
    assert threads_known(home) == chosen
    if usable_cores() > 1:
        name = next(iter(json.loads(home.machine.read_text())))
        other = usable_cores() if chosen != usable_cores() else usable_cores() // 2
        write_fact(home, name, other)
        assert fitting_threads(home) == other
        write_fact(home, name, 10_000)  # of another machine
        assert threads_known(home) is None
    assert fitting_threads(home, again=True) == threads_known(home)
