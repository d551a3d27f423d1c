"""The edge to HyperSpy: arrays out of signals, and maps and spectra back into them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from interphase.eels.checks import check_axis
from interphase.errors import ParameterError
from interphase.io.units import ev_per


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectra:
    """What the functions of this package need of a signal."""

    counts: Any
    """Counts, shape (..., E): a Dask array where the signal is lazy."""
    energy_ev: np.ndarray
    """Energy loss of the channels as the signal states it, shape (E,) [eV]."""


def spectra_from_signal(signal: Any) -> Spectra:
    """Return counts and energies of a HyperSpy signal of spectra; nothing is copied.

    Parameters
    ----------
    signal
        A signal with one signal axis in meV, eV or keV, such as `interphase.io.load` gives.

    Returns
    -------
    Spectra
        The spectrum axis last.

    Raises
    ------
    ParameterError
        The signal holds no spectra, or the axis is no energy loss.
    """
    axes = signal.axes_manager
    if axes.signal_dimension != 1:
        raise ParameterError(
            f"the signal has {axes.signal_dimension} signal axes: expected one, the energy loss"
        )
    (axis,) = axes.signal_axes
    factor = ev_per(axis.units)
    if factor is None:
        raise ParameterError(
            f"the signal axis has the unit {str(axis.units)!r}: expected meV, eV or keV; set "
            "signal.axes_manager.signal_axes[0].units"
        )
    # Signal axes are the last ones of HyperSpy's arrays.
    energy = np.asarray(axis.axis, dtype=float) * factor
    return Spectra(counts=signal.data, energy_ev=check_axis(energy, signal.data.shape[-1]))


def map_to_signal(values: np.ndarray, like: Any, *, title: str) -> Any:
    """Return a map as a HyperSpy signal that lies where another signal's spectra do.

    Parameters
    ----------
    values
        One value for each spectrum of `like`, shape (...).
    like
        The signal whose navigation axes are taken over.
    title
        What the values are, with their unit.

    Returns
    -------
    BaseSignal
        An image where `like` is a spectrum image, a line where it is a line of spectra.

    Raises
    ------
    ParameterError
        The map has another shape.
    """
    import hyperspy.api as hs

    axes = [_axis(axis) for axis in like.axes_manager._axes if axis.navigate]
    shape = tuple(axis["size"] for axis in axes)
    if np.shape(values) != shape:
        raise ParameterError(f"the map has shape {np.shape(values)}: expected {shape}")
    for axis in axes:
        axis["navigate"] = False
    data = np.asarray(values)
    kind = {0: hs.signals.BaseSignal, 1: hs.signals.Signal1D, 2: hs.signals.Signal2D}.get(len(axes))
    kind = kind or hs.signals.BaseSignal
    signal = kind(data, axes=axes) if axes else kind(data.reshape(1))
    signal.metadata.General.title = title
    return signal


def spectra_to_signal(counts: Any, like: Any, *, first_ev: float, title: str) -> Any:
    """Return spectra as a HyperSpy signal of the kind and with the metadata of another.

    Parameters
    ----------
    counts
        Spectra, shape (..., E), an array or a Dask array; in number and place those of `like`.
    like
        The signal they come from.
    first_ev
        Energy loss of the first channel [eV].
    title
        Title of the new signal.

    Returns
    -------
    Signal1D
        Such as eXSpy's EELSSpectrum; lazy where `counts` is.

    Raises
    ------
    ParameterError
        The spectra have another shape than those of `like`.
    """
    import hyperspy.api as hs

    (energy,) = like.axes_manager.signal_axes
    navigation = [axis for axis in like.axes_manager._axes if axis.navigate]
    shape = tuple(axis.size for axis in navigation)
    if counts.shape[:-1] != shape:
        raise ParameterError(f"the spectra have shape {counts.shape}: expected {shape} + (E,)")
    factor = ev_per(energy.units)
    if factor is None:
        raise ParameterError(f"the signal axis has the unit {str(energy.units)!r}: expected eV")
    last = {**_axis(energy), "size": counts.shape[-1], "offset": first_ev / factor}
    axes = [*(_axis(axis) for axis in navigation), last]
    signal = hs.signals.Signal1D(counts, axes=axes, metadata=like.metadata.as_dictionary())
    if hasattr(counts, "dask"):
        signal = signal.as_lazy()
    signal.set_signal_type(like.metadata.Signal.get_item("signal_type", default=""))
    signal.metadata.General.title = title
    return signal


def _axis(axis: Any) -> dict[str, Any]:
    return {
        "name": str(axis.name),
        "size": axis.size,
        "scale": axis.scale,
        "offset": axis.offset,
        "units": axis.units,
        "navigate": axis.navigate,
    }
