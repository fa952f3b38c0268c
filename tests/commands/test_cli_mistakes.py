"""What a new user gets wrong: one message on stderr, exit 2, nothing on stdout and no traceback."""

from pathlib import Path

import pytest
from commands import program, simtrial
from tomls import SMALL, changed, written

METHODS = '[[methods]]\nname = "primary"\nkind = "lmm"\nadjust = ["mansa_baseline"]\n'
HEADER = "practice,arm,mansa_baseline,mansa_followup\n"
GOOD = HEADER + "".join(f"{p},{p % 2},{4 + 0.1 * i},{4.2 + 0.2 * i + 0.1 * p}\n" for p in range(8) for i in range(3))


@pytest.fixture
def methods(tmp_path: Path) -> str:
    return written(tmp_path, METHODS, "methods.toml")


def refused(*arguments: object) -> str:
    """What is told of a command that must be refused."""
    found = simtrial(*arguments)
    assert found.code == 2, found.err
    assert found.out == ""
    assert "Traceback" not in found.err
    assert "fault of simtrial" not in found.err
    return found.err


def one_line(*arguments: object) -> str:
    message = refused(*arguments)
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    return message


@pytest.mark.parametrize("command", ["show", "run", "generate"])
@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[mechanism.dropout]", "[mechanism.droput]", "did you mean 'mechanism.dropout'"),
        ("icc = 0.1", "icce = 0.1", "did you mean 'icc'"),
        ("icc = 0.1", "icc = 1.2", "must be < 1; 1.2 given"),
        ("icc = 0.1", "icc = ", "not valid TOML"),
    ],
    ids=["misspelt table", "misspelt key", "impossible ICC", "TOML syntax"],
)
def test_a_wrong_scenario(command: str, old: str, new: str, told: str, tmp_path: Path) -> None:
    file = written(tmp_path, changed(old, new))
    output = [] if command == "show" else ["-o", tmp_path / "output"]
    message = one_line(command, file, *output)
    assert told in message
    assert "trial.toml:" in message
    assert not (tmp_path / "output").exists()


def test_several_mistakes_are_lines_of_one_message(tmp_path: Path) -> None:
    file = written(tmp_path, changed("icc = 0.1", "icc = 1.2", changed("seed = 5", "seed = -5")))
    message = refused("show", file)
    assert message.startswith("error: ")
    assert message.count("error: ") == 1
    assert message.count("trial.toml:") == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "partner"], "did you mean 'partners'"),
        (["show", "nowhere.toml"], "no file 'nowhere.toml'"),
        (["show", "partners", "--set", "mechanism.practices.numbr=3"], "did you mean 'number'"),
        (["show", "partners", "--set", "mechanism.practises.number=3"], "did you mean 'mechanism.practices'"),
        (["show", "partners", "--set", "number"], "--set takes path=value"),
        (["summarise", "nowhere"], "not a run directory"),
    ],
)
def test_a_wrong_request(arguments: list[str], told: str) -> None:
    assert told in one_line(*arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "partners", "-o", "never", "--replicates", "-5"], "--replicates"),
        (["run", "partners", "-o", "never", "--replicates", "many"], "--replicates"),
        (["run", "partners", "-o", "never", "--seed", "-1"], "--seed"),
        (["run", "partners", "-o", "never", "--workers", "0"], "--workers"),
        (["run", "partners", "-o", "never", "--engine", "proceses"], "--engine"),
        (["run", "partners"], "--output"),
        (["run", "partners", "-o", "never", "--replicate", "5"], "--replicates"),
        (["generate", "partners", "-n", "0", "-o", "never"], "-n"),
        (["analyse", "--methods", "partners"], "DATA"),
        (["analyse", "data.csv"], "--methods"),
        (["list", "--format", "xml"], "--format"),
    ],
)
def test_wrong_options(arguments: list[str], told: str) -> None:
    message = refused(*arguments)
    assert told in message
    assert "Usage: simtrial" in message
    assert not Path("never").exists()


