"""The truth of a simulated interphase, in the coordinates of its image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.models.bodies import (
    Body,
    crystallite_table,
    label_points,
    projected_thickness_a,
)
from interphase.simulation.models.crystallites import CrystalliteTruth

if TYPE_CHECKING:
    from interphase.simulation.models.interphases import InterphaseModel


_STEP_A = 3.0
"""Distance of the points at which the specimen is looked at [Å]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthProfile:
    """What a specimen consists of at each depth, by volume and not as projected."""

    depth_a: np.ndarray
    """Depth below the electrode's surface in the middle of each bin, negative within the
    electrode [Å], shape (K,)."""
    fraction: Mapping[str, np.ndarray]
    """Material → share of the volume at that depth, shape (K,); vacuum makes up the rest."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InterphaseTruth:
    """What was built, as an image of it should show it."""

    architecture: str
    """The kind of interphase."""
    structure: str
    """Its class: mosaic, layered, layered_mosaic or amorphous."""
    electrode: str
    """Phase of the electrode."""
    thickness_a: float
    """Mean thickness of the interphase over the surface in the field [Å], along its normal and
    whether or not its end lies in the field; roughness of the electrode moves both its ends."""
    thickness_std_a: float
    """Standard deviation of the thickness from place to place in the field [Å]."""
    thickness_in_view: float
    """Share of the surface in the field beyond which the interphase ends in the field too; an
    image of the rest shows less than the thickness."""
    crystalline_fraction: float
    """Share of the interphase's volume that is crystalline."""
    foil_thickness_a: float
    """Extent along the beam [Å]."""
    pixel_size_a: float
    """Size of a pixel [Å]."""
    projected_thickness_a: Mapping[str, np.ndarray]
    """Material → its extent along the beam in every pixel [Å], shape (M, N)."""
    depth_a: np.ndarray
    """Depth of every pixel at half the foil's thickness [Å], shape (M, N)."""
    profile: DepthProfile
    """Composition against depth."""
    crystallites: tuple[CrystalliteTruth, ...]
    """Crystallites of the interphase as far as they lie in the field; centres (y, x, z) of what
    does, from the image's first pixel [Å]."""

    def projected_fraction(self, material: str) -> np.ndarray:
        """Return the share of the foil that a material takes in every pixel, shape (M, N).

        Materials that are not in the specimen take none.
        """
        nothing = np.zeros(self.depth_a.shape, dtype=np.float32)
        return self.projected_thickness_a.get(material, nothing) / self.foil_thickness_a


def interphase_truth(
    model: "InterphaseModel", *, pixel_size_a: float, shape: tuple[int, int]
) -> InterphaseTruth:
    """Return the truth of a model in the pixels of its image.

    Parameters
    ----------
    model
        The interphase.
    pixel_size_a
        Size of a pixel of the image [Å].
    shape
        Pixels (M, N) of the image, whose first is at the corner of the model's field.

    Returns
    -------
    InterphaseTruth
        Materials are identifiers of phases and keys of `MATRICES`.

    Raises
    ------
    ParameterError
        The image is larger than the field.
    """
    field = model.field_a
    extent = (shape[0] * pixel_size_a, shape[1] * pixel_size_a)
    if extent[0] > field[0] + pixel_size_a or extent[1] > field[1] + pixel_size_a:
        raise ParameterError(
            f"an image of {shape[0]} × {shape[1]} pixels of {pixel_size_a} Å is larger than the "
            f"field of {field[0]:.0f} × {field[1]:.0f} Å: give at most "
            f"{int(field[0] / pixel_size_a)} × {int(field[1] / pixel_size_a)} pixels"
        )
    scene, margin = model.scene, model.margin_a
    maps = projected_thickness_a(
        scene.bodies,
        size_a=extent,
        thickness_a=scene.thickness_a,
        shape=shape,
        origin_a=(margin, margin),
    )
    y = margin + np.arange(shape[0]) * pixel_size_a
    x = margin + np.arange(shape[1]) * pixel_size_a
    middle = np.empty((*shape, 3))
    middle[..., 0], middle[..., 1], middle[..., 2] = x, y[:, None], scene.thickness_a / 2
    points = _points(model)
    labels = label_points(scene.bodies, points)
    depth, along, across = model.interface.coordinates(points)
    thickness, in_view = _thickness(model, depth, along, across)
    return InterphaseTruth(
        architecture=model.recipe.architecture,
        structure=model.recipe.structure.value,
        electrode=model.recipe.electrode,
        thickness_a=float(thickness.mean()),
        thickness_std_a=float(thickness.std()),
        thickness_in_view=in_view,
        crystalline_fraction=_crystalline_fraction(model, labels),
        foil_thickness_a=scene.thickness_a,
        pixel_size_a=pixel_size_a,
        projected_thickness_a=maps,
        depth_a=model.interface.depth(middle).astype(np.float32),
        profile=_profile(scene.bodies, labels, depth),
        crystallites=_table(model),
    )


