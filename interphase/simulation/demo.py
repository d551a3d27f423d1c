"""A small simulated session: interphases of several kinds, written as a microscope's files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np

from interphase.acquisition import Acquisition, Kind, Stage
from interphase.files import write_json, write_text
from interphase.simulation.files import SimulatedExposure, serialem_time, write_session
from interphase.simulation.imaging.conditions import interphase_image, interphase_wave
from interphase.simulation.imaging.detectors import Detector, record_counts
from interphase.simulation.imaging.exposure import movie
from interphase.simulation.imaging.optics import Optics
from interphase.simulation.imaging.patterns import diffraction_pattern
from interphase.simulation.models.architectures import (
    Interphase,
    Layer,
    Packing,
    Population,
    Structure,
)
from interphase.simulation.models.crystallites import CrystalliteTruth
from interphase.simulation.models.interphases import InterphaseModel, build_interphase
from interphase.simulation.models.truth import interphase_truth

_PIXEL_SIZE_A = 0.4
_BEAM_ENERGY_KEV = 300.0
_SPHERICAL_ABERRATION_MM = 0.005
_CAMERA = Detector(dqe0=0.8)
_START = datetime(2026, 3, 2, 10, 0, 0)
_PATTERN_PIXELS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFile:
    """One file of the demo session, and what was put into it."""

    name: str
    """File name."""
    kind: str
    """``image``, ``movie`` or ``diffraction``."""
    dose_e_per_a2: float
    """Dose [e/Å²]."""
    pixel_size_a: float | None
    """Size of a pixel [Å]; ``None`` for a pattern."""
    structure: str
    """How the interphase is built: mosaic, layered, layered_mosaic or amorphous."""
    electrode: str
    """Phase of the electrode, which is in view."""
    phases: tuple[str, ...]
    """Crystalline phases of the interphase, sorted."""
    crystallites: tuple[CrystalliteTruth, ...]
    """The crystallites of the interphase; the electrode is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTruth:
    """The demo session and what was put into it."""

    folder: Path
    """Where the files are."""
    seed: int
    """Seed of everything that was drawn."""
    files: tuple[DemoFile, ...]
    """The files with an image or a pattern in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoExposure:
    """One exposure of a session that is to be simulated."""

    stem: str
    """File name without its ending."""
    kind: Literal["image", "movie", "diffraction"]
    """What is recorded; a pattern is that of the middle of the field."""
    recipe: Interphase
    """The interphase; its seed is mixed with the session's."""
    dose_e_per_a2: float
    """Dose [e/Å²]."""
    defocus_a: float = 0.0
    """Defocus, positive = underfocus [Å]."""
    frames: int = 1
    """Frames of a movie."""
    aperture_a: float = 120.0
    """Diameter of the selected area of a pattern [Å]."""
    stage_um: tuple[float, float]
    """Stage (x, y) [µm]."""
    ending: Literal[".hspy", ".mrc"] = ".hspy"
    """Kind of file; ``.mrc`` comes with a SerialEM sidecar."""
    focus: tuple[tuple[float, float, float], ...] = ((1.6, 0.0, 60.0),)
    """Exposures for focusing before it: how far off (x, y) [µm] and dose [e/Å²], of which 0 says
    that the camera was not calibrated."""


def _sought(phase: str, fraction: float, diameter_a: float, *, tilt_deg: float = 2.0) -> Population:
    """Return crystallites that lie near zone axes, as first examples are chosen to."""
    return Population(
        phase=phase,
        volume_fraction=fraction,
        diameter_a=diameter_a,
        spread=0.1,
        zone_axis_share=1.0,
        zone_axis_tilt_deg=tilt_deg,
    )


