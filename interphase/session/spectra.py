"""Measure files of energy-loss spectra: thickness, elements, species, and what lacks for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interphase.acquisition import Acquisition, Kind
from interphase.assessment import Assessment
from interphase.errors import InterphaseError, MissingValueError, ParameterError
from interphase.parallel import ChildCallError, ChildLostError, ChildPool
from interphase.session.spectra_records import (
    EelsResult,
    ElementAmount,
    SpectraOptions,
    SpectrumRegion,
    element_amounts,
    judged,
    known_atoms,
    write_spectra,
)
from interphase.session.spectrum_maps import (
    SHALLOW_EV,
    Question,
    Recording,
    SpectrumMaps,
    edge_shapes,
    mean_thickness,
    summaries,
    with_maps,
)

if TYPE_CHECKING:
    from interphase.eels import FittedCurves, SummedSpectrum
    from interphase.io import Loaded

__all__ = [
    "EelsResult",
    "ElementAmount",
    "SpectraOptions",
    "measure_loaded",
    "measure_spectra",
    "measure_spectrum_files",
    "measure_spectrum_image",
    "write_spectra",
]

_FAR_ABOVE = 20.0
"""Detection limits above which a shallow edge is believed though the model misfits: misfits of
simulated films without lithium make 17. A working value."""
_GAINS = 1e-3, 1e6
"""Counts per electron that a detector may make; data that want others were scaled."""
_UNEVEN, _BELOW = 0.1, 5.0
"""Scatter of t/λ from which a sum of spectra follows no single thickness, and standard errors below
zero that no noise makes. Working values."""
_RATIOS = 0.2
"""Logarithm by which an exposure ratio may differ from that of the times without a word."""
_DUAL_EV = 1.0
"""How far the two ranges of dual spectra may be off each other [eV]; a working value."""
_ALIKE = 2.5
"""Standard errors by which the shifts that edges and low losses want may differ."""
_ONE_PLASMON = 2.0
"""χ² per degree of freedom from which one plasmon alone is not what is there."""
_RESOLUTION_EV = 1.0
"""Resolution where no zero-loss peak shows it [eV]; a working value."""
_OPTICS = {
    "beam_energy_kev": ("beam_energy_kev", "--beam-energy in keV"),
    "convergence_mrad": ("semi_convergence_angle_mrad", "--convergence in mrad"),
    "collection_mrad": ("collection_angle_mrad", "--collection in mrad"),
}
"""What a fit of elements needs → the field of the acquisition, and how to give it."""


def measure_spectrum_files(
    paths: Sequence[str | Path],
    *,
    options: SpectraOptions | None = None,
    time_limit_s: float = 900.0,
) -> Iterator[tuple[EelsResult, SpectrumMaps | None]]:
    """Yield what each file of spectra shows; a file that cannot be read is said to be so.

    Parameters
    ----------
    paths
        Files; a session.toml in a file's folder is heeded.
    options
        What to look for.
    time_limit_s
        Time after which a file is given up [s].

    Raises
    ------
    ParameterError
        A path does not exist, an element is none, or a given number cannot be.
    """
    from interphase.eels import edge_onsets
    from interphase.session.single import existing_files

    options = options or SpectraOptions()
    files = existing_files(paths)
    existing_files([options.low_loss] if options.low_loss else [])
    if options.elements is not None and not options.elements:
        raise ParameterError("no element is named: give symbols such as Li,C,O,F")
    for element in (*(options.elements or ()), *(options.rivals or ())):
        edge_onsets(element)
    if options.binning is not None and options.binning < 1:
        raise ParameterError(
            f"binning is {options.binning!r}: expected a number of pixels of at least 1"
        )
    for name, value in {**options.given, "exposure_ratio": options.exposure_ratio}.items():
        if value is not None and not 0 < value < float("inf"):
            raise ParameterError(f"{name} is {value!r}: expected a finite number > 0")
    children = ChildPool()
    try:
        for path in files:
            try:
                yield children.call(_measure_file, path, options, time_limit_s=time_limit_s)
            except (ChildLostError, ChildCallError) as error:
                yield _failed(path, f"{path} could not be measured: {error}."), None
    finally:
        children.close()


def _failed(path: Path, sentence: str) -> EelsResult:
    return EelsResult(file=str(path), assessment=Assessment.FAILED, sentence=sentence)


def _measure_file(path: Path, options: SpectraOptions) -> tuple[EelsResult, SpectrumMaps | None]:
    from interphase.io import read

    given = {name: value for name, value in options.given.items() if value is not None}
    try:
        loaded = read(path, user=given)
        kind = loaded.acquisition.kind
        if kind not in (Kind.SPECTRUM, Kind.SPECTRUM_IMAGE):
            said = f"{path} holds no spectra but is of the kind {kind}: nothing was measured"
            return EelsResult(
                file=str(path), assessment=Assessment.NOT_ASSESSED, sentence=said
            ), None
        result, maps = measure_loaded(loaded, options)
    except InterphaseError as error:
        return _failed(path, str(error)), None
    notes = (*loaded.acquisition.warnings, *result.notes)
    return replace(result, file=str(path), notes=notes), maps


def measure_loaded(
    loaded: "Loaded", options: SpectraOptions, *, session: Any = None
) -> tuple[EelsResult, SpectrumMaps | None]:
    """Return what a file's spectra show, with the low losses and the survey image it belongs to.

    Parameters
    ----------
    loaded
        The file.
    options
        What to look for.
    session
        What session.toml says; that in the file's folder unless given.
    """
    from interphase.io import exposure_ratio, find_low_loss, find_survey, read

    notes = []
    if options.low_loss is not None:
        low: Loaded | None = read(options.low_loss)
    else:
        low, said = find_low_loss(loaded, session=session)
        notes += [said] if said else []
    by_times = exposure_ratio(loaded.acquisition, low.acquisition) if low else None
    ratio = options.exposure_ratio
    if ratio and by_times and abs(np.log(ratio / by_times)) > _RATIOS:
        notes.append(
            f"the exposure ratio given is {ratio:.4g}, that of the files' times {by_times:.4g}"
        )
    result, maps = measure_spectrum_image(
        loaded.signal,
        loaded.acquisition,
        low_loss=low.signal if low else None,
        exposure_ratio=ratio or by_times,
        elements=options.elements,
        rivals=options.rivals,
        binning=options.binning,
    )
    if maps is not None:
        survey, said = find_survey(loaded, session=session)
        notes += [said] if said else []
        maps = replace(maps, survey=survey)
    return replace(result, notes=(*notes, *result.notes)), maps


def measure_spectra(
    signal: Any,
    acquisition: Acquisition,
    *,
    low_loss: Any = None,
    elements: Sequence[str] | None = None,
    exposure_ratio: float | None = None,
    rivals: Sequence[str] | None = None,
) -> EelsResult:
    """Return what the sum of spectra shows: thickness, elements and species.

    Spectra of an image are brought to one zero loss, where they or the low losses hold it, and
    added up; `measure_spectrum_image` maps them too. Plural scattering is in the fit of elements
    where a low loss is there, and left in what species are told from.

    Parameters
    ----------
    signal
        A HyperSpy signal of spectra, low losses or core losses, such as `interphase.io.load` gives.
    acquisition
        How it was recorded; elements need beam energy and both semi-angles.
    low_loss
        Low losses recorded with it by the same detector, if they are another signal.
    elements
        Symbols; `interphase.eels.usual_elements` unless given.
    exposure_ratio
        Exposure of `signal` over that of `low_loss`.
    rivals
        Elements whose shallow edges may be taken for lithium's; all common ones unless given, so
        give those that the specimen can hold.

    Returns
    -------
    EelsResult
        What the spectra are faulty in, or lack, is said and not raised.

    Raises
    ------
    ParameterError
        The signal holds no spectra in eV.
    """
    asked = _Asked.of(acquisition, elements, exposure_ratio, rivals)
    result, core, *_ = _measured(signal, low_loss, asked)
    return result if core is None else judged(result)


def measure_spectrum_image(
    signal: Any,
    acquisition: Acquisition,
    *,
    low_loss: Any = None,
    elements: Sequence[str] | None = None,
    exposure_ratio: float | None = None,
    rivals: Sequence[str] | None = None,
    binning: int | None = None,
) -> tuple[EelsResult, SpectrumMaps | None]:
    """Return what `measure_spectra` does, the same of regions that differ, and maps.

    Parameters
    ----------
    signal, acquisition, low_loss, elements, exposure_ratio, rivals
        See `measure_spectra`.
    binning
        Side of the squares in which elements are mapped [pixels]; as the electrons allow unless
        given. A note says where the map holds no such square.

    Returns
    -------
    result : EelsResult
        With `EelsResult.regions` and `EelsResult.maps` for spectra that lie on a grid.
    maps : SpectrumMaps or None
        What can be drawn; ``None`` for spectra that cannot be used.

    Raises
    ------
    ParameterError
        The signal holds no spectra in eV.
    """
    asked = _Asked.of(acquisition, elements, exposure_ratio, rivals)
    result, core, low, seen, curves = _measured(signal, low_loss, asked)
    if core is None:
        return result, None
    maps = SpectrumMaps(
        energy_ev=core.total.energy_ev, summed=core.total.counts, curves=_drawn("sum", curves)
    )
    if not core.is_map:
        return judged(result), maps
    same = low is core
    if low is not None and low.counts.shape[:-1] != core.counts.shape[:-1]:
        low = None
    core = core.aligned() if same else core
    there = {e for e, amount in result.elements.items() if amount.detected}
    question = Question(
        elements=tuple(result.elements),
        detected=tuple(sorted(there | {name.partition("_")[0] for name in seen})),
        optics=asked.optics,
        exposure_ratio=1.0 if same else asked.exposure_ratio,
        # Whose edge it is, the sums of the regions tell: those of neighbours, as a fit of a map
        # takes them, hold several materials.
        options=replace(asked.options, rivals=()),
        resolution_ev=_resolution(core.total, None if low is None else low.total),
        relative_uncertainty={e: a.relative_uncertainty for e, a in result.elements.items()},
        binning=binning,
    )
    maps, notes = with_maps(maps, core, low, question)
    maps = replace(maps, scan_step_a=acquisition.scan_step_a)
    result = replace(result, notes=(*result.notes, *notes))
    result, maps = _with_regions(result, maps, core, None if same else low, asked, seen)
    return judged(replace(result, maps=summaries(maps))), maps


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is asked of spectra, and how they were recorded."""

    acquisition: Acquisition
    elements: Sequence[str] | None
    exposure_ratio: float | None
    options: Any

    @classmethod
    def of(
        cls,
        acquisition: Acquisition,
        elements: Sequence[str] | None,
        exposure_ratio: float | None,
        rivals: Sequence[str] | None,
    ) -> "_Asked":
        from interphase.eels import ElementOptions

        options = ElementOptions() if rivals is None else ElementOptions(rivals=tuple(rivals))
        return cls(
            acquisition=acquisition,
            elements=elements,
            exposure_ratio=exposure_ratio,
            options=options,
        )

    @property
    def optics(self) -> dict[str, Any]:
        """Beam and angles as the fits take them, empty where one of them is unknown."""
        known = {key: getattr(self.acquisition, name) for key, (name, _) in _OPTICS.items()}
        return {} if None in known.values() else known


