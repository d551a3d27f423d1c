"""EPU XML sidecars: what the acquisition program wrote about one exposure."""

import math
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

from interphase.acquisition import Origin, Stage
from interphase.electron import dose_from_electrons_per_pixel
from interphase.errors import FileReadError
from interphase.io.dose import E_PER_A2_PER_E_PER_M2
from interphase.io.facts import Facts, as_float, scaled
from interphase.io.mdoc import read_text

ROOT = "MicroscopeImage"


def read_tree(path: Path) -> ElementTree.Element:
    """Parse an EPU XML file.

    Raises
    ------
    FileReadError
        The file is not well-formed XML, declares entities, or is not of EPU.
    """
    text = read_text(path).lstrip("\ufeff")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise FileReadError(
            f"{path.name} declares a document type or entities, which no EPU file does: refused"
        )
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - no declarations, see above
    except ElementTree.ParseError as error:
        raise FileReadError(
            f"{path.name} is not well-formed XML ({error}): it is truncated or corrupt"
        ) from error
    except (ValueError, RecursionError) as error:
        raise FileReadError(f"{path.name} cannot be parsed as XML: {error}") from error
    if _local(root.tag) != ROOT:
        raise FileReadError(
            f"{path.name} is XML, but not of EPU: its root is {_local(root.tag)[:40]}, not {ROOT}"
        )
    return root


def _local(tag: object) -> str:
    return str(tag).rsplit("}", 1)[-1]


def _find(element: ElementTree.Element | None, *names: str) -> ElementTree.Element | None:
    for name in names:
        if element is None:
            return None
        element = next((child for child in element if _local(child.tag) == name), None)
    return element


def _text(element: ElementTree.Element | None, *names: str) -> str | None:
    found = _find(element, *names)
    return None if found is None or found.text is None else found.text.strip() or None


def _custom(root: ElementTree.Element) -> dict[str, str]:
    pairs = {}
    for pair in _find(root, "CustomData") or ():
        key, value = _text(pair, "Key"), _text(pair, "Value")
        if key and value:
            pairs[key] = value
    return pairs


def _vector(element: ElementTree.Element | None) -> tuple[float, float] | None:
    x, y = as_float(_text(element, "_x")), as_float(_text(element, "_y"))
    return None if x is None or y is None else (x, y)


def facts_of_epu(path: Path) -> Facts:
    """Read one exposure from an EPU XML file.

    EPU writes SI units: metres, radians, volts, amperes, and ``Dose`` in e/m². ``DoseOnCamera``
    and ``TotalDose`` are electrons per camera pixel. Defocus is negative for underfocus;
    ``AppliedDefocus`` is what was asked for and is preferred to the lens reading ``Defocus``.
    """
    root = read_tree(path)
    facts = Facts(origin=Origin.SIDECAR, where=f"EPU file {path.name}")
    scope, custom = _find(root, "microscopeData"), _custom(root)
    optics, camera = _find(scope, "optics"), _find(scope, "acquisition", "camera")
    pixel = scaled(_text(root, "SpatialScale", "pixelSize", "x", "numericValue"), 1e10)
    facts.add("mode", _text(optics, "ColumnOperatingMode"), "ColumnOperatingMode")
    facts.add("pixel_size_a", pixel, "SpatialScale/pixelSize/x [m]", zero_is_missing=True)
    facts.add(
        "beam_energy_kev",
        scaled(_text(scope, "gun", "AccelerationVoltage"), 1e-3),
        "AccelerationVoltage [V]",
        zero_is_missing=True,
    )
    facts.add(
        "exposure_time_s",
        _text(camera, "ExposureTime"),
        "camera/ExposureTime [s]",
        zero_is_missing=True,
    )
    facts.add(
        "beam_current_pa",
        scaled(custom.get("BeamCurrent"), 1e12),
        "BeamCurrent [A]",
        zero_is_missing=True,
    )
    facts.add(
        "beam_diameter_a",
        scaled(_text(optics, "BeamDiameter"), 1e10),
        "BeamDiameter [m]",
        zero_is_missing=True,
    )
    facts.add(
        "magnification",
        _text(optics, "TemMagnification", "NominalMagnification"),
        "NominalMagnification",
        zero_is_missing=True,
    )
    facts.add(
        "camera_length_mm",
        scaled(_text(optics, "Cameralength"), 1e3),
        "Cameralength [m]",
        zero_is_missing=True,
    )
    facts.add("microscope", _text(scope, "instrument", "InstrumentModel"), "InstrumentModel")
    facts.add(
        "detector", custom.get("DetectorCommercialName") or _text(camera, "Name"), "camera name"
    )
    facts.add(
        "time", _time(_text(scope, "acquisition", "acquisitionDateTime")), "acquisitionDateTime"
    )
    _add_defocus(facts, custom.get("AppliedDefocus"), _text(optics, "Defocus"))
    _add_sizes(facts, camera)
    _add_stage(facts, scope, optics)
    _add_doses(facts, custom, pixel)
    return facts


