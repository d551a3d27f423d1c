"""A scan of diffraction patterns in a session: mapped, drawn, and written like an image."""

import json

import numpy as np
import pytest

from interphase.acquisition import Kind
from interphase.phases import load_phase, reflections
from interphase.session.single import measure_paths, write_single


def write_scan(path, rng):
    """Write a scan of 4 × 5 positions, two columns of which show LiF along [001]."""
    import hyperspy.api as hs

    size, step = 96, 0.02
    y, x = np.indices((size, size)) - size // 2
    beam = 1 / (1 + np.exp(np.minimum(3 * (np.hypot(y, x) - 2.2), 50)))
    mean = 4000 * beam / beam.sum() + 2.0 * np.exp(-np.hypot(y, x) / 10)
    table = reflections(load_phase("LiF"), d_min_a=1.2)
    crystal = mean.copy()
    for g in table.g_per_a[np.abs(table.g_per_a[:, 2]) < 1e-9]:
        away = np.hypot(y - g[1] / step, x - g[0] / step)
        spot = 1 / (1 + np.exp(np.minimum(3 * (away - 2.2), 50)))
        crystal += 150 * spot / spot.sum()
    means = np.broadcast_to(mean, (4, 5, size, size)).copy()
    means[:, 3:] = crystal
    signal = hs.signals.Signal2D(rng.poisson(means).astype(np.uint16))
    for axis in signal.axes_manager.navigation_axes:
        axis.scale, axis.units = 2.0, "nm"
    for axis in signal.axes_manager.signal_axes:
        axis.scale, axis.units = 10 * step, "1/nm"
    signal.metadata.set_item("Acquisition_instrument.TEM.beam_energy", 300.0)
    signal.save(path)
    return path


def test_a_scan_is_mapped(tmp_path):
    path = write_scan(tmp_path / "scan.hspy", np.random.default_rng(0))
    ((result, pictures),) = measure_paths([path], phases="LiF,Li2O,Li2CO3")
    assert result.kind is Kind.SCAN_4D
    (region,) = result.phase_map.regions
    assert region.phase == "LiF"
    assert sorted(abs(i) for i in region.zone_axis) == [0, 0, 1]
    assert region.area_a2 == 8 * 400
    assert region.centre_a == pytest.approx((30, 70), abs=1)
    assert (result.phase_map.labels == [0, 0, 0, 1, 1]).all()
    assert result.phase_map.area_fraction["none"] == 0.6

    assert pictures.thumbnail.shape == pictures.labels.shape
    assert pictures.thumbnail_pixel_size * pictures.thumbnail.shape[1] == pytest.approx(100)
    assert pictures.thumbnail[pictures.labels > 0].min() > pictures.thumbnail[:, :1].max()
    write_single(result, pictures, tmp_path)
    written = json.loads((tmp_path / "scan.hspy.json").read_text())
    assert written["phase_map"]["regions"][0]["phase"] == "LiF"
    assert (tmp_path / "scan.hspy.png").stat().st_size > 1000
