"""Every wrong scenario gets one error: file and line, the key, what is allowed and what was probably meant."""

from pathlib import Path

import pytest
from tomls import SMALL, changed, complaint, line_of, written

from simtrial.errors import ScenarioError
from simtrial.scenario import load

# what is replaced, by what, and what the message must hold
WRONG: dict[str, tuple[str, str, list[str]]] = {
    "misspelt table": ("[performance]\n", "[perfomance]\n", ["perfomance", "did you mean 'performance'"]),
    "misspelt stage": ("[mechanism.missingness]", "[mechanism.missingnes]",
                       ["mechanism.missingnes", "did you mean 'mechanism.missingness'"]),
    "misspelt outcome": ("[mechanism.outcomes.mansa]", "[mechanism.outcomes.manza]",
                         ["mechanism.outcomes.manza", "did you mean 'mansa'"]),
    "misspelt key": ("icc = 0.1", "iccc = 0.1", ["mechanism.outcomes.mansa.iccc", "did you mean 'icc'", "allowed:"]),
    "misspelt key of a method": ("auxiliary = [", "auxilliary = [", ["methods[3]", "did you mean 'auxiliary'"]),
    "misspelt kind": ('kind = "lmm"', 'kind = "lmn"', ["methods[1].kind", "did you mean 'lmm'", "ols"]),
    "misspelt kind inside a wrapper": ('{ kind = "ols" }', '{ kind = "olz" }', ["methods[3]", "did you mean 'ols'"]),
    "misspelt kind of estimand": ('kind = "cace"', 'kind = "cate"', ["estimands[2].kind", "'itt'", "'cace'"]),
    "ICC above 1": ("icc = 0.1", "icc = 1.2", ["mechanism.outcomes.mansa.icc", "must be < 1", "1.2"]),
    "negative ICC": ("icc = 0.08", "icc = -0.08", ["mechanism.baseline.icc", "must be >= 0", "-0.08"]),
    "text for a number": ("rate = 0.15", 'rate = "15%"', ["mechanism.dropout.rate", "a number", "'15%'"]),
    "number for a text": ('name = "mixed model"', "name = 7", ["methods[1].name", "text in quotes", "7"]),
    "fraction for a whole number": ("number = 12", "number = 12.5", ["practices.number", "a whole number", "12.5"]),
    "truth value for a number": ("rate = 0.15", "rate = true", ["mechanism.dropout.rate", "a number", "True"]),
    "text for a list": ('factors = ["region", "practice_size"]', 'factors = "region"', ["factors", "a list"]),
    "list for a table": ("regions = { North = 2, South = 1 }", "regions = [2, 1]", ["practices.regions", "a table"]),
    "not a number": ("effect = 0.3", "effect = nan", ["mechanism.outcomes.mansa.effect", "a finite number"]),
    "infinity": ("effect = 0.3", "effect = -inf", ["mechanism.outcomes.mansa.effect", "a finite number"]),
    "unknown choice": ('method = "minimisation"', 'method = "minimization"',
                       ["mechanism.allocation.method", "'simple'", "did you mean 'minimisation'"]),
    "impossible CV": ("cluster_size_cv = 0.62", "cluster_size_cv = 0.2", ["mean 5", "between 0.4", "0.2 given"]),
    "equal sizes of a broken number": ("cluster_size_mean = 5.0\ncluster_size_cv = 0.62",
                                       "cluster_size_mean = 5.5\ncluster_size_cv = 0.0", ["whole number"]),
    "no shares at all": ("{ North = 2, South = 1 }", "{ North = 0, South = 0 }", ["regions", "more than 0"]),
    "factor that is not there": ('["region", "practice_size"]', '["region", "practise_size"]',
                                 ["practise_size", "did you mean 'practice_size'"]),
    "factor that is a number": ('["region", "practice_size"]', '["region", "recruited"]', ["recruited", "factor"]),
    "factor named twice": ('["region", "practice_size"]', '["region", "region"]', ["twice"]),
    "minimisation without factors": ('factors = ["region", "practice_size"]\n', "", ["factors"]),
    "unknown covariate": ('adjust = ["mansa_baseline"]\n\n[[methods]]\nname = "two',
                          'adjust = ["mansa_basline"]\n\n[[methods]]\nname = "two',
                          ["mixed model", "did you mean 'mansa_baseline'"]),
    "latent covariate": ('adjust = ["mansa_baseline"]\n\n[[methods]]\nname = "two',
                         'adjust = ["engagement"]\n\n[[methods]]\nname = "two',
                         ["mixed model", "unknown column 'engagement'"]),
    "unknown auxiliary": ('auxiliary = ["sessions"]', 'auxiliary = ["sesions"]',
                          ["imputed", "did you mean 'sessions'"]),
    "unknown column in received": ('received = "sessions >= 6"\nadjust', 'received = "session >= 6"\nadjust',
                                   ["two-stage", "did you mean 'sessions'"]),
    "unknown column in an estimand": ('received = "sessions >= 6"\n\n', 'received = "sesions >= 6"\n\n',
                                      ["estimands[2]", "did you mean 'sessions'"]),
    "unknown column in keep": ('kind = "mi"\nestimand = "itt"\nm = 2\nadjust = ["mansa_baseline"]\n'
                               'auxiliary = ["sessions"]\n', 'kind = "per-protocol"\nkeep = "in_windw == 1"\n',
                               ["imputed", "did you mean 'in_window'"]),
    "expression that does not parse": ('received = "sessions >= 6"\nadjust', 'received = "sessions => 6"\nadjust',
                                       ["sessions => 6", "expected", "write for example"]),
    "expression left open": ('effect_among = "sessions >= 6"', 'effect_among = "(sessions >= 6"',
                             ["outcomes.mansa", "expected ')'"]),
    "unknown category": ('received = "sessions >= 6"\n\n', "received = \"region == 'Nord'\"\n\n",
                         ["region", "did you mean 'North'"]),
    "column of a later stage": ('effect_among = "sessions >= 6"', 'effect_among = "followed_up == 1"',
                                ["followed_up"]),
    "cace without receipt": ('kind = "cace"\nreceived = "sessions >= 6"', 'kind = "cace"',
                             ["estimands[2]", "received"]),
    "receipt for itt": ('kind = "itt"\n', 'kind = "itt"\nreceived = "sessions >= 6"\n', ["estimands[1]", "takes none"]),
    "unknown estimand": ('estimand = "cace"', 'estimand = "cases"', ["methods[2].estimand", "did you mean 'cace'"]),
    "two methods of one name": ('name = "two-stage least squares"', 'name = "mixed model"',
                                ["two methods are named 'mixed model'"]),
    "option of another method": ('kind = "lmm"\n', 'kind = "lmm"\nse = "CR2"\n', ["methods[1].se", "unknown key 'se'"]),
    "no imputation": ("m = 2\n", "m = 0\n", ["methods[3].m", "must be >= 1"]),
    "no replicates": ("replicates = 100", "replicates = 0", ["run.replicates", "must be >= 1"]),
    "negative seed": ("seed = 5", "seed = -5", ["run.seed", "must be >= 0"]),
    "block of nothing": ("block = 20", "block = 0", ["run.block", "must be >= 1"]),
    "capital in the name": ('name = "small"', 'name = "Small"', ["name", "Small"]),
    "another version of the format": ("schema = 1", "schema = 2", ["schema", "1", "2"]),
    "methods as a single table": ('[[methods]]\nname = "mixed model"', '[methods]\nname = "mixed model"',
                                  ["not valid TOML"]),
    "estimands as text": ('[[estimands]]\nname = "itt"\nkind = "itt"\n\n[[estimands]]\nname = "cace"\nkind = "cace"\n'
                          'received = "sessions >= 6"', '[estimands]\nkind = "itt"', ["written as [[estimands]]"]),
    "stage that reads one left out": ("[mechanism.delivery]\n\n", "",
                                      ["sessions", "add a table [mechanism.delivery], which draws it"]),
    "stage that must be there": ('[mechanism.allocation]\nmethod = "minimisation"\n'
                                 'factors = ["region", "practice_size"]\n', "",
                                 ["missing table [mechanism.allocation]"]),
    "missing key": ("number = 12\n", "", ["mechanism.practices", "missing key 'number'"]),
}  # fmt: skip
TEXT = SMALL + '\n[performance]\nmcse = "normal"\n'


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_told_with_file_line_key_and_what_is_allowed(mistake: str, tmp_path: Path) -> None:
    old, new, needed = WRONG[mistake]
    message = complaint(tmp_path, changed(old, new, TEXT))
    for piece in needed:
        assert piece in message, f"{piece!r} is not in: {message}"
    assert message.startswith("trial.toml"), message
    assert "pydantic" not in message
    assert "Traceback" not in message


