"""SerialEM files as another library reads them."""

import pytest

from interphase.io import read_acquisitions


@pytest.mark.parametrize("name", ["TS_41.mrc.mdoc", "tilt_series.mdoc"])
def test_tilts_and_times_agree_with_mdocfile(shared_data, name):
    mdocfile = pytest.importorskip("mdocfile")
    path = shared_data / "cryo" / name
    theirs = mdocfile.read(path)
    ours = read_acquisitions(path)
    assert [one.stage.alpha_deg for one in ours] == pytest.approx(list(theirs["TiltAngle"]))
    assert [one.exposure_time_s for one in ours] == pytest.approx(list(theirs["ExposureTime"]))
    assert [one.stage.z_um for one in ours] == pytest.approx(list(theirs["StageZ"]))