def _measured(
    signal: Any, low_loss: Any, asked: _Asked
) -> tuple[EelsResult, Recording | None, Recording | None, list[str], "FittedCurves | None"]:
    """Return what the sums show, the spectra, their low losses, the edges seen, and the fit."""
    from interphase.eels import SummedSpectrum, align_map, find_fault, spectra_from_signal

    spectra = spectra_from_signal(signal)
    number = int(np.prod(spectra.counts.shape[:-1]))
    result = EelsResult(file="", assessment=Assessment.OK, sentence="", spectra=number)
    gain, read_noise, notes = _detector(spectra.counts)
    noise = {"gain": gain, "read_noise": read_noise}
    fault = find_fault(spectra.counts, spectra.energy_ev, **noise)
    if fault is not None:
        if fault.assessment is not Assessment.OK:
            result = replace(result, assessment=fault.assessment, sentence=fault.sentence)
            return result, None, None, [], None
        notes.append(fault.sentence)
    low = None
    if low_loss is not None:
        # Both are of one detector, so that its gain has no part in areal densities.
        low, said = _low(spectra_from_signal(low_loss), noise)
        notes += [said] if said else []
    counts, energy, dual_zero = spectra.counts, spectra.energy_ev, None
    if low is not None and low.is_map and low.counts.shape[:-1] == counts.shape[:-1]:
        assert low.total.zero is not None
        counts, channels = align_map(counts, energy, low.total.zero)
        energy = energy[channels]
        dual_zero = low.total.zero_loss_ev
        notes.append("spectra and low losses were aligned together on the zero losses")
        # Where the zero loss is out of reach the spectrum is left out.
        notes += _left_out(counts)
    total = SummedSpectrum.of(counts, energy, **noise)
    result, total, seen = _with_axis(
        replace(result, notes=tuple(notes)), total, counts, dual_zero_ev=dual_zero
    )
    core = Recording(counts=counts, energy_ev=energy, total=total)
    if low is None and total.zero is not None:
        low = core
    if low is not None and result.relative_thickness is None:
        result = replace(result, relative_thickness=_thickness(low.total, low.counts))
    other = None if low is None or low is core else low.total
    result, curves = _with_elements(result, total, other, asked, seen)
    result = _with_species(result, total, other, asked.acquisition, seen)
    return result, core, low, seen, curves


