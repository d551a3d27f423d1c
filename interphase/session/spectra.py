"""Measure files of energy-loss spectra: thickness, elements, species, and what lacks for it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from interphase.acquisition import Acquisition, Kind
from interphase.assessment import Assessment
from interphase.errors import InterphaseError, ParameterError
from interphase.files import write_json
from interphase.parallel import ChildCallError, ChildLostError, ChildPool

ELEMENTS = ("Li", "C", "O", "F")
"""Elements looked for unless others are named, where the spectrum shows an edge of them."""
_KNOWN_EV = {
    "C_K": (284.0, 1.5),
    "N_K": (401.0, 2.0),
    "Ti_L": (457.0, 1.0),
    "O_K": (531.0, 2.5),
    "Mn_L": (640.0, 1.5),
    "F_K": (687.0, 2.5),
    "Fe_L": (708.0, 1.5),
    "Co_L": (779.0, 1.5),
    "Ni_L": (855.0, 1.5),
}
"""Edge → where its first rise is steepest, and how far compounds move it [eV]. Tabulated onsets;
the scatter of compounds from practice of the field (grade C)."""
_BEFORE_EV, _GAP_EV, _AFTER_EV = 30.0, 8.0, 30.0
"""Ranges before and after an onset from which a lasting rise is told, and the axis' trust."""
_RISE, _SURE = 0.1, 5.0
"""Rise over the background, and over its standard error, from which an edge is there."""
_FAR_ABOVE = 20.0
"""Detection limits above which a shallow edge is believed though the model misfits: misfits of
simulated films without lithium make 17. A working value."""
_ALIKE = 2.5
"""Standard errors by which the corrections that two edges want may differ."""
_RESOLUTION_EV = 1.0
"""Resolution where no zero-loss peak shows it [eV]; a working value."""
_SHALLOW_EV = 100.0
"""Onset below which other elements' edges are taken for lithium's [eV]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementAmount:
    """How much there is of an element, and how much could have been seen."""

    detected: bool
    """Whether it is above noise, and no other element explains its edge as well."""
    areal_density_per_nm2: float | None
    """Atoms per area [1/nm²]; ``None`` where the electrons or the fit do not allow a number."""
    standard_error: float | None
    """Its standard error of counting [1/nm²]."""
    detection_limit_per_nm2: float | None
    """Areal density that would have been detected with 95 % probability [1/nm²]."""
    relative_uncertainty: float
    """Trust in the cross-section, one standard deviation over the value, beside the error."""
    ratio: float | None = None
    """Atoms over those of `EelsResult.ratios_to`, which needs no low losses."""
    ratio_error: float | None = None
    """Standard error of `ratio` by counting."""
    instead: tuple[str, ...] = ()
    """Edges of other elements that explain the spectrum as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EelsResult:
    """What the sum of a file's spectra shows."""

    file: str
    """The file, as it was given."""
    assessment: Assessment
    """What the result is worth."""
    sentence: str
    """The same in words."""
    spectra: int = 0
    """Spectra that were added up."""
    relative_thickness: Mapping[str, float | None] | None = None
    """``mean`` of t/λ and ``std``: the standard error for one spectrum, the scatter over the pixels
    of an image; ``None`` without a zero-loss peak."""
    energy_shift_ev: float | None = None
    """What must be added to the axis of the file [eV]; ``None`` where nothing in it tells."""
    energy_shift_error_ev: float | None = None
    """Its standard error [eV]."""
    elements: Mapping[str, ElementAmount] = field(default_factory=dict)
    """Symbol → amount; empty where none could be fitted."""
    ratios_to: str | None = None
    """The detected element that is best known, to which ratios of atoms are given."""
    species: Mapping[str, float] = field(default_factory=dict)
    """Species → probability that it is there; those of which nothing can be said are left out."""
    cross_sections: Mapping[str, str] = field(default_factory=dict)
    """Edge → the table its cross-section comes from."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """What is missing → how to give it."""
    notes: tuple[str, ...] = ()
    """What was found and doubted on the way, one sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectraOptions:
    """What to look for in spectra, and what no file holds."""

    elements: tuple[str, ...] | None = None
    """Symbols; `ELEMENTS` and those whose edge is seen, unless given."""
    low_loss: Path | None = None
    """Low losses of the same place, with their zero-loss peak."""
    exposure_ratio: float | None = None
    """Exposure of the spectra over that of `low_loss`; that of the files' times unless given."""
    rivals: tuple[str, ...] | None = None
    """Elements whose shallow edges may be taken for lithium's; all common ones unless given."""
    given: Mapping[str, float | None] = field(default_factory=dict)
    """Fields of the acquisition that the caller states, such as ``beam_energy_kev``."""


