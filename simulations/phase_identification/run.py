"""Ask how well crystallites in an amorphous film are found and named, and how sure that is.

``interphase simulate simulations/phase_identification [--quick]``

Makes a field by multislice, exposes it at every dose, identifies phases with a pixel size that is
a little wrong, once with the true phases among the candidates and once without, and compares with
what was put in and with what an ideal observer would see.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction import UNKNOWN, Options, PhaseMap, Region, identify_image
from interphase.electron import delocalisation
from interphase.phases import candidates
from interphase.simulation import (
    Case,
    CrystalliteTruth,
    Field,
    FieldPlan,
    GrainPlan,
    fringe_powers,
    make_field,
    match_places,
    observed_share,
    plan_fields,
    shown_planes,
    transferred_planes,
)

Row = dict[str, Any]

# Windows are coarse: a region's centre may lie this far outside its crystallite [Å], and farther by
# what the lens displaces its fringes.
MARGIN_A = 15.0
# The spot of a sphere ends 1.2 / diameter from its middle.
SPOT = 1.2
BINS = 10
WORTH_BINS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.97, 1.01)
# A spot this near to a fringe of the crystallite is taken for it [1/Å].
SEEN_PER_A = 0.03
SAME_LATTICE = {"LiH": "LiF"}
FALSE_ALARM = Options().false_alarm


def cases(study: dict[str, Any]) -> list[Case]:
    """Return one case per field of the half that is asked for."""
    half = study["half"]
    return [
        Case(
            name=f"{half}-{plan.name}",
            seed=plan.seed,
            parameters={
                "grains": [asdict(grain) for grain in plan.grains],
                **study["exposure"],
                **study["analysis"],
            },
        )
        for plan in plan_fields(seed=study["seeds"][half], **study["fields"])
    ]


def measure(case: Case) -> dict[str, Any]:
    """Make a field and say what is found in it, with its phases among the candidates and without.

    Per crystallite and dose; and what an ideal observer would see of each.
    """
    given = case.parameters
    grains = tuple(GrainPlan(**grain) for grain in given["grains"])
    plan = FieldPlan(name=case.name, seed=case.seed, grains=grains)
    field = make_field(plan, with_film=bool(grains))
    margins = [MARGIN_A + displacement(truth, field) for truth in field.truths]
    known = candidates(given["candidates"])
    # LiH and LiF have the same lattice: without both, neither is in the list.
    absent = {grain.phase for grain in grains}
    absent |= {"LiH"} if "LiF" in absent else set()
    exposures = []
    for number, dose in enumerate(given["doses_e_per_a2"]):
        rng = np.random.default_rng([field.plan.seed, number])
        counts = field.counts(dose, rng)
        scale = 1 + draw_scale_error(given, rng)

        def look(phases: Sequence[Any], counts: np.ndarray = counts, scale: float = scale) -> Row:
            found = identify_image(
                counts, pixel_size_a=field.pixel_size_a * scale, candidates=phases
            )
            return compared(found, field, margins, scale)

        exposed = {"dose_e_per_a2": dose, "scale": scale, "listed": look(known)}
        if grains and dose in given["unlisted_doses_e_per_a2"]:
            exposed["unlisted"] = look([p for p in known if p.identifier not in absent])
        exposures.append(exposed)
    return {
        "crystallites": [
            described(number, field, margins, given["observer_doses_e_per_a2"])
            for number in range(len(grains))
        ],
        "exposures": exposures,
    }


def draw_scale_error(given: dict[str, Any], rng: np.random.Generator) -> float:
    """Return by which fraction the pixel size given to the analysis is too large."""
    worst = given["scale_worst"]
    if rng.random() < 0.1:
        return float(rng.uniform(-worst, worst))
    return float(np.clip(rng.normal(0, given["scale_sigma"]), -worst, worst))


def transferred(truth: CrystalliteTruth, field: Field) -> np.ndarray:
    """Return the frequencies of the fringes that the image transfers [1/Å]."""
    return transferred_planes(
        truth,
        beam_energy_kev=field.beam_energy_kev,
        optics=field.optics,
        thickness_a=field.thickness_a,
        pixel_size_a=field.pixel_size_a,
    ).k_per_a


def displacement(truth: CrystalliteTruth, field: Field) -> float:
    """Return how far the lens displaces the fringes that it transfers, at most [Å]."""
    k = np.linalg.norm(transferred(truth, field), axis=1)
    shifts = delocalisation(
        k,
        beam_energy_kev=field.beam_energy_kev,
        defocus_a=field.optics.defocus_a - (field.thickness_a - truth.centre_a[2]),
        spherical_aberration_mm=field.optics.spherical_aberration_mm,
    )
    return float(np.max(shifts, initial=0.0))


def described(number: int, field: Field, margins: Sequence[float], doses: Sequence[float]) -> Row:
    """Return what one crystallite is, and what ideal observers see of it."""
    truth, energy = field.truths[number], field.beam_energy_kev
    options = Options()
    planes = shown_planes(truth, beam_energy_kev=energy, d_min_a=options.d_min_a, relative_min=0.01)
    powers = fringe_powers(
        field.intensity,
        field.film,
        planes.k_per_a,
        centre_a=truth.centre_a[:2],
        reach_a=truth.diameter_a / 2 + margins[number] - MARGIN_A + 3,
        spot_radius_per_a=SPOT / truth.diameter_a,
        pixel_size_a=field.pixel_size_a,
        detector=field.detector,
    )
    gaps = [
        np.hypot(*np.subtract(truth.centre_a[:2], other.centre_a[:2]))
        - (truth.diameter_a + other.diameter_a) / 2
        for other in field.truths
        if other is not truth
    ]
    highest = min(1 / options.d_min_a, 0.5 / field.pixel_size_a)
    band = np.pi * (highest**2 - options.d_max_a**-2) / 2
    cells = band * field.intensity.size * field.pixel_size_a**2

    def shares(places: float) -> list[float]:
        return [
            round(observed_share(powers, dose, false_alarm=FALSE_ALARM, places=places), 4)
            for dose in doses
        ]

    return {
        "phase": truth.phase,
        "diameter_a": truth.diameter_a,
        "alignment": field.plan.grains[number].alignment,
        "tilt_deg": truth.tilt_deg,
        "transferred": len(transferred(truth, field)),
        "gap_a": float(min(gaps)) if gaps else None,
        "informed": shares(1.0),
        "searching": shares(cells),
    }


def compared(found: PhaseMap, field: Field, margins: Sequence[float], scale: float) -> Row:
    """Return the region that shows each crystallite, and how many show none."""
    shown, spare = match_places(
        field.truths,
        found.regions,
        beam_energy_kev=field.beam_energy_kev,
        margin_a=margins,
        scale=scale,
    )
    away = [[offset(found.regions[i], truth, scale) for i in spare] for truth in field.truths]
    upon = sum(
        any(
            distance[i] <= truth.diameter_a / 2 + margin
            for distance, truth, margin in zip(away, field.truths, margins, strict=True)
        )
        for i in range(len(spare))
    )
    return {
        "regions": [
            None if i is None else told(found.regions[i], truth, field, scale)
            for i, truth in zip(shown, field.truths, strict=True)
        ],
        "upon": upon,
        "beside": len(spare) - upon,
    }


def offset(region: Region, truth: CrystalliteTruth, scale: float) -> float:
    """Return the distance of a region's centre from a crystallite's [Å]."""
    return float(np.linalg.norm(np.asarray(region.centre_a) / scale - truth.centre_a[:2]))


def shows_two(region: Region, k: np.ndarray, scale: float) -> bool:
    """Whether spots of a region lie upon two of the fringes `k` [1/Å] that are not in line."""
    spots = region.spots.k_per_a * scale
    seen = [
        (np.linalg.norm(spots - sign * fringe, axis=1) < SEEN_PER_A).any()
        for fringe in k
        for sign in (1, -1)
    ]
    shown = k[np.reshape(seen, (len(k), 2)).any(axis=1)]
    length = np.linalg.norm(shown, axis=1)
    across = np.outer(shown[:, 0], shown[:, 1])
    return bool((abs(across - across.T) > 0.1 * np.outer(length, length)).any())


def told(region: Region, truth: CrystalliteTruth, field: Field, scale: float) -> Row:
    """Return what the tables need of a region."""
    rounded = {phase: round(p, 5) for phase, p in region.alternatives.items()}
    return {
        "phase": region.phase,
        "probability": region.probability,
        "alternatives": {phase: p for phase, p in rounded.items() if p > 0},
        "credible_set": list(region.credible_set),
        "assessment": region.assessment,
        "distance_a": offset(region, truth, scale),
        "shows_two": shows_two(region, transferred(truth, field), scale),
    }


def tables(
    study: dict[str, Any], results: Iterable[tuple[Case, dict[str, Any]]]
) -> dict[str, list[Row]]:
    """Return what is found, what a probability is worth, and what is said of what is not there."""
    kept = [result for _, result in results]
    rows = by_crystallite(kept, "listed")
    claimed = [
        row for row in rows if row["dose_e_per_a2"] >= study["exposure"]["claimed_from_e_per_a2"]
    ]
    without = by_crystallite(kept, "unlisted")
    alarms = false_alarms(kept)
    observers = against_observers(study, kept)
    return {
        "summary": summary(study, rows),
        "aims": aims(claimed, without, alarms, observers),
        "reliability": reliability(claimed),
        "worth": worth(claimed, without),
        "false_alarms": alarms,
        "unlisted": unlisted(without),
        "observers": observers,
    }


def by_crystallite(results: Sequence[dict[str, Any]], which: str) -> list[Row]:
    """Return one row per crystallite and dose: what it is, and what was reported there."""
    return [
        {**crystallite, "dose_e_per_a2": exposed["dose_e_per_a2"], "region": region}
        for result in results
        for exposed in result["exposures"]
        if which in exposed
        for crystallite, region in zip(
            result["crystallites"], exposed[which]["regions"], strict=True
        )
    ]


def is_aimed_at(row: Row) -> bool:
    """Whether the aims are for this one: 3-5 nm, within 2° of a zone axis, two transferred."""
    on_axis = row["tilt_deg"] is not None and row["tilt_deg"] <= 2
    return 30 <= row["diameter_a"] <= 50 and on_axis and row["transferred"] >= 2


def summary(study: dict[str, Any], rows: Sequence[Row]) -> list[Row]:
    """Return one row per alignment, class of diameters and dose."""
    made = []
    for alignment in study["fields"]["alignments"]:
        for low, high in study["fields"]["diameters_a"]:
            group = [
                r for r in rows if r["alignment"] == alignment and low <= r["diameter_a"] < high
            ]
            for dose in sorted({row["dose_e_per_a2"] for row in group}):
                of = {"alignment": alignment, "from_a": low, "to_a": high, "dose_e_per_a2": dose}
                made.append(of | scores([r for r in group if r["dose_e_per_a2"] == dose]))
    return made


def scores(group: Sequence[Row]) -> Row:
    """Return recall, accuracy and coverage of a group of crystallites."""
    seen = [row for row in group if row["region"]]
    return {
        "crystallites": len(group),
        **with_interval("recall", [row["region"] is not None for row in group]),
        **with_interval("top1", [is_right(row) for row in seen]),
        **with_interval("top1_merged", [is_right(row, merged=True) for row in seen]),
        **with_interval("coverage90", [is_covered(row) for row in seen]),
        "set_size": mean([len(row["region"]["credible_set"]) for row in seen]),
        "set_size_merged": mean([len(merged_set(row["region"])) for row in seen]),
        "mean_probability": mean([row["region"]["probability"] for row in seen]),
    }


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, three digits of it, of values if there are any."""
    return round(float(np.mean(values)), 3) if values else None


