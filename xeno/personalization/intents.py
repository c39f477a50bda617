"""What the user means: examples of intents, the classifier learned from them, and the replies.

Examples and templates are rows of the profile's database; the trained classifiers are versions of
the model "intent_classifier" (`xeno.personalization.intent_versions`). Everything can be used from
several threads and processes at once: a classifier that another one has trained is used from the
next prediction on.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xeno.errors import InvalidValueError
from xeno.personalization.classifier import UNKNOWN, Fit, IntentModel, Prediction, encoder_of, fit
from xeno.personalization.intent_versions import IntentVersions
from xeno.personalization.sentence_encoder import SentenceEncoder
from xeno.store.conversations import valid_text
from xeno.store.database import Connection, Row
from xeno.store.profile import Profile
from xeno.store.user import OfUser

LEAST_EXAMPLES = 50
LONGEST_INPUT = 20_000
ENCODER = "intents.encoder"
AUTOMATIC = "intents.automatic"
_TRAINED = "intents.trained"
_FEW = 10  # new examples that are worth learning from again
_PART = 0.1  # of those learned from, so that learning again stays rare as they grow
_SLOT = re.compile(r"\{([a-z][a-z0-9_]*)\}")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Example:
    """A text of the user with its intent. `intent` is "" where it has none yet, and "unknown"
    where it is like nothing that has one. `output` is the reply it got; `rating` 1 to 5."""

    id: int
    input: str
    output: str
    intent: str
    context: Mapping[str, Any]
    rating: float | None
    created: float


class CustomModelTrainer(OfUser):
    """The intents of `user_id`.

    Args:
        user_id, profile: see `OfUser`.
        learn_again: called when it is time to learn again, in place of doing so on a thread of
            this process: for a program that must stay responsive meanwhile.
    """

    def __init__(
        self,
        user_id: str = "default",
        *,
        profile: Profile | None = None,
        learn_again: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(user_id, profile=profile)
        self._db = self._profile.db
        self._versions = IntentVersions(self._profile)
        self._lock = threading.Lock()
        self._model: tuple[str, IntentModel] | None = None  # by content address
        self._encoder: SentenceEncoder | None = None
        self._learning: threading.Thread | None = None
        self._elsewhere = learn_again

    # Examples ---------------------------------------------------------------------------

    def add_training_example(
        self,
        input_text: str,
        output_text: str = "",
        context: Mapping[str, Any] | None = None,
        rating: float | None = None,
    ) -> Example:
        """Keep an example; the same text again replaces it.

        With enough new examples since the last training the classifier learns again, on a
        thread of its own (`learn_again_if_due`).

        Args:
            context: anything JSON can hold; its "intent" is what is learned.
            rating: 1 to 5, how good `output_text` was.

        Raises:
            InvalidValueError: an empty text, a rating out of range.
        """
        [example] = self.add_training_examples([(input_text, output_text, context, rating)])
        return example

    def add_training_examples(
        self,
        examples: Iterable[tuple[str, str, Mapping[str, Any] | None, float | None]],
    ) -> list[Example]:
        """Keep many, all or none: (input_text, output_text, context, rating) of each."""
        with self._db.transaction() as connection:
            kept = [_add(connection, *example) for example in examples]
        self.learn_again_if_due()
        return kept

    def examples(
        self,
        *,
        intent: str | None = None,
        search: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Example]:
        """The examples, newest first."""
        where, params = _where(intent, search)
        rows = self._db.read(
            f"SELECT * FROM intent_examples {where} ORDER BY created DESC, id DESC "
            "LIMIT ? OFFSET ?",
            [*params, -1 if limit is None else limit, offset],
        )
        return [_example(row) for row in rows]

    def count(self, *, intent: str | None = None, search: str | None = None) -> int:
        """How many examples `examples` would give without a limit."""
        where, params = _where(intent, search)
        row = self._db.one(f"SELECT count(*) FROM intent_examples {where}", params)
        return int(row[0]) if row else 0

    def intents(self) -> list[tuple[str, int]]:
        """The intents and how many examples each has, the largest first."""
        rows = self._db.read(
            "SELECT intent, count(*) AS n FROM intent_examples WHERE intent != '' "
            "GROUP BY intent ORDER BY n DESC, intent"
        )
        return [(row["intent"], row["n"]) for row in rows]

    def set_intent(self, example_id: int, intent: str) -> Example:
        """Say what an example means; returns it as it was, for `restore`."""
        before = self._example(example_id)
        with self._db.transaction() as connection:
            connection.execute(
                "UPDATE intent_examples SET intent = ?, created = ? WHERE id = ?",
                (_intent(intent), time.time(), example_id),
            )
        self.learn_again_if_due()
        return before

    def delete(self, example_id: int) -> Example:
        """Delete an example; returns it as it was, for `restore`."""
        before = self._example(example_id)
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM intent_examples WHERE id = ?", (example_id,))
        return before

    def restore(self, example: Example) -> None:
        """Bring an example back as it was: the undo of `set_intent` and `delete`."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM intent_examples WHERE id = ?", (example.id,))
            _insert(connection, example)

    # The classifier ---------------------------------------------------------------------

    def train_intent_classifier(self) -> dict[str, Any]:
        """Learn the intents of all examples that have one, and use that from now on.

        Returns:
            success, accuracy (on the held-out 20 %), examples_used, and the other numbers of
            `Fit`; or success False and error, below 50 examples or two intents.
        """
        rows = self._db.read(
            "SELECT input, intent, created FROM intent_examples WHERE intent != '' ORDER BY id"
        )
        if len(rows) < LEAST_EXAMPLES:
            return {
                "success": False,
                "error": f"At least {LEAST_EXAMPLES} examples with an intent are needed; "
                f"you have {len(rows)}.",
                "examples_used": len(rows),
            }
        encoder = self._encoder_in(self._profile.setting(ENCODER))
        try:
            model, found = fit(
                [row["input"] for row in rows],
                [row["intent"] for row in rows],
                encoder=encoder,
                encoder_hash=encoder.hash if encoder else None,
            )
        except InvalidValueError as error:
            return {"success": False, "error": str(error), "examples_used": len(rows)}
        content = model.to_bytes()
        with self._db.transaction():
            self._versions.keep(content, asdict(found))
            trained = asdict(found) | {
                "time": time.time(),
                "through": max(row["created"] for row in rows),
                "encoder": None if encoder is None else str(encoder.folder),
            }
            self._profile.set_setting(_TRAINED, trained)
        return {"success": True, **asdict(found)}

    def predict(self, text: str) -> Prediction:
        """The intent of `text` with its confidence and the best guesses.

        Raises:
            InvalidValueError: no classifier is trained yet.
            BaseModelError: it was trained with a sentence encoder that is not there any more.
            DamagedDataError: its file is not what was written.
        """
        return self._classifier().predict(valid_text(text, "text")[:LONGEST_INPUT])

    def predict_intent(self, text: str) -> str:
        """The intent of `text`, "unknown" where that is not sure enough; see `predict`."""
        return self.predict(text).intent

    @property
    def last_fit(self) -> Fit | None:
        """What the last training found, if there was one."""
        stored = self._profile.setting(_TRAINED)
        if stored is None:
            return None
        return Fit(**{name: stored[name] for name in Fit.__dataclass_fields__})

    @property
    def new_examples(self) -> int:
        """How many examples came or changed since the last training."""
        through = (self._profile.setting(_TRAINED) or {}).get("through", 0.0)
        row = self._db.one(
            "SELECT count(*) FROM intent_examples WHERE intent != '' AND created > ?", (through,)
        )
        return int(row[0]) if row else 0

    @property
    def due(self) -> bool:
        """Whether enough new examples came to learn again: 10, and a tenth of those used."""
        stored = self._profile.setting(_TRAINED)
        return stored is not None and self.new_examples >= max(
            _FEW, _PART * stored["examples_used"]
        )

    @property
    def automatic(self) -> bool:
        """Whether it learns again by itself when that is due. The first time is the user's."""
        return bool(self._profile.setting(AUTOMATIC, True))

    def set_automatic(self, on: bool) -> None:
        self._profile.set_setting(AUTOMATIC, bool(on))

    def learn_again_if_due(self) -> bool:
        """Begin to learn again on another thread, if that is due and wanted. `wait` for it."""
        with self._lock:
            if self._learning is not None and self._learning.is_alive():
                return False
            if not (self.automatic and self.due):
                return False
            if self._elsewhere is not None:
                self._elsewhere()
                return True
            self._learning = threading.Thread(target=self._learn_again, name="xeno-intents")
            self._learning.start()
            return True

    def wait(self) -> None:
        """Wait until nothing is being learned."""
        with self._lock:
            thread = self._learning
        if thread is not None:
            thread.join()

    def forget_classifier(self) -> None:
        """Delete all classifiers; the examples stay."""
        self.wait()
        self._versions.forget()
        self._profile.set_setting(_TRAINED, None)

    # A sentence encoder -----------------------------------------------------------------

    @property
    def encoder(self) -> Path | None:
        """The folder of the sentence encoder to learn with; None is n-grams."""
        folder = self._profile.setting(ENCODER)
        return Path(folder) if folder else None

    def use_encoder(self, folder: Path | None) -> None:
        """Learn with the encoder in `folder` from the next training on; None: with n-grams.

        Raises:
            BaseModelError: the folder cannot be used.
        """
        if folder is not None:
            folder = SentenceEncoder(folder, self._profile.home).folder.resolve()
        self._profile.set_setting(ENCODER, str(folder) if folder else None)

    # Replies ----------------------------------------------------------------------------

    def add_response_template(self, intent: str, template: str) -> None:
        """A reply for `intent`; {slots} in braces are filled by `response_for`."""
        name = _intent(intent)
        if not name or not valid_text(template, "template").strip():
            raise InvalidValueError("A template needs an intent and a text.", "", "Give both.")
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO intent_templates (intent, template, created) VALUES (?, ?, ?) "
                "ON CONFLICT (intent, template) DO UPDATE SET created = excluded.created",
                (name, template.strip(), time.time()),
            )

    def delete_response_template(self, intent: str, template: str) -> None:
        """A template that is not there is fine."""
        with self._db.transaction() as connection:
            connection.execute(
                "DELETE FROM intent_templates WHERE intent = ? AND template = ?",
                (_intent(intent), template.strip()),
            )

    def written_templates(self, intent: str) -> list[str]:
        """The replies that the user wrote for `intent`, the newest first."""
        rows = self._db.read(
            "SELECT template FROM intent_templates WHERE intent = ? ORDER BY created DESC, id DESC",
            (_intent(intent),),
        )
        return [row["template"] for row in rows]

    def response_templates(self, intent: str) -> list[str]:
        """The replies for `intent`, best first: those the user wrote, the newest before, then
        what examples of the intent were answered with, if it was not rated below 4."""
        given = self._db.read(
            "SELECT output AS text FROM intent_examples WHERE intent = ? AND output != '' "
            "AND coalesce(rating, 4) >= 4 GROUP BY output "
            "ORDER BY max(coalesce(rating, 4)) DESC, max(created) DESC",
            (_intent(intent),),
        )
        replies = [*self.written_templates(intent), *(row["text"] for row in given)]
        return list(dict.fromkeys(replies))

    def response_for(self, text: str, slots: Mapping[str, str] | None = None) -> str | None:
        """The best reply for what `text` means whose slots are all given; None without one."""
        given = dict(slots or {})
        intent = self.predict_intent(text)
        for template in [] if intent == UNKNOWN else self.response_templates(intent):
            if set(_SLOT.findall(template)) <= given.keys():
                return _SLOT.sub(lambda slot: str(given[slot.group(1)]), template)
        return None

    # ------------------------------------------------------------------------------------

    def close(self) -> None:
        """Wait until nothing is being learned; close the profile if the trainer opened it."""
        self.wait()
        super().close()

    def _learn_again(self) -> None:
        try:
            self.train_intent_classifier()
        except Exception as error:  # the thread's edge; the earlier classifier stays
            _log.warning("intents were not learned again: %s", type(error).__name__)

    def _classifier(self) -> IntentModel:
        """The model in use, read again when another one is."""
        with self._lock:
            in_use = self._versions.in_use()
            if in_use is None:
                raise InvalidValueError(
                    "No intents are learned yet.",
                    f"There are {self.count()} examples; {LEAST_EXAMPLES} with an intent are "
                    "needed.",
                    "Add examples, then train the intent classifier.",
                )
            if self._model is None or self._model[0] != in_use:
                content = self._versions.read()
                model = IntentModel.from_bytes(content, self._needed_encoder(encoder_of(content)))
                self._model = (self._versions.in_use() or in_use, model)
            return self._model[1]

    def _needed_encoder(self, wanted: str | None) -> SentenceEncoder | None:
        """The encoder that the stored classifier was learned with, whatever is chosen now."""
        if wanted is None:
            return None
        encoder = self._encoder_in((self._profile.setting(_TRAINED) or {}).get("encoder"))
        if encoder is None or encoder.hash != wanted:
            raise InvalidValueError(
                "The intents were learned with a sentence encoder that has changed since.",
                "Its files are not what they were.",
                "Train the intent classifier again.",
            )
        return encoder

    def _encoder_in(self, folder: str | None) -> SentenceEncoder | None:
        if folder is None:
            return None
        if self._encoder is None or self._encoder.folder != Path(folder):
            self._encoder = SentenceEncoder(Path(folder), self._profile.home)
        return self._encoder

    def _example(self, example_id: int) -> Example:
        row = self._db.one("SELECT * FROM intent_examples WHERE id = ?", (example_id,))
        if row is None:
            raise InvalidValueError(
                f"There is no example {example_id}.", "It was deleted.", "Choose one of the list."
            )
        return _example(row)


