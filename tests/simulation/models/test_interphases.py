"""Interphases in atoms, and the truth about them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from interphase.errors import ParameterError
from interphase.phases import load_phase
from interphase.simulation.imaging.conditions import sample_window
from interphase.simulation.models.architectures import (
    ARCHITECTURES,
    Interphase,
    InterphaseRanges,
    Layer,
    Packing,
    Population,
    Structure,
    sample_interphase,
)
from interphase.simulation.models.bodies import (
    CRYSTAL_CLEARANCE_A,
    MATRIX_CLEARANCE_A,
    label_points,
)
from interphase.simulation.models.geometry import Wave
from interphase.simulation.models.interphases import DepthRange, build_interphase
from interphase.simulation.models.matrices import SHORTEST_A, fill_matrix
from interphase.simulation.models.truth import interphase_truth

MARGIN = 8.0


def recipe(**changes) -> Interphase:
    """A small mosaic on lithium, edge-on and smooth unless changed."""
    grains = (
        Population(phase="Li2O", volume_fraction=0.12, diameter_a=18.0),
        Population(phase="LiF", volume_fraction=0.08, diameter_a=16.0, shape="faceted"),
    )
    standard = Interphase(
        architecture="test",
        structure=Structure.MOSAIC,
        electrode="Li",
        layers=(Layer(name="all", thickness_a=50.0, matrix="LEDC", populations=grains),),
        foil_thickness_a=45.0,
        length_a=60.0,
        electrode_width_a=20.0,
        outside_width_a=16.0,
        seed=5,
    )
    return replace(standard, **changes)


def shape_of(model, pixel_size_a):
    return tuple(int(extent / pixel_size_a) for extent in model.field_a)


@pytest.fixture(scope="module")
def mosaic():
    return build_interphase(recipe(), margin_a=MARGIN)


def assert_no_overlap(model):
    """No two atoms are closer than their elements allow, or their bodies where they meet."""
    atoms, bodies = model.scene.atoms, model.scene.bodies
    box = atoms.cell.lengths() + np.array([0, 0, 10])  # periodic across the beam alone
    tree = cKDTree(atoms.positions % box, boxsize=box)
    i, j = tree.query_pairs(MATRIX_CLEARANCE_A, output_type="ndarray").T
    step = np.abs(atoms.positions[i] - atoms.positions[j])
    distance = np.linalg.norm(np.minimum(step, box - step), axis=1)
    crystal = np.array([body.phase is not None for body in bodies])
    body, material = atoms.arrays["body"], np.array([body.material for body in bodies])
    of_crystal = crystal[body[i]] | crystal[body[j]]
    both = crystal[body[i]] & crystal[body[j]]
    meet = body[i] != body[j]
    assert distance.min() > 0.94  # O-H in lithium hydroxide is 0.947 Å
    assert (distance[both & meet] >= CRYSTAL_CLEARANCE_A).all()
    assert not (of_crystal & ~both).any()
    assert not (~of_crystal & (material[body[i]] != material[body[j]])).any()
    symbols = np.array(atoms.get_chemical_symbols())
    symbols, distance = symbols[np.stack([i, j])][:, ~of_crystal], distance[~of_crystal]
    shortest = [SHORTEST_A[frozenset(pair)] for pair in symbols.T]
    assert (distance - shortest > -1e-9).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_is_built_with_no_atom_upon_another(architecture):
    small = InterphaseRanges(
        thickness_a=(50, 60),
        foil_thickness_a=(45, 50),
        length_a=(50, 60),
        grain_diameter_a=(25, 40),
        crystallite_diameter_a=(15, 22),
    )
    drawn = sample_interphase(architecture, np.random.default_rng(7), ranges=small)
    if architecture == "extended":  # thinner than real, so that the test is quick
        thinner = tuple(replace(x, thickness_a=x.thickness_a / 3) for x in drawn.layers)
        drawn = replace(drawn, layers=thinner)
    model = build_interphase(drawn, margin_a=MARGIN)
    assert_no_overlap(model)
    truth = interphase_truth(model, pixel_size_a=2.0, shape=shape_of(model, 2.0))
    total = sum(truth.projected_thickness_a.values())
    assert total.max() <= model.scene.thickness_a * (1 + 1e-5)
    if drawn.structure is Structure.AMORPHOUS:
        assert truth.crystalline_fraction == 0
        assert truth.crystallites == ()
    else:
        assert truth.crystalline_fraction > 0


def test_the_same_recipe_gives_the_same_atoms(mosaic):
    again = build_interphase(recipe(), margin_a=MARGIN)
    assert np.array_equal(again.scene.atoms.positions, mosaic.scene.atoms.positions)
    other = build_interphase(recipe(seed=6), margin_a=MARGIN)
    assert len(other.scene.atoms) != len(mosaic.scene.atoms)


def test_projected_volume_is_that_of_the_crystallites(mosaic):
    truth = interphase_truth(mosaic, pixel_size_a=1.0, shape=shape_of(mosaic, 1.0))
    # The margin holds crystallites that no image shows, and parts of some that it does.
    assert len(truth.crystallites) > 5
    everywhere = sum(row.volume_a3 for row in mosaic.scene.truths if row.region == "all")
    assert sum(row.volume_a3 for row in truth.crystallites) < 0.95 * everywhere
    for phase in ("Li2O", "LiF"):
        projected = truth.projected_thickness_a[phase].sum()
        expected = sum(row.volume_a3 for row in truth.crystallites if row.phase == phase)
        assert projected == pytest.approx(expected, rel=0.05)


def test_crystallites_lie_where_the_map_shows_their_phase(mosaic):
    truth = interphase_truth(mosaic, pixel_size_a=1.0, shape=shape_of(mosaic, 1.0))
    rows, columns = truth.depth_a.shape
    inside = 0
    for row in truth.crystallites:
        i, j = (round(value) for value in row.centre_a[:2])
        if 0 <= i < rows and 0 <= j < columns:
            inside += 1
            assert truth.projected_fraction(row.phase)[i, j] > 0.2
    assert inside > 3


@pytest.fixture(scope="module")
def dense():
    """Layers that crystals fill, one of columns and one of grains, on a round electrode."""
    grain = Population(
        phase="LiF", volume_fraction=1.0, diameter_a=25.0, texture=(2, 0, 0), strain=0.004
    )
    faulted = replace(grain, phase="Cu", texture=None, strain=0.0, stacking_faults=0.3)
    columns = Layer(
        name="columns",
        thickness_a=25.0,
        packing=Packing.COLUMNAR,
        populations=(replace(grain, texture_spread_deg=0.0),),
    )
    anyhow = Layer(
        name="anyhow",
        thickness_a=30.0,
        packing=Packing.GRAINS,
        populations=(replace(grain, volume_fraction=0.5), replace(faulted, volume_fraction=0.5)),
    )
    waves = (Wave(amplitude_a=6.0, period_a=70.0, direction_deg=30.0, phase_deg=0.0),)
    made = recipe(
        layers=(columns, anyhow), radius_a=120.0, tilt_deg=5.0, outside="LEDC", unevenness=waves
    )
    return build_interphase(made, margin_a=MARGIN)


def test_grains_leave_no_gap_and_no_overlap(dense, rng):
    assert_no_overlap(dense)
    y, x = dense.scene.size_a
    points = rng.uniform(0, (x, y, dense.scene.thickness_a), (20_000, 3))
    bodies = dense.scene.bodies
    labels = label_points(bodies, points)
    assert labels.min() == 0
    for low, high, region in ((0, 25, "columns"), (25, 55, "anyhow")):
        inside = dense.depth_range(low, high).contains(points)
        assert {bodies[i].region for i in np.unique(labels[inside])} == {region}


def test_the_table_tells_layers_strain_and_phases_apart(dense):
    truth = interphase_truth(dense, pixel_size_a=2.0, shape=shape_of(dense, 2.0))
    assert {row.region for row in truth.crystallites} == {"columns", "anyhow"}
    assert truth.crystalline_fraction == 1
    strains = [np.array(row.strain) for row in truth.crystallites if row.phase == "LiF"]
    assert all((s == s.T).all() and 0 < np.abs(s).max() < 0.03 for s in strains)
    assert all(row.strain is None for row in truth.crystallites if row.phase == "Cu")
    entries = np.array([s[np.triu_indices(3)] for s in strains]).ravel()
    assert entries.std() == pytest.approx(0.004, rel=5 / np.sqrt(2 * len(entries)))


def test_columns_on_a_round_electrode_face_away_from_its_axis(dense):
    phase = load_phase("LiF")
    normal = np.array([2, 0, 0]) @ phase.reciprocal_vectors
    columns = [body for body in dense.scene.bodies if body.region == "columns"]
    seeds = np.array([body.shape.shapes[0].centre_a for body in columns])
    outwards = dense.interface.normals(seeds)
    facing = np.array([body.orientation.matrix @ normal for body in columns])
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    np.testing.assert_allclose(facing, outwards, atol=1e-9)
    assert np.ptp(outwards[:, 1]) > 0.3  # they do point in different directions


def test_atoms_of_a_strained_grain_lie_on_its_strained_lattice(dense):
    atoms, bodies = dense.scene.atoms, dense.scene.bodies
    strained = [i for i, body in enumerate(bodies) if body.strain is not None]
    index = max(strained, key=lambda i: (atoms.arrays["body"] == i).sum())
    body = bodies[index]
    mine = atoms[atoms.arrays["body"] == index]
    fluorine = mine.positions[mine.symbols == "F"]
    vectors = body.phase.lattice_vectors @ body.orientation.matrix.T @ (np.eye(3) + body.strain)
    steps = (fluorine - fluorine[0]) @ np.linalg.inv(vectors) * 2
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-8)
    unstrained = (fluorine - fluorine[0]) @ body.orientation.matrix / body.phase.lattice[0] * 2
    assert np.abs(unstrained - np.rint(unstrained)).max() > 1e-3


def test_thickness_is_that_of_the_field_and_not_of_the_recipe():
    # Half a period is in view, whose mean is 2/π of the amplitude above the mean thickness.
    wave = Wave(amplitude_a=6.0, period_a=120.0, direction_deg=0.0, phase_deg=0.0)
    glass = (Layer(name="glass", thickness_a=50.0, matrix="LEDC"),)
    model = build_interphase(recipe(layers=glass, unevenness=(wave,)), margin_a=MARGIN)
    truth = interphase_truth(model, pixel_size_a=1.0, shape=shape_of(model, 1.0))
    assert truth.thickness_a == pytest.approx(50 + 6 * 2 / np.pi, abs=0.2)
    assert truth.thickness_std_a == pytest.approx(6 * np.sqrt(0.5 - 4 / np.pi**2), abs=0.2)
    assert truth.thickness_in_view == 1
    cut = build_interphase(
        recipe(layers=glass, unevenness=(wave,), outside_width_a=4.0), margin_a=MARGIN
    )
    truth = interphase_truth(cut, pixel_size_a=1.0, shape=shape_of(cut, 1.0))
    # Thicker than 4 Å more where the cosine is above 2/3, which is 0.535 of the half period.
    assert truth.thickness_in_view == pytest.approx(1 - 0.535, abs=0.1)


def test_layers_of_one_matrix_meet_without_a_seam():
    layers = tuple(Layer(name=name, thickness_a=25.0, matrix="LiPON") for name in ("in", "out"))
    model = build_interphase(recipe(layers=layers, foil_thickness_a=80.0), margin_a=MARGIN)
    depth = model.interface.depth(model.scene.atoms.positions)
    expected = len(fill_matrix("LiPON", (60, 60), 60, rng=np.random.default_rng(0))) / 60**3
    volume = 2.0 * model.scene.size_a[0] * model.scene.thickness_a
    here = (np.abs(depth - 25) < 1).sum()
    assert here == pytest.approx(expected * volume, abs=5 * np.sqrt(expected * volume))


def test_little_is_reached_as_it_was_asked_for():
    grains = (Population(phase="Li2O", volume_fraction=0.05, diameter_a=15.0),)
    layer = Layer(name="all", thickness_a=80.0, matrix="LEDC", populations=grains)
    reached = []
    for seed in range(12):
        made = recipe(layers=(layer,), seed=seed)
        model = build_interphase(made, margin_a=0.0)
        rows = [row.volume_a3 for row in model.scene.truths if row.region == "all"]
        reached.append(sum(rows) / (80 * 60 * 45))
    error = np.std(reached) / np.sqrt(len(reached))
    assert np.mean(reached) == pytest.approx(0.05, abs=5 * error)
    assert error < 0.003


def test_atoms_fill_their_layers_at_their_density(mosaic):
    atoms, lithium = mosaic.scene.atoms, load_phase("Li")
    depth = mosaic.interface.depth(atoms.positions)
    within = (depth < -4) & (depth > -16)
    volume = 12.0 * mosaic.scene.size_a[0] * mosaic.scene.thickness_a
    expected = len(lithium.species) / abs(np.linalg.det(lithium.lattice_vectors))
    assert within.sum() / volume == pytest.approx(expected, rel=0.03)
    assert set(atoms.symbols[within]) == {"Li"}
    assert not (depth > 50 + 0.5).any()


def test_the_depth_profile_finds_layers_in_their_order():
    inner = Layer(name="inner", thickness_a=25.0, matrix="LEDC")
    grain = Population(phase="Li2O", volume_fraction=1.0, diameter_a=25.0)
    outer = Layer(name="outer", thickness_a=25.0, packing=Packing.COLUMNAR, populations=(grain,))
    model = build_interphase(
        recipe(layers=(inner, outer), structure=Structure.LAYERED, tilt_deg=6.0), margin_a=MARGIN
    )
    truth = interphase_truth(model, pixel_size_a=1.5, shape=shape_of(model, 1.5))
    profile = truth.profile
    at = {depth: i for i, depth in enumerate(profile.depth_a.tolist())}
    assert profile.fraction["Li"][at[-7.5]] == pytest.approx(1, abs=0.01)
    assert profile.fraction["LEDC"][at[12.5]] == pytest.approx(1, abs=0.01)
    assert profile.fraction["Li2O"][at[37.5]] == pytest.approx(1, abs=0.01)
    assert truth.crystalline_fraction == pytest.approx(0.5, abs=0.03)
    assert all(row.phase == "Li2O" for row in truth.crystallites)


def test_tilt_widens_a_boundary_by_thickness_times_tangent():
    model = build_interphase(recipe(tilt_deg=20.0), margin_a=MARGIN)
    truth = interphase_truth(model, pixel_size_a=0.5, shape=shape_of(model, 0.5))
    profile = truth.projected_fraction("Li").mean(axis=0)
    width = 0.5 * (profile > 0.98).sum(), 0.5 * (profile > 0.02).sum()
    assert width[1] - width[0] == pytest.approx(45 * np.tan(np.deg2rad(20)), abs=2.0)


@pytest.mark.parametrize(("normal_deg", "rows_differ"), [(0, False), (180, False), (90, True)])
def test_the_electrode_lies_at_its_edge_of_the_image(normal_deg, rows_differ):
    model = build_interphase(recipe(normal_deg=float(normal_deg)), margin_a=MARGIN)
    truth = interphase_truth(model, pixel_size_a=2.0, shape=shape_of(model, 2.0))
    metal = truth.projected_fraction("Li").mean(axis=1 if rows_differ else 0)
    first, last = (metal[0], metal[-1]) if normal_deg != 180 else (metal[-1], metal[0])
    assert (first, last) == pytest.approx((1, 0))
    assert (truth.depth_a[0, 0] < 0) == (normal_deg != 180)


def test_an_uneven_interphase_ends_where_its_own_thickness_says():
    from interphase.simulation.models.geometry import Interface

    wave = Wave(amplitude_a=10.0, period_a=100.0, direction_deg=0.0, phase_deg=0.0)
    layer = DepthRange(
        interface=Interface(point_a=(0.0, 0.0, 0.0)),
        low_a=25.0,
        high_a=50.0,
        thickness_a=50.0,
        unevenness=(wave,),
        box_a=(100.0, 100.0, 50.0),
    )
    crest = np.array([[x, 0.0, 0.0] for x in (29.0, 31.0, 59.0, 61.0)])
    valley = np.array([[x, 50.0, 0.0] for x in (19.0, 21.0, 39.0, 41.0)])
    assert layer.contains(crest).tolist() == [False, True, True, False]
    assert layer.contains(valley).tolist() == [False, True, True, False]


def test_a_window_is_the_same_wave_sampled_elsewhere():
    rng = np.random.default_rng(2)
    fine = rng.random((24, 30))
    same = sample_window(fine, (12.0, 15.0), origin_a=(0.0, 0.0), pixel_size_a=0.4999, shape=(1, 1))
    part = sample_window(
        fine - fine.mean(), (12.0, 15.0), origin_a=(1.0, 2.0), pixel_size_a=0.49, shape=(3, 4)
    )
    shifted = np.roll(fine - fine.mean(), (-2, -4), axis=(0, 1))
    # The frequency at Nyquist's is left out, and no other.
    limited = np.fft.fft2(shifted)
    limited[12], limited[:, 15] = 0, 0
    assert part[0, 0] == pytest.approx(np.fft.ifft2(limited).real[0, 0], abs=1e-5)
    assert same.shape == (1, 1)


def test_cold_crystals_have_the_cells_that_their_phases_have_when_cold():
    warm, cold = (
        build_interphase(
            recipe(outside="LiF", outside_width_a=10.0, temperature_k=temperature),
            margin_a=MARGIN,
        )
        for temperature in (None, 90.0)
    )
    bodies = [
        [body for body in model.scene.bodies if body.phase is not None] for model in (warm, cold)
    ]
    assert {body.region for body in bodies[1]} == {"electrode", "all", "outside"}
    for before, after in zip(*bodies, strict=True):
        assert before.phase.lattice == load_phase(before.material).lattice
        assert after.phase.lattice == load_phase(before.material).at(90.0).lattice
    # The nearest neighbours of lithium, half a body diagonal apart, as atoms.
    distances = []
    for model in (warm, cold):
        body = next(i for i, b in enumerate(model.scene.bodies) if b.region == "electrode")
        atoms = model.scene.atoms
        places = atoms.positions[atoms.arrays["body"] == body]
        distances.append(np.median(cKDTree(places).query(places, k=2)[0][:, 1]))
    shrunk = load_phase("Li").at(90.0).lattice[0] / load_phase("Li").lattice[0]
    assert shrunk < 0.999
    assert distances[1] / distances[0] == pytest.approx(shrunk, abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"electrode": "Unobtainium"}, "electrode 'Unobtainium' is unknown: give one of"),
        ({"outside": "air"}, "outside 'air' is unknown"),
        ({"layers": ()}, "at least one Layer"),
        ({"electrode_width_a": 0.0}, "electrode_width_a is 0.0: expected a length > 0"),
        ({"outside_width_a": -1.0}, "outside_width_a is -1.0: expected a length >= 0"),
        ({"temperature_k": 0.0}, "temperature_k is 0.0: expected a temperature > 0 K"),
        ({"foil_thickness_a": 15.0}, r"give at most 10 Å, or a layer and a foil of at least 23 Å"),
        ({"tilt_deg": 90.0}, "plan view"),
        (
            {"layers": (Layer(name="outside", thickness_a=30.0, matrix="LEDC"),)},
            "a layer is called 'outside'",
        ),
        (
            {"layers": (Layer(name="all", thickness_a=30.0, matrix="jelly"),)},
            "matrix of layer 'all' 'jelly' is unknown: give one of LAGP-reacted, LEDC",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_with_what_can(changes, said):
    with pytest.raises(ParameterError, match=said):
        build_interphase(recipe(**changes), margin_a=MARGIN)


def test_a_layer_to_be_filled_by_crystals_needs_crystals():
    bare = Layer(name="outer", thickness_a=30.0, packing=Packing.COLUMNAR)
    with pytest.raises(ParameterError, match="'outer' is to be filled by crystals"):
        build_interphase(recipe(layers=(bare,)), margin_a=MARGIN)


def test_an_image_larger_than_the_field_is_refused(mosaic):
    with pytest.raises(ParameterError, match=r"give at most 60 × 86 pixels"):
        interphase_truth(mosaic, pixel_size_a=1.0, shape=(100, 86))
