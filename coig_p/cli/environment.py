"""What commands run in: versions, extras, and the shell that completes their words."""

from __future__ import annotations

import os
import platform
import re
import shlex
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from coig_p._version import __version__
from coig_p.cli.options import as_json
from coig_p.cli.screen import json_text
from coig_p.cli.tree import command
from coig_p.core.text import printable
from coig_p.store.locate import STORE_VARIABLE

SHELLS = ("bash", "zsh", "fish")
_PACKAGE = "coig-p"
# Where a release is read and written; the rest of what we need rarely matters in a report.
_PACKAGES = ("datasets", "huggingface_hub", "pyarrow", "numpy", "scipy", "pandas", "datasketch", "opencc", "click")
_FOR_DEVELOPERS = {"dev", "bench"}
_VARIABLES = (STORE_VARIABLE, "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")


@command("env")
@as_json
def env(json_: bool) -> None:
    """Print versions and extras, for bug reports. Names no path, no address and no token.

    \b
    coigp env
    coigp env --json
    """
    found = {
        "coig_p": __version__,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        **{name: _version(name) or "not installed" for name in _PACKAGES},
    }
    extras = {name: [one for one in needs if _version(one) is None] for name, needs in _extras().items()}
    variables = {name: "set" if os.environ.get(name) else "not set" for name in _VARIABLES}
    if json_:
        installed = {name: not missing for name, missing in extras.items()}
        click.echo(json_text({"versions": found, "extras": installed, "variables": variables}))
        return
    rows: list[list[object]] = [[name, value] for name, value in found.items()]
    rows += [[f"[{name}]", f"no: {', '.join(missing)}" if missing else "installed"] for name, missing in extras.items()]
    rows += [[name, value] for name, value in variables.items()]
    width = max(len(str(name)) for name, _ in rows)
    for name, value in rows:
        click.echo(printable(f"{name!s:{width}}  {value}"))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _extras() -> dict[str, list[str]]:
    """For each extra the packages that it installs; nothing where coig-p runs from a checkout."""
    try:
        needs = requires(_PACKAGE) or []
    except PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for need in needs:
        extra = re.search(r"""extra == ["']([^"']+)["']""", need)
        name = re.match(r"[A-Za-z0-9._-]+", need)
        if extra and name and extra[1] not in _FOR_DEVELOPERS:
            found.setdefault(extra[1], []).append(name[0])
    return found


def install_completion(cli: click.Command, shell: str, variable: str) -> list[str]:
    """Teach a shell to complete the words of `coigp`. Doing it again changes nothing.

    Args:
        shell: bash, zsh or fish; empty: the one that the variable SHELL names.
        variable: the environment variable by which the shell asks.

    Returns:
        What was done, a line each.

    Raises:
        UsageError: another shell.
    """
    shell = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(shell) if shell in SHELLS else None
    if kind is None:
        raise click.UsageError(
            f"no completion for {shell or 'an unknown shell'}: pass --install-completion {', '.join(SHELLS[:-1])} "
            f"or {SHELLS[-1]}"
        )
    # Not kind.source(), which runs bash to look at its version.
    complete = kind(cli, {}, "coigp", variable)
    script = complete.source_template % complete.source_vars()
    home = Path.home()
    if shell == "fish":
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        return [_write(config / "fish" / "completions" / "coigp.fish", script)]
    if shell == "zsh":
        folder = Path(os.environ.get("ZDOTDIR") or home)
        place = folder / ".zfunc" / "_coigp"
        lines = f"fpath+=({shlex.quote(str(place.parent))}); autoload -Uz compinit && compinit"
        return [_write(place, script), _add_line(folder / ".zshrc", lines)]
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    place = data / "coigp" / "completion.bash"
    return [_write(place, script), _add_line(home / ".bashrc", f". {shlex.quote(str(place))}")]


def _write(path: Path, text: str) -> str:
    if path.is_file() and path.read_text("utf-8") == text:
        return f"{printable(str(path))} is there already"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return f"wrote {printable(str(path))}"


def _add_line(path: Path, line: str) -> str:
    """Put a line at the end of a file that people edit, which may be a link, unless it is in it."""
    text = path.read_text("utf-8", errors="surrogateescape") if path.exists() else ""
    if f"\n{line}\n" in f"\n{text}\n":  # a path in it may hold a line break
        return f"{printable(str(path))} has the line already: {printable(line)}"
    with path.open("a", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(("" if not text or text.endswith("\n") else "\n") + f"{line}\n")
    return f"added a line to {printable(str(path))}: {printable(line)}. New shells have it"
