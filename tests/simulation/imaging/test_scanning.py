"""Probes agree with abTEM, keep their electrons, and see the atoms where they are."""

from dataclasses import replace

import abtem
import dask
import numpy as np
import pytest
from ase import Atoms

from interphase.errors import ParameterError
from interphase.phases import load_phase
from interphase.simulation.imaging.cost import Multislice, multislice_for
from interphase.simulation.imaging.detectors import Detector, record_counts
from interphase.simulation.imaging.probes import (
    AnnularDetector,
    PatternPixels,
    Probe,
    Scan,
    annular_bright_field,
    interphase_scan,
    probe_window,
)
from interphase.simulation.imaging.scanning import (
    blurred_by_source,
    nanobeam_pattern,
    record_patterns,
    scan_cost,
    scanned_images,
    scanned_patterns,
)
from interphase.simulation.imaging.vibrations import Vibrations
from interphase.simulation.models.crystallites import crystallite, zone_axis_orientation
from interphase.simulation.models.scene import Grain, Scene, film_scene

PROBE = Probe(beam_energy_kev=300.0, semi_convergence_mrad=20.0)
DARK = AnnularDetector(inner_mrad=30.0, outer_mrad=50.0)
WHOLE = float("inf")


def scene_of(atoms, size=(24.0, 20.0), thickness=8.0):
    atoms.set_cell([size[1], size[0], thickness])
    atoms.pbc = True
    return Scene(atoms=atoms, size_a=size, thickness_a=thickness, matrix="vacuum")


def column(symbol, y, x, count=8, spacing=2.0):
    return Atoms(f"{symbol}{count}", positions=[(x, y, (i + 0.5) * spacing) for i in range(count)])


@pytest.fixture
def gas(rng):
    """Atoms anywhere."""
    return scene_of(Atoms("C150Au5", positions=rng.uniform(0, (20, 24, 8), (155, 3))))


@pytest.mark.parametrize("projection", ["infinite", "spline"])
def test_patterns_are_those_of_plain_abtem(gas, projection):
    probe = replace(PROBE, defocus_a=60.0, spherical_aberration_mm=0.3)
    scan = Scan(origin_a=(3.0, 5.0), step_a=4.0, shape=(2, 3))
    settings = Multislice(sampling_a=0.125, slice_thickness_a=2.0, projection=projection)
    # The pixels are the wave's own where its box is square.
    square = scene_of(gas.atoms.copy(), size=(24.0, 24.0))
    pixels = PatternPixels(shape=(61, 61), reciprocal_pixel_size_per_a=1 / 24)
    patterns = scanned_patterns(
        square, probe, scan, pixels=pixels, settings=settings, window_a=WHOLE
    ).compute()

    options = {"projection": "infinite"}
    late = 0.0
    if projection == "spline":
        from interphase.simulation.imaging.projection import SplineProjection

        options = {"integrator": SplineProjection(slice_thickness_a=2.0, thickness_a=8.0)}
        late = 1.0
    potential = abtem.Potential(square.atoms, gpts=192, slice_thickness=2.0, **options)
    beam = abtem.Probe(energy=300e3, semiangle_cutoff=20.0, C10=-60.0 + late, Cs=0.3e7)
    grid = abtem.GridScan(start=(5.0, 3.0), end=(17.0, 11.0), gpts=(3, 2))
    plain = beam.multislice(potential, scan=grid, lazy=False).diffraction_patterns("full")
    expected = plain.array.transpose(1, 0, 3, 2)[..., 96 - 30 : 96 + 31, 96 - 30 : 96 + 31]
    np.testing.assert_allclose(patterns, expected, atol=1e-5 * expected.max())


def test_detectors_are_those_of_plain_abtem(gas):
    scan = Scan(origin_a=(3.0, 5.0), step_a=4.0, shape=(2, 3))
    settings = Multislice(sampling_a=0.125, slice_thickness_a=2.0, projection="infinite")
    images = scanned_images(
        gas,
        PROBE,
        scan,
        detectors={"bf": AnnularDetector(inner_mrad=0, outer_mrad=22), "df": DARK},
        settings=settings,
        window_a=WHOLE,
    )
    potential = abtem.Potential(gas.atoms, gpts=(160, 192), slice_thickness=2.0)
    grid = abtem.GridScan(start=(5.0, 3.0), end=(17.0, 11.0), gpts=(3, 2))
    beam = abtem.Probe(energy=300e3, semiangle_cutoff=20.0)
    bright, dark = beam.scan(
        potential,
        scan=grid,
        detectors=[abtem.AnnularDetector(0, 22), abtem.AnnularDetector(30, 50)],
        lazy=False,
    )
    # A pixel on a detector's rim is shared here; abTEM counts it in or out.
    np.testing.assert_allclose(images["bf"], bright.array.T, rtol=2e-4)
    np.testing.assert_allclose(images["df"], dark.array.T, rtol=0.05)


