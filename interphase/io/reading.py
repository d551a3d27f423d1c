"""From a path to a signal and the record of its acquisition, in one read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interphase.acquisition import Acquisition, Kind, Origin
from interphase.io.assembling import assemble, complete, with_session
from interphase.io.calibration import facts_of_axes
from interphase.io.checks import sers_of
from interphase.io.facts import Facts
from interphase.io.headers import HEADERS, read_by_name, read_velox_exposure
from interphase.io.session_config import SESSION_FILE, SessionConfig, read_session_config
from interphase.io.sidecars import (
    SIDECAR_SUFFIXES,
    each_exposure,
    facts_of_sidecars,
    sidecars_of,
    summary,
)
from interphase.io.signals import (
    Signal,
    emi_of,
    load_all,
    metadata,
    original_metadata,
    title,
)

_PICTURES = frozenset({Kind.IMAGE, Kind.MOVIE, Kind.DIFFRACTION})
_TIMES_PER_FRAME = frozenset({".emi", ".emd"})
"""Formats whose headers are those of one frame of a series."""


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
    file's header, then what follows from other fields. Pictures whose sampling the user gives in
    1/Å, and nobody in Å, are patterns of diffraction.
    """
    path, user = Path(path), user or {}
    if session is None:
        beside = path.parent / SESSION_FILE
        session = read_session_config(beside) if beside.is_file() else SessionConfig()
    if path.suffix.lower() in SIDECAR_SUFFIXES:
        kind, facts = Kind.METADATA, [summary(path)]
        shape: tuple[int, ...] = ()
        signals: list[Signal] = []
        sidecars: tuple[Path, ...] = ()
    else:
        signals = load_all(path, lazy=lazy)
        stated = session.kind_of(path)
        kind, shape, facts = facts_of_signal(signals[0], path, stated)
        sidecars = sidecars_of(path)
        pictures = kind in _PICTURES and len(shape) >= 2
        size = (shape[-2], shape[-1]) if pictures else None
        described = facts_of_sidecars(sidecars, path, size=size)
        if stated is not None and kind not in _PICTURES:
            facts[0].warnings.append(f"kind = {stated} ({SESSION_FILE}) does not suit {kind} data")
        lengths = [session.values_for(path), user, *(said.values for said in [*facts, *described])]
        if (
            stated is None
            and kind in {Kind.IMAGE, Kind.MOVIE}
            and user.get("reciprocal_pixel_size_per_a") is not None
            and all(said.get("pixel_size_a") is None for said in lengths)
        ):
            kind, shape, facts = facts_of_signal(signals[0], path, Kind.DIFFRACTION)
            facts[0].warnings.append(
                "taken for a diffraction pattern, since its sampling is given in 1/Å and no "
                "source knows one in Å"
            )
        if len(signals) > 1:
            names = ", ".join(_described(signal) for signal in signals[1:9])
            more = f" and {len(signals) - 9} more" if len(signals) > 9 else ""
            facts[0].warnings.append(
                f"the file holds {len(signals)} signals; {_described(signals[0])} is taken, the "
                f"others are {names}{more}"
            )
        facts += described
    acquisition = assemble(kind=kind, shape=shape, facts=facts)
    acquisition = with_session(acquisition, session, path, user)
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
            with_session(assemble(kind=Kind.METADATA, shape=(), facts=[facts]), session, path, {})
        )
        for facts in each_exposure(path)
    )


def _described(signal: Signal) -> str:
    return f"{title(signal)!r} ({'×'.join(str(size) for size in signal.data.shape)})"


def facts_of_signal(
    signal: Signal, path: Path, stated: Kind | None
) -> tuple[Kind, tuple[int, ...], list[Facts]]:
    """Read kind, shape and what axes and headers say of one of a file's signals."""
    suffix = path.suffix.lower()
    alone = suffix == ".ser" and emi_of(path) is None
    described = ".emi" if suffix == ".ser" and not alone else suffix
    kind, shape, axes = facts_of_axes(signal, suffix=suffix, stated=stated)
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
        if described == ".emd" and "energy_range_ev" in axes.values:
            read_velox_exposure(header, original, axes.values["energy_range_ev"][0])
    # A flipped bit can put a text, a list or a complex number where the vendor writes a number;
    # what was understood before is kept, and the array is not lost for it.
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError) as error:
        header.warnings.append(f"the header was understood in part only ({error})")
    if kind in {Kind.DIFFRACTION, Kind.SCAN_4D}:
        header.values.pop("defocus_a", None)
        header.sources.pop("defocus_a", None)
    _mend_series(header, described, frames=axes.values.get("frames", 1))
    if described == ".emi":
        _mend_emi(header, path)
    named = Facts(origin=Origin.HEADER, where=header.where)
    read_by_name(named, general)
    return kind, shape, [axes, header, named]


def _mend_series(header: Facts, suffix: str, *, frames: int) -> None:
    """Make the time of one frame that of the series, where it is known to be one frame's."""
    if frames == 1 or "exposure_time_s" not in header.values:
        return
    if suffix in _TIMES_PER_FRAME:
        header.values["exposure_time_s"] *= frames
        return
    stated = header.values.pop("exposure_time_s")
    header.missing["exposure_time_s"] = (
        f"{header.sources.pop('exposure_time_s').detail} is {stated:g} s, of which it is not said "
        f"whether it is that of one of {frames} frames or of all: give `exposure_time_s` in "
        "session.toml"
    )


def _mend_emi(header: Facts, path: Path) -> None:
    """Leave out times that may be another detector's.

    Descriptions and .ser files are matched by their order, which holds only where there are as
    many of one as of the other.
    """
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
