"""SerialEM text files: .mdoc sidecars and .nav navigators.

Read here rather than by a library because a value may itself hold ``=`` (a path, a title), and
because a file of frame sets has sections of two kinds.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PureWindowsPath

from interphase.acquisition import Origin, Stage
from interphase.electron import dose_from_electrons_per_pixel
from interphase.errors import FileReadError
from interphase.io.facts import Facts, as_float, scaled

_LARGEST_TEXT = 64 * 2**20
_MONTHS = ("jan feb mar apr may jun jul aug sep oct nov dec").split()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One ``[Kind = label]`` block of a SerialEM text file."""

    kind: str
    """``ZValue``, ``FrameSet`` or ``Item``."""
    label: str
    """What stands behind the equals sign."""
    entries: dict[str, str] = field(default_factory=dict)
    """Key → value, as text."""

    def numbers(self, key: str) -> list[float]:
        """Return the numbers under `key`; empty where it is absent or not numeric."""
        values = [as_float(word) for word in self.entries.get(key, "").split()]
        return [] if None in values else [value for value in values if value is not None]

    def number(self, key: str) -> float | None:
        """Return the number under `key`, or ``None``."""
        values = self.numbers(key)
        return values[0] if len(values) == 1 else None


def read_sections(path: Path) -> tuple[dict[str, str], list[Section]]:
    """Read the global entries and the sections of a SerialEM text file.

    Raises
    ------
    FileReadError
        The file is not such a text.
    """
    text = read_text(path)
    head: dict[str, str] = {}
    sections: list[Section] = []
    understood = 0
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]") and "=" in line:
            kind, label = (part.strip() for part in line[1:-1].split("=", 1))
            understood += 1
            if kind != "T":
                sections.append(Section(kind=kind, label=label))
        elif "=" in line:
            key, value = (part.strip() for part in line.split("=", 1))
            understood += 1
            (sections[-1].entries if sections else head)[key] = value
    if not understood:
        raise FileReadError(
            f"{path.name} holds no `key = value` line of a SerialEM text file: it is empty, "
            "truncated or of another kind"
        )
    return head, sections


def read_text(path: Path) -> str:
    """Read a sidecar's text, refusing one too large or not text at all."""
    try:
        size = path.stat().st_size
        if size > _LARGEST_TEXT:
            raise FileReadError(
                f"{path.name} has {size} bytes, more than any sidecar needs: expected a text file"
            )
        raw = path.read_bytes()
    except OSError as error:
        raise FileReadError(f"{path.name} cannot be opened: {error.strerror or error}") from error
    if b"\0" in raw[:4096]:
        raise FileReadError(f"{path.name} is binary where a text file was expected")
    return raw.decode("utf-8", errors="replace")


def exposures(head: dict[str, str], sections: list[Section]) -> list[Section]:
    """Return the sections that are exposures, with the global entries as defaults.

    The ``ZValue`` sections that follow a ``FrameSet`` with ``FrameTSStartEndFrames`` are parts of
    its frames, not exposures of their own; they are left to :func:`facts_of_section`.
    """
    whole = [section for section in sections if section.kind == "FrameSet"]
    chosen = whole or [section for section in sections if section.kind == "ZValue"]
    return [
        Section(kind=section.kind, label=section.label, entries={**head, **section.entries})
        for section in chosen
    ]


def parts_of_frame_set(sections: list[Section]) -> list[Section]:
    """Return the sections that list a part of a frame set's frames."""
    return [section for section in sections if "FrameTSStartEndFrames" in section.entries]


def data_file_name(section: Section) -> str | None:
    """Return the name of the data file a section belongs to, without its folder."""
    path = section.entries.get("SubFramePath") or section.entries.get("ImageFile")
    return PureWindowsPath(path).name if path else None


