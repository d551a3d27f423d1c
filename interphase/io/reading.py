"""From a path to a signal and the record of its acquisition, in one read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from interphase.acquisition import Acquisition, DoseStatement, Kind, Origin, Source, Stage
from interphase.errors import FileReadError
from interphase.io import mdoc
from interphase.io.calibration import facts_of_axes
from interphase.io.checks import sers_of
from interphase.io.dose import reconcile, scan_dose
from interphase.io.epu import facts_of_epu
from interphase.io.facts import DoseClaim, Facts
from interphase.io.headers import HEADERS
from interphase.io.session_config import (
    REMEDIES,
    SESSION_FILE,
    WANTED,
    SessionConfig,
    read_session_config,
)
from interphase.io.signals import (
    SUFFIXES,
    Signal,
    emi_of,
    load_all,
    metadata,
    original_metadata,
    title,
)

SIDECAR_SUFFIXES = frozenset({".mdoc", ".nav", ".xml"})
"""Suffixes of files that hold no array but say what was exposed."""

_SAME_PLACE_UM = 5.0
"""Sections of one .mdoc whose stages spread wider are different places, whose doses do not add;
a tilt series wanders by a micrometre or two."""
_OVERRIDE_NOTICE = 0.01
"""A session value that differs from the file's by more than this fraction is mentioned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A file, read once."""

    path: Path
    """The file."""
    signal: Signal
    """Its principal HyperSpy signal; ``None`` for a file of metadata alone."""
    acquisition: Acquisition
    """What was exposed."""
    others: tuple[Signal, ...] = ()
    """The further signals of the same file."""
    sidecars: tuple[Path, ...] = ()
    """The files beside it that were read too."""


def read(
    path: str | Path,
    *,
    session: SessionConfig | None = None,
    user: Mapping[str, Any] | None = None,
    lazy: bool | None = None,
) -> Loaded:
    """Read a file's signal and the record of its acquisition.

    Parameters
    ----------
    path
        A file with an array, or an .mdoc, .nav or EPU .xml file.
    session
        What session.toml says; by default the session.toml in the file's folder, if there is one.
    user
        Field → value that the user gave for this file; outranks everything.
    lazy
        Whether the array stays on disc; by default above 64 MB.

    Returns
    -------
    Loaded
        Signal, record and the sidecars that were read.

    Raises
    ------
    FileReadError
        The file is absent, truncated, corrupt or of an unknown kind.
    ConfigurationError
        The session.toml beside it cannot be understood.

    Notes
    -----
    Of several values for one field the user's outranks session.toml, then a sidecar, then the
    file's header, then what follows from other fields.
    """
    path = Path(path)
    if session is None:
        beside = path.parent / SESSION_FILE
        session = read_session_config(beside) if beside.is_file() else SessionConfig()
    if path.suffix.lower() in SIDECAR_SUFFIXES:
        kind, facts = Kind.METADATA, [_summary(path)]
        shape: tuple[int, ...] = ()
        signals: list[Signal] = []
        sidecars: tuple[Path, ...] = ()
    else:
        signals = load_all(path, lazy=lazy)
        kind, shape, facts = _facts_of_signal(signals[0], path)
        if len(signals) > 1:
            names = ", ".join(_described(signal) for signal in signals[1:9])
            more = f" and {len(signals) - 9} more" if len(signals) > 9 else ""
            facts[0].warnings.append(
                f"the file holds {len(signals)} signals; {_described(signals[0])} is taken, the "
                f"others are {names}{more}"
            )
        sidecars = sidecars_of(path)
        facts += _facts_of_sidecars(sidecars, path)
    acquisition = assemble(kind=kind, shape=shape, facts=facts)
    acquisition = _with_session(acquisition, session, path, user or {})
    return Loaded(
        path=path,
        signal=signals[0] if signals else None,
        acquisition=complete(acquisition),
        others=tuple(signals[1:]),
        sidecars=sidecars,
    )


def read_acquisition(
    path: str | Path,
    *,
    session: SessionConfig | None = None,
    user: Mapping[str, Any] | None = None,
) -> Acquisition:
    """Read the record of what was exposed; see :func:`read`.

    A file of several exposures, such as the .mdoc of a tilt series, is summed up: the dose is that
    of the kept exposures, and `prior_dose_e_per_a2` is what the place had received besides, in
    exposures that were discarded or made before. :func:`read_acquisitions` keeps them apart.
    """
    return read(path, session=session, user=user).acquisition


