"""Interphases in atoms: a recipe becomes bodies, bodies become atoms and truth."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.checks import check_not_negative
from interphase.simulation.models.architectures import (
    GAP_A,
    Interphase,
    Layer,
    Packing,
    Population,
)
from interphase.simulation.models.bodies import Body
from interphase.simulation.models.checks import ATOMS_PER_A3, check_atoms, check_name
from interphase.simulation.models.crystallites import (
    Orientation,
    is_cubic,
    near_zone_axis,
    random_orientation,
    strong_zone_axes,
    textured_orientation,
)
from interphase.simulation.models.geometry import Interface, Wave, height
from interphase.simulation.models.matrices import MATRICES
from interphase.simulation.models.scene import Scene, scene_from_bodies
from interphase.simulation.models.shapes import (
    Ellipsoid,
    Point,
    Polyhedron,
    Shape,
    Sphere,
    grains,
    wulff,
)

if TYPE_CHECKING:
    from interphase.phases import Phase

MARGIN_A = 20.0
"""What is simulated beyond the field on every side, because multislice wraps around [Å]."""
ELECTRODE, OUTSIDE = "electrode", "outside"
"""Regions of a specimen beside its layers, see `Body.region`."""
_THROWS_PER_CRYSTALLITE = 2000
_MOST_CRYSTALLITES = 10_000
"""Layers of more crystallites take hours: each is kept apart from all others."""
_THINNEST = 0.2
"""Thickness of the thinnest place over the mean."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthRange:
    """Everything between two depths below a surface; a `Shape`.

    Outside the electrode depths are stretched where the interphase is uneven, so that a
    boundary at the mean thickness follows the true one.
    """

    interface: Interface
    """The surface."""
    low_a: float
    """Least depth [Å]."""
    high_a: float
    """Depth it ends before [Å]."""
    thickness_a: float = 0.0
    """Mean thickness of the interphase [Å]."""
    unevenness: tuple[Wave, ...] = ()
    """What the interphase is thicker by, from place to place."""
    box_a: tuple[float, float, float]
    """Extent (x, y, z) of the scene, beyond which nothing is asked [Å]."""

    def stretched_depth(self, points: np.ndarray) -> np.ndarray:
        """Return the depth [Å] at which a point (x, y, z) would lie in an even interphase."""
        depth, along, across = self.interface.coordinates(points)
        if not self.unevenness:
            return depth
        stretch = self.thickness_a / self.local_thickness(along, across)
        return np.where(depth > 0, depth * stretch, depth)

    def local_thickness(self, along: np.ndarray, across: np.ndarray) -> np.ndarray:
        """Return the thickness of the interphase [Å] at places along and across it [Å].

        A thin place does not vanish, or its layers would change order.
        """
        here = self.thickness_a + height(self.unevenness, along, across)
        thickness: np.ndarray = np.maximum(here, _THINNEST * self.thickness_a)
        return thickness

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Return which points (x, y, z) [Å] of shape (..., 3) lie within."""
        depth = self.stretched_depth(points)
        return (depth >= self.low_a) & (depth < self.high_a)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest (x, y, z) within the scene [Å]."""
        uneven = sum(abs(wave.amplitude_a) for wave in self.unevenness)
        uneven /= self.thickness_a if self.unevenness else 1.0
        low = self.low_a * max(1 - uneven, _THINNEST) if self.low_a > 0 else self.low_a
        high = self.high_a * (1 + uneven) if self.high_a > 0 else self.high_a
        return self.interface.bounds(low, high, self.box_a)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InterphaseModel:
    """The atoms of an interphase, what they were made by, and where its surface runs."""

    recipe: Interphase
    """What was asked for."""
    scene: Scene
    """Atoms and bodies, `margin_a` larger than the field on every side."""
    interface: Interface
    """The surface of the electrode, in the scene's coordinates."""
    margin_a: float
    """What to cut from every side of an image [Å]."""

    @property
    def field_a(self) -> tuple[float, float]:
        """Extent (y, x) of the field that an image should show [Å]."""
        y, x = self.scene.size_a
        return y - 2 * self.margin_a, x - 2 * self.margin_a

    def depth_range(self, low_a: float, high_a: float) -> DepthRange:
        """Return the part of the scene between two depths [Å]."""
        y, x = self.scene.size_a
        box = np.array([x, y, self.scene.thickness_a])
        return _depth_range(self.recipe, self.interface, low_a, high_a, box)


