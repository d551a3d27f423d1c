"""The ledger of a session: filled first, whole after a kill, nothing lost and nothing doubled."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from interphase.acquisition import Origin
from interphase.dose import Exposure, Ledger, Purpose, disc
from interphase.errors import ConfigurationError, LedgerError, ParameterError
from interphase.phases import DoseLevel, candidates
from interphase.session import read_notes, run_account, run_session
from interphase.session.account import dose_account

PHASES = "Li2O,Li2CO3"
LITTLE_BEAM = "beam_diameter_a = 2000.0\nimage_rotation_deg = 0.0\n"


def mdoc(
    path: Path, *, dose: float, minute: int, x_um: float = 1.0, size: str = "", extra: str = ""
) -> Path:
    """Write what SerialEM says of an exposure at a minute past ten."""
    path.write_text(
        f"PixelSpacing = 0.4\nVoltage = 300\nImageFile = {path.name[:-5]}\n{size}\n\n[ZValue = 0]\n"
        f"StagePosition = {x_um} 2.0\nExposureDose = {dose}\nExposureTime = 4\n"
        f"DateTime = 02-Mar-26  10:{minute:02d}:00\n{extra}"
    )
    return path


@pytest.fixture
def session(tmp_path: Path, rng: np.random.Generator, write_mrc: Callable[..., Path]) -> Path:
    """Two images of Li2O at one place, one elsewhere, a focus exposure before the second."""
    folder = tmp_path / "session"
    folder.mkdir()
    axes = np.indices((128, 128)) * 0.4
    lattice = np.cos(2 * np.pi * axes / (4.6114 / np.sqrt(8))).sum(axis=0)
    for name, minute, x_um in (("a", 1, 1.0), ("b", 5, 1.0), ("c", 9, 50.0)):
        path = write_mrc(folder / f"{name}.mrc", rng.poisson(40 * (1 + 0.2 * lattice)))
        mdoc(path.with_name(f"{path.name}.mdoc"), dose=200.0, minute=minute, x_um=x_um)
    size = "ImageSize = 512 512"
    mdoc(folder / "x_focus_1.mrc.mdoc", dose=100.0, minute=4, x_um=1.01, size=size)
    (folder / "session.toml").write_text(LITTLE_BEAM)
    return folder


def keys(ledger: Path) -> list[str]:
    with Ledger.open(ledger, read_only=True) as opened:
        return sorted(shot.key for shot in opened.exposures())


ALL = ["a.mrc", "b.mrc", "c.mrc", "x_focus_1.mrc.mdoc"]


def test_a_verdict_knows_what_the_place_received_before(session: Path) -> None:
    first = run_session(session, phases=PHASES, workers=1)
    by_name = {result.file: result for result in first.files}
    assert keys(first.ledger) == ALL
    assert by_name["a.mrc"].acquisition.prior_dose_e_per_a2 is None
    second = by_name["b.mrc"].acquisition
    assert second.prior_dose_e_per_a2 == pytest.approx(300.0)
    assert second.sources["prior_dose_e_per_a2"].origin is Origin.LEDGER
    (verdict,) = {r.dose for r in by_name["b.mrc"].phase_map.regions if r.phase == "Li2O"}
    # The ledger may not hold everything: a limit is said to be passed, but never not to be.
    assert verdict.made_level is DoseLevel.ABOVE
    assert (verdict.received_after_e_per_a2, verdict.at_least_e_per_a2) == (None, 500.0)
    assert verdict.sentence.startswith(
        "Received at least 300 e/Å² before (ledger: 2 earlier exposures) and at least 500 e/Å²"
    )
    account = first.account
    assert account.highest.at_least_e_per_a2 == pytest.approx(500.0)
    assert (account.unknown, account.unplaced, account.bound) == (0, 0, "")
    # Of three records of 200, one was upon 100 of focus and 200 of another record.
    shares = account.by_purpose
    assert shares[Purpose.FOCUS].mean_e_per_a2 == pytest.approx(200 / 3)
    assert {over.phase for over in account.over_budget} == {"SEI"}

    # What was measured stays measured when the account changes; what it says of doses does not.
    mdoc(session / "x_focus_2.mrc.mdoc", dose=0.0, minute=8, x_um=50.0, size="ImageSize = 512 512")
    (session / "session.toml").write_text(LITTLE_BEAM + "ledger_is_complete = true\n")
    sure = {result.file: result for result in run_session(session, phases=PHASES).files}
    exact = sure["b.mrc"].phase_map.regions[0].dose
    assert (exact.received_before_e_per_a2, exact.received_after_e_per_a2) == (300.0, 500.0)
    assert sure["a.mrc"].acquisition.prior_dose_e_per_a2 == 0.0
    # An exposure of unknown dose came before: no upper bound.
    assert sure["c.mrc"].acquisition.prior_dose_at_most_e_per_a2 is None
    assert "the dose of 1 unknown" in sure["c.mrc"].phase_map.regions[0].dose.sentence


def test_what_was_added_by_hand_stays_and_nothing_is_measured_for_it(session: Path) -> None:
    run_session(session, phases=PHASES, workers=1)
    table = session.parent / "notes.csv"
    table.write_text(
        "# noted at the microscope\nname,purpose,time,x_um,y_um,diameter_um,dose_e_per_a2\n"
        "tune,focus,2026-03-02 10:00:30,1.0,2.0,1.5,40\n"
        "look,search,,,,,\n"
    )
    ledger, account = run_account(session, notes=table)
    noted = ["notes.csv: look", "notes.csv: tune"]
    assert keys(ledger) == sorted([*ALL, *noted])
    assert account.unknown == 1
    by_hand = Exposure(
        key="mine", purpose=Purpose.FOCUS, illuminated_um=disc(1.0) + np.array([1.0, 2.0])
    )
    with Ledger.open(ledger) as opened:
        opened.add([by_hand])
    again = run_session(session, phases=PHASES, workers=1)
    assert again.measured == 0
    assert keys(again.ledger) == sorted([*ALL, *noted, "mine"])
    first = again.files[0].acquisition
    assert (again.files[0].file, first.prior_dose_e_per_a2) == ("a.mrc", pytest.approx(40.0))
    # Of the same table those that are no longer in it go; of the files those that are gone.
    table.write_text("purpose,dose_e_per_a2\nsearch,0.05\n")
    (session / "c.mrc").unlink()
    (session / "c.mrc.mdoc").unlink()
    ledger, _ = run_account(session, notes=table)
    assert keys(ledger) == ["a.mrc", "b.mrc", "mine", "notes.csv: 1", "x_focus_1.mrc.mdoc"]
    # The user's own ledger is among the files, and the results can be thrown away.
    for path in (ledger, *ledger.parent.glob("ledger.sqlite-*")):
        path.unlink()
    ledger, _ = run_account(session)
    assert keys(ledger) == ["a.mrc", "b.mrc", "notes.csv: 1", "x_focus_1.mrc.mdoc"]


def test_the_users_own_ledger_outranks_a_file(session: Path) -> None:
    with Ledger.open(session / "ledger.sqlite") as own:
        own.add([Exposure(key="a.mrc", file="a.mrc", purpose=Purpose.SCAN, dose_e_per_a2=7.0)])
    _, account = run_account(session)
    (shot,) = (shot for shot in account.exposures if shot.key == "a.mrc")
    assert (shot.purpose, shot.dose_e_per_a2) == (Purpose.SCAN, 7.0)


def test_a_run_that_was_killed_leaves_a_whole_ledger_and_nothing_doubled(session: Path) -> None:
    for number in range(40):
        mdoc(session / f"z_{number}.mrc.mdoc", dose=1.0, minute=number, x_um=100.0 + number)
    expected = sorted([*ALL, *(f"z_{number}.mrc.mdoc" for number in range(40))])
    command = [
        sys.executable,
        "-c",
        "import sys; from interphase.session import run_session\n"
        f"if __name__ == '__main__': run_session(sys.argv[1], phases={PHASES!r}, workers=1)",
        str(session),
    ]
    out = session / "interphase-results"
    for least in (3, 44):  # while files are read, and when the ledger is being or was written
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while (
            len(list(out.glob("exposures/[!.]*.json"))) < least
            and process.poll() is None
            and time.monotonic() < deadline
        ):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        if (out / "ledger.sqlite").exists():
            with Ledger.open(out / "ledger.sqlite") as ledger:
                assert len(ledger) in (0, len(expected))
    result = run_session(session, phases=PHASES, workers=1)
    assert keys(result.ledger) == expected
    assert run_account(session)[1].highest.at_least_e_per_a2 == pytest.approx(500.0)
    assert keys(result.ledger) == expected


def test_what_cannot_be_stops_nothing_and_is_said(session: Path) -> None:
    (session / "broken.mrc").write_bytes((session / "a.mrc").read_bytes()[:700])
    (session / "movie.eer").write_bytes(b"II")
    mdoc(session / "tilted.mrc.mdoc", dose=20.0, minute=20, extra="TiltAngle = 93.0\n")
    mdoc(session / "slip.mrc.mdoc", dose=4e21, minute=21, size="ImageSize = 512 512")
    (session / "session.toml").write_text(LITTLE_BEAM + "ledger_is_complete = true\n")
    ledger, account = run_account(session)
    assert keys(ledger) == [*ALL[:3], "slip.mrc.mdoc", ALL[3]]
    (slip,) = (shot for shot in account.exposures if shot.key == "slip.mrc.mdoc")
    assert slip.dose_e_per_a2 is None
    said = " ".join(account.doubts)
    assert "broken.mrc is missing from the ledger: " in said
    assert "movie.eer is not read: it is missing from the ledger." in said
    assert "tilted.mrc.mdoc is missing from the ledger: alpha_deg is 93.0" in said
    # With exposures missing the ledger is not complete, whatever is said of it.
    result = run_session(session, phases=PHASES, workers=1)
    assert result.files[0].acquisition.prior_dose_e_per_a2 is None


def test_times_of_another_kind_are_left_out_and_stop_nothing(session: Path) -> None:
    table = session.parent / "zoned.csv"
    table.write_text("purpose,time,dose_e_per_a2\nsearch,2026-03-02T10:00:30+01:00,0.1\n")
    _, account = run_account(session, notes=table)
    (search,) = (shot for shot in account.exposures if shot.purpose is Purpose.SEARCH)
    assert search.time is None
    assert "not comparable" in search.sources["time"]
    assert account.doubts == (
        "The time of zoned.csv: 1 is not heeded: stated with a time zone, unlike most others: not "
        "comparable.",
    )


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("purpos,dose_e_per_a2\nfocus,1\n", "`purpos` is unknown; did you mean `purpose`"),
        ("dose_e_per_a2\n1\n", "has no column `purpose`"),
        ("purpose,dose_e_per_a2\nfocus,1\nfocus,many\n", "line 3: `dose_e_per_a2` is 'many'"),
        ("purpose,dose_e_per_a2\n\nfocus,-1\n", "line 3: dose_e_per_a2 of notes.csv: 1 is -1"),
        (
            "purpose,dose_e_per_a2\nlunch,1\n",
            "line 2: `purpose` is 'lunch': expected one of search",
        ),
        ("purpose,dose_e_per_a2\nfocus,1,2\n", "line 2: 3 cells under 2 columns: write decimals"),
        ("purpose,dose_e_per_a2,dose_e_per_a2\nfocus,1,2\n", "`dose_e_per_a2` is there twice"),
        ("purpose,name\nfocus,live\nfocus,live\n", "line 3: `live` is the name of an earlier"),
        ("purpose,x_um\nfocus,1\n", "line 2: `x_um` is given without `y_um`"),
        ("purpose,time\nfocus,02.03.2026\n", "`time` is '02.03.2026': expected a time such as"),
        (
            "purpose,dose_e_per_a2,dose_rate_e_per_a2_s,duration_s\nfocus,100,50,20\n",
            "dose_e_per_a2 is 100, but rate times duration is 1000",
        ),
    ],
)
def test_notes_that_cannot_be_understood_name_the_line(
    tmp_path: Path, text: str, match: str
) -> None:
    table = tmp_path / "notes.csv"
    table.write_text(text)
    with pytest.raises(ConfigurationError, match=match):
        read_notes(table)


def test_notes_hold_rectangles_and_rates(tmp_path: Path) -> None:
    table = tmp_path / "notes.csv"
    table.write_text(
        "purpose,x_um,y_um,width_um,height_um,alpha_deg,dose_rate_e_per_a2_s,duration_s\n"
        "record,10,-3,2,1,60,5,4\n"
    )
    (shot,) = read_notes(table)
    assert shot.dose_e_per_a2 == 20.0
    assert np.ptp(shot.illuminated_um, axis=0) == pytest.approx([2.0, 2.0])
    assert shot.electrons == pytest.approx(20.0 * 2e8)


def test_notes_may_come_from_any_spreadsheet(tmp_path: Path) -> None:
    table = tmp_path / "notes.csv"
    table.write_bytes(
        '\ufeffpurpose; name;x_um;y_um;dose_e_per_a2;\r\nfocus;"live,\nthe ""view";1,5;-2;40;\r\n'
        "# a comment\r\n;;;;;\r\nsearch;;;;;\r\n".encode()
    )
    live, search = read_notes(table)
    assert (live.place_um, live.dose_e_per_a2) == ((1.5, -2.0), 40.0)
    assert live.key == 'notes.csv: live,\nthe "view'
    assert (search.key, search.place_um, search.dose_e_per_a2) == ("notes.csv: 2", None, None)


def test_a_stack_knows_what_came_between_its_exposures(session: Path) -> None:
    """Two exposures of 20 e/Å² in a file, 100 between them: its place received 140."""
    stack = mdoc(session / "stack.mrc.mdoc", dose=20.0, minute=20, x_um=90.0)
    size = "ImageSize = 512 512"
    text = stack.read_text().replace("stack.mrc\n", f"stack.mrc\n{size}\n")
    section = text[text.index("[ZValue = 0]") :].replace("= 0]", "= 1]").replace("10:20", "10:30")
    stack.write_text(f"{text}\n{section}")
    mdoc(session / "y_focus.mrc.mdoc", dose=100.0, minute=25, x_um=90.0, size=size)
    with (session / "session.toml").open("a") as stream:
        stream.write("ledger_is_complete = true\n")
    result = run_session(session, phases=PHASES, workers=1)
    seen = next(r.acquisition for r in result.files if r.file == "stack.mrc.mdoc")
    assert seen is not None
    assert seen.dose_e_per_a2 == pytest.approx(40.0)
    assert seen.prior_dose_e_per_a2 == pytest.approx(100.0)
    assert seen.prior_dose_at_most_e_per_a2 == pytest.approx(100.0)


def test_what_a_file_states_before_is_no_less_for_a_complete_ledger(session: Path) -> None:
    """SerialEM counts the exposures that were thrown away, which are in no ledger."""
    extra = "PriorRecordDose = 30\n"
    stack = mdoc(
        session / "tilts.mrc.mdoc",
        dose=20.0,
        minute=20,
        x_um=90.0,
        size="ImageSize = 512 512",
        extra="PriorRecordDose = 0\n",
    )
    text = stack.read_text()
    section = text[text.index("[ZValue = 0]") :].replace("= 0]", "= 1]").replace("10:20", "10:30")
    stack.write_text(f"{text}\n{section.replace('PriorRecordDose = 0', extra)}")
    with (session / "session.toml").open("a") as stream:
        stream.write("ledger_is_complete = true\n")
    result = run_session(session, phases=PHASES, workers=1)
    seen = next(r.acquisition for r in result.files if r.file == "tilts.mrc.mdoc")
    assert seen is not None
    assert seen.prior_dose_e_per_a2 == pytest.approx(10.0)
    assert "what the file states" in str(seen.sources["prior_dose_e_per_a2"])


def test_what_a_scan_with_gaps_gave_under_its_probe_is_not_below_a_limit() -> None:
    given = {"purpose": Purpose.SCAN, "illuminated_um": disc(1.0), "dose_e_per_a2": 40.0}
    levels = []
    for local in (None, 4000.0):
        with Ledger.in_memory() as ledger:
            ledger.add([Exposure(key="a", **given, local_dose_e_per_a2=local)])  # type: ignore[arg-type]
            account = dose_account(ledger, candidates=candidates("Li2CO3"), complete=True)
            levels.append({budget.phase: budget.level for budget in account.budgets}["Li2CO3"])
    assert levels == [DoseLevel.BELOW, DoseLevel.UNKNOWN_DOSE]


def test_only_a_complete_ledger_puts_a_place_below_a_limit() -> None:
    levels = []
    for complete in (False, True):
        with Ledger.in_memory() as ledger:
            ledger.add(
                [Exposure(key="a", purpose="record", illuminated_um=disc(1.0), dose_e_per_a2=4)]
            )
            account = dose_account(ledger, candidates=candidates("Li2CO3"), complete=complete)
            levels.append({budget.phase: budget.level for budget in account.budgets}["Li2CO3"])
    assert levels == [DoseLevel.UNKNOWN_DOSE, DoseLevel.BELOW]


def test_a_ledger_that_is_none_is_said(session: Path) -> None:
    (session / "ledger.sqlite").write_text("my notes")
    with pytest.raises(LedgerError, match=r"ledger\.sqlite cannot be"):
        run_account(session)


def test_what_was_noted_for_a_folder_counts_in_the_session_above_it(session: Path) -> None:
    notes = session.parent / "notes.csv"
    notes.write_text("purpose,dose_e_per_a2\nfocus,7\n")
    run_account(session, notes=notes)
    notes.write_text("purpose,dose_e_per_a2\nfocus,9\n")
    _, account = run_account(session.parent, notes=notes)
    doses = {shot.key: shot.dose_e_per_a2 for shot in account.exposures}
    assert (doses["notes.csv: 1"], doses["session/notes.csv: 1"]) == (9.0, 7.0)
    assert len(doses) == 6


def test_a_place_of_which_no_area_is_known_received_its_dose(session: Path) -> None:
    notes = session.parent / "notes.csv"
    notes.write_text("purpose,x_um,y_um,dose_e_per_a2\nfocus,70,7,900\n")
    _, account = run_account(session, notes=notes, phases=PHASES)
    assert account.highest is not None
    assert account.highest.at_least_e_per_a2 == 900.0
    assert account.highest.place_um == (70.0, 7.0)
    levels = {budget.phase: budget.level for budget in account.budgets}
    assert levels["Li2CO3"] is DoseLevel.ABOVE


def test_a_budget_of_nothing_is_refused(session: Path) -> None:
    with pytest.raises(ParameterError, match="the budget of LiF is -1"):
        run_account(session, budgets={"LiF": -1.0})
