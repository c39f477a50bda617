"""The engine: the same words for the same question, with and without adapters, and a clean stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import change_json, make_llama, make_model

from xeno.errors import BaseModelError, DamagedDataError, InvalidValueError
from xeno.events import ChatMessage, Sampling, ScorePair
from xeno.inference.conversation import fit
from xeno.inference.decoding import Sampler, StopStrings, TextStream, likeliest
from xeno.inference.engine import BLOCK, Engine
from xeno.models.base import inspect_base
from xeno.models.chat import encode_exchange, encode_prompt
from xeno.models.starter import starter_folder
from xeno.versions.adapter import AdapterConfig, tensor_names
from xeno.versions.content import content_address

CONFIG = AdapterConfig(rank=4, alpha=8.0, target_modules=("q_proj", "v_proj"))
GREEDY = Sampling(max_tokens=24)


def user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=text)


def assistant(text: str) -> ChatMessage:
    return ChatMessage(role="assistant", content=text)


SYSTEM = ChatMessage(role="system", content="Be brief.")
QUESTION = [SYSTEM, user("What is tea, and how is it made?")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def shared_engine(folder: Path) -> Engine:
    return Engine(inspect_base(folder))


@pytest.fixture
def engine(shared_engine: Engine) -> Engine:
    shared_engine.deactivate()
    shared_engine.forget()
    return shared_engine


def adapter_for(engine: Engine, seed: int = 0) -> tuple[str, dict[str, torch.Tensor]]:
    """A random adapter on every q_proj and v_proj, large enough to change what is said."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for path, module in engine.model.named_modules():
        if path.endswith(CONFIG.target_modules):
            d_out, d_in = module.weight.shape
            down, up = tensor_names(path)
            tensors[down] = torch.randn(CONFIG.rank, d_in, generator=generator)
            tensors[up] = 0.3 * torch.randn(d_out, CONFIG.rank, generator=generator)
    return content_address(tensors, CONFIG, engine.base.base_hash), tensors


# The same question, the same reply ------------------------------------------------------------


def test_greedy_replies_are_those_of_the_library(engine: Engine) -> None:
    ids = encode_prompt(engine.tokenizer, QUESTION)
    expected = engine.model.generate(
        torch.tensor([ids]), max_new_tokens=24, do_sample=False, pad_token_id=1
    )[0, len(ids) :]
    reply = engine.generate(QUESTION, GREEDY)
    assert reply.text == engine.tokenizer.decode(expected, skip_special_tokens=True)
    assert reply.prompt_tokens == len(ids)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_after_an_adapter_the_base_is_the_base_to_the_last_bit(folder: Path, dtype: str) -> None:
    engine = Engine(inspect_base(folder), dtype=dtype)
    before = {name: each.clone() for name, each in engine.model.state_dict().items()}
    first = engine.generate(QUESTION, GREEDY).text
    replies = set()
    for seed in (1, 2):
        address, tensors = adapter_for(engine, seed)
        engine.activate(address, tensors, CONFIG)
        assert engine.active_address == address
        replies.add(engine.generate(QUESTION, GREEDY).text)
    engine.deactivate()
    assert engine.active_address is None
    assert len(replies | {first}) == 3, "the adapters did not change the replies"
    assert engine.generate(QUESTION, GREEDY).text == first
    for name, each in engine.model.state_dict().items():
        assert torch.equal(each, before[name]), name


def test_a_version_gives_the_same_reply_whenever_it_is_put_in(engine: Engine) -> None:
    address, tensors = adapter_for(engine)
    other, other_tensors = adapter_for(engine, 5)
    engine.activate(address, tensors, CONFIG)
    first = engine.generate(QUESTION, GREEDY).text
    engine.activate(other, other_tensors, CONFIG)
    engine.generate(QUESTION, GREEDY)
    engine.activate(address, tensors, CONFIG)
    assert engine.generate(QUESTION, GREEDY).text == first