def read_acquisitions(
    path: str | Path, *, session: SessionConfig | None = None
) -> tuple[Acquisition, ...]:
    """Read one record per exposure of an .mdoc file or per item of a .nav file.

    The parts that an .mdoc lists of one frame set's frames are not exposures of their own: such a
    file gives one record. Any other file gives the one record of :func:`read_acquisition`.
    """
    path = Path(path)
    session = session if session is not None else read_session_config(path.parent)
    if path.suffix.lower() not in {".mdoc", ".nav"}:
        return (read_acquisition(path, session=session),)
    return tuple(
        complete(
            _with_session(assemble(kind=Kind.METADATA, shape=(), facts=[facts]), session, path, {})
        )
        for facts in _each_exposure(path)
    )


def _described(signal: Signal) -> str:
    return f"{title(signal)!r} ({'×'.join(str(size) for size in signal.data.shape)})"


def _facts_of_signal(signal: Signal, path: Path) -> tuple[Kind, tuple[int, ...], list[Facts]]:
    suffix = path.suffix.lower()
    alone = suffix == ".ser" and emi_of(path) is None
    described = ".emi" if suffix == ".ser" and not alone else suffix
    kind, shape, axes = facts_of_axes(signal, suffix=suffix)
    header = Facts(origin=Origin.HEADER, where=f"{described} header")
    if alone:
        header.warnings.append(
            f"{path.name} has no .emi file beside it: units and conditions are unknown"
        )
        if kind in {Kind.IMAGE, Kind.MOVIE}:
            header.warnings.append("its pixel size is believed to be in metres, as for an image")
    original, general = original_metadata(signal), metadata(signal)
    try:
        HEADERS[described](header, original, general)
    # A flipped bit can put a text, a list or a complex number where the vendor writes a number;
    # what was understood before is kept, and the array is not lost for it.
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError) as error:
        header.warnings.append(f"the header was understood in part only ({error})")
    if kind in {Kind.DIFFRACTION, Kind.SCAN_4D}:
        header.values.pop("defocus_a", None)
        header.sources.pop("defocus_a", None)
    if described == ".emi":
        _mend_emi(header, path, frames=axes.values.get("frames", 1))
    return kind, shape, [axes, header]


def _mend_emi(header: Facts, path: Path, *, frames: int) -> None:
    """Make TIA's times those of this array: per series, not per frame, and not another detector's.

    Descriptions and .ser files are matched by their order, which holds only where there are as
    many of one as of the other.
    """
    if frames > 1 and "exposure_time_s" in header.values:
        header.values["exposure_time_s"] *= frames
    emi = path if path.suffix.lower() == ".emi" else emi_of(path)
    if emi is None or emi.read_bytes().count(b"<ObjectInfo>") == len(sers_of(emi)):
        return
    for name in ("dwell_time_s", "exposure_time_s", "detector"):
        if header.values.pop(name, None) is not None:
            del header.sources[name]
            header.missing[name] = (
                "the .emi describes more detectors than there are .ser files, so which times are "
                f"this array's is unknown: give `{name}` in session.toml"
            )


def sidecars_of(path: Path) -> tuple[Path, ...]:
    """Return the metadata files beside a data file that speak of it.

    ``X.tif.mdoc`` and ``X.mdoc``; an .mdoc one of whose sections names the file; EPU's ``X.xml``,
    also for ``X_Fractions.tiff`` and the like.
    """
    folder = path.parent
    stem = path.stem
    for ending in ("_fractions", "_eer", "_aligned", "_doseweighted"):
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
    named = [folder / f"{path.name}.mdoc", folder / f"{path.stem}.mdoc", folder / f"{stem}.xml"]
    found = [candidate for candidate in dict.fromkeys(named) if candidate.is_file()]
    if not any(candidate.suffix == ".mdoc" for candidate in found):
        found += [
            candidate
            for candidate in sorted(folder.glob("*.mdoc"))
            if path.name in _names_in(candidate, candidate.stat().st_mtime_ns)
        ]
    return tuple(found)


