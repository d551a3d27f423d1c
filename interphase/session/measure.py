"""Measure one file by its kind. Runs in a process of its own."""

import logging
import pickle
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interphase.acquisition import Acquisition, Kind
from interphase.assessment import Assessment
from interphase.diffraction.options import Options
from interphase.diffraction.results import PhaseMap
from interphase.errors import InterphaseError
from interphase.session import pictures as draw
from interphase.session.records import FileResult, Pictures, SpectrumSummary

if TYPE_CHECKING:
    from interphase.io import Loaded

log = logging.getLogger(__name__)

REGION_PICTURES = 6
"""Regions whose own power spectrum is kept for the report."""
POWER_WINDOW_A = 120.0
"""Side of the windows of the power spectrum that is shown [Å], at least 256 pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One file to measure, and how."""

    path: Path
    """The file."""
    base: FileResult
    """Key, hashes and names that the result shall carry."""
    facts: str = ""
    """Digest of what the file's exposures depend on: content, sidecars, session.toml, version."""
    session: Any = None
    """What session.toml says."""
    candidates: bytes = b""
    """The candidate phases, pickled: equal bytes are unpickled once per process."""
    options: Options | None = None
    """How to look for phases."""
    given: Mapping[str, float | None] = field(default_factory=dict)
    """Fields of the acquisition that the caller states, such as ``pixel_size_a``."""


@cache
def _candidates(pickled: bytes, temperature_k: float | None) -> tuple[Any, ...]:
    """Return the candidates, always the same objects, so that what is derived from them is kept."""
    phases: tuple[Any, ...] = pickle.loads(pickled)  # noqa: S301 - pickled by the run itself
    if temperature_k is None:
        return phases
    return tuple(phase.at(temperature_k) for phase in phases)


def measure(task: Task) -> tuple[FileResult, Pictures | None]:
    """Read a file, measure it by its kind, and return the result with its pictures.

    Whatever is wrong with the file is said in the result; nothing is raised for it.
    """
    start = time.monotonic()
    base = task.base
    try:
        result, pictures = _measure(task)
    except InterphaseError as error:
        result, pictures = replace(base, assessment=Assessment.FAILED, sentence=str(error)), None
    except MemoryError:
        sentence = f"{base.file} does not fit into memory: measure it on a larger machine"
        result = replace(base, assessment=Assessment.FAILED, sentence=sentence, final=False)
        pictures = None
    return replace(result, duration_s=time.monotonic() - start), pictures


def _measure(task: Task) -> tuple[FileResult, Pictures | None]:
    from interphase import io
    from interphase.phases import own_facts
    from interphase.session.verdicts import with_dose

    given = {name: value for name, value in task.given.items() if value is not None}
    loaded = io.read(task.path, session=task.session, user=given)
    acquisition = loaded.acquisition
    options, prior = _options(task, acquisition)
    task = replace(task, options=options)
    result = replace(
        task.base,
        kind=acquisition.kind,
        acquisition=acquisition,
        prior=prior,
        warnings=acquisition.warnings,
    )
    try:
        result, pictures = MEASURES[acquisition.kind](result, loaded, task)
        candidates = _candidates(task.candidates, None)
        return with_dose(result, None, candidates=candidates, own=own_facts()), pictures
    except (InterphaseError, MemoryError):
        raise
    except Exception as error:  # a fault of ours: what was read of the exposure still counts
        log.debug("%s", traceback.format_exc())
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        sentence = f"{result.file} was read but could not be measured: {reason}."
        failed = replace(result, assessment=Assessment.FAILED, sentence=sentence, final=False)
        return failed, None


def _array(signal: Any) -> np.ndarray:
    """Return the data of a signal, computed where it is lazy."""
    data = signal.data
    return np.asarray(data.compute() if hasattr(data, "compute") else data)


def _measure_image(
    result: FileResult, loaded: "Loaded", task: Task
) -> tuple[FileResult, Pictures | None]:
    return _identify_image(result, _array(loaded.signal), task)


