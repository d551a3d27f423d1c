"""What comes with a spectrum image: the survey image it was chosen on, and its low losses.

Nothing here is guessed: a companion is named by session.toml, by the file's own header, or by a
file name that differs only by the words of dual EELS, and the sentence beside it says which.
"""

import math
import mmap
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from interphase.acquisition import Acquisition
from interphase.errors import ConfigurationError, FileReadError, ParameterError
from interphase.io.assembling import assemble
from interphase.io.calibration import facts_of_axes
from interphase.io.facts import as_float, lookup
from interphase.io.reading import Loaded, facts_of_signal, read
from interphase.io.session_config import SESSION_FILE, SessionConfig, read_session_config
from interphase.io.signals import (
    LAZY_ABOVE_BYTES,
    SUFFIXES,
    Signal,
    emi_of,
    energy_range_ev,
    is_element_map,
    is_xray,
    load_all,
    original_metadata,
    title,
)

Area = tuple[float, float, float, float]
"""Top, left, bottom, right."""

_LOOKED_AT = 64
"""Files beside a Gatan file, the nearest by name, in which a companion is looked for."""
_GATAN = frozenset({".dm3", ".dm4", ".hspy"})
"""Suffixes of files that hold Gatan's tags; HyperSpy keeps them in its own."""
_DUAL_EELS = re.compile(
    r"(?<![a-z])(?:(?P<low>ll|low(?:[\W_]*loss(?:es)?)?)"
    r"|hl|cl|(?:high|core)(?:[\W_]*loss(?:es)?)?)(?![a-z])"
)
"""The words by which the two files of dual EELS are told apart."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Survey:
    """The image on which the area of a map was chosen."""

    image: np.ndarray
    """Shape (M, N)."""
    area_px: Area | None = None
    """Top, left, bottom and right of the mapped area [pixels of `image`], counted from its first
    pixel's outer corner; ``None`` where the image is of exactly the mapped area."""
    pixel_size_a: float | None = None
    """Sampling of `image` [Å]."""
    source: str
    """File and signal it was found in, and how."""

    def __post_init__(self) -> None:
        if self.image.ndim != 2:
            raise ParameterError(f"the survey image has shape {self.image.shape}: expected (M, N)")
        if self.area_px is not None and not _inside(self.area_px, self.image.shape):
            raise ParameterError(f"area_px {_outside(self.area_px, self.image.shape)}")


def find_survey(
    loaded: Loaded, *, session: SessionConfig | None = None
) -> tuple[Survey | None, str]:
    """Find the image on which the area of a spectrum image was chosen.

    Parameters
    ----------
    loaded
        A file with a spectrum image or other map.
    session
        What session.toml says; by default the session.toml in the file's folder, if there is one.

    Returns
    -------
    survey : Survey or None
        Image and mapped area; ``None`` where there is none or it cannot be believed.
    note : str
        Why one that there is was not taken; empty otherwise.

    Raises
    ------
    ConfigurationError
        session.toml names a file that cannot be read or holds no image.

    Notes
    -----
    Looked for, in this order: ``survey`` in session.toml; the survey image that Gatan's tags name
    by its identifier, among the nearest files of the folder; the images of the same Velox file.
    Velox states areas as fractions of the full field of the scan; an image is believed to share
    them where it states the same field of view and the same rotation of the scan. The electrons
    of a survey, and drift after it, are not considered.
    """
    if loaded.signal is None or not _map_shape(loaded.signal):
        return None, ""
    session = _session_of(loaded, session)
    said = session.companions_for(loaded.path)
    survey = _tags(loaded.signal, "SI", "Acquisition", "Survey Image")
    if "survey" in said:
        return _stated_survey(loaded, said, survey, session)
    if _uid(lookup(survey, "UID")):
        return _gatan_survey(loaded, said, survey)
    if loaded.path.suffix.lower() == ".emd":
        return _velox_survey(loaded), ""
    return None, ""


