"""What the forecast looks at before Start: lengths, memory, disk, time, and its verdict."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_llama

from xeno.events import ChatMessage
from xeno.models.base import BaseModel, inspect_base
from xeno.models.chat import load_tokenizer
from xeno.models.light_tokenizer import LightTokenizer
from xeno.models.machine import write_fact
from xeno.models.starter import starter_folder
from xeno.paths import Home
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.rdp import Mechanism
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import Profile, open_profile
from xeno.training import checks, timing
from xeno.training.checks import Check, overall
from xeno.training.choice import choose
from xeno.training.encoding import encode_stage
from xeno.training.forecast import forecast
from xeno.training.lengths import encoded
from xeno.training.memory import libraries, predicted, remember_libraries
from xeno.training.plan import TrainingPlan
from xeno.training.recipe import resolve
from xeno.training.row import Row
from xeno.training.stages import stage_data

FORM = timing.form("cpu", "float32")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("base"))


def plan_for(base: Path, **changes: Any) -> TrainingPlan:
    return TrainingPlan.model_validate({"base": str(base), "private": False} | changes)


def add_pairs(profile: Profile, count: int, long: int = 0, **changes: Any) -> None:
    """Pairs of which the first `long` have a reply of 600 letters."""
    values: dict[str, Any] = {"feedback_type": "choice", "confidence": 1.0, "quality": 1.0}
    Pairs(profile.db).add_many(
        new_pair(
            profile.name,
            [ChatMessage(role="user", content=f"Question {number}?")],
            "x" * 600 if number < long else f"- Short {number}.",
            f"Well, that is a long story about {number}.",
            **(values | changes),
        )
        for number in range(count)
    )


def check(found: tuple[Check, ...], name: str) -> Check:
    [one] = [each for each in found if each.name == name]
    return one


# Lengths ----------------------------------------------------------------------------------------


def test_the_light_tokenizer_encodes_as_the_library_does(base: Path) -> None:
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Grüße  there\n <|end|> x"},
        {"role": "assistant", "content": "Hi!"},
        {"role": "user", "content": "Why?"},
    ]
    for folder in (base, starter_folder()):
        light, real = LightTokenizer(folder), load_tokenizer(inspect_base(folder))
        text = light.apply_chat_template(talk, add_generation_prompt=True)
        assert text == real.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
        for words in (text, "A <|end|> in </s> the words"):
            for split in (False, True):
                expected = real(words, add_special_tokens=False, split_special_tokens=split)
                assert (
                    light(words, split_special_tokens=split)["input_ids"] == (expected["input_ids"])
                )
        assert (light.bos_token_id, light.eos_token_id) == (real.bos_token_id, real.eos_token_id)


def test_the_forecasts_rows_are_those_of_training(profile: Profile, base: Path) -> None:
    add_pairs(profile, 30, long=3)
    inspected = inspect_base(base)
    [stage] = stage_data(profile, plan_for(base))
    found = encoded(inspected, stage)
    truth = encode_stage(load_tokenizer(inspected), stage, inspected.shapes, 512)
    assert found.rows == truth.rows + truth.measured
    assert {out.pair_id for out in found.left_out} == {out.pair_id for out in truth.left_out}
    assert (found.misfits, found.sampled) == (3, False)


def test_many_pairs_are_judged_by_a_sample(profile: Profile, base: Path) -> None:
    add_pairs(profile, 60, long=12)
    [stage] = stage_data(profile, plan_for(base))
    found = encoded(inspect_base(base), stage, characters=4000)
    assert 5 < found.looked_at < 60
    assert 3 <= found.misfits <= 30


def test_what_is_not_learned_from_is_counted_with_the_reason(profile: Profile, base: Path) -> None:
    add_pairs(profile, 130, long=4, quality=0.9)
    Pairs(profile.db).add(
        new_pair(
            profile.name,
            [ChatMessage(role="user", content="Poor?")],
            "Yes.",
            "No.",
            feedback_type="import",
            confidence=1.0,
            quality=0.1,
        )
    )
    ahead = forecast(profile, plan_for(base, min_quality=0.5))
    assert ahead.left_out == {
        "below the least quality": 1,
        "pairs that cannot be used within 512 tokens": 4,
    }
    told = check(ahead.checks, "Left out")
    assert told.verdict == ahead.verdict == "amber"
    assert "4 pairs" in told.sentence
    assert ahead.blockers == ()


# Verdicts ---------------------------------------------------------------------------------------


def test_a_run_that_has_all_it_needs_is_green(profile: Profile, base: Path) -> None:
    add_pairs(profile, 130)
    ahead = forecast(profile, plan_for(base, max_length=512))
    assert {each.verdict for each in ahead.checks if each.name != "Memory"} == {"green"}
    names = [each.name for each in ahead.checks]
    assert names == ["Pairs", "Privacy", "Memory", "Disk", "Time"]
    assert (ahead.memory_bytes or 0) > 1e8
    assert (ahead.disk_bytes or 0) > 1e4
    assert ahead.seconds is None


def test_trls_engine_gets_no_numbers_of_the_other_one_and_says_what_it_lacks(
    profile: Profile, base: Path
) -> None:
    add_pairs(profile, 130)
    inspected = inspect_base(base, profile.home)
    timing.remember(inspected, FORM, timing.Work(10_000, 5_000), start=8.0, seconds=38.0)
    ours, theirs = (forecast(profile, plan_for(base, engine=each)) for each in ("xeno", "trl"))
    assert None not in (ours.memory_bytes, ours.seconds)
    assert (theirs.memory_bytes, theirs.seconds) == (None, None)
    assert "not known" in check(theirs.checks, "Memory").sentence
    assert "not known" in check(theirs.checks, "Time").sentence
    engine = check(theirs.checks, "Engine")
    assert engine.verdict == "amber"
    for lacking in ("checkpoints", "pauses", "smaller parts", "early stopping", "sample replies"):
        assert f"no {lacking}" in engine.sentence
    assert not [each for each in ours.checks if each.name == "Engine"]
    assert (theirs.disk_bytes or 0) < (ours.disk_bytes or 0), "it keeps no checkpoints"
    assert checks.trl_checks(20 * 10**9, 16 * 10**9)[0].verdict == "red"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer": "adamw_8bit"}, "CUDA"),
        ({"private": True, "newest_pairs": 50}, "compares pairs"),
        ({"use_choices": False, "use_imports": False, "use_corrections": False}, "No kind"),
    ],
)
def test_what_cannot_run_is_red_and_says_why(
    changes: dict[str, Any], words: str, profile: Profile, base: Path
) -> None:
    add_pairs(profile, 130)
    ahead = forecast(profile, plan_for(base, **changes))
    assert ahead.verdict == "red"
    assert any(words in blocker for blocker in ahead.blockers)


def test_a_trial_says_that_it_makes_no_version(profile: Profile, base: Path) -> None:
    add_pairs(profile, 130)
    whole = forecast(profile, plan_for(base, trial=False))
    ahead = forecast(profile, plan_for(base, trial=True))
    (check,) = [each for each in ahead.checks if each.name == "Trial"]
    assert check.verdict == "amber"
    assert "no version" in check.sentence
    assert ahead.steps == round(whole.steps * 0.34)
    assert ahead.warnings != whole.warnings


def test_the_worst_check_is_the_verdict() -> None:
    green, amber, red = (Check("x", verdict, "") for verdict in ("green", "amber", "red"))  # type: ignore[arg-type]
    assert overall([]) == overall([green]) == "green"
    assert overall([green, amber]) == "amber"
    assert overall([amber, red, green]) == "red"


def test_memory_only_rules_out_what_no_setting_can_mend() -> None:
    gb = 10**9
    assert checks.memory_check(4 * gb, 2 * gb, free=8 * gb, total=16 * gb).verdict == "green"
    assert checks.memory_check(9 * gb, 2 * gb, free=8 * gb, total=16 * gb).verdict == "amber"
    assert checks.memory_check(30 * gb, 20 * gb, free=8 * gb, total=16 * gb).verdict == "red"
    assert checks.disk_check(gb, 10 * gb).verdict == "green"
    assert checks.disk_check(6 * gb, 10 * gb).verdict == "amber"
    assert checks.disk_check(11 * gb, 10 * gb).verdict == "red"
    assert checks.disk_check(gb, 10 * gb, floor=9 * gb + 1).verdict == "red"
    assert checks.time_check(60).verdict == "green"
    assert checks.time_check(100 * 3600).verdict == "amber"


def test_privacys_settings_change_its_forecast(profile: Profile, base: Path) -> None:
    add_pairs(profile, 130)

    def ahead(**changes: Any) -> Any:
        return forecast(profile, plan_for(base, private=True, **changes))

    usual, noisy = ahead(), ahead(least_noise=50.0)
    assert noisy.noise_multiplier == 50.0 > usual.noise_multiplier
    assert noisy.epsilon_run < usual.epsilon_run
    assert any("much noise" in words for words in ahead(loud_noise=1e-3).warnings)
    assert not any("much noise" in words for words in ahead(loud_noise=100.0).warnings)
    assert ahead(least_noise=50.0, least_epsilon_share=1.0).blockers
    assert not ahead(least_noise=50.0, least_epsilon_share=0.001).blockers


# Memory and time --------------------------------------------------------------------------------


def rows(tokens: int, count: int = 16) -> list[Row]:
    part = (0,) * (tokens // 3)
    return [Row(str(number), part, part, part) for number in range(count)]


def needed(base: BaseModel, tokens: int = 90, **changes: Any) -> int:
    plan = plan_for(base.folder, **changes)
    return predicted(base, plan, resolve(plan, 100, base.shapes), rows(tokens)).total


def test_memory_grows_with_what_is_in_it_at_once() -> None:
    starter = inspect_base(starter_folder())
    assert needed(starter, 600) > needed(starter, 300) > needed(starter, 90)
    assert needed(starter, 600, micro_batch_size=1) < needed(starter, 600)
    assert needed(starter, 600, dtype="bfloat16") < needed(starter, 600, dtype="float32")
    assert needed(starter, 90, lora_rank=64) > needed(starter, 90)
    plan = plan_for(starter.folder, max_length=1024)
    recipe = resolve(plan, 100, starter.shapes)
    unknown = predicted(starter, plan, recipe, [])
    assert unknown.total > predicted(starter, plan, recipe, rows(900)).total


def test_the_libraries_are_measured_once(home: Home) -> None:
    usual = libraries(home)
    remember_libraries(home, 700_000_000)
    assert libraries(home) == 7e8 != usual
    write_fact(home, "bytes of the training libraries", "nonsense")
    assert libraries(home) == usual


def test_a_runs_time_is_foretold_from_earlier_ones(profile: Profile, base: Path) -> None:
    add_pairs(profile, 130)
    plan = plan_for(base, max_steps=50)
    inspected = inspect_base(base, profile.home)
    done = timing.Work(trained=10_000, scored=5_000)
    timing.remember(inspected, FORM, done, start=8.0, seconds=38.0)
    again = timing.seconds(inspected, FORM, done)
    assert again == pytest.approx(38.0)
    short = forecast(profile, plan).seconds
    long = forecast(profile, plan_for(base, max_steps=500)).seconds
    assert short is not None
    assert long is not None
    assert 8.0 < short < long
    # A base ten times as large is judged by the one that is known.
    larger = replace(inspected, parameters=10 * inspected.parameters)
    assert timing.seconds(larger, FORM, done) == pytest.approx(8.0 + 10 * 30.0)


def test_facts_that_make_no_sense_are_passed_over(home: Home, base: Path) -> None:
    inspected = inspect_base(base, home)
    for nonsense in ("x", {"a": 1}, {"a": {"parameters": 1, "speed": -1, "start": 0}}):
        write_fact(home, "training speeds", nonsense)
        assert timing.seconds(inspected, FORM, timing.Work(1, 1)) is None


COLD = """
import json, sys
from pathlib import Path
from xeno.paths import Home
from xeno.privacy import rdp
from xeno.store.profile import open_profile
from xeno.training.forecast import forecast
from xeno.training.plan import TrainingPlan

