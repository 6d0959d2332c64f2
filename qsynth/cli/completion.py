"""`qsynth completion bash|zsh`: words that a shell can complete."""

from __future__ import annotations

from qsynth.cli.explain import known_settings
from qsynth.cli.help import VERBS
from qsynth.config.groups import GROUPS
from qsynth.errors import ConfigError, nearest_spelling
from qsynth.recipe.catalog import listed

SHELLS = ("bash", "zsh")
SCRIPT = """\
_qsynth() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{verbs}" -- "$word"))
  else
    COMPREPLY=($(compgen -W "{words}" -- "$word"))
    [[ "${{COMPREPLY[0]}}" == *= ]] && compopt -o nospace
  fi
}}
COMP_WORDBREAKS="${{COMP_WORDBREAKS//=}}"
complete -o default -F _qsynth qsynth
"""


def main(words: list[str]) -> int:
    """Print a script to source: source <(qsynth completion bash)."""
    shell = words[0] if words else ""
    if shell not in SHELLS or len(words) != 1:
        raise ConfigError(f"completion {shell}: must be a shell{nearest_spelling(shell, SHELLS)}")
    choices = [f"{group}={name}" for group, options in GROUPS.items() for name in options]
    recipes = [f"+recipe={name}" for name in listed()]
    settings = [f"{key}=" for key in known_settings()]
    text = SCRIPT.format(
        verbs=" ".join(VERBS), words=" ".join([*recipes, *choices, *settings, "--json", "--quiet"])
    )
    print(
        "autoload -U +X bashcompinit && bashcompinit\n" + text if shell == "zsh" else text, end=""
    )
    return 0
