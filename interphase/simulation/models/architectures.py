"""Recipes of interphases: what follows what from the electrode outwards, and how it is seen.

A recipe is a record of numbers. `sample_interphase` draws one from stated ranges;
`interphase.simulation.models.interphases` makes atoms and truth of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.models.checks import (
    CRYSTAL,
    EXTENT,
    FINITE,
    LENGTH,
    NON_NEGATIVE,
    SHARE,
    STRAIN,
    TEMPERATURE,
    TILT,
    WIDTH,
    check_fields,
    check_name,
    check_seed,
)
from interphase.simulation.models.geometry import Axis, Wave, draw_roughness

Range = tuple[float, float]
Habit = Literal["sphere", "ellipsoid", "faceted"]

GAP_A = 2.5
"""Crystallites in a matrix stay this far from each other and from where it ends [Å]."""


class Structure(StrEnum):
    """How an interphase is built: the answer that a classification should give."""

    MOSAIC = "mosaic"
    """Crystallites anywhere in a matrix, or grains of several phases anyhow."""
    LAYERED = "layered"
    """Layers of different make; no mixture of phases within one."""
    LAYERED_MOSAIC = "layered_mosaic"
    """A mosaic whose phases change with depth."""
    AMORPHOUS = "amorphous"
    """No crystallites."""


class Packing(StrEnum):
    """How the crystals of a layer fill it."""

    EMBEDDED = "embedded"
    """Apart from each other, in a matrix."""
    COLUMNAR = "columnar"
    """Side by side, each through the whole layer, sharing boundaries."""
    GRAINS = "grains"
    """Grains in all directions, sharing boundaries."""
    SINGLE = "single"
    """One crystal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Crystallites of one phase within a layer."""

    phase: str
    """Identifier of the phase."""
    volume_fraction: float
    """Share of the layer's volume that is asked for; see `build_interphase` for what is reached."""
    diameter_a: float
    """Median diameter of the sphere of equal volume, or distance of grains that touch [Å]."""
    spread: float = 0.2
    """Standard deviation of the logarithm of the diameter."""
    shape: Habit = "sphere"
    """Shape of a crystallite in a matrix."""
    texture: tuple[int, int, int] | None = None
    """Plane that lies along the interface; ``None`` for random orientations."""
    texture_spread_deg: float = 8.0
    """Standard deviation of that plane's inclination about either axis [degrees]."""
    strain: float = 0.0
    """Standard deviation of each component of a crystallite's strain; 0.01 is 1 %."""
    stacking_faults: float = 0.0
    """Chance that a (111) plane does not continue the stacking, see `fill_crystal`."""
    zone_axis_share: float = 0.0
    """Share that lies near a strong zone axis whatever the texture, as crystallites in figures
    do; a recipe that is drawn has none but those of chance."""
    zone_axis_tilt_deg: float = 2.0
    """Largest angle between that axis and the beam [degrees]."""

    def __post_init__(self) -> None:
        check_name("shape", self.shape, get_args(Habit))
        check_fields(
            self,
            volume_fraction=SHARE,
            diameter_a=CRYSTAL,
            spread=NON_NEGATIVE,
            texture_spread_deg=NON_NEGATIVE,
            strain=STRAIN,
            stacking_faults=SHARE,
            zone_axis_share=SHARE,
            zone_axis_tilt_deg=NON_NEGATIVE,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of an interphase."""

    name: str
    """What it is called."""
    thickness_a: float
    """Mean thickness [Å]."""
    matrix: str | None = None
    """Amorphous material (key of `MATRICES`); ``None`` where crystals fill the layer."""
    packing: Packing = Packing.EMBEDDED
    """How its crystals fill it."""
    populations: tuple[Population, ...] = ()
    """Its crystals."""

    def __post_init__(self) -> None:
        check_name("packing", self.packing, Packing)
        object.__setattr__(self, "packing", Packing(self.packing))
        check_fields(self, thickness_a=LENGTH)
        total = sum(p.volume_fraction for p in self.populations)
        if total > 1 + 1e-9:
            raise ParameterError(
                f"the populations of layer {self.name!r} fill {total:.3g} of it: give volume "
                "fractions that add up to at most 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Interphase:
    """An interphase, and how it lies in the microscope: everything but the random numbers."""

    architecture: str
    """Key of `ARCHITECTURES`, or a name of your own."""
    structure: Structure
    """The class it belongs to."""
    electrode: str
    """Phase of the electrode."""
    layers: tuple[Layer, ...]
    """Layers from the electrode outwards."""
    outside: str = "vacuum"
    """What lies beyond: ``vacuum``, a key of `MATRICES`, or the phase of a solid electrolyte."""
    foil_thickness_a: float
    """Extent along the beam [Å]."""
    length_a: float
    """Extent along the interface that the image shows [Å]."""
    electrode_width_a: float = 45.0
    """Width of electrode in view [Å]."""
    outside_width_a: float = 35.0
    """Width beyond the interphase in view [Å]; 0 where the field cuts the interphase."""
    normal_deg: float = 0.0
    """Direction of the outward normal in the image, from columns towards rows [degrees]."""
    tilt_deg: float = 0.0
    """Angle between the interface and the beam [degrees]; 0 is edge-on."""
    radius_a: float | None = None
    """Radius of a convex electrode [Å]; ``None`` for a flat one."""
    axis: Axis = "beam"
    """Axis of a convex electrode, see `Interface`."""
    roughness: tuple[Wave, ...] = ()
    """Roughness of the electrode's surface."""
    unevenness: tuple[Wave, ...] = ()
    """What the interphase is thicker by, from place to place."""
    temperature_k: float | None = None
    """Temperature of the crystals' cells [K]; ``None`` takes the cells as tabulated."""
    seed: int
    """Seed of the atoms."""

    def __post_init__(self) -> None:
        check_name("structure", self.structure, Structure)
        object.__setattr__(self, "structure", Structure(self.structure))
        check_name("axis", self.axis, get_args(Axis))
        check_seed(self.seed)
        check_fields(
            self,
            foil_thickness_a=LENGTH,
            length_a=LENGTH,
            electrode_width_a=LENGTH,
            outside_width_a=WIDTH,
            normal_deg=FINITE,
            tilt_deg=TILT,
        )
        optional = {"radius_a": LENGTH, "temperature_k": TEMPERATURE}
        given = {name: what for name, what in optional.items() if getattr(self, name) is not None}
        check_fields(self, **given)
        if not self.layers:
            raise ParameterError("an interphase without layers: give at least one Layer")
        for name in ("roughness", "unevenness"):
            rms = float(np.sqrt(sum(wave.amplitude_a**2 for wave in getattr(self, name)) / 2))
            if rms > self.thickness_a:
                raise ParameterError(
                    f"{name} is {rms:.3g} Å root mean square in an interphase of "
                    f"{self.thickness_a:.3g} Å: give waves no larger than the interphase"
                )

    @property
    def thickness_a(self) -> float:
        """Mean thickness of all layers together [Å]."""
        return sum(layer.thickness_a for layer in self.layers)

    @property
    def vitrified(self) -> bool:
        """Whether electrolyte surrounds it; its thickness is drawn as that of a dry one."""
        return self.outside == "electrolyte"


@dataclass(frozen=True, slots=True, kw_only=True)
class InterphaseRanges:
    """From where to where recipes are drawn; evenly, or in the logarithm where it says so.

    The defaults are working ranges put together from published cryo-TEM of SEI, not the
    distribution of any specimen (grade C): SEI 5 to 40 nm, crystallites of a mosaic 2 to 5 nm,
    grains of a layer 5 to 20 nm.
    """

    thickness_a: Range = (50.0, 400.0)
    """Thickness of the interphase, in the logarithm [Å]."""
    foil_thickness_a: Range = (50.0, 400.0)
    """Thickness of the foil, in the logarithm [Å]."""
    length_a: Range = (140.0, 180.0)
    """Extent along the interface [Å]."""
    crystallite_diameter_a: Range = (20.0, 50.0)
    """Crystallites in a matrix [Å]."""
    grain_diameter_a: Range = (50.0, 200.0)
    """Grains of a layer [Å]."""
    strain: Range = (0.0, 0.005)
    """Standard deviation of each component of strain. Small beside the contraction on cooling."""
    crystalline_fraction: Range = (0.05, 0.3)
    """Crystallites in a matrix, share of volume. Spheres thrown at random jam at 0.38."""
    tilt_deg: Range = (0.0, 10.0)
    """Tilt of the interface [degrees]; its sign is drawn."""
    turn_deg: Range = (-10.0, 10.0)
    """Turn in the image against the nearest edge [degrees]; the edge is drawn."""
    radius_a: Range = (300.0, 3000.0)
    """Radius of a convex electrode, in the logarithm [Å]."""
    convex_share: float = 0.3
    """Share of convex electrodes."""
    vitrified_share: float = 0.4
    """Share surrounded by vitreous electrolyte; the rest is dry."""
    roughness_a: Range = (1.0, 6.0)
    """Root mean square roughness of the electrode [Å]."""
    unevenness: Range = (0.02, 0.12)
    """Root mean square of the thickness over its mean."""

    def __post_init__(self) -> None:
        pairs = {
            "thickness_a": EXTENT,
            "foil_thickness_a": EXTENT,
            "length_a": EXTENT,
            "crystallite_diameter_a": CRYSTAL,
            "grain_diameter_a": EXTENT,
            "strain": STRAIN,
            "crystalline_fraction": SHARE,
            "tilt_deg": TILT,
            "turn_deg": FINITE,
            "radius_a": EXTENT,
            "roughness_a": WIDTH,
            "unevenness": SHARE,
        }
        check_fields(self, **{name: what.pair() for name, what in pairs.items()})
        check_fields(self, convex_share=SHARE, vitrified_share=SHARE)


_Make = Callable[[float, float, InterphaseRanges, np.random.Generator], tuple[Layer, ...]]
"""Thickness [Å], largest crystallite [Å], ranges and randomness to layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A kind of interphase that `sample_interphase` knows how to draw."""

    identifier: str
    """Key in `ARCHITECTURES`."""
    structure: Structure
    """The class it belongs to."""
    layers: _Make
    """Draws its layers."""
    electrodes: tuple[str, ...] = ("Li", "Li", "Li", "Cu", "graphite", "Si")
    """Phases of the electrode, drawn evenly."""
    outside: str | None = None
    """What lies beyond; ``None`` for vacuum or vitreous electrolyte."""
    thickness_a: Range | None = None
    """Thickness where it differs from the ranges' [Å]."""
    source: str
    """Where this has been seen."""


def _log_uniform(limits: Range, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


def _populations(
    phases: tuple[str, ...],
    fraction: float,
    largest_a: float,
    ranges: InterphaseRanges,
    rng: np.random.Generator,
) -> tuple[Population, ...]:
    """Divide a volume fraction among phases at random."""
    smallest, widest = ranges.crystallite_diameter_a
    shares = rng.dirichlet(np.full(len(phases), 3.0))
    return tuple(
        Population(
            phase=phase,
            volume_fraction=float(fraction * share),
            diameter_a=float(rng.uniform(min(smallest, largest_a), min(widest, largest_a))),
            shape=rng.choice(["sphere", "ellipsoid", "faceted"]),
            strain=float(rng.uniform(*ranges.strain)),
        )
        for phase, share in zip(phases, shares, strict=True)
    )


_SALTS = ("Li2O", "Li2CO3", "LiF", "LiOH")


def _mosaic(
    thickness: float, largest: float, ranges: InterphaseRanges, rng: np.random.Generator
) -> tuple[Layer, ...]:
    phases = tuple(rng.choice(_SALTS, size=int(rng.integers(2, 4)), replace=False).tolist())
    fraction = float(rng.uniform(*ranges.crystalline_fraction))
    matrix = str(rng.choice(["LEDC", "LiPxOyFz", "polymer"]))
    grains = _populations(phases, fraction, largest, ranges, rng)
    return (Layer(name="mosaic", thickness_a=thickness, matrix=matrix, populations=grains),)


def _grain_layer(
    name: str, phase: str, thickness: float, ranges: InterphaseRanges, rng: np.random.Generator
) -> Layer:
    """Return a layer of ordered grains that share boundaries."""
    planes = {"Li2O": (1, 1, 1), "LiF": (2, 0, 0), "Li2CO3": (0, 0, 2)}
    grain = Population(
        phase=phase,
        volume_fraction=1.0,
        diameter_a=float(rng.uniform(*ranges.grain_diameter_a)),
        texture=planes[phase] if rng.random() < 0.5 else None,
        strain=float(rng.uniform(*ranges.strain)),
    )
    return Layer(name=name, thickness_a=thickness, packing=Packing.COLUMNAR, populations=(grain,))


def _layered(phase: str) -> _Make:
    def make(
        thickness: float, largest: float, ranges: InterphaseRanges, rng: np.random.Generator
    ) -> tuple[Layer, ...]:
        inner = thickness * float(rng.uniform(0.3, 0.7))
        matrix = str(rng.choice(["LEDC", "polymer", "LiPxOyFz"]))
        return (
            Layer(name="inner", thickness_a=inner, matrix=matrix),
            _grain_layer("outer", phase, thickness - inner, ranges, rng),
        )

    return make


def _bilayer(
    thickness: float, largest: float, ranges: InterphaseRanges, rng: np.random.Generator
) -> tuple[Layer, ...]:
    inner = thickness * float(rng.uniform(0.3, 0.7))
    return (
        _grain_layer("inorganic", str(rng.choice(["Li2O", "LiF"])), inner, ranges, rng),
        Layer(name="organic", thickness_a=thickness - inner, matrix="LEDC"),
    )


def _layered_mosaic(
    thickness: float, largest: float, ranges: InterphaseRanges, rng: np.random.Generator
) -> tuple[Layer, ...]:
    order = (("Li2O",), ("Li2O", "Li3N-alpha"), ("Li3PO4-beta",))
    thicknesses = thickness * rng.dirichlet(np.full(3, 12.0))
    return tuple(
        Layer(
            name=name,
            thickness_a=float(t),
            matrix="LiPON",
            populations=_populations(
                phases,
                float(rng.uniform(*ranges.crystalline_fraction)),
                min(largest, 0.8 * float(t), float(t) - 2 * GAP_A),
                ranges,
                rng,
            ),
        )
        for name, phases, t in zip(("inner", "middle", "outer"), order, thicknesses, strict=True)
    )


def _graded_mosaic(
    thickness: float, largest: float, ranges: InterphaseRanges, rng: np.random.Generator
) -> tuple[Layer, ...]:
    inner = thickness * float(rng.uniform(0.35, 0.65))
    matrix = str(rng.choice(["LEDC", "LiPxOyFz", "polymer"]))
    return tuple(
        Layer(
            name=name,
            thickness_a=extent,
            matrix=matrix,
            populations=_populations(
                phases,
                float(rng.uniform(*ranges.crystalline_fraction)),
                min(largest, 0.7 * extent),
                ranges,
                rng,
            ),
        )
        for name, phases, extent in (
            ("inner", ("Li2O", "LiF"), inner),
            ("outer", ("Li2CO3", "LiOH"), thickness - inner),
        )
    )


def _glass(*matrices: str) -> _Make:
    def make(
        thickness: float, largest: float, ranges: InterphaseRanges, rng: np.random.Generator
    ) -> tuple[Layer, ...]:
        return (Layer(name="glass", thickness_a=thickness, matrix=str(rng.choice(matrices))),)

    return make


def _tetragonal_skin(
    thickness: float, largest: float, ranges: InterphaseRanges, rng: np.random.Generator
) -> tuple[Layer, ...]:
    skin = Population(phase="LLZO-tetragonal", volume_fraction=1.0, diameter_a=thickness)
    return (Layer(name="skin", thickness_a=thickness, packing=Packing.SINGLE, populations=(skin,)),)


def _argyrodite_products(
    thickness: float, largest: float, ranges: InterphaseRanges, rng: np.random.Generator
) -> tuple[Layer, ...]:
    # Li6PS5Cl + 8 Li -> 5 Li2S + Li3P + LiCl; volumes per formula unit of 46.5, 60.0 and 33.9 Å³.
    volumes = {"Li2S": 5 * 46.5, "Li3P": 60.0, "LiCl": 33.9}
    diameter = float(rng.uniform(30.0, max(min(100.0, thickness), 31.0)))
    grains = tuple(
        Population(phase=phase, volume_fraction=v / sum(volumes.values()), diameter_a=diameter)
        for phase, v in volumes.items()
    )
    return (
        Layer(name="products", thickness_a=thickness, packing=Packing.GRAINS, populations=grains),
    )


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        kind.identifier: kind
        for kind in (
            Architecture(
                identifier="mosaic",
                structure=Structure.MOSAIC,
                layers=_mosaic,
                source="Peled et al., J. Electrochem. Soc. 144, L208 (1997); Li et al., Science "
                "358, 506 (2017), carbonate electrolyte",
            ),
            Architecture(
                identifier="layered",
                structure=Structure.LAYERED,
                layers=_layered("Li2O"),
                source="Li et al., Science 358, 506 (2017), with fluoroethylene carbonate",
            ),
            Architecture(
                identifier="layered-LiF",
                structure=Structure.LAYERED,
                layers=_layered("LiF"),
                source="variant of `layered`",
            ),
            Architecture(
                identifier="layered-Li2CO3",
                structure=Structure.LAYERED,
                layers=_layered("Li2CO3"),
                source="variant of `layered`",
            ),
            Architecture(
                identifier="bilayer",
                structure=Structure.LAYERED,
                layers=_bilayer,
                source="inorganic at the metal, organic outside: Aurbach, J. Power Sources 89, "
                "206 (2000)",
            ),
            Architecture(
                identifier="layered-mosaic",
                structure=Structure.LAYERED_MOSAIC,
                layers=_layered_mosaic,
                electrodes=("Li",),
                outside="LiPON",
                thickness_a=(120.0, 400.0),
                source="Cheng et al., Joule 4, 2484 (2020), LiPON on lithium: below 80 nm, N and "
                "P graded, crystallites in a glass",
            ),
            Architecture(
                identifier="graded-mosaic",
                structure=Structure.LAYERED_MOSAIC,
                layers=_graded_mosaic,
                thickness_a=(100.0, 400.0),
                source="variant of `mosaic` with its oxides and fluorides at the metal and its "
                "carbonate and hydroxide outside, as in the layered model of Aurbach, J. Power "
                "Sources 89, 206 (2000)",
            ),
            Architecture(
                identifier="amorphous",
                structure=Structure.AMORPHOUS,
                layers=_glass("LEDC", "LiPxOyFz", "polymer"),
                source="Cao et al., Nat. Energy 4, 796 (2019), monolithic",
            ),
            Architecture(
                identifier="extended",
                structure=Structure.AMORPHOUS,
                layers=_glass("LEDC", "polymer"),
                thickness_a=(300.0, 400.0),
                source="Zachman et al., Nature 560, 345 (2018); hundreds of nm there, here as much "
                "as the field shows",
            ),
            Architecture(
                identifier="LiH-dendrite",
                structure=Structure.MOSAIC,
                layers=_mosaic,
                electrodes=("LiH",),
                thickness_a=(50.0, 200.0),
                source="Zachman et al., Nature 560, 345 (2018), second type",
            ),
            Architecture(
                identifier="Li-LLZO",
                structure=Structure.LAYERED,
                layers=_tetragonal_skin,
                electrodes=("Li",),
                outside="LLZO-cubic",
                thickness_a=(52.0, 78.0),
                source="Ma et al., Nano Lett. 16, 7030 (2016), about five unit cells",
            ),
            Architecture(
                identifier="Li-LAGP",
                structure=Structure.AMORPHOUS,
                layers=_glass("LAGP-reacted"),
                electrodes=("Li",),
                outside="LAGP",
                source="Hartmann et al., J. Phys. Chem. C 117, 21064 (2013), mixed conducting "
                "interphase",
            ),
            Architecture(
                identifier="Li-Li6PS5Cl",
                structure=Structure.MOSAIC,
                layers=_argyrodite_products,
                electrodes=("Li",),
                outside="Li6PS5Cl",
                source="Wenzel et al., Solid State Ionics 318, 102 (2018): Li2S, LiCl, Li3P",
            ),
        )
    }
)
"""The kinds of interphase that can be drawn."""


