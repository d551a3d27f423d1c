"""Exit waves, images and diffraction patterns, by abTEM.

abTEM's arrays are (x, y); everything this module hands out is (row = y, column = x). The
transposition happens in `exit_wave` and `image_from_exit_wave` and nowhere else.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.detectors import IDEAL_COUNTER, Detector, record_electrons
from interphase.simulation.scene import Scene

_WAVE_BUFFERS = 12
"""Single-precision complex arrays of the wave's size that are alive at once, measured."""
_BYTES_PER_ATOM = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Optics:
    """What the microscope makes of an exit wave."""

    defocus_a: float
    """Defocus, positive = underfocus [Å]."""
    spherical_aberration_mm: float = 0.0
    """Coefficient of spherical aberration [mm]."""
    focal_spread_a: float = 0.0
    """Standard deviation of the focus through the spread of energy and currents [Å]."""
    semi_convergence_mrad: float = 0.0
    """1/e half-angle of the Gaussian source, which limits spatial coherence [mrad]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExitWave:
    """The electron wave below the specimen, 1 in vacuum."""

    array: np.ndarray
    """Complex amplitude, shape (M, N)."""
    pixel_size_a: tuple[float, float]
    """Sampling (y, x) [Å]."""
    beam_energy_kev: float
    """Beam energy [keV]."""


def memory_estimate_gb(scene: Scene, *, sampling_a: float) -> float:
    """Return about how much memory `exit_wave` needs [GB].

    Parameters
    ----------
    scene
        The atoms.
    sampling_a
        Sampling of the wave [Å].
    """
    pixels = np.prod([np.ceil(extent / sampling_a) for extent in scene.size_a])
    return float(8 * _WAVE_BUFFERS * pixels + _BYTES_PER_ATOM * len(scene.atoms)) / 1e9


def exit_wave(
    scene: Scene,
    *,
    beam_energy_kev: float,
    sampling_a: float,
    slice_thickness_a: float = 4.0,
    projection: Literal["infinite", "finite"] = "infinite",
    device: Literal["cpu", "gpu"] = "cpu",
    memory_limit_gb: float = 8.0,
) -> ExitWave:
    """Return the wave a plane wave becomes in passing a scene.

    Multislice through potentials of independent neutral atoms at rest (Lobato). The wave
    holds frequencies up to 1 / (3 `sampling_a`). Atoms between grid points are spread over
    four of them, so a coarse sampling weakens lattice spots: the amplitude of LiF(200) from
    50 Å of crystal at 300 keV comes out 4 % too low at 0.13 Å, 10 % at 0.2 Å and 18 % at
    0.27 Å, while slices of 4 Å change it by 4 % of the image's contrast.

    Parameters
    ----------
    scene
        The atoms.
    beam_energy_kev
        Beam energy [keV].
    sampling_a
        Coarsest sampling of the wave allowed [Å]; the nearest that the box allows is used.
    slice_thickness_a
        Thickness of a slice [Å].
    projection
        ``infinite`` puts each atom whole into its slice, ``finite`` divides it; the latter
        takes several times longer and matters for slices thinner than an atom.
    device
        Where abTEM computes; ``gpu`` needs CuPy.
    memory_limit_gb
        Refuse a job that needs more memory than this [GB].

    Returns
    -------
    ExitWave
        Sampled at about `sampling_a`.

    Raises
    ------
    ParameterError
        A number is not positive, or the job needs more memory than allowed.
    """
    for name, value in (
        ("beam_energy_kev", beam_energy_kev),
        ("sampling_a", sampling_a),
        ("slice_thickness_a", slice_thickness_a),
    ):
        if not 0 < value < float("inf"):
            raise ParameterError(f"{name} is {value!r}: expected a finite number > 0")
    needed = memory_estimate_gb(scene, sampling_a=sampling_a)
    if needed > memory_limit_gb:
        coarser = sampling_a * np.sqrt(needed / memory_limit_gb)
        raise ParameterError(
            f"a wave of {scene.size_a[0]:.0f} × {scene.size_a[1]:.0f} Å at {sampling_a} Å needs "
            f"about {needed:.1f} GB, above the limit of {memory_limit_gb} GB: give a smaller "
            f"field, a sampling of {coarser:.2f} Å or a larger `memory_limit_gb`"
        )
    import abtem

    y, x = scene.size_a
    gpts = (int(np.ceil(x / sampling_a - 1e-6)), int(np.ceil(y / sampling_a - 1e-6)))
    with abtem.config.set(_quiet(device)):
        potential = abtem.Potential(
            scene.atoms,
            gpts=gpts,
            slice_thickness=slice_thickness_a,
            projection=projection,
            parametrization="lobato",
            device=device,
        )
        wave = abtem.PlaneWave(energy=beam_energy_kev * 1e3, device=device)
        array = np.asarray(wave.multislice(potential, lazy=False).to_cpu().array)  # type: ignore[union-attr]
    return ExitWave(
        array=np.ascontiguousarray(array.T),
        pixel_size_a=(y / gpts[1], x / gpts[0]),
        beam_energy_kev=beam_energy_kev,
    )


def image_from_exit_wave(wave: ExitWave, optics: Optics) -> np.ndarray:
    r"""Return the expected intensity of an image, 1 in vacuum.

    Partial coherence is taken in the quasi-coherent approximation, by envelopes on the wave.

    Parameters
    ----------
    wave
        The exit wave.
    optics
        Aberrations and coherence.

    Returns
    -------
    ndarray of shape (M, N)
        Single precision.

    Notes
    -----
    :math:`\chi(k) = -\pi\lambda\Delta f k^2 + \tfrac12\pi C_s\lambda^3 k^4`; envelopes
    :math:`\exp[-\tfrac12(\pi\lambda\delta k^2)^2]` and
    :math:`\exp[-(\pi\alpha/\lambda)^2(C_s\lambda^3k^3 - \Delta f\lambda k)^2]`.
    """
    import abtem

    with abtem.config.set(_quiet("cpu")):
        waves = abtem.Waves(
            wave.array.T,
            energy=wave.beam_energy_kev * 1e3,
            sampling=wave.pixel_size_a[::-1],
        )
        transfer = abtem.CTF(
            defocus=optics.defocus_a,
            Cs=optics.spherical_aberration_mm * 1e7,
            # abTEM takes the 1/e width of the focal spread.
            focal_spread=np.sqrt(2) * optics.focal_spread_a,
            angular_spread=optics.semi_convergence_mrad,
            energy=wave.beam_energy_kev * 1e3,
        )
        intensity = waves.apply_ctf(transfer).intensity().array
    return np.ascontiguousarray(intensity.T, dtype=np.float32)


def resample(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a periodic image on a coarser grid, free of aliasing.

    Parameters
    ----------
    image
        Shape (M, N).
    shape
        Pixels afterwards, at most (M, N).

    Returns
    -------
    ndarray of shape `shape`
        Single precision; the mean is kept.

    Raises
    ------
    ParameterError
        `shape` is finer than the image.

    Examples
    --------
    >>> wave = np.cos(2 * np.pi * np.arange(12) / 12) * np.ones((12, 1))
    >>> np.round(resample(wave, (6, 6))[0], 3).tolist()
    [1.0, 0.5, -0.5, -1.0, -0.5, 0.5]
    """
    rows, columns = shape
    if rows > image.shape[0] or columns > image.shape[1]:
        raise ParameterError(
            f"an image of {image.shape} pixels cannot be resampled to {shape}: give at most as many"
        )
    spectrum = np.fft.rfft2(image)
    keep = np.fft.fftfreq(rows, 1 / rows).astype(int)
    cropped = spectrum[keep][:, : columns // 2 + 1]
    # A frequency at Nyquist's has no room for its mate and is left out.
    if rows % 2 == 0 and rows < image.shape[0]:
        cropped[rows // 2] = 0
    if columns % 2 == 0 and columns < image.shape[1]:
        cropped[:, -1] = 0
    scale = rows * columns / image.size
    return np.asarray(np.fft.irfft2(cropped, s=shape) * scale, dtype=np.float32)


def diffraction_intensity(
    wave: ExitWave, *, aperture_diameter_a: float
) -> tuple[np.ndarray, float]:
    """Return the expected share of electrons in each pixel of a selected-area pattern.

    Parameters
    ----------
    wave
        The exit wave of a square field.
    aperture_diameter_a
        Diameter of the selected area, in the middle of the field [Å]; its edge is soft over
        a tenth of it.

    Returns
    -------
    pattern
        Sums to 1, undiffracted beam at (M // 2, N // 2), shape (M, N).
    reciprocal_pixel_size_per_a
        Sampling [1/Å].

    Raises
    ------
    ParameterError
        The field is not square or the aperture is larger than it.
    """
    rows, columns = wave.array.shape
    extent = rows * wave.pixel_size_a[0]
    if rows != columns or not np.isclose(*wave.pixel_size_a):
        raise ParameterError(
            f"a field of {rows} × {columns} pixels makes a pattern with unequal sampling: "
            "give a square field"
        )
    if not 0 < aperture_diameter_a <= extent:
        raise ParameterError(
            f"aperture_diameter_a is {aperture_diameter_a!r}: expected more than 0 and at most "
            f"the field of {extent:.1f} Å"
        )
    aperture = _soft_aperture(wave, aperture_diameter_a)
    pattern = np.abs(np.fft.fftshift(np.fft.fft2(wave.array * aperture))) ** 2
    return pattern / pattern.sum(), 1 / extent


def _soft_aperture(wave: ExitWave, diameter_a: float) -> np.ndarray:
    """Return the transmitted amplitude of a disc with a soft rim, shape of the wave."""
    rows = len(wave.array)
    along = (np.arange(rows) - rows // 2) * wave.pixel_size_a[0]
    radius = np.hypot(along[:, None], along)
    aperture: np.ndarray = np.clip((diameter_a / 2 - radius) / (0.1 * diameter_a), 0, 1)
    return aperture


def diffraction_pattern(
    wave: ExitWave,
    *,
    aperture_diameter_a: float,
    dose_e_per_a2: float,
    beam_stop_per_a: float = 0.0,
    detector: Detector = IDEAL_COUNTER,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float]:
    """Return a recorded selected-area pattern.

    Parameters
    ----------
    wave
        The exit wave of a square field.
    aperture_diameter_a
        Diameter of the selected area [Å].
    dose_e_per_a2
        Dose at the specimen [e/Å²].
    beam_stop_per_a
        Radius around the undiffracted beam in which nothing arrives [1/Å].
    detector
        The camera.
    rng
        Source of randomness.

    Returns
    -------
    pattern
        Counts, undiffracted beam at (M // 2, N // 2), shape (M, N).
    reciprocal_pixel_size_per_a
        Sampling [1/Å].
    """
    share, step = diffraction_intensity(wave, aperture_diameter_a=aperture_diameter_a)
    along = (np.arange(len(share)) - len(share) // 2) * step
    share = np.where(np.hypot(along[:, None], along) < beam_stop_per_a, 0.0, share)
    open_area_a2 = (_soft_aperture(wave, aperture_diameter_a) ** 2).sum() * np.prod(
        wave.pixel_size_a
    )
    electrons = share * (dose_e_per_a2 * open_area_a2)
    return record_electrons(electrons, detector=detector, rng=rng), step


def _quiet(device: str) -> dict[str, object]:
    return {
        "device": device,
        "precision": "float32",
        "diagnostics.progress_bar": False,
        "diagnostics.task_progress": False,
    }