def test_vacuum_passes_every_electron():
    scan = Scan(origin_a=(2.0, 2.0), step_a=5.0, shape=(2, 2))
    vacuum = scene_of(Atoms())
    images = scanned_images(
        vacuum,
        PROBE,
        scan,
        detectors={
            "adf": DARK,
            "bf": AnnularDetector(inner_mrad=0, outer_mrad=25),
            "abf": annular_bright_field(PROBE),
        },
        window_a=WHOLE,
    )
    np.testing.assert_allclose(images["adf"], 0, atol=1e-9)
    np.testing.assert_allclose(images["bf"], 1, atol=1e-5)
    # The ring holds three quarters of the disc, but for cells that straddle its edges.
    np.testing.assert_allclose(images["abf"], 0.75, atol=0.02)
    pixels = PatternPixels(shape=(32, 32), reciprocal_pixel_size_per_a=0.08)
    pattern = nanobeam_pattern(vacuum, PROBE, (7.0, 9.0), pixels=pixels)
    assert pattern.sum() == pytest.approx(1, abs=1e-5)
    disc = np.pi * (0.020 / PROBE.wavelength_a / 0.08) ** 2
    assert pattern[16, 16] == pytest.approx(1 / disc, rel=0.05)


def test_patterns_keep_every_electron(gas):
    pixels = PatternPixels(shape=(101, 101), reciprocal_pixel_size_per_a=0.06)
    pattern = nanobeam_pattern(gas, PROBE, (7.0, 9.0), pixels=pixels)
    # What is missing was scattered beyond the corner of the pattern, at 84 mrad.
    assert 0.999 < pattern.sum() < 1


def test_underfocus_is_a_focus_below_the_surface():
    # The atom scatters most out of the disc where the probe is smallest.
    atom = scene_of(Atoms("Au", positions=[(10.0, 12.0, 60.0)]), thickness=64.0)
    scan = Scan(origin_a=(12.0, 10.0), step_a=1.0, shape=(1, 1))

    def scattered(defocus_a):
        probe = replace(PROBE, defocus_a=defocus_a)
        return scanned_images(
            atom, probe, scan, detectors={"df": DARK}, settings=Multislice(sampling_a=0.125)
        )["df"][0, 0]

    assert scattered(50.0) < scattered(60.0) > scattered(70.0)
    assert scattered(60.0) > 3 * scattered(0.0) > 6 * scattered(-60.0)


def test_heavy_columns_are_bright_at_their_places_in_the_dark_field():
    scene = scene_of(column("Cu", 8.0, 5.0) + column("Li", 16.0, 13.0), thickness=16.0)
    scan = Scan(origin_a=(4.0, 1.0), step_a=1.0, shape=(16, 18))
    image = scanned_images(
        scene, PROBE, scan, detectors={"df": DARK}, settings=Multislice(sampling_a=0.12)
    )["df"]
    assert image.shape == (16, 18)
    assert np.unravel_index(image.argmax(), image.shape) == (4, 4)
    lithium = image[9:, 9:]
    assert np.unravel_index(lithium.argmax(), lithium.shape) == (3, 3)
    # Rutherford's Z² is the bound for a pointed nucleus; the cloud makes the power less.
    assert 10 < image[4, 4] / image[12, 12] < (29 / 3) ** 2


def test_light_columns_are_dark_in_the_annular_bright_field():
    probe = replace(PROBE, semi_convergence_mrad=24.0, defocus_a=10.0)
    phase = load_phase("Li2O")
    atoms = crystallite(phase, 21.0, orientation=zone_axis_orientation(phase, (1, 1, 0)))
    atoms.positions += (12.0, 12.0, 10.0)
    scene = scene_of(atoms, size=(24.0, 24.0), thickness=20.0)
    symbols = np.array(atoms.get_chemical_symbols())
    near = np.hypot(*(atoms.positions[:, :2] - 12.0).T) < 4.0
    image = scanned_images(
        scene,
        probe,
        Scan(origin_a=(8.0, 8.0), step_a=0.25, shape=(33, 33)),
        detectors={"abf": annular_bright_field(probe)},
        settings=Multislice(sampling_a=0.16),
    )["abf"]
    for symbol in ("Li", "O"):
        y, x = atoms.positions[near & (symbols == symbol)][:, 1::-1].T
        inside = (np.abs(y - 12) < 3.5) & (np.abs(x - 12) < 3.5)
        rows, columns = (np.round((v[inside] - 8) / 0.25).astype(int) for v in (y, x))
        assert len(rows) > 4
        assert (image[rows, columns] < image.mean()).all()


