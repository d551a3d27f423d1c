"""Where an interface runs through the field: the depth of every point below the surface."""

from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

import numpy as np

from interphase.simulation.checks import check_not_negative
from interphase.simulation.models.checks import (
    FINITE,
    LENGTH,
    TILT,
    check,
    check_fields,
    check_name,
)

Axis = Literal["beam", "image"]
"""Axis of a convex electrode, see `Interface`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """One component of the roughness of a surface."""

    amplitude_a: float
    """Height of its crests [Å]."""
    period_a: float
    """Distance of its crests [Å]."""
    direction_deg: float
    """Its direction within the surface, 0 along the interface as the image shows it [degrees]."""
    phase_deg: float
    """Its phase where the interface has its point [degrees]."""

    def __post_init__(self) -> None:
        check_fields(
            self, amplitude_a=FINITE, period_a=LENGTH, direction_deg=FINITE, phase_deg=FINITE
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """The surface of an electrode, flat or convex, seen edge-on or tilted.

    Positions are (x, y, z) [Å], the beam runs along z.
    """

    point_a: tuple[float, float, float]
    """A point the mean surface passes through (x, y, z) [Å]."""
    normal_deg: float = 0.0
    """Direction of the outward normal in the image, from columns towards rows [degrees]: 0 has
    the electrode at the left, 90 at the top, 180 at the right."""
    tilt_deg: float = 0.0
    """Angle between the surface at `point_a` and the beam [degrees]; 0 is edge-on."""
    radius_a: float | None = None
    """Radius of a convex electrode [Å]; ``None`` for a flat one."""
    axis: Axis = "beam"
    """Axis of a convex electrode: along the ``beam`` it looks round in the image, within the
    ``image`` it is a wire lying flat, whose surface bends away along the beam."""
    roughness: tuple[Wave, ...] = ()
    """Roughness of the surface."""

    def __post_init__(self) -> None:
        check_fields(self, point_a=FINITE, normal_deg=FINITE, tilt_deg=TILT)
        if self.radius_a is not None:
            check_fields(self, radius_a=LENGTH)
        check_name("axis", self.axis, get_args(Axis))

    @property
    def normal(self) -> np.ndarray:
        """Outward normal at `point_a` (x, y, z), a unit vector."""
        return np.asarray(self.frame[0])

    @property
    def frame(self) -> np.ndarray:
        """Rows: the normal, along the interface in the image, and across both; shape (3, 3)."""
        azimuth, tilt = np.deg2rad(self.normal_deg), np.deg2rad(self.tilt_deg)
        normal = np.array(
            [np.cos(azimuth) * np.cos(tilt), np.sin(azimuth) * np.cos(tilt), np.sin(tilt)]
        )
        along = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
        return np.stack([normal, along, np.cross(normal, along)])

    def coordinates(self, points_a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the depth of points, and where they lie along and across the interface.

        Parameters
        ----------
        points_a
            Positions (x, y, z) [Å], shape (..., 3).

        Returns
        -------
        depth, along, across
            Distance from the mean surface, less its roughness there, positive outside the
            electrode [Å]; the place on the surface, along a convex one by its arc [Å].
        """
        u, v, w = np.moveaxis((points_a - np.asarray(self.point_a)) @ self.frame.T, -1, 0)
        if self.radius_a is not None:
            radius = self.radius_a
            if self.axis == "beam":
                u, v = np.hypot(u + radius, v) - radius, radius * np.arctan2(v, u + radius)
            else:
                u, w = np.hypot(u + radius, w) - radius, radius * np.arctan2(w, u + radius)
        return u - height(self.roughness, v, w), v, w

    def depth(self, points_a: np.ndarray) -> np.ndarray:
        """Return the depth of points (x, y, z) [Å], positive outside the electrode."""
        return self.coordinates(points_a)[0]

    def normals(self, points_a: np.ndarray) -> np.ndarray:
        """Return the outward normal of the mean surface nearest to points (x, y, z) [Å].

        Parameters
        ----------
        points_a
            Positions (x, y, z) [Å], shape (..., 3).

        Returns
        -------
        ndarray of shape (..., 3)
            Unit vectors (x, y, z).
        """
        normal = np.broadcast_to(self.normal, np.shape(points_a))
        if self.radius_a is None:
            return normal
        # Away from the axis of the cylinder, whose direction takes no part.
        axis = self.frame[2 if self.axis == "beam" else 1]
        step = points_a - np.asarray(self.point_a) + self.radius_a * normal
        step = step - (step @ axis)[..., None] * axis
        outwards: np.ndarray = step / np.linalg.norm(step, axis=-1, keepdims=True)
        return outwards

    def bounds(
        self, low_a: float, high_a: float, box_a: tuple[float, float, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return bounds on where in a box depths from `low_a` to `high_a` occur.

        Parameters
        ----------
        low_a, high_a
            Depths [Å]; infinite for no end.
        box_a
            Extent (x, y, z) of the box, which starts at the origin [Å].

        Returns
        -------
        low, high
            Lowest and highest (x, y, z) [Å], each of shape (3,); tight for a flat surface.
        """
        box = np.asarray(box_a, dtype=float)
        rough = sum(abs(wave.amplitude_a) for wave in self.roughness)
        first, last = low_a - rough, high_a + rough
        if self.radius_a is not None:
            # A convex surface falls behind its tangent, by most at the farthest corner.
            corners = np.array(list(product(*zip(np.zeros(3), box, strict=True))))
            local = (corners - np.asarray(self.point_a)) @ self.frame.T
            behind = local[:, 0].min() + self.radius_a
            aside = np.abs(local[:, 1 if self.axis == "beam" else 2]).max()
            first -= np.hypot(behind, aside) - behind
        offset = self.normal @ np.asarray(self.point_a)
        # Along each axis the slab is cut where the others leave it room.
        reach = np.stack([np.minimum(self.normal * box, 0), np.maximum(self.normal * box, 0)])
        rest = reach.sum(axis=1, keepdims=True) - reach
        low, high = np.zeros(3), box.copy()
        for axis in np.flatnonzero(np.abs(self.normal) > 1e-9):
            ends = np.array([first + offset - rest[1, axis], last + offset - rest[0, axis]])
            ends = np.sort(ends / self.normal[axis])
            low[axis], high[axis] = max(ends[0], 0.0), min(ends[1], box[axis])
        return low, np.maximum(low, high)


def height(waves: tuple[Wave, ...], along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Return the height of a rough surface [Å] at places along and across it [Å].

    Examples
    --------
    >>> wave = Wave(amplitude_a=3.0, period_a=100.0, direction_deg=0.0, phase_deg=0.0)
    >>> height((wave,), np.array([0.0, 50.0]), np.zeros(2)).tolist()
    [3.0, -3.0]
    """
    total = np.zeros(np.broadcast(along, across).shape)
    for wave in waves:
        direction = np.deg2rad(wave.direction_deg)
        path = along * np.cos(direction) + across * np.sin(direction)
        total += wave.amplitude_a * np.cos(
            2 * np.pi * path / wave.period_a + np.deg2rad(wave.phase_deg)
        )
    return total


def draw_roughness(
    rms_a: float, *, periods_a: tuple[float, float], rng: np.random.Generator, components: int = 4
) -> tuple[Wave, ...]:
    """Return roughness of a stated root mean square, its waves drawn at random.

    Parameters
    ----------
    rms_a
        Root mean square of the height [Å]; 0 gives no wave.
    periods_a
        Shortest and longest period [Å]; drawn evenly in their logarithm.
    rng
        Source of randomness.
    components
        Number of waves.

    Raises
    ------
    ParameterError
        A length is negative, or the periods are not two lengths, the shorter first.

    Examples
    --------
    >>> waves = draw_roughness(4.0, periods_a=(50, 200), rng=np.random.default_rng(0))
    >>> round(float(np.sqrt(sum(w.amplitude_a**2 for w in waves) / 2)), 6)
    4.0
    """
    check_not_negative(rms_a=rms_a)
    check("periods_a", periods_a, LENGTH.pair())
    if rms_a == 0:
        return ()
    amplitudes = rng.rayleigh(size=components)
    amplitudes *= rms_a * np.sqrt(2) / np.linalg.norm(amplitudes)
    shortest, longest = np.log(periods_a)
    periods = np.exp(rng.uniform(shortest, longest, size=components))
    angles = rng.uniform(0, 360, size=(2, components))
    return tuple(
        Wave(amplitude_a=a, period_a=p, direction_deg=d, phase_deg=f)
        for a, p, d, f in np.stack([amplitudes, periods, *angles], axis=1).tolist()
    )
