"""Scripted users whose tastes are known, for measuring what is learned of them.

Written on its own: nothing here is taken from `xeno.personalization`, and the learner takes
nothing from here. A user sees a reply, minds what is not to their taste, sometimes rewrites it
in their own words and sometimes rates it. What they do depends on their taste and on luck,
never on what the learner believes. Each user has habits: they know only some of the ways to say
a thing, mirror their taste in their questions more or less, and are strict or lenient.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from xeno.benchmarking.reply_rules import CLOSERS, OPENERS
from xeno.benchmarking.scripted_content import SUBJECTS, Point, Subject

STYLES = ("professional", "casual", "friendly", "technical")
DETAILS = ("brief", "medium", "detailed")
FORMATS = ("conversational", "structured", "bullet_points")
TONES = ("formal", "neutral", "friendly", "humorous")


@dataclass(frozen=True)
class Taste:
    """How somebody likes to be answered."""

    style: str
    detail: str
    form: str
    tone: str


def all_tastes() -> Iterator[Taste]:
    """All 144 of them."""
    for style, detail, form, tone in itertools.product(STYLES, DETAILS, FORMATS, TONES):
        yield Taste(style, detail, form, tone)


def another_taste(taste: Taste, rng: random.Random) -> Taste:
    """A taste that differs from `taste` in every respect."""
    return Taste(
        rng.choice([each for each in STYLES if each != taste.style]),
        rng.choice([each for each in DETAILS if each != taste.detail]),
        rng.choice([each for each in FORMATS if each != taste.form]),
        rng.choice([each for each in TONES if each != taste.tone]),
    )


@dataclass(frozen=True)
class Answer:
    """A text that answers a question, and how it is written: what a reader can see."""

    text: str
    look: Taste


# How these people express themselves -------------------------------------------------------
# {} is the advice in lower case, as in "rinse the grains".

_PUT = {
    "professional": (
        "The recommended practice is to {}.",
        "It is advisable to {}.",
        "Management should arrange to {}.",
        "One effective measure is to {}.",
        "Preparation requires the operator to {}.",
        "Due diligence means to {}.",
    ),
    "casual": (
        "just {}, that's it.",
        "gotta {} tbh.",
        "I'd {} and call it a day.",
        "so yeah, {}.",
        "don't sweat it, {}.",
        "y'know, {}, no biggie.",
    ),
    "friendly": (
        "Let's {} together.",
        "You might like to {}, I'm with you on this.",
        "Why don't you {} and see how it suits you?",
        "For you, I'd {}.",
        "We could {}, how does that sound to you?",
        "Go ahead and {}, you've got this.",
    ),
    "technical": (
        "{} [{}].",
        "{} ({}).",
        "{}; spec: {}.",
        "{} @ {}.",
        "{} -> {}.",
        "{}, nominal {}.",
    ),
}
_FRAMED = {
    "formal": (
        ("Good afternoon.", "With kind regards."),
        ("Permit me to set out the following.", "I trust that this is satisfactory."),
        ("Esteemed reader,", "Yours faithfully."),
        ("In response to the enquiry received:", "Should anything remain unclear, pray do ask."),
        ("One begs to submit the following.", "Yours truly."),
        ("It is an honour to reply.", "Thank you for your consideration."),
    ),
    "neutral": (("", ""),),
    "friendly": (
        ("Hey there!", "You'll be brilliant at this! \U0001f60a"),
        ("So nice that you ask!", "Big hug! \u2764\ufe0f"),
        ("Aww, good to hear from you!", "Rooting for you, buddy!"),
        ("Yay, this is a fun one!", "Can't wait to hear how it goes \U0001f917"),
        ("Hello sunshine!", "Sending you good vibes!"),
        ("Ooh, good choice!", "Tell me all about it, I'm excited for you!"),
    ),
    "humorous": (
        ("Hold my beer.", "If all fails, blame Brussels \U0001f602"),
        ("Legend has it that even my uncle managed this.", "What could possibly go wrong?"),
        ("Drumroll...", "Side effects may include smugness \U0001f604"),
        ("Gather round, children.", "Bribes are accepted in chocolate. Haha."),
        ("Brace yourself, this is thrilling stuff.", "Do not feed after midnight, like a gremlin."),
        (
            "Scientists hate this trick.",
            "My goldfish gave it two thumbs up, and it has none \U0001f923",
        ),
    ),
}
_ASKED = {
    "professional": (
        "I am preparing this for a client: {}.",
        "Our department needs to know {}.",
        "Before the meeting I must establish {}.",
    ),
    "casual": ("hey {}", "ok so {}??", "no clue {}, any ideas", "{} lol"),
    "friendly": (
        "Hello! Could you help me with this: {}?",
        "We wondered {}, what do you think?",
        "You're so good at this, {}?",
    ),
    "technical": (
        "Parameters and tolerances, please: {}.",
        "Spec for {} (SI units)?",
        "{}: target values and failure modes?",
    ),
}
_CIVIL = {
    "formal": ("Good day. {} I remain obliged.", "May I enquire as follows? {}"),
    "neutral": ("{}",),
    "friendly": ("Hi you! {} \U0001f60a", "{} Thanks a million, you're the best!"),
    "humorous": (
        "{} Asking for a friend who is a penguin.",
        "{} My kitchen is already on fire, haha.",
    ),
}
_WISHED = {
    "brief": ("Two lines will do.", "Skip the lecture.", "Only the gist."),
    "medium": ("A handful of sentences is right.", "A paragraph or so."),
    "detailed": ("Go into the reasons too.", "Leave nothing out.", "I want the whole story."),
    "conversational": ("Just tell me in flowing text.", "Without lists, if possible."),
    "structured": ("One step after the other.", "Number them for me."),
    "bullet_points": ("Dots, not prose.", "Dashes in front of each item."),
}
_MARKS = ("- ", "* ", "\u2022 ")
_SHORTENED = (
    (r"\bdo not\b", "don't"),
    (r"\bis not\b", "isn't"),
    (r"\bmust not\b", "mustn't"),
    (r"\bit is\b", "it's"),
    (r"\bcannot\b", "can't"),
)


class ScriptedUser:
    """Somebody with a taste, habits and moods. All luck comes from `seed`.

    `eagerness` scales how often they correct and rate: at 1 they rewrite about three in four
    of the replies they mind, and rate two in three.
    """

    def __init__(self, taste: Taste, seed: int, eagerness: float = 1.0) -> None:
        self.taste = taste
        self._rng = rng = random.Random(f"user {seed} {taste}")
        self._lenience = rng.gauss(0.0, 0.5)
        self._mirrors = rng.uniform(0.2, 0.8)
        self._eagerness = eagerness
        self._corrects = rng.uniform(0.4, 0.7)
        self._rates = rng.uniform(0.4, 0.9)
        self._cares = {name: rng.uniform(0.6, 1.1) for name in ("style", "detail", "form", "tone")}
        self._put = {name: rng.sample(ways, 3) for name, ways in _PUT.items()}
        self._framed = {n: rng.sample(ways, min(3, len(ways))) for n, ways in _FRAMED.items()}
        self._mark = rng.choice(_MARKS)
        self._numbering = rng.choice(("{}. ", "{}) ", "Step {}: "))
        self._wordiness = rng.uniform(-0.5, 0.5)

    def change_taste(self, taste: Taste) -> None:
        """From now on the user likes something else; the habits stay."""
        self.taste = taste

    def asks(self) -> tuple[Subject, str]:
        """The next question, as this user writes it."""
        rng, taste = self._rng, self.taste
        subject = rng.choice(SUBJECTS)
        text = rng.choice(subject.asks)
        if rng.random() < self._mirrors:
            text = rng.choice(_ASKED[taste.style]).format(text)
        else:
            text = f"{text[0].upper()}{text[1:]}?"
        if rng.random() < self._mirrors:
            text = rng.choice(_CIVIL[taste.tone]).format(text)
        if rng.random() < 0.08:
            text += " " + rng.choice(_WISHED[rng.choice((taste.detail, taste.form))])
        return subject, text

    def stars(self, answer: Answer) -> int | None:
        """1 to 5 stars, or None: not in the mood."""
        if self._rng.random() > self._rates * self._eagerness:
            return None
        joy = 4.8 + self._lenience + self._rng.gauss(0.0, 0.6)
        return max(1, min(5, round(joy - sum(self._minds(answer).values()))))

    def rewrites(self, subject: Subject, answer: Answer) -> str | None:
        """The answer as the user would rather have read it, or None: it stays as it is."""
        rng, minds = self._rng, self._minds(answer)
        if rng.random() > (self._corrects + 0.2 if minds else 0.07) * self._eagerness:
            return None
        if not minds:
            return _with_one_word_changed(answer.text, rng)
        fixed = {n: getattr(self.taste, n) for n in minds if rng.random() < 0.85}
        if not fixed:
            return None
        look = replace(answer.look, **fixed)
        return self._write(subject, look)

    def displeasure(self, answer: Answer) -> float:
        """How much the user minds an answer, 0 (nothing) upwards; no luck in it."""
        return sum(self._minds(answer).values())

    def _minds(self, answer: Answer) -> dict[str, float]:
        """What is not to the user's taste, and how much it spoils the reply."""
        found = {
            name: self._cares[name]
            for name in ("style", "form", "tone")
            if getattr(answer.look, name) != getattr(self.taste, name)
        }
        off = abs(DETAILS.index(answer.look.detail) - DETAILS.index(self.taste.detail))
        if off:
            found["detail"] = off * self._cares["detail"]
        return found

    def _write(self, subject: Subject, look: Taste) -> str:
        rng = self._rng
        few, many = {"brief": (1, 2), "medium": (3, 4), "detailed": (5, 6)}[look.detail]
        count = max(1, min(6, round(rng.uniform(few, many) + self._wordiness * 0.5)))
        if look.form != "conversational":
            count = max(2, count)
        share = {"brief": 0.0, "medium": 0.4, "detailed": 0.95}[look.detail]
        points = sorted(rng.sample(range(6), count))
        items = [self._item(subject.points[i], look.style, rng.random() < share) for i in points]
        if look.detail == "detailed" and rng.random() < 0.6:
            items.append(subject.example)
        opening, closing = rng.choice(self._framed[look.tone])
        if look.detail == "brief" and rng.random() < 0.6:  # no room for both
            opening, closing = rng.choice(((opening, ""), ("", closing)))
        return _laid_out(opening, items, closing, look.form, self._mark, self._numbering)

    def _item(self, point: Point, style: str, with_reason: bool) -> str:
        rng = self._rng
        advice = point.advice[0].lower() + point.advice[1:]
        if style == "technical":
            way = rng.choice(self._put[style])
            text = way.format(point.advice, point.figures)
        elif rng.random() < 0.75:
            text = rng.choice(self._put[style]).format(advice)
        else:
            text = point.advice + "."
        if with_reason:
            text += f" {point.reason}."
        if style == "casual":
            for long, short in _SHORTENED:
                text = re.sub(long, short, text)
        return text