def find_low_loss(
    loaded: Loaded, *, session: SessionConfig | None = None
) -> tuple[Loaded | None, str]:
    """Find the low losses that were recorded with core losses.

    Parameters
    ----------
    loaded
        A file whose principal signal is of energy losses.
    session
        What session.toml says; by default the session.toml in the file's folder, if there is one.

    Returns
    -------
    low_loss : Loaded or None
        Signal and record of the low losses; ``None`` where there are none, and where `loaded`
        holds 0 eV itself.
    note : str
        What was taken and why, or why what looks like them was not; empty where there is nothing.

    Raises
    ------
    ConfigurationError
        session.toml names a file that cannot be read or holds no low losses.

    Notes
    -----
    Looked for, in this order: ``low_loss`` in session.toml; the one other signal of the same file
    of the same positions that holds 0 eV; the sibling that Gatan's tags name by its identifier; the
    one file of the folder whose name differs only by the words of dual EELS (LL, HL, CL, low,
    high, core, with or without "loss"; case and separators do not count), with spectra of the same
    positions that hold 0 eV. Whoever names a file in session.toml may name a single spectrum.
    """
    losses = None if loaded.signal is None else _losses_ev(loaded.signal)
    if losses is None:
        return None, ""
    session = _session_of(loaded, session)
    stated = session.companions_for(loaded.path).get("low_loss")
    if stated is not None and loaded.path.parent / stated != loaded.path:
        low, reason = _low_of(
            _read_stated(loaded, "low_loss", stated, session), loaded, single=True
        )
        if low is None:
            raise _wrong(loaded, "low_loss", f"{stated} {reason}")
        return low, f"low losses: {stated}, which {SESSION_FILE} names"
    if losses[0] <= 0 <= losses[1]:
        return None, ""
    if any(_holds_zero(signal) for signal in loaded.others):
        low, reason = _low_of(loaded, loaded)
        if low is None:
            return None, f"{loaded.path.name} {reason}"
        first, last = energy_range_ev(low.signal) or (math.nan, math.nan)
        return low, f"low losses: the spectra from {first:.4g} to {last:.4g} eV of the same file"
    uid = _uid(_tags(loaded.signal, "EELS", "Acquisition", "Dual acquire sibling", "UID"))
    sibling = _with_uid(loaded, uid) if uid else None
    if sibling is not None:
        name = sibling[0].name
        low, reason = _low_of(read(sibling[0], session=session), loaded)
        if low is None:
            return None, f"{name}, which the tags name as the sibling in dual EELS, {reason}"
        return low, f"low losses: {name}, which the tags name as the sibling in dual EELS"
    return _named_alike(loaded, session)


def exposure_ratio(core: Acquisition, low: Acquisition) -> float | None:
    """Return how much longer core losses were counted than low losses, if their records tell.

    Parameters
    ----------
    core, low
        Records of both.

    Returns
    -------
    float or None
        Ratio of the times of each spectrum; of unlike times of scans only where neither states
        its own, since one scan of dual EELS has one time for both.

    Examples
    --------
    >>> from interphase.acquisition import Kind
    >>> core = Acquisition(kind=Kind.SPECTRUM_IMAGE, dwell_time_s=0.01, spectrum_exposure_s=0.008)
    >>> low = Acquisition(kind=Kind.SPECTRUM_IMAGE, dwell_time_s=0.01, spectrum_exposure_s=0.001)
    >>> exposure_ratio(core, low)
    8.0
    """
    for name in ("spectrum_exposure_s", "exposure_time_s", "dwell_time_s"):
        one, other = getattr(core, name), getattr(low, name)
        if one is not None and other is not None and not (name == "dwell_time_s" and one == other):
            return float(one / other)
    return None


def _session_of(loaded: Loaded, session: SessionConfig | None) -> SessionConfig:
    return read_session_config(loaded.path.parent) if session is None else session


def _read_stated(loaded: Loaded, key: str, name: str, session: SessionConfig) -> Loaded:
    try:
        return read(loaded.path.parent / name, session=session)
    except FileReadError as error:
        raise _wrong(loaded, key, str(error)) from error


