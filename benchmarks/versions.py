"""How long the registry takes with many versions: listing, finding, switching, rolling back.

    PYTHONPATH=. python benchmarks/versions.py [--versions 1000] [--json]

Times are medians in milliseconds, by the clock, of an adapter of rank 8 on the starter model.
Switching is everything but the gate's questions: opening and verifying the file, and the change.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable

import torch

from xeno.models.base import inspect_base
from xeno.models.starter import starter_folder
from xeno.paths import Home
from xeno.store.profile import Profile, open_profile
from xeno.versions.adapter import AdapterConfig, tensor_names
from xeno.versions.content import content_address
from xeno.versions.deployment import Deployment
from xeno.versions.lineage import tree
from xeno.versions.registry import Manifest, Registry
from xeno.versions.retention import Retention

CONFIG = AdapterConfig(rank=8, alpha=16.0, target_modules=("q_proj", "v_proj"))
PAIRS = 200


def fill(profile: Profile, versions: int) -> None:
    """Release so many versions, each the child of the one before, with 200 pairs each."""
    base = inspect_base(starter_folder(), profile.home)
    registry, parent = Registry(profile), None
    for number in range(versions):
        generator = torch.Generator().manual_seed(number)
        tensors = {}
        for name, shape in base.shapes.items():
            if name.endswith(("q_proj.weight", "v_proj.weight")):
                down, up = tensor_names(name.removesuffix(".weight"))
                tensors[down] = torch.randn(8, shape[1], generator=generator)
                tensors[up] = torch.randn(shape[0], 8, generator=generator)
        manifest = Manifest(
            address=content_address(tensors, CONFIG, base.base_hash),
            base_hash=base.base_hash,
            base_name=base.name,
            adapter=CONFIG,
            parent=parent,
            pair_ids=tuple(f"{number:08x}{pair:024x}" for pair in range(PAIRS)),
            metrics={"heldout_preference_accuracy": 0.5},
            created=float(number),
        )
        parent = registry.release(tensors, manifest).address


def milliseconds(work: Callable[[], object], repeats: int = 7) -> float:
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times)


def measure(versions: int) -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory() as folder,
        open_profile(Home.at(folder), "bench", protection="file") as profile,
    ):
        fill(profile, versions)
        registry, deployment = Registry(profile), Deployment(profile)
        deployment.deploy(1, override="a measurement")
        deployment.deploy(2, override="a measurement")
        there_and_back = iter([1, 2] * 20)
        return {
            "versions": versions,
            "list": milliseconds(lambda: registry.all()),
            "tree": milliseconds(lambda: tree(registry.all())),
            "get": milliseconds(lambda: registry.get(f"v{versions // 2}")),
            "active": milliseconds(deployment.active),
            "rollback": milliseconds(lambda: deployment.rollback(next(there_and_back))),
            "rollback_previous": milliseconds(lambda: deployment.rollback(), 1),
            "pair_versions": milliseconds(lambda: registry.pair_versions(f"{0:08x}{0:024x}")),
            "space": milliseconds(lambda: Retention(profile).space()),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.versions)
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:20} {value:10,.1f}")


if __name__ == "__main__":
    main()