def _laid_out(
    opening: str, items: list[str], closing: str, form: str, mark: str, numbering: str
) -> str:
    if form == "conversational":
        return " ".join(part for part in (opening, *items, closing) if part)
    if form == "bullet_points":
        lines = [mark + item for item in items]
    else:
        lines = [numbering.format(n) + item for n, item in enumerate(items, start=1)]
    return "\n".join(part for part in (opening, *lines, closing) if part)


def _with_one_word_changed(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    place = rng.randrange(len(words))
    return " ".join([*words[:place], "maybe", *words[place:]])


class ScriptedModel:
    """Replies as a small model writes them: told a taste, it follows each part most times.

    Its turns of phrase are those the starter model was trained on (`reply_rules`).
    """

    def __init__(self, seed: int, follows: float = 0.85) -> None:
        self._rng = random.Random(f"model {seed}")
        self._follows = follows

    def answers(self, subject: Subject, told: Taste) -> Answer:
        """A reply to a question about `subject` under the preferences `told`."""
        rng = self._rng
        look = Taste(
            self._obeyed(told.style, STYLES),
            self._obeyed(told.detail, DETAILS),
            self._obeyed(told.form, FORMATS),
            self._obeyed(told.tone, TONES),
        )
        count, reasons = {"brief": (2, 0.0), "medium": (3, 0.5), "detailed": (5, 0.9)}[look.detail]
        points = rng.sample(subject.points, count)
        items = [
            f"{p.advice}." + (f" {p.reason}." if rng.random() < reasons else "") for p in points
        ]
        closing = rng.choice(CLOSERS[look.tone]) if CLOSERS[look.tone] else ""
        opening = rng.choice(OPENERS[look.style])
        return Answer(_laid_out(opening, items, closing, look.form, "- ", "{}. "), look)

    def _obeyed(self, value: str, values: tuple[str, ...]) -> str:
        return value if self._rng.random() < self._follows else self._rng.choice(values)