def test_a_merged_adapter_is_what_peft_computes(engine: Engine, tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    address, tensors = adapter_for(engine)
    model = AutoModelForCausalLM.from_pretrained(str(engine.base.folder), dtype=torch.float32)
    settings = LoraConfig(r=4, lora_alpha=8, target_modules=list(CONFIG.target_modules))
    get_peft_model(model, settings).save_pretrained(str(tmp_path))
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    plain = AutoModelForCausalLM.from_pretrained(str(engine.base.folder), dtype=torch.float32)
    adapted = PeftModel.from_pretrained(plain, str(tmp_path)).eval()
    ids = torch.tensor([encode_prompt(engine.tokenizer, QUESTION)])
    engine.activate(address, tensors, CONFIG)
    with torch.no_grad():
        torch.testing.assert_close(
            engine.model(ids).logits, adapted(ids).logits, atol=1e-4, rtol=1e-4
        )


def test_an_adapter_of_another_shape_is_refused_and_the_base_answers(engine: Engine) -> None:
    first = engine.generate(QUESTION, GREEDY).text
    address, tensors = adapter_for(engine)
    engine.activate(address, tensors, CONFIG)
    wider = {name: torch.cat([each, each], dim=1) for name, each in tensors.items()}
    with pytest.raises(InvalidValueError, match="does not fit"):
        engine.activate("0" * 64, wider, CONFIG)
    elsewhere = {name.replace("layers.0", "layers.9"): each for name, each in tensors.items()}
    with pytest.raises(InvalidValueError, match=r"no module .*layers\.9"):
        engine.activate("1" * 64, elsewhere, CONFIG)
    with pytest.raises(DamagedDataError, match="is missing"):
        engine.activate("2" * 64, dict(list(tensors.items())[1:]), CONFIG)
    assert engine.active_address is None
    assert engine.generate(QUESTION, GREEDY).text == first


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def engine_of_each_format(request: pytest.FixtureRequest, folder: Path) -> Engine:
    return Engine(inspect_base(folder), dtype=request.param)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lengths=st.lists(st.integers(1, 150), min_size=2, max_size=4))
def test_what_is_kept_between_turns_never_changes_a_reply(
    engine_of_each_format: Engine, lengths: list[int]
) -> None:
    engine = engine_of_each_format
    talk: list[ChatMessage] = [SYSTEM]
    for length in lengths:
        talk.append(user("abcdefghij"[length % 10] * length))
        kept = engine.generate(talk, GREEDY)
        engine.forget()
        assert engine.generate(talk, GREEDY).text == kept.text
        talk.append(assistant(kept.text))


def test_a_second_turn_computes_only_what_was_not_computed(engine: Engine) -> None:
    talk = [user("a" * 300)]
    first = engine.generate(talk, GREEDY)
    assert first.reused_tokens == 0
    second = engine.generate([*talk, assistant(first.text), user("more")], GREEDY)
    assert second.reused_tokens >= 3 * BLOCK


def test_reading_ahead_leaves_less_to_read_and_the_reply_as_it_is(engine: Engine) -> None:
    talk = [user("a" * 100)]
    first = engine.generate(talk, Sampling(max_tokens=100))
    more = [*talk, assistant(first.text), user("more")]
    wanted = engine.generate(more, GREEDY)
    engine.forget()
    engine.generate(talk, Sampling(max_tokens=100))
    engine.read_ahead(more[:2])
    found = engine.generate(more, GREEDY)
    assert found.text == wanted.text
    assert found.reused_tokens >= wanted.reused_tokens + BLOCK
    assert found.prompt_tokens - found.reused_tokens < 2 * BLOCK


def test_reading_ahead_stops_when_somebody_waits(engine: Engine) -> None:
    talk = [user("a" * 300)]
    engine.read_ahead(talk, stopped=after(3))
    assert engine.generate(talk, GREEDY).reused_tokens == BLOCK


@pytest.mark.parametrize("kind", ["mistral", "gpt2"])
def test_other_architectures_answer_as_in_the_library(tmp_path: Path, kind: str) -> None:
    from transformers import GPT2Config, MistralConfig

    configs: dict[str, Any] = {
        "mistral": lambda: MistralConfig(
            vocab_size=262,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            sliding_window=40,
            max_position_embeddings=512,
            initializer_range=0.3,
            bos_token_id=0,
            eos_token_id=1,
        ),
        "gpt2": lambda: GPT2Config(
            vocab_size=262,
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=256,
            initializer_range=0.3,
            bos_token_id=0,
            eos_token_id=1,
        ),
    }
    engine = Engine(inspect_base(make_model(tmp_path / kind, configs[kind]())))
    talk = [user("x" * 100), assistant("yes"), user("And then?")]
    for _ in range(2):
        ids = encode_prompt(engine.tokenizer, talk)
        expected = engine.model.generate(
            torch.tensor([ids]), max_new_tokens=12, do_sample=False, pad_token_id=1
        )[0, len(ids) :]
        reply = engine.generate(talk, Sampling(max_tokens=12))
        assert reply.text == engine.tokenizer.decode(expected, skip_special_tokens=True)
        talk += [assistant(reply.text), user("Go on.")]


