"""From stored texts to rows of token ids, and what becomes of those that are too long.

Nothing is cut in silence: a row says what it lost and from which side, and whatever cannot be
learned from is left out with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xeno.errors import InvalidValueError
from xeno.models.chat import encode_exchange
from xeno.training.dataset import Sample
from xeno.training.plan import TrainingPlan
from xeno.training.recipe import Recipe, resolve
from xeno.training.row import Cut, Row
from xeno.training.settings.objective import Stage
from xeno.training.stages import NOUNS, StageData, amount
from xeno.training.units import by_unit, unit_of
from xeno.words import count

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xeno.store.pairs import Pair
    from xeno.training.settings.truncation import TruncationSettings

LEAST_REPLY = 2
"""Tokens of a shortened reply that must remain for it to say anything."""


@dataclass(frozen=True)
class LeftOut:
    """A unit that cannot be trained on, and why."""

    pair_id: str
    reason: str


@dataclass(frozen=True)
class Fit:
    """What may be cut so that a prompt with either of its replies has at most `limit` tokens.

    A shortened prompt loses its beginning, but a leading beginning-of-text token stays, and so
    do `least_prompt` tokens. Replies are only shortened if `cut_replies`: half a reply has no
    end token and teaches nothing about ending.
    """

    limit: int
    cut_prompts: bool = True
    least_prompt: int = 16
    cut_replies: bool = False

    @classmethod
    def of(cls, settings: TruncationSettings, limit: int) -> Fit:
        """As `settings` say, within `limit` tokens."""
        return cls(
            limit,
            settings.long_prompts == "cut_left",
            settings.least_prompt,
            settings.long_replies == "cut_right",
        )


@dataclass(frozen=True)
class StageRows:
    """A stage as rows: to train on and to measure on, with the numbers that follow."""

    name: Stage
    plan: TrainingPlan
    rows: tuple[Row, ...]
    measured: tuple[Row, ...]
    left_out: tuple[LeftOut, ...]
    recipe: Recipe

    def notes(self) -> list[str]:
        """What happened to texts that were too long, in words without their text."""
        said = []
        counted = Counter(part for row in self.rows + self.measured for part in _parts_cut(row))
        if shortened := counted["prompt"]:
            words = count(shortened, "prompt was", "prompts were")
            said.append(f"{words} too long and lost the beginning.")
        if shortened := counted["reply"]:
            said.append(
                f"{amount(shortened, self.name)} lost the end of what was too long, and the token "
                "that ends a reply with it."
            )
        if self.left_out:
            left = len(self.left_out)
            were = "was" if left == 1 else "were"
            first = self.left_out[0].reason
            said.append(f"{amount(left, self.name)} {were} left out. The first: {first}")
        return said

    def cuts(self) -> list[dict[str, str | int]]:
        """Every cut: of which unit, of what, from which side, how many tokens."""
        return [
            {"pair": row.pair_id, "part": cut.part, "side": cut.side, "tokens": cut.tokens}
            for row in self.rows + self.measured
            for cut in row.cuts
        ]


def encode_stage(
    tokenizer: PreTrainedTokenizerBase,
    stage: StageData,
    shapes: Mapping[str, tuple[int, ...]],
    limit: int,
) -> StageRows:
    """The rows of `stage`, none longer than `limit` tokens with one reply.

    Raises:
        InvalidValueError: if nothing can be learned from.
    """
    fit = Fit.of(stage.plan, limit)
    training = [encode_unit(tokenizer, stage, unit, fit) for unit in stage.training]
    held_out = [encode_unit(tokenizer, stage, unit, fit) for unit in stage.held_out]
    rows = tuple(each for each in training if isinstance(each, Row))
    left_out = tuple(each for each in training + held_out if isinstance(each, LeftOut))
    if not rows:
        raise InvalidValueError(
            "There is nothing to train on.",
            f"All {NOUNS[stage.name]} had to be left out; the first because: {left_out[0].reason}",
            "Collect shorter replies, or choose a base that can read longer texts.",
        )
    return StageRows(
        stage.name,
        stage.plan,
        rows,
        tuple(each for each in held_out if isinstance(each, Row)),
        left_out,
        resolve(stage.plan, len(by_unit(rows)), shapes),
    )


def encode_unit(
    tokenizer: PreTrainedTokenizerBase, stage: StageData, unit: Pair | Sample, fit: Fit
) -> Row | LeftOut:
    """The row of a unit of `stage`."""
    if isinstance(unit, Sample):
        on_prompt = stage.name == "sft" and stage.plan.sft_on_prompt
        row = encode_sample(tokenizer, unit, fit, on_prompt=on_prompt)
    else:
        row = encode_pair(tokenizer, unit, fit)
    return replace(row, unit=unit_of(stage.plan, unit)) if isinstance(row, Row) else row


def encode_pair(tokenizer: PreTrainedTokenizerBase, pair: Pair, fit: Fit) -> Row | LeftOut:
    """The row of `pair`."""
    prompt, chosen = encode_exchange(tokenizer, pair.prompt, pair.chosen)
    _, rejected = encode_exchange(tokenizer, pair.prompt, pair.rejected)
    if chosen == rejected:
        return LeftOut(pair.id, "Both replies are the same to this model's tokenizer.")
    row = Row(pair.id, tuple(prompt), tuple(chosen), tuple(rejected), pair.weight)
    fitted = _fitted(row, fit, tokenizer.bos_token_id)
    if isinstance(fitted, Row) and fitted.chosen == fitted.rejected:
        return LeftOut(pair.id, "Its replies only differ where they would be cut.")
    return fitted


def encode_sample(
    tokenizer: PreTrainedTokenizerBase, sample: Sample, fit: Fit, *, on_prompt: bool = False
) -> Row | LeftOut:
    """The row of `sample`, whose one reply is in the place of the chosen one.

    Args:
        on_prompt: learn the prompt as well, all of it but its first token.
    """
    prompt, reply = encode_exchange(tokenizer, sample.prompt, sample.reply)
    row = Row(sample.id, tuple(prompt), tuple(reply), (), sample.weight, desirable=sample.desirable)
    fitted = _fitted(row, fit, tokenizer.bos_token_id)
    if on_prompt and isinstance(fitted, Row):
        begin, rest = fitted.prompt[:1], fitted.prompt[1:]
        return replace(fitted, prompt=begin, chosen=rest + fitted.chosen)
    return fitted


def _fitted(row: Row, fit: Fit, bos: int | None) -> Row | LeftOut:
    """`row` within `fit`."""
    longest = max(len(row.chosen), len(row.rejected))
    least = min(len(row.prompt), fit.least_prompt) if fit.cut_prompts else len(row.prompt)
    room = fit.limit - least
    if longest > room:
        if not fit.cut_replies or room < LEAST_REPLY:
            what = "Its longer reply" if row.rejected else "Its reply"
            with_prompt = f"the {least} tokens of its prompt that must stay"
            return LeftOut(
                row.pair_id,
                f"{what} has {longest} tokens; with {with_prompt} it does not fit into "
                f"{fit.limit}.",
            )
        row = _shorter_replies(row, room)
        longest = room
    return _shorter_prompt(row, fit.limit - longest, bos)


def _shorter_replies(row: Row, room: int) -> Row:
    chosen, rejected = row.chosen[:room], row.rejected[:room]
    cuts = [*row.cuts]
    if lost := len(row.chosen) - len(chosen):
        cuts.append(Cut("chosen", "right", lost))
    if lost := len(row.rejected) - len(rejected):
        cuts.append(Cut("rejected", "right", lost))
    return replace(row, chosen=chosen, rejected=rejected, cuts=tuple(cuts))


def _shorter_prompt(row: Row, room: int, bos: int | None) -> Row:
    lost = len(row.prompt) - room
    if lost <= 0:
        return row
    kept = row.prompt[lost:]
    if kept and row.prompt[0] == bos:
        kept = (row.prompt[0], *row.prompt[lost + 1 :])
    return replace(row, prompt=kept, cuts=(*row.cuts, Cut("prompt", "left", lost)))


def _parts_cut(row: Row) -> set[str]:
    return {"prompt" if cut.part == "prompt" else "reply" for cut in row.cuts}
