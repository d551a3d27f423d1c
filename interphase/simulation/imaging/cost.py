"""What a multislice costs, known before it is paid, and settings that keep a stated error."""

import time
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.checks import check_positive
from interphase.simulation.models.scene import Scene

Projection = Literal["spline", "infinite", "finite"]
"""How atoms become slices of potential, see `exit_wave`."""

BAND: dict[Projection, float] = {"spline": 1.0, "infinite": 2 / 3, "finite": 2 / 3}
"""Share of the sampling's band that a wave keeps. abTEM keeps two thirds, so that products of two
waves do not alias into it. A potential without interpolation errors gains more from the last third
than it loses by aliasing."""

_BYTES_PER_PIXEL = 112
_BYTES_PER_ATOM: dict[Projection, int] = {"spline": 75, "infinite": 75, "finite": 1700}
"""Peak of memory for every pixel of the wave and for every atom, measured."""
_BYTES_PER_FURTHER_WAVE = 32
"""What a further frozen configuration needs for every pixel."""

_TRANSFORMS_PER_SLICE = 14.0
_TRANSFORMS_PER_ELEMENT: dict[Projection, float] = {"spline": 1.5, "infinite": 2.0, "finite": 0.0}
_SECONDS_PER_ATOM: dict[Projection, float] = {"spline": 2.5e-6, "infinite": 2.5e-6, "finite": 4e-5}
"""Time of a slice, in complex Fourier transforms of the wave, and of atoms, measured."""

# Relative errors of images, measured against 0.1 Å and slices of 0.5 Å with crystallites of
# LiF, Li2O, Li2CO3, LiOH and Li of 20 to 45 Å in an organic film of 80 to 120 Å at 80 to 300 keV,
# 60 Å from focus with a focal spread of 25 Å. The largest of them.
_ERROR_OF_SAMPLING = (0.030, 0.267, 3.0)
"""Error at a sampling [Å], and the power it grows with."""
_ERROR_OF_SLICES = (0.024, 4.0, 1.3)
"""Error at a slice thickness [Å] and the wavelength below, and the power it grows with."""
_WAVELENGTH_OF_SLICES = (0.041757, 1.1)
"""Wavelength at 80 keV [Å], and the power with which the error of slices grows with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Multislice:
    """How finely a multislice is computed."""

    sampling_a: float
    """Coarsest sampling of the wave [Å]."""
    slice_thickness_a: float = 4.0
    """Thickness of a slice [Å]."""
    projection: Projection = "spline"
    """How atoms become slices of potential, see `exit_wave`."""

    def __post_init__(self) -> None:
        check_positive(sampling_a=self.sampling_a, slice_thickness_a=self.slice_thickness_a)
        if self.projection not in BAND:
            raise ParameterError(
                f"projection is {self.projection!r}: give one of {', '.join(BAND)}"
            )

    def refuse_spacing(self, d_a: float) -> None:
        """Raise where lattice planes are too close for the sampling.

        Parameters
        ----------
        d_a
            Their spacing [Å].

        Raises
        ------
        ParameterError
            The wave does not hold a frequency of 1 / `d_a`.
        """
        coarsest = _coarsest_sampling(d_a, self.projection)
        if self.sampling_a > coarsest * (1 + 1e-9):
            raise ParameterError(
                f"sampling_a is {self.sampling_a:.3g} Å, and spacings of {d_a:g} Å are lost: "
                f"give {np.floor(coarsest * 1e3 + 1e-6) / 1e3:g} Å or less"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a computation needs."""

    memory_gb: float
    """Peak of memory beside what is loaded already [GB]."""
    time_s: float
    """Time on one core of this machine [s], to within a factor of two."""


def multislice_for(
    relative_error: float, *, beam_energy_kev: float, d_min_a: float | None = None
) -> Multislice:
    """Return the cheapest settings with which an image is wrong by no more than a stated share.

    Parameters
    ----------
    relative_error
        Root mean square error of the noiseless image over its standard deviation, such as 0.01.
    beam_energy_kev
        Beam energy [keV].
    d_min_a
        Shortest spacing of lattice planes that the wave must hold [Å].

    Returns
    -------
    Multislice
        With spline projection.

    Raises
    ------
    ParameterError
        The error is below 0.002, where these errors were not measured, or above 0.2.

    Notes
    -----
    Errors of sampling and slices, taken as independent, were measured on crystallites of light
    elements, up to F, in an organic film. Heavy atoms scatter beyond the band: ask for a fifth of
    the error where LLZO is seen, and for a twelfth where copper is.

    Examples
    --------
    >>> settings = multislice_for(0.01, beam_energy_kev=300.0)
    >>> round(settings.sampling_a, 2), round(settings.slice_thickness_a, 1)
    (0.16, 3.0)
    """
    from interphase.electron import wavelength_from_energy

    if not 0.002 <= relative_error <= 0.2:
        raise ParameterError(
            f"relative_error is {relative_error!r}: expected 0.002 to 0.2, such as 0.01"
        )
    error, sampling, sampling_power = _ERROR_OF_SAMPLING
    slice_error, thickness, slice_power = _ERROR_OF_SLICES
    wavelength, wavelength_power = _WAVELENGTH_OF_SLICES
    ratio = wavelength_from_energy(beam_energy_kev) / wavelength
    slice_error *= ratio**wavelength_power
    # Time goes with 1 / (sampling² thickness): its least for a given sum of squared errors.
    share = slice_power / (slice_power + sampling_power / 2)
    sampling *= (share**0.5 * relative_error / error) ** (1 / sampling_power)
    thickness *= ((1 - share) ** 0.5 * relative_error / slice_error) ** (1 / slice_power)
    if d_min_a is not None:
        sampling = min(sampling, _coarsest_sampling(d_min_a, "spline"))
    return Multislice(sampling_a=sampling, slice_thickness_a=thickness)


