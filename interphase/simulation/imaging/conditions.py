"""How an interphase is imaged: settings drawn from ranges, and the noiseless image they give."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from interphase.electron import checked_energy
from interphase.errors import ParameterError
from interphase.simulation.checks import check_finite, check_not_negative, check_positive
from interphase.simulation.imaging.cost import Multislice, multislice_for
from interphase.simulation.imaging.detectors import Detector, Transfer
from interphase.simulation.imaging.images import image_from_exit_wave, sample_window
from interphase.simulation.imaging.optics import Optics
from interphase.simulation.imaging.waves import ExitWave, exit_wave, refuse_wave_of_another
from interphase.simulation.models.architectures import Range

if TYPE_CHECKING:
    from interphase.simulation.models.interphases import InterphaseModel


_DOWN_TO_0_OR_BELOW = {"focal_spread_a", "corrected_defocus_a", "over_scherzer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagingConditions:
    """How an interphase is imaged."""

    beam_energy_kev: float
    """Beam energy [keV]."""
    pixel_size_a: float
    """Size of a pixel of the image [Å]."""
    optics: Optics
    """Aberrations and coherence."""
    dose_e_per_a2: float
    """Dose [e/Å²]; it is applied to the noiseless image afterwards."""
    dqe0: float = 1.0
    """Detective quantum efficiency of the camera at zero frequency."""
    mtf: Transfer | None = None
    """Transfer of the camera; ``None`` for 1 everywhere."""

    def __post_init__(self) -> None:
        checked_energy(self.beam_energy_kev)
        check_positive(pixel_size_a=self.pixel_size_a)
        check_not_negative(dose_e_per_a2=self.dose_e_per_a2)
        _ = self.detector  # which checks its own

    @property
    def detector(self) -> Detector:
        """The camera, one that counts."""
        return Detector(dqe0=self.dqe0, mtf=self.mtf)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagingRanges:
    """From where to where imaging conditions are drawn.

    Half of the microscopes have a corrector: spherical aberration up to 10 µm in size and a small
    defocus of either sign. The others are underfocused by 0.3 to 2 times Scherzer's defocus.
    """

    beam_energies_kev: tuple[float, ...] = (80.0, 200.0, 300.0)
    """Beam energies, drawn evenly [keV]."""
    pixel_size_a: Range = (0.3, 1.0)
    """Size of a pixel, in the logarithm [Å]."""
    corrected_share: float = 0.5
    """Share of microscopes with a corrector."""
    corrected_defocus_a: Range = (-300.0, 300.0)
    """Defocus with a corrector, positive = underfocus [Å]."""
    spherical_aberration_mm: Range = (0.5, 2.7)
    """Spherical aberration without a corrector [mm]."""
    over_scherzer: Range = (0.3, 2.0)
    """Defocus without a corrector, over Scherzer's."""
    focal_spread_a: Range = (20.0, 60.0)
    """Standard deviation of the focus [Å]."""
    semi_convergence_mrad: Range = (0.03, 0.3)
    """1/e half-angle of the illumination, in the logarithm [mrad]."""
    dose_e_per_a2: Range = (10.0, 3000.0)
    """Dose, in the logarithm [e/Å²]."""
    dqe0: Range = (0.4, 0.95)
    """Detective quantum efficiency of a counting camera at zero frequency; no camera's figure."""
    mtf_at_half_nyquist: Range = (0.55, 0.95)
    """Its transfer at half of Nyquist's frequency; at Nyquist's it is 0.4 to 0.8 of that."""

    def __post_init__(self) -> None:
        if not len(self.beam_energies_kev):
            raise ParameterError("beam_energies_kev is empty: give at least one beam energy [keV]")
        checked_energy(np.asarray(self.beam_energies_kev))
        ranges = {f.name: getattr(self, f.name) for f in fields(self) if f.type == Range}
        for name, limits in ranges.items():
            if np.shape(limits) != (2,) or not limits[0] <= limits[1]:
                raise ParameterError(f"{name} is {limits!r}: expected two numbers, lower first")
        check_finite(**ranges)
        check_not_negative(focal_spread_a=self.focal_spread_a)
        check_positive(**{name: ranges[name] for name in ranges.keys() - _DOWN_TO_0_OR_BELOW})
        shares = {name: getattr(self, name) for name in ("dqe0", "mtf_at_half_nyquist")}
        for name, share in (shares | {"corrected_share": (0.0, self.corrected_share)}).items():
            if not 0 <= share[1] <= 1:
                raise ParameterError(f"{name} reaches {share[1]!r}: expected shares from 0 to 1")


