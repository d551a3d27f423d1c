"""Images and patterns of a scanned probe, by abTEM's multislice.

Everything here is the expected share of the beam; dose and detector come afterwards, so that a dose
series costs nothing.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.imaging.cost import Cost, Multislice
from interphase.simulation.imaging.detectors import IDEAL_COUNTER, Detector, record_electrons
from interphase.simulation.imaging.probes import AnnularDetector, PatternPixels, Probe, Scan
from interphase.simulation.imaging.tiles import planned_scan, scanned, window_size
from interphase.simulation.models.scene import Scene

if TYPE_CHECKING:
    import dask.array

    from interphase.simulation.imaging.vibrations import Vibrations


def scanned_images(
    scene: Scene,
    probe: Probe,
    scan: Scan,
    *,
    detectors: Mapping[str, AnnularDetector],
    settings: Multislice | None = None,
    window_a: float | None = None,
    vibrations: "Vibrations | None" = None,
    rng: np.random.Generator | None = None,
    device: Literal["cpu", "gpu"] = "cpu",
    memory_limit_gb: float | None = None,
) -> dict[str, np.ndarray]:
    """Return the images that annular detectors make, all from one multislice.

    The noiseless share of the beam. What is recorded at a dose follows from `record_counts`
    with ``pixel_size_a=scan.step_a``: the dose is the mean over the scanned field, also where
    the probe is wider than a step or leaves gaps between places. The finite source follows from
    `blurred_by_source`.

    Without `vibrations` atoms are at rest and there is no thermal diffuse scattering, which is
    most of what a dark field at high angle sees: such an image is not quantitative.

    Parameters
    ----------
    scene
        The atoms, periodic across the beam.
    probe
        The beam.
    scan
        Where it goes.
    detectors
        Name and ring of each detector.
    settings
        How finely it is computed; by default as the notes say. A smaller largest angle is cheaper.
    window_a
        Width of the box around the probe in which atoms are taken into account [Å];
        `probe_window` by default, ``inf`` for the whole scene.
    vibrations
        Frozen phonons, the same for all positions; intensities are averaged.
    rng
        Source of randomness of the phonons.
    device
        Where abTEM computes; ``gpu`` needs CuPy.
    memory_limit_gb
        Parts the positions so that no more memory is needed [GB]; ``None`` for what is free now.

    Returns
    -------
    dict
        An array of shape (M, N) for each detector, single precision.

    Raises
    ------
    ParameterError
        A detector reaches beyond the angles computed, phonons have no `rng`, or a single position
        needs more memory than allowed.

    Notes
    -----
    By default the wave holds 2.5 1/Å more than the cone and 1.8 1/Å more than the detectors, and
    slices leave the steepest electrons 98 % of their intensity. The root mean square error of the
    annular bright field and of dark fields is then at most 3 % of their contrast (the standard
    deviation), and the mean of dark fields is right to 1 %. A bright field of the whole cone is
    wrong by up to 1.5 % of what is missing from it, which can be 8 % of a contrast that is weak.
    Measured on crystallites of LiF, Li2O and Li2CO3 of 15 Å in 20 to 100 Å of film, 80 to 300 keV,
    cones of 8 to 30 mrad, rings up to 100 mrad, atoms at rest, against 0.055 Å and slices of 0.6 Å
    or finer. Narrower cones and heavier atoms were not measured. The error of the window, see
    `probe_window`, comes on top.
    """
    if not detectors:
        raise ParameterError('there is no detector: give {"adf": AnnularDetector(...)}, say')
    plan = planned_scan(
        scene, probe, scan, detectors, settings, window_a, vibrations, memory_limit_gb
    )
    size = window_size(scene, plan)
    rings = np.stack([_ring(d, probe, plan.window, size) for d in detectors.values()], axis=-1)
    lazy = scanned(
        scene, probe, scan, plan, _on_rings, (rings,), (len(detectors),), vibrations, rng, device
    )
    shares = lazy.compute()  # type: ignore[no-untyped-call]
    return {name: shares[..., i] for i, name in enumerate(detectors)}


def scanned_patterns(
    scene: Scene,
    probe: Probe,
    scan: Scan,
    *,
    pixels: PatternPixels,
    settings: Multislice | None = None,
    window_a: float | None = None,
    vibrations: "Vibrations | None" = None,
    rng: np.random.Generator | None = None,
    device: Literal["cpu", "gpu"] = "cpu",
    memory_limit_gb: float | None = None,
) -> "dask.array.Array":
    """Return the diffraction pattern of every place of a scan, nothing of it computed yet.

    Parameters
    ----------
    scene
        The atoms, periodic across the beam.
    probe
        The beam.
    scan
        Where it goes.
    pixels
        The pixels of a pattern. Electrons are shared out to them by area.
    settings, window_a, vibrations, rng, device, memory_limit_gb
        See `scanned_images`; the window is at least twice as wide as the pixels ask for, because
        it blurs the rims of discs by its own reciprocal.

    Returns
    -------
    dask.array.Array of shape (M, N, Q, R)
        Expected share of the beam in each pixel, single precision. The chunks are tiles of
        positions.

    Raises
    ------
    ParameterError
        The pattern reaches beyond the angles computed, its pixels are finer than the scene is
        wide, phonons have no `rng`, or a single position needs more memory than allowed.
    """
    pixel = pixels.reciprocal_pixel_size_per_a
    if pixel * min(scene.size_a) < 1 - 1e-6:
        raise ParameterError(
            f"reciprocal_pixel_size_per_a is {pixel!r}: a scene of {scene.size_a[0]:.0f} × "
            f"{scene.size_a[1]:.0f} Å shows no finer pixels than "
            f"{np.ceil(1e4 / min(scene.size_a)) / 1e4} 1/Å: give larger pixels or a larger scene"
        )
    plan = planned_scan(scene, probe, scan, pixels, settings, window_a, vibrations, memory_limit_gb)
    size = window_size(scene, plan)
    shared = [
        _shared_out(k.ravel(), 1 / extent, count, pixel)
        for k, extent, count in zip(
            _frequencies(plan.window, size), size, pixels.shape, strict=True
        )
    ]
    return scanned(
        scene,
        probe,
        scan,
        plan,
        _on_pixels,
        (*shared, pixels.open.astype(np.float32)),
        pixels.shape,
        vibrations,
        rng,
        device,
    )


def nanobeam_pattern(
    scene: Scene,
    probe: Probe,
    place_a: tuple[float, float],
    *,
    pixels: PatternPixels,
    **options: Any,
) -> np.ndarray:
    """Return the pattern of a probe that stands still: the expected share of the beam per pixel.

    `record_electrons` of this times the number of electrons is what a camera records.

    Parameters
    ----------
    scene
        The atoms.
    probe
        The beam.
    place_a
        Where it stands (y, x), in the scene's coordinates [Å].
    pixels
        The pixels and the beam stop.
    **options
        As for `scanned_patterns`.

    Returns
    -------
    ndarray of shape (Q, R)
        Single precision.
    """
    scan = Scan(origin_a=place_a, step_a=1.0, shape=(1, 1))
    patterns = scanned_patterns(scene, probe, scan, pixels=pixels, **options)
    return np.asarray(patterns[0, 0].compute())


def record_patterns(
    patterns: "dask.array.Array",
    *,
    electrons: float,
    detector: Detector = IDEAL_COUNTER,
    rng: np.random.Generator,
) -> "dask.array.Array":
    """Return what a camera records of expected patterns, nothing of it computed yet.

    Parameters
    ----------
    patterns
        Expected share of the beam per pixel, shape (M, N, Q, R).
    electrons
        Electrons in the beam at each position; the dose times the area of a step.
    detector
        The camera.
    rng
        Source of randomness. Each position draws from a stream of its own, so that the counts
        do not depend on the chunks, or on how often they are computed.

    Returns
    -------
    dask.array.Array of shape (M, N, Q, R)
        Counts, single precision.

    Raises
    ------
    ParameterError
        `electrons` is negative or not finite.
    """
    if not 0 <= electrons < float("inf"):
        raise ParameterError(f"electrons is {electrons!r}: expected a finite number >= 0")
    whole = patterns.rechunk({2: -1, 3: -1})  # type: ignore[no-untyped-call]
    counts: dask.array.Array = whole.map_blocks(
        _record_block,
        electrons=electrons,
        detector=detector,
        seed=int(rng.integers(2**63)),
        dtype=np.float32,
        meta=np.empty((0,) * 4, dtype=np.float32),
    )
    return counts


def _record_block(
    block: np.ndarray,
    *,
    electrons: float,
    detector: Detector,
    seed: int,
    block_info: dict[int, Any],
) -> np.ndarray:
    (top, _), (left, _) = block_info[0]["array-location"][:2]
    counts = np.empty(block.shape, dtype=np.float32)
    for row, column in np.ndindex(block.shape[:2]):
        counts[row, column] = record_electrons(
            electrons * block[row, column],
            detector=detector,
            rng=np.random.default_rng((seed, top + row, left + column)),
        )
    return counts


def blurred_by_source(image: np.ndarray, *, step_a: float, source_fwhm_a: float) -> np.ndarray:
    """Return a scanned image as a source of finite size makes it.

    Parameters
    ----------
    image
        Image of a point source, shape (M, N).
    step_a
        Distance between places [Å], finer than the source.
    source_fwhm_a
        Full width at half maximum of the Gaussian image of the source [Å].

    Returns
    -------
    ndarray of shape (M, N)
        Single precision. Beyond the edge the image is taken to go on as it ends.

    Raises
    ------
    ParameterError
        The source is smaller than nothing.
    """
    from scipy.ndimage import gaussian_filter

    if not 0 <= source_fwhm_a < float("inf"):
        raise ParameterError(f"source_fwhm_a is {source_fwhm_a!r}: expected Å >= 0")
    sigma = source_fwhm_a / step_a / np.sqrt(8 * np.log(2))
    return np.asarray(gaussian_filter(image, sigma, mode="nearest"), dtype=np.float32)


def scan_cost(
    scene: Scene,
    probe: Probe,
    scan: Scan,
    *,
    detectors: Mapping[str, AnnularDetector] | PatternPixels,
    settings: Multislice | None = None,
    window_a: float | None = None,
    configurations: int = 1,
    memory_limit_gb: float | None = None,
) -> Cost:
    """Return about what `scanned_images` or `scanned_patterns` needs.

    Parameters
    ----------
    scene, probe, scan, settings, window_a, memory_limit_gb
        As for those.
    detectors
        Rings by name, or the pixels of a pattern.
    configurations
        Frozen configurations of the atoms.

    Returns
    -------
    Cost
        The memory while it is computed; patterns that are kept come on top. The time on one core.
    """
    from interphase.simulation.imaging.vibrations import Vibrations

    vibrations = Vibrations(rms_a={}, configurations=configurations)
    return planned_scan(
        scene, probe, scan, detectors, settings, window_a, vibrations, memory_limit_gb
    ).cost


def _frequencies(
    shape: tuple[int, int], size_a: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the frequencies of a wave's transform, shapes (M, 1) and (1, N) [1/Å]."""
    ky, kx = (np.fft.fftfreq(n, extent / n) for n, extent in zip(shape, size_a, strict=True))
    return ky[:, None], kx[None]