def _coarsest_sampling(d_a: float, projection: Projection) -> float:
    """Return the sampling whose band ends at 1 / d [Å]."""
    if not 0 < d_a < float("inf"):
        raise ParameterError(f"d_min_a is {d_a!r}: expected a spacing above 0 Å")
    return BAND[projection] * d_a / 2


def wave_pixels(size_a: tuple[float, float], sampling_a: float) -> tuple[int, int]:
    """Return the pixels (M, N) of a wave: as coarse as allowed, in numbers that transform fast.

    >>> wave_pixels((100.0, 51.0), 0.25)
    (400, 210)
    """
    from scipy.fft import next_fast_len

    rows, columns = (next_fast_len(int(np.ceil(extent / sampling_a - 1e-6))) for extent in size_a)
    return rows, columns


def slice_count(thickness_a: float, slice_thickness_a: float) -> int:
    """Return the number of equal slices, none thicker than asked for.

    >>> slice_count(40.0, 4.0), slice_count(40.1, 4.0)
    (10, 11)
    """
    return int(np.ceil(thickness_a / slice_thickness_a - 1e-6))


def exit_wave_cost(scene: Scene, settings: Multislice, *, configurations: int = 1) -> Cost:
    """Return about what `exit_wave` needs.

    Parameters
    ----------
    scene
        The atoms.
    settings
        How finely it is computed.
    configurations
        Frozen configurations of the atoms.
    """
    rows, columns = wave_pixels(scene.size_a, settings.sampling_a)
    pixels, atoms, kind = rows * columns, len(scene.atoms), settings.projection
    elements = len(np.unique(scene.atoms.numbers))
    transforms = slice_count(scene.thickness_a, settings.slice_thickness_a) * (
        _TRANSFORMS_PER_SLICE + _TRANSFORMS_PER_ELEMENT[kind] * elements
    )
    per_transform = transform_time_s() * pixels * np.log2(max(pixels, 2))
    return Cost(
        memory_gb=(pixels * _bytes_per_pixel(configurations) + atoms * _BYTES_PER_ATOM[kind]) / 1e9,
        time_s=float(
            configurations * (transforms * per_transform + _SECONDS_PER_ATOM[kind] * atoms)
        ),
    )


def _bytes_per_pixel(configurations: int) -> int:
    return _BYTES_PER_PIXEL + _BYTES_PER_FURTHER_WAVE * (configurations - 1)


@cache
def transform_time_s() -> float:
    """Return the time of a Fourier transform here, over its points and their logarithm [s]."""
    from scipy.fft import fft2

    array = np.ones((512, 512), dtype=np.complex64)
    times = []
    for _ in range(4):
        start = time.process_time()
        fft2(array)
        times.append(time.process_time() - start)
    return min(times) / float(array.size * np.log2(array.size))


def free_memory_gb() -> float:
    """Return the memory that is free on this machine now [GB].

    >>> free_memory_gb() > 0
    True
    """
    import psutil

    return float(psutil.virtual_memory().available) / 1e9


def refuse_exit_wave_above(
    memory_limit_gb: float | None, scene: Scene, settings: Multislice, *, configurations: int = 1
) -> None:
    """Raise where an exit wave needs more memory than allowed, and say what would not.

    Parameters
    ----------
    memory_limit_gb
        The limit [GB]; ``None`` for what is free now.
    scene
        The atoms.
    settings
        How finely it is to be computed.
    configurations
        Frozen configurations of the atoms.

    Raises
    ------
    ParameterError
        It needs more.
    """
    limit = _limit_gb(memory_limit_gb)
    cost = exit_wave_cost(scene, settings, configurations=configurations)
    remedy = "give a smaller field or a larger `memory_limit_gb`"
    left = limit * 1e9 - len(scene.atoms) * _BYTES_PER_ATOM[settings.projection]
    if left > 0:
        # Two hundredths more, for numbers of pixels that transform fast.
        area = scene.size_a[0] * scene.size_a[1]
        coarser = 1.02 * np.sqrt(area * _bytes_per_pixel(configurations) / left)
        remedy += f", or a sampling of {np.ceil(coarser * 100) / 100:.2f} Å"
    refuse_above(
        limit,
        cost,
        what=f"a wave of {scene.size_a[0]:.0f} × {scene.size_a[1]:.0f} Å at "
        f"{settings.sampling_a:.2g} Å"
        + (f" in {configurations} configurations" if configurations > 1 else ""),
        remedy=remedy,
    )


def refuse_above(memory_limit_gb: float | None, cost: Cost, *, what: str, remedy: str) -> None:
    """Raise where a computation needs more memory than allowed.

    Parameters
    ----------
    memory_limit_gb
        The limit [GB]; ``None`` for what is free now.
    cost
        What it needs.
    what
        The computation, in words.
    remedy
        What to do instead, in words.

    Raises
    ------
    ParameterError
        It needs more.
    """
    limit = _limit_gb(memory_limit_gb)
    if cost.memory_gb > limit:
        raise ParameterError(
            f"{what} needs about {cost.memory_gb:.1f} GB, above the limit of {limit:.1f} GB: "
            f"{remedy}"
        )


def _limit_gb(memory_limit_gb: float | None) -> float:
    limit = free_memory_gb() if memory_limit_gb is None else memory_limit_gb
    if not limit >= 0:
        raise ParameterError(f"memory_limit_gb is {memory_limit_gb!r}: expected GB, 0 or more")
    return limit
