"""simtrial audit: whether everything in a run directory is as it was written."""

from __future__ import annotations

from pathlib import Path

import click

from simtrial.commands.notes import note


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--repair", is_flag=True, help="Remove what is damaged, so that the same run command makes it again.")
def audit(run: Path, repair: bool) -> None:
    """Read every file of a run directory and name what is damaged, missing or foreign; exit 4 if there is any.

    Example: simtrial audit runs/a --repair
    """
    from simtrial.errors import StoreError
    from simtrial.report.text import say_whole
    from simtrial.store.audit import audit as find_damage
    from simtrial.store.audit import throw_away

    damage = find_damage(run)
    for one in damage:
        say_whole(one.message)
    if repair:
        throw_away(damage)
        files = sum(len(one.files) for one in damage)
        note(f"{files} files removed; run the same command again" if damage else "nothing to repair")
    elif damage:
        raise StoreError(f"{run}: {len(damage)} damaged; simtrial audit {run} --repair removes what is damaged")
    else:
        note(f"{run}: what is stored is sound; simtrial status {run} shows what is missing")
