"""Vendor metadata of each format, read once into the fields of an acquisition.

``HEADERS`` maps a file's suffix to the function that knows where its vendor keeps each number and
in which unit. Every function has a signal's original metadata as a plain dictionary in, and fills
in a notebook. Nothing above this package sees such a dictionary.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from interphase.acquisition import Stage
from interphase.io.dose import E_PER_A2_PER_E_PER_M2
from interphase.io.facts import Facts, as_float, lookup, scaled
from interphase.io.units import angstrom_per

Tree = Mapping[str, Any]
Header = Callable[[Facts, Tree, Tree], None]
_YEAR_2100 = 4.1e9
_PER_CM = 3
_MOST_RANGES = 16
"""More energy ranges than any spectrometer records at once."""
LONGEST_TAGGED_PIXEL_A = 1e4
"""1 µm; a resolution tag of a picture above it speaks of paper or a screen."""


def read_generic(facts: Facts, original: Tree, metadata: Tree) -> None:
    """Read HyperSpy's own metadata: beam energy keV, current nA, stage mm and degrees."""
    scope = lookup(metadata, "Acquisition_instrument", "TEM") or {}
    camera = lookup(scope, "Detector", "Camera") or lookup(scope, "Camera") or {}
    eels = lookup(scope, "Detector", "EELS") or {}
    add = facts.add
    add("beam_energy_kev", scope.get("beam_energy"), "beam_energy [keV]", zero_is_missing=True)
    add(
        "beam_current_pa",
        scaled(scope.get("beam_current"), 1e3),
        "beam_current [nA]",
        zero_is_missing=True,
    )
    _add_mode(facts, scope.get("acquisition_mode"), "acquisition_mode")
    add("magnification", scope.get("magnification"), "magnification", zero_is_missing=True)
    add("camera_length_mm", scope.get("camera_length"), "camera_length [mm]", zero_is_missing=True)
    add("microscope", _name(scope.get("microscope")), "microscope")
    add("detector", _name(camera.get("name") or camera.get("Name")), "Camera.name")
    for key, name in (
        ("convergence_angle", "semi_convergence_angle_mrad"),
        ("collection_angle", "collection_angle_mrad"),
    ):
        angle = scope.get(key) if key in scope else eels.get(key)
        add(name, angle, f"{key} [mrad]", zero_is_missing=True)
    dwell = eels.get("dwell_time") or scope.get("dwell_time")
    add("dwell_time_s", dwell, "dwell_time [s]", zero_is_missing=True)
    counted = eels.get("exposure") or eels.get("dwell_time")
    add("spectrum_exposure_s", counted, "Detector.EELS exposure [s]", zero_is_missing=True)
    add("frames", eels.get("frame_number"), "frame_number", zero_is_missing=True)
    exposure = camera.get("exposure") or eels.get("exposure")
    if facts.values.get("mode") != "STEM":
        add("exposure_time_s", exposure, "exposure [s]", zero_is_missing=True)
    elif dwell is None:
        add("dwell_time_s", exposure, "exposure [s] of a scan", zero_is_missing=True)
    _add_stage(facts, lookup(scope, "Stage") or {}, "Stage [mm, °]", um=1e3)
    add("sample", _name(lookup(metadata, "Sample", "description")), "Sample.description")
    add("time", _time_of(lookup(metadata, "General") or {}), "General.date and time")


BY_NAME = (
    "dose_rate_e_per_a2_s",
    "prior_dose_e_per_a2",
    "exposure_time_s",
    "dwell_time_s",
    "spectrum_exposure_s",
    "frames",
    "defocus_a",
    "spherical_aberration_mm",
    "temperature_k",
)
"""Numbers that HyperSpy's metadata have no place for; see `read_by_name`."""


def read_by_name(facts: Facts, metadata: Tree) -> None:
    """Read fields of an acquisition under their own names and in their own units.

    They are children of ``interphase`` in HyperSpy's metadata, where this package writes what
    has no place of its own there. Times are those of all frames.
    """
    said = lookup(metadata, "interphase")
    facts.add_dose(as_float(lookup(said, "dose_e_per_a2")), "interphase.dose_e_per_a2")
    for name in BY_NAME:
        facts.add(name, lookup(said, name), f"interphase.{name}")
    for name in ("electrolyte", "electrode"):
        facts.add(name, _name(lookup(said, name)), f"interphase.{name}")


