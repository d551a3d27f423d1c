"""Elements from spectrum images: time, accuracy and memory, beside eXSpy and bare NumPy.

``python benchmarks/eels_fit.py [--pixels 128] [--peer-pixels 16] [--big] [--pyeelsmodel PYTHON]``

Speed: C, O and F K on a power law, 1024 channels, all fits of the same Poisson counts in one run;
the linear fit and the likelihood include the choice of the background. Accuracy: a film of
20 nm of Li2CO3 and LiF with near-edge structure and plural scattering, in bins of 100 nm². Beside
what is reached stand the Cramér-Rao bounds: with the shapes of edges and background as they are,
their amounts and the background's exponent free, and with only the sums of near-edge windows.
`--big` writes 256 × 256 × 2048 spectra to a file and fits it lazily in a process of its own.
`--pyeelsmodel` names an interpreter with pyEELSMODEL, which is fitted beside eXSpy.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

OPTICS = {"beam_energy_kev": 300.0, "collection_mrad": 10.0, "convergence_mrad": 0.0}
TRUTH = {"C": 3000.0, "O": 5000.0, "F": 4000.0}
ELECTRONS = 3e5
CHANNELS = 1024


def say(**row):
    print(json.dumps(row), flush=True)


def median_s(call, repeats=3):
    """Return the time of a call, and that of the cores together: other work spares the second."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        call()
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return np.median(times, axis=0)


def design(energy):
    """Return what electrons and 1/nm² make of each edge, and the derivatives of a power law."""
    from interphase.eels.cross_sections import edge_cross_section

    edges = [
        ELECTRONS
        * edge_cross_section(f"{e}_K", energy, table="hydrogenic", **OPTICS).per_channel_nm2
        for e in TRUTH
    ]
    tail = 100 * (energy / energy[0]) ** -3.0
    return np.stack([*edges, tail, tail * np.log(energy / energy[0])], axis=1)


def speed(side, peer_pixels, pyeelsmodel, rng):
    from interphase.eels import ElementOptions, fit_elements

    energy = 250 + 0.6 * np.arange(CHANNELS)
    x = design(energy)
    mean = x @ np.array([*TRUTH.values(), 1.0, 0.0])
    bound = np.sqrt(np.diag(np.linalg.inv(x.T @ (x / mean[:, np.newaxis])))[:3])
    counts = rng.poisson(mean, (side, side, CHANNELS)).astype(np.float32)
    truth = np.array(list(TRUTH.values()))
    for method in ("linear", "likelihood"):
        for near_edge_ev in (0.0, 50.0):
            options = ElementOptions(
                method=method, near_edge_ev=near_edge_ev, table="hydrogenic", non_negative=False
            )
            bounded = ElementOptions(method=method, near_edge_ev=near_edge_ev, table="hydrogenic")

            def fit(options=options):
                return fit_elements(
                    counts, energy_ev=energy, elements=list(TRUTH), electrons=ELECTRONS,
                    options=options, **OPTICS,
                )  # fmt: skip

            seconds = median_s(lambda bounded=bounded, fit=fit: fit(bounded))
            maps = fit()
            off = maps.areal_density_per_nm2 - truth
            say(
                fit=f"interphase {method}",
                near_edge_ev=near_edge_ev,
                ms_per_px=(1e3 * seconds / side**2).round(4).tolist(),
                rms_error_per_nm2=np.sqrt(np.nanmean(off**2, axis=(0, 1))).round().tolist(),
                error_over_cramer_rao=(np.nanstd(off, axis=(0, 1)) / bound).round(3).tolist(),
                within_1_and_2_errors=[
                    np.nanmean(np.abs(off) < k * maps.standard_error_per_nm2, axis=(0, 1))
                    .round(3)
                    .tolist()
                    for k in (1.0, 1.96)
                ],
            )
    flat = counts.reshape(-1, CHANNELS).T
    solve = np.linalg.pinv(x).astype(np.float32)
    seconds = median_s(lambda: solve @ flat)
    off = (solve @ flat)[:3] - truth[:, np.newaxis]
    say(
        fit="numpy, one matrix product, the true background's shape",
        ms_per_px=(1e3 * seconds / side**2).round(4).tolist(),
        rms_error_per_nm2=np.sqrt((off**2).mean(axis=1)).round().tolist(),
    )
    peers(counts[:1, :peer_pixels], energy, truth)
    if pyeelsmodel:
        beside(pyeelsmodel, counts[:peer_pixels, :peer_pixels], energy, truth)


