"""Where a mistake is said to be: the setting that makes it, or the file of a pair that holds the key."""

from pathlib import Path

import pytest
from tomls import SMALL, changed, complaint, line_of, written


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["mechanism.outcomes.mansa.icc=1.2"], "--set mechanism.outcomes.mansa.icc=1.2: icc must be < 1"),
        (["mechanism.outcomes.mansa.iccc = 0.1"], "--set mechanism.outcomes.mansa.iccc = 0.1: unknown key 'iccc'"),
        (["mechanism.allocation=[]"], "--set mechanism.allocation=[]: allocation must be a table"),
        (["mechanism.practices.cluster_size_cv=0.2"], "--set mechanism.practices.cluster_size_cv=0.2: cluster sizes"),
        # options that do not go together: the table is at fault, the setting is to blame
        (["mechanism.allocation.factors=[]"],
         "--set mechanism.allocation.factors=[]: mechanism.allocation: minimisation needs factors"),
        (["mechanism.practices.cluster_size_mean=1.2"],
         "--set mechanism.practices.cluster_size_mean=1.2: mechanism.practices.cluster_size_cv: cluster sizes of mean"),
        # keys of the file that no longer hold because of a setting elsewhere, and a setting that has no part in it
        (["run.seed=3", 'mechanism.practices.regions={ A = 1 }'],
         "--set mechanism.practices.regions={ A = 1 }: mechanism.outcomes.mansa.region_effects.North: unknown region"),
        # two that are right one by one
        (["mechanism.practices.cluster_size_mean=30", "mechanism.practices.number=15000"],
         "--set mechanism.practices.cluster_size_mean=30 --set mechanism.practices.number=15000: mechanism.practices:"),
        (["name.first=3"], "--set name.first=3: lies below a value that is not a table"),
        (["run.replicates=0", "run.replicates=-1"], "--set run.replicates=-1: replicates must be >= 1"),
    ],
)  # fmt: skip
def test_a_setting_that_makes_a_mistake_is_its_place(settings: list[str], told: str, tmp_path: Path) -> None:
    text = changed("effect = 0.3\n", "effect = 0.3\nregion_effects = { North = 0.1 }\n", SMALL)
    message = complaint(tmp_path, text, *settings)
    assert message.startswith(told)
    assert "trial.toml" not in message
    assert len(message.splitlines()) == 1


def test_mistakes_of_the_file_stay_at_their_line_beside_those_of_a_setting(tmp_path: Path) -> None:
    text = changed("rate = 0.15", "rate = 15", SMALL)
    lines = complaint(tmp_path, text, "mechanism.outcomes.mansa.icc=1.2", "run.seed=3").splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("--set mechanism.outcomes.mansa.icc=1.2: ")
    assert lines[1].startswith(f"trial.toml:{line_of(text, 'rate = 15')}: mechanism.dropout.rate: ")


CHILD = 'schema = 1\nname = "child"\nextends = "base.toml"\n'
OWN_METHODS = (
    '\n[[methods]]\nname = "one"\nkind = "ols"\n\n[[methods]]\nname = "two"\nkind = "iv"\n'  # the base's second has it
)


@pytest.mark.parametrize(
    ("base", "child", "file", "piece", "told"),
    [
        (("icc = 0.1", "icc = 1.2"), "[mechanism.outcomes.mansa]\neffect = 0.1\n", "base", "icc = 1.2", "must be < 1"),
        (("", ""), "[mechanism.outcomes.mansa]\nicc = 1.2\n", "trial", "icc = 1.2", "must be < 1"),
        (("icc = 0.1", "icc = 1.2"), "[mechanism.outcomes.mansa]\nicc = 1.3\n", "trial", "icc = 1.3", "1.3 given"),
        (("", ""), "[mechanism.practices]\ncluster_size_cv = 0.2\n", "trial", "cluster_size_cv", "0.2 given"),
        (("cluster_size_cv = 0.62", "cluster_size_cv = 0.2"), "[mechanism.practices]\nnumber = 20\n", "base",
         "cluster_size_cv", "0.2 given"),
        (("", ""), OWN_METHODS, "trial", '[[methods]]\nname = "two"', "kind 'iv' needs received"),
        (("m = 2\n", "m = 0\n"), "[run]\nseed = 7\n", "base", "m = 0\n", "methods[3].m: m must be >= 1"),
        (('estimand = "cace"', 'estimand = "cases"'), "[run]\nseed = 7\n", "base", "cases", "unknown estimand"),
        (("", ""), '[performance]\nreference = "none"\n', "trial", "reference", "unknown method"),
    ],
    ids=["key of the base", "key of the child", "key of both", "child's CV", "base's CV", "a list replaced",
         "a list kept", "a name in the base", "a name in the child"],
)  # fmt: skip
def test_the_file_that_holds_the_key_is_named(
    base: tuple[str, str], child: str, file: str, piece: str, told: str, tmp_path: Path
) -> None:
    texts = {"base": changed(*base) if base[0] else SMALL, "trial": CHILD + child}
    written(tmp_path, texts["base"], "base.toml")
    (line,) = complaint(tmp_path, texts["trial"]).splitlines()
    assert line.startswith(f"{file}.toml:{line_of(texts[file], piece)}: ")
    assert told in line