@lru_cache(maxsize=256)
def _names_in(path: Path, modified_ns: int) -> frozenset[str]:
    """Return the data files that the sections of an .mdoc name; the time keeps the cache honest."""
    try:
        head, sections = mdoc.read_sections(path)
    except FileReadError:
        return frozenset()
    names = (mdoc.data_file_name(section) for section in mdoc.exposures(head, sections))
    return frozenset(name for name in names if name)


def _facts_of_sidecars(sidecars: tuple[Path, ...], path: Path) -> list[Facts]:
    facts = []
    for sidecar in sidecars:
        try:
            facts.append(_facts_of_sidecar(sidecar, path))
        except FileReadError as error:
            broken = Facts(origin=Origin.SIDECAR, where=sidecar.name)
            broken.warnings.append(f"its sidecar was not used: {error}")
            facts.append(broken)
    return facts


def _facts_of_sidecar(sidecar: Path, path: Path) -> Facts:
    if sidecar.suffix == ".mdoc" and sidecar.name != f"{path.name}.mdoc":
        head, sections = mdoc.read_sections(sidecar)
        for section in mdoc.exposures(head, sections):
            if mdoc.data_file_name(section) == path.name:
                return mdoc.facts_of_section(section)
    return _summary(sidecar)


def _each_exposure(path: Path) -> list[Facts]:
    head, sections = mdoc.read_sections(path)
    if path.suffix.lower() == ".nav":
        items = [section for section in sections if section.kind == "Item"]
        if not items:
            raise FileReadError(f"{path.name} holds no [Item]: it is truncated or of another kind")
        return [mdoc.facts_of_item(item) for item in items]
    found = mdoc.exposures(head, sections)
    if not found:
        raise FileReadError(
            f"{path.name} holds no [ZValue] or [FrameSet]: it is truncated or of another kind"
        )
    parts = mdoc.parts_of_frame_set(sections) if len(found) == 1 else []
    return [mdoc.facts_of_section(section, parts=parts) for section in found]


def _summary(path: Path) -> Facts:
    """Sum up a sidecar: one exposure as it is, several as their total at one place."""
    if path.suffix.lower() == ".xml":
        return facts_of_epu(path)
    each = _each_exposure(path)
    if len(each) == 1:
        return each[0]
    is_nav = path.suffix.lower() == ".nav"
    what = "places" if is_nav else "exposures"
    total = Facts(origin=Origin.SIDECAR, where=f"{len(each)} {what} of {path.name}")
    for name in ("pixel_size_a", "beam_energy_kev", "magnification", "defocus_a"):
        said = {facts.values.get(name) for facts in each}
        if len(said) == 1 and None not in said:
            total.add(name, said.pop(), f"the same {name}")
    if is_nav:
        total.missing["dose_e_per_a2"] = "a navigator lists places, not exposures"
        total.missing["stage"] = f"{len(each)} places: read_acquisitions gives each"
        return total
    times = [float(facts.values.get("exposure_time_s", math.nan)) for facts in each]
    if all(map(math.isfinite, times)):
        total.add("exposure_time_s", math.fsum(times), "sum of ExposureTime [s]")
    total.add("frames", len(each), "number of exposures")
    total.add("time", each[0].values.get("time"), "DateTime of the first section")
    spread = _spread_um([facts.values.get("stage") for facts in each])
    if spread is not None and spread > _SAME_PLACE_UM:
        reason = f"the exposures are {spread:.3g} µm apart: read_acquisitions gives each"
        total.missing["dose_e_per_a2"] = total.missing["stage"] = reason
        return total
    if spread is not None:
        total.add("stage", each[0].values["stage"], "stage of the first section")
    _sum_doses(total, each)
    return total


def _spread_um(stages: list[Stage | None]) -> float | None:
    known = [
        (stage.x_um, stage.y_um)
        for stage in stages
        if stage is not None and stage.x_um is not None and stage.y_um is not None
    ]
    if not known:
        return None
    spread: float = max(max(axis) - min(axis) for axis in zip(*known, strict=True))
    return spread


