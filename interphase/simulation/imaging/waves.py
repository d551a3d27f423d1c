"""Exit waves, by abTEM's multislice.

abTEM's arrays are (x, y); everything this package hands out is (row = y, column = x). For waves the
transposition happens here.
"""

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from interphase.electron import checked_energy, wavelength_from_energy
from interphase.errors import ParameterError
from interphase.simulation.checks import check_finite, check_positive
from interphase.simulation.imaging.cost import (
    BAND,
    Multislice,
    multislice_for,
    refuse_exit_wave_above,
    slice_count,
    wave_pixels,
)
from interphase.simulation.models.scene import Scene

if TYPE_CHECKING:
    from ase import Atoms

    from interphase.simulation.imaging.vibrations import Vibrations

_LARGEST_TILT_MRAD = 100.0
_ABTEM_SETTINGS = threading.Lock()
"""abTEM's configuration is one for all threads."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExitWave:
    """The electron wave below the specimen, 1 in vacuum."""

    array: np.ndarray
    """Complex amplitude, shape (M, N), or (C, M, N) for C frozen configurations of the atoms."""
    pixel_size_a: tuple[float, float]
    """Sampling (y, x) [Å]."""
    beam_energy_kev: float
    """Beam energy [keV]."""

    def __post_init__(self) -> None:
        if self.array.dtype.kind != "c" or self.array.ndim not in (2, 3):
            raise ParameterError(
                f"array is {self.array.dtype} of shape {self.array.shape}: expected complex "
                "numbers of shape (M, N) or (C, M, N)"
            )
        if np.shape(self.pixel_size_a) != (2,):
            raise ParameterError(f"pixel_size_a is {self.pixel_size_a!r}: expected two, (y, x)")
        check_positive(pixel_size_a=self.pixel_size_a)
        checked_energy(self.beam_energy_kev)


def exit_wave(
    scene: Scene,
    *,
    beam_energy_kev: float,
    settings: Multislice | None = None,
    d_min_a: float | None = None,
    beam_tilt_mrad: tuple[float, float] = (0.0, 0.0),
    vibrations: "Vibrations | None" = None,
    rng: np.random.Generator | None = None,
    device: Literal["cpu", "gpu"] = "cpu",
    memory_limit_gb: float | None = None,
) -> ExitWave:
    """Return the wave a plane wave becomes in passing a scene.

    Multislice through potentials of independent neutral atoms (Lobato). No thermal diffuse
    scattering without `vibrations`, and no inelastic scattering at all.

    Parameters
    ----------
    scene
        The atoms.
    beam_energy_kev
        Beam energy [keV].
    settings
        How finely it is computed; by default `multislice_for` an error of 1 % of the image's
        contrast. The nearest finer sampling that transforms fast is used. Projection ``spline``
        is as good as an exact potential within the band of the wave, which is all that the
        sampling can hold, and shares atoms between neighbouring slices. ``infinite`` and
        ``finite`` are abTEM's own, with two thirds of the band: ``infinite`` interpolates atoms
        between grid points and moves them into slices, which makes images of crystallites wrong
        by 10 % of their contrast at 0.2 Å with slices of 2 Å (benchmarks/multislice.py).
    d_min_a
        Shortest spacing of lattice planes that matters [Å]: settings that cannot hold it are
        refused.
    beam_tilt_mrad
        Tilt of the beam (y, x) [mrad], small: the wave moves by its tangent on the way down, as
        if the columns of the specimen leaned the other way, and the tilt of the image is taken
        back at the exit.
    vibrations
        Frozen phonons; ``None`` for atoms at rest.
    rng
        Source of randomness of the phonons.
    device
        Where abTEM computes; ``gpu`` needs CuPy.
    memory_limit_gb
        Refuse a job that needs more memory than this [GB]; ``None`` for what is free now.

    Returns
    -------
    ExitWave
        Sampled at about `settings.sampling_a`.

    Raises
    ------
    ParameterError
        Energy, tilt or the atoms' positions mean nothing, the sampling is too coarse for
        `d_min_a`, phonons have no `rng` or no displacement for an element, the device is not
        there, or the job needs more memory than allowed.

    Notes
    -----
    What is scattered out of the band is lost: of the electrons behind 80 Å of an organic film
    with LiF at 300 keV, 3 · 10⁻⁴ with ``spline`` at 0.2 Å and 7 · 10⁻⁵ at 0.1 Å, and two or three
    times that with abTEM's projections.
    """
    checked_energy(beam_energy_kev)
    if not np.all(np.abs(beam_tilt_mrad) <= _LARGEST_TILT_MRAD):
        raise ParameterError(
            f"beam_tilt_mrad is {beam_tilt_mrad!r}: expected tilts (y, x) up to "
            f"{_LARGEST_TILT_MRAD:g} mrad; turn the specimen for more"
        )
    settings = settings or multislice_for(0.01, beam_energy_kev=beam_energy_kev, d_min_a=d_min_a)
    if d_min_a is not None:
        settings.refuse_spacing(d_min_a)
    refuse_exit_wave_above(
        memory_limit_gb,
        scene,
        settings,
        configurations=vibrations.configurations if vibrations else 1,
    )
    import abtem

    refuse_missing_device(device)
    rows, columns = wave_pixels(scene.size_a, settings.sampling_a)
    with (
        _ABTEM_SETTINGS,
        abtem.config.set(quiet(device) | {"antialias.cutoff": BAND[settings.projection]}),
    ):
        potential = potential_of(
            scene,
            settings,
            shape=(rows, columns),
            atoms=moving_atoms(scene, vibrations, rng),
            device=device,
        )
        wave = abtem.PlaneWave(
            energy=beam_energy_kev * 1e3, tilt=(beam_tilt_mrad[1], beam_tilt_mrad[0]), device=device
        )
        array = wave.multislice(potential, lazy=False).to_cpu().array  # type: ignore[union-attr]
    result = ExitWave(
        array=np.swapaxes(array, -2, -1),
        pixel_size_a=(scene.size_a[0] / rows, scene.size_a[1] / columns),
        beam_energy_kev=beam_energy_kev,
    )
    if settings.projection == "spline":
        # abTEM lets a slice act at its upper face and then goes down through it. Half a slice back
        # makes that symmetric about the slice's middle, where its atoms are on average.
        back = -potential.slice_thickness[-1] / 2
        result = propagated(result, back, beam_tilt_mrad=beam_tilt_mrad)
    return replace(result, array=np.ascontiguousarray(result.array))


def potential_of(
    scene: Scene,
    settings: Multislice,
    *,
    shape: tuple[int, int],
    atoms: Any = None,
    device: str = "cpu",
) -> Any:
    """Return abTEM's potential of a scene, or of other `atoms` in its box, on (M, N) pixels."""
    import abtem

    slices = slice_count(scene.thickness_a, settings.slice_thickness_a)
    slice_thickness = scene.thickness_a / slices
    projected: dict[str, Any] = {"projection": settings.projection}
    if settings.projection == "spline":
        from interphase.simulation.imaging.projection import SplineProjection

        projected = {
            "integrator": SplineProjection(
                slice_thickness_a=slice_thickness, thickness_a=scene.thickness_a
            )
        }
    return abtem.Potential(
        _boxed(scene) if atoms is None else atoms,
        gpts=shape[::-1],
        slice_thickness=(slice_thickness,) * slices,
        parametrization="lobato",
        device=device,
        **projected,
    )