DEMO_EXPOSURES = (
    DemoExposure(
        stem="grid1_mosaic_0001",
        kind="image",
        recipe=Interphase(
            architecture="mosaic",
            structure=Structure.MOSAIC,
            electrode="Li",
            layers=(
                Layer(
                    name="mosaic",
                    thickness_a=130.0,
                    matrix="LEDC",
                    populations=(
                        _sought("Li2O", 0.06, 60.0),
                        _sought("LiF", 0.05, 55.0),
                        _sought("Li2CO3", 0.06, 60.0),
                    ),
                ),
            ),
            foil_thickness_a=76.0,
            length_a=180.0,
            tilt_deg=4.0,
            seed=3,
        ),
        dose_e_per_a2=200.0,
        defocus_a=140.0,
        stage_um=(-112.40, 48.05),
        ending=".mrc",
    ),
    DemoExposure(
        stem="grid1_layered_0002",
        kind="image",
        recipe=Interphase(
            architecture="layered",
            structure=Structure.LAYERED,
            electrode="Li",
            layers=(
                Layer(name="inner", thickness_a=50.0, matrix="LEDC"),
                Layer(
                    name="outer",
                    thickness_a=80.0,
                    packing=Packing.COLUMNAR,
                    populations=(_sought("Li2O", 1.0, 70.0),),
                ),
            ),
            foil_thickness_a=70.0,
            length_a=160.0,
            seed=3,
        ),
        dose_e_per_a2=120.0,
        defocus_a=160.0,
        stage_um=(-109.83, 47.61),
    ),
    DemoExposure(
        stem="grid1_amorphous_0003",
        kind="image",
        recipe=Interphase(
            architecture="amorphous",
            structure=Structure.AMORPHOUS,
            electrode="Li",
            layers=(Layer(name="glass", thickness_a=120.0, matrix="LiPxOyFz"),),
            foil_thickness_a=70.0,
            length_a=160.0,
            tilt_deg=-3.0,
            seed=1,
        ),
        dose_e_per_a2=100.0,
        defocus_a=160.0,
        stage_um=(-104.27, 51.90),
        ending=".mrc",
    ),
    DemoExposure(
        stem="grid1_dendrite_0004",
        kind="image",
        recipe=Interphase(
            architecture="bilayer",
            structure=Structure.LAYERED,
            electrode="Li",
            layers=(
                Layer(
                    name="inorganic",
                    thickness_a=60.0,
                    packing=Packing.COLUMNAR,
                    populations=(_sought("LiF", 1.0, 60.0),),
                ),
                Layer(name="organic", thickness_a=50.0, matrix="LEDC"),
            ),
            foil_thickness_a=70.0,
            length_a=170.0,
            electrode_width_a=70.0,
            normal_deg=90.0,
            radius_a=250.0,
            seed=1,
        ),
        dose_e_per_a2=300.0,
        defocus_a=140.0,
        stage_um=(-98.66, 53.12),
        focus=((0.1, 0.03, 110.0), (0.1, 0.03, 110.0)),
    ),
    DemoExposure(
        stem="grid1_movie_0005",
        kind="movie",
        frames=16,
        recipe=Interphase(
            architecture="layered-mosaic",
            structure=Structure.LAYERED_MOSAIC,
            electrode="Li",
            layers=(
                Layer(
                    name="inner",
                    thickness_a=80.0,
                    matrix="LiPON",
                    populations=(_sought("Li2O", 0.15, 60.0),),
                ),
                Layer(
                    name="outer",
                    thickness_a=80.0,
                    matrix="LiPON",
                    populations=(_sought("Li3PO4-beta", 0.15, 60.0),),
                ),
            ),
            foil_thickness_a=72.0,
            length_a=160.0,
            seed=3,
        ),
        dose_e_per_a2=240.0,
        defocus_a=140.0,
        stage_um=(-95.02, 50.37),
        ending=".mrc",
        focus=((0.08, -0.05, 0.0),),
    ),
    DemoExposure(
        stem="grid1_diffraction_0006",
        kind="diffraction",
        recipe=Interphase(
            architecture="mosaic",
            structure=Structure.MOSAIC,
            electrode="Li",
            layers=(
                Layer(
                    name="mosaic",
                    thickness_a=120.0,
                    matrix="LEDC",
                    populations=(_sought("Li2O", 0.2, 85.0, tilt_deg=0.5),),
                ),
            ),
            foil_thickness_a=94.0,
            electrode_width_a=25.0,
            outside_width_a=15.0,
            length_a=160.0,
            seed=4,
        ),
        dose_e_per_a2=60.0,
        stage_um=(-91.44, 49.18),
    ),
)