def _sum_doses(total: Facts, each: list[Facts]) -> None:
    chosen: list[DoseClaim] = []
    notes: list[str] = []
    for facts in each:
        claim, doubts = reconcile(facts.doses)
        notes += doubts
        if claim is not None:
            chosen.append(claim)
    if notes:
        total.warnings.append(f"{len(notes)} of {len(each)} exposures: {notes[0]}")
    if len(chosen) < len(each):
        unknown = len(each) - len(chosen)
        reasons = [facts.missing["dose_e_per_a2"] for facts in each if facts.missing]
        why = f" ({reasons[0]})" if reasons else ""
        total.missing["dose_e_per_a2"] = (
            f"the dose of {unknown} of {len(each)} exposures is unknown{why}"
        )
        return
    kept = math.fsum(claim.dose_e_per_a2 for claim in chosen)
    total.add_dose(kept, f"sum of ExposureDose [e/Å²] of {len(each)} kept exposures")
    reached = [
        facts.values["prior_dose_e_per_a2"] + claim.dose_e_per_a2
        for facts, claim in zip(each, chosen, strict=True)
        if "prior_dose_e_per_a2" in facts.values
    ]
    if not reached:
        return
    besides = max(0.0, max(reached) - kept)
    total.add(
        "prior_dose_e_per_a2",
        besides,
        f"largest PriorRecordDose + ExposureDose ({max(reached):.2f} e/Å²) less the kept exposures",
    )
    if besides > 0.01 * kept:
        total.warnings.append(
            f"this place received {max(reached):.2f} e/Å², of which {besides:.2f} e/Å² went into "
            "exposures that were not kept"
        )


