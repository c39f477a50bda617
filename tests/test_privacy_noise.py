"""The noise: its distribution, and that no stream is ever used twice."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xeno.privacy.noise import CipherStream, StreamState

STATE = StreamState(bytes(range(32)), 0)


def test_gaussians_have_mean_0_variance_1_and_the_tails_of_a_normal() -> None:
    drawn = CipherStream().gaussian(400_000)
    assert abs(drawn.mean()) < 5 / np.sqrt(400_000)
    assert abs(drawn.var() - 1) < 0.015
    assert abs((np.abs(drawn) > 1.959964).mean() - 0.05) < 0.003
    assert abs((drawn**4).mean() - 3) < 0.15
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_any_number_of_gaussians_can_be_drawn(count: int) -> None:
    assert CipherStream().gaussian(count).shape == (count,)


def test_neighbours_and_later_draws_are_independent() -> None:
    stream = CipherStream()
    first, second = stream.gaussian(200_000), stream.gaussian(200_000)
    bound = 5 / np.sqrt(200_000)
    assert abs(np.corrcoef(first, second)[0, 1]) < bound
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < bound
    half = len(first) // 2
    assert abs(np.corrcoef(first[:half], first[half:])[0, 1]) < 2 * bound


def test_two_streams_never_agree() -> None:
    streams = [CipherStream().uniform(1000) for _ in range(50)]
    assert len({stream.tobytes() for stream in streams}) == 50
    assert len(np.unique(np.concatenate(streams))) == 50_000


def test_every_piece_of_a_stream_has_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = CipherStream(STATE).uniform(300).tobytes()
    monkeypatch.setattr("xeno.privacy.noise._BYTES_PER_KEY", 800)
    stream = CipherStream(STATE)
    drawn = [stream.uniform(100).tobytes() for _ in range(3)]
    assert drawn[0] == whole[:800]
    assert len({*drawn, whole[800:1600], whole[1600:]}) == 5
    assert CipherStream(STATE).uniform(300).tobytes() == b"".join(drawn)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=8), st.integers(0, 40))
def test_a_stream_goes_on_where_its_state_says(drawn: list[int], more: int) -> None:
    stream = CipherStream(STATE)
    for count in drawn:
        stream.uniform(count)
    state = stream.state
    assert state.position == 8 * sum(drawn)
    assert CipherStream(state).uniform(more).tobytes() == stream.uniform(more).tobytes()


def test_a_renewed_stream_has_another_key() -> None:
    stream = CipherStream(STATE)
    stream.uniform(3)
    stream.renew()
    assert stream.state.key != STATE.key
    assert stream.state.position == 0
    assert stream.uniform(4).tobytes() != CipherStream(STATE).uniform(4).tobytes()


def test_a_state_does_not_show_its_key() -> None:
    assert STATE.key.hex() not in repr(STATE)
    assert str(STATE.key) not in repr(STATE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_draws_other_numbers_than_its_parent() -> None:
    stream = CipherStream()
    stream.uniform(1)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, stream.uniform(4).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 32)
    os.close(read)
    os.close(write)
    assert len(theirs) == 32
    assert theirs != stream.uniform(4).tobytes()


def test_uniforms_lie_above_0_and_at_most_1() -> None:
    drawn = CipherStream().uniform(100_000)
    assert drawn.min() > 0
    assert drawn.max() <= 1
    assert abs(drawn.mean() - 0.5) < 0.01


def test_sampling_takes_each_with_its_chance_and_all_at_1() -> None:
    stream = CipherStream()
    assert stream.poisson_sample(7, 1.0) == list(range(7))
    sizes = [len(stream.poisson_sample(50, 0.1)) for _ in range(4000)]
    assert abs(np.mean(sizes) - 5) < 0.2
    assert abs(np.var(sizes) - 4.5) < 0.6
    assert min(len(stream.poisson_sample(3, 0.01)) for _ in range(100)) == 0