def with_interval(name: str, hits: Sequence[bool]) -> Row:
    """Return a share with Wilson's 95 % interval, if there is anything to count."""
    low, high = wilson(sum(hits), len(hits))
    return {name: mean(hits), f"{name}_low": low, f"{name}_high": high}


def wilson(hits: int, of: int) -> tuple[float | None, float | None]:
    """Return Wilson's 95 % interval of a share, if there is anything to count."""
    from scipy.stats import binomtest

    if not of:
        return None, None
    interval = binomtest(hits, of).proportion_ci(method="wilson")
    return round(float(interval.low), 3), round(float(interval.high), 3)


def merge(phase: str) -> str:
    """Return the name that phases of one lattice share."""
    return SAME_LATTICE.get(phase, phase)


def merged_set(region: Row) -> set[str]:
    """Return a credible set in which phases of one lattice count as one."""
    return {merge(phase) for phase in region["credible_set"]}


def is_right(row: Row, *, merged: bool = False) -> bool:
    """Whether the most probable phase is the true one."""
    phase = row["region"]["phase"]
    return bool((best(row["region"])[0] if merged else phase) == row["phase"])


def is_covered(row: Row) -> bool:
    """Whether the credible set holds the true phase; LiH without LiF does not count for LiF."""
    return row["phase"] in row["region"]["credible_set"]


