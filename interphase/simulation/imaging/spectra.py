"""Energy-loss spectrum images of a specimen whose materials are known in every pixel.

Low loss and core loss are two windows of one spectrum: all losses of a single collision, valence
and core, are stacked to any number of collisions by Poisson's law, exactly, in Fourier space.

Left out: electrons that elastic or inelastic scattering sends past the aperture (spectra are per
electron that the spectrometer collects), diffraction and channelling, surface and Cerenkov losses,
and delocalisation other than the probe's width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from interphase.core_loss import import_exspy
from interphase.errors import ParameterError
from interphase.simulation.imaging.detectors import IDEAL_COUNTER, Detector, record_electrons
from interphase.simulation.imaging.losses import (
    FWHM_PER_SIGMA,
    EnergyAxis,
    Spectrometer,
    grid_for,
    losses_per_a,
    mean_free_path,
    stacking_kernel,
)
from interphase.simulation.imaging.materials import LossMaterial, loss_material

_BLOCK_BYTES = 2**26


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectrumTruth:
    """What a spectrum image should be found to show."""

    relative_thickness: np.ndarray
    """Mean number of inelastic collisions t/λ, core losses included, shape (M, N)."""
    material_fraction: Mapping[str, np.ndarray]
    """Material → share of the specimen's thickness, 0 in vacuum, shape (M, N)."""
    atoms_per_nm2: Mapping[str, Mapping[str, np.ndarray]]
    """Element → material → its atoms in that material per area [1/nm²], shape (M, N)."""

    def areal_density_per_nm2(self, element: str) -> np.ndarray:
        """Return the atoms of an element per area [1/nm²], shape (M, N)."""
        nothing = np.zeros_like(self.relative_thickness)
        return sum(self.atoms_per_nm2.get(element, {}).values(), nothing)

    def species_fraction(self, element: str) -> dict[str, np.ndarray]:
        """Return which share of an element's atoms each material holds, shape (M, N)."""
        total = self.areal_density_per_nm2(element)
        return {
            material: np.divide(atoms, total, out=np.zeros_like(total), where=total > 0)
            for material, atoms in self.atoms_per_nm2.get(element, {}).items()
        }


