"""Results as tables that a spreadsheet opens."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from interphase.phases import DoseVerdict
from interphase.session.records import FileResult

RESULT_COLUMNS = (
    "file",
    "kind",
    "assessment",
    "sentence",
    "phases",
    "probabilities",
    "phases_with_prior",
    "probabilities_with_prior",
    "regions",
    "area_fraction_none",
    "pixel_size_a",
    "reciprocal_pixel_size_per_a",
    "beam_energy_kev",
    "dose_e_per_a2",
    "dose_source",
    "prior_dose_e_per_a2",
    "prior_dose_source",
    "exposure_time_s",
    "stage_x_um",
    "stage_y_um",
    "time",
    "warnings",
    "sha256",
)
"""Columns of results.csv, one row per file."""

REGION_COLUMNS = (
    "file",
    "region",
    "phase",
    "probability",
    "assessment",
    "alternatives",
    "alternatives_with_prior",
    "credible_set",
    "dose_before_e_per_a2",
    "dose_after_e_per_a2",
    "dose_at_least_e_per_a2",
    "dose_level",
    "critical_dose_low_e_per_a2",
    "critical_dose_high_e_per_a2",
    "made_by_beam_level",
    "made_by_beam_low_e_per_a2",
    "made_by_beam_high_e_per_a2",
    "dose_sentence",
    "centre_y_a",
    "centre_x_a",
    "area_a2",
    "d_spacings_a",
    "zone_axis",
    "scale_error",
    "p_value",
    "sentence",
)
"""Columns of regions.csv, one row per region."""


def results_csv(files: Iterable[FileResult]) -> str:
    """Return one row per file; what is not known is an empty cell."""
    return _csv(RESULT_COLUMNS, [_result_row(result) for result in files])


def regions_csv(files: Iterable[FileResult]) -> str:
    """Return one row per region of every file; several values in a cell are split by ``;``."""
    rows = []
    for result in files:
        for number, region in enumerate(
            result.phase_map.regions if result.phase_map else (), start=1
        ):
            centre = region.centre_a or (None, None)
            rows.append(
                {
                    "file": result.file,
                    "region": number,
                    "phase": region.phase,
                    "probability": region.probability,
                    "assessment": region.assessment,
                    "alternatives": _pairs(region.alternatives),
                    "alternatives_with_prior": _pairs(region.informed),
                    **_dose_row(region.dose),
                    "credible_set": ";".join(region.credible_set),
                    "centre_y_a": centre[0],
                    "centre_x_a": centre[1],
                    "area_a2": region.area_a2,
                    "d_spacings_a": ";".join(f"{d:.4g}" for d in region.d_spacings_a),
                    "zone_axis": " ".join(map(str, region.zone_axis or ())),
                    "scale_error": region.scale_error,
                    "p_value": region.p_value,
                    "sentence": region.sentence,
                }
            )
    return _csv(REGION_COLUMNS, rows)


def _pairs(probabilities: Mapping[str, float]) -> str:
    return ";".join(f"{phase}={value:.4g}" for phase, value in probabilities.items())


def _dose_row(verdict: DoseVerdict | None) -> dict[str, Any]:
    if verdict is None:
        return {}
    low, high = verdict.limit.bracket_e_per_a2 if verdict.limit else (None, None)
    made_low, made_high = verdict.made_bracket_e_per_a2
    return {
        "dose_before_e_per_a2": verdict.received_before_e_per_a2,
        "dose_after_e_per_a2": verdict.received_after_e_per_a2,
        "dose_at_least_e_per_a2": verdict.at_least_e_per_a2,
        "dose_level": verdict.level,
        "critical_dose_low_e_per_a2": low,
        "critical_dose_high_e_per_a2": high,
        "made_by_beam_level": verdict.made_level if verdict.made_from else None,
        "made_by_beam_low_e_per_a2": made_low,
        "made_by_beam_high_e_per_a2": made_high,
        "dose_sentence": verdict.sentence,
    }


def _result_row(result: FileResult) -> dict[str, Any]:
    row: dict[str, Any] = {
        "file": result.file,
        "kind": result.kind,
        "assessment": result.assessment,
        "sentence": result.sentence,
        "warnings": " ".join(result.warnings),
        "sha256": result.sha256,
    }
    if result.phase_map is not None:
        regions = result.phase_map.regions
        even = _best((region.phase, region.alternatives) for region in regions)
        informed = _best(
            (phase, region.informed) for region in regions if (phase := region.informed_phase)
        )
        for best, ending in ((even, ""), (informed, "_with_prior")):
            row[f"phases{ending}"] = ";".join(best)
            row[f"probabilities{ending}"] = ";".join(f"{value:.3g}" for value in best.values())
        row["regions"] = len(result.phase_map.regions)
        row["area_fraction_none"] = result.phase_map.area_fraction.get("none")
    acquisition = result.acquisition
    if acquisition is not None:
        for name in (
            "pixel_size_a",
            "reciprocal_pixel_size_per_a",
            "beam_energy_kev",
            "dose_e_per_a2",
            "prior_dose_e_per_a2",
            "exposure_time_s",
        ):
            row[name] = getattr(acquisition, name)
        row["dose_source"] = acquisition.sources.get("dose_e_per_a2")
        row["prior_dose_source"] = acquisition.sources.get("prior_dose_e_per_a2")
        if acquisition.stage is not None:
            row["stage_x_um"] = acquisition.stage.x_um
            row["stage_y_um"] = acquisition.stage.y_um
        row["time"] = acquisition.time.isoformat() if acquisition.time else None
    return row


def _best(answers: Iterable[tuple[str, Mapping[str, float]]]) -> dict[str, float]:
    """Return the highest probability with which each phase is the answer."""
    best: dict[str, float] = {}
    for phase, probabilities in answers:
        best[phase] = max(probabilities[phase], best.get(phase, 0.0))
    return best


def _csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