def build_interphase(recipe: Interphase, *, margin_a: float = MARGIN_A) -> InterphaseModel:
    """Return the atoms of an interphase.

    Crystallites in a matrix are thrown at random, largest first, and lie whole within their layer
    and the foil; one for which no place is found is left out. The volume fraction reached is
    therefore less than the one asked for: nine tenths of it in the median of `sample_interphase`,
    and down to half where crystallites are nearly as large as their layer. The truth says what
    was reached. Grains that touch are the cells of random seeds and fill their layer.

    Parameters
    ----------
    recipe
        What is wanted; `sample_interphase` draws one.
    margin_a
        What is made beyond the field on every side [Å].

    Returns
    -------
    InterphaseModel
        The same recipe gives the same atoms.

    Raises
    ------
    ParameterError
        A material is unknown, a crystallite is larger than its layer or the foil, or there would
        be too many crystallites or atoms.
    """
    check_not_negative(margin_a=margin_a)
    _check(recipe)
    rng = np.random.default_rng(recipe.seed)
    size, interface = _lay_out(recipe, margin_a)
    _check_cost(recipe, size)
    foil = recipe.foil_thickness_a
    box = np.array([size[1], size[0], foil])

    def between(low: float, high: float) -> DepthRange:
        return _depth_range(recipe, interface, low, high, box)

    bodies = [_electrode(recipe, between(-np.inf, 0.0), rng)]
    matrices: list[Body] = []
    depth = 0.0
    for layer in recipe.layers:
        end = depth + layer.thickness_a
        within = between(depth, end)
        if layer.packing is Packing.EMBEDDED:
            bodies += _embedded(layer, within, recipe.temperature_k, rng)
        else:
            bodies += _packed(layer, within, recipe.temperature_k, rng)
        if layer.matrix is not None:
            matrices.append(Body(material=layer.matrix, shape=within, region=layer.name))
        depth = end
    beyond = between(depth, np.inf)
    if recipe.outside in MATRICES:
        matrices.append(Body(material=recipe.outside, shape=beyond, region=OUTSIDE))
    elif recipe.outside != "vacuum":
        bodies.append(_outer_crystal(recipe, beyond, bodies, rng))
    scene = scene_from_bodies(
        (*bodies, *matrices),
        size_a=size,
        thickness_a=foil,
        seed=int(rng.integers(2**32)),
        matrix=next((layer.matrix for layer in recipe.layers if layer.matrix), "vacuum"),
    )
    return InterphaseModel(recipe=recipe, scene=scene, interface=interface, margin_a=margin_a)


def _check(recipe: Interphase) -> None:
    """Refuse what cannot be built, naming the value that could."""
    from interphase.phases import known_phases

    phases, matrices = set(known_phases()), set(MATRICES)
    asked: list[tuple[str, str, set[str]]] = [
        ("electrode", recipe.electrode, phases),
        ("outside", recipe.outside, phases | matrices | {"vacuum"}),
    ]
    for x in recipe.layers:
        if x.matrix is not None:
            asked.append((f"matrix of layer {x.name!r}", x.matrix, matrices))
        asked += [(f"phase in layer {x.name!r}", p.phase, phases) for p in x.populations]
    for name, material, known in asked:
        check_name(name, material, sorted(known))
    for layer in recipe.layers:
        if layer.name in (ELECTRODE, OUTSIDE):
            raise ParameterError(
                f"a layer is called {layer.name!r}, as what lies beside the interphase is: give it "
                "another name"
            )
        if layer.packing is not Packing.EMBEDDED and not layer.populations:
            raise ParameterError(
                f"layer {layer.name!r} is to be filled by crystals ({layer.packing.value}) but has "
                "no population: give one, or a matrix with packing 'embedded'"
            )
        for p in layer.populations if layer.packing is Packing.EMBEDDED else ():
            room = min(layer.thickness_a, recipe.foil_thickness_a) - 2 * GAP_A
            if p.diameter_a > room:
                raise ParameterError(
                    f"crystallites of {p.phase} of {p.diameter_a:.0f} Å do not fit into layer "
                    f"{layer.name!r} of {layer.thickness_a:.0f} Å in a foil of "
                    f"{recipe.foil_thickness_a:.0f} Å: give at most {room:.0f} Å, or a layer and a "
                    f"foil of at least {p.diameter_a + 2 * GAP_A:.0f} Å"
                )


