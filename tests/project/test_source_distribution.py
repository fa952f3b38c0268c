"""The source distribution: everything under version control is in it, and its own tests run from it."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
NOT_COPIED = (".git", ".venv", "runs", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis",
              ".benchmarks")  # fmt: skip


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an unpacked source distribution, built from a copy of this checkout."""
    base = tmp_path_factory.mktemp("source distribution")
    shutil.copytree(ROOT, base / "checkout", ignore=shutil.ignore_patterns(*NOT_COPIED))
    command = [sys.executable, "-c", BUILD, str(base)]
    subprocess.run(command, cwd=base / "checkout", capture_output=True, check=True)
    with tarfile.open(next(base.glob("*.tar.gz"))) as archive:
        archive.extractall(base, filter="data")
    (folder,) = (f for f in base.iterdir() if f.is_dir() and f.name.startswith("simtrial_bench-"))
    return folder


def environment(folder: Path) -> Path:
    """Make an environment with this one's packages but without this project, and return its python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    site = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    home = Path(subprocess.run(site, capture_output=True, text=True, check=True).stdout.strip())
    packages = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (home / "packages.pth").write_text("\n".join(packages) + "\n", encoding="utf-8")
    return python


@pytest.mark.verify
def test_everything_under_version_control_is_in_it(unpacked: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    missing = [name for name in listed if name and (ROOT / name).is_file() and not (unpacked / name).is_file()]
    assert not missing


@pytest.mark.verify
@pytest.mark.slow
@pytest.mark.distribution
def test_its_own_tests_run(unpacked: Path, tmp_path: Path) -> None:
    """The whole of the tests, with nothing of this checkout in reach."""
    python = environment(tmp_path / "environment")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "PYTHONPATH"))}
    where = "import simtrial; print(simtrial.__file__)"
    home = subprocess.run([python, "-c", where], cwd=unpacked, capture_output=True, text=True, check=True, env=clean)
    assert Path(home.stdout.strip()).parents[1] == unpacked
    command = [python, "-m", "pytest", "tests", "-q", "-m", "not verify", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=unpacked, capture_output=True, text=True, check=False, env=clean)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) > 1000
