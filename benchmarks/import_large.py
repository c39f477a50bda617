"""How long a large import takes, and that it takes no more memory than a small one.

    python benchmarks/import_large.py [--mb 100 1000] [--out FILE]

For each size a JSONL of preference pairs is written to a temporary folder and imported into a
profile of its own in a process of its own, whose peak memory (resident set, as the system
counts it) and time are reported, and then the time to undo the import. What it shows: the
peak is the same for 100 MB and for 1 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_WORDS = (
    *("light", "air", "water", "stone", "river", "cloud", "answer", "because", "therefore"),
    *("small", "large", "slowly", "often", "never", "always", "between", "under", "over"),
    *("people", "machine", "number", "letter", "story", "reason", "change", "measure"),
)


def write(path: Path, megabytes: int) -> int:
    """Random pairs of about 2 KB each, none twice; their number."""
    chance = random.Random(megabytes)
    size, count = 0, 0
    with path.open("wb") as file:
        while size < megabytes * 10**6:
            text = [" ".join(chance.choices(_WORDS, k=n)) for n in (40, 150, 150)]
            pair = {"prompt": f"{count}: {text[0]}?", "chosen": text[1], "rejected": text[2]}
            line = json.dumps(pair).encode() + b"\n"
            file.write(line)
            size += len(line)
            count += 1
    return count


def measure(home: Path, path: Path) -> dict[str, Any]:
    """Import in this process; call it in one that does nothing else."""
    import resource

    from xeno.data.importing import import_file
    from xeno.data.imports import Imports
    from xeno.paths import Home
    from xeno.store.profile import open_profile

    unit = 2**20 if sys.platform == "darwin" else 2**10

    def peak_mb() -> float:
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 10**6, 1)

    with open_profile(Home.at(home)) as profile:
        before, start, calls = peak_mb(), time.perf_counter(), 0

        def progress(done: int, total: int) -> None:
            nonlocal calls
            calls += 1

        report = import_file(profile, path, progress=progress)
        seconds, peak = time.perf_counter() - start, peak_mb()
        start = time.perf_counter()
        assert report.import_id is not None
        undone = Imports(profile.db).undo(report.import_id)
        return {
            "imported": report.imported,
            "groups": report.groups,
            "seconds": round(seconds, 1),
            "peak_mb": peak,
            "peak_before_mb": before,
            "progress_calls": calls,
            "database_mb": round(profile.paths.database.stat().st_size / 10**6, 1),
            "undo_seconds": round(time.perf_counter() - start, 1),
            "undone": undone.removed,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mb", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--out", type=Path, help="also write the results here, as JSON")
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return 0
    results = []
    for megabytes in arguments.mb:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "pairs.jsonl")
            count = write(path, megabytes)
            done = subprocess.run(
                [sys.executable, __file__, "--measure", str(Path(folder, "home")), str(path)],
                check=True,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"},
            )
        found = {"mb": megabytes, "pairs": count, **json.loads(done.stdout)}
        if found["imported"] != count or found["undone"] != count:
            raise SystemExit(f"{count} pairs were written, and this came in: {found}")
        results.append(found)
        print(json.dumps(found), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
