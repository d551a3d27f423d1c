"""Exposures in time: movies that drift, and crystals that fade under the beam.

Both act after the exit wave, so a dose series costs one multislice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.checks import check_count, check_finite, check_positive
from interphase.simulation.imaging.detectors import (
    IDEAL_COUNTER,
    Detector,
    above_zero,
    record_counts,
    refuse_unexpected,
)
from interphase.simulation.imaging.images import image_wave, wave_spectrum
from interphase.simulation.imaging.optics import Optics
from interphase.simulation.imaging.waves import ExitWave, refuse_wave_of_another
from interphase.simulation.models.scene import Scene

if TYPE_CHECKING:
    from interphase.phases import Phase

_REACH_A = 3.0
"""How far beyond a crystal's atoms all of the wave is looked at [Å]: half a lattice spacing, and
what a beam moves sideways between crystal and exit."""
_RIM_A = 5.0
"""Width over which the rest of the wave is let in [Å]."""
_SPOT_RADIUS = 1.5
"""Radius of a spot in which its beam is sought, times the crystal's diameter: a ball's first
zero is at 1.43."""
_SMALLEST_SPOT_PER_A = 0.05
_DIFFUSE_A = 4.0
"""Width to which the electrons of faded beams are smeared [Å], more than lattice spacings."""


def movie(
    intensity: np.ndarray,
    *,
    dose_e_per_a2: float,
    frames: int,
    pixel_size_a: float,
    drift_a: np.ndarray | tuple[float, float] = (0.0, 0.0),
    detector: Detector = IDEAL_COUNTER,
    exposure_time_s: float | None = None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return frames of a drifting specimen that share a dose equally.

    The specimen stands still while a frame is taken; for motion within frames take more of them
    and add them up. Where a sharp image rings below 0 when it is moved by parts of a pixel, that
    is set to 0 and the frame is scaled to keep its electrons.

    Parameters
    ----------
    intensity
        Expected intensity, 1 in vacuum, periodic, shape (M, N), or (F, M, N) where it changes
        from frame to frame, as from `fading_images`.
    dose_e_per_a2
        Dose of all frames together [e/Å²].
    frames
        Number of frames F.
    pixel_size_a
        Size of a pixel at the specimen [Å].
    drift_a
        Movement (y, x) from one frame to the next [Å], or the position in every frame,
        shape (F, 2).
    detector
        The camera.
    exposure_time_s
        Time of all frames together [s], see `record_counts`.
    rng
        Source of randomness.

    Returns
    -------
    ndarray of shape (F, M, N)
        Counts, single precision.

    Raises
    ------
    ParameterError
        There is no frame, or `intensity` or `drift_a` has another shape or values that cannot
        be.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> frames = movie(
    ...     np.ones((64, 64)), dose_e_per_a2=40.0, frames=4, pixel_size_a=1.0, rng=rng
    ... )
    >>> frames.mean(axis=(1, 2)).round().tolist()
    [10.0, 10.0, 10.0, 10.0]
    """
    check_count(frames=frames)
    check_positive(pixel_size_a=pixel_size_a)
    check_finite(drift_a=drift_a)
    refuse_unexpected(intensity)
    if intensity.ndim == 3 and len(intensity) != frames:
        raise ParameterError(
            f"intensity has {len(intensity)} frames and frames is {frames}: give one for each"
        )
    drift = np.asarray(drift_a, dtype=float)
    positions = np.arange(frames)[:, None] * drift if drift.shape == (2,) else drift
    if positions.shape != (frames, 2):
        raise ParameterError(
            f"drift_a has shape {drift.shape}: expected (2,) for a steady drift or ({frames}, 2)"
        )
    shape = intensity.shape[-2:]
    spectra = np.broadcast_to(np.fft.rfft2(intensity), (frames, shape[0], shape[1] // 2 + 1))
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    recorded = np.empty((frames, *shape), dtype=np.float32)
    for frame, (y, x) in enumerate(positions / pixel_size_a):
        shift = np.exp(-2j * np.pi * (ky * y + kx * x))
        recorded[frame] = record_counts(
            above_zero(np.fft.irfft2(spectra[frame] * shift, s=shape)),
            dose_e_per_a2=dose_e_per_a2 / frames,
            pixel_size_a=pixel_size_a,
            detector=detector,
            exposure_time_s=None if exposure_time_s is None else exposure_time_s / frames,
            rng=rng,
        )
    return recorded


def fading_images(
    wave: ExitWave,
    optics: Optics,
    *,
    bragg: Mapping[str, ExitWave],
    critical_dose_e_per_a2: Mapping[str, float],
    accumulated_e_per_a2: Sequence[float] | np.ndarray,
) -> np.ndarray:
    r"""Return the expected images of a specimen whose crystals fade, each by its own dose.

    What fades are Bragg beams. Their electrons stay in the image as a background without
    structure where the crystal was; that damaged matter has a speckle of its own, loses mass,
    turns into another phase or moves is left out.

    Parameters
    ----------
    wave
        The exit wave of the fresh specimen.
    optics
        Aberrations and coherence.
    bragg
        Phase → its share of the wave, from `bragg_waves`.
    critical_dose_e_per_a2
        Phase → dose that lowers the intensity of its spots to 1/e [e/Å²]. A phase that is not
        there does not fade.
    accumulated_e_per_a2
        Dose that the specimen has had before the first frame and after each [e/Å²], shape
        (F + 1,): ``np.linspace(0, 50, 11)`` for ten frames of 5 e/Å² of a fresh specimen.

    Returns
    -------
    ndarray of shape (F, M, N)
        Intensity, 1 in vacuum, averaged over the dose of each frame; single precision. Frames
        of equal dose average to the image of their whole.

    Raises
    ------
    ParameterError
        Doses do not rise, a critical dose is not positive, or a wave of `bragg` is not part of
        `wave`.
    PhaseError
        A critical dose is that of no phase.

    Notes
    -----
    With beams :math:`\psi_p` of phase p and what is left, :math:`\psi_0`, the image at dose D is

    .. math::
        \Big|T\psi_0 + \sum_p a_p T\psi_p\Big|^2 + \sum_p (1 - a_p^2)\,
        \overline{|T\psi_p|^2}, \qquad a_p = e^{-D / 2 D_p}

    with T the optics and the bar a mean over more than lattice spacings.

    Examples
    --------
    >>> fringes = np.exp(2j * np.pi * np.arange(64) / 4) * np.ones((64, 1))
    >>> beam = ExitWave(array=0.1 * fringes, pixel_size_a=(0.5, 0.5), beam_energy_kev=300.0)
    >>> images = fading_images(
    ...     ExitWave(array=1 + beam.array, pixel_size_a=(0.5, 0.5), beam_energy_kev=300.0),
    ...     Optics(defocus_a=0.0),
    ...     bragg={"Li2O": beam},
    ...     critical_dose_e_per_a2={"Li2O": 10.0},
    ...     accumulated_e_per_a2=[0.0, 1e-3, 20.0, 20.001],
    ... )
    >>> np.ptp(images[[0, 2]], axis=(1, 2)).astype(float).round(3).tolist()
    [0.4, 0.147]
    """
    from scipy.ndimage import gaussian_filter

    from interphase.phases import load_phase

    doses = np.asarray(accumulated_e_per_a2, dtype=float)
    check_finite(accumulated_e_per_a2=doses)
    if doses.ndim != 1 or len(doses) < 2 or doses[0] < 0 or (np.diff(doses) < 0).any():
        raise ParameterError(
            f"accumulated_e_per_a2 is {doses.tolist()}: expected the dose before the first frame "
            "and after each, at least two values that rise from 0 or more"
        )
    for phase in critical_dose_e_per_a2.keys() - bragg.keys():
        load_phase(phase)
    for phase, part in bragg.items():
        if part.array.shape != wave.array.shape or part.pixel_size_a != wave.pixel_size_a:
            raise ParameterError(
                f"the Bragg wave of {phase} has shape {part.array.shape} and pixels of "
                f"{part.pixel_size_a} Å, the exit wave {wave.array.shape} and "
                f"{wave.pixel_size_a} Å: give `bragg_waves` of this exit wave"
            )
    check_positive(
        **{f"critical_dose_e_per_a2[{p!r}]": dose for p, dose in critical_dose_e_per_a2.items()}
    )
    fading = [phase for phase in bragg if phase in critical_dose_e_per_a2]
    critical = np.array([critical_dose_e_per_a2[phase] for phase in fading])
    rest = wave.array - sum((bragg[phase].array for phase in fading), np.complex64(0))
    parts = [replace(wave, array=rest), *(bragg[phase] for phase in fading)]
    amplitudes = [image_wave(wave_spectrum(part), optics, wave.beam_energy_kev) for part in parts]
    rates = np.array([0.0, *(1 / (2 * critical))])
    images = np.zeros((len(doses) - 1, *wave.array.shape[-2:]), dtype=np.float32)
    for p, q in combinations_with_replacement(range(len(parts)), 2):
        left = _mean_decay(rates[p] + rates[q], doses).astype(np.float32)[:, None, None]
        product = (amplitudes[p].conj() * amplitudes[q]).real
        product = product.reshape(-1, *images.shape[1:]).mean(axis=0)
        images += left * (product if p == q else 2 * product)
        if p == q > 0:
            width = _DIFFUSE_A / np.asarray(wave.pixel_size_a)
            images += (1 - left) * gaussian_filter(product, width, mode="wrap")
    return images


def _mean_decay(rate: float, doses: np.ndarray) -> np.ndarray:
    """Return the mean of exp(-rate · dose) between successive doses."""
    step = rate * np.diff(doses)
    mean = np.divide(-np.expm1(-step), step, out=np.ones_like(step), where=step > 0)
    return np.asarray(np.exp(-rate * doses[:-1]) * mean)


def bragg_waves(wave: ExitWave, scene: Scene, *, d_min_a: float = 1.0) -> dict[str, ExitWave]:
    r"""Return what the crystals of each phase diffract, as parts of an exit wave.

    Of each crystal the wave around its atoms is taken, and of that the spots on its reciprocal
    lattice that the Ewald sphere passes. What an amorphous matrix scatters there by chance is
    taken along: 3 to 6 % of the beams of a 26 Å crystallite on a zone axis in 40 Å of film. The
    undiffracted beam stays out, so a crystal's mean potential does not fade.

    Parameters
    ----------
    wave
        The exit wave of the scene, with the beam along z.
    scene
        Its atoms and crystals.
    d_min_a
        Shortest lattice spacing that is looked for [Å].

    Returns
    -------
    dict
        Phase → its part of the wave; without spots it is left out.

    Raises
    ------
    ParameterError
        The wave is not of a scene of this size.

    Notes
    -----
    A crystal of diameter d makes spots of radius 1.5 / d around each projected lattice vector g
    with an excitation error :math:`|g_z + \lambda g^2 / 2| < 1.5 / d`.
    """
    from interphase.electron import wavelength_from_energy

    refuse_wave_of_another(wave, scene)
    check_positive(d_min_a=d_min_a)
    pixel = np.asarray(wave.pixel_size_a)
    wavelength = wavelength_from_energy(wave.beam_energy_kev)
    # Each crystal takes from what the others have left, so that nothing is taken twice.
    left = wave.array.copy()
    parts: dict[str, np.ndarray] = {}
    for crystal in _crystals(scene):
        spots = crystal.spots(wavelength, d_min_a)
        if not len(spots):
            continue
        window, weight = _surroundings(crystal.positions_a, pixel, left.shape[-2:])
        spectrum = np.fft.fft2(left[window] * weight)
        keep = _near_spots(spots, crystal.spot_radius_per_a, weight.shape, pixel)
        part = np.fft.ifft2(spectrum * keep).astype(left.dtype)
        left[window] -= part
        parts.setdefault(crystal.phase.identifier, np.zeros_like(left))[window] += part
    return {name: replace(wave, array=array) for name, array in parts.items()}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Crystal:
    """A crystal in a scene."""

    phase: "Phase"
    """What it is."""
    axes: np.ndarray
    """From the crystal's Cartesian axes to (x, y, z), strain included, shape (3, 3)."""
    positions_a: np.ndarray
    """Its atoms (x, y, z) [Å], shape (N, 3)."""

    @property
    def spot_radius_per_a(self) -> float:
        """Radius of its spots [1/Å]; a ball's variance along an axis is its diameter² / 20."""
        extent = np.sqrt(20 * np.linalg.eigvalsh(np.cov(self.positions_a[:, :2].T))[0])
        return float(max(_SPOT_RADIUS / max(extent, 1.0), _SMALLEST_SPOT_PER_A))

    def spots(self, wavelength_a: float, d_min_a: float) -> np.ndarray:
        """Return the projected lattice vectors (x, y) [1/Å] near the Ewald sphere, shape (S, 2)."""
        from interphase.phases import reflections

        hkl = reflections(self.phase, d_min_a=d_min_a).hkl
        g = hkl @ self.phase.reciprocal_vectors @ np.linalg.inv(self.axes)
        height = np.sqrt(20 * self.positions_a[:, 2].var())
        error = g[:, 2] + wavelength_a / 2 * np.sum(g**2, axis=1)
        spots: np.ndarray = g[np.abs(error) < _SPOT_RADIUS / max(height, 1.0), :2]
        return spots


def _crystals(scene: Scene) -> Iterator[_Crystal]:
    """Yield the crystals of a scene that have enough atoms to diffract."""
    from interphase.phases import load_phase

    positions = scene.atoms.positions
    found = []
    if scene.bodies:
        owner = scene.atoms.arrays["body"]
        for index, body in enumerate(scene.bodies):
            if body.phase is not None and body.orientation is not None:
                strain = np.zeros((3, 3)) if body.strain is None else body.strain
                axes = (np.eye(3) + strain) @ body.orientation.matrix
                found.append((body.phase, axes, owner == index))
    else:
        for truth in scene.truths:
            y, x, z = truth.centre_a
            here = np.linalg.norm(positions - (x, y, z), axis=1) <= truth.diameter_a / 2
            found.append((load_phase(truth.phase), np.asarray(truth.orientation), here))
    for phase, axes, here in found:
        if here.sum() > 3:
            yield _Crystal(phase=phase, axes=axes, positions_a=positions[here])


def _surroundings(
    positions_a: np.ndarray, pixel: np.ndarray, shape: tuple[int, int]
) -> tuple[Any, np.ndarray]:
    """Return the window of the wave around atoms, and a weight with a soft rim in it."""
    from scipy.ndimage import distance_transform_edt

    places = positions_a[:, 1::-1] / pixel
    margin = (_REACH_A + _RIM_A) / pixel
    low = np.maximum(np.floor(places.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(places.max(axis=0) + margin) + 1, shape).astype(int)
    empty = np.ones(high - low, dtype=bool)
    at = np.clip(np.round(places).astype(int), low, high - 1) - low
    empty[at[:, 0], at[:, 1]] = False
    distance = distance_transform_edt(empty, sampling=pixel)
    beyond = np.clip((distance - _REACH_A) / _RIM_A, 0, 1)
    window = (..., slice(low[0], high[0]), slice(low[1], high[1]))
    return window, (0.5 + 0.5 * np.cos(np.pi * beyond)).astype(np.float32)


def _near_spots(
    spots: np.ndarray, radius_per_a: float, shape: tuple[int, ...], pixel: np.ndarray
) -> np.ndarray:
    """Return which frequencies of a window lie within a radius of a spot, shape (M, N)."""
    from scipy.spatial import cKDTree

    ky, kx = np.meshgrid(
        *(np.fft.fftfreq(n, p) for n, p in zip(shape, pixel, strict=True)), indexing="ij"
    )
    distance, _ = cKDTree(spots).query(
        np.stack([kx, ky], axis=-1), distance_upper_bound=radius_per_a
    )
    # The undiffracted beam and what is around it belong to all.
    near: np.ndarray = np.isfinite(distance) & (np.hypot(kx, ky) > radius_per_a)
    return near
