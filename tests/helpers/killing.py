"""Processes and what they have started, as the system lists them."""

from pathlib import Path


def parents() -> dict[int, int]:
    """Parent of every process that runs."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if stat[0] != "Z":
            found[int(folder.name)] = int(stat[1])
    return found


def children(process: int) -> list[int]:
    """Processes that a process has started."""
    return [number for number, parent in parents().items() if parent == process]


def below(process: int) -> list[tuple[int, str]]:
    """Processes started by a process, and by those: number and command."""
    known, found, level = parents(), [], [process]
    while level:
        level = [number for number, parent in known.items() if parent in level]
        for number in level:
            try:
                name = Path(f"/proc/{number}/cmdline").read_bytes().decode().replace("\0", " ")
            except OSError:
                continue
            found.append((number, name))
    return found


def running(process: int) -> bool:
    """Whether a process runs, and has not merely not been waited for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def stored(folder: Path) -> dict[str, int]:
    """Chunks of a run that count, with the time of their writing."""
    return {f.name: f.stat().st_mtime_ns for f in (folder / "records").glob("base/*.json")}
