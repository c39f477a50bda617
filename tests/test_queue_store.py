"""The queue's file, with real SQLite and a clock of the test's own."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from xeno.errors import DamagedDataError, FutureDataError, InvalidValueError
from xeno.jobs.job import GRACE_SECONDS, LEASE_SECONDS, Limits
from xeno.jobs.leases import Leases
from xeno.jobs.policy import HOUR, hindrance
from xeno.jobs.process import Identity
from xeno.jobs.store import LAPSE_SECONDS, PRESENCE_SECONDS, Queue
from xeno.paths import Home
from xeno.store.processes import birth, gone


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(home: Home, clock: Clock) -> Iterator[Queue]:
    with Queue(home, clock=clock) as opened:
        yield opened


@pytest.fixture
def leases(queue: Queue) -> Leases:
    return Leases(queue)


def test_what_is_added_is_there_after_a_restart(home: Home, queue: Queue) -> None:
    added = queue.add("default", "r1", "low", Limits(5, 1.0, 2.0))
    queue.close()
    with Queue(home) as again:
        assert again.jobs() == [added]
        assert again.get(added.id[:6]).limits == Limits(5, 1.0, 2.0)
        assert again.of_run("r1") == added


def test_the_file_is_its_owners_and_holds_no_more_than_numbers_and_names(
    home: Home, queue: Queue, leases: Leases
) -> None:
    queue.add("ann", "the-run")
    leases.claim(["ann"])
    for file in home.folder.glob("queue.db*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    columns = {row["name"] for row in queue.file.read("PRAGMA table_info(jobs)")}
    assert not columns & {"plan", "base", "text", "prompt"}


def test_the_order_can_be_changed_among_ones_own(queue: Queue) -> None:
    first, second, third = (queue.add("ann", f"r{n}").id for n in range(3))
    other = queue.add("bob", "r9").id

    def order() -> list[str]:
        return [job.id for job in queue.jobs() if job.profile == "ann"]

    queue.move(third, "up")
    assert order() == [first, third, second]
    queue.move(first, "last")
    assert order() == [third, second, first]
    queue.move(first, "first")
    assert order() == [first, third, second]
    queue.move(first, "down")
    assert order() == [third, first, second]
    with pytest.raises(InvalidValueError, match="first already"):
        queue.move(third, "up")
    with pytest.raises(InvalidValueError, match="last already"):
        queue.move(other, "down")


def test_a_job_with_another_priority_goes_behind_its_new_peers(queue: Queue) -> None:
    low, high = queue.add("ann", "r1", "low"), queue.add("ann", "r2", "high")
    queue.set_priority(low.id, "high")
    assert [job.id for job in queue.jobs()] == [high.id, low.id]
    before = queue.get(high.id)
    assert queue.set_priority(high.id, "high") == before


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_is_asked(
    queue: Queue, leases: Leases
) -> None:
    waiting, running = queue.add("ann", "r1", "low"), queue.add("ann", "r2", "high")
    taken = leases.claim(["ann"])
    assert taken is not None
    assert taken.id == running.id
    assert queue.cancel(waiting.id).state == "discarded"
    queue.cancel(running.id, keep=True)
    renewed = leases.renew(taken)
    assert renewed is not None
    assert renewed.cancel == "keep"
    queue.cancel(running.id)
    queue.cancel(running.id, keep=True)
    assert queue.get(running.id).cancel == "discard", "what is being discarded cannot be kept"
    with pytest.raises(InvalidValueError, match="is discarded"):
        queue.cancel(waiting.id)


def test_only_a_waiting_job_is_moved_or_made_urgent(queue: Queue, leases: Leases) -> None:
    job = queue.add("ann", "r1")
    leases.claim(["ann"])
    for change in (lambda: queue.move(job.id, "up"), lambda: queue.set_priority(job.id, "high")):
        with pytest.raises(InvalidValueError, match="is running"):
            change()


def test_an_id_that_fits_no_job_or_several_is_refused(queue: Queue) -> None:
    jobs = [queue.add("ann", f"r{n}") for n in range(17)]  # two of them begin alike
    letters = [job.id[0] for job in jobs]
    double = next(letter for letter in letters if letters.count(letter) > 1)
    for wrong in (double, "nothing", ""):
        with pytest.raises(InvalidValueError, match="no single job"):
            queue.get(wrong)


def test_a_lease_is_kept_by_renewing_and_lapses_without(
    home: Home, queue: Queue, clock: Clock, leases: Leases
) -> None:
    job = queue.add("ann", "r1")
    taken = leases.claim(["ann"])
    assert taken is not None
    other = Leases(queue)
    for _ in range(5):
        clock.now += LEASE_SECONDS - 1
        assert leases.renew(taken) is not None
        assert other.claim(["ann"]) is None
    clock.now += LEASE_SECONDS + 1
    assert other.claim(["ann"]) is None, "the worker lives, and may have slept with the computer"
    clock.now += GRACE_SECONDS + 1
    assert other.claim(["ann"]) is None, "there is time to cancel what took its program down"
    assert queue.get(job.id).reason == "lapsed"
    clock.now += LAPSE_SECONDS
    again = other.claim(["ann"])
    assert again is not None
    assert (again.id, again.tries, again.failures) == (job.id, 2, 0)
    assert leases.renew(taken) is None
    assert not leases.finish(taken, "completed")
    assert leases.give_back(taken, "crashed", failed=True) is None
    assert other.finish(again, "completed")


def test_a_lease_that_ran_out_in_the_computers_sleep_is_renewed(
    queue: Queue, clock: Clock, leases: Leases
) -> None:
    queue.add("ann", "r1")
    taken = leases.claim(["ann"])
    assert taken is not None
    clock.now += 8 * HOUR
    renewed = leases.renew(taken)
    assert renewed is not None
    assert renewed.used == LEASE_SECONDS, "the night does not count as time of the run"


def test_after_the_computers_sleep_a_worker_that_wakes_later_keeps_its_job(
    queue: Queue, clock: Clock, leases: Leases
) -> None:
    queue.add("ann", "r1")
    taken = leases.claim(["ann"])
    assert taken is not None
    other = Leases(queue)
    for _ in range(3):  # nights
        clock.now += 8 * HOUR
        assert other.claim(["ann"]) is None
        clock.now += GRACE_SECONDS - 1
        assert other.claim(["ann"]) is None
        assert leases.renew(taken) is not None
    assert queue.jobs()[0].state == "running"


def test_the_job_of_a_worker_that_has_ended_is_found_at_once(
    home: Home, queue: Queue, clock: Clock, leases: Leases
) -> None:
    queue.add("ann", "r1")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        born = birth(process.pid)
        assert born is not None
        dead = Leases(queue, Identity(process.pid, born))
        assert dead.claim(["ann"]) is not None
        assert leases.claim(["ann"]) is None
        assert queue.jobs()[0].state == "running"
        process.kill()
    clock.now += 1
    leases.claim(["ann"])
    assert queue.jobs()[0].state == "waiting"


def test_a_process_is_known_by_its_birth_and_of_other_worlds_nothing_is_certain() -> None:
    born = birth(os.getpid())
    assert born is not None
    assert not gone(os.getpid(), born)
    world, _, tick = born.partition(":")
    assert gone(os.getpid(), f"{world}:{float(tick) + 1:g}"), "another with the same number"
    assert not gone(os.getpid(), f"another boot:{tick}")


def test_a_failed_try_waits_longer_each_time_until_there_were_enough(
    queue: Queue, clock: Clock, leases: Leases
) -> None:
    job = queue.add("ann", "r1", limits=Limits(retries=2, wait=10, longest_wait=15))
    waits = []
    while (taken := leases.claim(["ann"])) is not None:
        back = leases.give_back(taken, "crashed", failed=True, run_id=f"r{taken.tries + 1}")
        assert back is not None
        waits.append(back.not_before - clock.now)
        clock.now = max(clock.now, back.not_before)
    ended = queue.get(job.id)
    assert waits[:2] == [10, 15]
    assert (ended.state, ended.reason, ended.tries) == ("failed", "crashed", 3)
    assert ended.run_id == "r3"


def test_a_job_that_is_put_back_unfailed_keeps_its_tries(
    queue: Queue, clock: Clock, leases: Leases
) -> None:
    queue.add("ann", "r1", limits=Limits(retries=0))
    for _ in range(3):
        taken = leases.claim(["ann"])
        assert taken is not None
        assert leases.give_back(taken, "busy", failed=False, wait=5) is not None
        assert leases.claim(["ann"]) is None
        clock.now += 5


def test_a_reserved_job_waits_for_its_worker_until_that_one_leaves(
    queue: Queue, clock: Clock, leases: Leases
) -> None:
    window, mine = Leases(queue), leases
    job = queue.add("ann", "r1", "high", reserved=mine.worker)
    assert window.claim(["ann"]) is None
    mine.leave()
    taken = window.claim(["ann"])
    assert taken is not None
    window.finish(taken, "completed")
    job = queue.add("ann", "r2", "high", reserved=mine.worker)
    clock.now += PRESENCE_SECONDS - 1
    assert window.claim(["ann"]) is None
    claimed = mine.claim(job=job.id)
    assert claimed is not None
    assert claimed.run_id == "r2"


def test_a_worker_that_waits_for_its_own_job_is_not_stopped_by_others_of_the_profile(
    queue: Queue, leases: Leases
) -> None:
    queue.add("ann", "older", "high")
    mine = queue.add("ann", "mine", "high", reserved=leases.worker)
    taken = leases.claim(job=mine.id)
    assert taken is not None
    assert taken.run_id == "mine"


def test_who_has_used_the_machine_least_goes_first_and_it_is_forgotten_in_time(
    queue: Queue, clock: Clock, leases: Leases
) -> None:
    everybody = ["ann", "bob"]
    queue.add("ann", "a1")
    taken = leases.claim(everybody)
    assert taken is not None
    clock.now += 50
    leases.finish(taken, "completed")
    assert queue.usage() == {"ann": 50.0}
    queue.add("ann", "a2")
    queue.add("bob", "b1")
    second = leases.claim(everybody)
    assert second is not None
    assert second.profile == "bob"
    clock.now += 24 * HOUR
    assert queue.usage()["ann"] == pytest.approx(25.0)


def test_settings_of_the_machine_are_checked_and_kept(home: Home, queue: Queue) -> None:
    assert queue.machine().concurrency == 1
    queue.set_machine(concurrency=3, ageing_hours=2.5)
    with Queue(home) as again:
        assert (again.machine().concurrency, again.machine().ageing_hours) == (3, 2.5)
    for wrong in ({"concurrency": 0}, {"nonsense": 1}):
        with pytest.raises(InvalidValueError, match=next(iter(wrong))):
            queue.set_machine(**wrong)
    assert queue.machine().concurrency == 3


def test_the_limit_lets_so_many_profiles_run_and_says_so(queue: Queue, leases: Leases) -> None:
    everybody = ["ann", "bob", "cleo"]
    for profile in everybody:
        queue.add(profile, f"run of {profile}")
    queue.set_machine(concurrency=2)
    assert leases.claim(everybody) is not None
    assert leases.claim(everybody) is not None
    assert leases.claim(everybody) is None
    situation = queue.situation()
    assert [hindrance(job, situation) for job in situation.jobs] == ["", "", "limit"]


def test_the_file_itself_refuses_a_second_run_of_a_profile(queue: Queue, leases: Leases) -> None:
    queue.add("ann", "r1")
    second = queue.add("ann", "r2")
    leases.claim(["ann"])
    with pytest.raises(sqlite3.IntegrityError), queue.file.change():
        queue.file.write(
            "UPDATE jobs SET state = 'running', worker = 'x' WHERE id = ?", (second.id,)
        )


def test_damage_and_a_later_format_are_explained(home: Home, queue: Queue) -> None:
    with queue.file.change():
        queue.file.write("PRAGMA user_version = 99")
    queue.close()
    with pytest.raises(FutureDataError, match="later XENO"):
        Queue(home).jobs()
    for leftover in home.folder.glob("queue.db*"):
        leftover.unlink()
    home.queue.write_bytes(b"nonsense" * 1000)
    with pytest.raises(DamagedDataError, match="add them again"):
        Queue(home).jobs()


def test_two_programs_that_open_it_at_the_same_time_make_one_file(home: Home) -> None:
    program = (
        "import sys; from xeno.jobs.store import Queue; from xeno.paths import Home;"
        "q = Queue(Home.at(sys.argv[1])); [q.add('ann', f'{sys.argv[2]}-{n}') for n in range(20)]"
    )
    root = Path(__file__).parents[1]
    several = [
        subprocess.Popen([sys.executable, "-c", program, str(home.folder), str(n)], cwd=root)
        for n in range(3)
    ]
    assert [process.wait(60) for process in several] == [0, 0, 0]
    with Queue(home) as queue:
        positions = [job.position for job in queue.jobs()]
    assert positions == list(range(1, 61))


def test_threads_that_race_for_jobs_never_get_the_same_one(home: Home) -> None:
    profiles = [f"p{n}" for n in range(40)]
    with Queue(home) as queue:
        queue.set_machine(concurrency=64)
        for profile in profiles:
            queue.add(profile, f"run of {profile}")
    got: list[str] = []

    def work() -> None:
        with Queue(home) as mine:
            leases = Leases(mine)
            while (taken := leases.claim(profiles)) is not None:
                got.append(taken.id)
                assert leases.finish(taken, "completed")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == len(set(got)) == 40