def _ring(
    detector: AnnularDetector, probe: Probe, shape: tuple[int, int], size_a: tuple[float, float]
) -> np.ndarray:
    """Share of each frequency's cell that lies on a detector, shape (M, N)."""
    milliradian = 1e3 * probe.wavelength_a
    angle = milliradian * np.hypot(*_frequencies(shape, size_a))
    cell = milliradian / np.sqrt(size_a[0] * size_a[1])
    within_outer, within_inner = (
        np.clip((edge - angle) / cell + 0.5, 0, 1) if edge else 0.0
        for edge in (detector.outer_mrad, detector.inner_mrad)
    )
    return np.asarray(within_outer - within_inner, dtype=np.float32)


def _shared_out(k: np.ndarray, step: float, pixels: int, pixel_size: float) -> np.ndarray:
    """Share of each frequency's cell that falls into each pixel along an axis, shape (Q, M)."""
    centres = (np.arange(pixels)[:, None] - pixels // 2) * pixel_size
    end = np.minimum(k + step / 2, centres + pixel_size / 2)
    start = np.maximum(k - step / 2, centres - pixel_size / 2)
    return np.asarray(np.clip(end - start, 0, None) / step, dtype=np.float32)


def _on_rings(patterns: Any, rings: Any) -> Any:
    """Sum patterns (B, M, N) over detectors (M, N, D)."""
    return patterns.reshape(len(patterns), -1) @ rings.reshape(-1, rings.shape[-1])


def _on_pixels(patterns: Any, rows: Any, columns: Any, beside_the_stop: Any) -> Any:
    """Share patterns (B, M, N) out to the pixels of a camera."""
    return (rows @ patterns @ columns.T) * beside_the_stop
