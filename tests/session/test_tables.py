import csv
from datetime import datetime

import numpy as np
import pytest

from interphase.acquisition import Acquisition, Kind, Origin, Source
from interphase.assessment import Assessment
from interphase.diffraction.results import PhaseMap, Region, Spots
from interphase.session.records import FileResult
from interphase.session.summary import (
    count_assessments,
    count_kinds,
    session_sentence,
    tally_phases,
)
from interphase.session.tables import REGION_COLUMNS, RESULT_COLUMNS, regions_csv, results_csv


def region(phase: str, probability: float, assessment: Assessment = Assessment.OK) -> Region:
    return Region(
        phase=phase,
        probability=probability,
        alternatives={phase: probability, "unknown": 1 - probability},
        credible_set=(phase, "unknown") if assessment is Assessment.AMBIGUOUS else (phase,),
        assessment=assessment,
        centre_a=(12.0, 34.0),
        area_a2=500.0,
        d_spacings_a=(2.013, 1.424),
        zone_axis=(0, 0, 1),
        scale_error=0.01,
        p_value=1e-7,
        spots=Spots(
            k_per_a=np.zeros((0, 2)), strength=np.zeros(0), p_value=np.zeros(0), sigma_per_a=0.01
        ),
    )


def image(
    file: str,
    *regions: Region,
    dose: float | None = None,
    prior: float | None = None,
    hour: int | None = None,
    assessment: Assessment = Assessment.OK,
) -> FileResult:
    sources = {"dose_e_per_a2": Source(origin=Origin.SIDECAR, detail="ExposureDose")}
    return FileResult(
        file=file,
        assessment=assessment,
        sentence="Seen, and said.",
        kind=Kind.IMAGE,
        acquisition=Acquisition(
            kind=Kind.IMAGE,
            pixel_size_a=0.4,
            dose_e_per_a2=dose,
            prior_dose_e_per_a2=prior,
            time=None if hour is None else datetime(2026, 3, 2, hour),
            sources=sources if dose is not None else {},
            missing={} if dose is not None else {"dose_e_per_a2": "not calibrated"},
        ),
        phase_map=PhaseMap(
            assessment=assessment,
            sentence="Seen, and said.",
            candidates=("LiF", "Li2O"),
            regions=regions,
            area_fraction={"LiF": 0.25, "none": 0.75},
        ),
    )


def failed(file: str) -> FileResult:
    return FileResult(file=file, assessment=Assessment.FAILED, sentence=f"{file} is truncated.")


def test_results_csv_has_one_row_per_file_and_leaves_the_unknown_empty() -> None:
    text = results_csv(
        [image("a.mrc", region("LiF", 0.9), region("LiF", 0.7), dose=20.0), failed("b.mrc")]
    )
    first, second = csv.DictReader(text.splitlines())
    assert tuple(first) == RESULT_COLUMNS
    assert (first["phases"], first["probabilities"], first["regions"]) == ("LiF", "0.9", "2")
    assert (first["dose_e_per_a2"], first["dose_source"]) == ("20", "sidecar: ExposureDose")
    assert first["beam_energy_kev"] == ""
    assert second["sentence"] == "b.mrc is truncated."
    assert second["dose_e_per_a2"] == ""


def test_regions_csv_has_one_row_per_region() -> None:
    text = regions_csv([image("a.mrc", region("LiF", 0.9)), failed("b.mrc")])
    (row,) = csv.DictReader(text.splitlines())
    assert tuple(row) == REGION_COLUMNS
    assert (row["centre_y_a"], row["centre_x_a"]) == ("12", "34")
    assert row["alternatives"] == "LiF=0.9;unknown=0.1"
    assert row["zone_axis"] == "0 0 1"


def test_phases_are_tallied_over_files_the_certain_ones_first() -> None:
    tallies = tally_phases(
        [
            image("a.mrc", region("unknown", 0.8, Assessment.UNKNOWN_PHASE)),
            image("b.mrc", region("Li2O", 0.6, Assessment.AMBIGUOUS), region("LiF", 0.97)),
            image("c.mrc", region("LiF", 0.99)),
        ]
    )
    assert [t.phases for t in tallies] == [("LiF",), ("Li2O", "unknown"), ("unknown",)]
    lithium_fluoride = tallies[0]
    assert lithium_fluoride.files == ("b.mrc", "c.mrc")
    assert lithium_fluoride.area_a2 == 1000.0
    assert lithium_fluoride.best_probability == 0.99
    assert [t.certain for t in tallies] == [True, False, False]
    assert tallies[1].regions == 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], "The folder holds no file of a kind that can be read."),
        (
            [image("a.mrc", region("LiF", 0.97)), image("b.mrc")],
            "LiF was identified in 1 of 2 images and patterns.",
        ),
        (
            [image("a.mrc", region("Li2O", 0.5, Assessment.AMBIGUOUS)), failed("b.mrc")],
            "No phase was identified with confidence in 1 image or pattern. Not told apart: Li2O "
            "or none of the candidates. 1 file could not be assessed.",
        ),
        (
            [image("a.mrc", region("unknown", 0.99, Assessment.UNKNOWN_PHASE))],
            "No phase was identified with confidence in 1 image or pattern. Some regions are "
            "crystalline but none of the candidates.",
        ),
    ],
)
def test_the_session_is_summed_up_in_words(files: list[FileResult], expected: str) -> None:
    assert session_sentence(files) == expected


def test_files_are_counted() -> None:
    files = [image("a.mrc"), image("b.mrc"), failed("c.mrc")]
    assert count_assessments(files) == {Assessment.OK: 2, Assessment.FAILED: 1}
    assert count_kinds(files) == {"image": 2, "unreadable": 1}
