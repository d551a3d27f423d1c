"""HyperSpy signals in and out, with axes and laziness kept."""

import hyperspy.api as hs
import numpy as np
import pytest

from interphase.eels import map_to_signal, spectra_from_signal, spectra_to_signal
from interphase.errors import ParameterError
from interphase.simulation import EnergyAxis, Spectrometer
from interphase.simulation.imaging.spectra import to_eels_signal

AXIS = EnergyAxis(first_ev=-10, dispersion_ev=0.5, channels=200)
OPTICS = Spectrometer(
    beam_energy_kev=300,
    collection_semi_angle_mrad=10,
    convergence_semi_angle_mrad=10,
    resolution_fwhm_ev=0.8,
)


@pytest.fixture
def image(rng):
    counts = rng.poisson(5.0, (3, 4, 200)).astype(np.float32)
    return to_eels_signal(counts, axis=AXIS, spectrometer=OPTICS, pixel_size_a=20.0)


def test_arrays_come_out_as_they_are(image):
    spectra = spectra_from_signal(image)
    assert spectra.counts is image.data
    assert spectra.energy_ev == pytest.approx(AXIS.energies_ev)


def test_energies_are_in_ev_whatever_the_signal_has(image):
    axis = image.axes_manager.signal_axes[0]
    axis.units, axis.scale, axis.offset = "keV", 0.0005, -0.01
    assert spectra_from_signal(image).energy_ev == pytest.approx(AXIS.energies_ev)
    for unit in ("nm", ""):
        axis.units = unit
        with pytest.raises(ParameterError, match="expected meV, eV or keV"):
            spectra_from_signal(image)


def test_images_are_no_spectra(image):
    with pytest.raises(ParameterError, match="2 signal axes"):
        spectra_from_signal(image.as_signal2D((0, 1)))


def test_the_order_of_a_transposed_signal_is_that_of_its_array(image):
    turned = image.transpose(navigation_axes=[1, 0], signal_axes=[2])
    spectra = spectra_from_signal(turned)
    assert spectra.counts.shape == (4, 3, 200)
    assert np.array_equal(spectra.counts, image.data.swapaxes(0, 1))


def test_lazy_signals_stay_lazy(image):
    spectra = spectra_from_signal(image.as_lazy())
    assert hasattr(spectra.counts, "dask")
    back = spectra_to_signal(spectra.counts, image, first_ev=-12.5, title="moved")
    assert back._lazy
    assert back.data.compute() == pytest.approx(image.data)


def test_spectra_go_back_with_kind_place_and_metadata(image):
    back = spectra_to_signal(image.data[..., 20:], image, first_ev=0.0, title="cut")
    assert type(back) is type(image)
    assert back.axes_manager.signal_axes[0].axis == pytest.approx(AXIS.energies_ev[20:])
    assert back.axes_manager[0].units == "nm"
    assert back.metadata.Acquisition_instrument.TEM.beam_energy == 300
    assert back.metadata.General.title == "cut"
    with pytest.raises(ParameterError, match="the spectra have shape"):
        spectra_to_signal(image.data[:2], image, first_ev=0.0, title="")


def test_maps_lie_where_the_spectra_do(image):
    values = np.arange(12.0).reshape(3, 4)
    signal = map_to_signal(values, image, title="t/λ")
    assert isinstance(signal, hs.signals.Signal2D)
    assert np.array_equal(signal.data, values)
    assert [axis.scale for axis in signal.axes_manager.signal_axes] == [2.0, 2.0]
    assert map_to_signal(np.array(0.3), image.inav[0, 0], title="t/λ").data.tolist() == [0.3]
    with pytest.raises(ParameterError, match="the map has shape"):
        map_to_signal(values.T, image, title="")