def _left_out(counts: Any) -> list[str]:
    """Return a note of the spectra of an aligned map that drifted too far, if there are any."""
    first = counts[..., 0]
    lost = int(np.isnan(first.compute() if hasattr(first, "compute") else first).sum())
    if not lost:
        return []
    return [f"{lost} spectra whose zero loss is more than 1/5 of the axis off are left out"]


def _low(spectra: Any, noise: dict[str, float]) -> tuple[Recording | None, str]:
    """Return low losses, or why they are left out."""
    from interphase.eels import SummedSpectrum, find_fault

    fault = find_fault(spectra.counts, spectra.energy_ev, **noise)
    if fault is not None and fault.assessment is not Assessment.OK:
        return None, f"the low losses are left out: {fault.sentence}"
    total = SummedSpectrum.of(spectra.counts, spectra.energy_ev, **noise)
    if total.zero is None:
        return None, "the low losses are left out: they have no zero-loss peak"
    return Recording(counts=spectra.counts, energy_ev=spectra.energy_ev, total=total), ""


def _with_regions(
    result: EelsResult,
    maps: SpectrumMaps,
    core: Recording,
    low: Recording | None,
    asked: _Asked,
    seen: Sequence[str],
) -> tuple[EelsResult, SpectrumMaps]:
    """Return a result with what the regions of a map show, and the maps with their fits."""
    assert maps.regions is not None
    labels, number = maps.regions.labels, maps.regions.number
    totals = core.of_regions(labels, number)
    lows = [None] * number if low is None else low.aligned().of_regions(labels, number)
    asked = replace(asked, elements=tuple(result.elements) or asked.elements)
    found, curves = [], dict(maps.curves)
    for k, (total, other) in enumerate(zip(totals, lows, strict=True)):
        own = EelsResult(
            file="",
            assessment=Assessment.OK,
            sentence="",
            spectra=total.number,
            relative_thickness=mean_thickness(maps, labels == k),
        )
        own, fit = _with_elements(own, total, other, asked, seen)
        own = judged(_with_species(own, total, other, asked.acquisition, seen))
        curves |= _drawn(f"region {k + 1}", fit)
        found.append(SpectrumRegion.of(own, share=total.number / int((labels >= 0).sum())))
    contested = {
        element: _in_doubt(element, found, everywhere=result.elements[element].doubtful)
        for element in maps.elements
        if element in result.elements
    }
    maps = replace(maps, curves=curves).without_contested(contested)
    here = [
        f"{element} is told in region {' and '.join(map(str, where))} though not in the sum"
        for element, amount in result.elements.items()
        if not amount.detected
        and (where := [k for k, own in enumerate(found, 1) if _has(own, element)])
    ]
    return replace(result, regions=tuple(found), notes=(*result.notes, *here)), maps


