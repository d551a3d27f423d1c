"""The first import is what everyone waits for."""

import subprocess
import sys

HEAVY = ("hyperspy", "exspy", "abtem", "ase", "pymatgen", "matplotlib", "scipy", "dask", "skimage")


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_importing_the_package_is_quick() -> None:
    code = (
        "import time; start = time.perf_counter(); import interphase;"
        "print(time.perf_counter() - start)"
    )
    # The best of several: the machine may be busy with other tests.
    assert min(float(run(code)) for _ in range(5)) < 0.5


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, interphase; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert run(code) == "[]"


def test_every_public_name_can_be_reached() -> None:
    import interphase

    # Their rooms load when they are touched.
    for name in interphase.__all__:
        assert getattr(interphase, name) is not None
    assert {"load", "read_acquisition", "identify_image", "run_session"} <= set(dir(interphase))


def test_the_version_is_a_literal_for_the_build() -> None:
    import interphase

    assert interphase.__version__.count(".") == 2
