"""Time and memory of a run with its summary, by the number of replicates (Linux).

``python bench/long_run.py [REPLICATES ...]`` runs ``speed.toml`` with two workers and prints a line for each number:
seconds, peak resident memory of the process that plans and summarises, and of the largest worker.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
DEFAULT = ("10000", "100000", "1000000")


def descendants(process: int) -> Iterator[int]:
    """Processes that a process has started, and those that they have."""
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in task.read_text().split():
            yield int(child)
            yield from descendants(int(child))


def peak(process: int) -> int:
    """Bytes of memory that a process has held at most."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return 0


def measured(replicates: str) -> tuple[float, int, int]:
    """Seconds, peak of the main process and of the largest worker."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "simtrial", "run", str(HERE / "speed.toml"), "--replicates", replicates,
            "--workers", "2", "-o", f"{folder}/run",
        ]  # fmt: skip
        start, main, worker = time.perf_counter(), 0, 0
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while running.poll() is None:
            try:
                main = max(main, peak(running.pid))
                worker = max([worker, *map(peak, descendants(running.pid))])
            except OSError:  # one that has just ended
                pass
            time.sleep(0.02)
        if running.returncode:
            sys.exit(f"failed with exit code {running.returncode}: {' '.join(command)}")
        return time.perf_counter() - start, main, worker


if __name__ == "__main__":
    if not Path("/proc/self/task").is_dir():
        sys.exit("peak memory is read from /proc, which is not here")
    print("replicates  seconds  main, MB  worker, MB")
    for number in sys.argv[1:] or DEFAULT:
        seconds, main, worker = measured(number)
        print(f"{int(number):>10,}  {seconds:7.1f}  {main / 1e6:8.0f}  {worker / 1e6:10.0f}")