def probe_maps(
    thickness_a: Mapping[str, np.ndarray],
    *,
    pixel_size_a: float,
    probe_fwhm_a: float = 0.0,
    binning: int = 1,
) -> dict[str, np.ndarray]:
    """Return the mean thickness of each material under the probe, at every scan position.

    The amount of each material is kept. Spectra of mean thicknesses are mean spectra to first
    order: where t/λ varies by much less than 1 under the probe.

    Parameters
    ----------
    thickness_a
        Material → thickness [Å], shape (M, N).
    pixel_size_a
        Size of a pixel of these maps [Å].
    probe_fwhm_a
        Full width at half maximum of the probe, a Gaussian [Å].
    binning
        Pixels of the maps along each side of a pixel of the spectrum image.

    Returns
    -------
    dict
        Material → thickness [Å], shape (M / binning, N / binning).

    Raises
    ------
    ParameterError
        The pixels do not fill those of the spectrum image.
    """
    from scipy.ndimage import gaussian_filter

    sigma = probe_fwhm_a / FWHM_PER_SIGMA / pixel_size_a
    maps = {}
    for material, thickness in _checked(thickness_a).items():
        rows, columns = thickness.shape
        if binning < 1 or rows % binning or columns % binning:
            raise ParameterError(
                f"{rows} × {columns} pixels cannot be binned by {binning}: "
                f"give maps whose sides are multiples of it"
            )
        blurred = gaussian_filter(thickness, sigma, mode="reflect")
        blocks = blurred.reshape(rows // binning, binning, columns // binning, binning)
        maps[material] = blocks.mean(axis=(1, 3))
    return maps


def spectrum_truth(
    thickness_a: Mapping[str, np.ndarray],
    *,
    spectrometer: Spectrometer,
    materials: Mapping[str, LossMaterial] | None = None,
) -> SpectrumTruth:
    """Return what `spectrum_image` of the same maps should be found to show.

    Parameters
    ----------
    thickness_a
        Material → thickness [Å], shape (M, N).
    spectrometer
        Beam and angles.
    materials
        See `spectrum_image`.

    Examples
    --------
    >>> optics = Spectrometer(
    ...     beam_energy_kev=300, collection_semi_angle_mrad=10, convergence_semi_angle_mrad=0,
    ...     resolution_fwhm_ev=0.8,
    ... )
    >>> truth = spectrum_truth({"Li2O": np.full((1, 1), 200.0)}, spectrometer=optics)
    >>> round(float(truth.areal_density_per_nm2("Li")[0, 0]))
    1632
    """
    maps = _checked(thickness_a)
    known = _materials(maps, materials)
    total = np.sum(list(maps.values()), axis=0)
    atoms: dict[str, dict[str, np.ndarray]] = {}
    for name, thickness in maps.items():
        for element, per_a3 in known[name].atoms_per_a3.items():
            atoms.setdefault(element, {})[name] = thickness * (per_a3 * 100)
    return SpectrumTruth(
        relative_thickness=np.sum(
            [maps[name] / mean_free_path(known[name], spectrometer) for name in maps], axis=0
        ),
        material_fraction={
            name: np.divide(t, total, out=np.zeros_like(total), where=total > 0)
            for name, t in maps.items()
        },
        atoms_per_nm2=atoms,
    )


def spectrum_image(
    thickness_a: Mapping[str, np.ndarray],
    *,
    axis: EnergyAxis,
    spectrometer: Spectrometer,
    energy_shift_ev: float | np.ndarray = 0.0,
    near_edge: bool = True,
    materials: Mapping[str, LossMaterial] | None = None,
    lazy: bool = False,
) -> Any:
    r"""Return the expected share of the electrons in each channel, for every pixel.

    Call it once for each range of dual spectra; `record_spectra` applies the dose. A pixel costs
    about 0.5 ms for 1000 eV at a resolution of 0.8 eV; what is needed beside the result is bounded.

    Parameters
    ----------
    thickness_a
        Material → its thickness along the beam [Å], shape (M, N), as in
        `InterphaseTruth.projected_thickness_a`. Names are phases or keys of `MATRICES`.
    axis
        The channels.
    spectrometer
        Beam, angles and resolution.
    energy_shift_ev
        Where the zero-loss peak is, for all pixels or for each, shape (M, N) [eV].
    near_edge
        Add the materials' near-edge peaks to their edges.
    materials
        Name → properties that stand in for those of `loss_material`.
    lazy
        Return a Dask array of rows that are computed when asked for.

    Returns
    -------
    ndarray or dask array of shape (M, N, E)
        Share of the electrons that the spectrometer collects; sums to 1 over all energies. Single
        precision.

    Raises
    ------
    ParameterError
        A material is unknown, a thickness negative, or shapes differ.

    Notes
    -----
    :math:`J = Z \ast \mathcal{F}^{-1} \exp[\sum_i t_i (\hat s_i - 1/\lambda_i)]` with the zero-loss
    peak Z and the losses of one collision per length :math:`s_i(E) = (1/\lambda_i - \sum_e n_e
    \sigma_e)\, p_i(E) + \sum_e n_e\, d\sigma_e / dE`: Fourier-log deconvolution [1]_ read from
    right to left. The mean free path is that of all losses, so valence losses :math:`p_i` have
    what core losses leave. Their shape is Im(-1/ε) ln(1 + β²/θ_E²), β being the larger semi-angle.

    References
    ----------
    .. [1] R. F. Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope, 3rd ed.
           (2011), doi:10.1007/978-1-4419-9583-4

    Examples
    --------
    >>> optics = Spectrometer(
    ...     beam_energy_kev=300, collection_semi_angle_mrad=10, convergence_semi_angle_mrad=0,
    ...     resolution_fwhm_ev=0.8,
    ... )
    >>> axis = EnergyAxis(first_ev=-10, dispersion_ev=0.25, channels=600)
    >>> share = spectrum_image(
    ...     {"Li2O": np.full((1, 2), 200.0)}, axis=axis, spectrometer=optics
    ... )
    >>> share.shape, round(float(share[0, 0].sum()), 3)
    ((1, 2, 600), 0.999)
    """
    maps = _checked(thickness_a)
    known = _materials(maps, materials)
    rows, columns = next(iter(maps.values())).shape
    shift = np.asarray(energy_shift_ev, dtype=float)
    if shift.shape not in ((), (rows, columns)):
        raise ParameterError(
            f"energy_shift_ev has shape {shift.shape}: expected a number or {(rows, columns)}"
        )
    grid = grid_for(axis, spectrometer.resolution_fwhm_ev, float(np.abs(shift).max()))
    losses = [losses_per_a(known[name], spectrometer, grid, near_edge=near_edge) for name in maps]
    kernel = stacking_kernel(
        np.array([per_step for per_step, _ in losses]),
        np.array([rate for _, rate in losses]),
        grid,
        axis=axis,
        fwhm_ev=spectrometer.resolution_fwhm_ev,
    )
    # The last "thickness" is the shift of the zero-loss peak.
    stack = np.stack([*maps.values(), np.broadcast_to(shift, (rows, columns))], axis=-1)
    per_block = max(1, _BLOCK_BYTES // (48 * grid.length))
    if lazy:
        import dask.array as da

        chunk = max(1, _BLOCK_BYTES // (4 * columns * axis.channels))
        blocks: Any = da.from_array(stack, chunks=(chunk, columns, stack.shape[-1]))  # type: ignore[no-untyped-call]
        return blocks.map_blocks(
            lambda block: _in_blocks(kernel, block, per_block, axis.channels),
            dtype=np.float32,
            chunks=(blocks.chunks[0], blocks.chunks[1], (axis.channels,)),
            meta=np.empty((0, 0, 0), dtype=np.float32),
        )
    return _in_blocks(kernel, stack, per_block, axis.channels)


def record_spectra(
    share: Any,
    *,
    electrons_per_pixel: float,
    detector: Detector = IDEAL_COUNTER,
    rng: np.random.Generator,
) -> Any:
    """Return what a detector records of a spectrum image.

    Every row of the map has a generator of its own, so the counts do not depend on blocks.

    Parameters
    ----------
    share
        Expected share of the electrons, from `spectrum_image`, shape (M, N, E).
    electrons_per_pixel
        Electrons that reach the spectrometer from each pixel: dose times area, or current times
        dwell time.
    detector
        The camera; its MTF and NTF act along the energies only, and its readout is that of a
        channel, the sum of the rows that the spectrum falls on.
    rng
        Source of randomness.

    Returns
    -------
    ndarray or dask array of the shape of `share`
        Counts, single precision; lazy where `share` is.

    Raises
    ------
    ParameterError
        The number of electrons is not a number above or equal to 0, or the camera loses electrons
        by coincidence.

    Examples
    --------
    >>> flat = np.full((10, 10, 1000), 1e-3)
    >>> counts = record_spectra(flat, electrons_per_pixel=1e4, rng=np.random.default_rng(0))
    >>> round(float(counts.mean())), round(float(counts.var()))
    (10, 10)
    """
    if not 0 <= electrons_per_pixel < float("inf"):
        raise ParameterError(
            f"electrons_per_pixel is {electrons_per_pixel!r}: expected a number >= 0"
        )
    if detector.coincidence_px:
        raise ParameterError(
            f"coincidence_px is {detector.coincidence_px}: a spectrum does not say over how many "
            "rows of the camera its electrons are spread, so their loss by coincidence is unknown; "
            "give a camera with coincidence_px=0"
        )
    children = rng.spawn(share.shape[0])

    def record(block: np.ndarray, first: int) -> np.ndarray:
        counts = np.empty(block.shape, dtype=np.float32)
        for row, spectra in enumerate(block):
            counts[row] = record_electrons(
                electrons_per_pixel * spectra.astype(float),
                detector=detector,
                axes=(-1,),
                rng=children[first + row],
            )
        return counts

    if isinstance(share, np.ndarray):
        return record(share, 0)
    return share.rechunk({1: -1, 2: -1}).map_blocks(
        lambda block, block_info: record(block, block_info[0]["array-location"][0][0]),
        dtype=np.float32,
        meta=np.empty((0, 0, 0), dtype=np.float32),
    )


def to_eels_signal(
    data: Any,
    *,
    axis: EnergyAxis,
    spectrometer: Spectrometer,
    pixel_size_a: float,
    elements: Sequence[str] = (),
    beam_current_pa: float | None = None,
    dwell_time_s: float | None = None,
    title: str = "",
) -> Any:
    """Return a spectrum image as eXSpy's signal, with the metadata eXSpy asks for.

    Parameters
    ----------
    data
        Counts, shape (M, N, E); a Dask array gives a lazy signal.
    axis
        The channels.
    spectrometer
        Beam and angles.
    pixel_size_a
        Distance between scan positions [Å].
    elements
        Symbols of the elements to look for.
    beam_current_pa
        Beam current [pA]; left out where unknown.
    dwell_time_s
        Time per pixel [s]; left out where unknown.
    title
        Name of the signal.

    Returns
    -------
    EELSSpectrum or LazyEELSSpectrum
        Axes y and x in nm, energy loss in eV.
    """
    signals = import_exspy().signals
    kind = signals.EELSSpectrum if isinstance(data, np.ndarray) else signals.LazyEELSSpectrum
    rows, columns, channels = data.shape
    axes: list[dict[str, Any]] = [
        {"name": name, "size": size, "scale": pixel_size_a / 10, "units": "nm", "navigate": True}
        for name, size in (("y", rows), ("x", columns))
    ]
    axes.append(
        {
            "name": "Energy loss",
            "size": channels,
            "offset": axis.first_ev,
            "scale": axis.dispersion_ev,
            "units": "eV",
            "navigate": False,
        }
    )
    detector: dict[str, float] = {"collection_angle": spectrometer.collection_semi_angle_mrad}
    instrument: dict[str, Any] = {
        "beam_energy": spectrometer.beam_energy_kev,
        "convergence_angle": spectrometer.convergence_semi_angle_mrad,
        "acquisition_mode": "STEM",
        "Detector": {"EELS": detector},
    }
    if dwell_time_s is not None:
        detector["dwell_time"] = dwell_time_s
    if beam_current_pa is not None:
        instrument["beam_current"] = beam_current_pa / 1e3
    metadata = {
        "General": {"title": title},
        "Signal": {"signal_type": "EELS"},
        "Sample": {"elements": list(elements)},
        "Acquisition_instrument": {"TEM": instrument},
    }
    return kind(data, axes=axes, metadata=metadata)


def _checked(thickness_a: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the maps in double precision, of one shape (M, N) and without negative values."""
    maps = {name: np.asarray(values, dtype=float) for name, values in thickness_a.items()}
    shapes = {values.shape for values in maps.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise ParameterError(
            f"the maps of thickness have the shapes {sorted(shapes)}: expected one shape (M, N)"
        )
    for name, values in maps.items():
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ParameterError(
                f"the thickness of {name} goes down to {values.min():.3g} Å: expected finite "
                "numbers >= 0"
            )
    return maps


def _materials(
    maps: Mapping[str, np.ndarray], given: Mapping[str, LossMaterial] | None
) -> dict[str, LossMaterial]:
    given = given or {}
    return {name: given[name] if name in given else loss_material(name) for name in maps}


def _in_blocks(
    kernel: Callable[[np.ndarray], np.ndarray], stack: np.ndarray, per_block: int, channels: int
) -> np.ndarray:
    """Return the spectra of a map, computed a few pixels at a time."""
    pixels = stack.reshape(-1, stack.shape[-1])
    spectra = np.empty((len(pixels), channels), dtype=np.float32)
    for start in range(0, len(pixels), per_block):
        block = slice(start, start + per_block)
        spectra[block] = kernel(pixels[block])
    return spectra.reshape(*stack.shape[:2], channels)
