import tomllib

import pytest

from interphase.acquisition import Acquisition, Kind
from interphase.errors import ConfigurationError
from interphase.io import SessionConfig, commented_session_toml, read_session_config
from interphase.io.session_config import FileConfig


def test_a_folder_without_session_toml_says_nothing(tmp_path):
    assert read_session_config(tmp_path).values_for("a.tif") == {}


def test_tables_of_files_outrank_the_whole_session(tmp_path):
    (tmp_path / "session.toml").write_text(
        'temperature_k = 95\nphases = ["Li2O", "my.cif"]\npixel_size_a = 1.0\n'
        '[files."*.tif"]\npixel_size_a = 0.5\n[files."a.tif"]\npixel_size_a = 0.25\n'
    )
    config = read_session_config(tmp_path)
    assert config.phases == ("Li2O", "my.cif")
    assert config.values_for("b.mrc") == {"temperature_k": 95, "pixel_size_a": 1.0}
    assert config.values_for("b.tif")["pixel_size_a"] == 0.5
    assert config.values_for("a.tif")["pixel_size_a"] == 0.25


def test_a_name_with_brackets_is_found_by_itself(tmp_path):
    config = SessionConfig(files={"a[1].tif": FileConfig(pixel_size_a=0.5)})
    assert config.values_for("a[1].tif") == {"pixel_size_a": 0.5}


def test_a_pattern_may_name_a_folder():
    config = SessionConfig(files={"grid1/*.tif": FileConfig(pixel_size_a=0.5)})
    assert config.values_for("/data/grid1/a.tif") == {"pixel_size_a": 0.5}
    assert config.values_for("/data/grid2/a.tif") == {}
    assert config.values_for("a.tif") == {}


def test_the_kind_of_a_file_is_looked_up_apart_from_its_exposure():
    config = SessionConfig(
        sample="a",
        files={"*.tif": FileConfig(kind="diffraction"), "a.tif": FileConfig(kind="image")},
    )
    kinds = [config.kind_of(name) for name in ("b.mrc", "b.tif", "a.tif")]
    assert kinds == [None, Kind.DIFFRACTION, Kind.IMAGE]
    assert config.values_for("a.tif") == {"sample": "a"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pixel_sise_a = 1", r"the key `pixel_sise_a` is unknown; did you mean `pixel_size_a`"),
        ('[files."a"]\nbeam_curent = 1', r"`files\.a\.beam_curent` .* mean `beam_current_pa`"),
        ("pixel_size_a = -1", r"`pixel_size_a` is -1"),
        ("pixel_size_a = true", r"`pixel_size_a` is True"),
        ('pixel_size_a = "1"', r"`pixel_size_a` is '1'"),
        ("frames = true", r"`frames` is True"),
        ("dose_e_per_a2 = 1e12", r"`dose_e_per_a2` is 1000000000000\.0: .* less than 1000000000"),
        ("pixel_size_a = nan", r"`pixel_size_a` is nan"),
        ("beam_energy_kev = 300000", r"`beam_energy_kev` is 300000"),
        ('[files."a"]\nkind = "difraction"', r"`files\.a\.kind` is 'difraction': .*'diffraction'"),
        ("frames = 0", r"`frames` is 0"),
        ("[prior]\nLiF = 0.0", r"`prior\.LiF` is 0\.0"),
        ("[prior]\nLiF = -2.0", r"`prior\.LiF` is -2\.0"),
        ("prior = 2.0", r"`prior` is 2\.0"),
        ("pixel_size_a = ", r"session\.toml is not valid TOML"),
    ],
)
def test_what_cannot_be_understood_is_named(tmp_path, text, said):
    (tmp_path / "session.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_session_config(tmp_path)


def test_a_prior_is_of_the_session_and_of_no_file(tmp_path):
    (tmp_path / "session.toml").write_text('sample = "a"\n[prior]\nLi2CO3 = 3.0\nLiF = 2\n')
    config = read_session_config(tmp_path)
    assert config.prior == {"Li2CO3": 3.0, "LiF": 2.0}
    assert config.values_for("any.mrc") == {"sample": "a"}


def test_what_places_an_exposure_is_no_value_of_its_record(tmp_path):
    (tmp_path / "session.toml").write_text(
        "beam_shift_um_per_unit = [[0.0, 1.0], [1.0, 0.0]]\nbeam_diameter_a = 4000.0\n"
        '[files."search*"]\npurpose = "search"\nimage_shift_um_per_unit = 1.5\n'
    )
    config = read_session_config(tmp_path)
    assert config.values_for("search_1.mrc") == {"beam_diameter_a": 4000.0}
    assert config.placement_for("search_1.mrc") == {
        "beam_shift_um_per_unit": ((0.0, 1.0), (1.0, 0.0)),
        "purpose": "search",
        "image_shift_um_per_unit": 1.5,
    }
    (tmp_path / "session.toml").write_text('purpose = "fun"\n')
    with pytest.raises(ConfigurationError, match="`purpose` is 'fun'"):
        read_session_config(tmp_path)


def test_an_absent_file_is_told_so(tmp_path):
    with pytest.raises(ConfigurationError, match=r"other\.toml cannot be opened"):
        read_session_config(tmp_path / "other.toml")


@pytest.fixture
def acquisitions():
    return {
        'a "quoted" name.tif': Acquisition(
            kind=Kind.IMAGE,
            beam_energy_kev=300.0,
            missing={"pixel_size_a": "the image axis has\nno unit", "stage": "nobody says"},
        ),
        "b.mrc": Acquisition(kind=Kind.IMAGE, beam_energy_kev=300.0, pixel_size_a=0.5),
    }


def test_the_written_session_changes_nothing_as_it_is(acquisitions, tmp_path):
    path = tmp_path / "session.toml"
    path.write_text(commented_session_toml(acquisitions))
    assert read_session_config(path) == SessionConfig()


def test_the_written_session_says_what_the_files_say_and_what_is_wanted(acquisitions):
    text = commented_session_toml(acquisitions)
    assert "# beam_energy_kev = 300  # beam energy [keV]" in text
    assert "# pixel_size_a = ...  # missing: the image axis has no unit" in text
    assert "# stage" not in text
    assert '# kind = "diffraction"  # or "image"' in text


def test_a_line_of_the_written_session_works_once_it_is_filled_in(acquisitions):
    text = commented_session_toml(acquisitions)
    filled = "\n".join(
        line.removeprefix("# ").replace("...", "0.5")
        for line in text.splitlines()
        if line.startswith(("# [files", "# pixel_size_a"))
    )
    config = SessionConfig.model_validate(tomllib.loads(filled))
    assert config.values_for('a "quoted" name.tif') == {"pixel_size_a": 0.5}
