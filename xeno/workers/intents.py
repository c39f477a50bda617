"""The intents child: `python -m xeno.workers.intents`. Learns and predicts what the user means.

scikit-learn takes seconds to import and would hold a window up meanwhile, so it works here.
Commands: OpenProfile, then TrainIntents and PredictIntent until Quit, one after the other.
"""

from __future__ import annotations

from xeno.errors import ChildError
from xeno.events import (
    IntentPredicted,
    IntentsTrained,
    OpenProfile,
    PredictIntent,
    TrainIntents,
)
from xeno.personalization.intents import CustomModelTrainer
from xeno.store.profile import Profile
from xeno.workers.protocol import Channel, failure, opened, run_child


class Intents:
    """Carries out the commands of one channel."""

    def __init__(self) -> None:
        self._profile: Profile | None = None
        self._trainer: CustomModelTrainer | None = None
        self.channel = Channel()

    def work(self) -> None:
        """Answer until Quit."""
        for command in self.channel:
            match command:
                case OpenProfile():
                    self._profile = opened(command)
                    self._trainer = CustomModelTrainer(profile=self._profile)
                case TrainIntents() | PredictIntent():
                    self._answer(command)
                case _:
                    raise ChildError(f"The intents child does not know {command.type}.")
        if self._profile is not None:
            self._profile.close()

    def _answer(self, command: TrainIntents | PredictIntent) -> None:
        try:
            if self._trainer is None:
                raise ChildError("The intents child was asked before it had a profile.")
            if isinstance(command, TrainIntents):
                result = self._trainer.train_intent_classifier()
                self.channel.emit(IntentsTrained(request=command.request, result=result))
                return
            found = self._trainer.predict(command.text)
            self.channel.emit(
                IntentPredicted(
                    request=command.request,
                    intent=found.intent,
                    confidence=found.confidence,
                    ranked=found.ranked,
                    reply=self._trainer.response_for(command.text),
                )
            )
        except Exception as error:  # one request's edge: the next one can still be answered
            self.channel.emit(failure(error, command.request))


if __name__ == "__main__":
    intents = Intents()
    run_child(intents.work, intents.channel.emit)
