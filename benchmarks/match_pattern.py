"""Time and accuracy of finding a crystal's orientation from one diffraction pattern, beside peers.

``python benchmarks/match_pattern.py [--patterns 100] [--multislice 5] [--py4dstem-python PATH]
[--pyxem-python PATH]``

Spots of crystals in random orientations: kinematic intensities with excitation errors, off by
e^0.5, positions off by 0.004 1/Å, 15 % of the spots missing and two that do not belong;
and spots found in multislice patterns of spheres of 6 nm at 300 kV. The error is the angle to the
truth, symmetry and half a turn about the beam aside. py4DSTEM 0.14 and pyxem 0.21 want versions of
NumPy and zarr that this package cannot use, so each is started with the Python of an environment of
its own and given the same patterns:

    python -m venv py4dstem && py4dstem/bin/pip install py4DSTEM==0.14.18 "pymatgen<2025.3"
    python -m venv pyxem && pyxem/bin/pip install pyxem==0.21.0 diffsims

Peers get a step of 2° in both angles, their caches warm, their preparation not counted; the time of
pyxem is that of matching alone, not of drawing a pattern and its polar transform.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PHASES = ("Li2CO3", "Li2O", "LiF")
SPACE_GROUPS = {"Li2CO3": 15, "Li2O": 225, "LiF": 225}
KEV, D_MIN_A, K_MIN, SIGMA = 300.0, 1.1, 0.12, 0.004
PIXELS = 256


def kinematic(phase, rotation, rng):
    """Return spots (ky, kx), intensities of a crystal of 40 to 80 Å, or None if there are few."""
    from interphase.electron import wavelength_from_energy
    from interphase.phases import reflections

    table = reflections(phase, d_min_a=D_MIN_A)
    g = table.g_per_a @ rotation.T
    excitation = g[:, 2] + wavelength_from_energy(KEV) / 2 * (g**2).sum(axis=1)
    intensity = table.relative * np.exp(-2.08 * (excitation * rng.uniform(40, 80)) ** 2)
    intensity *= np.exp(0.5 * rng.standard_normal(len(g)))
    k = g[:, 1::-1] + SIGMA * rng.standard_normal((len(g), 2))
    length = np.hypot(*k.T)
    seen = (length > K_MIN) & (length < 1 / D_MIN_A) & (intensity > 0.003)
    seen &= rng.random(len(k)) > 0.15
    if seen.sum() < 4:
        return None
    radius, azimuth = rng.uniform(K_MIN, 1 / D_MIN_A, 2), rng.uniform(0, 2 * np.pi, 2)
    clutter = radius[:, None] * np.stack([np.sin(azimuth), np.cos(azimuth)], axis=1)
    return (
        np.concatenate([k[seen], clutter]),
        np.concatenate([intensity[seen], rng.choice(intensity[seen], 2)]),
    )


def multislice(phase, rotation, rng):
    """Return spots found in the pattern of a sphere, or None if there are few."""
    from scipy import ndimage

    from interphase.simulation import (
        Multislice,
        Orientation,
        Scene,
        crystallite,
        diffraction_intensity,
        exit_wave,
    )

    grain = crystallite(phase, 60.0, orientation=Orientation(matrix=rotation))
    grain.positions += 40.0
    scene = Scene(atoms=grain, size_a=(80.0, 80.0), thickness_a=80.0, matrix="vacuum")
    settings = Multislice(sampling_a=0.2, slice_thickness_a=2.0)
    wave = exit_wave(scene, beam_energy_kev=KEV, settings=settings)
    share, step = diffraction_intensity(
        wave, aperture_diameter_a=80.0, reciprocal_pixel_size_per_a=1 / 160
    )
    counts = ndimage.gaussian_filter(rng.poisson(2e6 * share).astype(float), 1.5)
    centre = len(share) // 2
    y, x = np.indices(counts.shape) - centre
    k = np.hypot(y, x) * step
    peak = (counts == ndimage.maximum_filter(counts, 9)) & (k > K_MIN) & (k < 1 / D_MIN_A)
    peak &= counts > max(2e-3 * counts[peak].max(), 3.0)
    if peak.sum() < 6:
        return None
    return np.stack([y[peak], x[peak]], axis=1) * step, counts[peak]


def draw(phase, make, number, rng):
    """Return patterns of random orientations and these orientations."""
    from scipy.spatial.transform import Rotation

    spots, truth = [], []
    while len(spots) < number:
        rotation = Rotation.random(random_state=rng).as_matrix()
        pattern = make(phase, rotation, rng)
        if pattern is not None:
            spots.append(pattern)
            truth.append(rotation)
    return spots, np.array(truth)


def ours(phase, spots):
    """Return rotations and the time of each match [ms]."""
    from interphase.diffraction import match_orientation

    found, times = [], []
    for k, intensity in [spots[0], *spots]:
        start = time.perf_counter()
        best = match_orientation(
            k,
            intensity,
            phase=phase,
            beam_energy_kev=KEV,
            sigma_per_a=0.005,
            d_min_a=D_MIN_A,
            k_range_per_a=(K_MIN, 1 / D_MIN_A),
        )
        times.append(1e3 * (time.perf_counter() - start))
        found.append(best[0].rotation if best else np.full((3, 3), np.nan))
    return np.array(found[1:]), np.array(times[1:])


def py4dstem(job):
    """Run in the environment of py4DSTEM: matrices from hkl to (kx, ky), times [ms]."""
    import py4DSTEM
    from py4DSTEM.process.diffraction import Crystal

    crystal = Crystal(job["fractional"], job["numbers"], job["lattice"])
    crystal.calculate_structure_factors(1 / D_MIN_A)
    crystal.orientation_plan(
        zone_axis_range=str(job["zone_axis_range"]),
        angle_step_zone_axis=2.0,
        angle_step_in_plane=2.0,
        accel_voltage=KEV * 1e3,
        progress_bar=False,
    )
    matrices, times = [], []
    for n in range(int(job["count"])):
        k, intensity = job[f"k{n}"], job[f"i{n}"]
        peaks = py4DSTEM.PointList(
            np.array(
                list(zip(k[:, 1], k[:, 0], intensity, strict=True)),
                dtype=[("qx", float), ("qy", float), ("intensity", float)],
            )
        )
        for _ in range(2 if n == 0 else 1):
            start = time.perf_counter()
            found = crystal.match_single_pattern(peaks)
            elapsed = 1e3 * (time.perf_counter() - start)
        times.append(elapsed)
        # Reflections and their indices give the frame without a convention.
        g, hkl = crystal.g_vec_all, crystal.hkl
        basis = g @ np.linalg.pinv(hkl)
        matrices.append((found.matrix[0].T @ basis)[:2])
    return np.array(matrices), np.array(times)


def pyxem(job):
    """Run in the environment of pyxem: matrices from hkl to (kx, ky), times [ms]."""
    import hyperspy.api as hs
    import pyxem as pxm
    from diffpy.structure import Atom, Lattice, Structure
    from diffsims.generators.simulation_generator import SimulationGenerator
    from orix.crystal_map import Phase
    from orix.sampling import get_sample_reduced_fundamental

    hs.preferences.General.show_progressbar = False
    symbols = [str(s) for s in job["species"]]
    atoms = [Atom(s, list(p)) for s, p in zip(symbols, job["fractional"], strict=True)]
    structure = Structure(atoms, Lattice(*job["lattice"]))
    phase = Phase("phase", space_group=int(job["space_group"]), structure=structure)
    rotations = get_sample_reduced_fundamental(resolution=2, point_group=phase.point_group)
    library = SimulationGenerator(accelerating_voltage=KEV, minimum_intensity=1e-4)
    library = library.calculate_diffraction2d(
        phase,
        rotation=rotations,
        reciprocal_radius=1 / D_MIN_A,
        max_excitation_error=0.04,
        with_direct_beam=False,
    )
    step = 2 / D_MIN_A / PIXELS
    y, x = (np.indices((PIXELS, PIXELS)) - PIXELS // 2) * step
    images = np.zeros((int(job["count"]), PIXELS, PIXELS), dtype=np.float32)
    for n, image in enumerate(images):
        for (ky, kx), intensity in zip(job[f"k{n}"], job[f"i{n}"], strict=True):
            image += np.sqrt(intensity) * np.exp(
                -((y - ky) ** 2 + (x - kx) ** 2) / (2 * (1.5 * step) ** 2)
            )
    signal = pxm.signals.ElectronDiffraction2D(images)
    signal.calibration.scale = step
    signal.calibration.center = (PIXELS // 2, PIXELS // 2)
    polar = signal.get_azimuthal_integral2d(
        npt=PIXELS // 2, npt_azim=180, radial_range=(0.0, 1 / D_MIN_A), inplace=False, mean=True
    )
    for _ in range(2):
        start = time.perf_counter()
        orientation = polar.get_orientation(library, n_best=1, frac_keep=1.0)
        elapsed = 1e3 * (time.perf_counter() - start) / len(images)
    matrices = []
    for index, _, turn, mirror in np.asarray(orientation.data)[:, 0]:
        vectors = library.coordinates[int(index)]
        plane = vectors.data[:, :2].T @ np.linalg.pinv(np.asarray(vectors.hkl, dtype=float)).T
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        # The image's rows run down; a mirrored template is turned and then mirrored.
        turned = np.array([[c, mirror * s], [-mirror * s, c]]) @ np.diag([1.0, -1.0]) @ plane
        matrices.append(np.diag([1.0, mirror]) @ turned)
    return np.array(matrices), np.full(len(images), elapsed)


PEERS = {"py4DSTEM": py4dstem, "pyxem": pyxem}


def from_peer(name, python, phase, spots):
    """Return a peer's rotations and the times of its matches [ms], or None and why."""
    import ase.data

    job = {
        "fractional": phase.fractional,
        "numbers": np.array([ase.data.atomic_numbers[s] for s in phase.species]),
        "species": np.array(phase.species),
        "lattice": np.array(phase.lattice),
        "space_group": SPACE_GROUPS[phase.identifier],
        "zone_axis_range": "auto",
        "count": len(spots),
    }
    for n, (k, intensity) in enumerate(spots):
        job[f"k{n}"], job[f"i{n}"] = k, intensity
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / n) for n in ("in.npz", "out.npz")]
        np.savez(files[0], **job)
        done = subprocess.run(
            [python, __file__, "--peer", name, *files], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return None, done.stderr.strip().splitlines()[-1:]
        with np.load(files[1]) as out:
            matrices, times = out["matrices"], out["times"]
    # Rows of k = M h with h = (cell vectors) g: the frame of our rotations.
    rows = matrices @ phase.lattice_vectors
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], axis=1), times