def _drawn(name: str, curves: "FittedCurves | None") -> dict[str, "FittedCurves"]:
    return {} if curves is None else {name: curves}


def _in_doubt(element: str, found: Sequence[SpectrumRegion], *, everywhere: bool) -> list[int]:
    """Return the regions in which an element is in doubt.

    Where it is in doubt in the sum, these are all but those that show it by themselves.
    """
    if everywhere:
        return [k for k, own in enumerate(found) if not _has(own, element)]
    return [k for k, own in enumerate(found) if element in own.elements
            and own.elements[element].doubtful]  # fmt: skip


def _has(region: SpectrumRegion, element: str) -> bool:
    return element in region.elements and region.elements[element].detected


def _detector(counts: Any) -> tuple[float, float, list[str]]:
    """Return gain and read noise of a spectrum, and what is doubtful of them."""
    from interphase.eels import estimate_detector

    found = estimate_detector(counts)
    if found.assessment is Assessment.OK and _GAINS[0] < found.gain < _GAINS[1]:
        read = found.read_noise if np.isfinite(found.read_noise) else 0.0
        return found.gain, read, []
    return (
        1.0,
        0.0,
        [f"a count is taken for one electron, since the data do not tell: {found.sentence}"],
    )


def _with_axis(
    result: EelsResult, total: "SummedSpectrum", counts: Any, *, dual_zero_ev: float | None = None
) -> tuple[EelsResult, "SummedSpectrum", list[str]]:
    """Return a result with thickness and shift, the sum on its axis, and the edges believed.

    Of dual spectra `dual_zero_ev` is where the low losses have their zero on the axis of the file.
    """
    from interphase.eels import check_on_known_edges, seen_edges

    seen = seen_edges(total.counts, total.energy_ev, **total.noise)
    if total.zero_loss_ev is not None:
        result = replace(
            result,
            relative_thickness=_thickness(total, counts),
            energy_shift_ev=-total.zero_loss_ev,
            energy_shift_error_ev=total.axis_error_ev,
        )
        return result, total, seen
    check = check_on_known_edges(total.counts, total.energy_ev, seen, **total.noise)
    notes = [*result.notes, *([check.sentence] if check.edges else [])]
    shift, error = check.correction_ev, check.error_ev
    if dual_zero_ev is not None and check.edges:
        agree = abs(shift + dual_zero_ev) < _ALIKE * np.hypot(error, _DUAL_EV)
        notes.append(
            f"the low losses have their zero at {dual_zero_ev:+.2f} eV: known edges "
            f"{'agree with' if agree else 'contradict'} the same shift of both ranges"
        )
        if agree:
            weights = np.array([error, _DUAL_EV]) ** -2.0
            shift = float(np.average([shift, -dual_zero_ev], weights=weights))
            error = float(weights.sum() ** -0.5)
    elif dual_zero_ev is not None:
        shift, error = -dual_zero_ev, _DUAL_EV
        notes.append(f"the axis is that of the low losses, to {_DUAL_EV:g} eV")
    elif not check.edges:
        note = "the energy axis stays unchecked: neither a zero-loss peak nor a known edge is seen"
        return replace(result, notes=(*result.notes, note)), total, []
    needed = abs(shift) > 2 * error
    if needed:
        notes.append(f"what follows is on an axis corrected by {shift:+.2f} eV")
    result = replace(result, energy_shift_ev=shift, energy_shift_error_ev=error, notes=tuple(notes))
    energy = total.energy_ev + shift if needed else total.energy_ev
    # A correction that is not made stays an error.
    left = error if needed else float(np.hypot(error, shift))
    return result, replace(total, energy_ev=energy, axis_error_ev=left), list(check.edges)