LINES = {  # mistake: the piece of the changed file whose line is told
    "misspelt table": "[perfomance]",
    "misspelt stage": "[mechanism.missingnes]",
    "misspelt key": "iccc = 0.1",
    "misspelt kind": 'kind = "lmn"',
    "misspelt kind of estimand": 'kind = "cate"',
    "ICC above 1": "icc = 1.2",
    "text for a number": 'rate = "15%"',
    "not a number": "effect = nan",
    "unknown choice": "minimization",
    "factor that is a number": '"recruited"',
    "unknown estimand": 'estimand = "cases"',
    "two methods of one name": 'name = "mixed model"\nkind = "iv"',
    "no imputation": "m = 0\n",
    "no replicates": "replicates = 0",
    "unknown column in an estimand": "sesions",
    "another version of the format": "schema = 2",
}


@pytest.mark.parametrize("mistake", LINES)
def test_the_line_is_that_of_the_key(mistake: str, tmp_path: Path) -> None:
    old, new, _ = WRONG[mistake]
    text = changed(old, new, TEXT)
    assert complaint(tmp_path, text).startswith(f"trial.toml:{line_of(text, LINES[mistake])}: ")


def test_the_unchanged_file_loads(tmp_path: Path) -> None:
    scenario, cells = load(written(tmp_path, TEXT))
    assert scenario.name == "small"
    assert [c.id for c in cells] == ["base"]


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = changed("icc = 0.1", "icc = 1.2", changed("rate = 0.15", 'rate = "15%"', TEXT))
    text = changed('kind = "lmm"', 'kind = "lmn"', changed("seed = 5", "sead = 5", text))
    lines = complaint(tmp_path, text).splitlines()
    assert len(lines) == 4
    for piece in ("icc = 1.2", 'rate = "15%"', 'kind = "lmn"', "sead = 5"):
        assert any(line.startswith(f"trial.toml:{line_of(text, piece)}: ") for line in lines), piece


