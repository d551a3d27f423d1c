"""Projected potentials of slices, as good as exact ones at the sampling of a wave.

abTEM's infinite projection spreads an atom that lies between grid points over the four nearest,
which weakens all that is finer than some pixels, and moves it along the beam into its slice.
Spreading it over sixteen points with the cubic B-spline and dividing by the spline's transform
weakens nothing, and what aliases is smaller than what the sampling loses; sharing it between the
two nearest slices so that its mean height stays leaves no error of first order along the beam.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms


def spread_points(
    positions: np.ndarray, weights: np.ndarray, shape: tuple[int, int], xp: Any = np
) -> np.ndarray:
    """Return points laid on a periodic grid as cubic B-splines.

    Parameters
    ----------
    positions
        Positions in pixels, pixel centres on integers, shape (N, 2).
    weights
        Weights of the points, shape (N,).
    shape
        Pixels of the grid.
    xp
        NumPy, or CuPy for arrays on the GPU.

    Returns
    -------
    ndarray of shape `shape`
        Its sum is that of the weights. The Fourier transform is that of the points times
        sinc⁴ of the frequency along each axis, but for what aliases.

    Examples
    --------
    >>> spread_points(np.array([[2.0, 2.0]]), np.ones(1), (5, 5))[2].round(4).tolist()
    [0.0, 0.1111, 0.4444, 0.1111, 0.0]
    """
    base = xp.floor(positions).astype(int)
    row, column = _spline_weights(positions - base, xp)
    node = xp.arange(-1, 3)[:, None]
    rows, columns = (base[:, 0] + node) % shape[0], (base[:, 1] + node) % shape[1]
    flat = xp.bincount(
        (rows[:, None] * shape[1] + columns).ravel(),
        (weights * row[:, None] * column).ravel(),
        minlength=shape[0] * shape[1],
    )
    spread: np.ndarray = flat.reshape(shape)
    return spread


def _spline_weights(offset: np.ndarray, xp: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the four nodes from one below each point, for both axes, shape (4, N)."""
    t = offset.T
    weights = xp.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    )
    return weights[:, 0] / 6, weights[:, 1] / 6


class SplineProjection:
    """Projects atoms into slices for `abtem.Potential`, which takes it as `integrator`.

    Parameters
    ----------
    slice_thickness_a
        Thickness of a slice; all have the same [Å].
    thickness_a
        Height of the box [Å].
    """

    periodic = True  # across the beam
    finite = True  # abTEM then hands over the neighbouring slices' atoms, too

    def __init__(self, *, slice_thickness_a: float, thickness_a: float) -> None:
        self._slice_thickness_a = slice_thickness_a
        self._thickness_a = thickness_a
        self._factors: dict[tuple[object, ...], Any] = {}

    def cutoff(self, symbol: str) -> float:
        """Return how far from a slice atoms matter to it [Å]."""
        return self._slice_thickness_a / 2

    def integrate_on_grid(
        self,
        atoms: "Atoms",
        a: float,
        b: float,
        gpts: tuple[int, int],
        sampling: tuple[float, float],
        device: str = "cpu",
    ) -> np.ndarray:
        """Return the projected potential of a slice from height a to b [V Å]."""
        import scipy.fft
        from abtem.core.backend import get_array_module
        from ase.data import chemical_symbols

        xp = get_array_module(device)
        # SciPy's transforms of single precision take half the time of NumPy's.
        fft = scipy.fft if xp is np else xp.fft
        spectrum = xp.zeros((gpts[0], gpts[1] // 2 + 1), dtype=xp.complex64)
        share = self._share(atoms.positions[:, 2], a, b)
        for number in np.unique(atoms.numbers[share > 0]):
            chosen = (atoms.numbers == number) & (share > 0)
            points = spread_points(
                xp.asarray(atoms.positions[chosen, :2] / np.asarray(sampling)),
                xp.asarray(share[chosen]),
                gpts,
                xp,
            )
            transform = fft.rfft2(points.astype(xp.float32))
            spectrum += transform * self._factor(chemical_symbols[number], gpts, sampling, xp)
        potential: np.ndarray = fft.irfft2(spectrum, s=gpts).astype(xp.float32)
        return potential

    def _share(self, height: np.ndarray, a: float, b: float) -> np.ndarray:
        """Share of each atom that the slice gets; with its neighbours' it makes 1, shape (N,)."""
        half = self._slice_thickness_a / 2
        # The outermost half slices have no neighbour to share with.
        shared = np.clip(height, half, self._thickness_a - half)
        share = np.clip(1 - np.abs(shared - (a + b) / 2) / (2 * half), 0, None)
        # abTEM repeats the atoms above and below the box.
        return np.where((height >= 0) & (height < self._thickness_a), share, 0.0)

    def _factor(
        self, symbol: str, gpts: tuple[int, int], sampling: tuple[float, float], xp: Any
    ) -> Any:
        """Projected scattering factor over the transform of the spline, on half the plane."""
        key = (symbol, *gpts, *sampling, xp.__name__)
        if key not in self._factors:
            from abtem.parametrizations import LobatoParametrization

            kx = np.fft.fftfreq(gpts[0], sampling[0])
            ky = np.fft.rfftfreq(gpts[1], sampling[1])
            atom: Any = LobatoParametrization().projected_scattering_factor(symbol)
            scattering = atom(kx[:, None] ** 2 + ky**2)
            spline = np.outer(np.sinc(kx * sampling[0]), np.sinc(ky * sampling[1])) ** 4
            factor = scattering / (spline * sampling[0] * sampling[1])
            self._factors[key] = xp.asarray(factor, dtype=xp.float32)
        return self._factors[key]