def _thickness(total: "SummedSpectrum", counts: Any) -> dict[str, float | None] | None:
    found = total.relative_thickness(counts)
    return None if found is None else dict(zip(("mean", "std"), found, strict=True))


def _with_elements(
    result: EelsResult,
    total: "SummedSpectrum",
    low: "SummedSpectrum | None",
    asked: _Asked,
    seen: Sequence[str],
) -> tuple[EelsResult, "FittedCurves | None"]:
    """Return a result with the amounts of elements, and the fit that they come from."""
    from interphase.eels import (
        PIXEL_VERDICTS,
        edge_onsets,
        edges_within,
        fit_elements,
        rises,
        usual_elements,
    )

    ratio, elements = asked.exposure_ratio, asked.elements
    wanted = list(elements) if elements is not None else usual_elements(seen)
    within = edges_within(list(dict.fromkeys(wanted)), total.energy_ev)
    wanted = [element for element, own in within.items() if own]
    outside = [element for element, own in within.items() if not own]
    notes = list(result.notes)
    if elements is not None and outside:
        notes.append(f"no edge of {', '.join(outside)} begins in the range of the spectra")
    if not wanted:
        if total.zero is None and elements is None:
            notes.append("no edge is seen that is looked for unasked: name elements by --elements")
        return replace(result, notes=tuple(notes)), None
    missing = {
        name: f"give {option}, or `{name}` in session.toml"
        for name, option in _OPTICS.values()
        if getattr(asked.acquisition, name) is None
    }
    if missing:
        return replace(result, notes=tuple(notes), missing=missing), None
    if low is None and total.zero is not None:
        low, ratio = total, 1.0
    dual: dict[str, Any] = {}
    if low is not None and ratio is not None:
        dual = {
            "low_loss": np.maximum(low.counts, 0.0),
            "low_loss_energy_ev": low.energy_ev,
            "exposure_ratio": ratio * total.number / low.number,
        }
    else:
        missing["exposure_ratio"] = (
            "areal densities need the electrons of the zero-loss peak: give --low-loss"
            if low is None
            else "exposure of the spectra over that of the low losses: give --exposure-ratio"
        )
    try:
        maps = fit_elements(
            total.counts,
            energy_ev=total.energy_ev,
            elements=wanted,
            options=replace(asked.options, curves=True),
            **total.noise,
            **asked.optics,
            **dual,
        )
    except ParameterError as error:
        notes.append(f"no elements were fitted: {error}")
        return replace(result, notes=tuple(notes), missing=missing), None
    unlike = PIXEL_VERDICTS[int(maps.verdict)] == "unlike the model"
    assessment = maps.assessment
    if assessment.answered:
        notes.append(f"elements were fitted on {maps.background}")
    else:
        notes.append(f"elements could not be fitted: {PIXEL_VERDICTS[int(maps.verdict)]}")
        if result.relative_thickness is not None:
            assessment = Assessment.AMBIGUOUS

    def plain(k: int) -> bool:
        """Return whether an element is there even if the model misfits and its errors say little.

        Its edge has to be seen by itself, or to be far above its limit on a tail of plasmons.
        """
        onsets = [edge_onsets(maps.elements[k])[name] for name in within[maps.elements[k]]]
        if min(onsets) < SHALLOW_EV:
            limit = maps.detection_limit_per_nm2 * maps.electrons
            return bool(maps.strength[k] > _FAR_ABOVE * limit[k])
        counts, energy = total.counts, total.energy_ev
        return any(rises(counts, energy, onset_ev=onset, **total.noise) for onset in onsets)

    if unlike:
        assessment = Assessment.AMBIGUOUS
        notes.append(
            f"the fit of elements leaves {float(maps.chi_square_per_dof):.0f} times the square of "
            "the noise, which errors and limits include: edges that were not named, shapes that no "
            "table knows, or smoothed data may be why"
        )
    pulls = maps.strength / np.sqrt(np.diagonal(maps.covariance))
    below = [e for e, pull in zip(maps.elements, pulls, strict=True) if pull < -_BELOW]
    if below:
        assessment, unlike = Assessment.AMBIGUOUS, True
        notes.append(
            f"{', '.join(below)} would be less than nothing by far more than noise: the background "
            "or the low loss is not that of these spectra"
        )
    scatter = (result.relative_thickness or {}).get("std") or 0.0
    if total.number > 1 and scatter > _UNEVEN and dual:
        assessment = Assessment.AMBIGUOUS
        notes.append(
            f"t/λ scatters by {scatter:.2f} over the spectra: plural scattering of their sum is "
            "that of no thickness, and amounts of the sum are off by more than their errors; those "
            "of regions and maps are not"
        )
    detected = [bool(there) and (not unlike or plain(k)) for k, there in enumerate(maps.detected)]
    amounts, to = element_amounts(maps, detected)
    result = replace(
        result,
        elements=amounts,
        ratios_to=to,
        cross_sections=dict(maps.cross_sections),
        missing=missing,
        notes=tuple(notes),
        assessment=assessment,
    )
    return result, maps.curves