def test_a_mistake_is_told_once(tmp_path: Path) -> None:
    for old, new in (("icc = 0.1", "icc = 1.2"), ("m = 2\n", "m = 0\n"), ('estimand = "cace"', 'estimand = "cases"')):
        assert len(complaint(tmp_path, changed(old, new, TEXT)).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [("schema = 1\nname = small\n", 2), ('name = "a"\nname = "b"\n', 2), ("a = 1\n[b\n", 2), ('x = "open\n', 1)],
)
def test_invalid_toml_is_told_with_its_line(text: str, line: int, tmp_path: Path) -> None:
    message = complaint(tmp_path, text)
    assert message.startswith(f"trial.toml:{line}: not valid TOML")
    assert len(message.splitlines()) == 1


def test_text_in_another_encoding_is_told(tmp_path: Path) -> None:
    file = tmp_path / "latin.toml"
    file.write_bytes(SMALL.encode() + "# caf\xe9\n".encode("latin-1"))
    with pytest.raises(ScenarioError, match="not UTF-8"):
        load(str(file))


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "marked.toml"
    file.write_bytes(b"\xef\xbb\xbf" + SMALL.encode())
    assert load(str(file))[0].name == "small"


def test_windows_line_endings_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "windows.toml"
    file.write_bytes(changed("icc = 0.1", "icc = 1.2").replace("\n", "\r\n").encode())
    with pytest.raises(ScenarioError, match=rf"windows\.toml:{line_of(SMALL, 'icc = 0.1')}: "):
        load(str(file))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("partner", ["unknown scenario 'partner'", "did you mean 'partners'", "ends in .toml"]),
        ("verify/null-93", ["verify/null-39"]),
        ("nowhere.toml", ["no file 'nowhere.toml'", "partners"]),
        ("", ["scenario"]),
    ],
)
def test_an_unknown_scenario_is_told_with_those_there_are(name: str, told: list[str]) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(name)
    for piece in told:
        assert piece in str(caught.value)