def _wrong(loaded: Loaded, key: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{SESSION_FILE}: `{key}` of {loaded.path.name}: {why}")


def _map_shape(signal: Signal) -> tuple[int, ...]:
    return tuple(int(n) for n in signal.data.shape[: signal.axes_manager.navigation_dimension])


def _is_image(signal: Signal) -> bool:
    return bool(signal.data.ndim == signal.axes_manager.signal_dimension == 2)


def _said(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) + " positions" if shape else "one position"


# --- Gatan's tags


def _tags(signal: Signal, *keys: str) -> Any:
    return lookup(original_metadata(signal), "ImageList", "TagGroup0", "ImageTags", *keys)


def _uid(tree: Any) -> tuple[int, ...] | None:
    """Return the four numbers by which an image is known, ``None`` where they say nothing."""
    if not isinstance(tree, dict) or len(tree) != 4:
        return None
    numbers = [as_float(tree[key]) for key in sorted(tree)]
    if None in numbers or not any(numbers):
        return None
    return tuple(int(number) for number in numbers if number is not None)


def _with_uid(loaded: Loaded, uid: tuple[int, ...]) -> tuple[Path, Signal] | None:
    """Find the image of an identifier in the same file, then in the files nearest to it."""
    for path, signals in _nearest(loaded, uid):
        for signal in signals:
            own = lookup(original_metadata(signal), "ImageList", "TagGroup0", "UniqueID")
            if _uid(own) == uid:
                return path, signal
    return None


def _nearest(loaded: Loaded, uid: tuple[int, ...]) -> Iterator[tuple[Path, list[Signal]]]:
    yield loaded.path, list(loaded.others)
    beside = sorted(
        path
        for path in loaded.path.parent.iterdir()
        if path.suffix.lower() in _GATAN and path.is_file()
    )
    if loaded.path not in beside:
        return
    here = beside.index(loaded.path)
    nearest = sorted(enumerate(beside), key=lambda item: abs(item[0] - here))
    for _, path in nearest[1 : 1 + _LOOKED_AT]:
        try:
            if _may_hold(path, uid[0]):
                yield path, load_all(path, lazy=True)
        # An empty file cannot be mapped into memory, which is a ValueError.
        except (FileReadError, OSError, ValueError):
            continue


def _may_hold(path: Path, number: int) -> bool:
    """Whether a file holds the bytes of a number; a large one is not searched and may."""
    if not 0 <= number < 2**32 or path.stat().st_size > LAZY_ABOVE_BYTES:
        return True
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = [content.find(struct.pack(order, number)) for order in ("<I", ">I")]
    return max(found) >= 0


def _gatan_survey(loaded: Loaded, said: dict[str, Any], survey: Any) -> tuple[Survey | None, str]:
    found = _with_uid(loaded, _uid(lookup(survey, "UID")) or ())
    if found is None:
        return None, (
            "the survey image on which the map was chosen is in no file beside it: put it there, "
            f"or name it as `survey` in {SESSION_FILE}"
        )
    path, signal = found
    if not _is_image(signal):
        return None, f"{title(signal)} in {path.name}, which the tags name as survey, is no image"
    area, why = _area_of(loaded, said, survey)
    if area is None:
        return None, why
    return _survey(path, signal, area, "which the tags name as the survey image")


def _area_of(loaded: Loaded, said: dict[str, Any], survey: Any) -> tuple[Area | None, str]:
    """Return the stated area, or the rectangle of the tags if it is still that of the map."""
    if "survey_area_px" in said:
        return said["survey_area_px"], ""
    sampling = _tags(loaded.signal, "SI", "Acquisition", "Spatial Sampling")
    sides = [as_float(lookup(sampling, f"{side} (pixels)")) for side in ("Height", "Width")]
    whole = tuple(int(n) for n in sides if n is not None and n != 1)
    shape = tuple(n for n in _map_shape(loaded.signal) if n != 1)
    if whole and whole != shape:
        return None, (
            f"the rectangle on the survey image is that of a map of {_said(whole)}, of "
            f"which {loaded.path.name} holds {_said(shape)}: where they lie on it is not known"
        )
    tag = lookup(survey, "Spectrum Image Rect")
    numbers = [as_float(number) for number in (tag if isinstance(tag, (list, tuple)) else ())]
    corners = [number for number in numbers if number is not None]
    if len(numbers) != 4 or len(corners) != 4:
        return None, f"the rectangle on the survey image is {tag!r}: expected four numbers"
    top, left, bottom, right = corners
    return (top, left, bottom, right), ""


# --- the survey image


def _survey(
    path: Path, signal: Signal, area: Area | None, how: str, pixel_size_a: float | None = None
) -> tuple[Survey | None, str]:
    source = f"{title(signal)} in {path.name}, {how}"
    if area is not None and not _inside(area, signal.data.shape):
        said = _outside(area, signal.data.shape)
        return None, f"the mapped area {said}; the image is {source}"
    of_axes = facts_of_axes(signal, suffix=path.suffix.lower())[2].values
    size = pixel_size_a or of_axes.get("pixel_size_a")
    image = np.asarray(signal.data)
    return Survey(image=image, area_px=area, pixel_size_a=size, source=source), ""


def _inside(area: Area, shape: tuple[int, ...]) -> bool:
    top, left, bottom, right = area
    return 0 <= top < bottom <= shape[0] and 0 <= left < right <= shape[1]


def _outside(area: Area, shape: tuple[int, ...]) -> str:
    top, left, bottom, right = area
    return (
        f"from row {top:g} to {bottom:g} and column {left:g} to {right:g} is no rectangle inside "
        f"the survey image of {shape[0]} × {shape[1]} pixels"
    )


def _stated_survey(
    loaded: Loaded, said: dict[str, Any], survey: Any, session: SessionConfig
) -> tuple[Survey | None, str]:
    name = said["survey"]
    other = _read_stated(loaded, "survey", name, session)
    images = [s for s in (other.signal, *other.others) if s is not None and _is_image(s)]
    if not images:
        raise _wrong(loaded, "survey", f"{name} holds no image")
    area: Area | None = None
    if "survey_area_px" in said or lookup(survey, "Spectrum Image Rect") is not None:
        area, why = _area_of(loaded, said, survey)
        if area is None:
            return None, why
    elif images[0].data.shape != _map_shape(loaded.signal):
        return None, (
            f"where the map lies on {name} is not known: give `survey_area_px` = [top, left, "
            f"bottom, right] in pixels beside `survey` in {SESSION_FILE}"
        )
    size = other.acquisition.pixel_size_a if images[0] is other.signal else None
    return _survey(other.path, images[0], area, f"which {SESSION_FILE} names", size)


def _velox_survey(loaded: Loaded) -> Survey | None:
    """Return the largest image of the file around the map, or else one of the map itself."""
    area, field, _ = _velox_scan(loaded.signal)
    images = [s for s in loaded.others if _is_image(s) and not is_element_map(s)]
    shape = _map_shape(loaded.signal)
    mapped = [s for s in images if s.data.shape == shape and _velox_scan(s)[0] == area]
    if not mapped or area is None:
        return None
    # The spectra state no rotation of their scan, but the image recorded with them does.
    rotation = _velox_scan(mapped[0])[2]
    wider = []
    for image in images:
        around, *frame = _velox_scan(image)
        if around is None or field is None or rotation is None or frame != [field, rotation]:
            continue
        corners = _on(around, area, image.data.shape)
        if corners is not None and _size(around) > _size(area):
            wider.append((_size(around), corners, image))
    if wider:
        _, corners, image = max(wider, key=lambda found: found[0])
        return _survey(loaded.path, image, corners, "a scan of the same field as the map's")[0]
    return _survey(loaded.path, mapped[0], None, "recorded with the spectra")[0]


def _size(area: Area) -> float:
    return (area[2] - area[0]) * (area[3] - area[1])


def _on(around: Area, area: Area, shape: tuple[int, ...]) -> Area | None:
    """Return an area in pixels of an image of another, if it lies on it."""
    height, width = around[2] - around[0], around[3] - around[1]
    if not (height > 0 and width > 0):
        return None
    top, bottom = ((edge - around[0]) / height * shape[0] for edge in area[::2])
    left, right = ((edge - around[1]) / width * shape[1] for edge in area[1::2])
    corners = (top, left, bottom, right)
    return corners if _inside(corners, shape) else None


def _velox_scan(signal: Signal) -> tuple[Area | None, tuple[float, ...] | None, float | None]:
    """Return area as fractions of the full scan, its field of view [m] and rotation [rad]."""
    original = original_metadata(signal)
    area = _numbers(lookup(original, "Scan", "ScanArea"), "top", "left", "bottom", "right")
    field = _numbers(lookup(original, "Optics", "FullScanFieldOfView"), "x", "y")
    rotation = as_float(lookup(original, "Scan", "ScanRotation"))
    if area is None:
        return None, field, rotation
    top, left, bottom, right = area
    return (top, left, bottom, right), field, rotation


def _numbers(tree: Any, *keys: str) -> tuple[float, ...] | None:
    numbers = [as_float(lookup(tree, key)) for key in keys]
    found = tuple(number for number in numbers if number is not None)
    return found if len(found) == len(keys) else None


# --- low losses


def _losses_ev(signal: Signal) -> tuple[float, float] | None:
    return None if is_xray(signal) else energy_range_ev(signal)


def _holds_zero(signal: Signal) -> bool:
    losses = _losses_ev(signal)
    return losses is not None and losses[0] <= 0 <= losses[1]


def _low_of(other: Loaded, core: Loaded, *, single: bool = False) -> tuple[Loaded | None, str]:
    """Return the low losses of a file that belong to `core`, or why there are none."""
    held = [
        signal
        for signal in (other.signal, *other.others)
        if signal is not None and _holds_zero(signal)
    ]
    if not held:
        return None, "holds no energy losses around 0 eV"
    shape, area = _map_shape(core.signal), _velox_scan(core.signal)[0]
    fitting = [
        signal
        for signal in held
        if (_map_shape(signal) == shape and _velox_scan(signal)[0] == area)
        or (single and math.prod(_map_shape(signal)) == 1)
    ]
    if len(fitting) != 1:
        shapes = " and of ".join(_said(_map_shape(signal)) for signal in held)
        return None, f"holds low losses of {shapes}: expected one signal of {_said(shape)}"
    if fitting[0] is other.signal:
        return other, ""
    acquisition = _acquisition_of(fitting[0], other)
    return replace(other, signal=fitting[0], acquisition=acquisition, others=()), ""


_OF_ITS_OWN = ("dispersion_ev", "energy_range_ev", "spectrum_exposure_s")
"""What the energy ranges of one exposure do not share."""


def _acquisition_of(signal: Signal, loaded: Loaded) -> Acquisition:
    """Return the record of another signal of a file's exposure."""
    kind, shape, facts = facts_of_signal(signal, loaded.path, None)
    own, shared = assemble(kind=kind, shape=shape, facts=facts), loaded.acquisition
    values = {name: getattr(own, name) for name in _OF_ITS_OWN}
    return replace(
        shared,
        kind=kind,
        shape=shape,
        warnings=(),
        sources=_with_own(shared.sources, own.sources),
        missing=_with_own(shared.missing, own.missing),
        **values,
    )


def _with_own(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: said for name, said in shared.items() if name not in _OF_ITS_OWN}
    return kept | {name: own[name] for name in _OF_ITS_OWN if name in own}


def _named_alike(loaded: Loaded, session: SessionConfig) -> tuple[Loaded | None, str]:
    """Find the one file of the folder whose name says that it holds the low losses."""
    files = [
        path
        for path in sorted(loaded.path.parent.iterdir())
        if path.suffix.lower() in SUFFIXES and not (path.suffix.lower() == ".ser" and emi_of(path))
    ]
    alike = low_losses_by_name(files).get(loaded.path, ())
    if len(alike) > 1:
        names = ", ".join(path.name for path in alike[:8])
        return None, (
            f"several files are named like its low losses, {names}: name one as `low_loss` in "
            f"{SESSION_FILE}"
        )
    for path in alike:
        try:
            other = read(path, session=session)
        except FileReadError as error:
            return None, f"the file named like its low losses is not taken: {error}"
        low, reason = _low_of(other, loaded)
        if low is not None:
            return low, (
                f"low losses: {path.name}, whose name differs from {loaded.path.name} only by the "
                "words of dual EELS"
            )
        # Core losses of a high and of a low dose are named so too.
        if any(map(_holds_zero, (other.signal, *other.others))):
            return None, f"{path.name}, which is named like its low losses, {reason}"
    return None, ""


def low_losses_by_name(files: Sequence[Path]) -> dict[Path, tuple[Path, ...]]:
    """Return which files are named like the low losses of which others of their folder.

    A name says so that is the other's with one word more, or another word, for low losses.

    >>> found = low_losses_by_name([Path("a HL.dm4"), Path("a LL.dm4"), Path("b.dm4")])
    >>> {core.name: [path.name for path in low] for core, low in found.items()}
    {'a HL.dm4': ['a LL.dm4']}
    """
    named: dict[tuple[Path, str], list[Path]] = {}
    for path in files:
        low = _marked(path)
        others = {
            low[:at] + word + low[at + 1 :]
            for at, letter in enumerate(low)
            for word in ("C", "")
            if letter == "L"
        }
        for other in others:
            named.setdefault((path.parent, other), []).append(path)
    found = {path: named.get((path.parent, _marked(path)), []) for path in files}
    return {path: tuple(low) for path, low in found.items() if low}


def _marked(path: Path) -> str:
    """Return a file's name in small letters without separators, L and C for the words of dual EELS.

    >>> _marked(Path("Map 3 (low-loss).dm4")), _marked(Path("map_3_HL.dm4"))
    ('map3L', 'map3C')
    """
    name = _DUAL_EELS.sub(lambda word: "L" if word["low"] else "C", path.stem.lower())
    return re.sub(r"[\W_]+", "", name)