def _add_sizes(facts: Facts, camera: ElementTree.Element | None) -> None:
    """Note the size read out, as it is and binned: EPU does not say which of them it writes."""
    area = _find(camera, "ReadoutArea")
    rows, columns = as_float(_text(area, "height")), as_float(_text(area, "width"))
    if not rows or not columns:
        return
    binning = as_float(_text(camera, "Binning", "x")) or 1.0
    for factor in dict.fromkeys((1.0, binning)):
        if factor >= 1:
            facts.sizes.append((int(rows / factor), int(columns / factor)))
    if len(facts.sizes) == 1:
        facts.add("recorded_pixels", facts.sizes[0], "camera/ReadoutArea")


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    date, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    try:  # seven decimals of a second are one too many for Python
        stated = datetime.fromisoformat(date + dot + digits[:6] + rest[len(digits) :])
        return stated.replace(tzinfo=None)  # the clock on the wall, as in every other header
    except ValueError:
        return None


def _add_defocus(facts: Facts, applied: object, read: object) -> None:
    applied_m, read_m = as_float(applied), as_float(read)
    value, key = (applied_m, "AppliedDefocus") if applied_m else (read_m, "Defocus")
    if not value:
        return
    facts.add("defocus_a", -value * 1e10, f"{key} [m, negative = underfocus]")
    if applied_m and read_m and math.copysign(1, applied_m) != math.copysign(1, read_m):
        facts.warnings.append(
            f"AppliedDefocus is {applied_m * 1e6:.3g} µm and Defocus {read_m * 1e6:.3g} µm: the "
            "signs differ, the applied one is used (negative = underfocus)"
        )


def _add_stage(
    facts: Facts, scope: ElementTree.Element | None, optics: ElementTree.Element | None
) -> None:
    position = _find(scope, "stage", "Position")
    stage = Stage(
        x_um=scaled(_text(position, "X"), 1e6),
        y_um=scaled(_text(position, "Y"), 1e6),
        z_um=scaled(_text(position, "Z"), 1e6),
        alpha_deg=scaled(_text(position, "A"), 180 / math.pi),
        beta_deg=scaled(_text(position, "B"), 180 / math.pi),
        beam_shift=_vector(_find(optics, "BeamShift")),
        image_shift=_vector(_find(optics, "ImageShift")),
    )
    if stage != Stage():
        facts.add("stage", stage, "stage/Position [m, rad], BeamShift, ImageShift")


def _add_doses(facts: Facts, custom: dict[str, str], pixel_a: float | None) -> None:
    facts.add_dose(scaled(custom.get("Dose"), E_PER_A2_PER_E_PER_M2), "Dose [e/m²]")
    on_camera = as_float(custom.get("DoseOnCamera"))
    if on_camera and pixel_a and pixel_a > 0:
        facts.add_dose(
            dose_from_electrons_per_pixel(on_camera, pixel_size_a=pixel_a),
            "DoseOnCamera [e/pixel] / pixelSize²",
            at_camera=True,
        )
    if not facts.doses:
        facts.missing.setdefault("dose_e_per_a2", "the EPU file states no dose")
