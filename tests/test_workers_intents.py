"""The intents child: learns and predicts outside the process that asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from xeno.errors import ChildError, XenoError
from xeno.personalization.intents import CustomModelTrainer
from xeno.store.profile import Profile
from xeno.workers.intents_client import IntentsClient

WHO = ("Ana", "Tom", "Mia", "Ben", "Eva", "Jon", "Ida", "Max", "Lea", "Kim")
ASKED = {
    "call": ("Set up a call with {}", "Arrange a call with {}", "I need to phone {}"),
    "mail": ("Write an email to {}", "Send {} a message", "Draft a letter for {}"),
}


@pytest.fixture
def client(profile: Profile) -> Iterator[IntentsClient]:
    made = IntentsClient(profile)
    yield made
    made.close()


def _teach(profile: Profile) -> None:
    CustomModelTrainer(profile=profile).add_training_examples(
        (text.format(who), f"Done: {intent}.", {"intent": intent}, 5.0)
        for intent, texts in ASKED.items()
        for text in texts
        for who in WHO
    )


def test_intents_are_learned_and_told_in_another_process(
    profile: Profile, client: IntentsClient
) -> None:
    with pytest.raises(XenoError, match="No intents are learned yet"):
        client.predict("Arrange a call with Zoe")
    assert client.train()["success"] is False
    _teach(profile)
    found = client.train()
    assert found["success"] is True
    assert found["examples_used"] == 60
    told = client.predict("Arrange a call with Zoe")
    assert (told.intent, told.reply) == ("call", "Done: call.")
    assert 0.5 < told.confidence <= 1.0
    client.stop()
    assert client.predict("Send Zoe a message").intent == "mail"


def test_a_program_can_learn_again_where_it_likes(profile: Profile) -> None:
    asked: list[str] = []
    trainer = CustomModelTrainer(profile=profile, learn_again=lambda: asked.append("again"))
    _teach(profile)
    assert trainer.train_intent_classifier()["success"]
    assert not asked
    for who in range(12):
        trainer.add_training_example(f"Ring up number {who}", "", {"intent": "call"})
    assert asked


def test_a_closed_client_says_so(profile: Profile) -> None:
    client = IntentsClient(profile)
    client.close()
    with pytest.raises(ChildError, match="closed"):
        client.train()