def read_dm(facts: Facts, original: Tree, metadata: Tree) -> None:
    """Read Gatan DigitalMicrograph tags: volts, nA, µm, degrees, mm, µs per scanned pixel."""
    tags = lookup(original, "ImageList", "TagGroup0", "ImageTags") or {}
    scope, scan = tags.get("Microscope Info") or {}, tags.get("DigiScan") or {}
    eels, add = tags.get("EELS") or {}, facts.add
    scanning = "STEM" in str(scope.get("Illumination Mode")) or "SCANNING" in str(
        scope.get("Operation Mode")
    )
    if scope.get("Illumination Mode"):
        add("mode", "STEM" if scanning else "TEM", "Illumination Mode")
    add("beam_energy_kev", scaled(scope.get("Voltage"), 1e-3), "Voltage [V]", zero_is_missing=True)
    add(
        "beam_current_pa",
        scaled(scope.get("Probe Current (nA)"), 1e3),
        "Probe Current (nA)",
        zero_is_missing=True,
    )
    magnification = scope.get("Indicated Magnification")
    if scanning or scope.get("Imaging Mode") != "DIFFRACTION":
        add("magnification", magnification, "Indicated Magnification", zero_is_missing=True)
        length = scope.get("STEM Camera Length") if scanning else None
        add("camera_length_mm", length, "STEM Camera Length [mm]", zero_is_missing=True)
    else:
        add(
            "camera_length_mm",
            magnification,
            "Indicated Magnification, in diffraction the camera length [mm]",
            zero_is_missing=True,
        )
    if as_float(scope.get("Cs(mm)")):
        add("spherical_aberration_mm", scope.get("Cs(mm)"), "Cs(mm)")
    add("microscope", _name(scope.get("Name")), "Microscope Info.Name")
    _add_dm_times(facts, tags, scan, eels, scanning=scanning)
    conditions = eels.get("Experimental Conditions") or eels
    for key, name in (
        ("Convergence semi-angle (mrad)", "semi_convergence_angle_mrad"),
        ("Collection semi-angle (mrad)", "collection_angle_mrad"),
    ):
        add(name, conditions.get(key), key, zero_is_missing=True)
    device = lookup(tags, "Acquisition", "Device", "Name") or lookup(tags, "DataBar", "Device Name")
    add("detector", _name(device), "Acquisition.Device.Name")
    place = scope.get("Stage Position") or {}
    names = {k: place.get(f"Stage {v}") for k, v in zip("xyz", "XYZ", strict=True)}
    names |= {"tilt_alpha": place.get("Stage Alpha"), "tilt_beta": place.get("Stage Beta")}
    _add_stage(facts, names, "Stage Position [µm, °]", um=1.0)
    session = tags.get("Session Info") or {}
    add("sample", _name(session.get("Specimen") or scope.get("Specimen")), "Specimen")
    add("time", _time_of(lookup(metadata, "General") or {}), "Acquisition Date and Time")


def _add_dm_times(facts: Facts, tags: Tree, scan: Tree, eels: Tree, *, scanning: bool) -> None:
    add, spectra = facts.add, eels.get("Acquisition") or {}
    image = lookup(tags, "SI", "Acquisition") or {}
    count = as_float(spectra.get("Number of frames")) or 1.0
    counted = scaled(spectra.get("Integration time (s)"), 1.0)
    counted = counted or scaled(spectra.get("Exposure (s)"), count)
    add("spectrum_exposure_s", counted, "EELS Exposure (s)", zero_is_missing=True)
    if image:
        add("dwell_time_s", image.get("Pixel time (s)"), "SI Pixel time (s)", zero_is_missing=True)
        add("frames", image.get("Number of cycles"), "SI Number of cycles", zero_is_missing=True)
    elif spectra:
        add("exposure_time_s", counted, "EELS Integration time (s)", zero_is_missing=True)
        add("frames", spectra.get("Number of frames"), "EELS Number of frames")
    elif scanning and scan:
        dwell = scaled(scan.get("Sample Time"), 1e-6)
        add("dwell_time_s", dwell, "DigiScan Sample Time [µs]", zero_is_missing=True)
        if scan.get("Sum Frames"):
            summed = scan.get("Number Summing Frames")
            add("frames", summed, "DigiScan Number Summing Frames", zero_is_missing=True)
    else:
        exposure = lookup(tags, "DataBar", "Exposure Time (s)") or lookup(
            tags, "Acquisition", "Parameters", "High Level", "Exposure (s)"
        )
        add("exposure_time_s", exposure, "Exposure Time (s)", zero_is_missing=True)