def assemble(*, kind: Kind, shape: tuple[int, ...], facts: list[Facts]) -> Acquisition:
    """Make one record of what several sources say, the later ones outranking the earlier."""
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    missing: dict[str, str] = {}
    warnings: list[str] = []
    claims: list[tuple[DoseClaim, Source]] = []
    for said in facts:
        missing |= said.missing
        values |= said.values
        sources |= said.sources
        warnings += said.warnings
        claims[:0] = [
            (claim, Source(origin=said.origin, detail=claim.detail)) for claim in said.doses
        ]
    chosen, doubts = reconcile([claim for claim, _ in claims])
    warnings += doubts
    if chosen is not None:
        values["dose_e_per_a2"] = chosen.dose_e_per_a2
        sources["dose_e_per_a2"] = next(source for claim, source in claims if claim is chosen)
    elif doubts:
        missing["dose_e_per_a2"] = doubts[0]
    return Acquisition(
        kind=kind,
        shape=shape,
        **values,
        dose_statements=tuple(
            DoseStatement(dose_e_per_a2=claim.dose_e_per_a2, source=source)
            for claim, source in claims
        ),
        sources=sources,
        missing={name: why for name, why in missing.items() if name not in values},
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _with_session(
    acquisition: Acquisition, session: SessionConfig, path: Path, user: Mapping[str, Any]
) -> Acquisition:
    layers = (
        (Origin.SESSION, SESSION_FILE, session.values_for(path.name)),
        (Origin.USER, "", user),
    )
    for origin, detail, values in layers:
        notes = []
        for name, value in values.items():
            before = getattr(acquisition, name)
            if isinstance(before, float) and abs(value - before) > _OVERRIDE_NOTICE * abs(before):
                notes.append(
                    f"{name} = {value:g} ({origin}) replaces {before:.5g} "
                    f"({acquisition.sources[name]})"
                )
        statements = acquisition.dose_statements
        if values.get("dose_e_per_a2") is not None:
            source = Source(origin=origin, detail=detail)
            statement = DoseStatement(dose_e_per_a2=values["dose_e_per_a2"], source=source)
            statements = (*statements, statement)
        acquisition = replace(
            acquisition.with_values(origin, detail, **values),
            warnings=(*acquisition.warnings, *notes),
            dose_statements=statements,
        )
    return acquisition


def complete(acquisition: Acquisition) -> Acquisition:
    """Fill in what follows from other fields, and say how to give what is still missing."""
    acquisition = _with_scan_dose(_with_exposure_time(acquisition))
    dose, time = acquisition.dose_e_per_a2, acquisition.exposure_time_s
    scanned = acquisition.mode == "STEM" or acquisition.dwell_time_s is not None
    if acquisition.dose_rate_e_per_a2_s is None and dose and time and not scanned:
        acquisition = acquisition.with_values(
            Origin.DERIVED,
            "dose_e_per_a2 / exposure_time_s, mean over the exposure",
            dose_rate_e_per_a2_s=dose / time,
        )
    elif (
        dose is None
        and acquisition.dose_rate_e_per_a2_s
        and time
        and not _contradicted(acquisition)
    ):
        acquisition = acquisition.with_values(
            Origin.DERIVED,
            "dose_rate_e_per_a2_s × exposure_time_s",
            dose_e_per_a2=acquisition.dose_rate_e_per_a2_s * time,
        )
    wanted = WANTED[acquisition.kind]
    if scanned and acquisition.dose_e_per_a2 is None and acquisition.kind is not Kind.SPECTRUM:
        wanted = (*wanted, "beam_current_pa", "dwell_time_s")
    return replace(
        acquisition,
        missing={
            name: _how_to_give(name, acquisition)
            for name in wanted
            if getattr(acquisition, name) is None
        },
    )


def _how_to_give(name: str, acquisition: Acquisition) -> str:
    why = acquisition.missing.get(name, "")
    if "session.toml" in why or (why and acquisition.kind is Kind.METADATA):
        return why
    remedy = REMEDIES.get(name, f"give `{name}` in session.toml")
    return f"{why}: {remedy}" if why else remedy


def _contradicted(acquisition: Acquisition) -> bool:
    return acquisition.dose_e_per_a2 is None and len(acquisition.dose_statements) > 1


def _positions(acquisition: Acquisition) -> int | None:
    """Return the number of positions of a scan, from the array's shape."""
    shape = acquisition.shape
    axes = {Kind.IMAGE: shape[-2:], Kind.MOVIE: shape[-2:], Kind.SCAN_4D: shape[:-2]}
    scanned = axes.get(acquisition.kind, shape[:-1])
    return math.prod(scanned) if scanned else None


def _with_exposure_time(acquisition: Acquisition) -> Acquisition:
    dwell, positions = acquisition.dwell_time_s, _positions(acquisition)
    if acquisition.exposure_time_s is not None or dwell is None or positions is None:
        return acquisition
    return acquisition.with_values(
        Origin.DERIVED,
        "dwell_time_s × positions × frames, without the time of flying back",
        exposure_time_s=dwell * positions * (acquisition.frames or 1),
    )


def _with_scan_dose(acquisition: Acquisition) -> Acquisition:
    """Give a scan its dose from probe current, dwell time and the area of a position."""
    if acquisition.dose_e_per_a2 is not None or _contradicted(acquisition):
        return acquisition
    is_image = acquisition.kind in {Kind.IMAGE, Kind.MOVIE}
    name = "pixel_size_a" if is_image else "scan_step_a"
    if acquisition.dwell_time_s is None:
        return acquisition
    needs = {"beam_current_pa": acquisition.beam_current_pa, name: getattr(acquisition, name)}
    absent = [field for field, value in needs.items() if value is None]
    if absent:
        wanted = " and ".join(f"`{field}`" for field in absent)
        why = f"a scan's dose follows from current, dwell time and step, of which {wanted} is "
        why += "unknown: give it in session.toml"
        return replace(acquisition, missing={**acquisition.missing, "dose_e_per_a2": why})
    scans = acquisition.frames or 1
    said = f"{scans} scans" if acquisition.frames else "one scan; repeats, if any, are not recorded"
    dose = scan_dose(
        beam_current_pa=float(needs["beam_current_pa"] or 0.0),
        dwell_time_s=acquisition.dwell_time_s,
        step_a=float(needs[name] or 1.0),
        scans=scans,
    )
    detail = f"beam_current_pa × dwell_time_s / {name}², {said}"
    statement = DoseStatement(
        dose_e_per_a2=dose, source=Source(origin=Origin.DERIVED, detail=detail)
    )
    return replace(
        acquisition.with_values(Origin.DERIVED, detail, dose_e_per_a2=dose),
        dose_statements=(*acquisition.dose_statements, statement),
    )


def is_readable(path: Path) -> bool:
    """Whether the suffix is one that this package reads."""
    return path.suffix.lower() in SUFFIXES | SIDECAR_SUFFIXES
