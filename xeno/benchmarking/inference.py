"""How fast replies are beside plain transformers and llama.cpp, on this machine.

Every contender runs in a process of its own on the same weights. Rounds alternate among them, so
that a busy machine slows all, and medians are compared. The speeds of XENO with and without a
version are neighbours within a round.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from xeno.benchmarking.inference_contenders import GENERATE, INT8, LLAMACPP, XENO, Measures
from xeno.errors import ChildError

TARGETS = {
    "decoding beside transformers.generate": (True, 2.0),
    "decoding beside llama.cpp F16": (True, 0.75),
    "second turn beside no cache": (True, 3.0),
    "time of a personalised reply beside a base reply": (False, 1.05),
    "switch of an opened version, ms": (False, 20.0),
    "switch from disk, ms": (False, 500.0),
    "tokens after a stop": (False, 2.0),
    "stop while writing, ms": (False, 100.0),
    "stop while reading, ms": (False, 100.0),
    "memory after 1,000 switches": (False, 1.02),
}
"""(whether at least, bound)."""

ROUNDS, QUICK_ROUNDS = 7, 2

Progress = Callable[[str], None]


def measure(rounds: int, threads: int, progress: Progress) -> dict[str, Any]:
    """Run all contenders; llama.cpp where xllamacpp is installed.

    Raises:
        ChildError: if a contender fails.
    """
    names = [XENO, INT8, GENERATE]
    if importlib.util.find_spec("xllamacpp"):
        names.append(LLAMACPP)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        progress("writing the model")
        _write(folder)
        running = {name: stack.enter_context(_contender(name, folder, threads)) for name in names}
        found: dict[str, list[Measures]] = {name: [] for name in names}
        for number in range(rounds + 1):  # the first is a rehearsal
            for name in names if number % 2 == 0 else reversed(names):
                measures = running[name](str(number))
                if number:
                    found[name].append(measures)
                    progress(f"round {number} of {rounds}: {name}")
        progress("1,000 switches")
        switches = running[XENO]("switches")
    return compared(found, switches) | {"threads": threads, "rounds": rounds}


def compared(found: dict[str, list[Measures]], switches: Measures) -> dict[str, Any]:
    """Medians of all rounds, and what they are beside each other."""
    contenders = {name: _medians(rounds) for name, rounds in found.items()}
    ours, speed = contenders[XENO], "tokens per second"
    measures = {
        "decoding beside transformers.generate": ours[speed] / contenders[GENERATE][speed],
        "second turn beside no cache": ours["second turn without cache"] / ours["second turn"],
        "time of a personalised reply beside a base reply": statistics.median(
            each[speed] / each[f"personalised {speed}"] for each in found[XENO]
        ),
        "switch of an opened version, ms": 1000 * ours["switch"],
        "switch from disk, ms": 1000 * ours["switch from disk"],
        "tokens after a stop": ours["stop tokens"],
        "stop while writing, ms": 1000 * ours["stop writing"],
        "stop while reading, ms": 1000 * ours["stop reading"],
        "memory after 1,000 switches": switches["memory after switches"],
        "processor time of a switch, ms": 1000 * switches["processor time of a switch"],
    }
    if LLAMACPP in contenders:
        other = contenders[LLAMACPP]
        measures["decoding beside llama.cpp F16"] = ours[speed] / other[speed]
        measures["first token beside llama.cpp F16"] = other["first token"] / ours["first token"]
    return {"measures": measures, "missed": missed(measures), "contenders": contenders}


def missed(measures: Measures) -> list[str]:
    """The names of the targets that were measured and not reached."""
    return [
        name
        for name, (at_least, bound) in TARGETS.items()
        if name in measures and (measures[name] < bound if at_least else measures[name] > bound)
    ]


def _medians(rounds: list[Measures]) -> Measures:
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def _write(folder: str) -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from xeno.benchmarking.inference_material import write; write(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
    )
    if done.returncode:
        raise _failed("The benchmark's model could not be written.", done.stderr)


@contextmanager
def _contender(name: str, folder: str, threads: int) -> Iterator[Callable[[str], Measures]]:
    """A contender's process; call it with an order for the measurements."""
    with tempfile.TemporaryFile("w+") as log:
        module = "xeno.benchmarking.inference_contenders"
        process = subprocess.Popen(
            [sys.executable, "-m", module, name, folder, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=_environment(),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def answer() -> Measures:
            line = stdout.readline()
            if not line:
                log.seek(0)
                raise _failed(f"{name} failed.", log.read())
            found: Measures = json.loads(line)
            return found

        def order(text: str) -> Measures:
            print(text, file=stdin, flush=True)
            return answer()

        try:
            answer()
            yield order
        finally:
            process.kill()  # what it holds is of no use to anybody
            process.communicate()


def _failed(what: str, log: str) -> ChildError:
    lines = log.strip().splitlines() or ["It said nothing."]
    return ChildError(what, lines[-1][:500])


def _environment() -> dict[str, str]:
    return os.environ | {
        "OMP_WAIT_POLICY": "PASSIVE",  # as the model host runs
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
