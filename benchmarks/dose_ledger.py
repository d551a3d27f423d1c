"""Time of writing to the dose ledger and of asking it, with many exposures.

``python benchmarks/dose_ledger.py [--exposures 100000] [--corners 64] [--cpu]``

Exposures of 0.3 to 3 µm lie at random on 500 µm × 500 µm, one in twenty of them
a search image of 20 µm; they are written to a file by one call, half of it a second time. The time
of a query is the median of 1000 places; the map is of the whole square, after the first one, which
waits for the compiler. The limits are 5000 exposures/s, 1 ms and 2 s.
"""

import argparse
import json
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

SIDE_UM = 500.0


def session(number, corners, rng):
    """Return exposures of one long session."""
    from interphase.dose import Exposure, camera_rectangle, disc

    start = datetime(2026, 1, 1)
    made = []
    for n in range(number):
        search = n % 20 == 0
        size = 20.0 if search else float(rng.uniform(0.3, 3.0))
        place = rng.uniform(0, SIDE_UM, 2)
        field = camera_rectangle((1, 1), pixel_size_a=0.6e4 * size)
        beam = disc(size, corners=corners)
        made.append(
            Exposure(
                key=f"{n}.mrc",
                purpose="search" if search else "record",
                time=start + timedelta(seconds=n),
                duration_s=0.5,
                recorded_um=field + place,
                illuminated_um=beam + place,
                dose_e_per_a2=0.05 if search else float(rng.uniform(5, 50)),
                beam_energy_kev=300.0,
                file=f"{n}.mrc",
                sources={"dose_e_per_a2": "file header", "time": "file header"},
            )
        )
    return made


def timed(ask, clock=time.perf_counter):
    start = clock()
    answer = ask()
    return clock() - start, answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exposures", type=int, default=100_000)
    parser.add_argument("--corners", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cpu", action="store_true", help="processor time, on a busy machine")
    arguments = parser.parse_args()
    from interphase.dose import Ledger

    clock = time.process_time if arguments.cpu else time.perf_counter
    rng = np.random.default_rng(arguments.seed)
    shots = session(arguments.exposures, arguments.corners, rng)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(Path(folder) / "dose.ledger")
        row = {"exposures": len(shots), "corners": arguments.corners}
        seconds, new = timed(lambda: ledger.add(shots), clock)
        row["insert_per_s"] = round(new / seconds)
        seconds, again = timed(lambda: ledger.add(shots[::2]), clock)
        row["insert_again_per_s"] = round(len(shots[::2]) / seconds)
        assert (new, again) == (len(shots), 0)
        places = rng.uniform(0, SIDE_UM, (1001, 2)).tolist()
        asked = [timed(lambda p=place: ledger.at(p), clock)[0] for place in places]
        row["first_query_ms"] = round(1e3 * asked[0], 2)
        row["query_ms"] = round(1e3 * float(np.median(asked[1:])), 3)
        row["query_p99_ms"] = round(1e3 * float(np.quantile(asked[1:], 0.99)), 3)
        whole = (0.0, 0.0, SIDE_UM, SIDE_UM)
        ledger.map(whole, shape=(8, 8))
        row["map_512_s"] = round(timed(lambda: ledger.map(whole), clock)[0], 2)
        row["map_512_again_s"] = round(timed(lambda: ledger.map(whole), clock)[0], 2)
        before = [
            timed(lambda k=f"{n}.mrc": ledger.pre_exposure(k), clock)[0] for n in range(1, 200, 2)
        ]
        row["pre_exposure_ms"] = round(1e3 * float(np.median(before)), 2)
        print(json.dumps(row), flush=True)
        seconds, found = timed(ledger.maximum, clock)
        row = {"maximum_s": round(seconds, 2), "maximum_e_per_a2": found[1].at_least_e_per_a2}
        row["by_purpose_s"] = round(timed(ledger.by_purpose, clock)[0], 2)
        ledger.close()
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