def test_an_adapter_fits_weights_that_are_stored_turned(tmp_path: Path) -> None:
    from transformers import GPT2Config

    config = GPT2Config(vocab_size=262, n_embd=32, n_layer=1, n_head=4, n_positions=256)
    engine = Engine(inspect_base(make_model(tmp_path / "gpt2", config)))
    adapter = AdapterConfig(rank=2, alpha=2.0, target_modules=("c_attn",))
    down, up = tensor_names("transformer.h.0.attn.c_attn")
    tensors = {down: torch.randn(2, 32), up: torch.randn(96, 2)}
    weight = engine.model.transformer.h[0].attn.c_attn.weight
    before = weight.clone()
    engine.activate("0" * 64, tensors, adapter)
    torch.testing.assert_close(weight - before, (tensors[up] @ tensors[down]).T)


# Streaming, ending, stopping ------------------------------------------------------------------


def test_the_streamed_pieces_are_the_reply(engine: Engine) -> None:
    pieces: list[str] = []
    reply = engine.generate(QUESTION, Sampling(max_tokens=60), on_text=pieces.append)
    assert "".join(pieces) == reply.text
    assert len(pieces) > 1
    assert all(pieces)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(st.characters(codec="utf-8"), max_size=30))
def test_no_character_is_shown_in_halves(shared_engine: Engine, text: str) -> None:
    tokenizer = shared_engine.tokenizer
    stream = TextStream(tokenizer)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces = [stream.push(each) for each in ids]
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)
    assert "".join([*pieces, stream.flush()]) == tokenizer.decode(ids, skip_special_tokens=True)


def test_the_text_of_a_sentence_piece_tokenizer_keeps_its_blanks(shared_models: Path) -> None:
    from xeno.models.chat import load_tokenizer

    tokenizer = load_tokenizer(inspect_base(shared_models / "stories260K"))
    ids = tokenizer("Once upon a time, there was a dog.", add_special_tokens=False)["input_ids"]
    stream = TextStream(tokenizer)
    text = "".join([*(stream.push(each) for each in ids), stream.flush()])
    assert text.strip() == "Once upon a time, there was a dog."


def test_a_reply_ends_at_the_end_of_a_turn(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "ending")
    change_json(folder / "generation_config.json", eos_token_id=list(range(262)))
    reply = Engine(inspect_base(folder)).generate(QUESTION, GREEDY)
    assert (reply.reason, reply.text, reply.reply_tokens) == ("end", "", 0)


def test_a_reply_that_is_cut_off_says_so(engine: Engine) -> None:
    reply = engine.generate(QUESTION, Sampling(max_tokens=5))
    assert (reply.reason, reply.reply_tokens) == ("length", 5)
    assert reply.first_token_seconds > 0
    assert reply.tokens_per_second > 0


def after(calls: int) -> Callable[[], bool]:
    """Stops at the call after so many."""
    asked = iter(range(10**6))
    return lambda: next(asked) >= calls


def test_a_stop_takes_effect_between_two_tokens(engine: Engine) -> None:
    blocks = -(-len(encode_prompt(engine.tokenizer, QUESTION)) // BLOCK)
    layers = engine.model.config.num_hidden_layers  # asked before each, while it reads
    whole = engine.generate(QUESTION, GREEDY)
    engine.forget()
    reply = engine.generate(QUESTION, GREEDY, stopped=after(blocks * layers + 3))
    assert (reply.reason, reply.reply_tokens) == ("stopped", 4)
    assert whole.text.startswith(reply.text.rstrip("\ufffd"))
    assert engine.generate(QUESTION, GREEDY).text == whole.text


def test_a_stop_takes_effect_while_a_long_prompt_is_read(engine: Engine) -> None:
    long = [user("z" * 400)]
    reply = engine.generate(long, GREEDY, stopped=after(3))
    assert (reply.reason, reply.text, reply.reply_tokens) == ("stopped", "", 0)
    resumed = engine.generate(long, GREEDY).text
    engine.forget()
    assert engine.generate(long, GREEDY).text == resumed


def test_an_error_of_the_listener_leaves_the_engine_usable(engine: Engine) -> None:
    whole = engine.generate(QUESTION, GREEDY).text

    def fail(_: str) -> None:
        raise ConnectionError("the window is gone")

    with pytest.raises(ConnectionError):
        engine.generate(QUESTION, GREEDY, on_text=fail)
    assert engine.generate(QUESTION, GREEDY).text == whole


def test_weights_that_are_not_numbers_are_an_error_and_not_a_reply(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_llama(tmp_path / "nan")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][:] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DamagedDataError, match="no usable numbers"):
        Engine(inspect_base(folder))


