"""simtrial completion: what a shell needs to complete commands, options and names."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets a shell complete commands, options, choices and names of scenarios.

    bash: add the line  eval "$(simtrial completion bash)"  to ~/.bashrc; zsh: the same with zsh in ~/.zshrc;
    fish: simtrial completion fish > ~/.config/fish/completions/simtrial.fish

    Example: simtrial completion bash
    """
    from click.shell_completion import ShellComplete, get_completion_class

    from simtrial.report.text import emit_text

    found = get_completion_class(shell)
    assert found is not None
    root = click.get_current_context().find_root().command
    emit_text(ShellComplete.source(found(root, {}, "simtrial", "_SIMTRIAL_COMPLETE")).rstrip())
