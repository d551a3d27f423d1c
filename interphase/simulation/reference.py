"""Reference sets: fields with known truth, made once and exposed at any dose afterwards."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.crystallites import (
    CrystalliteTruth,
    Orientation,
    near_zone_axis,
    random_orientation,
    strong_zone_axes,
)
from interphase.simulation.imaging import Optics, exit_wave, image_from_exit_wave, resample
from interphase.simulation.scene import Grain, draw_centres, film_scene

if TYPE_CHECKING:
    from interphase.phases import Phase

Alignment = Literal["zone", "random"]

PIXEL_SIZE_A = 0.4
WAVE_SAMPLING_A = PIXEL_SIZE_A * 2 / 3
"""The wave then holds every frequency an image of `PIXEL_SIZE_A` can show."""
LARGEST_TILT_DEG = 2.0
"""How far from its zone axis an aligned crystallite may lie [degrees]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPlan:
    """One field of a reference set; everything else is drawn from its seed."""

    name: str
    """File stem."""
    seed: int
    """Seed of everything that is drawn."""
    phase: str | None
    """Phase of its crystallites; ``None`` for pure film."""
    diameter_a: float | None
    """Diameter of its crystallites [Å]."""
    alignment: Alignment | None
    """Whether they lie near a strong zone axis or anyhow."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """One field of a reference set, noiseless, with its truth."""

    name: str
    """File stem."""
    intensity: np.ndarray
    """Expected intensity, 1 in vacuum, shape (M, N)."""
    pixel_size_a: float
    """True size of a pixel [Å]."""
    beam_energy_kev: float
    """Beam energy [keV]."""
    optics: Optics
    """The microscope it was imaged with."""
    thickness_a: float
    """Thickness of the film [Å]."""
    matrix: str
    """Identifier of the film's material."""
    truths: tuple[CrystalliteTruth, ...]
    """The crystallites."""
    plan: FieldPlan
    """What was asked for."""


def plan_fields(
    *,
    phases: Sequence[str],
    diameters_a: Sequence[float],
    alignments: Sequence[Alignment] = ("zone", "random"),
    repeats: int = 3,
    empty: int = 30,
    seed: int,
) -> list[FieldPlan]:
    """Return the fields of a set: every combination `repeats` times, and `empty` pure films.

    Parameters
    ----------
    phases
        Identifiers of the phases.
    diameters_a
        Diameters of the crystallites [Å].
    alignments
        How they lie.
    repeats
        Fields of each combination.
    empty
        Fields of pure film.
    seed
        Seed of the set; each field gets a seed of its own, whatever the order of making.
    """
    wanted: list[tuple[str, str | None, float | None, Alignment | None]] = [
        (f"{phase}-{diameter:g}-{alignment}-{i}", phase, diameter, alignment)
        for i in range(repeats)
        for phase in phases
        for diameter in diameters_a
        for alignment in alignments
    ]
    wanted += [(f"film-{i}", None, None, None) for i in range(empty)]
    seeds = np.random.SeedSequence(seed).generate_state(len(wanted), dtype=np.uint32)
    return [
        FieldPlan(name=name, seed=int(s), phase=phase, diameter_a=diameter, alignment=alignment)
        for (name, phase, diameter, alignment), s in zip(wanted, seeds, strict=True)
    ]