def errors(found, truth, symmetry):
    from interphase.diffraction import misorientation_deg

    return np.array(
        [
            90.0 if not np.isfinite(a).all() else misorientation_deg(a, b, symmetry)
            for a, b in zip(found, truth, strict=True)
        ]
    )


def report(kind, phase, who, error, times):
    row = {
        "patterns": kind,
        "phase": phase,
        "program": who,
        "median_deg": round(float(np.median(error)), 2),
        "p90_deg": round(float(np.percentile(error, 90)), 1),
        "within_3_deg": round(float(np.mean(error < 3)), 2),
        "median_ms": round(float(np.median(times)), 2),
        "p90_ms": round(float(np.percentile(times, 90)), 2),
    }
    print(json.dumps(row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patterns", type=int, default=100)
    parser.add_argument("--multislice", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--py4dstem-python")
    parser.add_argument("--pyxem-python")
    parser.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        name, source, target = arguments.peer
        with np.load(source) as job:
            matrices, times = PEERS[name](dict(job))
        np.savez(target, matrices=matrices, times=times)
        return
    from interphase.phases import load_phase, point_group_rotations

    pythons = {"py4DSTEM": arguments.py4dstem_python, "pyxem": arguments.pyxem_python}
    for name, python in pythons.items():
        if not python:
            print(f"{name} is left out: no --{name.lower()}-python is given", file=sys.stderr)
    kinds = (
        ("kinematic", kinematic, arguments.patterns),
        ("multislice", multislice, arguments.multislice),
    )
    for kind, make, number in kinds:
        for identifier in PHASES if number else ():
            phase = load_phase(identifier)
            symmetry = point_group_rotations(phase)
            rng = np.random.default_rng(arguments.seed)
            spots, truth = draw(phase, make, number, rng)
            report(kind, identifier, "interphase", *_judged(ours(phase, spots), truth, symmetry))
            for name, python in pythons.items():
                if not python:
                    continue
                found, times = from_peer(name, python, phase, spots)
                if found is None:
                    print(f"{name} failed: {times}", file=sys.stderr)
                    continue
                report(kind, identifier, name, errors(found, truth, symmetry), times)


def _judged(result, truth, symmetry):
    found, times = result
    return errors(found, truth, symmetry), times


if __name__ == "__main__":
    main()