def test_bragg_discs_stand_at_the_reflections():
    phase = load_phase("LiF")
    orientation = zone_axis_orientation(phase, (0, 0, 1), in_plane_deg=20.0)
    atoms = crystallite(phase, 40.0, orientation=orientation)
    atoms.positions += (24.0, 24.0, 21.0)
    scene = scene_of(atoms, size=(48.0, 48.0), thickness=42.0)
    probe = Probe(beam_energy_kev=200.0, semi_convergence_mrad=2.0)
    pixels = PatternPixels(shape=(81, 81), reciprocal_pixel_size_per_a=0.025, beam_stop_per_a=0.12)
    pattern = nanobeam_pattern(scene, probe, (24.0, 24.0), pixels=pixels)
    k = (np.arange(81) - 40) * 0.025
    ky, kx = k[:, None], k
    assert (pattern[np.hypot(ky, kx) < 0.11] == 0).all()
    for hkl in ((2, 0, 0), (0, 2, 0), (2, 2, 0), (-2, 2, 0)):
        gx, gy, gz = orientation.matrix @ (np.array(hkl) @ phase.reciprocal_vectors)
        assert abs(gz) < 1e-9
        disc = np.hypot(ky - gy, kx - gx) < 0.13
        weight = pattern * disc
        assert (weight * ky).sum() / weight.sum() == pytest.approx(gy, abs=0.01)
        assert (weight * kx).sum() / weight.sum() == pytest.approx(gx, abs=0.01)
        mirrored = np.hypot(ky - gx, kx - gy) < 0.05
        assert pattern[np.hypot(ky - gy, kx - gx) < 0.05].mean() > 5 * pattern[mirrored].mean()


def test_a_window_is_nearly_the_whole_scene(rng):
    atoms = Atoms("C1000O500", positions=rng.uniform(0, (40, 44, 16), (1500, 3)))
    scene = scene_of(atoms, size=(44.0, 40.0), thickness=16.0)
    assert probe_window(PROBE, 16.0) < 12
    # The last places look over the edge, where the scene begins again.
    scan = Scan(origin_a=(30.0, 3.0), step_a=6.0, shape=(3, 2))
    pixels = PatternPixels(shape=(31, 31), reciprocal_pixel_size_per_a=0.1)
    settings = Multislice(sampling_a=0.14)
    options = {"pixels": pixels, "settings": settings}
    whole = scanned_patterns(scene, PROBE, scan, **options, window_a=WHOLE).compute()
    part = scanned_patterns(scene, PROBE, scan, **options).compute()
    difference = np.abs(part - whole).sum(axis=(2, 3))
    assert difference.max() < 0.03
    # Most of that is the blurred rim of the disc, everywhere the same; what the atoms make of the
    # pattern changes from place to place as it does in the whole scene.
    truly, nearly = (p - p.mean(axis=(0, 1)) for p in (whole, part))
    assert np.abs(nearly - truly).sum() < 0.15 * np.abs(truly).sum()


def test_default_settings_keep_the_stated_error():
    """On a material, a matrix and a beam that the settings were not tuned on."""
    phase = load_phase("Li2O")
    grain = Grain(
        phase=phase,
        diameter_a=14.0,
        centre_a=(9.0, 9.0, 10.0),
        orientation=zone_axis_orientation(phase, (1, 1, 0), in_plane_deg=13.0),
    )
    scene = film_scene((18.0, 18.0), 20.0, [grain], seed=3, matrix="carbon")
    probe = Probe(beam_energy_kev=200.0, semi_convergence_mrad=24.0)
    scan = Scan(origin_a=(1.0, 1.0), step_a=5.4, shape=(3, 3))
    bright = {
        "bf": AnnularDetector(inner_mrad=0.0, outer_mrad=24.0),
        "abf": annular_bright_field(probe),
    }
    dark = {"adf": AnnularDetector(inner_mrad=30.0, outer_mrad=60.0)}

    def images(detectors, settings=None):
        return scanned_images(
            scene, probe, scan, detectors=detectors, settings=settings, window_a=WHOLE
        )

    truth = images(bright | dark, Multislice(sampling_a=0.055, slice_thickness_a=0.5))

    def error(image, name):
        return np.sqrt(np.mean((image - truth[name]) ** 2))

    seen = images(bright) | images(dark)
    for name in ("abf", "adf"):
        assert error(seen[name], name) < 0.03 * truth[name].std()
    assert seen["adf"].mean() == pytest.approx(truth["adf"].mean(), rel=0.01)
    assert error(seen["bf"], "bf") < 0.015 * (1 - truth["bf"].mean())
    # What is fine enough for the image of a plane wave is not fine enough here.
    plane = images(bright, multislice_for(0.02, beam_energy_kev=200.0))
    assert error(plane["abf"], "abf") > 0.06 * truth["abf"].std()