def _check_cost(recipe: Interphase, size: tuple[float, float]) -> None:
    """Refuse what would take hours or all memory, before anything is placed."""
    volume = size[0] * size[1] * recipe.foil_thickness_a
    check_atoms(ATOMS_PER_A3 * volume)
    for layer in recipe.layers:
        if layer.packing is Packing.SINGLE:
            continue
        # No layer is larger than the field, however it is turned.
        part = min(1.0, layer.thickness_a / min(size))
        for p in layer.populations:
            wanted = p.volume_fraction * part * volume / (np.pi / 6 * p.diameter_a**3)
            if wanted > _MOST_CRYSTALLITES:
                larger = np.ceil(p.diameter_a * np.cbrt(wanted / _MOST_CRYSTALLITES))
                raise ParameterError(
                    f"layer {layer.name!r} would hold about {wanted:.2g} crystallites of {p.phase} "
                    f"of {p.diameter_a:.3g} Å: give a diameter of at least {larger:.0f} Å, a lower "
                    "volume fraction or a smaller field"
                )


def _lay_out(recipe: Interphase, margin_a: float) -> tuple[tuple[float, float], Interface]:
    """Return the scene's extent (y, x) [Å] and its interface."""
    across = recipe.electrode_width_a + recipe.thickness_a + recipe.outside_width_a
    azimuth = np.deg2rad(recipe.normal_deg)
    cos, sin = np.cos(azimuth), np.sin(azimuth)
    # A rectangle as long along the image's edges as the turned one is along its own.
    upright = abs(cos) >= abs(sin)
    extents = (recipe.length_a, across) if upright else (across, recipe.length_a)
    size = (extents[0] + 2 * margin_a, extents[1] + 2 * margin_a)
    inwards = recipe.electrode_width_a - across / 2
    point = (
        size[1] / 2 + inwards * float(cos),
        size[0] / 2 + inwards * float(sin),
        recipe.foil_thickness_a / 2,
    )
    interface = Interface(
        point_a=point,
        normal_deg=recipe.normal_deg,
        tilt_deg=recipe.tilt_deg,
        radius_a=recipe.radius_a,
        axis=recipe.axis,
        roughness=recipe.roughness,
    )
    return size, interface


def _depth_range(
    recipe: Interphase, interface: Interface, low_a: float, high_a: float, box: np.ndarray
) -> DepthRange:
    return DepthRange(
        interface=interface,
        low_a=low_a,
        high_a=high_a,
        thickness_a=recipe.thickness_a,
        unevenness=recipe.unevenness,
        box_a=(float(box[0]), float(box[1]), float(box[2])),
    )


def _phase(identifier: str, temperature_k: float | None) -> "Phase":
    from interphase.phases import load_phase

    phase = load_phase(identifier)
    return phase if temperature_k is None else phase.at(temperature_k)


def _crystal(
    phase: "Phase",
    shape: Shape,
    orientation: Orientation,
    region: str,
    population: Population | None = None,
    rng: np.random.Generator | None = None,
) -> Body:
    """Return a crystal, with strain and faults of its own where its population has some."""
    strain = None
    if population is not None and population.strain and rng is not None:
        draw = rng.normal(0, population.strain, (3, 3))
        strain = np.tril(draw) + np.tril(draw, -1).T
    return Body(
        material=phase.identifier,
        shape=shape,
        phase=phase,
        orientation=orientation,
        strain=strain,
        stacking_faults=population.stacking_faults if population else 0.0,
        region=region,
    )


def _bulk_orientation(phase: "Phase", rng: np.random.Generator) -> Orientation:
    """Return how a large crystal lies: half of them near a zone axis, as one would seek them."""
    if rng.random() < 0.5:
        return random_orientation(rng)
    axes = strong_zone_axes(phase)
    return near_zone_axis(phase, axes[int(rng.integers(len(axes)))], float(rng.uniform(0, 3)), rng)