def read_emi(facts: Facts, original: Tree, metadata: Tree) -> None:
    """Read FEI TIA's description: kV, µm, degrees, metres; defocus negative for underfocus."""
    info = lookup(original, "ObjectInfo") or {}
    said, acquired = info.get("ExperimentalDescription") or {}, info.get("AcquireInfo") or {}
    add = facts.add
    scanning = "STEM" in str(said.get("Mode"))
    if said.get("Mode"):
        add("mode", "STEM" if scanning else "TEM", "Mode")
    add("beam_energy_kev", said.get("High tension_kV"), "High tension_kV", zero_is_missing=True)
    add("magnification", said.get("Magnification_x"), "Magnification_x", zero_is_missing=True)
    add(
        "camera_length_mm",
        scaled(said.get("Camera length_m"), 1e3),
        "Camera length_m",
        zero_is_missing=True,
    )
    add("microscope", _name(said.get("Microscope")), "Microscope")
    add("detector", _name(acquired.get("CameraNamePath")), "camera")
    if as_float(said.get("Defocus_um")):
        add("defocus_a", scaled(said.get("Defocus_um"), -1e4), "Defocus_um, negative = underfocus")
    dwell = acquired.get("DwellTimePath")
    if scanning:
        dwell = dwell or acquired.get("IntegrationTime")
        add("dwell_time_s", dwell, "DwellTimePath [s]", zero_is_missing=True)
        add("exposure_time_s", acquired.get("FrameTime"), "FrameTime [s]", zero_is_missing=True)
    else:
        add("exposure_time_s", dwell, "DwellTimePath [s], per frame", zero_is_missing=True)
    names = {k: said.get(f"Stage {v}_um") for k, v in zip("xyz", "XYZ", strict=True)}
    names |= {"tilt_alpha": said.get("Stage A_deg"), "tilt_beta": said.get("Stage B_deg")}
    _add_stage(facts, names, "Stage [µm, °]", um=1.0)
    add("time", _time_of(lookup(metadata, "General") or {}), "AcquireDate")


def read_ser(facts: Facts, original: Tree, metadata: Tree) -> None:
    """Note what a .ser file without its .emi cannot say."""
    reason = "a .ser file alone states neither units nor conditions: put its .emi file beside it"
    for name in ("beam_energy_kev", "dose_e_per_a2", "exposure_time_s", "stage"):
        facts.missing[name] = reason


