"""Examples of intents, the classifier learned from them, and how sure it is."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import change_json, make_llama, make_tokenizer

from xeno.benchmarking import intents as benchmark
from xeno.errors import BaseModelError, DamagedDataError, InvalidValueError
from xeno.paths import Home
from xeno.personalization import classifier
from xeno.personalization.classifier import UNKNOWN, IntentModel, fit
from xeno.personalization.intents import CustomModelTrainer
from xeno.personalization.sentence_encoder import SentenceEncoder
from xeno.store.profile import Profile
from xeno.versions.container import write_encrypted
from xeno.versions.control import ModelVersionControl

QUICK = settings(max_examples=60, deadline=None)
PARTS = {
    "schedule_meeting": (
        ("Set up", "Schedule", "Book", "Arrange"),
        ("a call", "a meeting", "an appointment"),
        ("with Sarah", "with the team", "for Monday", "with Tom", "at noon"),
    ),
    "weather": (
        ("What is", "Tell me", "How will be", "Give me"),
        ("the weather", "the forecast", "the temperature"),
        ("today", "tomorrow", "in Berlin", "at the weekend", "tonight"),
    ),
    "play_music": (
        ("Play", "Put on", "Start", "I want to hear"),
        ("some jazz", "the album", "my playlist"),
        ("in the kitchen", "loudly", "again", "by Bach", "on shuffle"),
    ),
}


def sentences(seed: int = 0, each: int = 24) -> list[tuple[str, str]]:
    """Texts and their intents, different ones for different seeds."""
    draw = random.Random(seed)
    found = []
    for intent, parts in PARTS.items():
        every = [f"{a} {b} {c}" for a in parts[0] for b in parts[1] for c in parts[2]]
        found += [(text, intent) for text in draw.sample(every, each)]
    return found


@pytest.fixture
def trainer(profile: Profile) -> Iterator[CustomModelTrainer]:
    with CustomModelTrainer(profile.name, profile=profile) as opened:
        yield opened


def teach(trainer: CustomModelTrainer, examples: list[tuple[str, str]]) -> None:
    trainer.add_training_examples((text, "", {"intent": intent}, None) for text, intent in examples)


@pytest.fixture(scope="module")
def model() -> IntentModel:
    return fit(*zip(*sentences(), strict=True))[0]  # type: ignore[arg-type]


def test_the_calls_of_the_python_contract_run_as_written_in_two_sessions(home: Home) -> None:
    with CustomModelTrainer(user_id="john_doe") as t:
        for text, intent in sentences():
            t.add_training_example(
                input_text=text, output_text="Done.", context={"intent": intent}, rating=5
            )
        result = t.train_intent_classifier()
        assert result["success"] is True
        assert result["accuracy"] >= 0.9
        assert result["examples_used"] == 72
        assert result["validation_examples"] == 15  # 20 %
    with CustomModelTrainer(user_id="john_doe") as t:
        assert t.predict_intent("Set up a call with Sarah") == "schedule_meeting"
        assert t.last_fit is not None
        assert t.last_fit.accuracy == result["accuracy"]


def test_fewer_than_fifty_examples_or_one_intent_are_refused_with_the_reason(
    trainer: CustomModelTrainer,
) -> None:
    teach(trainer, sentences()[:49])
    refused = trainer.train_intent_classifier()
    assert refused["success"] is False
    assert "50" in refused["error"]
    assert "49" in refused["error"]
    teach(trainer, [(f"Schedule thing {n}", "schedule_meeting") for n in range(60)])
    for example in trainer.examples():
        trainer.set_intent(example.id, "schedule_meeting")
    refused = trainer.train_intent_classifier()
    assert refused["success"] is False
    assert "second intent" in refused["error"]
    with pytest.raises(InvalidValueError, match="learned yet"):
        trainer.predict_intent("Schedule something")


def test_what_is_like_nothing_it_was_taught_is_unknown(model: IntentModel) -> None:
    assert model.predict("Arrange a meeting with Tom").intent == "schedule_meeting"
    for text in ("qzx vwk jjj", "日本語", "", "1234567"):
        assert model.predict(text).intent == UNKNOWN
    assert model.predict("日本語").confidence == 0


def test_examples_of_nothing_teach_what_is_unknown() -> None:
    outside = [(f"My {a} is {b}", UNKNOWN) for a in ("dog", "car", "hat") for b in ("red", "old")]
    examples = sentences() + outside * 3
    taught, found = fit([t for t, _ in examples], [i for _, i in examples])
    assert found.intents == 3
    assert taught.predict("My dog is old").intent == UNKNOWN
    assert taught.predict("Book a call for Monday").intent == "schedule_meeting"


def test_the_same_examples_give_the_same_classifier_and_it_is_stored_unchanged(
    model: IntentModel,
) -> None:
    again = fit(*zip(*sentences(), strict=True))[0]  # type: ignore[arg-type]
    assert again.to_bytes() == model.to_bytes()
    read = IntentModel.from_bytes(model.to_bytes())
    for text, _ in sentences(1):
        assert read.predict(text) == model.predict(text)


@QUICK
@given(st.text(max_size=80))
def test_any_text_has_an_intent_or_is_unknown(model: IntentModel, text: str) -> None:
    found = model.predict(text)
    assert found.intent in {*PARTS, UNKNOWN}
    assert 0 <= found.confidence <= 1
    assert (found.intent == UNKNOWN) == (found.confidence < model.threshold)
    if found.ranked:
        assert sum(share for _, share in found.ranked) == pytest.approx(1)


@QUICK
@given(st.data())
def test_damaged_bytes_are_said_to_be_damaged(model: IntentModel, data: st.DataObject) -> None:
    content = bytearray(model.to_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:place]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    try:
        read = IntentModel.from_bytes(bytes(content))
    except DamagedDataError:
        return
    read.predict("Book a call")  # a changed weight; the sealed file around it finds that


@QUICK
@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60), st.integers(0, 3))
def test_each_intent_is_spread_over_the_folds_and_never_wholly_held_out(
    intents: list[str], seed: int
) -> None:
    found = classifier.folds(intents, seed)
    counts = Counter(intents)
    held = Counter(fold for fold in found if fold >= 0)
    assert max(held.values(), default=0) - min((held[f] for f in range(5)), default=0) <= 1
    for intent, count in counts.items():
        mine = [fold for fold, each in zip(found, intents, strict=True) if each == intent]
        assert (mine == [-1]) if count == 1 else (len(set(mine)) >= 2 and -1 not in mine)


@QUICK
@given(st.lists(st.floats(0, 1), min_size=1, max_size=400), st.integers(2, 150))
def test_the_threshold_turns_few_away_and_stays_between_its_bounds(
    scores: list[float], classes: int
) -> None:
    threshold = classifier.choose_threshold(np.array(scores), classes)
    assert classifier.LEAST_CONFIDENCE <= threshold <= (1 + 1 / classes) / 2
    if threshold > classifier.LEAST_CONFIDENCE:
        assert np.mean(np.array(scores) < threshold) <= classifier.MOST_REJECTED


@QUICK
@given(st.integers(2, 8), st.floats(0.05, 1.5), st.integers(0, 5))
def test_the_temperature_behind_the_answers_is_found(
    classes: int, temperature: float, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    margins = draw.normal(size=(4000, classes))
    shares = classifier.softmax(margins, temperature)
    assert shares.sum(axis=1) == pytest.approx(1)
    truth = (shares.cumsum(axis=1) < draw.random((4000, 1))).sum(axis=1).clip(max=classes - 1)
    found = classifier.fit_temperature(margins, truth)
    assert found == pytest.approx(temperature, rel=0.25)


def test_the_same_text_again_replaces_the_example(trainer: CustomModelTrainer) -> None:
    first = trainer.add_training_example("Play  some\njazz", "Playing.", {"intent": "weather"}, 2)
    second = trainer.add_training_example("Play some jazz", "With joy.", {"intent": "music"}, 5)
    assert second.id == first.id
    assert trainer.count() == 1
    assert trainer.intents() == [("music", 1)]
    before = trainer.set_intent(first.id, "play_music")
    trainer.restore(before)
    assert trainer.examples(intent="music") == [before]
    gone = trainer.delete(first.id)
    assert trainer.count() == 0
    trainer.restore(gone)
    assert trainer.examples(search="JAZZ") == [gone]


def test_examples_without_an_intent_wait_to_be_named(trainer: CustomModelTrainer) -> None:
    waiting = trainer.add_training_example("Play some jazz", "Playing.")
    assert trainer.new_examples == 0
    assert trainer.examples(intent="") == [waiting]
    trainer.set_intent(waiting.id, "play_music")
    assert trainer.new_examples == 1


@pytest.mark.parametrize(
    ("text", "context", "rating"),
    [
        ("  ", {"intent": "a"}, None),
        ("text", {"intent": "a\x00b"}, None),
        ("text", {"intent": "a" * 300}, None),
        ("text", {"intent": ["a"]}, None),
        ("text", {"intent": "a", "more": object()}, None),
        ("text", {"intent": "a"}, 6),
        ("half a pair \ud800", {"intent": "a"}, None),
        ("x" * 30_000, {"intent": "a"}, None),
    ],
)
def test_what_cannot_be_an_example_is_refused_and_nothing_is_kept(
    trainer: CustomModelTrainer, text: str, context: dict[str, Any], rating: float | None
) -> None:
    with pytest.raises(InvalidValueError):
        trainer.add_training_examples(
            [("good", "", {"intent": "b"}, None), (text, "", context, rating)]
        )
    assert trainer.count() == 0


def test_it_learns_again_by_itself_when_enough_examples_came(trainer: CustomModelTrainer) -> None:
    teach(trainer, sentences())
    assert not trainer.due  # the first time is the user's
    trainer.train_intent_classifier()
    news = [
        (f"Turn the {a} {b}", "lights")
        for a in ("lamp", "light", "bulb")
        for b in ("on", "off", "red", "blue", "up")
    ]
    teach(trainer, news[:9])
    assert not trainer.due
    assert trainer.predict_intent("Turn the light on") != "lights"
    teach(trainer, news[9:])
    trainer.wait()
    assert trainer.predict_intent("Turn the light on") == "lights"
    assert trainer.new_examples == 0
    trainer.set_automatic(False)
    teach(trainer, [(f"Bake a {x} cake", "cooking") for x in "abcdefghijklmnop"])
    trainer.wait()
    assert trainer.due
    assert trainer.last_fit is not None
    assert trainer.last_fit.intents == 4


def test_a_classifier_trained_elsewhere_is_used_at_once(
    home: Home, trainer: CustomModelTrainer
) -> None:
    teach(trainer, sentences())
    trainer.train_intent_classifier()
    assert trainer.predict_intent("Bake a cake number 7") != "cooking"
    program = (
        "from xeno import CustomModelTrainer\n"
        "with CustomModelTrainer() as t:\n"
        "    t.set_automatic(False)\n"
        "    for i in range(30): t.add_training_example(f'Bake a cake number {i}', '', "
        "{'intent': 'cooking'})\n"
        "    assert t.train_intent_classifier()['success']\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    assert trainer.predict_intent("Bake a cake number 7") == "cooking"
    trainer.forget_classifier()
    assert trainer.last_fit is None
    with pytest.raises(InvalidValueError, match="learned yet"):
        trainer.predict("Bake a cake")


def test_the_stored_classifier_is_sealed_and_a_changed_one_is_refused(
    profile: Profile, trainer: CustomModelTrainer
) -> None:
    teach(trainer, sentences())
    trainer.train_intent_classifier()
    [path] = profile.paths.versions.iterdir()
    content = path.read_bytes()
    assert b"schedule_meeting" not in content
    assert b"weather" not in content
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with CustomModelTrainer(profile=profile) as other, pytest.raises(DamagedDataError):
        other.predict("Book a call")


def test_trained_classifiers_are_versions_that_can_be_gone_back_to(
    profile: Profile, trainer: CustomModelTrainer
) -> None:
    teach(trainer, sentences())
    trainer.train_intent_classifier()
    teach(trainer, [(f"Bake a cake number {n}", "cooking") for n in range(30)])
    trainer.train_intent_classifier()
    assert trainer.predict_intent("Bake a cake number 7") == "cooking"
    control = ModelVersionControl(profile=profile)
    newest, *_, first = control.list_versions("intent_classifier")
    assert newest.metrics["accuracy"] >= 0.8
    control.rollback("intent_classifier", target_version=first.version)
    assert trainer.predict_intent("Bake a cake number 7") != "cooking"
    trainer.forget_classifier()
    assert control.list_versions("intent_classifier") == []
    assert list(profile.paths.versions.iterdir()) == []


def test_the_classifier_of_an_earlier_release_becomes_the_first_version(
    profile: Profile, trainer: CustomModelTrainer
) -> None:
    teach(trainer, sentences())
    trainer.train_intent_classifier()
    control = ModelVersionControl(profile=profile)
    content = control.load("intent_classifier")
    assert isinstance(content, bytes)
    trainer.forget_classifier()
    file = profile.paths.folder / "intents" / "classifier.sealed"
    file.parent.mkdir()
    write_encrypted(file, content, profile.key.subkey("intents"), b"xeno intent classifier")
    assert trainer.predict_intent("Book a call for Monday") == "schedule_meeting"
    assert len(control.list_versions("intent_classifier")) == 1
    assert not file.exists()


def test_replies_come_from_templates_and_from_examples_that_were_liked(
    trainer: CustomModelTrainer,
) -> None:
    for text, intent in sentences():
        liked = 5 if intent == "weather" else 2
        trainer.add_training_example(text, f"A reply to {intent}", {"intent": intent}, liked)
    trainer.train_intent_classifier()
    ask = "Arrange a meeting with Tom"
    assert trainer.response_for(ask) is None  # its replies were not liked
    assert trainer.response_for("Tell me the forecast tonight") == "A reply to weather"
    trainer.add_response_template("schedule_meeting", "It is in the calendar.")
    trainer.add_response_template("schedule_meeting", "Booked with {name} for {time}.")
    assert trainer.response_for(ask, {"name": "Tom", "time": "{noon}"}) == (
        "Booked with Tom for {noon}."
    )
    assert trainer.response_for(ask, {"name": "Tom"}) == "It is in the calendar."
    trainer.delete_response_template("schedule_meeting", "It is in the calendar.")
    assert trainer.response_for(ask) is None
    assert trainer.response_for("qzx vwk jjj") is None
    with pytest.raises(InvalidValueError):
        trainer.add_response_template("", "text")


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with random weights that are always the same, and its tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("models") / "encoder"
    config = BertConfig(
        vocab_size=300,
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(str(folder))
    make_tokenizer(folder)
    return folder


def test_a_sentence_encoder_gives_unit_vectors_whatever_stands_beside(
    encoder_folder: Path, tmp_path: Path
) -> None:
    encoder = SentenceEncoder(encoder_folder)
    texts = ["Play some jazz", "Tell me the weather of the whole next week", "", "x" * 900]
    together = encoder.rows(texts)
    assert np.linalg.norm(together, axis=1) == pytest.approx([1, 1, 0, 1], abs=1e-5)
    for text, row in zip(texts, together, strict=True):
        if text:
            assert encoder.rows([text])[0] == pytest.approx(row, abs=1e-4)
    writer = SentenceEncoder(make_llama(tmp_path / "llama"))  # a model that writes can read
    assert writer.rows(["a", "b"]).shape == (2, 32)


def test_a_chosen_sentence_encoder_takes_the_place_of_the_ngrams(
    profile: Profile, trainer: CustomModelTrainer, encoder_folder: Path, tmp_path: Path
) -> None:
    teach(trainer, sentences())
    trainer.use_encoder(encoder_folder)
    result = trainer.train_intent_classifier()
    assert result["success"]
    assert result["accuracy"] >= 0.8
    asked = sentences(1)
    right = [trainer.predict(text).ranked[0][0] == intent for text, intent in asked]
    assert np.mean(right) >= 0.8
    trainer.use_encoder(None)  # from the next training on
    with CustomModelTrainer(profile=profile) as other:
        assert other.predict(asked[0][0]) == trainer.predict(asked[0][0])
    encoder_folder.rename(tmp_path / "moved")
    with CustomModelTrainer(profile=profile) as other, pytest.raises(BaseModelError):
        other.predict("Book a call")
    trainer.train_intent_classifier()
    assert trainer.predict_intent("Book a call for Monday") == "schedule_meeting"


def test_an_encoder_that_would_run_code_or_is_not_there_is_refused(
    trainer: CustomModelTrainer, tmp_path: Path
) -> None:
    hostile = make_llama(tmp_path / "hostile")
    change_json(hostile / "config.json", auto_map={"AutoModel": "evil.Model"})
    for folder in (hostile, tmp_path / "nothing"):
        with pytest.raises(BaseModelError, match="sentence encoder"):
            trainer.use_encoder(folder)
    assert trainer.encoder is None


def test_neither_the_trainer_nor_ngrams_import_torch(home: Home) -> None:
    program = (
        "import sys\n"
        "from xeno import CustomModelTrainer\n"
        "assert 'sklearn' not in sys.modules and 'numpy' in sys.modules\n"
        "with CustomModelTrainer() as t:\n"
        "    for i in range(60): t.add_training_example(f'say {i % 2} {i}', '', "
        "{'intent': str(i % 2)})\n"
        "    assert t.train_intent_classifier()['success']\n"
        "    t.predict('say 1')\n"
        "heavy = {'torch', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_a_file_that_is_no_benchmark_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="banking77_train"):
        benchmark.measure(tmp_path)
    (tmp_path / "banking77_train.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InvalidValueError, match="no columns"):
        benchmark.measure(tmp_path)


def test_real_questions_of_twenty_intents_are_told_apart_and_others_turned_away(
    shared_data: Path,
) -> None:
    parts = benchmark._clinc(shared_data / "intents" / "clinc150_data_full.json")
    wanted = set(sorted(set(parts["train"][1]))[::7][:20])
    cut = {
        name: tuple(
            zip(*[(t, i) for t, i in zip(*parts[name], strict=True) if i in wanted], strict=True)
        )
        for name in ("train", "val", "test")
    }
    learned, found = fit(*cut["train"], validation=cut["val"])
    guesses = [learned.predict(text) for text in cut["test"][0]]
    right = [g.ranked[0][0] == i for g, i in zip(guesses, cut["test"][1], strict=True)]
    assert np.mean(right) >= 0.95
    assert found.calibration_error <= 0.05
    assert np.mean([g.intent == UNKNOWN for g in guesses]) <= 0.05
    outside = [learned.predict(text).intent == UNKNOWN for text in parts["oos_test"][0]]
    assert np.mean(outside) >= 0.5
    started = time.perf_counter()
    for text in cut["test"][0][:100]:
        learned.predict(text)
    assert (time.perf_counter() - started) / 100 < 0.02  # 5 ms where nothing else runs