def propagated(
    wave: ExitWave, distance_a: float, *, beam_tilt_mrad: tuple[float, float] = (0.0, 0.0)
) -> ExitWave:
    r"""Return a wave after a way through vacuum.

    Parameters
    ----------
    wave
        The wave.
    distance_a
        Way along the beam, negative to go back [Å].
    beam_tilt_mrad
        Tilt (y, x) with which the wave was made [mrad].

    Returns
    -------
    ExitWave
        The Fourier transform times :math:`\exp[-i\pi\lambda z k^2 - 2\pi i z\,
        \mathbf{k}\cdot\tan\mathbf{t}]`.

    Raises
    ------
    ParameterError
        Distance or tilt are no finite numbers.
    """
    check_finite(distance_a=distance_a, beam_tilt_mrad=beam_tilt_mrad)
    wavelength = wavelength_from_energy(wave.beam_energy_kev)

    def kernel(axis: int) -> np.ndarray:
        k = np.fft.fftfreq(wave.array.shape[axis], wave.pixel_size_a[axis])
        shift = np.tan(beam_tilt_mrad[axis] * 1e-3)
        phase = np.pi * distance_a * (wavelength * k**2 + 2 * k * shift)
        return np.asarray(np.exp(-1j * phase), dtype=wave.array.dtype)

    spectrum = np.fft.fft2(wave.array)
    spectrum *= kernel(-2)[:, None]
    spectrum *= kernel(-1)
    return ExitWave(
        array=np.fft.ifft2(spectrum, out=spectrum),
        pixel_size_a=wave.pixel_size_a,
        beam_energy_kev=wave.beam_energy_kev,
    )


