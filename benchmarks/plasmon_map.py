"""Low losses: truthfulness of plasmon maps, and time and memory of all that is lazy.

``python benchmarks/plasmon_map.py [--pixels 2000] [--side 256]``

Films of known plasmons tell bias and coverage. A map of 256 × 256 × 2048 (0.5 GB) is read a chunk
at a time by a process of its own: plasmons within 15 s on two cores; two ranges of dual spectra
through `align_dual`, spikes, and Fourier-log deconvolution of every spectrum within 2 GB of memory.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CHANNELS = 2048
DISPERSION_EV = 0.05
FIRST_EV = -20.0
ENERGY = FIRST_EV + DISPERSION_EV * np.arange(CHANNELS)
ANGLES = {"beam_energy_kev": 300.0, "collection_mrad": 10.0}


def say(**row: Any) -> None:
    print(json.dumps(row), flush=True)


def film(material: str, electrons: float, pixels: int, rng: np.random.Generator) -> np.ndarray:
    from interphase.simulation import EnergyAxis, Spectrometer, record_spectra, spectrum_image

    spectrometer = Spectrometer(
        beam_energy_kev=300, collection_semi_angle_mrad=10, convergence_semi_angle_mrad=10,
        resolution_fwhm_ev=0.8,
    )  # fmt: skip
    axis = EnergyAxis(first_ev=FIRST_EV, dispersion_ev=DISPERSION_EV, channels=CHANNELS)
    share = spectrum_image(
        {material: np.full((1, 1), 200.0)}, axis=axis, spectrometer=spectrometer
    )[0]
    tiled = np.broadcast_to(share, (1, pixels, CHANNELS))
    return record_spectra(tiled, electrons_per_pixel=electrons, rng=rng)[0]


def truth(rng: np.random.Generator, pixels: int) -> None:
    from interphase.eels import find_zero_loss, map_plasmon
    from interphase.simulation import loss_material

    for model, material, electrons in (
        ("losses", "Li", 1e4), ("losses", "Li2O", 1e4), ("losses", "LiF", 1e4),
        ("losses", "Al", 1e4), ("peak", "Li2O", 1e6),
    ):  # fmt: skip
        counts = film(material, electrons, pixels, rng)
        found = map_plasmon(counts, ENERGY, find_zero_loss(counts, ENERGY), model=model, **ANGLES)
        true = loss_material(material)
        row: dict[str, Any] = {"model": model, "material": material, "electrons": electrons}
        for name, at in (("energy", true.plasmon_ev), ("width", true.plasmon_fwhm_ev)):
            off, error = getattr(found, f"{name}_ev") - at, getattr(found, f"{name}_error_ev")
            pull = off[np.isfinite(off)] / error[np.isfinite(off)]
            row[name] = {
                "error_ev": round(float(np.nanmedian(error)), 3),
                "bias_over_error": round(float(pull.mean()), 3),
                "within_1_and_2_errors": [
                    round(float((np.abs(pull) < k).mean()), 3) for k in (1.0, 1.96)
                ],
            }
        say(**row)


def big(rng: np.random.Generator, side: int) -> None:
    rows = [film(name, 1e4, 512, rng).astype(np.float32) for name in ("Li2O", "LiF", "Li")]
    spectra = np.concatenate(rows)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("low", "core"):
            counts = np.lib.format.open_memmap(
                Path(folder) / f"{name}.npy", "w+", np.float32, (side, side, CHANNELS)
            )
            for row in counts:
                row[:] = spectra[rng.integers(len(spectra), size=side)]
            counts.flush()
            del counts
        for what in ("losses", "peak", "dual", "defects", "fourier_log"):
            subprocess.run([sys.executable, __file__, "--file", folder, what], check=True)


def timed(function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, {
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }


def lazy(path: Path) -> Any:
    """Return a map that is read a chunk at a time: `da.from_array` would copy it into memory."""
    import dask.array as da

    shape = np.load(path, mmap_mode="r").shape

    def part(block_info: Any = None) -> np.ndarray:
        first, last = block_info[None]["array-location"][0]
        return np.array(np.load(path, mmap_mode="r")[first:last])

    rows = tuple(min(16, shape[0] - first) for first in range(0, shape[0], 16))
    return da.map_blocks(part, chunks=(rows, *((n,) for n in shape[1:])), dtype=np.float32)


def from_file(folder: Path, what: str) -> None:
    import dask.array as da

    from interphase.eels import align_dual, find_defects, find_zero_loss, fourier_log, map_plasmon

    low, core = (lazy(folder / f"{name}.npy") for name in ("low", "core"))
    zero, row = timed(lambda: find_zero_loss(low, ENERGY))
    say(zero_loss=low.shape, **row)

    def dual() -> None:
        width = {"low_dispersion_ev": DISPERSION_EV, "core_dispersion_ev": DISPERSION_EV}
        da.compute(*(da.nansum(part, axis=(0, 1)) for part in align_dual(low, core, zero, **width)))

    def deconvolved() -> None:
        peaks = da.where(ENERGY < 4, low, 0)
        da.compute(fourier_log(low, peaks).counts.sum(axis=(0, 1)))

    tasks: dict[str, Callable[[], Any]] = {
        "losses": lambda: map_plasmon(low, ENERGY, zero, **ANGLES),
        "peak": lambda: map_plasmon(low, ENERGY, zero, model="peak", **ANGLES),
        "dual": dual,
        "defects": lambda: find_defects(low, resolution_channels=16).spikes.sum().compute(),
        "fourier_log": deconvolved,
    }
    _, row = timed(tasks[what])
    status = Path("/proc/self/status").read_text()
    # What the kernel says of a child by getrusage begins with its parent's memory.
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1e6
    say(map=what, shape=low.shape, **row, peak_gb=round(peak, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixels", type=int, default=2000, help="spectra of each material")
    parser.add_argument("--side", type=int, default=256, help="pixels along a side of the map")
    parser.add_argument("--file", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.file:
        from_file(Path(arguments.file[0]), arguments.file[1])
        return
    rng = np.random.default_rng(arguments.seed)
    truth(rng, arguments.pixels)
    big(rng, arguments.side)


if __name__ == "__main__":
    main()
