"""Which job goes next, decided without a database: priority, fairness, ageing, one per profile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xeno.jobs.job import PRIORITIES, Job, Limits
from xeno.jobs.machine import MachineSettings
from xeno.jobs.policy import (
    HOUR,
    Situation,
    Worker,
    decayed,
    hindrance,
    level,
    ordered,
    retry_wait,
    startable,
)

NOW = 1_000_000.0
EVERYBODY = frozenset({"ann", "bob", "cleo"})
ANYWHERE = (Worker("w", EVERYBODY),)


def job(name: str, profile: str = "ann", priority: Any = "medium", **values: Any) -> Job:
    made = Job(name, profile, f"run of {name}", priority, 0, "waiting", Limits(), NOW, NOW)
    return replace(made, **values)


def situation(*jobs: Job, usage: dict[str, float] | None = None, **values: Any) -> Situation:
    values = {"workers": ANYWHERE, "machine": MachineSettings(), "now": NOW, **values}
    return Situation(jobs=jobs, usage=usage or {}, **values)


def names(jobs: list[Job]) -> list[str]:
    return [each.id for each in jobs]


def test_the_more_urgent_goes_first_whoever_has_used_the_machine_less() -> None:
    found = situation(job("a", "ann", "low"), job("b", "bob", "high"), usage={"bob": 1e6})
    assert names(ordered(found)) == ["b", "a"]


def test_within_one_priority_who_has_used_least_goes_first_then_the_users_own_order() -> None:
    jobs = (job("b1", "bob", position=1), job("a2", position=3), job("a1", position=2))
    assert names(ordered(situation(*jobs, usage={"bob": 60.0}))) == ["a1", "a2", "b1"]
    assert names(ordered(situation(*jobs, usage={"ann": 60.0}))) == ["b1", "a1", "a2"]


def test_a_low_job_that_has_waited_long_enough_counts_as_high() -> None:
    machine = MachineSettings(ageing_hours=2)
    old = job("old", priority="low", since=NOW - 4 * HOUR)
    assert level(job("fresh", priority="low"), machine, NOW) == 2
    assert level(replace(old, since=NOW - 2 * HOUR), machine, NOW) == 1
    assert level(old, machine, NOW) == level(job("high", priority="high"), machine, NOW)
    assert level(replace(old, since=NOW - 400 * HOUR), machine, NOW) == 0


def test_a_profile_has_one_run_and_the_machine_no_more_than_its_limit() -> None:
    jobs = [job(f"{profile}{n}", profile) for profile in ("ann", "bob", "cleo") for n in range(3)]
    wide = situation(*jobs, machine=MachineSettings(concurrency=8))
    assert sorted(each.profile for each in startable(wide)) == ["ann", "bob", "cleo"]
    running = replace(jobs[0], state="running", worker="w")
    two = situation(running, *jobs[1:], machine=MachineSettings(concurrency=2))
    assert names(startable(two)) == ["bob0"]
    assert startable(situation(running, *jobs[1:])) == []


def test_the_job_of_a_locked_profile_is_passed_over() -> None:
    here = (Worker("w", frozenset({"bob"})),)
    found = situation(job("a"), job("b", "bob"), workers=here)
    assert names(startable(found)) == ["b"]
    assert hindrance(found.jobs[0], found) == "locked"


def test_a_reserved_job_is_only_its_workers_while_that_one_is_there() -> None:
    mine = job("mine", reserved="me")
    there = (*ANYWHERE, Worker("me", job="mine"))
    (worker, me) = there
    present = {"w", "me"}
    assert me.takes(mine, present)
    assert not worker.takes(mine, present)
    assert worker.takes(mine, {"w"})


@pytest.mark.parametrize(
    ("expected", "values", "others"),
    [
        ("later", {"not_before": NOW + 1}, []),
        ("profile", {}, [job("x", state="running", worker="w")]),
        ("limit", {}, [job("x", "bob", state="running", worker="w")]),
        ("behind", {"priority": "low"}, [job("x", "bob", "high")]),
        ("", {}, []),
    ],
)
def test_every_waiting_job_says_what_it_waits_for(
    expected: str, values: dict[str, Any], others: list[Job]
) -> None:
    waiting = replace(job("a"), **values)
    assert hindrance(waiting, situation(waiting, *others)) == expected


def test_the_wait_doubles_up_to_its_ceiling() -> None:
    limits = Limits(wait=30, longest_wait=100)
    assert [retry_wait(limits, failures) for failures in (1, 2, 3, 4)] == [30, 60, 100, 100]
    assert retry_wait(limits, 5000) == 100


def test_machine_time_of_long_ago_counts_less() -> None:
    machine = MachineSettings(fairness_hours=10)
    assert decayed(100, 0, machine) == 100
    assert decayed(100, 10 * HOUR, machine) == pytest.approx(50)
    assert decayed(100, -5, machine) == 100, "a clock that was set back gives nothing extra"


_JOBS = st.lists(
    st.builds(
        lambda number, profile, priority, waited, running: job(
            str(number),
            profile,
            priority,
            position=number,
            since=NOW - waited,
            state="running" if running else "waiting",
        ),
        st.integers(0, 10**6),
        st.sampled_from(sorted(EVERYBODY)),
        st.sampled_from(PRIORITIES),
        st.floats(0, 100 * HOUR),
        st.booleans(),
    ),
    max_size=12,
    unique_by=lambda each: each.id,
)


@given(_JOBS, st.integers(1, 4), st.sets(st.sampled_from(sorted(EVERYBODY))))
def test_whatever_waits_what_may_start_keeps_every_rule(
    jobs: list[Job], concurrency: int, unlocked: set[str]
) -> None:
    machine = MachineSettings(concurrency=concurrency)
    found = situation(*jobs, machine=machine, workers=(Worker("w", frozenset(unlocked)),))
    running = [each for each in jobs if each.state == "running"]
    chosen = startable(found)
    profiles = [each.profile for each in (*chosen, *running)]
    assert len(chosen) <= max(concurrency - len(running), 0)
    assert all(profiles.count(each.profile) == 1 for each in chosen)
    assert {each.profile for each in chosen} <= unlocked
    # Nobody is passed over for another that is less urgent.
    for each in jobs:
        if each.state == "waiting" and hindrance(each, found) == "behind":
            rivals = [other for other in chosen if other.profile == each.profile] or chosen
            assert all(level(o, machine, NOW) <= level(each, machine, NOW) for o in rivals)