def _measure_movie(
    result: FileResult, loaded: "Loaded", task: Task
) -> tuple[FileResult, Pictures | None]:
    data = loaded.signal.data
    frames = data.shape[0]
    image = data.sum(axis=0, dtype=np.float32)
    image = np.asarray(image.compute() if hasattr(image, "compute") else image)
    result, pictures = _identify_image(result, image, task)
    note = f"The {frames} frames were summed without alignment."
    return replace(result, sentence=f"{result.sentence} {note}"), pictures


def _identify_image(
    result: FileResult, image: np.ndarray, task: Task
) -> tuple[FileResult, Pictures | None]:
    from interphase.diffraction import identify_image

    acquisition = _known(result)
    factor = draw.binning(image.shape)
    thumbnail = draw.grey(draw.bin_image(image, factor))
    pixel_size_a = acquisition.pixel_size_a
    if pixel_size_a is None:
        return (
            replace(
                result,
                assessment=Assessment.UNCALIBRATED,
                sentence=_missing(acquisition, "pixel_size_a", "pixel size", result.file),
            ),
            Pictures(thumbnail=thumbnail),
        )
    phase_map = identify_image(
        image,
        pixel_size_a=pixel_size_a,
        candidates=_candidates(task.candidates, acquisition.temperature_k),
        options=task.options,
    )
    labels = None
    if phase_map.regions:
        labels = draw.picture_labels(phase_map, thumbnail.shape, pixel_size_a=pixel_size_a * factor)
    power, power_step = None, None
    # One row or column of pixels has no window, and no picture of its power.
    if (size := _power_window(image.shape, pixel_size_a)) > 0:
        power, power_step = draw.power_picture(image, pixel_size_a=pixel_size_a, size=size)
    region_power, region_step = _region_power(image, phase_map, pixel_size_a)
    return _with_phases(result, phase_map), Pictures(
        thumbnail=thumbnail,
        thumbnail_pixel_size=pixel_size_a * factor,
        labels=labels,
        power=power,
        power_pixel_size_per_a=power_step,
        region_power=region_power,
        region_power_pixel_size_per_a=region_step,
    )


def _options(task: Task, acquisition: Acquisition) -> tuple[Options, str]:
    """Return how to look: as asked, or as suits how the data were made; with the stated prior.

    With them comes the prior in words. Names that are no candidates are doubted where it is used.
    """
    scanned = acquisition.mode == "STEM" and acquisition.kind in (Kind.IMAGE, Kind.MOVIE)
    options = task.options or (Options.for_scanned_image() if scanned else Options())
    names = {phase.identifier for phase in _candidates(task.candidates, None)}
    weights, source = options.prior, "the caller"
    details: tuple[str, ...] = ()
    if weights is None and task.session is not None and task.session.prior is not None:
        weights, source = task.session.prior, "session.toml"
    elif weights is None and acquisition.electrolyte is not None:
        from interphase.phases import electrolyte_prior

        of_electrolyte = electrolyte_prior(acquisition.electrolyte)
        source, details = f"the electrolyte, {acquisition.electrolyte}", of_electrolyte.sources
        # The table knows phases that are no candidates here: nobody has named them by mistake.
        weights = {p: weight for p, weight in of_electrolyte.weights.items() if p in names}
    options = replace(options, prior=weights or None)
    named = ", ".join(f"{p} × {w:g}" for p, w in (weights or {}).items() if p in names)
    if not named:
        return options, ""
    return options, " ".join((f"Prior weights by {source}: {named}; all others 1.", *details))


def _power_window(shape: tuple[int, ...], pixel_size_a: float) -> int:
    size = max(256, round(POWER_WINDOW_A / pixel_size_a))
    return int(min(size, 1024, *shape)) // 2 * 2


