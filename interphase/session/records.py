"""What a session run returns: frozen records, one per file and one for the whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interphase.acquisition import Acquisition, Kind
from interphase.assessment import Assessment
from interphase.diffraction.results import PhaseMap
from interphase.session.spectra_records import EelsResult

if TYPE_CHECKING:
    from interphase.session.account import DoseAccount


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumSummary:
    """What a file of spectra holds, without any judgement of it."""

    spectra: int
    """Number of spectra."""
    channels: int
    """Energy channels of each."""
    energy_range_ev: tuple[float, float] | None
    """First and last channel as the file states them [eV]; ``None`` if the axis is not in eV."""
    total_counts: float
    """Sum over all channels and spectra, in the detector's unit."""
    max_counts: float
    """Highest channel of any spectrum, in the detector's unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Small arrays from which the report draws; ``None`` where they make no sense."""

    thumbnail: np.ndarray | None = None
    """Grey picture, at most 512 pixels wide and high, uint8, shape (M, N)."""
    thumbnail_pixel_size: float | None = None
    """Sampling of the picture: [Å] for an image, [1/Å] for a diffraction pattern."""
    labels: np.ndarray | None = None
    """Index of the region + 1 per pixel of the picture, 0 elsewhere, shape (M, N)."""
    power: np.ndarray | None = None
    """Logarithm of the mean windowed power, scaled to uint8, zero frequency at (K // 2, K // 2),
    shape (K, K)."""
    power_pixel_size_per_a: float | None = None
    """Sampling of `power` [1/Å]."""
    region_power: np.ndarray | None = None
    """The same for a window about each of the first regions, shape (R, L, L)."""
    region_power_pixel_size_per_a: float | None = None
    """Sampling of `region_power` [1/Å]."""
    energy_ev: np.ndarray | None = None
    """Energy axis of the summed spectrum [eV], or channel numbers, shape (E,)."""
    counts: np.ndarray | None = None
    """Summed spectrum in the detector's unit, shape (E,)."""
    figure: np.ndarray | None = None
    """All that spectra show in one figure, uint8, shape (M, N, 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """What one file of a session held and what was found in it."""

    file: str
    """Path below the session's folder, with forward slashes."""
    assessment: Assessment
    """What the result is worth."""
    sentence: str
    """The verdict, or why there is none."""
    sha256: str | None = None
    """SHA-256 of the file's content; ``None`` if it could not be read at all."""
    size_bytes: int | None = None
    """Size of the file."""
    key: str = ""
    """Digest of all that the measurement depends on: content, sidecars, session.toml, parameters
    and version. What the place had received before, and what that means, is looked up anew."""
    kind: Kind | None = None
    """What the file holds, if that could be found out."""
    acquisition: Acquisition | None = None
    """What was exposed, if the file could be read."""
    phase_map: PhaseMap | None = None
    """Phases place by place, where the file's kind allows it."""
    spectrum: SpectrumSummary | None = None
    """For spectra, what the file holds."""
    eels: EelsResult | None = None
    """Thickness, elements and species, where the file holds energy-loss spectra."""
    prior: str = ""
    """Prior weights that were stated and by whom, in words; empty where none were."""
    sidecars: tuple[str, ...] = ()
    """Files that describe this one, as paths below the session's folder."""
    warnings: tuple[str, ...] = ()
    """Doubts and contradictions, one sentence each."""
    duration_s: float = 0.0
    """Time the measurement took [s]."""
    final: bool = True
    """Whether the result holds for good; a file whose measuring process was killed or took too
    long is tried again by the next run."""
    pictures: Path | None = None
    """File with the :class:`Pictures`, or ``None``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResult:
    """What a session's files held and what was found in them."""

    name: str
    """Name of the session: its folder's."""
    folder: Path
    """The session's folder."""
    out: Path
    """Where the results lie."""
    files: tuple[FileResult, ...]
    """One result per file, in the order of their names."""
    measured: int = 0
    """Files this run measured; the others were found finished."""
    candidates: tuple[str, ...] = ()
    """Phases that were considered."""
    description: Mapping[str, str] = field(default_factory=dict)
    """What session.toml says of the session as a whole, such as ``sample``."""
    ledger: Path | None = None
    """The dose ledger; ``None`` where none was filled."""
    account: "DoseAccount | None" = None
    """What its exposures add up to; ``None`` where no ledger was filled."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Inputs, versions, parameters and papers, as written to provenance.json."""

    @property
    def assessed(self) -> bool:
        """Whether every file was read and, where this version measures its kind, answered."""
        return all(file_is_well(result) for result in self.files)


def file_is_well(result: FileResult) -> bool:
    """Whether a file was measured as far as this version can measure its kind.

    A spectrum that was read and a metadata file are well; an image without a pixel size is not.
    """
    return result.assessment.answered or result.assessment is Assessment.NOT_ASSESSED