def test_memory_parts_the_work_and_not_the_result(gas):
    scan = Scan(origin_a=(3.0, 5.0), step_a=0.7, shape=(5, 4))
    settings = Multislice(sampling_a=0.16)
    pixels = PatternPixels(shape=(16, 16), reciprocal_pixel_size_per_a=0.1)

    def patterns(limit):
        return scanned_patterns(
            gas, PROBE, scan, pixels=pixels, settings=settings, memory_limit_gb=limit
        )

    def needed(limit):
        return scan_cost(
            gas, PROBE, scan, detectors=pixels, settings=settings, memory_limit_gb=limit
        ).memory_gb

    tight = needed(1.0) / 4
    assert needed(tight) < tight
    with dask.config.set(scheduler="synchronous"):
        narrow = patterns(tight).compute()
    np.testing.assert_allclose(narrow, patterns(1.0).compute(), rtol=1e-4, atol=1e-8)
    single = nanobeam_pattern(
        gas, PROBE, (3.0 + 2.1, 5.0 + 1.4), pixels=pixels, settings=settings, window_a=WHOLE
    )
    assert np.abs(narrow[3, 2] - single).sum() < 0.1


def test_phonons_scatter_to_high_angles(rng):
    scene = scene_of(column("Cu", 12.0, 10.0, count=12), thickness=24.0)
    scan = Scan(origin_a=(12.0, 10.0), step_a=0.3, shape=(1, 3))
    options = {
        "detectors": {"haadf": AnnularDetector(inner_mrad=70.0, outer_mrad=90.0)},
        "settings": Multislice(sampling_a=0.07, slice_thickness_a=2.0),
    }
    rest = scanned_images(scene, PROBE, scan, **options)["haadf"]
    shaken = Vibrations(rms_a={"Cu": 0.12}, configurations=6)
    moving = scanned_images(scene, PROBE, scan, **options, vibrations=shaken, rng=rng)["haadf"]
    still = Vibrations(rms_a={"Cu": 0.0}, configurations=1)
    same = scanned_images(scene, PROBE, scan, **options, vibrations=still, rng=rng)["haadf"]
    assert moving[0, 2] > 1.1 * rest[0, 2]
    np.testing.assert_allclose(same, rest, rtol=1e-4)


def test_recorded_electrons_are_poisson_and_do_not_depend_on_chunks(rng):
    import dask.array as da

    share = np.full((20, 24, 4, 5), 1 / 20, dtype=np.float32)
    detector = Detector(dqe0=0.5, gain=3.0)
    lazy = record_patterns(
        da.from_array(share, chunks=(7, 9, 4, 2)), electrons=80.0, detector=detector, rng=rng
    )
    counts = lazy.compute() / 3.0
    # 9600 pixels of 2 electrons: 4 standard errors of the mean and of the variance.
    assert counts.mean() == pytest.approx(2, abs=4 * np.sqrt(2 / 9600))
    assert counts.var() == pytest.approx(2, abs=4 * np.sqrt((2 + 2 * 2**2) / 9600))
    first, second = (
        record_patterns(
            da.from_array(share, chunks=chunks), electrons=80.0, rng=np.random.default_rng(3)
        ).compute()
        for chunks in ((20, 24, 4, 5), (1, 5, 2, 5))
    )
    np.testing.assert_array_equal(first, second)
    assert np.abs(first[0, 0] - first[0, 1]).sum() > 0


def test_recorded_images_count_the_dose_of_a_step(rng):
    scan = Scan(origin_a=(0.0, 0.0), step_a=0.5, shape=(100, 100))
    counts = record_counts(
        np.full(scan.shape, 0.2), dose_e_per_a2=400.0, pixel_size_a=scan.step_a, rng=rng
    )
    assert counts.mean() == pytest.approx(20, abs=4 * np.sqrt(20 / 1e4))
    assert counts.var() == pytest.approx(20, rel=4 * np.sqrt(2 / 1e4))


