"""A tokenizer as GGUF describes one, read from the JSON form of the tokenizers library.

llama.cpp knows two kinds: byte-level BPE ("gpt2"), whose rule for cutting text into words must
have a name there, and SentencePiece BPE ("llama"), which merges by the scores of the tokens
and not by a list of merges. Anything else is refused by name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xeno.events import ChatMessage
from xeno.models.chat import encode_prompt, turn_end
from xeno.versions.export.gguf_form import refused

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from transformers import PreTrainedTokenizerBase

_SPACE = "\u2581"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_ENDS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_ELISIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
_NAME_OF_SPLIT = {
    _ELISIONS + _LETTERS + r"|\p{N}{1,3}" + _ENDS: "llama-bpe",
    _ELISIONS + _LETTERS + r"|\p{N}" + _ENDS: "qwen2",
    _TEKKEN: "tekken",
}
_WHOLE_WORDS_FIRST = ("llama-bpe", "tekken")  # llama.cpp looks a word up before it merges
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True)
class Vocabulary:
    """What of a tokenizer goes into a GGUF file.

    `tokens`, `types` and `scores` have one entry for each row of the model's embedding.
    `ends` are the ids of the end of text and, where it is another, of the end of a turn.
    """

    model: str
    pre: str
    tokens: list[str] = field(repr=False)
    types: list[int] = field(repr=False)
    scores: list[float] | None = field(repr=False)
    merges: list[str] = field(repr=False)
    begin: int | None
    ends: tuple[int, ...]
    unknown: int | None
    padding: int | None
    add_begin: bool
    space_first: bool
    chat_template: str = field(repr=False)

    def write(self, writer: GGUFWriter) -> None:
        """Add it to a file's metadata."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.scores is not None:
            writer.add_token_scores(self.scores)
            writer.add_add_space_prefix(self.space_first)
        else:
            writer.add_token_merges(self.merges)
        if self.begin is not None:
            writer.add_bos_token_id(self.begin)
        if self.ends:
            writer.add_eos_token_id(self.ends[0])
            writer.add_eot_token_id(self.ends[-1])
        if self.unknown is not None:
            writer.add_unk_token_id(self.unknown)
        if self.padding is not None:
            writer.add_pad_token_id(self.padding)
        writer.add_add_bos_token(self.add_begin)
        writer.add_add_eos_token(False)
        writer.add_chat_template(self.chat_template)


def vocabulary(tokenizer: PreTrainedTokenizerBase, rows: int) -> Vocabulary:
    """What of `tokenizer` goes into a GGUF file for a model with `rows` embedding rows.

    Raises:
        InvalidValueError: if llama.cpp would not cut text into the same tokens.
    """
    described = json.loads(_backend(tokenizer).to_str())
    model = described["model"]
    if model.get("type") != "BPE":
        raise refused(f"Its tokenizer is of the kind {model.get('type')}.")
    merges = [each.split(" ") if isinstance(each, str) else each for each in model["merges"]]
    pre = _byte_level_name(described)
    if pre is None:
        space_first = _sentencepiece_space(described)
    elif model.get("ignore_merges", False) != (pre in _WHOLE_WORDS_FIRST):
        raise refused("Its tokenizer looks words up in another order than llama.cpp does.")
    elif not merges:
        raise refused("Its tokenizer has no merges.")
    tokens, types = _tokens(described, rows, sentencepiece=pre is None)
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    turn = turn_end(tokenizer)[-1:]
    greeting = encode_prompt(tokenizer, [ChatMessage(role="user", content="x")])
    return Vocabulary(
        model="gpt2" if pre else "llama",
        pre=pre or "default",
        tokens=tokens,
        types=types,
        scores=None if pre else _scores(tokens, merges),
        merges=[" ".join(each) for each in merges] if pre else [],
        begin=begin,
        ends=tuple(dict.fromkeys(([end] if isinstance(end, int) else []) + turn)),
        unknown=tokenizer.unk_token_id,
        padding=tokenizer.pad_token_id,
        # As in the chat, whatever the tokenizer does with plain text; llama.cpp takes the one
        # that the template writes away where it adds one itself.
        add_begin=begin is not None and greeting[:1] == [begin],
        space_first=space_first if pre is None else False,
        chat_template=str(tokenizer.chat_template),
    )


