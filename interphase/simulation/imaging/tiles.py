"""How a scan is computed: its places are parted into tiles, each in a window of the scene.

Every place needs only the atoms near it. Places of a tile share a window and its potential.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.imaging.cost import (
    BAND,
    Cost,
    Multislice,
    free_memory_gb,
    refuse_above,
    slice_count,
    transform_time_s,
    wave_pixels,
)
from interphase.simulation.imaging.probes import (
    AnnularDetector,
    PatternPixels,
    Probe,
    Scan,
    probe_window,
)
from interphase.simulation.imaging.waves import (
    moving_atoms,
    potential_of,
    refuse_missing_device,
)
from interphase.simulation.models.scene import Scene

if TYPE_CHECKING:
    import dask.array

    from interphase.simulation.imaging.vibrations import Vibrations

_BAND = BAND["infinite"] - 0.01
"""What abTEM keeps of the band of a wave, so that nothing is folded back onto a detector."""

# Tuned on LiF and Li2CO3 for the errors that `scanned_images` states; multislice_for knows plane
# waves and the whole band only.
_BEYOND_CONE_PER_A = 2.5
_BEYOND_DETECTORS_PER_A = 1.8
"""How far the band reaches past the cone and the detectors: an electron that is scattered out of
it is lost, with all that it would have made of the rest."""
_SCATTERED_PER_A = 1.1
"""How far past the cone electrons go that make the contrast of a bright field."""
_ALONG_SLICE = 0.06
"""Frequency along the beam, λk²/2, of the steepest electrons times the thickness of a slice. The
spline shares atoms between slices, which leaves them sinc⁴ of it, 98 % of their intensity."""
_WAVE_BUFFERS = 6
"""Single-precision complex arrays of each wave's size that are alive at once, measured."""
_TRANSFORMS_PER_SLICE = (5.0, 16.0)
"""Time of a slice, in complex Fourier transforms: for each probe, and for the potential."""
_BYTES_PER_ATOM = 250
_WIDEST_TILE = 8
"""Positions along the side of a tile; more are no faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPlan:
    """How the positions of a scan are computed."""

    settings: Multislice
    grid: tuple[int, int]
    """Pixels of the scene."""
    window: tuple[int, int]
    """Pixels of the window around a tile; those of the scene where it is not cut."""
    tile: tuple[int, int]
    """Positions (m, n) that share a window."""
    batch: int
    """Positions of a tile that are computed at once."""
    cost: Cost
    """Of the whole scan."""


def _settings_for(probe: Probe, angle_mrad: float) -> Multislice:
    """Return settings with the errors that `scanned_images` states."""
    per_a = 1e-3 / probe.wavelength_a
    cone, detected = probe.semi_convergence_mrad * per_a, angle_mrad * per_a
    band = max(cone + _BEYOND_CONE_PER_A, detected + _BEYOND_DETECTORS_PER_A)
    steepest = max(cone + _SCATTERED_PER_A, detected)
    return Multislice(
        sampling_a=_BAND / (2 * band),
        slice_thickness_a=2 * _ALONG_SLICE / (probe.wavelength_a * steepest**2),
    )


def _sampling_for(probe: Probe, angle_mrad: float) -> float:
    """Return the coarsest sampling that holds electrons at an angle [Å]."""
    return _BAND * probe.wavelength_a / (2e-3 * max(angle_mrad, probe.semi_convergence_mrad))


def planned_scan(
    scene: Scene,
    probe: Probe,
    scan: Scan,
    detectors: Mapping[str, AnnularDetector] | PatternPixels,
    settings: Multislice | None,
    window_a: float | None,
    vibrations: "Vibrations | None",
    memory_limit_gb: float | None,
) -> ScanPlan:
    """Return how a scan is computed.

    The tile is the one that takes the least time. Memory decides only how much of it is computed
    at once, so that the result depends on the scan and not on the machine.
    """
    import dask
    from dask.system import CPU_COUNT

    if isinstance(detectors, PatternPixels):
        angle = probe.wavelength_a * 1e3 * detectors.reach_per_a
        least_window = 2 / detectors.reciprocal_pixel_size_per_a
    else:
        angle = max(detector.outer_mrad for detector in detectors.values())
        least_window = 0.0
    settings = settings or _settings_for(probe, angle)
    finest = _sampling_for(probe, angle)
    if settings.sampling_a > finest:
        raise ParameterError(
            f"waves sampled at {settings.sampling_a:.3g} Å do not reach "
            f"{max(angle, probe.semi_convergence_mrad):.4g} mrad: give a sampling of "
            f"{np.floor(finest * 1e4) / 1e4} Å or smaller angles"
        )
    width = probe_window(probe, scene.thickness_a) if window_a is None else window_a
    if not width > 0:
        raise ParameterError(
            f"window_a is {window_a!r}: expected Å > 0, or inf for the whole scene"
        )
    grid = wave_pixels(scene.size_a, settings.sampling_a)
    configurations = vibrations.configurations if vibrations else 1
    slices = slice_count(scene.thickness_a, settings.slice_thickness_a)
    per_probe, per_potential = _TRANSFORMS_PER_SLICE

    def tiled(side: int) -> tuple[float, tuple[int, int], tuple[int, int], int]:
        tile = (min(side, scan.shape[0]), min(side, scan.shape[1]))
        rows, columns = (
            _window_pixels(max(width + (places - 1) * scan.step_a, least_window), extent, count)
            for places, extent, count in zip(tile, scene.size_a, grid, strict=True)
        )
        tiles = -(-scan.shape[0] // tile[0]) * -(-scan.shape[1] // tile[1])
        transforms = slices * (scan.shape[0] * scan.shape[1] * per_probe + tiles * per_potential)
        return transforms * rows * columns * np.log2(rows * columns), tile, (rows, columns), tiles

    work, tile, window, tiles = min(tiled(side) for side in range(1, _WIDEST_TILE + 1))
    waves_gb = 8e-9 * window[0] * window[1] * _WAVE_BUFFERS
    waves_gb *= min(int(dask.config.get("num_workers", CPU_COUNT)), tiles)
    atoms_gb = len(scene.atoms) * configurations * _BYTES_PER_ATOM / 1e9
    limit = free_memory_gb() if memory_limit_gb is None else memory_limit_gb
    room = int(np.clip((limit - atoms_gb) / waves_gb - 2, 1, tile[0] * tile[1]))
    plan = ScanPlan(
        settings=settings,
        grid=grid,
        window=window,
        tile=tile,
        batch=room,
        cost=Cost(
            memory_gb=waves_gb * (room + 2) + atoms_gb,
            time_s=float(configurations * work * transform_time_s()),
        ),
    )
    size = window_size(scene, plan)
    refuse_above(
        limit,
        plan.cost,
        what=f"one probe in a window of {size[0]:.0f} × {size[1]:.0f} Å",
        remedy="give a smaller `window_a`, a coarser sampling or a larger `memory_limit_gb`",
    )
    return plan


def _window_pixels(width_a: float, extent_a: float, pixels: int) -> int:
    """Return the pixels of a window, or of the scene where that is no wider."""
    from scipy.fft import next_fast_len

    if width_a >= extent_a:
        return pixels
    return min(pixels, int(next_fast_len(int(np.ceil(width_a / extent_a * pixels)))))


def window_size(scene: Scene, plan: ScanPlan) -> tuple[float, float]:
    """Return the extent (y, x) of a window [Å]."""
    rows, columns = (
        extent * part / whole
        for extent, part, whole in zip(scene.size_a, plan.window, plan.grid, strict=True)
    )
    return rows, columns


def scanned(
    scene: Scene,
    probe: Probe,
    scan: Scan,
    plan: ScanPlan,
    detect: Callable[..., Any],
    shares: tuple[np.ndarray, ...],
    detected_shape: tuple[int, ...],
    vibrations: "Vibrations | None",
    rng: np.random.Generator | None,
    device: str,
) -> "dask.array.Array":
    """Return what is detected at every place, shape (M, N, *detected_shape), not computed yet."""
    import dask.array as da
    from dask.delayed import delayed

    refuse_missing_device(device)
    moving = moving_atoms(scene, vibrations, rng)
    scenes = (
        [scene]
        if vibrations is None
        else [replace(scene, atoms=atoms) for atoms in moving.to_atoms_ensemble().trajectory]
    )
    task = delayed(_tile, pure=False)
    given = delayed((scenes, probe, plan, detect, shares, device), traverse=False)
    (m, n), (M, N) = plan.tile, scan.shape

    def block(top: int, left: int) -> Any:
        places = scan.places_a(slice(top, top + m), slice(left, left + n))
        shape = (*places.shape[:2], *detected_shape)
        return da.from_delayed(task(given, places), shape=shape, dtype=np.float32)  # type: ignore[no-untyped-call]

    blocks = [[block(top, left) for left in range(0, N, n)] for top in range(0, M, m)]
    rows = [da.concatenate(row, axis=1) for row in blocks]  # type: ignore[no-untyped-call]
    whole: da.Array = da.concatenate(rows, axis=0)  # type: ignore[no-untyped-call]
    return whole


def _tile(
    given: tuple[list[Scene], Probe, ScanPlan, Callable[..., Any], tuple[np.ndarray, ...], str],
    places: np.ndarray,
) -> np.ndarray:
    """Return what is detected at the places (m, n, 2) of a tile [Å], shape (m, n, ...)."""
    from abtem.core.backend import asnumpy, get_array_module

    scenes, probe, plan, detect, shares, device = given
    xp = get_array_module(device)
    weights = [xp.asarray(share) for share in shares]
    flat = places.reshape(-1, 2)
    batches = np.array_split(flat, -(-len(flat) // plan.batch))
    total: Any = 0.0
    for scene in scenes:
        window, corner = _window(scene, plan, flat)
        seen = [
            detect(_patterns(window, probe, plan, batch - corner, device, xp), *weights)
            for batch in batches
        ]
        total = total + xp.concatenate(seen)
    mean = asnumpy(total) / len(scenes)
    return np.asarray(mean.reshape(*places.shape[:2], *mean.shape[1:]), dtype=np.float32)


def _patterns(
    window: Scene, probe: Probe, plan: ScanPlan, places: np.ndarray, device: str, xp: Any
) -> Any:
    """Return the share of the beam at each frequency for places (B, 2), shape (B, M, N)."""
    import abtem

    potential = potential_of(window, plan.settings, shape=plan.window, device=device)
    # abTEM lets a slice act at its upper face. The spline's atoms are on average in its middle,
    # and the probe reaches them half a slice later.
    late = potential.slice_thickness[0] / 2 if plan.settings.projection == "spline" else 0.0
    beam = abtem.Probe(
        energy=probe.beam_energy_kev * 1e3,
        semiangle_cutoff=probe.semi_convergence_mrad,
        aberrations={
            "C10": late - probe.defocus_a,
            "C30": probe.spherical_aberration_mm * 1e7,
        },
        device=device,
    )
    waves: Any = beam.multislice(
        potential, scan=abtem.CustomScan(places[:, ::-1]), max_batch=len(places), lazy=False
    )
    return xp.swapaxes(xp.abs(xp.fft.fft2(waves.array)) ** 2, -2, -1)


def _window(scene: Scene, plan: ScanPlan, places: np.ndarray) -> tuple[Scene, np.ndarray]:
    """Return the part of a periodic scene around places, and where its corner lies (y, x) [Å]."""
    pixel = np.array(scene.size_a) / plan.grid
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    whole = np.array(plan.window) == plan.grid
    corner = np.where(whole, 0, np.round(middle / pixel) - np.array(plan.window) // 2) * pixel
    size = window_size(scene, plan)
    moved = (scene.atoms.positions[:, 1::-1] - corner) % np.array(scene.size_a)
    inside = whole | (moved < size)
    atoms = scene.atoms[inside.all(axis=1)]
    atoms.positions[:, 1::-1] = moved[inside.all(axis=1)]
    # A displaced atom of the surface stays in the box.
    atoms.positions[:, 2] = np.clip(atoms.positions[:, 2], 0, scene.thickness_a - 1e-3)
    atoms.set_cell([size[1], size[0], scene.thickness_a])
    return replace(scene, atoms=atoms, size_a=size, truths=(), bodies=()), corner
