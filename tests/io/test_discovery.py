import json
import os

import pytest

from interphase.acquisition import Acquisition, Kind, Stage
from interphase.errors import ParameterError
from interphase.io import describe, discover, read_acquisition

MDOC = "[ZValue = 0]\nExposureDose = 3\nSubFramePath = D:\\x\\named.tif\n"


@pytest.fixture
def session(tmp_path):
    for name in ("scan.emi", "scan_1.ser", "scan_2.ser", "lone_1.ser", "a.tif", "named.tif"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a.tif.mdoc").write_text(MDOC.replace("named", "other"))
    (tmp_path / "run.mdoc").write_text(MDOC)
    (tmp_path / "gone.mrc.mdoc").write_text(MDOC.replace("named", "gone"))
    (tmp_path / "exposure.xml").write_text("<MicroscopeImage/>")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "exposure_Fractions.mrc").write_bytes(b"x")
    (tmp_path / "deep" / "exposure.xml").write_text("<MicroscopeImage/>")
    (tmp_path / "session.toml").write_text("")
    (tmp_path / ".hidden.tif").write_bytes(b"x")
    (tmp_path / "settings.xml").write_text("<settings/>")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "provenance.json").write_text("{}")
    (tmp_path / "results" / "picture.tif").write_bytes(b"x")
    return tmp_path


def found(session, **options):
    return {str(entry.path.relative_to(session)): entry for entry in discover(session, **options)}


def test_every_measurement_is_listed_once_with_its_companions(session):
    entries = found(session)
    companions = {
        name: [path.name for path in entry.sidecars]
        for name, entry in entries.items()
        if entry.recognised
    }
    assert companions == {
        "a.tif": ["a.tif.mdoc"],
        "deep/exposure_Fractions.mrc": ["exposure.xml"],
        "exposure.xml": [],
        "gone.mrc.mdoc": [],
        "lone_1.ser": [],
        "named.tif": ["run.mdoc"],
        "scan.emi": ["scan_1.ser", "scan_2.ser"],
    }


def test_files_that_are_not_read_say_why(session):
    reasons = {name: entry.reason for name, entry in found(session).items() if not entry.recognised}
    assert reasons == {
        "notes.txt": ".txt is none of the kinds of file that are read",
        "settings.xml": "an XML file that is not of EPU",
    }


def test_the_list_is_sorted(session):
    paths = [entry.path for entry in discover(session)]
    assert paths == sorted(paths)


def test_folders_can_be_left_out(session):
    assert not [name for name in found(session, exclude=[session / "deep"]) if "deep" in name]


def test_a_file_is_no_folder(session):
    with pytest.raises(ParameterError, match=r"a\.tif is not a folder"):
        discover(session / "a.tif")


def test_a_description_is_json_with_the_promised_keys():
    record = Acquisition(
        kind=Kind.IMAGE,
        shape=(8, 9),
        pixel_size_a=0.5,
        stage=Stage(x_um=1.0, beam_shift=(0.1, 0.2)),
        missing={"beam_energy_kev": "give it"},
        warnings=("a doubt",),
    )
    told = json.loads(json.dumps(describe(record, "a.tif")))
    promised = {
        "file",
        "kind",
        "shape",
        "pixel_size_a",
        "beam_energy_kev",
        "dose_e_per_a2",
        "dose_rate_e_per_a2_s",
        "exposure_time_s",
        "stage",
        "missing",
        "warnings",
    }
    assert promised <= set(told)
    assert (told["file"], told["kind"], told["shape"]) == ("a.tif", "image", [8, 9])
    assert told["stage"]["x_um"] == 1.0
    assert told["beam_energy_kev"] is None


def test_the_description_of_a_real_record_is_json(write):
    told = json.loads(json.dumps(describe(read_acquisition(write("exposure.xml")), "e.xml")))
    assert told["sources"]["dose_e_per_a2"].startswith("sidecar: Dose [e/m²]")
    assert told["time"].startswith("2024-08-31T20:05:19")
    assert told["dose_statements"][0]["dose_e_per_a2"] == pytest.approx(25.0)


def test_a_name_that_is_not_utf8_is_listed_escaped(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"sp\xe9cimen.tif")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    (tmp_path / "a.tif").write_bytes(b"x")
    good, bad = discover(tmp_path)
    assert (good.path.name, good.recognised) == ("a.tif", True)
    assert bad.path.name == "sp\\xe9cimen.tif"
    assert bad.reason == "its name is not valid UTF-8: rename it"
    assert str(bad.path).encode("utf-8")