tried = []
bound = rdp.epsilon
def counted(mechanisms, delta):
    tried.append(len(mechanisms))
    return bound(mechanisms, delta)
rdp.epsilon = counted
with open_profile(Home.at(Path(sys.argv[1]))) as profile:
    ahead = forecast(profile, TrainingPlan(base=sys.argv[2], private=True))
heavy = ["torch", "transformers", "peft", "opacus", "trl", "scipy", "datasets"]
print(json.dumps({
    "loaded": [name for name in heavy if name in sys.modules],
    "tried": len(tried), "most": max(tried), "spent": ahead.epsilon_spent,
    "after": ahead.epsilon_after, "blockers": ahead.blockers,
}))
"""


def test_a_cold_private_forecast_over_a_ledger_with_entries_loads_nothing_heavy(
    profile: Profile, base: Path
) -> None:
    """What would make it slow, instead of a clock: libraries, and a search that proves the
    history again at every try."""
    add_pairs(profile, 130)
    ledger = PrivacyLedger(profile)
    for number in range(6):
        spent = Mechanism(sample_rate=1.0, noise_multiplier=40.0 + number, steps=10)
        ledger.declare("a script", 0.0, mechanism=spent)
    ran = subprocess.run(
        [sys.executable, "-c", COLD, str(profile.home.folder), str(base)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["loaded"] == []
    assert found["blockers"] == []
    assert 0 < found["spent"] < found["after"]
    assert found["most"] == 7, "the six before, and the run"
    assert found["tried"] < 200


def test_a_forecast_takes_less_than_a_second(profile: Profile) -> None:
    add_pairs(profile, 1000)
    plan = plan_for(starter_folder())
    forecast(profile, plan)
    begun = time.process_time()  # of this process: others may keep the processor busy
    forecast(profile, plan)
    assert time.process_time() - begun < 1.0


# Choices ----------------------------------------------------------------------------------------


def test_settings_follow_from_how_many_long_and_sure_the_pairs_are(
    profile: Profile, base: Path
) -> None:
    plan = plan_for(base)
    assert choose(profile, plan) == ()
    add_pairs(profile, 60, confidence=0.7)
    chosen = {choice.setting: choice for choice in choose(profile, plan)}
    assert chosen["lora_rank"].value == 4
    assert "60 pairs" in chosen["lora_rank"].reason
    assert (chosen["loss"].value, chosen["label_smoothing"].value) == ("robust", 0.3)
    assert chosen["beta"].value == 0.1
    assert chosen["max_length"].value == 128


def test_under_privacy_only_the_number_of_pairs_decides(
    profile: Profile, home: Home, base: Path
) -> None:
    plan = plan_for(base, private=True)
    add_pairs(profile, 60, confidence=0.3, quality=0.2)
    poor = choose(profile, plan)
    with open_profile(home, "other") as other:
        add_pairs(other, 60, confidence=1.0, quality=1.0, long=30)
        assert choose(other, plan) == poor
    assert {choice.setting for choice in poor} == {"lora_rank"}
