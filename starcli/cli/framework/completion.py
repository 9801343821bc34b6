"""Completion in the shell: what Typer offers, with a script for zsh that does not split descriptions into words."""

import os
from collections.abc import Callable

import typer

from starcli.errors import StarcliError

ZSH = r"""
#compdef %(prog_name)s

%(complete_func)s() {
  local line tab=$'\t'
  local -a found
  for line in "${(@f)$(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _TYPER_COMPLETE_FISH_ACTION=get-args \
    %(autocomplete_var)s=complete_fish %(prog_name)s)}"; do
    case $line in
      *$tab*) found+=("${${line%%%%$tab*}//:/\\:}:${line#*$tab}") ;;
      ?*) found+=("${line//:/\\:}") ;;
    esac
  done
  if (( $#found )); then
    _describe -V '' found
  else
    _files
  fi
}

if [[ $funcstack[1] == _%(prog_name)s ]]; then
  %(complete_func)s "$@"
else
  compdef %(complete_func)s %(prog_name)s
fi
"""
"""Script of zsh. Typer's own loses its way at colons, and when it is installed does nothing at the first tab."""


def prepare_answer() -> None:
    """Get ready where a shell has started this process to ask for completions; Typer answers it."""
    if "_STARCLI_COMPLETE" in os.environ:
        _let_typer_know()
        os.environ["COLUMNS"] = "10000"  # or descriptions are broken into lines, and each is taken for a name


def _let_typer_know() -> None:
    """Tell Typer of the shells; its own `add_completion` would do that at every start."""
    import typer.completion
    from typer import _completion_shared

    vars(typer.completion)["completion_init"]()
    _completion_shared._completion_scripts["zsh"] = ZSH


def completion_option(name: str) -> Callable[[typer.Context, typer.CallbackParam, bool], None]:
    """Callback of the option that shows or installs the completion: Typer's function of this name.

    Raises StarcliError where it is to be installed for a user without a home directory.
    """

    def call(ctx: typer.Context, param: typer.CallbackParam, value: bool) -> None:
        if value:
            from typer import completion

            _let_typer_know()
            try:
                getattr(completion, name)(ctx, param, value)
            except SystemExit as ended:  # as Typer ends, which is not our error boundary's way
                raise typer.Exit(ended.code if isinstance(ended.code, int) else 0) from None
            except RuntimeError as error:  # of Path.home(): $HOME is not set, and the system does not know the user
                hint = "--show-completion prints what your shell can read"
                raise StarcliError(
                    "--install-completion: set HOME to the directory of your shell's settings", [hint]
                ) from error

    return call