def write_demo_session(
    folder: Path, *, seed: int = 0, exposures: Sequence[DemoExposure] = DEMO_EXPOSURES
) -> DemoTruth:
    """Simulate a small cryo-TEM session of interphases on lithium and write it as files.

    By default four images, a movie and a selected-area pattern, in HyperSpy files or in MRC with
    SerialEM ``.mdoc`` sidecars, and the sidecars of what was exposed for search and focus; with
    them ``session.toml``, a ``.truth.npz`` beside each file, and ``truth.json`` with what was put
    in. Crystallites are large and lie within 2° of strong zone axes, as a microscopist's first
    examples would be chosen; a blind area shows far fewer.

    Parameters
    ----------
    folder
        Where the files go; made if it is not there, files of the same name are replaced.
    seed
        Seed of everything that is drawn; each exposure is the same whichever others there are.
    exposures
        The exposures of the session.

    Returns
    -------
    DemoTruth
        What was put in; also in ``truth.json``.
    """
    files: list[DemoFile] = []

    def simulated() -> Iterator[SimulatedExposure]:
        for number, exposure in enumerate(exposures):
            made = _simulate(exposure, number, seed)
            files.append(_summary(made))
            _write_steps(folder, exposure, number)
            yield made

    facts = {
        "sample": "simulated interphases on lithium",
        "electrolyte": "1 M LiPF6 in EC:DEC",
        "electrode": "Li",
        "temperature_k": 298.0,  # that of the cells the atoms were built with
        "ledger_is_complete": True,
        "image_rotation_deg": 0.0,
        "beam_diameter_a": 2e3,
        "files": {
            "*_search_*": {"beam_diameter_a": 2e5},
            "*_focus_*": {"beam_diameter_a": 3e3},
        },
        "spherical_aberration_mm": _SPHERICAL_ABERRATION_MM,
        "phases": "lithium-sei",
    }
    write_session(folder, simulated(), facts=facts)
    truth = DemoTruth(folder=folder, seed=seed, files=tuple(files))
    write_json(folder / "truth.json", {"seed": seed, "files": files})
    return truth


def _write_steps(folder: Path, exposure: DemoExposure, number: int) -> None:
    """Write the sidecars of what was exposed before a record; their images were not kept."""
    x, y = exposure.stage_um
    steps = [
        (f"focus_{number + 1:04d}{letter}", 2.0, x + dx, y + dy, dose, 3.0)
        for letter, (dx, dy, dose) in zip("abc", exposure.focus, strict=False)
    ]
    if number % 3 == 0:
        steps.insert(0, (f"search_{number + 1:04d}", 120.0, x + 3.0, y + 1.0, 0.04, 1.0))
    when = _START + timedelta(minutes=4 * number - 3)
    folder.mkdir(parents=True, exist_ok=True)
    for step, (name, pixel_a, at_x, at_y, dose, duration_s) in enumerate(steps):
        file = f"grid1_{name}.mrc"
        write_text(
            folder / f"{file}.mdoc",
            f"PixelSpacing = {pixel_a}\nVoltage = {_BEAM_ENERGY_KEV}\nImageFile = {file}\n"
            "ImageSize = 1024 1024\n\n[ZValue = 0]\n"
            f"StagePosition = {at_x:.3f} {at_y:.3f}\nExposureDose = {dose}\n"
            f"ExposureTime = {duration_s}\n"
            f"DateTime = {serialem_time(when + timedelta(seconds=40 * step))}\n",
        )