def _points(model: "InterphaseModel") -> np.ndarray:
    """Return points (x, y, z) [Å] that fill the field evenly, shape (N, 3)."""
    scene, margin = model.scene, model.margin_a
    low = np.array([margin, margin, 0.0])
    high = np.array([scene.size_a[1] - margin, scene.size_a[0] - margin, scene.thickness_a])
    axes = [np.arange(a + _STEP_A / 2, b, _STEP_A) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _profile(
    bodies: Sequence[Body], labels: np.ndarray, depth: np.ndarray, *, bin_a: float = 5.0
) -> DepthProfile:
    """Return composition against depth."""
    bins = np.floor(depth / bin_a).astype(int)
    first = bins.min()
    many = bins.max() - first + 1
    total = np.bincount(bins - first, minlength=many)
    share: dict[str, np.ndarray] = {}
    for index, body in enumerate(bodies):
        here = np.bincount(bins[labels == index] - first, minlength=many) / np.maximum(total, 1)
        share[body.material] = share.get(body.material, 0.0) + here
    return DepthProfile(depth_a=(first + np.arange(many) + 0.5) * bin_a, fraction=share)


def _crystalline_fraction(model: "InterphaseModel", labels: np.ndarray) -> float:
    """Return which share of the layers' volume in the field is crystalline."""
    layers = {layer.name for layer in model.recipe.layers}
    bodies = model.scene.bodies
    # The last entry is for vacuum, whose label is -1.
    inside = np.array([*(body.region in layers for body in bodies), False])[labels]
    crystal = np.array([*(body.phase is not None for body in bodies), False])[labels]
    return float(crystal[inside].mean()) if inside.any() else 0.0


def _thickness(
    model: "InterphaseModel", depth: np.ndarray, along: np.ndarray, across: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the thickness [Å] at places on the surface, and the share whose end is in view."""
    whole = model.depth_range(0.0, model.recipe.thickness_a)
    local = whole.local_thickness(along, across)
    surface, beyond = np.abs(depth) < _STEP_A, depth >= local
    # Places two steps wide along the interface and across it hold points of each layer.
    place = np.floor(np.stack([along, across]) / (2 * _STEP_A)).astype(int)
    place -= place.min(axis=1, keepdims=True)
    flat = np.ravel_multi_index(place, place.max(axis=1) + 1)
    seen = np.unique(flat[surface])
    if not len(seen):
        return np.array([model.recipe.thickness_a]), 0.0
    return local[surface], float(np.isin(seen, flat[beyond]).mean())


def _table(model: "InterphaseModel") -> tuple[CrystalliteTruth, ...]:
    """Return the crystallites of the interphase in the field."""
    layers = {layer.name for layer in model.recipe.layers}
    scene = model.scene
    rows = crystallite_table(
        scene.bodies, size_a=scene.size_a, thickness_a=scene.thickness_a, margin_a=model.margin_a
    )
    return tuple(row for row in rows if row.region in layers)