def read_velox(facts: Facts, original: Tree, metadata: Tree) -> None:
    """Read Thermo Fisher Velox metadata: SI units throughout, as text."""
    optics, scan = lookup(original, "Optics") or {}, lookup(original, "Scan") or {}
    if not optics:
        read_generic(facts, original, metadata)
        return
    add = facts.add
    scanning = str(optics.get("OperatingMode")) == "2"
    add("mode", "STEM" if scanning else "TEM", "Optics.OperatingMode")
    voltage = scaled(optics.get("AccelerationVoltage"), 1e-3)
    add("beam_energy_kev", voltage, "Optics.AccelerationVoltage [V]", zero_is_missing=True)
    length = scaled(optics.get("CameraLength"), 1e3)
    add("camera_length_mm", length, "Optics.CameraLength [m]", zero_is_missing=True)
    magnification = lookup(original, "CustomProperties", "StemMagnification", "value")
    add("magnification", magnification, "StemMagnification", zero_is_missing=True)
    if scanning:
        current = scaled(optics.get("LastMeasuredScreenCurrent"), 1e12)
        detail = "LastMeasuredScreenCurrent [A], behind the specimen when the screen was last in"
        add("beam_current_pa", current, detail, zero_is_missing=True)
        add("dwell_time_s", scan.get("DwellTime"), "Scan.DwellTime [s]", zero_is_missing=True)
        add("exposure_time_s", scan.get("FrameTime"), "Scan.FrameTime [s]", zero_is_missing=True)
    else:
        index = lookup(original, "BinaryResult", "DetectorIndex")
        exposure = lookup(original, "Detectors", f"Detector-{index}", "ExposureTime")
        add("exposure_time_s", exposure, "ExposureTime [s]", zero_is_missing=True)
        if str(optics.get("ProjectorMode")) == "2" and as_float(optics.get("Defocus")):
            defocus = scaled(optics.get("Defocus"), -1e10)
            add("defocus_a", defocus, "Optics.Defocus [m, negative = underfocus]")
    instrument = lookup(original, "Instrument") or {}
    scope = instrument.get("InstrumentModel") or instrument.get("InstrumentClass")
    add("microscope", _name(scope), "Instrument.InstrumentModel")
    add("detector", _name(lookup(original, "BinaryResult", "Detector")), "BinaryResult.Detector")
    stage = lookup(original, "Stage") or {}
    names = dict(stage.get("Position") or {})
    names["tilt_alpha"] = scaled(stage.get("AlphaTilt"), 180 / math.pi)
    names["tilt_beta"] = scaled(stage.get("BetaTilt"), 180 / math.pi)
    _add_stage(facts, names, "Stage [m, rad]", um=1e6)
    began = as_float(lookup(original, "Acquisition", "AcquisitionStartDatetime", "DateTime"))
    if began and 0 < began < _YEAR_2100:
        when = datetime.fromtimestamp(began, tz=UTC).replace(tzinfo=None)
        add("time", when, "AcquisitionStartDatetime [s since 1970, UTC]")


def read_velox_exposure(facts: Facts, original: Tree, first_ev: float) -> None:
    """Read the exposure of the one of Velox's energy ranges that begins at `first_ev`."""
    said = lookup(original, "CustomProperties") or {}
    for number in range(_MOST_RANGES):
        entry = f"AnalyticalDetector[EELS].{{}}[{number}]"
        begins = as_float(lookup(said, entry.format("SpectrumOffsetEnergy"), "value"))
        if begins is not None and math.isclose(begins, first_ev, abs_tol=1e-3):
            name = entry.format("DetectorExposureTime")
            exposure = lookup(said, name, "value")
            facts.add("spectrum_exposure_s", exposure, f"{name} [s]", zero_is_missing=True)


def read_tiff(facts: Facts, original: Tree, metadata: Tree) -> None:
    """Read TVIPS tags (volts, ms, metres, degrees); other TIFF files by HyperSpy's mapping."""
    tvips = lookup(original, "TVIPS")
    if not tvips:
        read_generic(facts, original, metadata)
        _add_tiff_resolution(facts, original)
        return
    add = facts.add
    voltage = scaled(tvips.get("TemHighTension"), 1e-3)
    add("beam_energy_kev", voltage, "TVIPS.TemHighTension [V]", zero_is_missing=True)
    exposure = scaled(tvips.get("ExposureTime"), 1e-3)
    add("exposure_time_s", exposure, "TVIPS.ExposureTime [ms]", zero_is_missing=True)
    magnification = tvips.get("TemMagnification")
    add("magnification", magnification, "TVIPS.TemMagnification", zero_is_missing=True)
    add("detector", _name(tvips.get("CameraType")), "TVIPS.CameraType")
    add("microscope", _name(tvips.get("TemType")), "TVIPS.TemType")
    said = "is 0, which means it was not recorded"
    if as_float(tvips.get("Dose")):
        said = f"is {tvips['Dose']}, of which the format does not state the unit"
    facts.missing["dose_e_per_a2"] = f"TVIPS.Dose {said}"
    position = list(tvips.get("TemStagePosition") or ())
    names = dict(zip(("x", "y", "z", "tilt_alpha", "tilt_beta"), position, strict=False))
    _add_stage(facts, names, "TVIPS.TemStagePosition [m, °]", um=1e6)
    shifts = {}
    for key, name in (("TemBeamShift", "beam_shift"), ("TemImageShift", "image_shift")):
        shift = list(tvips.get(key) or ())
        if len(shift) == 2 and any(shift):
            shifts[name] = (float(shift[0]), float(shift[1]))
    if shifts and "stage" in facts.values:
        facts.values["stage"] = replace(facts.values["stage"], **shifts)
    add("time", _time_of(lookup(metadata, "General") or {}), "TVIPS.Date and Time")


