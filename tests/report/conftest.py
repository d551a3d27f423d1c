"""A session result with everything a report can show, made without measuring."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from interphase.acquisition import Acquisition, Kind, Origin, Source
from interphase.assessment import Assessment
from interphase.diffraction.results import PhaseMap, Region, Spots
from interphase.session.records import FileResult, Pictures, SessionResult, SpectrumSummary
from interphase.session.store import Store

DOSE = Source(origin=Origin.SIDECAR, detail="ExposureDose")


def _region(phase: str, probability: float, assessment: Assessment) -> Region:
    rest = {"LiF": "LiH", "LiH": "LiF"}.get(phase, "unknown")
    return Region(
        phase=phase,
        probability=probability,
        alternatives={phase: probability, rest: 1 - probability},
        credible_set=(phase, rest) if assessment is Assessment.AMBIGUOUS else (phase,),
        assessment=assessment,
        centre_a=(40.0, 40.0),
        area_a2=1200.0,
        d_spacings_a=(2.01, 2.01, 1.42),
        zone_axis=(0, -1, 1),
        scale_error=-0.012,
        p_value=1e-12,
        spots=Spots(
            k_per_a=np.array([[0.35, 0.35], [-0.35, 0.35]]),
            strength=np.array([30.0, 20.0]),
            p_value=np.array([1e-12, 1e-8]),
            sigma_per_a=0.01,
        ),
    )


def _image(rng: np.random.Generator, number: int) -> tuple[FileResult, Pictures]:
    labels = np.zeros((128, 128), dtype=np.int16)
    labels[20:60, 30:70] = 1
    labels[80:110, 70:120] = 2
    regions = (
        _region("Li2O", 0.97, Assessment.OK),
        _region("LiF", 0.6, Assessment.AMBIGUOUS),
    )
    result = FileResult(
        file=f"grid<1>/image_{number:03d}.mrc",
        key=f"image{number}",
        kind=Kind.IMAGE,
        assessment=Assessment.OK,
        sentence="2 crystalline places: Li2O in 1, ambiguous in 1.",
        sha256="ab" * 32,
        sidecars=(f"grid<1>/image_{number:03d}.mrc.mdoc",),
        warnings=("ExposureDose and the frames contradict each other",),
        acquisition=Acquisition(
            kind=Kind.IMAGE,
            shape=(512, 512),
            pixel_size_a=0.4,
            dose_e_per_a2=20.0 + number,
            time=datetime(2026, 3, 2, 10, number % 60),
            sources={"dose_e_per_a2": DOSE, "pixel_size_a": DOSE},
        ),
        phase_map=PhaseMap(
            assessment=Assessment.OK,
            sentence="",
            candidates=("Li2O", "LiF", "LiH"),
            regions=regions,
            window_a=50.0,
            step_a=12.5,
            pixel_size_a=0.4,
        ),
    )
    pictures = Pictures(
        thumbnail=rng.integers(0, 255, (128, 128), dtype=np.uint8),
        thumbnail_pixel_size=1.6,
        labels=labels,
        power=rng.integers(0, 255, (100, 100), dtype=np.uint8),
        power_pixel_size_per_a=0.017,
        region_power=rng.integers(0, 255, (2, 64, 64), dtype=np.uint8),
        region_power_pixel_size_per_a=0.02,
    )
    return result, pictures


@pytest.fixture
def make_result(tmp_path: Path, rng: np.random.Generator) -> Callable[..., SessionResult]:
    """Make the result of a session of so many images, one spectrum and one broken file."""

    def make(images: int = 2) -> SessionResult:
        store = Store(tmp_path / "out")
        saved = [store.save(*_image(rng, number)) for number in range(images)]
        spectrum = FileResult(
            file="map.dm4",
            key="map",
            kind=Kind.SPECTRUM_IMAGE,
            assessment=Assessment.NOT_ASSESSED,
            sentence="4 spectra of 64 channels from 300 to 363 eV.",
            acquisition=Acquisition(
                kind=Kind.SPECTRUM_IMAGE,
                shape=(2, 2, 64),
                energy_range_ev=(300.0, 363.0),
                missing={"dose_e_per_a2": "give `dose_e_per_a2` in session.toml"},
            ),
            spectrum=SpectrumSummary(
                spectra=4,
                channels=64,
                energy_range_ev=(300.0, 363.0),
                total_counts=640.0,
                max_counts=3.0,
            ),
        )
        counts = Pictures(counts=np.linspace(9, 1, 64), energy_ev=np.linspace(300, 363, 64))
        saved.append(store.save(spectrum, counts))
        saved.append(
            FileResult(
                file="broken.dm3",
                assessment=Assessment.FAILED,
                sentence="broken.dm3 is <truncated>.",
            )
        )
        saved.append(
            FileResult(
                file="notes.txt", assessment=Assessment.NOT_ASSESSED, sentence="Not read: text."
            )
        )
        return SessionResult(
            name="session & co",
            folder=tmp_path,
            out=tmp_path / "out",
            files=tuple(saved),
            candidates=("Li2O", "LiF", "LiH"),
            description={"sample": "SEI on <Li>"},
            provenance={
                "made": "2026-03-02T12:00:00+00:00",
                "versions": {"interphase": "0.1.0"},
                "candidates": [
                    {
                        "phase": "LiF",
                        "grade": "A",
                        "site_grade": "A",
                        "source": "a source",
                        "note": "",
                    }
                ],
                "citations": {"numpy": "a paper"},
            },
        )

    return make