def _simulate(exposure: DemoExposure, number: int, seed: int) -> SimulatedExposure:
    """Return one exposure: atoms, exit wave, counts, truth."""
    rng = np.random.default_rng([seed, exposure.recipe.seed])
    model = build_interphase(replace(exposure.recipe, seed=int(rng.integers(2**32))))
    shown = int(rng.integers(2**32))
    counts, acquisition = _expose(exposure, model, np.random.default_rng(shown))
    pixels = (int(model.field_a[0] / _PIXEL_SIZE_A), int(model.field_a[1] / _PIXEL_SIZE_A))
    return SimulatedExposure(
        stem=exposure.stem,
        counts=counts,
        acquisition=replace(acquisition, time=_START + timedelta(minutes=4 * number)),
        truth=interphase_truth(model, pixel_size_a=_PIXEL_SIZE_A, shape=pixels),
        recipe=model.recipe,
        seed=shown,
        ending=exposure.ending,
    )


def _expose(
    exposure: DemoExposure, model: InterphaseModel, rng: np.random.Generator
) -> tuple[np.ndarray, Acquisition]:
    """Return counts as a camera writes them, and what is known of the exposure."""
    wave = interphase_wave(model, _BEAM_ENERGY_KEV)
    dose, (x, y) = exposure.dose_e_per_a2, exposure.stage_um
    said = Acquisition(
        kind=Kind(exposure.kind),
        mode="TEM",
        beam_energy_kev=_BEAM_ENERGY_KEV,
        dose_e_per_a2=dose,
        exposure_time_s=4.0,
        stage=Stage(x_um=x, y_um=y, z_um=-21.5, alpha_deg=0.0),
        microscope="simulated",
    )
    if exposure.kind == "diffraction":
        pattern, step = diffraction_pattern(
            wave,
            aperture_diameter_a=exposure.aperture_a,
            dose_e_per_a2=dose,
            detector=_CAMERA,
            rng=rng,
        )
        pixels = min(_PATTERN_PIXELS, len(pattern) // 2 * 2)
        first = len(pattern) // 2 - pixels // 2
        middle = slice(first, first + pixels)
        return pattern[middle, middle], replace(said, reciprocal_pixel_size_per_a=step)
    optics = Optics(
        defocus_a=exposure.defocus_a,
        spherical_aberration_mm=_SPHERICAL_ABERRATION_MM,
        focal_spread_a=30.0,
        semi_convergence_mrad=0.1,
    )
    expected = interphase_image(model, wave, optics=optics, pixel_size_a=_PIXEL_SIZE_A)
    said = replace(said, pixel_size_a=_PIXEL_SIZE_A, defocus_a=exposure.defocus_a)
    if exposure.kind == "image":
        counts = record_counts(
            expected, dose_e_per_a2=dose, pixel_size_a=_PIXEL_SIZE_A, detector=_CAMERA, rng=rng
        )
        return counts, said
    frames = movie(
        expected,
        dose_e_per_a2=dose,
        frames=exposure.frames,
        pixel_size_a=_PIXEL_SIZE_A,
        drift_a=(0.08, -0.05),
        detector=_CAMERA,
        rng=rng,
    )
    return frames, said


def _summary(made: SimulatedExposure) -> DemoFile:
    said, truth = made.acquisition, made.truth
    assert truth is not None
    assert said.dose_e_per_a2 is not None
    return DemoFile(
        name=made.name,
        kind=str(said.kind),
        dose_e_per_a2=said.dose_e_per_a2,
        pixel_size_a=said.pixel_size_a,
        structure=truth.structure,
        electrode=truth.electrode,
        phases=tuple(sorted({row.phase for row in truth.crystallites})),
        crystallites=truth.crystallites,
    )