def sample_interphase(
    architecture: str, rng: np.random.Generator, *, ranges: InterphaseRanges | None = None
) -> Interphase:
    """Return a recipe drawn from stated ranges.

    Parameters
    ----------
    architecture
        Key of `ARCHITECTURES`.
    rng
        Source of randomness.
    ranges
        From where to where; the default are working ranges of the literature.

    Returns
    -------
    Interphase
        Crystallites no larger than the foil and their layer allow.

    Raises
    ------
    ParameterError
        The architecture is unknown.

    Examples
    --------
    >>> recipe = sample_interphase("layered", np.random.default_rng(1))
    >>> recipe.structure.value, [layer.name for layer in recipe.layers]
    ('layered', ['inner', 'outer'])
    """
    kind = ARCHITECTURES.get(architecture)
    if kind is None:
        raise ParameterError(
            f"architecture {architecture!r} is unknown: give one of {', '.join(ARCHITECTURES)}"
        )
    ranges = ranges or InterphaseRanges()
    thickness = _log_uniform(kind.thickness_a or ranges.thickness_a, rng)
    foil = _log_uniform(ranges.foil_thickness_a, rng)
    largest = 0.7 * min(foil, thickness)
    layers = kind.layers(thickness, largest, ranges, rng)
    length = float(rng.uniform(*ranges.length_a))
    radius = _log_uniform(ranges.radius_a, rng) if rng.random() < ranges.convex_share else None
    wet = rng.random() < ranges.vitrified_share
    periods = (0.4 * length, 2 * length)
    return Interphase(
        architecture=architecture,
        structure=kind.structure,
        electrode=str(rng.choice(kind.electrodes)),
        layers=layers,
        outside=kind.outside or ("electrolyte" if wet else "vacuum"),
        foil_thickness_a=foil,
        length_a=length,
        outside_width_a=0.0 if architecture == "extended" else 35.0,
        normal_deg=float(90 * rng.integers(4) + rng.uniform(*ranges.turn_deg)),
        tilt_deg=float(rng.choice([-1, 1]) * rng.uniform(*ranges.tilt_deg)),
        radius_a=radius,
        axis="beam" if rng.random() < 0.5 else "image",
        roughness=draw_roughness(
            float(rng.uniform(*ranges.roughness_a)), periods_a=periods, rng=rng
        ),
        unevenness=draw_roughness(
            thickness * float(rng.uniform(*ranges.unevenness)), periods_a=periods, rng=rng
        ),
        seed=int(rng.integers(2**32)),
    )
