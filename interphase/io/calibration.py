"""What a signal's axes say: the kind of a file, its shape, its calibrations."""

import math
from collections.abc import Sequence
from typing import Any

from interphase.acquisition import Kind, Origin
from interphase.io.facts import Facts
from interphase.io.headers import LONGEST_TAGGED_PIXEL_A
from interphase.io.signals import Signal, is_xray
from interphase.io.units import angstrom_per, ev_per, is_angle, per_angstrom_per

_LONGEST_PIXEL_A = 1e7
"""1 mm; an axis step above it is no length in a specimen."""


def facts_of_axes(
    signal: Signal, *, suffix: str, stated: Kind | None = None
) -> tuple[Kind, tuple[int, ...], Facts]:
    """Read kind, shape and calibrations from a signal's axes.

    Parameters
    ----------
    signal
        A HyperSpy signal.
    suffix
        The file's suffix, because some formats state a unit that they do not know.
    stated
        Whether its pictures are said to be images or patterns of diffraction, whatever the units.

    Returns
    -------
    kind : Kind
        What the signal is.
    shape : tuple of int
        Its array shape.
    facts : Facts
        Its calibrations, and why those that are missing are missing.
    """
    facts = Facts(origin=Origin.HEADER, where="axes")
    shape = tuple(int(size) for size in signal.data.shape)
    navigation = [axis for axis in signal.axes_manager.navigation_axes if axis.size > 1]
    axes = list(signal.axes_manager.signal_axes)
    if signal.axes_manager.signal_dimension == 1:
        kind = Kind.SPECTRUM_IMAGE if navigation else Kind.SPECTRUM
        _read_energy(facts, axes[0])
        if navigation:
            _read_length(facts, "scan_step_a", navigation, "scan axis", suffix)
        if is_xray(signal):
            facts.add("detector", "X-ray", "range of the energy axis")
        return kind, shape, facts
    if signal.axes_manager.signal_dimension != 2:
        facts.warnings.append(f"an array of shape {shape} is neither images nor spectra")
        return Kind.IMAGE, shape, facts
    units = [axis.units for axis in axes]
    reciprocal = any(per_angstrom_per(unit) or is_angle(unit) for unit in units)
    impossible = _is_impossible_length(axes)
    scanned = [axis for axis in navigation if angstrom_per(axis.units) is not None]
    frames = math.prod(axis.size for axis in navigation) if navigation else 1
    pattern = reciprocal or impossible or suffix == ".blo"
    if stated is not None:
        pattern = stated is Kind.DIFFRACTION
    if pattern or len(navigation) >= 2:
        kind = Kind.SCAN_4D if scanned or len(navigation) >= 2 else Kind.DIFFRACTION
        _read_reciprocal(facts, axes, suffix)
        if kind is Kind.SCAN_4D:
            _read_length(facts, "scan_step_a", navigation, "scan axis", suffix)
    else:
        kind = Kind.MOVIE if navigation else Kind.IMAGE
        _read_length(facts, "pixel_size_a", axes, "image axis", suffix)
    if kind in {Kind.MOVIE, Kind.DIFFRACTION} and frames > 1:
        facts.add("frames", frames, "length of the frame axis")
    return kind, shape, facts


def _is_impossible_length(axes: Sequence[Any]) -> bool:
    factors = [angstrom_per(axis.units) for axis in axes]
    return any(
        factor is not None and abs(axis.scale) * factor > _LONGEST_PIXEL_A * 1e3
        for factor, axis in zip(factors, axes, strict=True)
    )


def _read_length(facts: Facts, name: str, axes: Sequence[Any], what: str, suffix: str) -> None:
    remedy = f"give `{name}` in Å in session.toml"
    if name == "pixel_size_a":
        remedy += " or with --pixel-size"
    steps = []
    for axis in axes:
        factor = angstrom_per(axis.units)
        if factor is None:
            unit = axis.units if isinstance(axis.units, str) and axis.units.strip() else "no unit"
            facts.missing[name] = f"the {what} has {unit}, which is no calibrated length: {remedy}"
            if name == "pixel_size_a":
                facts.missing[name] += (
                    "; of a diffraction pattern, `reciprocal_pixel_size_per_a` and "
                    '`kind = "diffraction"` there, or --reciprocal-pixel-size'
                )
            return
        if axis.scale < 0:
            facts.warnings.append(
                f"the {what} {axis.name} has the negative scale {axis.scale:.4g} {axis.units}: "
                "its absolute value is used"
            )
        steps.append(abs(float(axis.scale)) * factor)
    tagged = suffix in {".tif", ".tiff"} and axes[0].units in {"cm", "mm", "inch"}
    if tagged and max(steps) > LONGEST_TAGGED_PIXEL_A:
        facts.missing[name] = (
            "the resolution tag speaks of a print or a screen, not of the specimen: " + remedy
        )
        return
    detail = f"scale [{axes[0].units}] of the {what}"
    if len(steps) == 2:
        facts.add_square(name, steps[0], steps[1], f"the {what}", detail)
    else:
        facts.add(name, steps[0], detail)
    if name in facts.missing:
        facts.missing[name] += ": " + remedy


def _read_reciprocal(facts: Facts, axes: Sequence[Any], suffix: str) -> None:
    name = "reciprocal_pixel_size_per_a"
    remedy = f"give `{name}` in 1/Å in session.toml"
    factors = [per_angstrom_per(axis.units) for axis in axes]
    axis = axes[0]
    if None not in factors:
        steps = [
            abs(float(a.scale)) * factor
            for a, factor in zip(axes, factors, strict=True)
            if factor is not None
        ]
        detail = f"scale [{axis.units}] of the pattern's axis"
        facts.add_square(name, steps[0], steps[1], "the pattern's axis", detail)
        if name in facts.missing:
            facts.missing[name] += ": " + remedy
    elif is_angle(axis.units):
        facts.missing[name] = f"the pattern's axis is in {axis.units}: {remedy}"
    elif suffix == ".blo":
        facts.missing[name] = (
            f"a block file states camera pixels of {axis.scale:.3g} {axis.units}, which is no "
            f"calibration of the pattern: {remedy}"
        )
    elif _is_impossible_length(axes):
        facts.missing[name] = (
            f"a pixel of {axis.scale:.3g} {axis.units}, as the file states, is no length: {remedy}"
        )
        facts.warnings.append(
            f"a pixel of {axis.scale:.3g} {axis.units} is nonsense and not believed; it is what a "
            "diffraction pattern in a .ser file looks like without its .emi file"
        )
    else:
        facts.missing[name] = (
            f"the pattern's axis has {axis.units or 'no unit'}, which is no reciprocal length: "
            + remedy
        )


def _read_energy(facts: Facts, axis: Any) -> None:
    factor = ev_per(axis.units)
    if factor is None:
        unit = axis.units if isinstance(axis.units, str) and axis.units.strip() else "no unit"
        facts.missing["dispersion_ev"] = (
            f"the spectrum's axis has {unit}, which is no energy: give `dispersion_ev` in "
            "session.toml"
        )
        return
    detail = f"scale [{axis.units}] of the energy axis"
    facts.add("dispersion_ev", abs(float(axis.scale)) * factor, detail)
    first, last = float(axis.axis[0]) * factor, float(axis.axis[-1]) * factor
    if "dispersion_ev" in facts.values and math.isfinite(first) and math.isfinite(last):
        facts.add("energy_range_ev", (min(first, last), max(first, last)), detail)