def _with_species(
    result: EelsResult,
    total: "SummedSpectrum",
    low: "SummedSpectrum | None",
    acquisition: Acquisition,
    seen: Sequence[str],
) -> EelsResult:
    """Return a result with the probabilities of species."""
    from interphase.eels import identify_species

    if total.axis_error_ev is None:
        return result
    present = {e for e, amount in result.elements.items() if amount.detected}
    present |= {name.partition("_")[0] for name in seen}
    shapes = edge_shapes(total.counts, total.energy_ev, present=present, **total.noise)
    plasmon = _plasmon(low or total, acquisition)
    if shapes is None and not plasmon:
        return result
    looked: dict[str, Any] = dict(plasmon)
    if shapes is not None:
        looked |= dict(zip(("energy_ev", "net", "variance"), shapes, strict=True))
    try:
        found = identify_species(
            **looked,
            axis_error_ev=min(total.axis_error_ev, 20.0),
            resolution_ev=_resolution(total, low),
            elements=sorted(present),
            dose_e_per_a2=acquisition.dose_e_per_a2,
            **known_atoms(result.elements),
        )
    except ParameterError as error:
        return replace(result, notes=(*result.notes, f"no species were looked for: {error}"))
    elements = dict(result.elements)
    if "Li" in elements and elements["Li"].detected and "Li_K" in found.edges:
        k = found.edges.index("Li_K")
        if not found.edge_counts[k] > found.detection_limit[k]:
            # The fit rests on a model of the tail of plasmons, this on a power law: no model is
            # sure where they differ.
            elements["Li"] = replace(elements["Li"], detected=False)
            note = (
                "the fit finds lithium on a model of the plasmons' tail, but no Li K edge rises "
                "over a power law through what precedes it: that leaves it open"
            )
            result = replace(result, elements=elements, notes=(*result.notes, note))
    return replace(
        result,
        species={
            name: float(p)
            for name, p in zip(found.species, found.probability, strict=True)
            if np.isfinite(p)
        },
        notes=(*result.notes, f"species: {found.sentence}", *found.damage),
    )


