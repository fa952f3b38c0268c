"""The run directory: what rows look like, what every file says of its origin, and what is refused or called damaged."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from commands import simtrial
from runs import chunks, go, quick, record, rows
from tomls import changed

from simtrial.errors import EnvironmentFailure, RunError, StoreError
from simtrial.files.whole import write_bytes
from simtrial.store.reading import read_rows
from simtrial.store.sealed import write_sealed

pytestmark = pytest.mark.usefixtures("quick")
__all__ = ["quick"]
FIRST = {
    "cell": pl.String, "replicate": pl.Int64, "method": pl.String, "estimand": pl.String, "estimate": pl.Float64,
    "std_error": pl.Float64, "df": pl.Float64, "ci_lower": pl.Float64, "ci_upper": pl.Float64, "p_value": pl.Float64,
    "status": pl.String, "flags": pl.String, "n_used": pl.Int64, "clusters_used": pl.Int64,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of 40 replicates in two chunks."""
    go(tmp_path / "run", 40)
    return tmp_path / "run"


def test_rows_have_the_documented_columns(folder: Path) -> None:
    frame = rows(folder)
    assert dict(list(frame.schema.items())[: len(FIRST)]) == FIRST
    assert {"icc", "tau2", "sigma2", "loglik", "fmi", "first_stage_f"} <= set(frame.columns)
    assert set(frame["status"]) <= {"ok", "failed"}
    assert frame["method"].to_list()[:3] == ["mixed model", "two-stage least squares", "imputed"]
    assert frame.select("method", "estimand").unique().sort("method").rows() == [
        ("imputed", "itt"), ("mixed model", "itt"), ("two-stage least squares", "cace"),
    ]  # fmt: skip
    assert frame.filter(method="imputed")["replicate"].to_list() == list(range(1, 41))


def test_what_cannot_be_said_is_null_and_never_nan(folder: Path) -> None:
    frame = rows(folder)
    for name, kind in frame.schema.items():
        if kind == pl.Float64:
            assert not frame[name].is_nan().any(), name
    assert frame.filter(pl.col("method") != "mixed model")["icc"].null_count() == 80
    assert frame.select("flags", "n_used", "clusters_used").null_count().row(0) == (0, 0, 0)


def test_the_files_are_those_documented_and_nothing_else(folder: Path) -> None:
    found = {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}
    names = ("000000-000000", "000001-000001")
    stored = {f"blocks/base/{name}.parquet" for name in names} | {f"records/base/{name}.json" for name in names}
    stored |= {"run.json", "cells.parquet", "records/cells.json"}
    assert stored <= found
    assert all(name.startswith(("failures/", "truths/base-")) for name in found - stored)


def test_every_table_says_where_it_comes_from(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text())
    for file in [*chunks(folder), folder / "cells.parquet"]:
        found = origin(file)
        assert found["scenario"]["name"] == "small"
        assert found["scenario"]["run"]["seed"] == 5
        assert found["versions"] == run["versions"]
        assert {"simtrial", "numpy", "polars", "scipy", "python"} <= set(found["versions"])


def origin(file: Path) -> dict[str, Any]:
    """What a stored table says of where it comes from."""
    return json.loads(pl.read_parquet_metadata(file)["simtrial"])  # type: ignore[no-any-return]


def test_every_table_carries_the_digest_of_the_trials(folder: Path) -> None:
    trials = json.loads((folder / "run.json").read_text())["trials"]
    assert {origin(file)["trials"] for file in [*chunks(folder), folder / "cells.parquet"]} == {trials}


def test_the_description_of_a_run(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text())
    assert (run["replicates"], run["seed"], run["scenario"]["run"]["block"]) == (40, 5, 20)
    assert run["scenario"]["mechanism"]["practices"]["number"] == 12
    assert {"format", "digest", "versions", "blas", "command", "plugins"} <= set(run)


def test_records_of_chunks(folder: Path) -> None:
    for at, file in enumerate(chunks(folder)):
        found = json.loads(record(file).read_text())
        assert (found["cell"], found["first"], found["last"], found["rows"]) == ("base", at, at, 60)
        assert len(found["sha256"]) == 64
        assert found["seconds"] >= 0


def test_true_values_are_stored_once(folder: Path) -> None:
    before = (folder / "cells.parquet").read_bytes()
    cells = pl.read_parquet(folder / "cells.parquet")
    assert cells["estimand"].to_list() == ["itt", "cace"]
    assert (cells["true_value_mcse"] >= 0).all()
    go(folder, 80)
    assert (folder / "cells.parquet").read_bytes() == before