def _backend(tokenizer: PreTrainedTokenizerBase) -> Any:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise refused("Its tokenizer has no form that can be read (tokenizer.json).")
    return backend


def _byte_level_name(described: dict[str, Any]) -> str | None:
    """llama.cpp's name for the rule that cuts text into words; None without byte-level BPE."""
    steps = _steps(described.get("pre_tokenizer"), "pretokenizers")
    if not steps or steps[-1].get("type") != "ByteLevel":
        return None
    byte_level, before = steps[-1], steps[:-1]
    kinds = [each["type"] for each in _steps(described.get("normalizer"), "normalizers")]
    if byte_level.get("add_prefix_space") or any(kind != "NFC" for kind in kinds):
        raise refused("Its tokenizer changes the text first, in a way that GGUF cannot say.")
    if byte_level.get("use_regex", True):
        if not before:
            return "gpt-2"
        if [each["type"] for each in before] == ["Digits"] and before[0]["individual_digits"]:
            return "smollm"
    elif len(before) == 1 and before[0]["type"] == "Split":
        pattern = before[0]["pattern"].get("Regex", "")
        if before[0].get("behavior") == "Isolated" and pattern in _NAME_OF_SPLIT:
            return _NAME_OF_SPLIT[pattern]
    raise refused("Its tokenizer cuts text into words by a rule that llama.cpp has no name for.")


def _sentencepiece_space(described: dict[str, Any]) -> bool:
    """Whether a blank goes before the text; refuses what is not as SentencePiece does it."""
    normalizers = _steps(described.get("normalizer"), "normalizers")
    cutters = _steps(described.get("pre_tokenizer"), "pretokenizers")
    replaces = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    prepends = {"type": "Prepend", "prepend": _SPACE}
    if described["model"].get("byte_fallback"):
        if not cutters and replaces in normalizers:
            rest = [each for each in normalizers if each != replaces]
            if rest in ([], [prepends]):
                return bool(rest)
        cutter = cutters[0] if len(cutters) == 1 and not normalizers else {}
        whole = cutter.get("type") == "Metaspace" and not cutter.get("split", True)
        if whole and cutter.get("replacement") == _SPACE:
            return cutter.get("prepend_scheme") in ("first", "always")
    raise refused("Its tokenizer is neither byte-level BPE nor SentencePiece BPE.")


def _steps(value: dict[str, Any] | None, of_sequence: str) -> list[dict[str, Any]]:
    if value is None:
        return []
    if value.get("type") == "Sequence":
        return [step for each in value[of_sequence] for step in _steps(each, of_sequence)]
    return [value]


def _tokens(
    described: dict[str, Any], rows: int, *, sentencepiece: bool
) -> tuple[list[str], list[int]]:
    known: dict[int, tuple[str, int]] = {}
    for text, number in described["model"]["vocab"].items():
        kind = _NORMAL
        if sentencepiece and len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            kind = _BYTE
        known[number] = (text, kind)
    for added in described.get("added_tokens", []):
        kind = _CONTROL if added["special"] else _USER_DEFINED
        if added["content"] == described["model"].get("unk_token"):
            kind = _UNKNOWN
        known[added["id"]] = (added["content"], kind)
    if max(known) >= rows:
        raise refused(f"Its tokenizer knows token {max(known)}, and the model only {rows}.")
    # llama.cpp wants a token for every row of the embedding.
    all_rows = [known.get(number, (f"[PAD{number}]", _UNUSED)) for number in range(rows)]
    return [text for text, _ in all_rows], [kind for _, kind in all_rows]


def _scores(tokens: list[str], merges: list[list[str]]) -> list[float]:
    """The earlier a token's merge, the higher its score. What no merge makes comes last."""
    rank: dict[str, int] = {}
    for number, (left, right) in enumerate(merges):
        rank.setdefault(left + right, number)
    return [float(-rank.get(text, len(merges))) for text in tokens]