def measure_spectrum_files(
    paths: Sequence[str | Path],
    *,
    options: SpectraOptions | None = None,
    time_limit_s: float = 900.0,
) -> Iterator[EelsResult]:
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
    for name, value in {**options.given, "exposure_ratio": options.exposure_ratio}.items():
        if value is not None and not 0 < value < float("inf"):
            raise ParameterError(f"{name} is {value!r}: expected a finite number > 0")
    children = ChildPool()
    try:
        for path in files:
            try:
                yield children.call(_measure_file, path, options, time_limit_s=time_limit_s)
            except (ChildLostError, ChildCallError) as error:
                yield _failed(path, f"{path} could not be measured: {error}.")
    finally:
        children.close()


def write_spectra(result: EelsResult, out: Path, *, name: str) -> None:
    """Write a result as JSON into a folder, which is made if it is not there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InterphaseError(
            f"{out} cannot be made ({error.strerror}): give another folder with --out"
        ) from error
    write_json(out / f"{name}.json", result)


def _failed(path: Path, sentence: str) -> EelsResult:
    return EelsResult(file=str(path), assessment=Assessment.FAILED, sentence=sentence)


def _measure_file(path: Path, options: SpectraOptions) -> EelsResult:
    from interphase.io import read

    given = {name: value for name, value in options.given.items() if value is not None}
    try:
        loaded = read(path, user=given)
        kind = loaded.acquisition.kind
        if kind not in (Kind.SPECTRUM, Kind.SPECTRUM_IMAGE):
            return EelsResult(
                file=str(path),
                assessment=Assessment.NOT_ASSESSED,
                sentence=f"{path} holds no spectra but is of the kind {kind}: nothing was measured",
            )
        low = read(options.low_loss) if options.low_loss is not None else None
        result = measure_spectra(
            loaded.signal,
            loaded.acquisition,
            low_loss=low.signal if low else None,
            low_loss_acquisition=low.acquisition if low else None,
            elements=options.elements,
            exposure_ratio=options.exposure_ratio,
            rivals=options.rivals,
        )
    except InterphaseError as error:
        return _failed(path, str(error))
    notes = (*loaded.acquisition.warnings, *result.notes)
    return replace(result, file=str(path), notes=notes)


def measure_spectra(
    signal: Any,
    acquisition: Acquisition,
    *,
    low_loss: Any = None,
    low_loss_acquisition: Acquisition | None = None,
    elements: Sequence[str] | None = None,
    exposure_ratio: float | None = None,
    rivals: Sequence[str] | None = None,
) -> EelsResult:
    """Return what the sum of spectra shows: thickness, elements and species.

    Spectra of an image are brought to one zero loss, where they hold it, and added up; maps are
    the functions of `interphase.eels`. Plural scattering is in the fit of elements where a low
    loss is there, and left in what species are told from.

    Parameters
    ----------
    signal
        A HyperSpy signal of spectra, low losses or core losses, such as `interphase.io.load` gives.
    acquisition
        How it was recorded; elements need beam energy and both semi-angles.
    low_loss
        Low losses recorded with it by the same detector, if they are another signal.
    low_loss_acquisition
        How those were recorded, for the ratio of exposures.
    elements
        Symbols; `ELEMENTS` and those whose edge is seen, unless given.
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
    from interphase.eels import ElementOptions, find_fault, spectra_from_signal

    spectra = spectra_from_signal(signal)
    number = int(np.prod(spectra.counts.shape[:-1]))
    result = EelsResult(file="", assessment=Assessment.OK, sentence="", spectra=number)
    gain, read_noise, notes = _detector(spectra.counts)
    fault = find_fault(spectra.counts, spectra.energy_ev, gain=gain, read_noise=read_noise)
    if fault is not None:
        if fault.assessment is not Assessment.OK:
            return replace(result, assessment=fault.assessment, sentence=fault.sentence)
        notes.append(fault.sentence)
    total = _Sum.of(spectra.counts, spectra.energy_ev, gain, read_noise)
    result = replace(result, notes=tuple(notes), **total.thickness(spectra.counts))
    total, result, seen = _calibrated(
        total, result, [name for name, (onset, _) in _KNOWN_EV.items() if _rises(total, onset)]
    )
    low = None
    if low_loss is not None:
        other = spectra_from_signal(low_loss)
        # Both are of one detector, so that its gain has no part in areal densities.
        fault = find_fault(other.counts, other.energy_ev, gain=gain, read_noise=read_noise)
        low = _Sum.of(other.counts, other.energy_ev, gain, read_noise)
        bad = fault is not None and fault.assessment is not Assessment.OK
        if bad or low.zero is None:
            why = fault.sentence if fault and bad else "they have no zero-loss peak"
            note = f"the low losses are left out: {why}"
            result, low = replace(result, notes=(*result.notes, note)), None
        elif result.relative_thickness is None:
            found = low.thickness(other.counts)["relative_thickness"]
            result = replace(result, relative_thickness=found)
    options = ElementOptions() if rivals is None else ElementOptions(rivals=tuple(rivals))
    ratio = exposure_ratio or _ratio_of_times(acquisition, low_loss_acquisition)
    result = _with_elements(result, total, low, ratio, acquisition, elements, seen, options=options)
    result = _with_species(result, total, low, acquisition, seen)
    return _judged(result)