def _region_power(
    image: np.ndarray, phase_map: PhaseMap, pixel_size_a: float
) -> tuple[np.ndarray | None, float | None]:
    """Return pictures of the power spectra about the first regions."""
    if phase_map.window_a is None:
        return None, None
    # Somewhat more than a window: the picture should show the spots, not the window's blur.
    size = min(*image.shape, round(1.5 * phase_map.window_a / pixel_size_a)) // 2 * 2
    shown, step = [], None
    for region in phase_map.regions[:REGION_PICTURES]:
        if region.centre_a is None:
            continue
        row, column = (c / pixel_size_a for c in region.centre_a)
        crop = draw.crop_about(image, (row, column), size)
        picture, step = draw.power_picture(crop, pixel_size_a=pixel_size_a, size=size)
        shown.append(picture)
    return (np.stack(shown), step) if shown else (None, None)


def _measure_pattern(
    result: FileResult, loaded: "Loaded", task: Task
) -> tuple[FileResult, Pictures | None]:
    return _identify_pattern(result, _array(loaded.signal).astype(np.float64), task)


def _measure_scan_4d(
    result: FileResult, loaded: "Loaded", task: Task
) -> tuple[FileResult, Pictures | None]:
    """Map the phases of a scan; where no position shows any, look at the mean of all patterns."""
    from interphase.diffraction import identify_scan

    acquisition = _known(result)
    shape = loaded.signal.data.shape
    data = loaded.signal.data.reshape(-1, *shape[-3:])
    if acquisition.reciprocal_pixel_size_per_a is not None:
        scan = identify_scan(
            data,
            reciprocal_pixel_size_per_a=acquisition.reciprocal_pixel_size_per_a,
            candidates=_candidates(task.candidates, acquisition.temperature_k),
            beam_energy_kev=acquisition.beam_energy_kev,
            scan_step_a=acquisition.scan_step_a,
            options=task.options,
        )
        if scan.phases.regions:
            return _with_phases(result, scan.phases), draw.scan_pictures(scan)
    mean = data.mean(axis=(0, 1))
    pattern = np.asarray(mean.compute() if hasattr(mean, "compute") else mean)
    result, pictures = _identify_pattern(result, pattern, task)
    if not result.assessment.answered:
        return result, pictures
    positions = " × ".join(str(n) for n in shape[:-2])
    note = (
        f"This is the mean pattern of {positions} positions, none of which shows a crystal alone."
    )
    return replace(result, sentence=f"{result.sentence} {note}"), pictures


def _identify_pattern(
    result: FileResult, pattern: np.ndarray, task: Task
) -> tuple[FileResult, Pictures | None]:
    from interphase.diffraction import identify_pattern

    acquisition = _known(result)
    if pattern.ndim > 2:
        pattern = pattern.mean(axis=tuple(range(pattern.ndim - 2)))
    factor = draw.binning(pattern.shape)
    binned = draw.bin_image(pattern, factor)
    step = acquisition.reciprocal_pixel_size_per_a
    thumbnail = draw.grey_pattern(binned)
    if step is None:
        sentence = _missing(
            acquisition, "reciprocal_pixel_size_per_a", "sampling of the pattern", result.file
        )
        return (
            replace(result, assessment=Assessment.UNCALIBRATED, sentence=sentence),
            Pictures(thumbnail=thumbnail),
        )
    phase_map = identify_pattern(
        pattern,
        reciprocal_pixel_size_per_a=step,
        candidates=_candidates(task.candidates, acquisition.temperature_k),
        options=task.options,
    )
    return _with_phases(result, phase_map), Pictures(
        thumbnail=thumbnail, thumbnail_pixel_size=step * factor
    )