def _electrode(recipe: Interphase, inside: DepthRange, rng: np.random.Generator) -> Body:
    phase = _phase(recipe.electrode, recipe.temperature_k)
    return _crystal(phase, inside, _bulk_orientation(phase, rng), ELECTRODE)


def _outer_crystal(
    recipe: Interphase, beyond: DepthRange, bodies: list[Body], rng: np.random.Generator
) -> Body:
    """Return the solid electrolyte; a single crystal upon it is its skin and lies as it does."""
    phase = _phase(recipe.outside, recipe.temperature_k)
    skin = recipe.layers[-1].packing is Packing.SINGLE and bodies[-1].orientation
    return _crystal(phase, beyond, skin or _bulk_orientation(phase, rng), OUTSIDE)


def _packed(
    layer: Layer, within: DepthRange, temperature_k: float | None, rng: np.random.Generator
) -> Iterator[Body]:
    """Yield crystals that fill a layer and share boundaries."""
    phases = [_phase(p.phase, temperature_k) for p in layer.populations]
    if layer.packing is Packing.SINGLE:
        orientation = _bulk_orientation(phases[0], rng)
        yield _crystal(phases[0], within, orientation, layer.name, layer.populations[0], rng)
        return
    diameter = float(np.mean([p.diameter_a for p in layer.populations]))
    seeds = _seeds(layer, within, diameter, rng)
    shares = np.array([p.volume_fraction for p in layer.populations])
    kinds = rng.choice(len(phases), size=len(seeds), p=shares / shares.sum())
    # A cell of jittered seeds reaches at most 1.6 of their distance, in all directions.
    for cell, seed, kind in zip(
        grains(seeds, within, reach_a=3.2 * diameter), seeds, kinds, strict=True
    ):
        population, phase = layer.populations[kind], phases[kind]
        orientation = _orientation(population, phase, within.interface.normals(seed), rng)
        yield _crystal(phase, cell, orientation, layer.name, population, rng)


