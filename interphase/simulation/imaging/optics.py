"""The microscope after the specimen: aberrations and coherence."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.checks import check_finite, check_not_negative

if TYPE_CHECKING:
    import abtem

_NEVER_NEGATIVE = (
    "focal_spread_a",
    "semi_convergence_mrad",
    "astigmatism_a",
    "coma_a",
    "trefoil_a",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Optics:
    """What the microscope makes of an exit wave.

    Azimuths run from columns towards rows, as everywhere in an image.
    """

    defocus_a: float
    """Defocus, positive = underfocus [Å]."""
    spherical_aberration_mm: float = 0.0
    """Coefficient of spherical aberration [mm]."""
    astigmatism_a: float = 0.0
    """Two-fold astigmatism: underfocus is this much less along its azimuth and this much more
    across [Å]."""
    astigmatism_deg: float = 0.0
    """Azimuth of the least underfocus [degrees]."""
    coma_a: float = 0.0
    """Axial coma C21 = 3 B2 [Å]."""
    coma_deg: float = 0.0
    """Its azimuth [degrees]."""
    trefoil_a: float = 0.0
    """Three-fold astigmatism C23 = A2 [Å]."""
    trefoil_deg: float = 0.0
    """Its azimuth [degrees]."""
    focal_spread_a: float = 0.0
    """Standard deviation of the focus through the spread of energy and currents [Å]."""
    semi_convergence_mrad: float = 0.0
    """1/e half-angle of the Gaussian source, which limits spatial coherence [mrad]."""
    aperture_mrad: float | None = None
    """Semi-angle of the objective aperture [mrad]; ``None`` for no aperture."""

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        aperture = values.pop("aperture_mrad")
        check_finite(**values)
        check_not_negative(**{name: values[name] for name in _NEVER_NEGATIVE})
        if aperture is not None and not 0 < aperture < np.inf:
            raise ParameterError(
                f"aperture_mrad is {aperture!r}: expected a semi-angle above 0 mrad, or "
                "None for no aperture"
            )

    def transfer(self, beam_energy_kev: float) -> "abtem.CTF":
        r"""Return abTEM's transfer function for a beam energy [keV].

        Notes
        -----
        The wave is multiplied by :math:`e^{-i\chi}` with, for :math:`\alpha = \lambda k`,

        .. math::
            \chi = \frac{2\pi}{\lambda}\Big\{\frac{\alpha^2}{2}[-\Delta f + A_1\cos 2(\varphi -
            \varphi_1)] + \frac{\alpha^3}{3}[C_{21}\cos(\varphi - \varphi_{21}) + C_{23}\cos
            3(\varphi - \varphi_{23})] + \frac{\alpha^4}{4} C_s\Big\}

        and by the envelopes :math:`\exp[-\tfrac12(\pi\lambda\delta k^2)^2]` of the focal spread
        and :math:`\exp[-(\alpha_0/2\lambda)^2(\partial\chi/\partial k)^2]` of the source.
        """
        import abtem

        return abtem.CTF(
            energy=beam_energy_kev * 1e3,
            defocus=self.defocus_a,
            C30=self.spherical_aberration_mm * 1e7,
            C12=self.astigmatism_a,
            phi12=np.deg2rad(self.astigmatism_deg),
            C21=self.coma_a,
            phi21=np.deg2rad(self.coma_deg),
            C23=self.trefoil_a,
            phi23=np.deg2rad(self.trefoil_deg),
            # abTEM takes the 1/e width of the focal spread.
            focal_spread=np.sqrt(2) * self.focal_spread_a,
            angular_spread=self.semi_convergence_mrad,
            semiangle_cutoff=np.inf if self.aperture_mrad is None else self.aperture_mrad,
        )
