"""A dual spectrum image of 256 × 256 × 2048 from its files to maps: time and memory.

``python benchmarks/spectrum_maps.py [--side 256] [--keep FOLDER]``

Writes a film of Li2O, Li2CO3 and polymer, 1000 e/Å² on pixels of 2 nm, as core losses (0.5 GB in
single precision) and low losses (0.2 GB), then measures it as `interphase eels` does in a process
of its own: alignment on the zero losses, thickness, regions with the fits of their sums, maps of
C, O and F with the squares that the electrons allow, maps of species.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

MEASURE = """
import json, sys, time
start = time.perf_counter()
from pathlib import Path
from interphase.io import read
from interphase.session.spectra import measure_loaded
from interphase.session.spectra_records import SpectraOptions
result, maps = measure_loaded(read(Path(sys.argv[1])), SpectraOptions())
took = time.perf_counter() - start
peak = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM"))
print(json.dumps({
    "wall_s": round(took, 1), "cpu_s": round(time.process_time(), 1),
    "peak_gb": round(peak / 1e6, 2), "regions": len(result.regions),
    "squares": {e: [m.binning, m.resolved] for e, m in result.maps.items()},
    "sentence": result.sentence,
}))
"""


def write(folder, side):
    import dask
    import numpy as np

    from interphase.simulation import (
        EnergyAxis,
        Spectrometer,
        record_spectra,
        spectrum_image,
        to_eels_signal,
    )

    rng = np.random.default_rng(5)
    _, x = np.mgrid[:side, :side]
    parts = {"Li2O": x < 0.4 * side, "LEDC": x >= 0.7 * side}
    parts["Li2CO3"] = ~(parts["Li2O"] | parts["LEDC"])
    film = {name: np.where(where, 200.0, 0.0) for name, where in parts.items()}
    optics = Spectrometer(
        beam_energy_kev=300, collection_semi_angle_mrad=20, convergence_semi_angle_mrad=10,
        resolution_fwhm_ev=0.8,
    )  # fmt: skip
    drift = rng.normal(0, 0.3, (side, side))
    for name, first, channels, part in (("LL", -20, 700, 0.05), ("HL", 240, 2048, 0.95)):
        axis = EnergyAxis(first_ev=first, dispersion_ev=0.25, channels=channels)
        share = spectrum_image(
            film, axis=axis, spectrometer=optics, energy_shift_ev=drift, lazy=True
        )
        counts = record_spectra(share, electrons_per_pixel=4e5 * part, rng=rng)
        with dask.config.set(scheduler="synchronous"):
            signal = to_eels_signal(
                counts.compute(), axis=axis, spectrometer=optics, pixel_size_a=20,
                beam_current_pa=50, dwell_time_s=1e-3 * part,
            )  # fmt: skip
        signal.save(folder / f"film_{name}.hspy", overwrite=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write(folder, chosen.side)
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(folder / "film_HL.hspy")],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        print(json.dumps({"side": chosen.side, **json.loads(done.stdout.splitlines()[-1])}))


if __name__ == "__main__":
    main()