def _seeds(
    layer: Layer, within: DepthRange, diameter: float, rng: np.random.Generator
) -> np.ndarray:
    """Return seeds (x, y, z) about `diameter` apart, in a sheet for columns; shape (K, 3)."""
    box = np.array(within.box_a)
    frame = within.interface.frame
    middle = (within.low_a + within.high_a) / 2
    columnar = layer.packing is Packing.COLUMNAR
    levels = 1 if columnar else int(np.ceil((within.high_a - within.low_a) / diameter)) + 1
    aside = int(np.ceil(np.linalg.norm(box) / 2 / diameter)) + 1
    sheet = np.arange(-aside, aside + 1)
    heights = np.arange(levels) - (levels - 1) / 2
    grid = np.stack(np.meshgrid(heights, sheet, sheet, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid + rng.uniform(-0.45, 0.45, grid.shape) * np.array([not columnar, 1, 1])
    # The sheet passes through the middle of the field, wherever the surface has its point.
    centre = box / 2
    depth = within.stretched_depth(centre[None])[0]
    seeds = centre + (middle - depth) * frame[0] + diameter * grid @ frame
    near = ((seeds > -2 * diameter) & (seeds < box + 2 * diameter)).all(axis=1)
    return np.asarray(seeds[near])


def _orientation(
    population: Population, phase: "Phase", normal: np.ndarray, rng: np.random.Generator
) -> Orientation:
    if population.zone_axis_share and rng.random() < population.zone_axis_share:
        axes = strong_zone_axes(phase)
        tilt = population.zone_axis_tilt_deg * float(np.sqrt(rng.random()))
        return near_zone_axis(phase, axes[int(rng.integers(len(axes)))], tilt, rng)
    if population.texture is None:
        return random_orientation(rng)
    return textured_orientation(
        phase, population.texture, normal, population.texture_spread_deg, rng
    )


def _embedded(
    layer: Layer, within: DepthRange, temperature_k: float | None, rng: np.random.Generator
) -> Iterator[Body]:
    """Yield crystallites thrown at random into a layer until its fractions are reached."""
    box = np.array(within.box_a)
    diameters, kinds = _draw_diameters(layer, within, rng)
    room = min(within.high_a - within.low_a, float(box.min())) - 2 * GAP_A
    low, high = within.bounds
    centres = np.empty((0, 3))
    reaches = np.empty(0)
    phases = [_phase(p.phase, temperature_k) for p in layer.populations]
    for diameter, kind in zip(diameters, kinds, strict=True):
        population, phase = layer.populations[kind], phases[kind]
        make = _habit(population, phase, rng)
        whole = make((0.0, 0.0, 0.0), diameter, Orientation(matrix=np.eye(3))).reach_a
        shrunk = min(1.0, room / 2 / whole)
        reach = whole * shrunk + GAP_A / 2
        # One draw of many throws: the first that fits is taken.
        first, last = np.maximum(low, reach), np.minimum(high, box - reach)
        if (first > last).any():
            continue
        throws = rng.uniform(first, last, (_THROWS_PER_CRYSTALLITE, 3))
        depth = within.stretched_depth(throws)
        throws = throws[(depth >= within.low_a + reach) & (depth <= within.high_a - reach)]
        apart = np.linalg.norm(throws[:, None] - centres, axis=2) >= reaches + reach
        free = np.flatnonzero(apart.all(axis=1))
        if not len(free):
            continue
        centre = throws[free[0]]
        centres = np.vstack([centres, centre])
        reaches = np.append(reaches, reach)
        orientation = _orientation(population, phase, within.interface.normals(centre), rng)
        shape = make(tuple(centre.tolist()), diameter * shrunk, orientation)
        yield _crystal(phase, shape, orientation, layer.name, population, rng)


def _draw_diameters(
    layer: Layer, within: DepthRange, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return diameters [Å] that fill the layer as asked, and the index of their population."""
    low, high = within.bounds
    points = rng.uniform(low, high, size=(20_000, 3))
    volume = float(within.contains(points).mean() * (high - low).prod())
    diameters, kinds = [np.empty(0)], [np.empty(0, dtype=int)]
    for kind, population in enumerate(layer.populations):
        wanted = population.volume_fraction * volume
        typical = np.pi / 6 * population.diameter_a**3
        many = 10 + 2 * int(wanted / typical)
        drawn = population.diameter_a * np.exp(rng.normal(0, population.spread, many))
        filled = np.cumsum(np.pi / 6 * drawn**3)
        # Rounded at random, so that the mean fraction is the one asked for.
        enough = int(np.searchsorted(filled, wanted + (rng.random() - 0.5) * typical))
        diameters.append(drawn[:enough])
        kinds.append(np.full(enough, kind))
    all_diameters, all_kinds = np.concatenate(diameters), np.concatenate(kinds)
    order = np.argsort(-all_diameters, kind="stable")
    return all_diameters[order], all_kinds[order]


def _habit(
    population: Population, phase: "Phase", rng: np.random.Generator
) -> Callable[[Point, float, Orientation], Sphere | Ellipsoid | Polyhedron]:
    """Return what makes a shape of its centre, diameter of equal volume and orientation."""
    if population.shape == "ellipsoid":
        lengths = np.array([1.0, *rng.uniform(0.75, 1, 2)])
        lengths /= 2 * np.cbrt(lengths.prod())
        turn = random_orientation(rng).matrix

        def ellipsoid(centre: Point, diameter: float, orientation: Orientation) -> Ellipsoid:
            a, b, c = (lengths * diameter).tolist()
            return Ellipsoid(centre_a=centre, semi_axes_a=(a, b, c), matrix=turn)

        return ellipsoid
    if population.shape == "faceted" and is_cubic(phase):
        energies = {(1, 0, 0): 1.0, (1, 1, 1): float(rng.uniform(0.9, 1.3))}

        def faceted(centre: Point, diameter: float, orientation: Orientation) -> Polyhedron:
            return wulff(
                phase, energies, diameter_a=diameter, orientation=orientation, centre_a=centre
            )

        return faceted
    return lambda centre, diameter, orientation: Sphere(centre_a=centre, diameter_a=diameter)
