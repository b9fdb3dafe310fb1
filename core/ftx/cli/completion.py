"""`ftx completion`: the script that lets a shell complete ftx's commands, steps and references.

The scripts for zsh and fish are click's. That for bash is ours: bash cuts words at `:`, and a step is `stage:method`.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

VARIABLE = "_FTX_COMPLETE"
"""What click looks for when `ftx` starts: `bash_complete` and so on."""
INSTALL = {
    "bash": "echo 'eval \"$(ftx completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(ftx completion zsh)\"' >> ~/.zshrc",
    "fish": "ftx completion fish > ~/.config/fish/completions/ftx.fish",
}
"""Shell -> the line that turns completion on for good."""

BASH = r"""# ftx: completion for bash. To turn it on in every shell: %(install)s
%(complete_func)s() {
    local line="${COMP_LINE:0:COMP_POINT}" current before="" type value
    current="${line##*[[:space:]]}"
    # bash takes a reply for what stands behind the last of these characters, not for the whole word.
    if [[ "$COMP_WORDBREAKS" == *:* && "$current" == *:* ]]; then
        before="${current%%:*}:"
    fi
    COMPREPLY=()
    while IFS=$'\t' read -r type value; do
        case "$type" in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            plain)
                COMPREPLY+=("${value#"$before"}")
                [[ "$value" == *= ]] && compopt -o nospace 2>/dev/null
                ;;
        esac
    done < <(env COMP_LINE="$line" %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s 2>/dev/null || complete -F %(complete_func)s %(prog_name)s
"""


class BashCompletion(ShellComplete):
    """Reads `COMP_LINE`, the command line up to the cursor, and answers `type TAB value`, a line each."""

    name: ClassVar[str] = "bash"
    source_template: ClassVar[str] = BASH

    def source_vars(self) -> Any:
        return {**super().source_vars(), "install": INSTALL["bash"]}

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        incomplete = "" if line[-1:].isspace() else words.pop()
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[str]) -> str:
        return f"{item.type}\t{item.value}"


add_completion_class(BashCompletion)


@click.command()
@click.argument("shell", type=click.Choice(list(INSTALL)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands, steps, runs and references in SHELL.

    \b
    bash: eval "$(ftx completion bash)"   in ~/.bashrc
    zsh:  eval "$(ftx completion zsh)"    in ~/.zshrc, behind compinit
    fish: ftx completion fish > ~/.config/fish/completions/ftx.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # click.Choice admits no other
    click.echo(found(context.find_root().command, {}, "ftx", VARIABLE).source())
