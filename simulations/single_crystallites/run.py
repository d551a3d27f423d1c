"""Ask how well single crystallites in an amorphous film are found and named.

``python simulations/single_crystallites/run.py [--half test] [--quick] [--workers 2]``

Makes the fields that are not there yet (multislice, about 10 s of one core each), exposes each at
every dose, identifies phases with a pixel size that is a little wrong, and compares with what was
put in. Writes tables to ``results/``; ``expected.csv`` beside this file is the committed result of
the test half.
"""

import argparse
import csv
import itertools
import tomllib
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction import UNKNOWN, PhaseMap, Region, identify_image
from interphase.phases import candidates
from interphase.simulation import (
    IDEAL_COUNTER,
    CrystalliteTruth,
    crystallite_fields,
    load_field,
    plan_fields,
    record_counts,
)

HERE = Path(__file__).parent
# A region belongs to a crystallite if its centre lies this far outside it at most [Å]: windows
# are 50 Å wide and fringes are displaced by defocus.
MARGIN_A = 15.0
RELIABILITY_BINS = (0.0, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0001)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one crystallite at one dose."""

    phase: str
    """What it is."""
    diameter_a: float
    """How large [Å]."""
    alignment: str
    """``zone`` or ``random``."""
    dose_e_per_a2: float
    """Dose of the image [e/Å²]."""
    region: Region | None
    """What was reported there."""

    @property
    def right(self) -> bool:
        """Whether the most probable hypothesis is the truth."""
        return self.region is not None and self.region.phase == self.phase

    @property
    def covered(self) -> bool:
        """Whether the credible set holds the truth."""
        return self.region is not None and self.phase in self.region.credible_set


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """One field at one dose: its crystallites, and the regions that belong to none."""

    outcomes: tuple[Outcome, ...]
    """One per crystallite."""
    false_regions: int
    """Regions that belong to no crystallite."""
    dose_e_per_a2: float
    """Dose [e/Å²]."""
    empty: bool
    """Whether the field is pure film."""


def expose(path: Path, study: dict, leave_out: bool) -> list[Exposed]:
    """Identify phases in one field at every dose, perhaps with its own phase left out."""
    field = load_field(path)
    phases = candidates(study["analysis"]["candidates"])
    if leave_out:
        # LiH and LiF have the same lattice: without both, neither is in the list.
        absent = {"LiF", "LiH"} if field.plan.phase == "LiF" else {field.plan.phase}
        phases = tuple(phase for phase in phases if phase.identifier not in absent)
    exposed = []
    for number, dose in enumerate(study["exposure"]["doses_e_per_a2"]):
        rng = np.random.default_rng([field.plan.seed, number])
        counts = record_counts(
            field.intensity,
            dose_e_per_a2=dose,
            pixel_size_a=field.pixel_size_a,
            detector=IDEAL_COUNTER,
            rng=rng,
        )
        wrong = 1 + rng.normal(0, study["exposure"]["scale_sigma"])
        found = identify_image(counts, pixel_size_a=field.pixel_size_a * wrong, candidates=phases)
        regions, spare = assign(found, field.truths, wrong)
        exposed.append(
            Exposed(
                outcomes=tuple(
                    Outcome(
                        phase=truth.phase,
                        diameter_a=truth.diameter_a,
                        alignment=str(field.plan.alignment),
                        dose_e_per_a2=dose,
                        region=region,
                    )
                    for truth, region in zip(field.truths, regions, strict=True)
                ),
                false_regions=spare,
                dose_e_per_a2=dose,
                empty=not field.truths,
            )
        )
    return exposed


def assign(
    found: PhaseMap, truths: Sequence[CrystalliteTruth], wrong: float
) -> tuple[list[Region | None], int]:
    """Give each crystallite the most certain region upon it; count the regions left over."""
    free = list(found.regions)
    mine: list[Region | None] = []
    for truth in truths:
        at = np.asarray(truth.centre_a[:2])
        near = [
            region
            for region in free
            if np.linalg.norm(np.asarray(region.centre_a) / wrong - at)
            < truth.diameter_a / 2 + MARGIN_A
        ]
        best = min(near, key=lambda region: region.p_value) if near else None
        mine.append(best)
        if best is not None:
            free.remove(best)
    return mine, len(free)


def summary(exposed: Iterable[Exposed]) -> list[dict[str, object]]:
    """Return one row per alignment, diameter and dose."""
    groups: dict[tuple[str, float, float], list[Outcome]] = {}
    for outcome in (o for e in exposed for o in e.outcomes):
        key = (outcome.alignment, outcome.diameter_a, outcome.dose_e_per_a2)
        groups.setdefault(key, []).append(outcome)
    return [
        {"alignment": key[0], "diameter_a": key[1], "dose_e_per_a2": key[2], **scores(group)}
        for key, group in sorted(groups.items(), key=lambda item: (item[0][0] != "zone", item[0]))
    ]


def scores(group: Sequence[Outcome]) -> dict[str, object]:
    """Return recall, accuracy and coverage of a group of crystallites."""
    seen = [o for o in group if o.region is not None]

    def mean(values: Sequence[float]) -> object:
        return round(float(np.mean(values)), 3) if values else ""

    return {
        "crystallites": len(group),
        "recall": mean([o.region is not None for o in group]),
        "top1": mean([o.right for o in seen]),
        "coverage90": mean([o.covered for o in seen]),
        "set_size": mean([len(o.region.credible_set) for o in seen if o.region]),
        "mean_probability": mean([o.region.probability for o in seen if o.region]),
    }


def reliability(exposed: Iterable[Exposed]) -> list[dict[str, object]]:
    """Return how often the most probable phase was right, by its stated probability."""
    seen = [o for e in exposed for o in e.outcomes if o.region is not None]
    probability = np.array([o.region.probability for o in seen if o.region])
    right = np.array([o.right for o in seen])
    rows = []
    for low, high in itertools.pairwise(RELIABILITY_BINS):
        inside = (probability >= low) & (probability < high)
        if inside.any():
            rows.append(
                {
                    "stated_from": low,
                    "stated_to": min(high, 1.0),
                    "regions": int(inside.sum()),
                    "mean_stated": round(float(probability[inside].mean()), 3),
                    "right": round(float(right[inside].mean()), 3),
                }
            )
    return rows


def unlisted(exposed: Iterable[Exposed]) -> list[dict[str, object]]:
    """Return what is said of crystallites whose phase is not among the candidates, per dose."""
    rows = []
    kept = [e for e in exposed if not e.empty]
    for dose in sorted({e.dose_e_per_a2 for e in kept}):
        regions = [
            o.region for e in kept if e.dose_e_per_a2 == dose for o in e.outcomes if o.region
        ]
        rows.append(
            {
                "dose_e_per_a2": dose,
                "regions": len(regions),
                "named_alone_wrongly": sum(r.assessment is Assessment.OK for r in regions),
                "unknown_in_set": sum(UNKNOWN in r.credible_set for r in regions),
                "unknown_alone": sum(r.assessment is Assessment.UNKNOWN_PHASE for r in regions),
            }
        )
    return rows


def false_alarms(exposed: Iterable[Exposed]) -> list[dict[str, object]]:
    """Return, per dose, pure films with a region, and regions beside the crystallites."""
    rows = []
    kept = list(exposed)
    for dose in sorted({e.dose_e_per_a2 for e in kept}):
        films = [e for e in kept if e.empty and e.dose_e_per_a2 == dose]
        fields = [e for e in kept if not e.empty and e.dose_e_per_a2 == dose]
        rows.append(
            {
                "dose_e_per_a2": dose,
                "films": len(films),
                "films_with_a_region": sum(e.false_regions > 0 for e in films),
                "fields": len(fields),
                "regions_beside_crystallites": sum(e.false_regions for e in fields),
            }
        )
    return rows


def write_csv(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """Write rows to a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main(argv: Sequence[str] | None = None) -> Path:
    """Run the study; return the folder of its tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--half", choices=("test", "calibration"), default="test")
    parser.add_argument(
        "--quick", action="store_true", help="one field per phase at 50 Å, one film"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args(argv)
    study = tomllib.loads((HERE / "study.toml").read_text())
    fields = dict(study["fields"])
    if arguments.quick:
        fields |= {"phases": ["Li2O", "LiF"], "diameters_a": [50.0], "repeats": 1, "empty": 1}
        study["exposure"]["doses_e_per_a2"] = [60.0, 300.0]
    plans = plan_fields(
        phases=fields["phases"],
        diameters_a=fields["diameters_a"],
        alignments=("zone",) if arguments.quick else ("zone", "random"),
        repeats=fields["repeats"],
        empty=fields["empty"],
        seed=study["seeds"][arguments.half],
    )
    out = arguments.out / (f"{arguments.half}-quick" if arguments.quick else arguments.half)
    folder = out / "fields"
    workers = arguments.workers
    with ProcessPoolExecutor(workers) as pool:
        jobs = [
            pool.submit(crystallite_fields, folder, plans, part=(i, workers))
            for i in range(workers)
        ]
        for job in jobs:
            job.result()
        paths = [folder / f"{plan.name}.npz" for plan in plans]
        many = len(paths)
        exposed = [
            e for part in pool.map(expose, paths, [study] * many, [False] * many) for e in part
        ]
        without = [
            e for part in pool.map(expose, paths, [study] * many, [True] * many) for e in part
        ]
    write_csv(out / "summary.csv", summary(exposed))
    write_csv(out / "reliability.csv", reliability(exposed))
    write_csv(out / "false_alarms.csv", false_alarms(exposed))
    write_csv(out / "unlisted.csv", unlisted(without))
    return out


if __name__ == "__main__":
    print(f"Tables are in {main()}")