def _detector(counts: Any) -> tuple[float, float, list[str]]:
    """Return gain and read noise of a spectrum, and what is doubtful of them."""
    from interphase.eels import estimate_detector

    found = estimate_detector(counts)
    if found.assessment is Assessment.OK and found.gain > 0:
        read = found.read_noise if np.isfinite(found.read_noise) else 0.0
        return found.gain, read, []
    return (
        1.0,
        0.0,
        [f"a count is taken for one electron, since the data do not tell: {found.sentence}"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sum:
    """The sum of the spectra of a file."""

    counts: np.ndarray
    energy_ev: np.ndarray
    number: int
    gain: float
    read_noise: float
    """Of the sum [counts]."""
    zero: Any
    """`ZeroLoss` of the single spectra; ``None`` where there is none."""
    axis_error_ev: float | None = None

    @classmethod
    def of(cls, counts: Any, energy_ev: np.ndarray, gain: float, read_noise: float) -> "_Sum":
        """Add up spectra, those with a zero-loss peak aligned to it."""
        from interphase.eels import aligned_mean, find_zero_loss
        from interphase.eels.checks import blocks

        found = find_zero_loss(counts, energy_ev, gain=gain, read_noise=read_noise)
        zero = found if found.assessment is Assessment.OK else None
        axis_error = None
        if zero is not None:
            mean, energy = aligned_mean(counts, energy_ev, zero)
            number = int(np.isfinite(zero.position_ev).sum())
            total = mean * number
            axis_error = float(
                np.hypot(np.nanmedian(zero.error_ev) / np.sqrt(number), zero.common_error_ev)
            )
        else:
            energy, number, total = energy_ev, 0, np.zeros(len(energy_ev))
            for _, block in blocks(counts):
                rows = block.reshape(-1, block.shape[-1])
                rows = rows[np.isfinite(rows).all(axis=1)]
                number, total = number + len(rows), total + rows.sum(axis=0)
        return cls(
            counts=total,
            energy_ev=energy,
            number=number,
            gain=gain,
            read_noise=read_noise * np.sqrt(number),
            zero=zero,
            axis_error_ev=axis_error,
        )

    def thickness(self, counts: Any) -> dict[str, Any]:
        """Return the fields of a result that the zero-loss peak tells."""
        from interphase.eels import measure_thickness

        if self.zero is None:
            return {"relative_thickness": None}
        single = self.read_noise / np.sqrt(self.number)
        energy = self.energy_ev + float(np.nanmedian(self.zero.position_ev))
        found = measure_thickness(counts, energy, self.zero, gain=self.gain, read_noise=single)
        known = found.relative[np.isfinite(found.relative)]
        several = counts.ndim > 1
        error = float(np.hypot(np.nanmean(found.relative_error), found.systematic))
        return {
            "relative_thickness": {
                "mean": float(known.mean()),
                "std": float(known.std()) if several else error,
            }
            if known.size
            else None,
            "energy_shift_ev": -float(np.nanmedian(self.zero.position_ev)),
            "energy_shift_error_ev": self.axis_error_ev,
        }


def _ratio_of_times(core: Acquisition, low: Acquisition | None) -> float | None:
    if low is None:
        return None
    for name in ("exposure_time_s", "dwell_time_s"):
        one, other = getattr(core, name), getattr(low, name)
        if one is not None and other is not None:
            return float(one / other)
    return None


def _net(total: _Sum, onset_ev: float, after_ev: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Return counts less a power law through what precedes an onset, and their variance.

    From the first channel of the background to `after_ev` behind the onset, zero elsewhere;
    ``None`` where the channels before the onset do not suffice.
    """
    energy, variance = total.energy_ev, total.gain * np.maximum(total.counts, total.gain)
    variance = variance + total.read_noise**2
    before = (energy > max(onset_ev - _BEFORE_EV, 1.0)) & (energy < onset_ev - _GAP_EV)
    before &= total.counts > 0
    if before.sum() < 8 or np.ptp(energy[before]) < 8:
        return None
    x = np.log(energy[before] / onset_ev)
    matrix = np.column_stack([np.ones_like(x), x])
    weight = total.counts[before] ** 2 / variance[before]
    covariance = np.linalg.inv(matrix.T @ (weight[:, None] * matrix))
    a, b = covariance @ (matrix.T @ (weight * np.log(total.counts[before])))
    here = (energy > onset_ev - _BEFORE_EV) & (energy < onset_ev + after_ev) & (energy > 0)
    net, spread = np.zeros_like(energy), np.zeros_like(energy)
    grid = np.column_stack([np.ones(here.sum()), np.log(energy[here] / onset_ev)])
    background = np.exp(np.clip(grid @ [a, b], -700, 700))
    net[here] = total.counts[here] - background
    spread[here] = np.einsum("ij,jk,ik->i", grid, covariance, grid) * background**2
    return net, variance + spread


def _rises(total: _Sum, onset_ev: float) -> bool:
    """Return whether counts rise lastingly over what precedes an onset above 100 eV."""
    after = (total.energy_ev > onset_ev + _GAP_EV) & (total.energy_ev < onset_ev + _AFTER_EV)
    if after.sum() < 4 or total.energy_ev[-1] < onset_ev + 2 * _GAP_EV:
        return False
    parts = _net(total, onset_ev, _AFTER_EV)
    if parts is None:
        return False
    rise = parts[0][after].sum()
    ground = total.counts[after].sum() - rise
    # The background's error is common to the channels after the edge.
    shared = np.sqrt(parts[1][after]).sum() / np.sqrt(after.sum())
    return bool(rise > _RISE * max(ground, 0.0) and rise > _SURE * shared)


def _calibrated(
    total: _Sum, result: EelsResult, seen: Sequence[str]
) -> tuple[_Sum, EelsResult, list[str]]:
    """Return the sum with its axis corrected where no zero loss tells, and the edges believed."""
    from interphase.eels import KnownEdge, check_energy_axis

    if total.zero is not None:
        return total, result, list(seen)
    note = "the energy axis stays unchecked: neither a zero-loss peak nor a known edge is seen"
    if not seen:
        return total, replace(result, notes=(*result.notes, note)), []

    def checked(names: Sequence[str]) -> Any:
        edges = [
            KnownEdge(name=name, onset_ev=_KNOWN_EV[name][0], error_ev=_KNOWN_EV[name][1])
            for name in names
        ]
        counts, energy = total.counts, total.energy_ev
        return check_energy_axis(
            counts, energy, edges, gain=total.gain, read_noise=total.read_noise
        )

    off = {edge.name: _KNOWN_EV[edge.name][0] - edge.onset_ev for edge in checked(seen).edges}
    # A rise that wants another correction than most others is the edge of another element.
    agreeing = [
        [
            other
            for other in seen
            if abs(off[name] - off[other])
            <= _ALIKE * np.hypot(_KNOWN_EV[name][1], _KNOWN_EV[other][1])
        ]
        for name in seen
    ]
    believed = max(agreeing, key=lambda names: sum(_KNOWN_EV[name][1] ** -2 for name in names))
    if not believed:
        return total, replace(result, notes=(*result.notes, note)), []
    check = checked(believed)
    energy, notes = total.energy_ev, [*result.notes, check.sentence]
    if abs(check.correction_ev) > 2 * check.error_ev:
        energy = energy + check.correction_ev
        notes.append("what follows is on the corrected axis")
    return (
        replace(total, energy_ev=energy, axis_error_ev=check.error_ev),
        replace(
            result,
            energy_shift_ev=check.correction_ev,
            energy_shift_error_ev=check.error_ev,
            notes=tuple(notes),
        ),
        believed,
    )


def _usual_elements(seen: Sequence[str]) -> list[str]:
    """Return the elements looked for where none are named.

    Of those that are not seen none is kept that begins in the near-edge window of one that is: only
    the sum of the counts of such a window is known, and it would be shared between the two.
    """
    from interphase.eels import ElementOptions, edge_onsets

    width = ElementOptions().near_edge_ev
    found = {name.partition("_")[0]: name for name in seen}
    taken = [edge_onsets(element)[name] for element, name in found.items()]
    kept = [
        element
        for element in ELEMENTS
        if element in found
        or all(abs(edge_onsets(element)[f"{element}_K"] - onset) >= width for onset in taken)
    ]
    return list(dict.fromkeys([*kept, *found]))


def _with_elements(
    result: EelsResult,
    total: _Sum,
    low: _Sum | None,
    ratio: float | None,
    acquisition: Acquisition,
    elements: Sequence[str] | None,
    seen: Sequence[str],
    *,
    options: Any,
) -> EelsResult:
    """Return a result with the amounts of elements."""
    from interphase.eels import PIXEL_VERDICTS, edge_onsets, edges_within, fit_elements

    wanted = list(elements) if elements is not None else _usual_elements(seen)
    within = edges_within(list(dict.fromkeys(wanted)), total.energy_ev)
    wanted = [element for element, own in within.items() if own]
    outside = [element for element, own in within.items() if not own]
    notes = list(result.notes)
    if elements is not None and outside:
        notes.append(f"no edge of {', '.join(outside)} begins in the range of the spectra")
    if not wanted:
        return replace(result, notes=tuple(notes))
    optics = {
        "beam_energy_kev": ("beam_energy_kev", "--beam-energy in keV"),
        "convergence_mrad": ("semi_convergence_angle_mrad", "--convergence in mrad"),
        "collection_mrad": ("collection_angle_mrad", "--collection in mrad"),
    }
    missing = {
        name: f"give {option}, or `{name}` in session.toml"
        for name, option in optics.values()
        if getattr(acquisition, name) is None
    }
    if missing:
        return replace(result, notes=tuple(notes), missing=missing)
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
            gain=total.gain,
            read_noise=total.read_noise,
            options=options,
            **{key: getattr(acquisition, name) for key, (name, _) in optics.items()},
            **dual,
        )
    except ParameterError as error:
        return replace(result, notes=(*notes, f"no elements were fitted: {error}"), missing=missing)
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
        if min(onsets) < _SHALLOW_EV:
            limit = maps.detection_limit_per_nm2 * maps.electrons
            return bool(maps.strength[k] > _FAR_ABOVE * limit[k])
        return any(_rises(total, onset) for onset in onsets)

    if unlike:
        assessment = Assessment.AMBIGUOUS
        notes.append(
            f"the fit of elements leaves {float(maps.chi_square_per_dof):.0f} times the square of "
            "the noise, which errors and limits include: edges that were not named, shapes that no "
            "table knows, or smoothed data may be why"
        )
    detected = [bool(there) and (not unlike or plain(k)) for k, there in enumerate(maps.detected)]
    known_to = np.sqrt(np.diagonal(maps.covariance))
    best = max(
        (k for k, there in enumerate(detected) if there),
        key=lambda k: float(maps.strength[k] / known_to[k]),
        default=None,
    )
    to = None if best is None else maps.elements[best]
    ratios = {e: maps.ratio(e, to) if to else (np.nan, np.nan) for e in maps.elements}
    amounts = {
        element: ElementAmount(
            detected=detected[k],
            areal_density_per_nm2=_number(maps.areal_density_per_nm2[k]),
            standard_error=_number(maps.standard_error_per_nm2[k]),
            detection_limit_per_nm2=_number(maps.detection_limit_per_nm2[k]),
            relative_uncertainty=float(maps.relative_uncertainty[element]),
            ratio=_number(ratios[element][0]),
            ratio_error=_number(ratios[element][1]),
            instead=tuple(maps.contested.get(element, ())),
        )
        for k, element in enumerate(maps.elements)
    }
    return replace(
        result,
        elements=amounts,
        ratios_to=to,
        cross_sections=dict(maps.cross_sections),
        missing=missing,
        notes=tuple(notes),
        assessment=assessment,
    )


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _with_species(
    result: EelsResult,
    total: _Sum,
    low: _Sum | None,
    acquisition: Acquisition,
    seen: Sequence[str],
) -> EelsResult:
    """Return a result with the probabilities of species."""
    from interphase.eels import fingerprint_table, identify_species

    if total.axis_error_ev is None:
        return result
    present = {e for e, amount in result.elements.items() if amount.detected}
    present |= {name.partition("_")[0] for name in seen}
    net, variance = np.zeros_like(total.counts), np.ones_like(total.counts)
    looked = []
    for edge, onset in fingerprint_table().onset_ev.items():
        # What rises near 55 eV is not lithium's unless the fit, with its rivals, says so.
        if edge.partition("_")[0] not in present or onset > total.energy_ev[-1] - _AFTER_EV / 2:
            continue
        parts = _net(total, onset, _AFTER_EV + 10)
        if parts is not None:
            here = np.abs(total.energy_ev - onset) <= _AFTER_EV + 10
            net[here], variance[here] = parts[0][here], parts[1][here]
            looked.append(onset)
    if not looked:
        return result
    energy = total.energy_ev
    keep = energy > (0.0 if min(looked) < _SHALLOW_EV else _SHALLOW_EV)
    zero = total.zero or (low.zero if low else None)
    resolution = float(zero.fwhm_ev) if zero is not None else _RESOLUTION_EV
    try:
        found = identify_species(
            net[keep],
            variance=variance[keep],
            energy_ev=energy[keep],
            axis_error_ev=min(total.axis_error_ev, 20.0),
            resolution_ev=float(np.clip(resolution, 0.01, 20)),
            elements=sorted(present),
            dose_e_per_a2=acquisition.dose_e_per_a2,
        )
    except ParameterError as error:
        return replace(result, notes=(*result.notes, f"no species were looked for: {error}"))
    elements = dict(result.elements)
    if "Li" in elements and elements["Li"].detected and "Li_K" in found.edges:
        k = found.edges.index("Li_K")
        if not found.edge_counts[k] > found.detection_limit[k]:
            # The fit rests on a model of the tail of plasmons, the edge by itself on none.
            elements["Li"] = replace(elements["Li"], detected=False)
            note = "the fit finds lithium, but no Li K edge rises over what precedes it"
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


def _judged(result: EelsResult) -> EelsResult:
    """Return a result with its verdict in words."""
    from interphase.eels import lithium_warning

    parts = []
    relative = (result.relative_thickness or {}).get("mean")
    notes = result.notes
    if relative is not None:
        parts.append(f"t/λ is {relative:.2f}")
    shift, error = result.energy_shift_ev, result.energy_shift_error_ev or 0.0
    if shift is not None and abs(shift) > 2 * error:
        parts.append(f"the axis is off by {-shift:+.2f} ± {error:.2g} eV")
    warning = lithium_warning(relative) if relative and "Li" in result.elements else None
    notes = (*notes, warning) if warning else notes
    there = [element for element, amount in result.elements.items() if amount.detected]
    told = any(a.areal_density_per_nm2 is not None for a in result.elements.values())
    if result.elements and not (told or there or "exposure_ratio" in result.missing):
        parts.append(f"no amount of {', '.join(result.elements)} can be told")
    elif result.elements:
        absent = [element for element in result.elements if element not in there]
        parts.append(f"detected: {', '.join(there) or 'none'}")
        if absent:
            parts.append(f"not detected: {', '.join(absent)}")
    for element, amount in result.elements.items():
        density, limit = amount.areal_density_per_nm2, amount.detection_limit_per_nm2
        if amount.instead and density is not None and limit is not None and density > limit:
            names = " or ".join(edge.replace("_", " ") for edge in amount.instead)
            parts.append(
                f"what looks like {element} can be {names}: give --rivals with the elements that "
                "the specimen can hold"
            )
    sure = [name for name, p in result.species.items() if p >= 0.9]
    if sure:
        parts.append(f"species: {', '.join(sure)}")
    elif result.species:
        parts.append("no species is certain")
    assessment = result.assessment
    needed = [name for name in result.missing if name != "exposure_ratio"]
    if needed:
        assessment = Assessment.UNCALIBRATED
        remedies = "; ".join(f"{name} is missing, {result.missing[name]}" for name in needed)
        parts.append(f"elements have no number: {remedies}")
    elif result.missing and result.elements:
        parts.append(f"areal densities have no number: {result.missing['exposure_ratio']}")
    if not parts:
        assessment = Assessment.UNUSABLE
        parts.append(
            "the spectra show neither a zero-loss peak nor an edge that was looked for: name the "
            "elements with --elements"
        )
    return replace(result, assessment=assessment, sentence="; ".join(parts), notes=notes)