def _add(
    connection: Connection,
    input_text: str,
    output_text: str,
    context: Mapping[str, Any] | None,
    rating: float | None,
) -> Example:
    text = " ".join(valid_text(input_text, "text").split())
    if not text or len(text) > LONGEST_INPUT:
        raise InvalidValueError(
            "This text cannot be an example.",
            "It is empty." if not text else f"It is longer than {LONGEST_INPUT:,} characters.",
            "Give what the user would write.",
        )
    if rating is not None and not 1 <= rating <= 5:
        raise InvalidValueError(f"The rating {rating!r} is out of range.", "It is 1 to 5.", "")
    around = dict(context or {})
    example = Example(
        id=0,
        input=text,
        output=valid_text(output_text or "", "reply").strip(),
        intent=_intent(around.get("intent") or ""),
        context=around,
        rating=None if rating is None else float(rating),
        created=time.time(),
    )
    return _insert(connection, example)


def _insert(connection: Connection, example: Example) -> Example:
    try:
        context = json.dumps(dict(example.context), ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            "The context of an example cannot be kept.", f"It is no JSON ({error}).", ""
        ) from error
    row = connection.execute(
        "INSERT INTO intent_examples (id, input, output, intent, context, rating, created) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (input) DO UPDATE SET output = excluded.output, "
        "intent = excluded.intent, context = excluded.context, rating = excluded.rating, "
        "created = excluded.created RETURNING *",
        (
            example.id or None,
            example.input,
            example.output,
            example.intent,
            context,
            example.rating,
            example.created,
        ),
    ).fetchone()
    return _example(row)


def _intent(name: str) -> str:
    if not isinstance(name, str) or len(name) > 200 or any(not c.isprintable() for c in name):
        raise InvalidValueError(
            f"{name!r} cannot be an intent.",
            "An intent is a name of at most 200 printable characters.",
            "Use a name such as 'schedule_meeting'.",
        )
    return " ".join(name.split())


def _where(intent: str | None, search: str | None) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    params: list[Any] = []
    if intent is not None:
        conditions.append("intent = ?")
        params.append(intent)
    if search:
        conditions.append("(instr(lower(input), lower(?)) OR instr(lower(output), lower(?)))")
        params += [search, search]
    return ("WHERE " + " AND ".join(conditions) if conditions else ""), params


def _example(row: Row) -> Example:
    return Example(**{**dict(row), "context": json.loads(row["context"])})