def test_nothing_on_disk_is_a_pickle(folder: Path) -> None:
    for file in folder.rglob("*.*"):
        if file.suffix == ".parquet":
            content = file.read_bytes()
            assert content[:4] == content[-4:] == b"PAR1"
            assert all(kind.is_numeric() or kind == pl.String for kind in pl.read_parquet_schema(file).values())
        else:
            assert file.suffix in (".json", ".jsonl")
            for text in [file.read_text()] if file.suffix == ".json" else file.read_text().splitlines():
                json.loads(text)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("icc = 0.1", "icc = 0.2", "mechanism.outcomes.mansa.icc is 0.1 there and 0.2 here"),
        ("seed = 5", "seed = 6", "run.seed is 5 there and 6 here"),
        ("block = 20", "block = 10", "run.block is 20 there and 10 here"),
        ("m = 2\n", "m = 3\n", "method 'imputed': m is 2 there and 3 here"),
        ('received = "sessions >= 6"\n\n', 'received = "sessions >= 4"\n\n', "estimand 'cace': received is"),
        (
            "[mechanism.delivery]\n",
            "[mechanism.delivery]\nno_contact = 0.2\n",
            "no_contact is not stated there and 0.2 here",
        ),
    ],
)
def test_another_scenario_is_refused_and_told_what_differs(old: str, new: str, told: str, folder: Path) -> None:
    before = (folder / "run.json").read_bytes()
    with pytest.raises(RunError) as caught:
        go(folder, text=changed(old, new))
    assert told in str(caught.value)
    assert caught.value.exit_code == 2
    assert (folder / "run.json").read_bytes() == before


def test_another_version_is_refused(folder: Path) -> None:
    run = {k: v for k, v in json.loads((folder / "run.json").read_text()).items() if k != "seal"}
    write_sealed(folder / "run.json", {**run, "versions": {**run["versions"], "simtrial": "0.0.1"}})
    with pytest.raises(RunError, match=r"made by simtrial 0\.0\.1"):
        go(folder, 60)


def test_how_rows_are_read_may_change(folder: Path) -> None:
    outcome = go(folder, 40, text=changed("Twelve practices", "A dozen practices"))
    assert outcome.chunks == 0
    assert "A dozen" in json.loads((folder / "run.json").read_text())["scenario"]["title"]


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "thesis.txt").write_text("do not touch")
    with pytest.raises(RunError, match="not empty and not a run directory"):
        go(folder)
    assert [f.name for f in folder.iterdir()] == ["thesis.txt"]
    with pytest.raises(RunError, match="not a run directory"):
        read_rows(folder)


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    go(tmp_path / "run", 20)
    assert rows(tmp_path / "run").height == 60


@pytest.mark.parametrize("where", [0, 0.5, 1])
def test_a_damaged_chunk_is_noticed(where: float, folder: Path) -> None:
    file = chunks(folder)[1]
    content = bytearray(file.read_bytes())
    content[int(where * (len(content) - 1))] ^= 1
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"000001-000001\.parquet: damaged") as caught:
        rows(folder)
    assert caught.value.exit_code == 4


def test_a_truncated_chunk_is_noticed_and_can_be_made_again(folder: Path) -> None:
    expected = rows(folder)
    file = chunks(folder)[0]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(StoreError, match="simtrial audit --repair removes what is damaged"):
        rows(folder)
    assert simtrial("audit", folder, "--repair").code == 0
    go(folder, 40)
    assert rows(folder).equals(expected)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}'])
def test_a_damaged_description_is_noticed(content: str, folder: Path) -> None:
    (folder / "run.json").write_text(content)
    with pytest.raises((RunError, StoreError), match=r"run\.json: (damaged|this version cannot read its format)"):
        read_rows(folder)
    with pytest.raises((RunError, StoreError)):
        go(folder)


def test_a_damaged_table_of_cells_is_noticed(folder: Path) -> None:
    (folder / "cells.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(StoreError, match=r"cells\.parquet: damaged"):
        rows(folder)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file appears whole, by renaming, or not at all."""

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "run.json"
    file.write_text("before")
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(EnvironmentFailure, match="No space left on device") as caught:
        write_bytes(file, b"after")
    assert caught.value.exit_code == 5
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("run.json", "before")]