def make_field(plan: FieldPlan) -> Field:
    """Return one field, its nuisances drawn from the plan's seed.

    Crystallites up to 60 Å come in fours in a field of 180 Å, larger ones in twos in 216 Å.
    Film 60 to 120 Å thick (thicker where the crystallite needs it), 300 keV, underfocus 100
    to 800 Å, spherical aberration 0 to 1.2 mm, focal spread 20 to 40 Å.

    Parameters
    ----------
    plan
        What is wanted.
    """
    from interphase.phases import load_phase

    rng = np.random.default_rng(plan.seed)
    diameter = plan.diameter_a or 0.0
    many = 0 if plan.phase is None else 4 if diameter <= 60 else 2
    size = 180.0 if diameter <= 60 else 216.0
    thickness = max(float(rng.uniform(60, 120)), diameter + 4)
    grains: list[Grain] = []
    if plan.phase is not None:
        phase = load_phase(plan.phase)
        centres = draw_centres((size, size), thickness, [diameter] * many, gap_a=15.0, rng=rng)
        grains = [
            Grain(
                phase=phase,
                diameter_a=diameter,
                centre_a=centre,
                orientation=_draw_orientation(phase, plan.alignment, rng),
            )
            for centre in centres
        ]
    optics = Optics(
        defocus_a=float(rng.uniform(100, 800)),
        spherical_aberration_mm=float(rng.uniform(0, 1.2)),
        focal_spread_a=float(rng.uniform(20, 40)),
        semi_convergence_mrad=0.1,
    )
    scene = film_scene((size, size), thickness, grains, seed=int(rng.integers(2**32)))
    wave = exit_wave(scene, beam_energy_kev=300.0, sampling_a=WAVE_SAMPLING_A)
    pixels = round(size / PIXEL_SIZE_A)
    return Field(
        name=plan.name,
        intensity=resample(image_from_exit_wave(wave, optics), (pixels, pixels)),
        pixel_size_a=size / pixels,
        beam_energy_kev=300.0,
        optics=optics,
        thickness_a=thickness,
        matrix=scene.matrix,
        truths=scene.truths,
        plan=plan,
    )


def _draw_orientation(
    phase: "Phase", alignment: Alignment | None, rng: np.random.Generator
) -> Orientation:
    if alignment == "random":
        return random_orientation(rng)
    axes = strong_zone_axes(phase)
    uvw = axes[int(rng.integers(len(axes)))]
    # Uniform over the cap of directions around the axis.
    return near_zone_axis(phase, uvw, LARGEST_TILT_DEG * float(np.sqrt(rng.random())), rng)


def crystallite_fields(
    folder: Path, plans: Sequence[FieldPlan], *, part: tuple[int, int] = (0, 1)
) -> list[Path]:
    """Make the fields of a set that a folder does not hold yet.

    Each field is one ``.npz`` with the noiseless image and its truth; apply any dose to it
    with `record_counts`. Files are written whole or not at all, so a killed run goes on where
    it stopped, and several processes may each make a part.

    Parameters
    ----------
    folder
        Where the fields go; made if it is not there.
    plans
        The set.
    part
        (i, n): make every n-th field from the i-th.

    Returns
    -------
    list
        The files made now.
    """
    index, parts = part
    if not 0 <= index < parts:
        raise ParameterError(f"part is {part!r}: expected (i, n) with 0 <= i < n")
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for plan in plans[index::parts]:
        path = folder / f"{plan.name}.npz"
        if not path.exists():
            save_field(make_field(plan), path)
            made.append(path)
    return made


def save_field(field: Field, path: Path) -> None:
    """Write a field to one file, whole or not at all."""
    truth = {
        name: getattr(field, name)
        for name in ("name", "pixel_size_a", "beam_energy_kev", "thickness_a", "matrix")
    }
    truth |= {
        "optics": asdict(field.optics),
        "truths": [asdict(item) for item in field.truths],
        "plan": asdict(field.plan),
    }
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as file:
        np.savez_compressed(file, intensity=field.intensity, truth=json.dumps(truth))
    beside.replace(path)


def load_field(path: Path) -> Field:
    """Return a field that `crystallite_fields` wrote."""
    with np.load(path) as archive:
        intensity = archive["intensity"]
        truth = json.loads(str(archive["truth"]))
    truth["optics"] = Optics(**truth["optics"])
    truth["truths"] = tuple(_truth_from_json(item) for item in truth["truths"])
    truth["plan"] = FieldPlan(**truth["plan"])
    return Field(intensity=intensity, **truth)


def _truth_from_json(item: dict[str, Any]) -> CrystalliteTruth:
    lists = {
        "centre_a": tuple(item["centre_a"]),
        "orientation": tuple(tuple(row) for row in item["orientation"]),
        "zone_axis": None if item["zone_axis"] is None else tuple(item["zone_axis"]),
    }
    return CrystalliteTruth(**(item | lists))
