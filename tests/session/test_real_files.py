"""A folder of real files of many kinds and vendors, measured as one session."""

from pathlib import Path

import pytest

from interphase.acquisition import Kind
from interphase.assessment import Assessment
from interphase.report import write_report
from interphase.session import FileResult, SessionResult, run_session


def test_a_folder_of_real_files_is_measured_as_one_session(
    shared_data: Path, tmp_path: Path
) -> None:
    # One test for all that is asked of the run, which is the slowest part of it.
    session = run_session(shared_data, out=tmp_path, workers=2)
    by_name = {result.file: result for result in session.files}
    every_file_is_measured_or_explained(session)
    no_phase_is_named_with_confidence_where_no_candidate_is(by_name)
    doses_are_those_of_the_files_and_the_unknown_stay_unknown(session)
    spectra_are_measured_or_lack_angles(by_name)
    page = write_report(session, tmp_path / "report.html")
    assert 2e5 < page.stat().st_size < 2e7


def every_file_is_measured_or_explained(session: SessionResult) -> None:
    assert len(session.files) > 40
    for result in session.files:
        assert result.sentence, result.file
        assert "\n" not in result.sentence
        assert "Error" not in result.sentence, result.sentence
        assert result.final, result.sentence
        if result.kind is not None:
            assert result.acquisition is not None


def no_phase_is_named_with_confidence_where_no_candidate_is(
    by_name: dict[str, FileResult],
) -> None:
    # SrTiO3 and MoS2 are not among the candidates.
    for name in ("images/16_STOimage.emi", "images/example_Se_implanted_MoS2.dm3"):
        result = by_name[name]
        assert result.assessment in (Assessment.AMBIGUOUS, Assessment.UNKNOWN_PHASE)
        assert all(
            region.phase == "unknown" or region.probability < 0.9
            for region in result.phase_map.regions
        )
    assert by_name["images/multi_signal.dm3"].assessment is Assessment.NO_PERIODICITY
    assert by_name["images/fei_emd_image.emd"].assessment is Assessment.TOO_COARSE


def doses_are_those_of_the_files_and_the_unknown_stay_unknown(
    session: SessionResult,
) -> None:
    shots = {shot.key: shot for shot in session.account.exposures}
    assert shots["cryo/epu2.9_example.mrc"].dose_e_per_a2 == pytest.approx(41.2, abs=0.05)
    tilts = [shot for shot in shots.values() if shot.file == "cryo/TS_41.mrc.mdoc"]
    assert sum(shot.dose_e_per_a2 for shot in tilts) == pytest.approx(123.35, abs=0.01)
    assert session.account.highest.at_least_e_per_a2 == pytest.approx(132.84, abs=0.01)
    assert shots["cryo/frame_set_multiple.mdoc"].dose_e_per_a2 is None
    uncalibrated = [shot for shot in shots.values() if shot.file == "cryo/tilt_series.mdoc"]
    assert len(uncalibrated) == 41
    assert {shot.dose_e_per_a2 for shot in uncalibrated} == {None}
    assert "cryo/nav.nav" not in {shot.file for shot in shots.values()}


def spectra_are_measured_or_lack_angles(by_name: dict[str, FileResult]) -> None:
    carbon = by_name["eels/08_carbon.dm3"]
    assert carbon.kind is Kind.SPECTRUM
    assert carbon.assessment is Assessment.UNCALIBRATED
    assert "collection_angle_mrad is missing" in carbon.sentence
    assert not {"carbonate", "Li2CO3"} & {n for n, p in carbon.eels.species.items() if p > 0.5}
    lithium = [
        (name, result.sentence)
        for name, result in by_name.items()
        if result.eels is not None
        and ("Li" in result.eels.elements and result.eels.elements["Li"].detected)
    ]
    assert lithium == []
    assert carbon.spectrum.channels == 2048
    assert carbon.spectrum.energy_range_ev == pytest.approx((240, 444.7), abs=0.1)
    assert carbon.phase_map is None