def facts_of_section(section: Section, *, parts: list[Section] | None = None) -> Facts:
    """Read one exposure of an .mdoc file.

    Units are SerialEM's: µm, degrees, seconds, kV, Å per pixel, e/Å² for ``ExposureDose``,
    ``PriorRecordDose`` and ``FrameDosesAndNumber``, and electrons per unbinned pixel and second
    at the camera for ``DoseRate``. Defocus is negative for underfocus. ``TargetDefocus`` is what
    was asked for; ``Defocus`` reads the lens, whose zero drifts, so the former is preferred.
    """
    facts = Facts(origin=Origin.SIDECAR, where=f".mdoc section {section.kind} {section.label}")
    number = section.number
    facts.add("pixel_size_a", number("PixelSpacing"), "PixelSpacing [Å]", zero_is_missing=True)
    facts.add("beam_energy_kev", number("Voltage"), "Voltage [kV]", zero_is_missing=True)
    exposure = number("ExposureTime")
    facts.add("exposure_time_s", exposure, "ExposureTime [s]", zero_is_missing=True)
    facts.add("magnification", number("Magnification"), "Magnification", zero_is_missing=True)
    facts.add("frames", number("NumSubFrames"), "NumSubFrames", zero_is_missing=True)
    facts.add("prior_dose_e_per_a2", number("PriorRecordDose"), "PriorRecordDose [e/Å²]")
    for key in ("TargetDefocus", "Defocus"):
        if number(key) is not None:
            facts.add("defocus_a", scaled(number(key), -1e4), f"{key} [µm, negative = underfocus]")
            break
    size = section.numbers("ImageSize")
    if len(size) == 2:
        facts.sizes.append((int(size[1]), int(size[0])))
        facts.add("recorded_pixels", facts.sizes[0], "ImageSize")
    _add_stage(facts, section)
    facts.add("time", parse_time(section.entries.get("DateTime")), "DateTime")
    _add_doses(facts, section, parts or [])
    return facts


def _add_stage(facts: Facts, section: Section) -> None:
    position = section.numbers("StagePosition")
    image_shift = section.numbers("ImageShift")
    stage = Stage(
        x_um=position[0] if len(position) == 2 else None,
        y_um=position[1] if len(position) == 2 else None,
        z_um=section.number("StageZ"),
        alpha_deg=section.number("TiltAngle"),
        image_shift=(image_shift[0], image_shift[1]) if len(image_shift) == 2 else None,
    )
    if stage != Stage():
        facts.add("stage", stage, "StagePosition [µm], TiltAngle [°], ImageShift")


def _add_doses(facts: Facts, section: Section, parts: list[Section]) -> None:
    facts.add_dose(section.number("ExposureDose"), "ExposureDose [e/Å²]")
    per_frame = section.numbers("FrameDosesAndNumber")
    if per_frame and len(per_frame) % 2 == 0:
        total = sum(d * n for d, n in zip(per_frame[::2], per_frame[1::2], strict=True))
        facts.add_dose(total, "FrameDosesAndNumber [e/Å² per frame × frames]")
    of_parts = [part.number("ExposureDose") for part in parts]
    if of_parts and None not in of_parts:
        facts.add_dose(
            sum(dose for dose in of_parts if dose is not None),
            f"sum of ExposureDose [e/Å²] of {len(of_parts)} parts",
        )
    rate, exposure = section.number("DoseRate"), section.number("ExposureTime")
    pixel, binning = section.number("PixelSpacing"), section.number("Binning") or 1.0
    if rate and exposure and pixel and pixel > 0 and binning > 0:
        facts.add_dose(
            dose_from_electrons_per_pixel(rate * exposure, pixel_size_a=pixel / binning),
            "DoseRate [e/unbinned pixel/s, at the camera] × ExposureTime / PixelSpacing²",
            at_camera=True,
        )
    if not facts.doses:
        facts.missing.setdefault("dose_e_per_a2", "the .mdoc states no dose")


def facts_of_item(item: Section) -> Facts:
    """Read one item of a .nav navigator: a place, not an exposure."""
    facts = Facts(origin=Origin.SIDECAR, where=f".nav item {item.label}")
    position = item.numbers("StageXYZ")
    if len(position) == 3:
        stage = Stage(x_um=position[0], y_um=position[1], z_um=position[2])
        facts.add("stage", stage, "StageXYZ [µm]")
    facts.add("sample", item.entries.get("Note") or item.label, "Item label")
    facts.missing["dose_e_per_a2"] = "a navigator lists places, not exposures"
    return facts


def parse_time(text: str | None) -> datetime | None:
    """Read SerialEM's date, or return ``None``.

    >>> parse_time("03-May-23  13:59:32")
    datetime.datetime(2023, 5, 3, 13, 59, 32)
    """
    try:
        date, clock = (text or "").split()
        day, month, year = date.split("-")
        hour, minute, second = (int(part) for part in clock.split(":"))
        full_year = int(year) + 2000 if len(year) == 2 else int(year)
        return datetime(full_year, _MONTHS.index(month.lower()) + 1, int(day), hour, minute, second)
    except ValueError:
        return None