def test_a_folder_is_not_a_scenario(tmp_path: Path) -> None:
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    with pytest.raises(ScenarioError):
        load(str(folder))


def test_an_empty_file_is_told_what_is_missing(tmp_path: Path) -> None:
    message = complaint(tmp_path, "")
    for piece in ("name", "[mechanism.practices]", "[mechanism.allocation]", "[mechanism.outcomes.NAME]"):
        assert piece in message


UNREFUSED = {
    "two estimands of one name": (
        changed('name = "cace"\nkind', 'name = "itt"\nkind').replace('estimand = "cace"', 'estimand = "itt"'),
        "two estimands are named 'itt'",
    ),
    "no method": (SMALL[: SMALL.index("[[methods]]")] + SMALL[SMALL.index("[run]") :], "[[methods]]"),
    "published interval of no width": (
        SMALL + '\n[[published]]\nmethod = "imputed"\nestimate = 0.1\nci_lower = 0.1\nci_upper = 0.1\n',
        "published[1]",
    ),
    "expectation about a cell that is not there": (
        SMALL + '\n[[expect]]\nmeasure = "bias"\nmethod = "imputed"\nvalue = 0.0\n'
        'cell = { "mechanism.practices.number" = 3 }\n',
        "expect[1]",
    ),
    "more sessions than memory": (changed("[mechanism.delivery]\n", "[mechanism.delivery]\nsessions_mu = 1e12\n"),
                                  "mechanism.delivery.sessions_mu"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", UNREFUSED)
def test_a_mistake_that_would_be_found_out_too_late(mistake: str, tmp_path: Path) -> None:
    text, told = UNREFUSED[mistake]
    assert told in complaint(tmp_path, text)


def test_every_mistake_of_methods_and_factors_is_told_at_once_at_its_line(tmp_path: Path) -> None:
    text = """extends = "partners"
name = "Bad Name"
schema = 2
[[methods]]
name = "a"
kind = "lmm"
adjust = [
  "mansa_baseline",
  "mansa_baselin",
]
[[methods]]
name = "b"
kind = "ols"
se = "cr2"
response = "mnsa"
[[methods]]
name = "c"
kind = "mi"
[methods.analysis]
kind = "lmm"
adjust = ["mean(mansa_basline)"]
"""
    lines = complaint(tmp_path, text).splitlines()
    assert [int(line.split(":")[1]) for line in lines] == [2, 3, 10, 14, 15, 21]
    for line, part in zip(lines, (
        "name has a form that is not allowed; 'Bad Name' given (short name: lower-case",
        "schema must be 1; 2 given",
        "methods[1].adjust[2]: method 'a': unknown column 'mansa_baselin'",
        "'cr2' given; did you mean 'CR2'?",
        "methods[2].response: method 'b': unknown column 'mnsa_followup'",
        "'mansa_basline'",
    ), strict=True):  # fmt: skip
        assert part in line


def test_a_factor_that_is_no_list_does_not_hide_the_others(tmp_path: Path) -> None:
    text = """extends = "partners"
name = "x"
[vary.cross]
"mechanism.practices.number" = 3
"mechanism.practices.numbr" = [3, 4]
"mechanism.outcomes.mansa.icc" = [0.1, 2]
"""
    lines = complaint(tmp_path, text).splitlines()
    assert [int(line.split(":")[1]) for line in lines] == [4, 5, 6]