def test_an_unknown_cell(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL)
    assert "unknown cell 'bas'; did you mean 'base'" in one_line("generate", file, "-o", tmp_path, "--cell", "bas")


DATA = {
    "no such file": (None, ["no such file"]),
    "empty file": ("", ["the file is empty"]),
    "header only": (HEADER, ["no rows"]),
    "no arm": (GOOD.replace(",arm,", ",group,"), ["no column 'arm'", "--map"]),
    "misspelt column": (GOOD.replace("mansa_baseline", "mansa_basline"), ["did you mean 'mansa_basline'"]),
    "text in a column of numbers": (GOOD.replace(",4.2\n", ",four\n", 1), ["must hold numbers", "'four'"]),
    "arm that is neither": (GOOD.replace("1,1,", "1,2,", 1), ["arm must be 0", "'2'"]),
    "practice in both arms": (GOOD.replace("1,1,", "1,0,", 1), ["practice '1'", "both arms"]),
    "blank practice": (GOOD.replace("\n3,1,", "\n,1,", 1), ["practice is blank"]),
    "blank arm": (GOOD.replace("\n3,1,", "\n3,,", 1), ["arm must be", "a blank"]),
}


@pytest.mark.parametrize("mistake", DATA)
def test_wrong_data(mistake: str, tmp_path: Path, methods: str) -> None:
    text, told = DATA[mistake]
    file = tmp_path / "trial.csv"
    if text is not None:
        file.write_text(text)
    message = one_line("analyse", file, "--methods", methods)
    assert "trial.csv" in message
    for piece in told:
        assert piece in message


@pytest.mark.parametrize("name", ["trial.sav", "trial"])
def test_an_unknown_kind_of_file(name: str, tmp_path: Path, methods: str) -> None:
    (tmp_path / name).write_text(GOOD)
    assert "allowed: .csv" in one_line("analyse", tmp_path / name, "--methods", methods)


@pytest.mark.parametrize("name", ["trial.parquet", "trial.dta"])
def test_a_file_that_is_not_what_its_name_says(name: str, tmp_path: Path, methods: str) -> None:
    (tmp_path / name).write_text(GOOD)
    assert "cannot be read as" in one_line("analyse", tmp_path / name, "--methods", methods)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no [[methods]]"),
        (METHODS.replace("lmm", "lmmm"), "did you mean 'lmm'"),
        (METHODS.replace("adjust", "adjsut"), "did you mean 'adjust'"),
        (METHODS + "[method]\n", "unknown table 'method'; did you mean 'methods'"),
        (METHODS + METHODS, "two methods are named 'primary'"),
    ],
)
def test_a_wrong_methods_file(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "trial.csv").write_text(GOOD)
    assert told in one_line("analyse", tmp_path / "trial.csv", "--methods", written(tmp_path, text, "methods.toml"))


def test_a_wrong_map(tmp_path: Path, methods: str) -> None:
    (tmp_path / "trial.csv").write_text(GOOD)
    assert "no column 'gp'" in one_line("analyse", tmp_path / "trial.csv", "--methods", methods, "--map", "practice=gp")
    turned = one_line("analyse", tmp_path / "trial.csv", "--methods", methods, "--map", "practise=practice")
    assert "--map name=yours: unknown name 'practise'; did you mean 'practice'?" in turned
    assert "--map takes name=yours" in one_line("analyse", tmp_path / "trial.csv", "--methods", methods, "--map", "gp")


def test_a_process_of_its_own_ends_the_same_way(tmp_path: Path) -> None:
    found = program("show", written(tmp_path, changed("icc = 0.1", "icc = 1.2")))
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("error: ")
    assert found.err.count("\n") == 1


def test_debug_shows_where(tmp_path: Path) -> None:
    found = program("--debug", "show", "partner")
    assert found.code != 0
    assert "Traceback" in found.err
