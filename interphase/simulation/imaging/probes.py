"""A focused beam, the places it goes to, and what stands below the specimen."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from interphase.electron import checked_energy
from interphase.errors import ParameterError

if TYPE_CHECKING:
    from interphase.simulation.models.interphases import InterphaseModel

_TAILS = 5.0
"""Wavelengths over convergence from a probe's centre to the end of its window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A beam focused through a round aperture."""

    beam_energy_kev: float
    """Beam energy [keV]."""
    semi_convergence_mrad: float
    """Half-angle of the cone, the edge of the aperture [mrad]."""
    defocus_a: float = 0.0
    """Defocus, positive = underfocus: how far below the upper surface the focus lies [Å]."""
    spherical_aberration_mm: float = 0.0
    """Coefficient of spherical aberration [mm]."""

    def __post_init__(self) -> None:
        checked_energy(self.beam_energy_kev)
        _check_positive(self, "semi_convergence_mrad")

    @property
    def wavelength_a(self) -> float:
        """Wavelength [Å]."""
        from interphase.electron import wavelength_from_energy

        return float(wavelength_from_energy(self.beam_energy_kev))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Places on a square grid."""

    origin_a: tuple[float, float]
    """The first place (y, x), in the scene's coordinates [Å]."""
    step_a: float
    """Distance between neighbours [Å]."""
    shape: tuple[int, int]
    """Number of places (M, N) along y and x."""

    def __post_init__(self) -> None:
        _check_positive(self, "step_a")
        if min(self.shape) < 1:
            raise ParameterError(f"shape is {self.shape!r}: expected at least (1, 1) places")

    def places_a(self, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
        """Return places (y, x) [Å], shape (M, N, 2).

        >>> Scan(origin_a=(5.0, 1.0), step_a=0.5, shape=(2, 3)).places_a()[1, 2].tolist()
        [5.5, 2.0]
        """
        along = [
            start + self.step_a * np.arange(count)[chosen]
            for start, count, chosen in zip(self.origin_a, self.shape, (rows, columns), strict=True)
        ]
        return np.stack(np.meshgrid(*along, indexing="ij"), axis=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnularDetector:
    """A ring, or with ``inner_mrad=0`` a disc, that counts what falls on it."""

    inner_mrad: float
    """Least angle [mrad]."""
    outer_mrad: float
    """Angle it ends before [mrad]."""

    def __post_init__(self) -> None:
        if not 0 <= self.inner_mrad < self.outer_mrad < float("inf"):
            raise ParameterError(
                f"a ring from {self.inner_mrad!r} to {self.outer_mrad!r} mrad is none: "
                "expected 0 <= inner_mrad < outer_mrad"
            )


def annular_bright_field(probe: Probe) -> AnnularDetector:
    """Return the ring in the outer half of the undiffracted disc, in which light atoms are dark.

    >>> annular_bright_field(Probe(beam_energy_kev=300.0, semi_convergence_mrad=24.0))
    AnnularDetector(inner_mrad=12.0, outer_mrad=24.0)
    """
    angle = probe.semi_convergence_mrad
    return AnnularDetector(inner_mrad=angle / 2, outer_mrad=angle)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternPixels:
    """The pixels of a diffraction pattern, undiffracted beam at (Q // 2, R // 2)."""

    shape: tuple[int, int]
    """Pixels (Q, R)."""
    reciprocal_pixel_size_per_a: float
    """Size of a pixel [1/Å]."""
    beam_stop_per_a: float = 0.0
    """Radius around the undiffracted beam in which nothing arrives [1/Å]."""

    def __post_init__(self) -> None:
        _check_positive(self, "reciprocal_pixel_size_per_a")
        if min(self.shape) < 1:
            raise ParameterError(f"shape is {self.shape!r}: expected at least (1, 1) pixels")
        if not self.beam_stop_per_a >= 0:
            raise ParameterError(f"beam_stop_per_a is {self.beam_stop_per_a!r}: expected >= 0")

    @property
    def reach_per_a(self) -> float:
        """Frequency of the farthest corner [1/Å]."""
        pixels = np.hypot(self.shape[0] // 2 + 0.5, self.shape[1] // 2 + 0.5)
        return float(pixels * self.reciprocal_pixel_size_per_a)

    @property
    def open(self) -> np.ndarray:
        """Which pixels the beam stop leaves open, shape (Q, R)."""
        along = [
            (np.arange(count) - count // 2) * self.reciprocal_pixel_size_per_a
            for count in self.shape
        ]
        beside: np.ndarray = np.hypot(along[0][:, None], along[1]) >= self.beam_stop_per_a
        return beside


def interphase_scan(
    model: "InterphaseModel",
    *,
    step_a: float,
    origin_a: tuple[float, float] = (0.0, 0.0),
    shape: tuple[int, int] | None = None,
) -> Scan:
    """Return a scan over a model's field, or part of it.

    Parameters
    ----------
    model
        The interphase.
    step_a
        Distance between neighbours [Å].
    origin_a
        The first place (y, x), in the coordinates of the model's image: from the corner of the
        field, without the margin [Å].
    shape
        Number of places; as many as fit into the field by default.

    Raises
    ------
    ParameterError
        The scan leaves the field.
    """
    room = np.subtract(model.field_a, origin_a) / step_a
    if shape is None:
        shape = (int(room[0]), int(room[1]))
    if min(origin_a) < 0 or (np.array(shape) > room).any() or min(shape) < 1:
        raise ParameterError(
            f"a scan of {shape} places, {step_a} Å apart from {origin_a} Å on, leaves the field of "
            f"{model.field_a[0]:.0f} × {model.field_a[1]:.0f} Å: give fewer places or a smaller "
            "step"
        )
    y, x = origin_a
    return Scan(origin_a=(y + model.margin_a, x + model.margin_a), step_a=step_a, shape=shape)


def probe_window(probe: Probe, thickness_a: float) -> float:
    r"""Return the width of a box around a probe in which a scene can be cut [Å].

    Parameters
    ----------
    probe
        The beam.
    thickness_a
        Thickness of the specimen [Å].

    Notes
    -----
    Twice :math:`5\lambda/\alpha + \alpha\max(|\Delta f|, |t - \Delta f|) + C_s\alpha^3`: the
    tails of the diffraction disc, the geometric cone at the surfaces, and the blur of spherical
    aberration. Measured against the whole scene, for LiF of 50 Å in 60 Å of an organic film at
    300 keV and 20 mrad: what annular detectors count is right to 5 % at every place, the bright
    field to 2 %, or 2 to 10 % of an image's contrast; 2 % of a pattern's electrons are in another
    pixel of 0.1 1/Å. Twice the width leaves half to two
    thirds of these errors.

    Examples
    --------
    >>> round(probe_window(Probe(beam_energy_kev=300.0, semi_convergence_mrad=20.0), 200.0), 1)
    17.8
    """
    angle = probe.semi_convergence_mrad * 1e-3
    cone = max(abs(probe.defocus_a), abs(thickness_a - probe.defocus_a))
    aberration = abs(probe.spherical_aberration_mm) * 1e7 * angle**3
    return 2 * (_TAILS * probe.wavelength_a / angle + cone * angle + aberration)


def _check_positive(record: object, *names: str) -> None:
    for name in names:
        value = getattr(record, name)
        if not 0 < value < float("inf"):
            raise ParameterError(f"{name} is {value!r}: expected a finite number > 0")
