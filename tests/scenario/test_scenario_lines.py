"""Where in a TOML text a key stands."""

from tomls import line_of

from simtrial.scenario.lines import find_lines
from simtrial.scenario.problems import key_name

TEXT = """\
schema = 1
# a comment
name = "x"

[mechanism.practices]
number = 39
regions = {
  North = 2, South = 1 }

[mechanism.outcomes.mansa]
region_effects = { North = 0.5, South = -0.5 }
note = \"\"\"
two
lines\"\"\"

[[methods]]
name = "first"
adjust = [
  "mansa_baseline",
  "region",
]

[[methods]]
name = "second"
analysis = { kind = "lmm", df = "normal" }

[vary.cross]
"mechanism.practices.number" = [20, 39]
dotted.key.here = 1
"""
TEXT = TEXT.replace("{\n  North = 2, South = 1 }", "{ North = 2, South = 1 }")


def lines(*paths: tuple[str | int, ...]) -> list[int]:
    found = find_lines(TEXT, paths)
    return [found[path] for path in paths]


def test_plain_keys_and_tables() -> None:
    assert lines(("name",), ("mechanism", "practices"), ("mechanism", "practices", "number")) == [
        line_of(TEXT, 'name = "x"'), line_of(TEXT, "[mechanism.practices]"), line_of(TEXT, "number = 39"),
    ]  # fmt: skip


def test_a_key_of_an_inline_table_is_on_its_line() -> None:
    assert lines(("mechanism", "outcomes", "mansa", "region_effects", "South"), ("methods", 1, "analysis", "df")) == [
        line_of(TEXT, "region_effects"), line_of(TEXT, "analysis ="),
    ]  # fmt: skip


def test_arrays_of_tables_are_counted() -> None:
    assert lines(("methods", 0), ("methods", 1), ("methods", 0, "name"), ("methods", 1, "name")) == [
        line_of(TEXT, "[[methods]]"), line_of(TEXT, '[[methods]]\nname = "second"'),
        line_of(TEXT, 'name = "first"'), line_of(TEXT, 'name = "second"'),
    ]  # fmt: skip


def test_an_array_over_several_lines_is_found_within_them() -> None:
    (found,) = lines(("methods", 0, "adjust"))
    assert line_of(TEXT, "adjust = [") <= found <= line_of(TEXT, ']\n\n[[methods]]\nname = "second"')
    (entry,) = lines(("methods", 0, "adjust", 1))
    assert line_of(TEXT, "adjust = [") <= entry <= line_of(TEXT, ']\n\n[[methods]]\nname = "second"')


def test_quoted_and_dotted_keys() -> None:
    assert lines(("vary", "cross", "mechanism.practices.number"), ("vary", "cross", "dotted", "key", "here")) == [
        line_of(TEXT, '"mechanism.practices.number"'), line_of(TEXT, "dotted.key"),
    ]  # fmt: skip


def test_a_text_over_several_lines_does_not_confuse() -> None:
    (found,) = lines(("mechanism", "outcomes", "mansa", "note"))
    assert line_of(TEXT, "note =") <= found <= line_of(TEXT, 'lines"""')


def test_a_key_that_is_absent_is_told_at_the_table_that_lacks_it() -> None:
    assert lines(("mechanism", "practices", "cluster_size_mean"), ("methods", 1, "received")) == [
        line_of(TEXT, "[mechanism.practices]"), line_of(TEXT, '[[methods]]\nname = "second"'),
    ]  # fmt: skip
    assert lines(("nowhere",)) == [0]


def test_paths_are_spelt_as_a_user_would() -> None:
    assert key_name(("mechanism", "outcomes", "mansa", "icc")) == "mechanism.outcomes.mansa.icc"
    assert key_name(("methods", 1, "analysis", "kind")) == "methods[2].analysis.kind"
    assert key_name(()) == ""