def sample_conditions(
    rng: np.random.Generator, *, ranges: ImagingRanges | None = None
) -> ImagingConditions:
    """Return imaging conditions drawn from stated ranges.

    Parameters
    ----------
    rng
        Source of randomness.
    ranges
        From where to where.

    Examples
    --------
    >>> conditions = sample_conditions(np.random.default_rng(3))
    >>> conditions.beam_energy_kev in (80.0, 200.0, 300.0)
    True
    """
    from interphase.electron import scherzer_defocus

    ranges = ranges or ImagingRanges()
    energy = float(rng.choice(ranges.beam_energies_kev))
    if rng.random() < ranges.corrected_share:
        aberration = float(rng.uniform(-0.01, 0.01))
        defocus = float(rng.uniform(*ranges.corrected_defocus_a))
    else:
        aberration = float(rng.uniform(*ranges.spherical_aberration_mm))
        scherzer = scherzer_defocus(beam_energy_kev=energy, spherical_aberration_mm=aberration)
        defocus = float(scherzer * rng.uniform(*ranges.over_scherzer))

    def logarithmic(limits: Range) -> float:
        return float(np.exp(rng.uniform(*np.log(limits))))

    halfway = float(rng.uniform(*ranges.mtf_at_half_nyquist))
    return ImagingConditions(
        beam_energy_kev=energy,
        pixel_size_a=logarithmic(ranges.pixel_size_a),
        optics=Optics(
            defocus_a=defocus,
            spherical_aberration_mm=aberration,
            focal_spread_a=float(rng.uniform(*ranges.focal_spread_a)),
            semi_convergence_mrad=logarithmic(ranges.semi_convergence_mrad),
        ),
        dose_e_per_a2=logarithmic(ranges.dose_e_per_a2),
        dqe0=float(rng.uniform(*ranges.dqe0)),
        mtf=Transfer(at_half_nyquist=halfway, at_nyquist=halfway * float(rng.uniform(0.4, 0.8))),
    )


def interphase_wave(
    model: "InterphaseModel",
    beam_energy_kev: float,
    *,
    settings: Multislice | None = None,
    memory_limit_gb: float | None = None,
) -> ExitWave:
    """Return the exit wave of an interphase, its margin included.

    Parameters
    ----------
    model
        The interphase.
    beam_energy_kev
        Beam energy [keV].
    settings
        How finely it is computed; by default `multislice_for` an error of 3 % of the
        contrast, little beside the noise of any dose that an interphase survives. Where there are
        heavy atoms it is larger: 4 to 8 % in slabs of LLZO, 8 to 30 % in copper.
    memory_limit_gb
        See `exit_wave`.
    """
    settings = settings or multislice_for(0.03, beam_energy_kev=beam_energy_kev)
    return exit_wave(
        model.scene,
        beam_energy_kev=beam_energy_kev,
        settings=settings,
        memory_limit_gb=memory_limit_gb,
    )


def interphase_image(
    model: "InterphaseModel", wave: ExitWave, *, optics: Optics, pixel_size_a: float
) -> np.ndarray:
    """Return the noiseless image of a model's field, 1 in vacuum.

    Parameters
    ----------
    model
        The interphase.
    wave
        Its exit wave, from `interphase_wave`.
    optics
        Aberrations and coherence.
    pixel_size_a
        Size of a pixel [Å]; the margin is cut off after the image is formed, so what lies
        beyond the field is delocalised into it as in a real image.

    Returns
    -------
    ndarray of shape (M, N)
        The first pixel is at the corner of the field; single precision.

    Raises
    ------
    ParameterError
        The pixels are finer than the wave's, or larger than the field, or the wave is not the
        model's.
    """
    refuse_wave_of_another(wave, model.scene)
    fine = max(wave.pixel_size_a)
    if not fine <= pixel_size_a < min(model.field_a):
        raise ParameterError(
            f"pixel_size_a is {pixel_size_a!r}: expected at least the wave's sampling of "
            f"{fine:.3f} Å and less than the field of {min(model.field_a):.0f} Å"
        )
    shape = (int(model.field_a[0] / pixel_size_a), int(model.field_a[1] / pixel_size_a))
    return sample_window(
        image_from_exit_wave(wave, optics),
        model.scene.size_a,
        origin_a=(model.margin_a, model.margin_a),
        pixel_size_a=pixel_size_a,
        shape=shape,
    )