def test_a_tokenizer_with_more_words_than_the_model_is_refused(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "narrow", vocab_size=100)
    with pytest.raises(BaseModelError, match="tokenizer"):
        Engine(inspect_base(folder))


def test_a_reply_ends_where_a_stop_string_would_begin(engine: Engine) -> None:
    whole = engine.generate(QUESTION, Sampling(max_tokens=60)).text
    stop = whole[20:23]
    pieces: list[str] = []
    reply = engine.generate(
        QUESTION, Sampling(max_tokens=60, stop=("never said", stop)), on_text=pieces.append
    )
    assert reply.reason == "end"
    assert reply.text == "".join(pieces) == whole[: whole.index(stop)]
    assert engine.generate(QUESTION, Sampling(max_tokens=60)).text == whole


@settings(max_examples=200, deadline=None)
@given(
    pieces=st.lists(st.text("abc", max_size=4), max_size=12),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
)
def test_stop_strings_cut_a_text_however_it_comes(pieces: list[str], stops: list[str]) -> None:
    ends = StopStrings(stops)
    shown = "".join(ends.push(piece) for piece in pieces) + ends.flush()
    text = "".join(pieces)
    whole = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    assert shown == text[: min(whole, default=(0, len(text)))[1]]
    assert ends.found == bool(whole)


# Sampling -------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_reply_again_and_another_seed_another(engine: Engine) -> None:
    def drawn(seed: int) -> str:
        sampling = Sampling(max_tokens=24, temperature=1.5, top_p=0.95, seed=seed)
        return engine.generate(QUESTION, sampling).text

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(4)}) > 1


def test_a_tiny_nucleus_is_greedy(engine: Engine) -> None:
    sampling = Sampling(max_tokens=24, temperature=0.7, top_p=1e-6, seed=3)
    assert engine.generate(QUESTION, sampling).text == engine.generate(QUESTION, GREEDY).text


def test_one_likeliest_word_is_greedy(engine: Engine) -> None:
    sampling = Sampling(max_tokens=24, temperature=1.5, top_k=1, seed=3)
    assert engine.generate(QUESTION, sampling).text == engine.generate(QUESTION, GREEDY).text


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999), top_k=st.integers(0, 800), top_p=st.floats(0.01, 1), size=st.just(900)
)
def test_the_likeliest_words_are_those_of_the_definition(
    seed: int, top_k: int, top_p: float, size: int
) -> None:
    odds = torch.randn(size, generator=torch.Generator().manual_seed(seed)).softmax(-1)
    found, tokens = likeliest(odds, top_k, top_p)
    assert torch.equal(odds[tokens], found)
    ordered = odds.sort(descending=True).values[: top_k or size]
    assert torch.equal(found, ordered[: len(found)])
    bound = top_p * (float(ordered.sum()) if top_k else 1.0)
    assert len(found) == len(ordered) or float(found.sum()) >= bound - 1e-5
    assert len(found) == 1 or float(found[:-1].sum()) < bound + 1e-5


def test_a_repetition_penalty_makes_what_was_said_less_likely(engine: Engine) -> None:
    sampler = Sampler(Sampling(repetition_penalty=2.0))
    logits = torch.tensor([3.0, 2.0, 1.8, -1.0])
    assert [sampler.pick(logits) for _ in range(3)] == [0, 1, 2]
    assert sampler.pick(logits) == 0  # 3/2, 2/2, 1.8/2, -1
    assert Sampler(Sampling(repetition_penalty=2.0)).pick(logits) == 0  # a reply of its own
    below = Sampler(Sampling(repetition_penalty=1.5))
    assert [below.pick(torch.tensor([-1.0, -1.2])) for _ in range(2)] == [0, 1]  # -1.5, -1.2
    plain = engine.generate(QUESTION, Sampling(max_tokens=60)).text
    varied = engine.generate(QUESTION, Sampling(max_tokens=60, repetition_penalty=2.0)).text
    assert varied != plain