def _measure_spectra(
    result: FileResult, loaded: "Loaded", task: Task
) -> tuple[FileResult, Pictures | None]:
    """Measure spectra as `interphase eels` does, and draw what they show."""
    from interphase.io import is_xray
    from interphase.session.spectra import measure_loaded
    from interphase.session.spectra_records import SpectraOptions

    acquisition = _known(result)
    data = loaded.signal.data
    flat = data.reshape(-1, data.shape[-1])
    total = _computed(flat.sum(axis=0, dtype=np.float64))
    summary = SpectrumSummary(
        spectra=int(flat.shape[0]),
        channels=int(flat.shape[1]),
        energy_range_ev=acquisition.energy_range_ev,
        total_counts=float(total.sum()),
        max_counts=float(_computed(flat.max())),
    )
    result = replace(result, spectrum=summary)
    axis = np.arange(len(total), dtype=float)
    if acquisition.energy_range_ev is not None:
        axis = np.linspace(*acquisition.energy_range_ev, len(total))
    counts, energy = draw.decimate(total, axis)
    pictures = Pictures(counts=counts, energy_ev=energy)
    if data.ndim == 3 and min(data.shape[:2]) > 1:
        pictures = replace(
            pictures,
            thumbnail=draw.grey(_computed(data.sum(axis=-1, dtype=np.float64))),
            thumbnail_pixel_size=acquisition.scan_step_a,
        )
    if is_xray(loaded.signal):
        sentence = "These are X-ray spectra, which this version shows but does not measure."
        return replace(result, assessment=Assessment.NOT_ASSESSED, sentence=sentence), pictures
    if acquisition.energy_range_ev is None:
        sentence = _missing(acquisition, "dispersion_ev", "energy axis", result.file)
        return replace(result, assessment=Assessment.UNCALIBRATED, sentence=sentence), pictures
    found, maps = measure_loaded(loaded, SpectraOptions(), session=task.session)
    found = replace(found, file=result.file)
    result = replace(
        result,
        eels=found,
        assessment=found.assessment,
        sentence=found.sentence,
    )
    if maps is not None:
        pictures = replace(pictures, figure=draw.figure_picture(maps))
    return result, pictures


def _measure_metadata(
    result: FileResult, loaded: "Loaded", task: Task
) -> tuple[FileResult, Pictures | None]:
    """Say what a file without data states of an exposure."""
    del loaded
    acquisition = _known(result)
    if task.path.suffix.lower() == ".nav":
        sentence = "Lists places on the specimen; it exposed nothing."
        return replace(result, assessment=Assessment.NOT_ASSESSED, sentence=sentence), None
    if acquisition.dose_e_per_a2 is None:
        dose = "its dose is unknown"
    else:
        dose = f"its dose is {acquisition.dose_e_per_a2:.4g} e/Å²"
    sentence = f"Describes an exposure whose data are not in the session; {dose}."
    return replace(result, assessment=Assessment.NOT_ASSESSED, sentence=sentence), None


MEASURES: Mapping[Kind, Callable[..., tuple[FileResult, Pictures | None]]] = {
    Kind.IMAGE: _measure_image,
    Kind.MOVIE: _measure_movie,
    Kind.DIFFRACTION: _measure_pattern,
    Kind.SCAN_4D: _measure_scan_4d,
    Kind.SPECTRUM: _measure_spectra,
    Kind.SPECTRUM_IMAGE: _measure_spectra,
    Kind.METADATA: _measure_metadata,
}
"""What is done with a file of each kind."""


def _computed(value: Any) -> Any:
    return np.asarray(value.compute() if hasattr(value, "compute") else value)


def _known(result: FileResult) -> Acquisition:
    assert result.acquisition is not None
    return result.acquisition


def _missing(acquisition: Acquisition, name: str, words: str, file: str) -> str:
    remedy = acquisition.missing.get(name, f"give `{name}` in session.toml")
    return f"The {words} of {file} is unknown: {remedy}."


def _with_phases(result: FileResult, phase_map: PhaseMap) -> FileResult:
    return replace(
        result,
        phase_map=phase_map,
        assessment=phase_map.assessment,
        sentence=phase_map.sentence,
        warnings=(*result.warnings, *phase_map.warnings),
    )
