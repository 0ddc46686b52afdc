"""`completion bash`: words for the shell, generated from the commands themselves."""

import argparse

from calico.calicoctl.session import Session
from calico.model.kinds import KINDS

_WITH_KIND = ("get", "delete", "patch", "label", "explain")


def run(session: Session, options: argparse.Namespace) -> int:
    """Print a bash script to be sourced."""
    from calico.calicoctl.cli import COMMANDS, options_of

    kinds = " ".join(sorted({name for kind in KINDS.values() for name in (kind.aliases[0], kind.plural)}))
    groups: dict[str, list[str]] = {}
    for name in COMMANDS:
        first, _, second = name.partition(" ")
        groups.setdefault(first, []).extend([second] if second else options_of(name))
    cases = [f"        {first}) words='{' '.join(words)}' ;;" for first, words in groups.items()]
    of_two = [f"        '{name}') words='{' '.join(options_of(name))}' ;;" for name in COMMANDS if " " in name]
    session.stdout.write(
        _SCRIPT.format(
            commands=" ".join(groups),
            cases="\n".join(cases),
            of_two="\n".join(of_two),
            kinds=kinds,
            with_kind="|".join(_WITH_KIND),
        )
    )
    return 0


_SCRIPT = """\
_calicoctl() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} words=
    case $previous in
        -f|--filename|-c|--config) COMPREPLY=($(compgen -f -- "$current")); return ;;
        -o|--output) COMPREPLY=($(compgen -W 'ps wide yaml json' -- "$current")); return ;;
    esac
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W '{commands}' -- "$current"))
        return
    fi
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
    case "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" in
{of_two}
    esac
    if [ "$COMP_CWORD" = 2 ] && [ "${{current#-}}" = "$current" ]; then
        case ${{COMP_WORDS[1]}} in {with_kind}) words='{kinds}' ;; esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -F _calicoctl calicoctl
"""
