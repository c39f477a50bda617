"""Trains the starter model from nothing, on the composed stream, within a budget of minutes.

Run as `python -m tools.starter_model.train --minutes 65`. A second start with the same folder
continues from the last checkpoint; with more minutes it trains longer.

One story: dialogues -> packed rows -> loss on the replies -> Muon for the matrices, AdamW for
the rest -> checkpoint. The learning rate follows the share of the budget that is used: a short
warm-up, a plateau, then a straight line to nothing. A moving average of the weights is what is
exported, so that a checkpoint from the plateau is usable as well.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # share the cores; read when torch loads

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tools.starter_model.composition import Composer
from tools.starter_model.tokenizer import CONTEXT, VOCABULARY, train_tokenizer
from tools.starter_model.topics import read_topics

SEED = 20_26
WORK = Path("build/starter")

ROWS = 16  # rows of one step
ROW = 384  # tokens of a row, filled with whole dialogues
MUON_LR = 0.02
ADAM_LR = 0.003
WARM_UP, DECAY = 0.01, 0.45  # shares of the budget at the start and at the end
EMA = 0.99
REPLY_WEIGHT, QUESTION_WEIGHT = 1.0, 0.0
CHECKPOINT_SECONDS = 150.0


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The architecture: a Llama of about six million parameters, its embedding tied."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=768,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


@dataclass(frozen=True)
class Batch:
    """Packed rows: `tokens` (rows, row), `weights` of each token as a target, `owner` numbers
    the dialogues within a row from 1 (0 is padding)."""

    tokens: Tensor
    weights: Tensor
    owner: Tensor


class Packer:
    """Packs the stream into rows; `next` is the index of the first dialogue not yet used."""

    def __init__(
        self, composer: Composer, tokenizer: PreTrainedTokenizerFast, start: int = 0
    ) -> None:
        self.composer = composer
        self.tokenizer = tokenizer
        self.next = start
        self._special = {
            role: tokenizer.convert_tokens_to_ids(f"<|{role}|>")
            for role in ("system", "user", "assistant")
        }

    def encoded(self, index: int) -> tuple[list[int], list[float]]:
        """Tokens and loss weights of dialogue `index`, exactly as the chat template gives them."""
        tokens, weights = [self.tokenizer.bos_token_id], [0.0]
        for message in self.composer.dialogue(index).messages:
            weight = REPLY_WEIGHT if message["role"] == "assistant" else QUESTION_WEIGHT
            said = self.tokenizer.encode(message["content"], add_special_tokens=False)
            tokens += [self._special[message["role"]], *said, self.tokenizer.eos_token_id]
            weights += [0.0] + [weight] * (len(said) + 1)
        return tokens, weights

    def batch(self) -> Batch:
        """The next dialogues, each put into the first row with room for it."""
        tokens = torch.full((ROWS, ROW), self.tokenizer.pad_token_id)
        weights = torch.zeros(ROWS, ROW)
        owner = torch.zeros(ROWS, ROW, dtype=torch.long)
        filled = [0] * ROWS
        while True:
            ids, loss = self.encoded(self.next)
            row = next((r for r in range(ROWS) if filled[r] + len(ids) <= ROW), None)
            if len(ids) > ROW:  # a very long two-turn dialogue: leave it out
                self.next += 1
                continue
            if row is None:
                return Batch(tokens, weights, owner)
            part = slice(filled[row], filled[row] + len(ids))
            tokens[row, part] = torch.tensor(ids)
            weights[row, part] = torch.tensor(loss)
            owner[row, part] = owner[row].max() + 1
            filled[row] += len(ids)
            self.next += 1


def reply_loss(model: LlamaForCausalLM, batch: Batch) -> Tensor:
    """Mean cross-entropy of the replies' tokens; no dialogue sees its neighbours in the row."""
    same = batch.owner[:, :, None] == batch.owner[:, None, :]  # (rows, row, row)
    mask = (same & torch.ones(ROW, ROW, dtype=torch.bool).tril())[:, None]
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=batch.tokens, attention_mask=mask).last_hidden_state
        weights = batch.weights[:, 1:]
        asked = weights > 0  # the head is computed only where a target counts
        logits = model.lm_head(hidden[:, :-1][asked])
    losses = F.cross_entropy(logits.float(), batch.tokens[:, 1:][asked], reduction="none")
    return (losses * weights[asked]).sum() / weights[asked].sum()


