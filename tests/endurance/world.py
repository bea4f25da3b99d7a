"""What do the processes share, and what does each keep of what it did?"""

from __future__ import annotations

import json
import os
import random
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from butler import Butler
from tests.registry.observatory import DAY_NS, noon

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

N_WRITERS, N_READERS = 8, 8
N_EXPOSURES = 200
N_PUT = 30  # exposures of frames that have files
N_RUNS = 4
NIGHTS = (20220920, 20220921, 20220922)
SHARED = 0
"""Detector whose calibrations and tags everybody changes; those of writer n are for detector n."""
CAMERA = {"instrument": "Cam"}
LOGS = "logs"
FRAMES = "frames"
BEACONS = "beacons"
VERSION = 8  # bytes


def exposure(number: int) -> dict[str, Any]:
    """Make an exposure record."""
    night = NIGHTS[number % len(NIGHTS)]
    begin = noon(night) + number * 10**9
    return {
        **CAMERA,
        "id": number,
        "obs_id": f"obs{number}",
        "day_obs": night,
        "observation_type": ("science", "flat")[number % 2],
        "exposure_time": float(number % 7),
        "begin_tai_ns": begin,
        "end_tai_ns": begin + 10**9,
    }


def fill(root: Path, url: str, frames: Sequence[Path] = ()) -> None:
    """Make a repository with a camera, exposures, dataset types and collections.

    Parameters
    ----------
    frames : sequence of Path
        Raw frames of OHP T152, to be ingested again and again.
    """
    (root.parent / FRAMES).mkdir(parents=True)
    for frame in frames:
        (root.parent / FRAMES / frame.name).symlink_to(frame)
    (root.parent / LOGS).mkdir(parents=True)
    (root.parent / BEACONS).write_bytes(bytes(VERSION * 4 * (N_WRITERS + 1)))
    Butler.create(root, url).close()
    with Butler(root, writeable=True) as butler:
        butler.register_instrument("ohp-t152")
        insert = butler.registry.insert_dimension_records
        insert("instrument", [{"name": "Cam", "detector_max": N_WRITERS + 1}])
        insert(
            "detector",
            [{**CAMERA, "id": d, "full_name": f"chip{d}"} for d in range(N_WRITERS + 1)],
        )
        insert(
            "day_obs",
            [
                {**CAMERA, "id": d, "begin_tai_ns": noon(d), "end_tai_ns": noon(d) + DAY_NS}
                for d in NIGHTS
            ],
        )
        insert("exposure", [exposure(n) for n in range(1, N_EXPOSURES)])
        keys = ("instrument", "detector", "exposure")
        butler.register_dataset_type("frame", keys, "StructuredDataDict")
        butler.register_dataset_type("row", keys, "StructuredDataDict")
        flat = ("instrument", "detector", "day_obs")
        butler.register_dataset_type("flat", flat, "StructuredDataDict", is_calibration=True)
        butler.collections.register("tags", "TAGGED")
        butler.collections.register("calib", "CALIBRATION")
        for n in range(N_RUNS):
            butler.collections.register(f"shared/{n}")
            butler.collections.register(f"ring/{n}", "CHAINED")


class Beacons:
    """The versions of definitions that their writers were told to be stored.

    A reader that asks the database after it has looked here must see this version, or a later one.
    """

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / BEACONS, os.O_RDWR)

    def raise_to(self, writer: int, kind: int, version: int) -> None:
        """Tell that a version is stored."""
        os.pwrite(self._file, version.to_bytes(VERSION), VERSION * (4 * writer + kind))

    def at_least(self, writer: int, kind: int) -> int:
        """Give the version that must be seen."""
        return int.from_bytes(os.pread(self._file, VERSION, VERSION * (4 * writer + kind)))


class Worker:
    """One process: its Butler, its dice, and what it tells.

    Parameters
    ----------
    root : str
        The repository.
    name : str
        Of its log.
    number : int
        From 1.
    """

    def __init__(self, root: str, name: str, number: int, seed: int, *, writeable: bool) -> None:
        self.folder = Path(root).parent
        self.butler = Butler(root, writeable=writeable)
        self.number = number
        self.dice = random.Random(f"{seed} {name}")
        self.beacons = Beacons(self.folder)
        self._log = (self.folder / LOGS / f"{name}.jsonl").open("w", buffering=1)
        self._times: dict[str, list[float]] = {}
        self._errors: Counter[tuple[str, str]] = Counter()

    def note(self, what: str, **told: Any) -> None:
        """Write down what is now known to be stored, or gone."""
        self._log.write(json.dumps({"what": what, "at": time.monotonic(), **told}) + "\n")

    def fault(self, what: str, text: str) -> None:
        """Write down what must not happen."""
        self.note("fault", kind=what, text=text)

    def do(self, name: str, verb: Callable[[], Any], expected: Sequence[type[Exception]]) -> None:
        """Do something, and measure it; what is not among the expected errors is a fault."""
        began = time.perf_counter()
        try:
            verb()
        except Exception as error:  # noqa: BLE001 (whatever it is, it is told)
            self._errors[name, type(error).__name__] += 1
            if type(error) not in expected:
                self.fault(name, "".join(traceback.format_exception(error)))
        self._times.setdefault(name, []).append(time.perf_counter() - began)

    def work(
        self, seconds: float, deeds: Sequence[tuple[float, Callable[[], Any], tuple[Any, ...]]]
    ) -> None:
        """Do things drawn by their weights, for some time; then tell how it went."""
        until = time.monotonic() + seconds
        weights = [weight for weight, _, _ in deeds]
        while time.monotonic() < until:
            (_, deed, expected) = self.dice.choices(deeds, weights)[0]
            self.do(deed.__name__.strip("_"), deed, expected)
        self.note(
            "end",
            times=self._times,
            errors=[[*key, n] for key, n in self._errors.items()],
            repeated=self.butler.registry.database.n_repeated,
        )
        self.butler.close()
        self._log.close()


def notes(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Read what every process wrote down, by its name."""
    return {
        file.stem: [json.loads(line) for line in file.read_text().splitlines()]
        for file in sorted((folder / LOGS).iterdir())
    }