def _add_tiff_resolution(facts: Facts, original: Tree) -> None:
    """Read the pixel size that ImageJ, or a resolution per cm fit for a microscope, states.

    A resolution per inch, or one that prints a pixel larger than 1 µm, speaks of paper.
    """
    x, y = (_ratio(original.get(key)) for key in ("XResolution", "YResolution"))
    if not x or not y:
        return
    described = str(original.get("ImageDescription", ""))
    entries = dict(line.split("=", 1) for line in described.splitlines() if "=" in line)
    unit, detail = "", ""
    if "ImageJ" in entries:
        unit = entries.get("unit", "").replace("\\u00B5", "µ")
        detail = f"ImageJ's XResolution [pixels/{unit}]"
    elif as_float(original.get("ResolutionUnit")) == _PER_CM:
        unit, detail = "cm", "XResolution [pixels/cm]"
    factor = angstrom_per(unit)
    if factor and factor / math.sqrt(x * y) <= LONGEST_TAGGED_PIXEL_A:
        facts.add_square("pixel_size_a", factor / x, factor / y, "the image axis", detail)


def _ratio(value: Any) -> float | None:
    if isinstance(value, (tuple, list)) and len(value) == 2 and as_float(value[1]):
        return scaled(value[0], 1 / float(value[1]))
    return as_float(value)


def read_mrc(facts: Facts, original: Tree, metadata: Tree) -> None:
    """Read the FEI1 or FEI2 extended header: SI units, degrees; dose in e/m².

    A zero means that the program did not fill the field in. Defocus is negative for underfocus;
    ``Applied defocus`` is what was asked for and is preferred to the lens reading ``Defocus``.
    """
    fei = lookup(original, "extended_header") or {}
    if not fei:
        return
    add = facts.add
    scanning = fei.get("Instrument mode") == 2
    if fei.get("Instrument mode") in (1, 2):
        add("mode", "STEM" if scanning else "TEM", "Instrument mode")
    add("beam_energy_kev", scaled(fei.get("HT"), 1e-3), "HT [V]", zero_is_missing=True)
    add("magnification", fei.get("Magnification"), "Magnification", zero_is_missing=True)
    length = scaled(fei.get("Camera length"), 1e3)
    add("camera_length_mm", length, "Camera length [m]", zero_is_missing=True)
    add("microscope", _name(fei.get("Microscope type")), "Microscope type")
    camera = fei.get("STEM Detector name") if scanning else fei.get("Camera name")
    add("detector", _name(camera), "detector name")
    if scanning:
        add("dwell_time_s", fei.get("Dwell time"), "Dwell time [s]", zero_is_missing=True)
        add("exposure_time_s", fei.get("Frame time"), "Frame time [s]", zero_is_missing=True)
    else:
        exposure = fei.get("Integration time")
        add("exposure_time_s", exposure, "Integration time [s]", zero_is_missing=True)
        _add_fei_defocus(facts, fei)
    names = {
        "x": fei.get("X-Stage"),
        "y": fei.get("Y-Stage"),
        "z": fei.get("Z-Stage"),
        "tilt_alpha": fei.get("Alpha tilt"),
        "tilt_beta": fei.get("Beta tilt"),
    }
    _add_stage(facts, names, "Stage [m, °]", um=1e6)
    add("time", _serial_date(fei.get("Timestamp")), "Timestamp")
    if fei.get("sections", 1) == 1:
        dose = scaled(fei.get("Dose"), E_PER_A2_PER_E_PER_M2)
        facts.add_dose(dose, "Dose [e/m²]")
    elif as_float(fei.get("Dose")):
        facts.missing["dose_e_per_a2"] = (
            "the extended header states a Dose per section, but not whether it is that of the "
            "section or of the whole series"
        )