def learning_rate(used: float) -> float:
    """The factor on the learning rates when the share `used` of the budget is spent."""
    if used < WARM_UP:
        return max(used / WARM_UP, 0.02)
    return min(1.0, max(0.0, (1.0 - used) / DECAY))


class Training:
    """Model, average, optimizers and place in the stream: all that a checkpoint keeps."""

    def __init__(self, composer: Composer, tokenizer: PreTrainedTokenizerFast) -> None:
        torch.manual_seed(SEED)
        self.model = new_model(tokenizer)
        self.average = {k: v.detach().clone() for k, v in self.model.named_parameters()}
        matrices = [p for n, p in self.model.named_parameters() if p.ndim == 2 and "layers" in n]
        others = [p for n, p in self.model.named_parameters() if p.ndim != 2 or "layers" not in n]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=MUON_LR, momentum=0.95, weight_decay=0.0),
            torch.optim.AdamW(others, lr=ADAM_LR, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.packer = Packer(composer, tokenizer)
        self.step = 0
        self.seconds = 0.0

    def advance(self, budget: float) -> float:
        """One step of a budget of so many seconds; returns its loss."""
        factor = learning_rate(self.seconds / budget)
        loss = reply_loss(self.model, self.packer.batch())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, rate in zip(self.optimizers, (MUON_LR, ADAM_LR), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad()
        keep = min(EMA, self.step / (self.step + 10))
        for name, parameter in self.model.named_parameters():
            self.average[name].lerp_(parameter.detach(), 1.0 - keep)
        self.step += 1
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Writes the checkpoint whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "next": self.packer.next,
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path: Path) -> None:
        """Continues from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.packer.next, self.step = state["next"], state["step"]
        self.seconds = state["seconds"]


def distinct(composer: Composer, count: int) -> int:
    """How many different dialogues there are among the first `count`."""
    return len({hash(str(composer.dialogue(i).messages)) for i in range(count)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=65.0, help="training time in all")
    parser.add_argument("--folder", type=Path, default=WORK, help="tokenizer and checkpoint")
    options = parser.parse_args()
    torch.set_num_threads(2)
    options.folder.mkdir(parents=True, exist_ok=True)
    composer = Composer(read_topics(), SEED)
    if not (options.folder / "tokenizer.json").exists():
        train_tokenizer(composer).save_pretrained(options.folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(options.folder)
    training = Training(composer, tokenizer)
    checkpoint = options.folder / "checkpoint.pt"
    if checkpoint.exists():
        training.load(checkpoint)
    training.model.model.compile(dynamic=False)  # a third faster; every batch has one shape
    print(f"{sum(p.numel() for p in training.model.parameters()):,} parameters", flush=True)

    budget = options.minutes * 60
    saved, mean = training.seconds, 0.0
    while training.seconds < budget:
        begin = time.monotonic()
        loss = training.advance(budget)
        training.seconds += time.monotonic() - begin
        mean = loss if not mean else 0.95 * mean + 0.05 * loss
        if training.step % 20 == 0:
            rate = ROWS * ROW / (time.monotonic() - begin)
            print(
                f"step {training.step}  {training.seconds / 60:.1f} min  "
                f"dialogues {training.packer.next}  loss {mean:.4f}  {rate:.0f} tokens/s",
                flush=True,
            )
        if training.seconds - saved > CHECKPOINT_SECONDS or training.seconds >= budget:
            training.save(checkpoint)
            saved = training.seconds
    seen = training.packer.next
    print(f"{seen} dialogues seen, {distinct(composer, seen)} of them distinct", flush=True)


if __name__ == "__main__":
    main()
