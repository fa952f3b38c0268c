"""Completion by the shell: scripts, and what they are given to choose from."""

import os
import shlex
import shutil
import subprocess
import sys

import pytest
from commands import PROGRAM, simtrial

LOADED = """
import sys
sys.argv = ['simtrial']
from simtrial.cli import main
try:
    main()
except SystemExit:
    pass
"""


def completed(*words: str) -> list[str]:
    """What bash is given for the last of some words, and that computing nothing was loaded for it."""
    script = LOADED + "print(*[m for m in ('numpy', 'polars', 'pydantic') if m in sys.modules], file=sys.stderr)"
    asked = {"_SIMTRIAL_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    environment = {**os.environ, **asked}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert done.stderr.strip() == ""
    return done.stdout.splitlines()


def test_commands_options_and_names_of_scenarios() -> None:
    assert completed("simtrial", "sum") == ["plain,summarise"]
    assert "plain,--max-time" in completed("simtrial", "run", "--m")
    assert completed("simtrial", "run", "verify/icc") == ["plain,verify/icc-0", "plain,verify/icc-half"]
    assert "plain,partners" in completed("simtrial", "check", "")
    assert completed("simtrial", "analyse", "--methods", "partners-f") == ["plain,partners-full"]
    assert completed("simtrial", "run", "my-scenario") == ["file,my-scenario"]
    assert completed("simtrial", "run", "partners", "--engine", "s") == ["plain,serial"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(shell: str) -> None:
    script = simtrial("completion", shell)
    assert script.code == 0
    assert f"_SIMTRIAL_COMPLETE={shell}_complete" in script.out
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script.out, text=True, check=True, timeout=60)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not there")
def test_bash_completes() -> None:
    script = simtrial("completion", "bash").out
    asks = 'COMP_WORDS=(simtrial run partners-i); COMP_CWORD=2; _simtrial_completion simtrial; echo "${COMPREPLY[@]}"'
    program = f"simtrial() {{ :; }}\n{script}\n{asks}".replace(
        "$1)", f"{shlex.quote(sys.executable)} {shlex.quote(str(PROGRAM))})"
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "partners-interim"
