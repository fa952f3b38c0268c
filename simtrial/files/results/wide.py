"""Wide files of results, one row per replicate: simsum's b_1 and se_b_1, siman's est1 and se1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

INFERENCE = ("std_error", "df", "ci_lower", "ci_upper", "p_value", "status")


@dataclass(frozen=True)
class Stem:
    """The columns of one method in a wide file: our name -> theirs."""

    method: str
    roles: Mapping[str, str]


def stems_of(
    columns: Sequence[str], names: Mapping[str, Sequence[str]], plain: Callable[[str], str]
) -> tuple[Stem, ...]:
    """Methods whose estimates stand side by side; none where the file is not wide.

    Parameters
    ----------
    columns
        Those that have no meaning yet.
    names
        Names that each of our columns is known by.
    plain
        A name without case and separators.
    """
    return _by_prefix(columns, names) or _by_ending(columns, names, plain)


def _by_prefix(columns: Sequence[str], names: Mapping[str, Sequence[str]]) -> tuple[Stem, ...]:
    """simsum's: x and se_x; further columns of the method are, say, df_x and p_x."""
    lower = {c.lower(): c for c in columns}
    found = []
    for name in columns:
        roles = {"estimate": name}
        for ours in INFERENCE:
            prefixes = ("se",) if ours == "std_error" else (ours, *names[ours])
            partner = next((lower[k] for p in prefixes if (k := f"{p}_{name.lower()}") in lower), None)
            roles |= {ours: partner} if partner else {}
        if "std_error" in roles:
            found.append(Stem(name, roles))
    return tuple(found)


def _by_ending(
    columns: Sequence[str], names: Mapping[str, Sequence[str]], plain: Callable[[str], str]
) -> tuple[Stem, ...]:
    """siman's: est1 and se1; further columns of the method are, say, df1 and p1."""
    by_name = {plain(c): c for c in columns}
    for start in names["estimate"]:
        found = []
        for name in columns:
            end = plain(name).removeprefix(start)
            if not end or end == plain(name):
                continue
            roles = {"estimate": name}
            for ours in INFERENCE:
                partner = next((by_name[p + end] for p in names[ours] if p + end in by_name), None)
                roles |= {ours: partner} if partner and partner != name else {}
            if "std_error" in roles:
                found.append(Stem(_rest(name, len(start)), roles))
        if found:
            return tuple(found)
    return ()


def _rest(name: str, letters: int) -> str:
    """What follows so many letters of a name, separators aside."""
    for at, letter in enumerate(name):
        if not letters:
            return name[at:].strip("_. -")
        letters -= letter not in "_. -"
    return name
