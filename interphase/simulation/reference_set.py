"""A set of interphases with known truth, to calibrate on and to test on.

Each is one recipe, one multislice and one noiseless image; doses, cameras and noise come
afterwards. Everything is drawn from the seed of its plan, so the set grows without changing what is
there, and any part of it can be made again anywhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from interphase.electron import delocalisation
from interphase.errors import FileReadError, ParameterError
from interphase.simulation.files import pack_truth, unpack_truth
from interphase.simulation.imaging.conditions import (
    ImagingConditions,
    ImagingRanges,
    interphase_image,
    interphase_wave,
    sample_conditions,
)
from interphase.simulation.imaging.detectors import record_counts
from interphase.simulation.models.architectures import (
    Interphase,
    InterphaseRanges,
    Structure,
    sample_interphase,
)
from interphase.simulation.models.interphases import MARGIN_A, build_interphase
from interphase.simulation.models.truth import InterphaseTruth, interphase_truth
from interphase.simulation.studies import load_study, read_results

_MARGIN_FOR_PER_A = 0.4
"""The strongest reflections of interphases lie below this frequency [1/Å]."""

Half = Literal["calibration", "test"]
"""What a member may be used for: never tune on the test half."""

SHARES: Mapping[Structure, tuple[str, ...]] = MappingProxyType(
    {
        Structure.MOSAIC: ("mosaic", "mosaic", "mosaic", "LiH-dendrite", "Li-Li6PS5Cl"),
        Structure.LAYERED: ("layered", "layered-LiF", "layered-Li2CO3", "bilayer", "Li-LLZO"),
        Structure.LAYERED_MOSAIC: ("layered-mosaic", "graded-mosaic"),
        Structure.AMORPHOUS: ("amorphous", "amorphous", "extended", "Li-LAGP"),
    }
)
"""Architectures of each class, taken in turn; one that is named twice comes twice as often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencePlan:
    """One member of the set; everything else is drawn from its seed."""

    name: str
    """File stem."""
    half: Half
    """What it may be used for."""
    architecture: str
    """Key of `ARCHITECTURES`."""
    seed: int
    """Seed of everything that is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """One member of the set, noiseless, with its truth."""

    plan: ReferencePlan
    """What was asked for."""
    recipe: Interphase
    """What was built."""
    conditions: ImagingConditions
    """How it was imaged."""
    image: np.ndarray
    """Expected intensity, 1 in vacuum, shape (M, N)."""
    truth: InterphaseTruth
    """What an image should show, in its pixels."""

    def counts(self, rng: np.random.Generator, *, dose_e_per_a2: float | None = None) -> np.ndarray:
        """Return what the member's camera records, at its own dose or another, shape (M, N)."""
        return record_counts(
            self.image,
            dose_e_per_a2=self.conditions.dose_e_per_a2 if dose_e_per_a2 is None else dose_e_per_a2,
            pixel_size_a=self.conditions.pixel_size_a,
            detector=self.conditions.detector,
            rng=rng,
        )


def plan_references(count: int, *, seed: int) -> list[ReferencePlan]:
    """Return the first members of the set, classes in turn and half of each class for testing.

    Parameters
    ----------
    count
        How many; those that a smaller count names stay what they are.
    seed
        Seed of the set.

    Raises
    ------
    ParameterError
        `count` is below 1.

    Examples
    --------
    >>> for plan in plan_references(6, seed=1):
    ...     print(plan.name, plan.half, plan.architecture)
    interphase-0000 calibration mosaic
    interphase-0001 calibration layered
    interphase-0002 calibration layered-mosaic
    interphase-0003 calibration amorphous
    interphase-0004 test mosaic
    interphase-0005 test layered
    """
    if count < 1:
        raise ParameterError(f"count is {count!r}: expected at least 1")
    plans = []
    for index in range(count):
        turn, structure = divmod(index, len(SHARES))
        pair, half = divmod(turn, 2)
        names = SHARES[list(SHARES)[structure]]
        plans.append(
            ReferencePlan(
                name=f"interphase-{index:04d}",
                half="test" if half else "calibration",
                architecture=names[pair % len(names)],
                seed=int(np.random.SeedSequence([seed, index]).generate_state(1)[0]),
            )
        )
    return plans


def make_reference(
    plan: ReferencePlan,
    *,
    models: InterphaseRanges | None = None,
    imaging: ImagingRanges | None = None,
) -> Reference:
    """Return one member of the set: atoms, multislice, image and truth.

    Parameters
    ----------
    plan
        What is wanted.
    models
        From where to where recipes are drawn.
    imaging
        From where to where imaging conditions are drawn.
    """
    rng = np.random.default_rng(plan.seed)
    recipe = sample_interphase(plan.architecture, rng, ranges=models)
    conditions = sample_conditions(rng, ranges=imaging)
    model = build_interphase(recipe, margin_a=_margin_a(conditions))
    image = interphase_image(
        model,
        interphase_wave(model, conditions.beam_energy_kev),
        optics=conditions.optics,
        pixel_size_a=conditions.pixel_size_a,
    )
    truth = interphase_truth(model, pixel_size_a=conditions.pixel_size_a, shape=image.shape)
    return Reference(plan=plan, recipe=recipe, conditions=conditions, image=image, truth=truth)


def _margin_a(conditions: ImagingConditions) -> float:
    """Return how far beyond the field atoms are needed against what wraps around into it.

    Fringes are displaced farther than the widest margin by one microscope in fourteen, without a
    corrector and mostly at 80 keV: the rims of its images show something of the other side.
    """
    displaced = delocalisation(
        _MARGIN_FOR_PER_A,
        beam_energy_kev=conditions.beam_energy_kev,
        defocus_a=conditions.optics.defocus_a,
        spherical_aberration_mm=conditions.optics.spherical_aberration_mm,
    )
    return float(np.clip(displaced, MARGIN_A, 3 * MARGIN_A))


def pack_reference(reference: Reference) -> dict[str, Any]:
    """Return a member as arrays and what JSON can hold; `unpack_reference` takes it back.

    The image is kept in half precision, which is wrong by 0.05 % of the intensity at most.
    """
    return {
        "plan": asdict(reference.plan),
        "conditions": asdict(reference.conditions),
        "image": reference.image.astype(np.float16),
        **pack_truth(reference.truth, recipe=reference.recipe),
    }


def unpack_reference(packed: Mapping[str, Any]) -> Reference:
    """Return a member that `pack_reference` packed."""
    from pydantic import TypeAdapter

    said = unpack_truth(packed)
    if said.recipe is None:
        raise FileReadError("a member of the reference set has no recipe: make the set again")
    return Reference(
        plan=TypeAdapter(ReferencePlan).validate_python(packed["plan"]),
        recipe=said.recipe,
        conditions=TypeAdapter(ImagingConditions).validate_python(packed["conditions"]),
        image=np.asarray(packed["image"], dtype=np.float32),
        truth=said.truth,
    )


def load_references(
    study: str | Path, *, half: Half | None = None, out: str | Path | None = None
) -> Iterator[Reference]:
    """Give the members of the set that are on this disk, one by one.

    Parameters
    ----------
    study
        The folder of the study that makes the set, ``simulations/interphase_reference``.
    half
        Only those of one half.
    out
        Folder of its results, if it was given one.

    Yields
    ------
    Reference
        In the order of the set.
    """
    for case, packed in read_results(load_study(study), out=out):
        if half is None or case.parameters["half"] == half:
            yield unpack_reference(packed)