def refuse_wave_of_another(wave: ExitWave, scene: Scene) -> None:
    """Raise where a wave has another extent than a scene."""
    extent = np.multiply(wave.array.shape[-2:], wave.pixel_size_a)
    if not np.allclose(extent, scene.size_a, rtol=1e-3):
        raise ParameterError(
            f"a wave of {np.round(extent, 1).tolist()} Å is not that of a scene of "
            f"{np.round(scene.size_a, 1).tolist()} Å: give the scene it was made from"
        )


def refuse_missing_device(device: str) -> None:
    """Raise where abTEM cannot compute."""
    if device not in ("cpu", "gpu"):
        raise ParameterError(f"device is {device!r}: give 'cpu' or 'gpu'")
    if device == "gpu":
        from abtem.core.backend import check_cupy_is_installed

        try:
            check_cupy_is_installed()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise ParameterError(
                "device is 'gpu', but CuPy is not installed: install the CuPy package of this "
                "machine's CUDA, or give device='cpu'"
            ) from error


def _boxed(scene: Scene) -> "Atoms":
    """Return the atoms in the box of the scene, whatever box they came with."""
    from ase import Atoms

    return Atoms(
        numbers=scene.atoms.numbers,
        positions=scene.atoms.positions,
        cell=[scene.size_a[1], scene.size_a[0], scene.thickness_a],
        pbc=True,
    )


def moving_atoms(
    scene: Scene, vibrations: "Vibrations | None", rng: np.random.Generator | None
) -> Any:
    """Return the atoms in the scene's box, or abTEM's ensemble of displaced ones."""
    atoms = _boxed(scene)
    if vibrations is None:
        return atoms
    if rng is None:
        raise ParameterError(
            "frozen phonons are random: give `rng`, numpy.random.default_rng(seed)"
        )
    present = set(atoms.symbols)
    missing = present - set(vibrations.rms_a)
    if missing:
        raise ParameterError(
            f"rms_a has no displacement for {', '.join(sorted(missing))}: give one for every "
            "element of the scene [Å]"
        )
    import abtem

    seeds = rng.integers(2**31, size=vibrations.configurations)
    return abtem.FrozenPhonons(
        atoms,
        num_configs=vibrations.configurations,
        sigmas={symbol: vibrations.rms_a[symbol] for symbol in sorted(present)},
        seed=tuple(int(seed) for seed in seeds),
    )


def quiet(device: str) -> dict[str, object]:
    """Return abTEM's configuration for this package: a device, and nothing printed.

    Plans of Fourier transforms are estimated and not timed, as abTEM does by default: timing costs
    as much as it gains where each wave has a shape of its own, and it chooses another order of
    sums from run to run, so that images would differ in their last digits.
    """
    return {
        "device": device,
        "precision": "float32",
        "fftw.planning_effort": "FFTW_ESTIMATE",
        "diagnostics.progress_bar": False,
        "diagnostics.task_progress": False,
    }