# Long conversations ---------------------------------------------------------------------------


def test_a_long_conversation_loses_its_oldest_turns_and_keeps_the_rest(engine: Engine) -> None:
    talk = [SYSTEM]
    for number in range(20):
        talk += [user(f"question {number} " + "q" * 20), assistant("a" * 30)]
    talk.append(user("the last question"))
    reply = engine.generate(talk, Sampling(max_tokens=64))
    assert reply.dropped_turns > 0
    assert reply.dropped_turns % 2 == 0
    assert reply.cut_tokens == 0
    fitted = fit(engine.tokenizer, talk, 512 - 64)
    text = engine.tokenizer.decode(fitted.ids)
    assert len(fitted.ids) <= 512 - 64
    assert text.startswith("<s><|system|>Be brief.<|end|>\n<|user|>question ")
    assert text.endswith("<|user|>the last question<|end|>\n<|assistant|>")
    one_less = [SYSTEM, *talk[1 + fitted.dropped_turns - 2 :]]
    assert len(encode_prompt(engine.tokenizer, one_less)) > 512 - 64, "more was dropped than needed"


def test_a_single_turn_that_is_too_long_loses_its_beginning(engine: Engine) -> None:
    talk = [SYSTEM, user("start " + "é" * 2000 + " end of it")]
    reply = engine.generate(talk, Sampling(max_tokens=32))
    assert reply.cut_tokens > 3000
    assert reply.dropped_turns == 0
    fitted = fit(engine.tokenizer, talk, 480)
    text = engine.tokenizer.decode(fitted.ids)
    assert len(fitted.ids) <= 480
    assert text.startswith("<s><|system|>Be brief.<|end|>\n<|user|>é")
    assert "end of it" in text


def test_a_system_prompt_that_is_too_long_is_cut_last(engine: Engine) -> None:
    talk = [ChatMessage(role="system", content="s" * 900), user("short question")]
    fitted = fit(engine.tokenizer, talk, 300)
    assert len(fitted.ids) <= 300
    assert "short question" in engine.tokenizer.decode(fitted.ids)


def test_a_reply_never_runs_past_the_context(engine: Engine) -> None:
    reply = engine.generate([user("w" * 450)], Sampling(max_tokens=4096))
    assert reply.prompt_tokens + reply.reply_tokens <= 512


@pytest.mark.parametrize("talk", [[], [SYSTEM], [assistant("Hello")]])
def test_without_a_question_there_is_nothing_to_answer(
    engine: Engine, talk: list[ChatMessage]
) -> None:
    with pytest.raises(InvalidValueError, match="nothing to answer"):
        engine.generate(talk, GREEDY)


# Scores ---------------------------------------------------------------------------------------


def test_a_score_is_the_mean_log_probability_of_the_reply_and_its_end(engine: Engine) -> None:
    pair = ScorePair(prompt=tuple(QUESTION), chosen="A drink.", rejected="No.")
    (score,) = engine.score([pair])
    for reply, value in (("A drink.", score.chosen), ("No.", score.rejected)):
        prompt, completion = encode_exchange(engine.tokenizer, QUESTION, reply)
        with torch.no_grad():
            logits = engine.model(torch.tensor([prompt + completion])).logits[0].double()
        expected = [
            float(logits[len(prompt) + place - 1].log_softmax(-1)[token])
            for place, token in enumerate(completion)
        ]
        assert value == pytest.approx(sum(expected) / len(expected), abs=1e-5)


def test_scores_do_not_disturb_a_conversation(engine: Engine) -> None:
    first = engine.generate(QUESTION, GREEDY).text
    engine.score([ScorePair(prompt=tuple(QUESTION), chosen="yes", rejected="no " * 400)])
    assert engine.generate(QUESTION, GREEDY).text == first


# The model that ships with XENO ---------------------------------------------------------------


def test_the_starter_speaks_and_is_itself_again_after_a_version() -> None:
    try:
        folder = starter_folder()
    except BaseModelError:
        pytest.skip("needs the starter model")
    engine = Engine(inspect_base(folder))
    question = [user("What is a password manager?")]
    before = engine.generate(question, Sampling(max_tokens=80))
    assert before.text.strip()
    address, tensors = adapter_for(engine)
    engine.activate(address, tensors, CONFIG)
    assert engine.generate(question, Sampling(max_tokens=80)).text != before.text
    engine.deactivate()
    assert engine.generate(question, Sampling(max_tokens=80)).text == before.text