def _add_fei_defocus(facts: Facts, fei: Tree) -> None:
    applied, read = as_float(fei.get("Applied defocus")), as_float(fei.get("Defocus"))
    if applied:
        facts.add("defocus_a", -applied * 1e10, "Applied defocus [m, negative = underfocus]")
        if read and applied * read < 0:
            facts.warnings.append(
                f"Applied defocus is {applied * 1e6:.3g} µm and Defocus {read * 1e6:.3g} µm: the "
                "signs differ, the applied one is used (negative = underfocus)"
            )
    elif read:
        facts.add("defocus_a", -read * 1e10, "Defocus [m, negative = underfocus]")


def read_blo(facts: Facts, original: Tree, metadata: Tree) -> None:
    """Read a NanoMEGAS block file: volts, tenths of a millimetre, pixels in cm of the camera."""
    header = lookup(original, "blockfile_header") or {}
    facts.add("mode", "STEM", "block file, always scanned")
    voltage = scaled(_item(header.get("Beam_energy")), 1e-3)
    facts.add("beam_energy_kev", voltage, "Beam_energy [V]", zero_is_missing=True)
    length = scaled(_item(header.get("Camera_length")), 0.1)
    facts.add("camera_length_mm", length, "Camera_length [0.1 mm]", zero_is_missing=True)
    facts.add("time", _time_of(lookup(metadata, "General") or {}), "Acquisition_time")


HEADERS: Mapping[str, Header] = {
    ".dm3": read_dm,
    ".dm4": read_dm,
    ".emi": read_emi,
    ".ser": read_ser,
    ".emd": read_velox,
    ".tif": read_tiff,
    ".tiff": read_tiff,
    ".mrc": read_mrc,
    ".mrcs": read_mrc,
    ".blo": read_blo,
    ".hspy": read_generic,
    ".msa": read_generic,
}
"""Suffix → the function that reads its vendor's metadata."""


def _add_mode(facts: Facts, said: Any, detail: str) -> None:
    if isinstance(said, str) and said.strip():
        facts.add("mode", "STEM" if "STEM" in said.upper() else "TEM", detail)


def _add_stage(facts: Facts, names: Tree, detail: str, *, um: float) -> None:
    x, y, z = (scaled(_item(names.get(axis)), um) for axis in "xyz")
    alpha, beta = (as_float(_item(names.get(f"tilt_{tilt}"))) for tilt in ("alpha", "beta"))
    said = [value for value in (x, y, z, alpha, beta) if value is not None]
    if not said:
        return
    if any(abs(value) > 1e5 for value in said):
        facts.warnings.append(f"{detail} holds a position outside any stage: it is not believed")
        return
    if not any(said):
        facts.missing["stage"] = f"{detail} is 0 in every axis, which means it was not recorded"
        return
    stage = Stage(x_um=x, y_um=y, z_um=z, alpha_deg=alpha, beta_deg=beta)
    facts.add("stage", stage, detail)


def _item(value: Any) -> Any:
    return value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value


def _name(value: Any) -> str | None:
    """Return a name, or ``None`` where the file says nothing in particular."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    text = value.strip().strip("\0") if isinstance(value, str) else ""
    return None if text.lower() in {"", "unknown", "none", "unspecified"} else text[:200]


def _time_of(general: Tree) -> datetime | None:
    try:
        return datetime.fromisoformat(f"{general['date']}T{general['time']}")
    except (KeyError, TypeError, ValueError):
        return None


def _serial_date(value: Any) -> datetime | None:
    """Days since 30 December 1899, as FEI and OLE count them."""
    days = as_float(_item(value))
    if days is None or not 1 < days < 100_000:
        return None
    return datetime(1899, 12, 30) + timedelta(days=days)
