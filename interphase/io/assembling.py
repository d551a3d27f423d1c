"""One record of what several sources say: precedence, derived fields, what is still missing."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from interphase.acquisition import Acquisition, DoseStatement, Kind, Origin, Source
from interphase.io.dose import reconcile, scan_dose
from interphase.io.facts import DoseClaim, Facts
from interphase.io.session_config import SESSION_FILE, SessionConfig

_OVERRIDE_NOTICE = 0.01
"""A session value that differs from the file's by more than this fraction is mentioned."""


WANTED: Mapping[Kind, tuple[str, ...]] = {
    Kind.IMAGE: ("pixel_size_a", "beam_energy_kev", "dose_e_per_a2", "stage"),
    Kind.MOVIE: ("pixel_size_a", "beam_energy_kev", "dose_e_per_a2", "exposure_time_s", "stage"),
    Kind.DIFFRACTION: (
        "reciprocal_pixel_size_per_a",
        "beam_energy_kev",
        "dose_e_per_a2",
        "stage",
    ),
    Kind.SCAN_4D: (
        "reciprocal_pixel_size_per_a",
        "scan_step_a",
        "beam_energy_kev",
        "dose_e_per_a2",
        "stage",
    ),
    Kind.SPECTRUM: (
        "dispersion_ev",
        "beam_energy_kev",
        "semi_convergence_angle_mrad",
        "collection_angle_mrad",
        "dose_e_per_a2",
    ),
    Kind.SPECTRUM_IMAGE: (
        "dispersion_ev",
        "scan_step_a",
        "beam_energy_kev",
        "semi_convergence_angle_mrad",
        "collection_angle_mrad",
        "dose_e_per_a2",
    ),
    Kind.METADATA: ("dose_e_per_a2", "stage"),
}
"""Kind of file → what its questions commonly need."""

REMEDIES: Mapping[str, str] = {
    "pixel_size_a": "give --pixel-size in Å, or `pixel_size_a` in session.toml",
    "beam_energy_kev": "give --beam-energy in keV, or `beam_energy_kev` in session.toml",
    "stage": "no header or sidecar states it",
}
"""Field → how to give it, where session.toml is not the only way."""


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
    if kind is Kind.DIFFRACTION:
        # Whoever says so takes it for an image.
        values.pop("pixel_size_a", None)
        sources.pop("pixel_size_a", None)
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


def with_session(
    acquisition: Acquisition, session: SessionConfig, path: Path, user: Mapping[str, Any]
) -> Acquisition:
    """Let session.toml, then the user, outrank what the file says, and mention what changes."""
    layers = (
        (Origin.SESSION, SESSION_FILE, session.values_for(path)),
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
    doubt = (
        ()
        if acquisition.frames
        else ("The number of scans is not recorded: the dose is that of one, a lower bound.",)
    )
    return replace(
        acquisition.with_values(Origin.DERIVED, detail, dose_e_per_a2=dose),
        warnings=(*acquisition.warnings, *doubt),
        dose_statements=(*acquisition.dose_statements, statement),
    )
