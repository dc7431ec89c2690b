"""`genai completion install | show | uninstall [SHELL]` sets up the TAB key of a shell."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from genai_cli.cli.command_table import USAGE
from genai_cli.cli.completion.candidates import SHELLS
from genai_cli.cli.usage import ACTIONS
from genai_cli.errors import UserError, listing, nearest

BASH = r"""# genai completion for bash; written by `genai completion install`
_genai() {
    local item command="$1"
    case $command in "~/"*) command="$HOME/${command#"~/"}" ;; esac
    COMPREPLY=()
    while IFS= read -r item; do
        COMPREPLY+=("$item")
    done < <("$command" _complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
}
complete -o nospace -F _genai genai
"""

ZSH = r"""#compdef genai
# genai completion for zsh; written by `genai completion install`
_genai() {
    local line
    local -a before goes_on goes_on_text whole whole_text
    before=("${(@Q)words[2,CURRENT-1]}")
    while IFS= read -r line; do
        if [[ ${line%%$'\t'*} == *' ' ]]; then
            whole+=("${${line%%$'\t'*}% }")
            whole_text+=("${line#*$'\t'}")
        else
            goes_on+=("${line%%$'\t'*}")
            goes_on_text+=("${line#*$'\t'}")
        fi
    done < <(${~words[1]} _complete zsh "${before[@]}" "${(Q)PREFIX}" 2>/dev/null)
    (( $#goes_on )) && compadd -l -S '' -d goes_on_text -a goes_on
    (( $#whole )) && compadd -l -d whole_text -a whole
}
if [[ $funcstack[1] == _genai ]]; then _genai "$@"; else compdef _genai genai; fi
"""

FISH = r"""# genai completion for fish; written by `genai completion install`
function __genai_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    $words[1] _complete fish $words[2..-1] "$current" 2>/dev/null
end
complete -c genai -f -a '(__genai_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}

ZSHRC = {  # what .zshrc must mention → the line that does it, in this order
    ".zfunc": "fpath=(~/.zfunc $fpath)",
    "compinit": "autoload -Uz compinit && compinit",
}


def main(args: list[str]) -> int:
    """Run ``genai completion`` and return the exit code."""
    action, *shells = args or [""]
    usage, actions = f"type: {USAGE['completion']}", ACTIONS["completion"]
    if action not in actions:
        mistake = f"'{action}' is not known{nearest(action, actions)}" if action else "name one"
        raise UserError(f"{mistake}; {usage}")
    if len(shells) > 1:
        raise UserError(f"one shell at a time, got {' '.join(shells)}; {usage}")
    for shell in shells:
        if shell not in SHELLS:
            raise UserError(
                f"unknown shell '{shell}'{nearest(shell, SHELLS)} (choose from: {listing(SHELLS)})"
            )
    if action == "uninstall":
        return uninstall(shells or list(SHELLS))
    shell = shells[0] if shells else this_shell()
    if action == "show":
        print(SCRIPTS[shell], end="")
        return 0
    return install(shell)


def this_shell() -> str:
    """Return the name of the user's shell, from $SHELL."""
    name = Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise UserError(
            f"$SHELL is {name or 'not set'}; name the shell: genai completion install"
            f" {'|'.join(SHELLS)}"
        )
    return name


def completion_file(shell: str) -> Path:
    """Return the path of a shell's completion file for ``genai``."""
    home = Path.home()
    if shell == "bash":
        data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
        return data / "bash-completion/completions/genai"
    if shell == "zsh":
        return home / ".zfunc/_genai"
    return (
        Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish/completions/genai.fish"
    )


def install(shell: str) -> int:
    """Write the completion file and print the remaining steps, if any."""
    file = completion_file(shell)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(SCRIPTS[shell], encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write {file}: {error.strerror}; genai completion show {shell} prints it"
        ) from None
    print(f"wrote {file}")
    if shell == "bash" and not has_bash_completion():
        print("the package bash-completion, which reads it, was not found; without it, add to")
        print(f"~/.bashrc:  source {file}")
    if shell == "zsh":
        lines = missing_in_zshrc()
        if lines:
            print("add to ~/.zshrc, above any line that runs compinit:")
            print(*(f"  {line}" for line in lines), sep="\n")
    print("it works in the next shell you open")
    if shutil.which("genai") is None:
        print("note: genai itself is not on PATH, and TAB needs it there")
    return 0


def uninstall(shells: list[str]) -> int:
    """Remove the completion files of these shells and return the exit code."""
    removed = 0
    for file in map(completion_file, shells):
        try:
            file.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UserError(f"cannot remove {file}: {error.strerror}") from None
        print(f"removed {file}")
        removed += 1
    if not removed:
        print("no completion was installed")
    return 0


def has_bash_completion() -> bool:
    """Tell whether the package bash-completion is installed."""
    roots = ("/usr/share", "/usr/local/share", "/opt/homebrew/share")
    return any(Path(root, "bash-completion/bash_completion").exists() for root in roots)


def missing_in_zshrc() -> list[str]:
    """Return the lines that .zshrc still needs, in order."""
    folder = Path(os.environ.get("ZDOTDIR") or Path.home())
    try:
        text = (folder / ".zshrc").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return [line for word, line in ZSHRC.items() if word not in text]