def best(region: Row) -> tuple[str, float]:
    """Return the most probable lattice, phases of one lattice taken together."""
    together: dict[str, float] = {}
    for phase, p in region["alternatives"].items():
        together[merge(phase)] = together.get(merge(phase), 0.0) + p
    crystals = {phase: p for phase, p in together.items() if phase != "none"}
    return max(crystals.items(), key=lambda item: item[1])


def stated_and_right(rows: Sequence[Row], *, merged: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the stated probability of each region's best hypothesis and whether it is right."""
    seen = [row for row in rows if row["region"]]
    stated = [best(r["region"])[1] if merged else r["region"]["probability"] for r in seen]
    return np.array(stated), np.array([is_right(row, merged=merged) for row in seen])


def in_bins(stated: np.ndarray, kind: str) -> list[np.ndarray]:
    """Return the regions of each bin, by equal widths of probability or equal numbers."""
    if kind == "equal counts":
        return [part for part in np.array_split(np.argsort(stated), BINS) if len(part)]
    number = np.minimum((stated * BINS).astype(int), BINS - 1)
    return [np.flatnonzero(number == i) for i in np.unique(number)]


def calibration_error(stated: np.ndarray, right: np.ndarray, kind: str) -> float | None:
    """Return the mean difference of stated and true frequency, weighted by regions."""
    bins = in_bins(stated, kind)
    off = [abs(stated[at].mean() - right[at].mean()) * len(at) for at in bins]
    return round(float(np.sum(off) / len(stated)), 3) if len(stated) else None


def reliability(rows: Sequence[Row]) -> list[Row]:
    """Return how often the most probable phase was right, by its stated probability.

    The row "all" of each kind of bins has the expected calibration error.
    """
    made: list[Row] = []
    for merged in (False, True):
        stated, right = stated_and_right(rows, merged=merged)
        for kind in ("equal widths", "equal counts") if len(stated) else ():
            parts = {str(i): at for i, at in enumerate(in_bins(stated, kind), 1)}
            made += [
                {
                    "merged": merged,
                    "bins": kind,
                    "bin": name,
                    "regions": len(at),
                    "mean_stated": round(float(stated[at].mean()), 3),
                    **with_interval("right", right[at].tolist()),
                    "calibration_error": (
                        calibration_error(stated, right, kind) if name == "all" else None
                    ),
                }
                for name, at in (parts | {"all": np.arange(len(stated))}).items()
            ]
    return made


def as_believed(
    listed: Sequence[Row], unlisted: Sequence[Row]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return answers among crystals as the analysis believes them to be before looking.

    A share of `Evidence.unknown_prior` is none of the candidates, at the doses at which crystals
    with their phase in the list and without were looked at. One value per region: whether it was
    called none of the candidates, the stated probability, whether that is right, and its weight.
    """
    doses = {row["dose_e_per_a2"] for row in unlisted}
    seen = [row for row in listed if row["region"] and row["dose_e_per_a2"] in doses]
    absent = [row for row in unlisted if row["region"]]
    prior = Options().evidence.unknown_prior
    phase = [row["region"]["phase"] for row in (*seen, *absent)]
    truth = [row["phase"] for row in seen] + [UNKNOWN] * len(absent)
    weight = [(1 - prior) / len(seen) for _ in seen] + [prior / len(absent) for _ in absent]
    return (
        np.array([name == UNKNOWN for name in phase]),
        np.array([row["region"]["probability"] for row in (*seen, *absent)]),
        np.array([said == true for said, true in zip(phase, truth, strict=True)]),
        np.array(weight),
    )


def worth(listed: Sequence[Row], unlisted: Sequence[Row]) -> list[Row]:
    """Return how often an answer was right, by what was answered and with what probability.

    The package holds this table (`interphase.diffraction.what_it_is_worth`).
    """
    is_unknown, stated, right, weight = as_believed(listed, unlisted)
    made = []
    for answer, called in (("phase", ~is_unknown), (UNKNOWN, is_unknown)):
        for low, high in pairwise(WORTH_BINS):
            at = called & (stated >= low) & (stated < high)
            if not at.any():
                continue
            # As many regions of one weight as would scatter as much.
            effective = round(float(weight[at].sum() ** 2 / (weight[at] ** 2).sum()))
            share = float(np.average(right[at], weights=weight[at]))
            lowest, highest = wilson(round(share * effective), effective)
            made.append(
                {
                    "answer": answer,
                    "stated_from": low,
                    "stated_to": min(high, 1.0),
                    "regions": int(at.sum()),
                    "right": round(share, 3),
                    "right_low": lowest,
                    "right_high": highest,
                }
            )
    return made


def error_as_believed(listed: Sequence[Row], unlisted: Sequence[Row]) -> tuple[float | None, int]:
    """Return the calibration error among crystals as they are believed to be, and their number."""
    _, stated, right, weight = as_believed(listed, unlisted)
    off = [
        abs(float(weight[at] @ (stated[at] - right[at]))) for at in in_bins(stated, "equal widths")
    ]
    return (round(sum(off), 3) if off else None), len(stated)


def false_alarms(results: Sequence[dict[str, Any]]) -> list[Row]:
    """Return, per dose, regions in pure films, and regions that show no crystallite of a field."""
    made = []
    doses = sorted({e["dose_e_per_a2"] for result in results for e in result["exposures"]})
    for dose in doses:
        films, fields = [], []
        for result in results:
            for exposed in result["exposures"]:
                if exposed["dose_e_per_a2"] == dose:
                    (fields if result["crystallites"] else films).append(exposed["listed"])
        made.append(
            {
                "dose_e_per_a2": dose,
                "films": len(films),
                "films_with_a_region": sum(film["beside"] > 0 for film in films),
                "regions_in_films": sum(film["beside"] for film in films),
                "fields": len(fields),
                "regions_beside_crystallites": sum(field["beside"] for field in fields),
                "further_regions_upon_crystallites": sum(field["upon"] for field in fields),
            }
        )
    return made


def unlisted(rows: Sequence[Row]) -> list[Row]:
    """Return what is said of crystallites whose phase is not among the candidates, per dose."""
    made = []
    for dose in sorted({row["dose_e_per_a2"] for row in rows}):
        regions = [r["region"] for r in rows if r["dose_e_per_a2"] == dose and r["region"]]
        wrong = [region["assessment"] == Assessment.OK for region in regions]
        made.append(
            {
                "dose_e_per_a2": dose,
                "regions": len(regions),
                "named_alone_wrongly": sum(wrong),
                **with_interval("share_named_alone", wrong),
                "unknown_in_set": sum(UNKNOWN in r["credible_set"] for r in regions),
                "unknown_alone": sum(r["assessment"] == Assessment.UNKNOWN_PHASE for r in regions),
            }
        )
    return made


AIMED_AT = "3-5 nm, within 2°, two transferred"
GROUPS: dict[str, Callable[[Row], bool]] = {
    AIMED_AT: is_aimed_at,
    "within 2°, two transferred": lambda r: r["alignment"] == "zone" and r["transferred"] >= 2,
    "random, two transferred": lambda r: r["alignment"] == "random" and r["transferred"] >= 2,
    "one transferred": lambda r: r["transferred"] == 1,
}


def against_observers(study: dict[str, Any], results: Sequence[dict[str, Any]]) -> list[Row]:
    """Return the doses at which half of a group are found, and would be by ideal observers."""
    doses, ideal_doses = (
        study["exposure"]["doses_e_per_a2"],
        study["analysis"]["observer_doses_e_per_a2"],
    )
    made = []
    for name, belongs in GROUPS.items():
        group = [
            (crystallite, [e["listed"]["regions"][i] is not None for e in result["exposures"]])
            for result in results
            for i, crystallite in enumerate(result["crystallites"])
            if belongs(crystallite)
        ]
        if not group:
            continue
        found = dose_of_half(doses, np.mean([f for _, f in group], axis=0))
        row: Row = {"group": name, "crystallites": len(group), "found_e_per_a2": found}
        for who in ("informed", "searching"):
            ideal = dose_of_half(ideal_doses, np.mean([c[who] for c, _ in group], axis=0))
            row[f"{who}_e_per_a2"] = ideal
            row[f"over_{who}"] = round(found / ideal, 2) if found and ideal else None
        made.append(row)
    return made


def dose_of_half(doses: Sequence[float], share: np.ndarray) -> float | None:
    """Return the dose at which a share that rises with dose passes a half, if it does.

    By isotonic regression, and linearly in the logarithm of the dose in between.
    """
    from scipy.optimize import isotonic_regression

    rising = isotonic_regression(share).x
    above = np.flatnonzero(rising >= 0.5)
    if not len(above) or above[0] == 0:
        return None
    low, high = above[0] - 1, above[0]
    part = (0.5 - rising[low]) / (rising[high] - rising[low])
    return round(float(doses[low] * (doses[high] / doses[low]) ** part), 2)


def aims(
    rows: Sequence[Row],
    without: Sequence[Row],
    alarms: Sequence[Row],
    observers: Sequence[Row],
) -> list[Row]:
    """Return what was aimed at and what was reached, in the group that it was aimed at for."""
    group = [row for row in rows if is_aimed_at(row)]
    made = []

    def add(
        measure: str,
        dose: float | None,
        aim: tuple[float, float],
        reached: float | None,
        cases: int,
        interval: tuple[float | None, float | None] = (None, None),
    ) -> None:
        met = None if reached is None else aim[0] <= reached <= aim[1]
        made.append(
            {
                "measure": measure,
                "dose_e_per_a2": dose,
                "aim_from": aim[0],
                "aim_to": aim[1],
                "reached": reached,
                "low": interval[0],
                "high": interval[1],
                "cases": cases,
                "met": met,
            }
        )

    for dose, recall in ((60.0, 0.70), (300.0, 0.85)):
        at = [row for row in group if row["dose_e_per_a2"] == dose]
        clear = [row for row in at if row["region"] and row["region"]["shows_two"]]
        reached = scores(at)
        seen = sum(row["region"] is not None for row in at)
        for name, aim, of in (
            ("recall", (recall, 1.0), len(at)),
            ("top1", (0.95, 1.0), seen),
            ("top1_merged", (0.95, 1.0), seen),
            ("coverage90", (0.88, 0.97), seen),
        ):
            interval = (reached[f"{name}_low"], reached[f"{name}_high"])
            add(name, dose, aim, reached[name], of, interval)
        for name in ("set_size", "set_size_merged"):
            add(name, dose, (1.0, 1.5), reached[name], seen)
        # Where one reflection alone rises above the noise, no method can name it by its lattice.
        told_by_two = scores(clear)
        interval = (told_by_two["top1_merged_low"], told_by_two["top1_merged_high"])
        add(
            "top1_merged_where_two_show",
            dose,
            (0.95, 1.0),
            told_by_two["top1_merged"],
            len(clear),
            interval,
        )
        add(
            "set_size_merged_where_two_show",
            dose,
            (1.0, 1.5),
            told_by_two["set_size_merged"],
            len(clear),
        )
    for merged in (False, True):
        stated, right = stated_and_right(group, merged=merged)
        name = "calibration_error_merged" if merged else "calibration_error"
        error = calibration_error(stated, right, "equal widths")
        add(name, None, (0.0, 0.05), error, len(stated))
        stated, right = stated_and_right(rows, merged=merged)
        error = calibration_error(stated, right, "equal widths")
        add(f"{name}_of_all", None, (0.0, 0.05), error, len(stated))
    for name, among, absent in (
        ("calibration_error_as_believed", group, [row for row in without if is_aimed_at(row)]),
        ("calibration_error_as_believed_of_all", rows, without),
    ):
        error, of = error_as_believed(among, absent)
        add(name, None, (0.0, 0.05), error, of)
    for row in alarms:
        per_100 = round(100 * row["regions_in_films"] / row["films"], 2) if row["films"] else None
        add("regions_in_100_films", row["dose_e_per_a2"], (0.0, 1.0), per_100, row["films"])
    for row in (row for row in observers if row["group"] == AIMED_AT):
        for who in ("informed", "searching"):
            add(
                f"dose_over_{who}_observer",
                None,
                (0.0, 1.5),
                row[f"over_{who}"],
                row["crystallites"],
            )
    return made