def _plasmon(low: "SummedSpectrum", acquisition: Acquisition) -> dict[str, np.ndarray]:
    """Return the energy of the plasmon with its error, where one alone is what is there.

    Without beam energy and collection angle it would be some tenths of an eV low.
    """
    from interphase.eels import find_zero_loss, map_plasmon

    beam, angle = acquisition.beam_energy_kev, acquisition.collection_angle_mrad
    if low.zero is None or beam is None or angle is None:
        return {}
    zero = find_zero_loss(low.counts, low.energy_ev, **low.noise)
    try:
        found = map_plasmon(
            low.counts,
            low.energy_ev,
            zero,
            beam_energy_kev=beam,
            collection_mrad=angle,
            **low.noise,
        )
    except (MissingValueError, ParameterError):
        return {}
    if not (np.isfinite(found.energy_ev) and found.misfit < _ONE_PLASMON):
        return {}
    return {"plasmon_ev": found.energy_ev, "plasmon_error_ev": found.energy_error_ev}


def _resolution(total: "SummedSpectrum", low: "SummedSpectrum | None") -> float:
    zero = total.zero or (low.zero if low else None)
    resolution = float(zero.fwhm_ev) if zero is not None else _RESOLUTION_EV
    return float(np.clip(resolution, 0.01, 20))