def beside(python, counts, energy, truth):
    """Fit counts with pyEELSMODEL in another interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spectra.npz"
        np.savez(path, counts=counts, energy=energy)
        done = subprocess.run(
            [python, __file__, "--fit-pyeelsmodel", str(path)],
            capture_output=True, text=True, check=True, env=os.environ | {"MPLBACKEND": "agg"},
        )  # fmt: skip
        for fit in map(json.loads, done.stdout.splitlines()):
            found = np.load(fit.pop("file")).reshape(-1, len(TRUTH)) * 1e10 / ELECTRONS
            off = found - truth
            say(
                **fit,
                pixels=len(found),
                rms_error_per_nm2=np.sqrt((off**2).mean(axis=0)).round().tolist(),
                mean=(found.mean(axis=0) / truth).round(2).tolist(),
            )


def fit_pyeelsmodel(path):
    """Fit the spectra of a file and write the amounts beside it [electrons × barn⁻¹]."""
    import pyEELSMODEL.api as em
    from pyEELSMODEL.components.linear_background import LinearBG

    with np.load(path) as file:
        counts, energy = file["counts"].astype(float), file["energy"]
    step = energy[1] - energy[0]
    for method, weights in (
        ("nnls", False),
        ("nnls", True),
        ("quadratic", False),
        ("quadratic", True),
    ):
        spectra = em.MultiSpectrum.from_numpy(counts, energy)
        shape = em.Spectrumshape(step, energy[0], len(energy))
        edges = [em.HydrogenicCoreLossEdge(shape, 1, 3e5, 1e-9, 1e-2, e, "K") for e in TRUTH]
        background = LinearBG(shape, rlist=np.linspace(1, 5, 4))
        model = em.Model(shape, components=[background, *edges])
        if method == "nnls":
            fitter = em.LinearFitter(spectra, model, method=method, use_weights=weights)
        else:
            fitter = em.QuadraticFitter(spectra, model, use_weights=weights)
        # Its cross-sections take seconds, once: `median_s` leaves the first call out.
        with open(os.devnull, "w") as nothing, contextlib.redirect_stderr(nothing):
            with contextlib.redirect_stdout(nothing):
                seconds = median_s(fitter.multi_fit)
        # Their cross-sections are per eV.
        name = path.with_name(f"{method}{weights}.npy")
        np.save(name, fitter.coeff_matrix[..., -len(TRUTH) :] / step)
        say(
            fit=f"pyEELSMODEL {method}{', weights' if weights else ''}",
            ms_per_px=(1e3 * seconds / counts[..., 0].size).round(4).tolist(),
            file=str(name),
        )


def peers(counts, energy, truth):
    from interphase.core_loss import import_exspy

    exspy = import_exspy()
    axes = [
        {"name": "y", "size": 1, "navigate": True},
        {"name": "x", "size": counts.shape[1], "navigate": True},
        {"name": "E", "size": CHANNELS, "offset": energy[0], "scale": 0.6, "units": "eV"},
    ]
    for fit in ({"optimizer": "lm"}, {"kind": "smart"}):
        signal = exspy.signals.EELSSpectrum(counts.astype(float), axes=axes)
        signal.set_microscope_parameters(300, 1e-3, 10)
        signal.add_elements(list(TRUTH))
        model = signal.create_model(GOS="hydrogenic")
        start = time.perf_counter()
        model.multifit(show_progressbar=False, **fit)
        seconds = time.perf_counter() - start
        found = [model[f"{e}_K"].intensity.map["values"][0] * 1e10 / ELECTRONS for e in TRUTH]
        off = np.array(found) - truth[:, np.newaxis]
        say(
            fit=f"eXSpy multifit {fit}",
            pixels=counts.shape[1],
            ms_per_px=round(1e3 * seconds / counts.shape[1], 2),
            rms_error_per_nm2=np.sqrt((off**2).mean(axis=1)).round().tolist(),
            mean=(np.array(found).mean(axis=1) / truth).round(2).tolist(),
        )


def bounds(film, axis, spectrometer, electrons):
    """Return the Cramér-Rao bounds of C, O and F relative to their amounts, for both models.

    Edges are the change of a spectrum with the atoms, so they hold their structure and the plural
    losses; the background is what they leave, times any power of the energy near 0.
    """
    from interphase.eels.cross_sections import onset_ev
    from interphase.eels.design import bin_starts
    from interphase.simulation import spectrum_image
    from interphase.simulation.imaging.materials import loss_material

    one = {name: thickness[:1, :1] for name, thickness in film.items()}
    known = {name: loss_material(name) for name in film}

    def spectrum(element=None, by=0.01):
        changed = {
            name: replace(
                material,
                atoms_per_a3={
                    e: n * (1 + by * (e == element)) for e, n in material.atoms_per_a3.items()
                },
            )
            for name, material in known.items()
        }
        share = spectrum_image(one, axis=axis, spectrometer=spectrometer, materials=changed)
        return electrons * share[0, 0].astype(float)

    energy = axis.energies_ev
    used = energy > 0.6 * onset_ev("C_K")
    mean = spectrum()
    # Single precision of the spectra would show in the difference of almost equal ones.
    edges = np.stack([(spectrum(e, 0.5) - mean) / 0.5 for e in TRUTH], axis=1)
    background = mean - edges.sum(axis=1)
    x = np.column_stack([edges, background, background * np.log(energy / energy[0])])[used]
    starts = bin_starts(
        np.clip(x[:, :4], 0, None), energy[used], [onset_ev(f"{e}_K") for e in TRUTH], 50.0
    )
    found = {}
    for name, own in (("shapes known", np.arange(len(x))), ("windows summed", starts)):
        columns = np.add.reduceat(x, own)
        expected = np.add.reduceat(mean[used], own)
        c = np.linalg.inv(columns.T @ (columns / expected[:, np.newaxis]))
        found[name] = dict(zip(TRUTH, np.sqrt(np.diag(c)), strict=False)) | {
            f"{a}/{b}": np.sqrt(c[i, i] + c[j, j] - 2 * c[i, j])
            for (i, a), (j, b) in (((1, "O"), (0, "C")), ((2, "F"), (1, "O")))
        }
    return found


def accuracy(rng):
    from interphase.eels import ElementOptions, fit_elements
    from interphase.simulation import EnergyAxis, Spectrometer, record_spectra, spectrum_image
    from interphase.simulation.imaging.spectra import spectrum_truth

    spectrometer = Spectrometer(
        beam_energy_kev=300, collection_semi_angle_mrad=10, convergence_semi_angle_mrad=0,
        resolution_fwhm_ev=0.8,
    )  # fmt: skip
    side = 24
    film = {"Li2CO3": np.full((side, side), 100.0), "LiF": np.full((side, side), 100.0)}
    truth = spectrum_truth(film, spectrometer=spectrometer)
    low_axis = EnergyAxis(first_ev=-20, dispersion_ev=0.3, channels=1024)
    core_axis = EnergyAxis(first_ev=160, dispersion_ev=0.64, channels=1024)
    shares = [
        spectrum_image(film, axis=a, spectrometer=spectrometer) for a in (low_axis, core_axis)
    ]
    for dose in (30, 100, 300, 1000):
        low, core = (record_spectra(s, electrons_per_pixel=dose * 1e4, rng=rng) for s in shares)
        row = {"dose_e_per_a2": dose, "bin_nm2": 100}
        least = bounds(film, core_axis, spectrometer, dose * 1e4)
        for elements, counts, axis in ((["Li"], low, low_axis), (["C", "O", "F"], core, core_axis)):
            maps = fit_elements(
                counts, energy_ev=axis.energies_ev, elements=elements, low_loss=low,
                low_loss_energy_ev=low_axis.energies_ev, exposure_ratio=1.0,
                options=ElementOptions(table="hydrogenic"), **OPTICS,
            )  # fmt: skip
            for k, element in enumerate(elements):
                true = truth.areal_density_per_nm2(element)
                off = maps.areal_density_per_nm2[..., k] - true
                error = maps.standard_error_per_nm2[..., k]
                answered = np.isfinite(off)
                row[element] = {
                    "bias": round(float(np.nanmean(off / true)), 4),
                    "relative_error": round(float(np.nanstd(off / true)), 4),
                    "stated_over_found": round(float(np.nanmean(error) / np.nanstd(off)), 3),
                    "within_1_and_2_errors": [
                        round(float((np.abs(off) < k * error)[answered].mean()), 3)
                        for k in (1.0, 1.96)
                    ],
                    "detected": round(float(maps.detected[..., k].mean()), 3),
                    "answered": round(float(answered.mean()), 3),
                } | {
                    f"bound, {name}": round(float(own[element]), 4)
                    for name, own in least.items()
                    if element in own
                }  # fmt: skip
            if elements != ["Li"]:
                for one, other in (("O", "C"), ("F", "O")):
                    ratio = maps.ratio(one, other)[0]
                    true = truth.areal_density_per_nm2(one) / truth.areal_density_per_nm2(other)
                    half = np.diff(np.nanquantile(ratio / true, (0.16, 0.84)))[0] / 2
                    row[f"{one}/{other}"] = {"relative_error": round(float(half), 3)} | {
                        f"bound, {name}": round(float(own[f"{one}/{other}"]), 3)
                        for name, own in least.items()
                    }
        say(**row)


def big(rng):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.npy"
        energy = 250 + 0.3 * np.arange(2048)
        mean = design(energy)[:, :4] @ np.array([*TRUTH.values(), 1.0])
        counts = np.lib.format.open_memmap(path, "w+", np.float32, (256, 256, 2048))
        rows = rng.poisson(mean, (4, 256, 2048)).astype(np.float32)
        for first in range(0, 256, 4):
            counts[first : first + 4] = rows
        counts.flush()
        del counts
        subprocess.run([sys.executable, __file__, "--file", str(path)], check=True)


def fit_file(path):
    import dask.array as da

    from interphase.eels import ElementOptions, fit_elements

    start = time.perf_counter()
    data = da.from_array(np.load(path, mmap_mode="r"), chunks=(16, 256, 2048))
    maps = fit_elements(
        data, energy_ev=250 + 0.3 * np.arange(2048), elements=list(TRUTH), electrons=ELECTRONS,
        options=ElementOptions(table="hydrogenic"), **OPTICS,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    say(
        map="256 x 256 x 2048 from a file",
        seconds=round(seconds, 1),
        peak_gb=round(peak, 2),
        fitted=round(float((maps.verdict == 0).mean()), 4),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixels", type=int, default=128, help="pixels along a side")
    parser.add_argument("--peer-pixels", type=int, default=16)
    parser.add_argument("--big", action="store_true")
    parser.add_argument("--pyeelsmodel", metavar="PYTHON", help="interpreter that has pyEELSMODEL")
    parser.add_argument("--file", help=argparse.SUPPRESS)
    parser.add_argument("--fit-pyeelsmodel", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.file:
        fit_file(arguments.file)
        return
    if arguments.fit_pyeelsmodel:
        fit_pyeelsmodel(arguments.fit_pyeelsmodel)
        return
    rng = np.random.default_rng(arguments.seed)
    speed(arguments.pixels, arguments.peer_pixels, arguments.pyeelsmodel, rng)
    accuracy(rng)
    if arguments.big:
        big(rng)


if __name__ == "__main__":
    main()
