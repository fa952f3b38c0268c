"""Prove that a checkout still gives the same draws, rows and words: record its outputs, compare them with another's.

    python bench/same_outputs.py record CHECKOUT FOLDER
    python bench/same_outputs.py compare FOLDER FOLDER

``record`` runs the commands of same_outputs.toml by CHECKOUT's command line, one process each, in a temporary folder,
and writes what comes out below FOLDER: one text per command (arguments, exit code, stdout, stderr), generated data
sets, and of every run its rows, true values and performance, as text to read and as SHA-256 of the bytes. The trials
analysed are those of this script's own checkout. ``compare`` lists the files that differ, exit 1 when any does.

What may vary is evened out, and nothing else:

- the paths of the temporary folder and of CHECKOUT, to WORK and CHECKOUT;
- lines of progress, "10:53:27 1/4 chunks, 1 s, about 0 s left", left out: how many there are depends on time;
- the time and memory `show` expects, "about 238 s with one worker", "about 321 MB", to TIME and MEMORY;
  in its JSON `seconds`, to null;
- the time of writing, to the minute, in the header of Stata's files, to TIME;
- in run.json and in the records of chunks: `versions`, `blas`, `command`, `seconds`, `timings`, `core`, `worker`,
  `host`, `time`.

SHA-256 are of files as stored, whose metadata holds versions: compare checkouts of one version, on one machine, with
one interpreter. `doctor` describes the machine and is not recorded.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "tests" / "oracle" / "data"
VARIES = {"versions", "blas", "command", "seconds", "timings", "core", "worker", "host", "time"}
PROGRESS = re.compile(r"^\d\d:\d\d:\d\d \d+/\d+ .* left\n", re.MULTILINE)
COST = re.compile(r"about [^:]* with one worker(, .* with \d+)?")
MEMORY = re.compile(r"Memory of a worker: .*(\n.*other trials.*)?")
STAMP = re.compile(rb"<timestamp>\x11.{17}</timestamp>")
SECONDS = re.compile(r'("[a-z_]*seconds": )[-+.e\d]+')


class Recorder:
    """A checkout's command line, called in ``work``, and the folder its outputs go to."""

    def __init__(self, checkout: Path, folder: Path, work: Path) -> None:
        self.checkout, self.folder, self.work = checkout.resolve(), folder, work.resolve()
        program = self.checkout / "cli.py"
        self.program = [sys.executable, str(program)] if program.is_file() else [sys.executable, "-m", "simtrial"]
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        fixed = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "NO_COLOR": "1", "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
        self.env = {**kept, **fixed, "PYTHONPATH": str(self.checkout), "PYTHONDONTWRITEBYTECODE": "1"}

    def call(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a process in the temporary folder."""
        return subprocess.run(
            command, cwd=self.work, env=self.env, capture_output=True, encoding="utf-8", check=False, timeout=600
        )

    def place(self) -> None:
        """Check that the package is CHECKOUT's."""
        found = self.call([sys.executable, "-c", "import simtrial; print(simtrial.__file__)"])
        if Path(found.stdout.strip()).resolve() != self.checkout / "simtrial" / "__init__.py":
            sys.exit(f"simtrial is not that of {self.checkout}: {found.stdout}{found.stderr}")

    def write(self, name: str, text: str) -> None:
        """Write an output below the folder."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def even(self, text: str) -> str:
        """Even out what may vary in what a command prints."""
        for path, name in ((self.work, "WORK"), (self.checkout, "CHECKOUT")):
            text = text.replace(str(path), name)
        return SECONDS.sub(r"\1null", MEMORY.sub("MEMORY", COST.sub("about TIME", PROGRESS.sub("", text))))

    def command(self, name: str, arguments: str) -> str:
        """Run a command, write what it prints and return its stdout."""
        done = self.call([*self.program, *shlex.split(arguments)])
        parts = (f"$ simtrial {arguments}\nexit {done.returncode}\n", "--- stdout\n", self.even(done.stdout))
        self.write(f"{name}.txt", "".join((*parts, "--- stderr\n", self.even(done.stderr))))
        if done.returncode and not name.startswith("commands/"):  # those err on purpose
            print(f"{name}: exit {done.returncode}; is same_outputs.toml still right? {self.even(done.stderr)[-300:]}")
        return done.stdout

    def run(self, scenario: str, name: str, options: str) -> None:
        """Run a scenario and write what its run directory holds."""
        self.command(f"runs/{name}/output", f"run {scenario} -o runs/{name} {options}")
        run = self.work / "runs" / name
        files = sorted(run.rglob("*.parquet"))
        blocks = [file for file in files if file.is_relative_to(run / "blocks")]
        tables = {"rows": blocks, **{file.stem: [file] for file in files if file not in blocks}}
        for table, parts in tables.items():
            self.write(f"runs/{name}/{table}.csv", "".join(map(readable, parts)))
        digests = (f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(run).as_posix()}\n" for f in files)
        self.write(f"runs/{name}/bytes.txt", "".join(digests))
        for file in sorted(run.rglob("*.json*")):
            texts = file.read_text(encoding="utf-8")
            held = [json.loads(line) for line in texts.splitlines()] if file.suffix == ".jsonl" else json.loads(texts)
            self.write(f"runs/{name}/{file.relative_to(run)}", json.dumps(steady(held), indent=1) + "\n")

    def generate(self, scenario: str, name: str, options: str) -> None:
        """Generate data sets and keep them, the time in Stata's files apart."""
        self.command(f"generated/{name}/output", f"generate {scenario} -o generated/{name} {options}")
        for file in sorted((self.work / "generated" / name).glob("*")):
            held = STAMP.sub(b"<timestamp>TIME</timestamp>", file.read_bytes())
            (self.folder / "generated" / name / file.name).write_bytes(held)


def readable(file: Path) -> str:
    """Return a table as text: its columns with their types, then CSV whose numbers have every digit."""
    table = pl.read_parquet(file)
    return f"{file.parent.name}: {dict(table.schema)}\n{table.write_csv()}"


def steady(value: Any) -> Any:
    """Leave out of JSON what may vary."""
    if isinstance(value, dict):
        return {key: steady(held) for key, held in value.items() if key not in VARIES}
    return [steady(held) for held in value] if isinstance(value, list) else value


def toml(value: Any) -> str:
    """Write a value as TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(held)}" for key, held in value.items()) + " }"
    return json.dumps(value)


def choices(analysis: dict[str, Any], common: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Options of the methods of a kind: every combination of ``crossed``, then each other value by itself."""
    crossed = analysis.get("crossed", {})
    for values in itertools.product(*crossed.values()):
        yield dict(zip(crossed, values, strict=True))
    for option, values in (*analysis.get("each", {}).items(), *(common.items() if "each" in analysis else ())):
        yield from ({option: value} for value in values)


def methods_file(analysis: dict[str, Any], common: dict[str, list[Any]]) -> str:
    """Methods of a kind, named for their options."""
    texts = [f"[allocation]\n{analysis['allocation']}\n"] if "allocation" in analysis else []
    for options in choices(analysis, common):
        named = {"name": ", ".join(f"{k}={v}" for k, v in options.items()) or "default", "kind": analysis["kind"]}
        held = {**named, **analysis.get("fixed", {}), **options}
        texts.append("[[methods]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in held.items()))
    return "\n".join(texts)


def spoil(runs: Path, name: str) -> None:
    """Copy a run twice, one byte of a chunk changed in `damaged`, a chunk missing in `unfinished`."""
    for copy in ("damaged", "unfinished"):
        shutil.copytree(runs / name, runs / copy)
        chunk = min((runs / copy / "blocks").rglob("*.parquet"))
        held = bytearray(chunk.read_bytes())
        held[len(held) // 2] ^= 1
        chunk.write_bytes(held) if copy == "damaged" else chunk.unlink()


def record(checkout: Path, folder: Path) -> None:
    """Write every output of a checkout below a folder."""
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder}: not empty")
    asked = tomllib.loads((HERE / "same_outputs.toml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="outputs-") as work:
        here = Recorder(checkout, folder, Path(work))
        here.place()
        shutil.copytree(DATA, here.work / "data")
        for name, text in asked["files"].items():
            (here.work / name).write_text(text, encoding="utf-8")
        for name, (scenario, options) in asked["runs"].items():
            here.run(scenario, name, options)
        for name, (scenario, options) in asked["generate"].items():
            here.generate(scenario, name, options)
        spoil(here.work / "runs", asked["spoiled"])
        kinds = {analysis["kind"] for analysis in asked["analyses"].values()}
        for name, analysis in asked["analyses"].items():
            (here.work / f"{name}.toml").write_text(methods_file(analysis, asked["common"]), encoding="utf-8")
            data = shlex.join(sorted(f.relative_to(here.work).as_posix() for f in here.work.glob(analysis["data"])))
            here.command(f"analyses/{name}", f"analyse {data} --methods {name}.toml --format csv --all-terms")
        _, _, listed = here.command("help/simtrial", "--help").partition("Commands:\n")
        known = re.findall(r"^  ([a-z-]+) ", listed, re.MULTILINE)
        for name in known:
            here.command(f"help/{name}", f"{name} --help")
        wanted = {**asked["commands"], **{k: v for k, v in asked["where_known"].items() if v.split()[0] in known}}
        for name, arguments in wanted.items():
            here.command(f"commands/{name}", arguments)
        listed = here.call([*here.program, "list", "--format", "json"]).stdout
        left = {entry["name"] for entry in json.loads(listed)["rows"] if entry["what"] == "method"} - kinds
        if left:
            print(f"kinds of method not recorded, add them to same_outputs.toml: {', '.join(sorted(left))}")


def first_difference(a: bytes, b: bytes) -> str:
    """First line in which two files differ, with its number."""
    pairs = itertools.zip_longest(a.splitlines(keepends=True), b.splitlines(keepends=True))
    at, (x, y) = next((at, pair) for at, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    start = next((at for at, (c, d) in enumerate(zip(x or b"", y or b"", strict=False)) if c != d), 0)
    before = max(0, start - 60)
    shown = ("(no such line)" if line is None else repr(line[before : start + 60])[1:] for line in (x, y))
    return "\n  ".join((f"line {at}, character {start + 1}", *shown))


def compare(one: Path, other: Path) -> int:
    """List the files that differ between two recorded folders; return how many."""
    trees = [{f.relative_to(folder).as_posix(): f for f in folder.rglob("*") if f.is_file()} for folder in (one, other)]
    if not all(trees):
        sys.exit(f"no outputs in {one if not trees[0] else other}")
    names = sorted(set(trees[0]) | set(trees[1]))
    differ = 0
    for name in names:
        if any(name not in tree for tree in trees):
            differ += 1
            print(f"{name}: only in {one if name in trees[0] else other}")
            continue
        a, b = (tree[name].read_bytes() for tree in trees)
        if a != b:
            differ += 1
            print(f"{name}: {first_difference(a, b)}")
    print(f"{differ} of {len(names)} files differ")
    return differ


def main(arguments: list[str]) -> int:
    """Record or compare."""
    if len(arguments) != 3 or arguments[0] not in ("record", "compare"):
        sys.exit(__doc__)
    one, other = map(Path, arguments[1:])
    if arguments[0] == "compare":
        return 1 if compare(one, other) else 0
    start = time.monotonic()
    record(one, other)
    print(f"{sum(f.is_file() for f in other.rglob('*'))} files in {other}, {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
