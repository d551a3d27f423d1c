"""Maps of a spectrum image: thickness, elements, species, and the parts that differ."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from interphase.errors import MissingValueError, ParameterError
from interphase.session.spectra_records import MapSummary, atoms_of, finite

if TYPE_CHECKING:
    from interphase.eels import ElementMap, FittedCurves, SpectralRegions, SummedSpectrum, Thickness
    from interphase.io import Survey

LEAST_SIDE = 3
"""Rows and columns from which spectra are a map."""
_POSSIBLE, _PLACES = 0.5, 0.02
"""Probability from which a species may be in a place, and share of the places that get it a map."""
_TELLING = ("Li", "C", "O")
"""Elements whose edges tell species, the first that is there decides about the squares."""
SHALLOW_EV = 100.0
"""Onset below which other elements' edges are taken for lithium's [eV]."""
_SHAPE_EV, _SHORTEST_EV = 40.0, 15.0
"""Range behind an onset that tells species, and the least that does [eV]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectrumMaps:
    """What a spectrum image shows place by place."""

    energy_ev: np.ndarray
    """Energy losses of the channels, on the axis to believe, shape (E,) [eV]."""
    summed: np.ndarray
    """Sum of all spectra [counts], shape (E,)."""
    curves: Mapping[str, "FittedCurves"] = field(default_factory=dict)
    """``sum`` and regions such as ``region 1`` → the fit of elements, where there is one."""
    counts: np.ndarray | None = None
    """Counts of each spectrum, all channels together, shape (M, N); ``None`` for no map, as all
    that follows."""
    scan_step_a: float | None = None
    """Distance of the pixels [Å]."""
    regions: "SpectralRegions | None" = None
    """The parts whose spectra differ by more than noise."""
    thickness: np.ndarray | None = None
    """t/λ, NaN where the electrons do not suffice, shape (M, N); ``None`` without zero losses."""
    thickness_error: np.ndarray | None = None
    """Standard error of counting."""
    elements: Mapping[str, "ElementMap"] = field(default_factory=dict)
    """Symbol → its map, in squares of pixels."""
    species: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Species that may be somewhere → its probability, NaN where nothing can be said, shape
    (m, n)."""
    species_binning: int = 1
    """Side of the squares of the species' maps [pixels]."""
    survey: "Survey | None" = None
    """Image of the surroundings, with the area that was mapped."""

    def without_contested(self, contested: Mapping[str, Sequence[int]]) -> "SpectrumMaps":
        """Return the same with elements detected nowhere in regions whose sums do not show them.

        Parameters
        ----------
        contested
            Element → numbers of the regions, from 0, in which what looks like it is doubtful.
        """
        from interphase.eels import bin_pixels

        if self.regions is None:
            return self
        elements = dict(self.elements)
        for element, numbers in contested.items():
            one = elements[element]
            own = np.isin(self.regions.labels, numbers).astype(float)
            pixels = bin_pixels(np.ones_like(own), one.binning)
            doubtful = one.detected & (bin_pixels(own, one.binning) > pixels / 2)
            if doubtful.any():
                left = one.detected & ~doubtful
                said = f"; {doubtful.mean():.0%} lie where the sum of a region does not show it."
                elements[element] = replace(
                    one,
                    detected=left,
                    sentence=one.sentence.removesuffix(".") + said
                    if left.any()
                    else f"What looks like {element} is in doubt: it is mapped nowhere.",
                )
        return replace(self, elements=elements)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """Spectra and their sum, on one axis."""

    counts: Any
    """Shape (..., E), an array or a Dask array [counts]."""
    energy_ev: np.ndarray
    """Energy losses of the channels as the file states them, shape (E,) [eV]."""
    total: "SummedSpectrum"
    """Their sum, on the axis to believe."""

    @property
    def is_map(self) -> bool:
        """Whether the spectra have places."""
        return bool(self.counts.ndim == 3 and min(self.counts.shape[:2]) >= LEAST_SIDE)

    @property
    def noise(self) -> dict[str, Any]:
        """Gain and read noise of one spectrum."""
        single = self.total.read_noise / np.sqrt(max(self.total.number, 1))
        return {"gain": self.total.gain, "read_noise": float(single)}

    def aligned(self) -> "Recording":
        """Return the same with every zero loss in one channel, where there are any."""
        from interphase.eels import align_map

        if self.total.zero is None:
            return self
        counts, channels = align_map(self.counts, self.energy_ev, self.total.zero)
        total = self.total
        return replace(
            self,
            counts=counts,
            energy_ev=self.energy_ev[channels],
            total=replace(
                total, counts=total.counts[channels], energy_ev=total.energy_ev[channels]
            ),
        )

    def of_regions(self, labels: np.ndarray, number: int) -> list["SummedSpectrum"]:
        """Return the sum of the spectra of each region of a map, `labels` of shape (M, N)."""
        from interphase.eels.checks import blocks

        sums = np.zeros((number, self.counts.shape[-1]))
        pixels = np.zeros(number, dtype=int)
        for where, block in blocks(self.counts):
            for k in range(number):
                own = (labels[where] == k) & np.isfinite(block).all(axis=-1)
                sums[k] += block[own].sum(axis=0)
                pixels[k] += own.sum()
        single = self.noise["read_noise"]
        return [
            replace(
                self.total,
                counts=sums[k],
                number=int(pixels[k]),
                read_noise=float(single * np.sqrt(pixels[k])),
            )
            for k in range(number)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is looked for in the spectra of a map, and with what."""

    elements: tuple[str, ...]
    """Symbols of what is fitted."""
    detected: tuple[str, ...]
    """Those of them that the sum of all spectra shows, and others whose edges rise in it."""
    optics: Mapping[str, float]
    """Beam energy and semi-angles, as `fit_elements` takes them; empty where unknown."""
    exposure_ratio: float | None
    """Exposure of the spectra over that of the low losses."""
    options: Any
    """`ElementOptions`."""
    resolution_ev: float
    """Width of the zero-loss peak [eV]."""
    relative_uncertainty: Mapping[str, float] = field(default_factory=dict)
    """Element → trust in its cross-section, one standard deviation over the value."""
    binning: int | None = None
    """Side of the squares of the elements' maps [pixels]; as the electrons allow unless given."""


def with_maps(
    maps: SpectrumMaps, core: Recording, low: Recording | None, question: Question
) -> tuple[SpectrumMaps, list[str]]:
    """Return a record with all maps of a spectrum image, and what was doubted on the way.

    Parameters
    ----------
    maps
        What is there of the sum.
    core
        The spectra, aligned.
    low
        Those with the zero-loss peak, of the same pixels, as recorded; ``None`` without.
    question
        What is looked for.
    """
    from interphase.eels import find_regions

    # Regions of large maps are first looked for in pixels taken by chance, always the same ones.
    regions = find_regions(core.counts, rng=np.random.default_rng(0), **core.noise)
    thickness = _thickness(low)
    aligned = None if low is None else low.aligned()
    elements, doubts = _elements(core, aligned, question)
    species, binning, more = _species(core, aligned, elements, question)
    maps = replace(
        maps,
        counts=np.asarray(_computed(core.counts.sum(axis=-1)), dtype=float),
        regions=regions,
        thickness=None if thickness is None else thickness.relative,
        thickness_error=None if thickness is None else thickness.relative_error,
        elements=elements,
        species=species,
        species_binning=binning,
    )
    return maps, [regions.sentence, *doubts, *more]


def summaries(maps: SpectrumMaps) -> dict[str, MapSummary]:
    """Return what the maps of elements are, without their values."""
    return {
        element: MapSummary(
            binning=one.binning,
            resolved=one.resolved,
            detected_share=finite(one.detected_share),
            detection_limit_per_nm2=finite(one.typical_limit_per_nm2),
            sentence=one.sentence,
        )
        for element, one in maps.elements.items()
    }


def map_arrays(maps: SpectrumMaps) -> dict[str, np.ndarray]:
    """Return the maps as arrays to store, named by what they hold.

    ``energy_ev`` and ``summed_counts``; of an image also ``counts``, ``region`` (from 1, 0 where a
    spectrum is unusable), ``relative_thickness`` with its ``_error``, for every element such as C
    ``C_per_nm2``, ``C_error_per_nm2``, ``C_limit_per_nm2``, ``C_detected`` and ``C_binning``
    [pixels], and ``probability_of_LiF`` with ``species_binning``; and ``scan_step_a`` where known.
    """
    arrays: dict[str, Any] = {"energy_ev": maps.energy_ev, "summed_counts": maps.summed}
    if maps.counts is not None and maps.regions is not None:
        arrays |= {"counts": maps.counts, "region": maps.regions.labels + 1}
    if maps.thickness is not None:
        arrays["relative_thickness"] = maps.thickness
        arrays["relative_thickness_error"] = maps.thickness_error
    for element, one in maps.elements.items():
        arrays |= {
            f"{element}_per_nm2": one.areal_density_per_nm2,
            f"{element}_error_per_nm2": one.standard_error_per_nm2,
            f"{element}_limit_per_nm2": one.detection_limit_per_nm2,
            f"{element}_detected": one.detected,
            f"{element}_binning": one.binning,
        }
    for name, probability in maps.species.items():
        arrays[f"probability_of_{name}"] = probability
    if maps.species:
        arrays["species_binning"] = maps.species_binning
    if maps.scan_step_a is not None:
        arrays["scan_step_a"] = maps.scan_step_a
    return {name: np.asarray(values) for name, values in arrays.items()}


def mean_thickness(maps: SpectrumMaps, where: np.ndarray) -> dict[str, float | None] | None:
    """Return the mean t/λ of some pixels and its scatter; ``None`` where it is not known."""
    if maps.thickness is None:
        return None
    known = maps.thickness[where & np.isfinite(maps.thickness)]
    return {"mean": float(known.mean()), "std": float(known.std())} if known.size else None


def _computed(values: Any) -> Any:
    return values.compute() if hasattr(values, "compute") else values


def _thickness(low: Recording | None) -> "Thickness | None":
    from interphase.eels import measure_thickness

    if low is None or low.total.zero is None:
        return None
    try:
        return measure_thickness(low.counts, low.energy_ev, low.total.zero, **low.noise)
    except (MissingValueError, ParameterError):
        return None


def _elements(
    core: Recording, low: Recording | None, question: Question
) -> tuple[dict[str, "ElementMap"], list[str]]:
    from interphase.eels import map_elements

    if not (question.elements and question.optics and low is not None and question.exposure_ratio):
        return {}, []
    try:
        maps = map_elements(
            core.counts,
            energy_ev=core.total.energy_ev,
            elements=question.elements,
            low_loss=low.counts,
            low_loss_energy_ev=low.total.energy_ev,
            exposure_ratio=question.exposure_ratio,
            options=question.options,
            binning=question.binning,
            **core.noise,
            **question.optics,
        )
    except ParameterError as error:
        return {}, [f"no elements were mapped: {error}"]
    return maps, [one.sentence for one in maps.values()]


def _species(
    core: Recording,
    low: Recording | None,
    maps: Mapping[str, "ElementMap"],
    question: Question,
) -> tuple[dict[str, np.ndarray], int, list[str]]:
    """Return where which species may be, in the squares of the element that shows them."""
    from interphase.eels import bin_pixels, identify_species

    shown = [maps[e] for e in _TELLING if e in maps and e in question.detected]
    if not shown or core.total.axis_error_ev is None:
        return {}, 1, []
    binning = shown[0].binning
    # Before the binned spectra are in memory.
    atoms = _atoms(core, low, question, binning)
    counts = np.asarray(_computed(bin_pixels(core.counts, binning)))
    noise = {**core.noise, "read_noise": core.noise["read_noise"] * binning}
    found = edge_shapes(counts, core.total.energy_ev, present=question.detected, **noise)
    if found is None:
        return {}, 1, []
    energy, net, variance = found
    del counts, found
    try:
        species = identify_species(
            net,
            variance=variance,
            energy_ev=energy,
            axis_error_ev=min(core.total.axis_error_ev, 20.0),
            resolution_ev=question.resolution_ev,
            elements=sorted(question.detected),
            **atoms,
        )
    except ParameterError as error:
        return {}, 1, [f"no species were mapped: {error}"]
    with np.errstate(invalid="ignore"):
        possible = np.mean(species.probability >= _POSSIBLE, axis=(0, 1)) >= _PLACES
    return (
        {
            name: species.probability[..., k]
            for k, name in enumerate(species.species)
            if possible[k]
        },
        binning,
        [f"species of the map: {species.sentence}"],
    )


def _atoms(
    core: Recording, low: Recording | None, question: Question, binning: int
) -> dict[str, Any]:
    """Return the amounts of all elements in the squares of the species' maps."""
    fitted, _ = _elements(core, low, replace(question, binning=binning))
    atoms = {
        element: (one.areal_density_per_nm2, np.where(error > 0, error, np.nan))
        for element, one in fitted.items()
        if np.isfinite(error := one.standard_error_per_nm2).any()
    }
    return atoms_of(atoms, question.relative_uncertainty)


def edge_shapes(
    counts: np.ndarray,
    energy_ev: np.ndarray,
    *,
    present: Collection[str],
    gain: float,
    read_noise: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return spectra without what precedes the edges of the fingerprints, and their variance.

    Parameters
    ----------
    counts
        Shape (..., E).
    energy_ev
        Shape (E,) [eV].
    present
        Elements that are there: what rises near 55 eV is lithium's only if a fit says so.
    gain, read_noise
        Of these spectra.

    Returns
    -------
    tuple or None
        Energies (K,), net counts and variance (..., K); zero and one between edges.
    """
    from interphase.eels import fingerprint_table, net_edge

    # Single precision is ample for what has the noise of counting.
    net, variance = (np.full(counts.shape, value, np.float32) for value in (0, 1))
    looked = []
    for edge, onset in fingerprint_table().onset_ev.items():
        if edge.partition("_")[0] not in present or onset > energy_ev[-1] - _SHORTEST_EV:
            continue
        parts = net_edge(
            counts, energy_ev, onset_ev=onset, after_ev=_SHAPE_EV, gain=gain, read_noise=read_noise
        )
        if parts is None or not np.isfinite(parts.background.amplitude).any():
            continue
        # Spectra of too few electrons keep a net of zero, as if nothing had been looked at.
        known = np.isfinite(parts.net).all(axis=-1, keepdims=True)
        net[..., parts.channels] = np.where(known, parts.net, 0.0)
        variance[..., parts.channels] = np.where(known, parts.variance, 1.0)
        looked.append(onset)
    if not looked:
        return None
    keep = energy_ev > (0.0 if min(looked) < SHALLOW_EV else SHALLOW_EV)
    return energy_ev[keep], net[..., keep], variance[..., keep]