def test_a_source_widens_a_point_into_its_image():
    point = np.zeros((61, 61))
    point[30, 30] = 1
    image = blurred_by_source(point, step_a=0.2, source_fwhm_a=1.6)
    assert image.sum() == pytest.approx(1, abs=1e-4)
    assert image[30, 34] == pytest.approx(image[30, 30] / 2, rel=0.01)
    np.testing.assert_allclose(blurred_by_source(point, step_a=0.2, source_fwhm_a=0.0), point)


def test_cost_follows_the_work(gas):
    scan = Scan(origin_a=(0.0, 0.0), step_a=4.0, shape=(4, 4))

    def cost(**changes):
        options = {"detectors": {"df": DARK}, "window_a": WHOLE} | changes
        return scan_cost(gas, PROBE, options.pop("scan", scan), **options)

    assert cost(configurations=3).time_s == pytest.approx(3 * cost().time_s)
    assert cost(scan=replace(scan, shape=(16, 16))).time_s == pytest.approx(
        16 * cost().time_s, rel=0.3
    )
    assert cost(window_a=None).time_s < 0.7 * cost().time_s
    coarse, fine = (cost(settings=Multislice(sampling_a=s)) for s in (0.12, 0.06))
    assert fine.memory_gb == pytest.approx(4 * coarse.memory_gb, rel=0.2)
    wide = {"df": AnnularDetector(inner_mrad=60.0, outer_mrad=100.0)}
    assert cost(detectors=wide).memory_gb > 2 * cost().memory_gb


def test_a_scan_in_the_coordinates_of_the_image():
    class Model:
        field_a = (50.0, 80.0)
        margin_a = 20.0

    scan = interphase_scan(Model(), step_a=4.0)
    assert scan.shape == (12, 20)
    assert scan.origin_a == (20.0, 20.0)
    part = interphase_scan(Model(), step_a=2.0, origin_a=(10.0, 30.0), shape=(3, 5))
    assert part.places_a()[-1, -1].tolist() == [20.0 + 14.0, 20.0 + 30.0 + 8.0]
    with pytest.raises(ParameterError, match=r"leaves the field of 50 × 80 Å: give fewer places"):
        interphase_scan(Model(), step_a=2.0, origin_a=(10.0, 30.0), shape=(30, 5))


def test_what_cannot_be_is_refused(gas):
    scan = Scan(origin_a=(0.0, 0.0), step_a=1.0, shape=(2, 2))
    wide = {"adf": AnnularDetector(inner_mrad=60.0, outer_mrad=200.0)}
    with pytest.raises(
        ParameterError, match=r"do not reach 200 mrad: give a sampling of 0\.0323 Å"
    ):
        scanned_images(gas, PROBE, scan, detectors=wide, settings=Multislice(sampling_a=0.1))
    with pytest.raises(ParameterError, match="there is no detector"):
        scanned_images(gas, PROBE, scan, detectors={})
    with pytest.raises(ParameterError, match=r"one probe in a window of .* needs about .* GB"):
        scanned_images(gas, PROBE, scan, detectors={"df": DARK}, memory_limit_gb=1e-4)
    with pytest.raises(ParameterError, match=r"shows no finer pixels than 0\.05 1/Å"):
        nanobeam_pattern(
            gas,
            PROBE,
            (0.0, 0.0),
            pixels=PatternPixels(shape=(8, 8), reciprocal_pixel_size_per_a=0.01),
        )
    with pytest.raises(ParameterError, match="window_a is -1"):
        scanned_images(gas, PROBE, scan, detectors={"df": DARK}, window_a=-1.0)
    with pytest.raises(ParameterError, match="semi_convergence_mrad is 0"):
        Probe(beam_energy_kev=300.0, semi_convergence_mrad=0)
    with pytest.raises(ParameterError, match="expected 0 <= inner_mrad < outer_mrad"):
        AnnularDetector(inner_mrad=30.0, outer_mrad=20.0)
    with pytest.raises(ParameterError, match=r"shape is \(0, 2\)"):
        Scan(origin_a=(0.0, 0.0), step_a=1.0, shape=(0, 2))
    with pytest.raises(ParameterError, match="electrons is -1"):
        record_patterns(np.zeros((1, 1, 2, 2)), electrons=-1.0, rng=np.random.default_rng(0))
    with pytest.raises(ParameterError, match="source_fwhm_a is -1"):
        blurred_by_source(np.zeros((2, 2)), step_a=1.0, source_fwhm_a=-1.0)
