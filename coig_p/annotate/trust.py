"""What a run's file asks for that its reader may not have meant: keys, plain connections, files from elsewhere.

A run's file can come from anybody, and it names environment variables and addresses. So the first time that a file
wants to send a variable's value to a host, or to read or write outside its own folder, somebody has to say yes; what
was said is kept in the user's configuration, by file, host and variable. Two things are only done when they are named:
sending what looks like another service's secret, and a key or texts over a connection that is not encrypted.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from coig_p.annotate.asking.endpoint import Endpoint
from coig_p.annotate.config import RunConfig
from coig_p.core.atomic import atomic_file
from coig_p.errors import UsageError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Keys of model services go to the hosts of those, also as MY_..._2; anybody else's is not for a run.
_OF_SERVICES: Mapping[str, tuple[str, ...]] = {
    "OPENAI_API_KEY": ("openai.com", "azure.com"),
    "AZURE_OPENAI_API_KEY": ("azure.com",),
    "ANTHROPIC_API_KEY": ("anthropic.com",),
    "GEMINI_API_KEY": ("googleapis.com",),
    "GOOGLE_API_KEY": ("googleapis.com",),
    "DASHSCOPE_API_KEY": ("aliyuncs.com",),
    "DEEPSEEK_API_KEY": ("deepseek.com",),
    "MOONSHOT_API_KEY": ("moonshot.cn", "moonshot.ai"),
    "ZHIPUAI_API_KEY": ("bigmodel.cn",),
    "ARK_API_KEY": ("volces.com",),
    "SILICONFLOW_API_KEY": ("siliconflow.cn", "siliconflow.com"),
    "OPENROUTER_API_KEY": ("openrouter.ai",),
    "MISTRAL_API_KEY": ("mistral.ai",),
    "GROQ_API_KEY": ("groq.com",),
    "XAI_API_KEY": ("x.ai",),
    "HF": ("huggingface.co",),
    "HFTOKEN": ("huggingface.co",),
    "HUGGINGFACE": ("huggingface.co",),
    "HUGGINGFACEHUB": ("huggingface.co",),
    "HUGGING_FACE": ("huggingface.co",),
    "MODELSCOPE_API_TOKEN": ("modelscope.cn",),
}
_NO_MODELS_KEY = re.compile(
    r"^(AWS|AZURE|GCP|GOOGLE|GH|GITHUB|GITLAB|BITBUCKET|NPM|PYPI|TWINE|DOCKER|CI|SSH|GPG|PG|MYSQL|REDIS|MONGO|DATABASE|DB|"
    r"KUBE|VAULT|SLACK|STRIPE|TWILIO|SENTRY|WANDB|COMET|CLOUDFLARE|DIGITALOCEAN|HEROKU|JENKINS|SONAR|CODECOV|KAGGLE)_"
    r"|PASSW(OR)?D|PASSPHRASE|PRIVATE|CREDENTIAL|COOKIE|SESSION|SECRET|DATABASE_URL|CONNECTION_STRING|(^|_)PROXY$",
    re.IGNORECASE,
)
# What shells and the system keep in variables; none of it is a key.
_OF_SHELLS = re.compile(
    r"^(PATH|\w+PATH|HOME|USER|USERNAME|LOGNAME|PWD|OLDPWD|SHELL|SHLVL|HOST|HOSTNAME|HOSTTYPE|MACHTYPE|OSTYPE|TERM|LANG|"
    r"LANGUAGE|TZ|TMPDIR|TEMP|TMP|MAIL|MAILCHECK|EDITOR|VISUAL|PAGER|BROWSER|DISPLAY|IFS|ENV|UID|EUID|PPID|COLUMNS|LINES|"
    r"PS[0-4]|PROMPT\w*|LS_COLORS|VIRTUAL_ENV|NETRC|XAUTHORITY|APPDATA|LOCALAPPDATA|USERPROFILE|COMPUTERNAME|"
    r"(HIST|BASH|ZSH|ZDOT|FISH|LESS|PYTHON|CONDA|KRB5)\w*|(LC|LD|DYLD|XDG|DBUS|SUDO|GIT|SYSTEMD)_\w*)$",
    re.IGNORECASE,
)


_KEY, _PLAIN = "key", "http"  # in an entry: what is sent to a place


@dataclass(frozen=True)
class Wish:
    """One thing that a run's file asks for.

    Attributes:
        words: what it is, for people.
        entry: how it is remembered.
        name: how a user names it to allow it; "" where a yes is enough.
    """

    words: str
    entry: tuple[str, ...]
    name: str = ""

    @property
    def is_of_sending(self) -> bool:
        """Whether it is about what is sent, rather than about files."""
        return self.entry[1] in (_KEY, _PLAIN)


def wishes(config: RunConfig) -> list[Wish]:
    """What the file of a run asks for, each thing once, in the file's order."""
    files = [(domain.prompt, domain.generate, domain.personas) for domain in config.domains.values()]
    read = [
        *(path for source in config.sources for path in source.inputs),
        *(path for some in files for path in some),
        config.prompt_file,
        None if config.translate is None else config.translate.prompt,
        *(() if config.tap is None else (config.tap.taxonomy.file, config.tap.taxonomy.prompts)),
    ]
    return asked_by(config.path, config.endpoints, {"read": read, "write to": [str(config.folder)]})


def asked_by(path: Path, endpoints: Iterable[Endpoint], paths: Mapping[str, Iterable[str | None]]) -> list[Wish]:
    """What a file asks for that names these endpoints, and these paths by what is done to them; each thing once."""
    file = str(path.resolve())
    found: list[Wish] = []
    for endpoint in endpoints:
        url = urlsplit(endpoint.base_url)
        host = (url.hostname or "").rstrip(".").lower()
        place = host if url.port is None else f"{host}:{url.port}"
        variables = endpoint.variables()
        for variable in variables:
            words = f"send the value of {variable} to {place}"
            name = f"{variable}@{place}" if _is_anothers(variable, host) else ""
            found.append(Wish(words, (file, _KEY, f"{url.scheme}://{place}", variable), name))
        if url.scheme == "http" and host not in _LOOPBACK:
            words = f"send texts{' and a key' if variables else ''} to {place} over a connection that is not encrypted"
            found.append(Wish(words, (file, _PLAIN, place), f"http://{place}"))
    own = path.parent.resolve()
    for what, named in paths.items():
        for one in named:
            if one is None:
                continue
            whole = one if "://" in one else str((own / one).resolve())
            if "://" in one or not Path(whole).is_relative_to(own):
                found.append(Wish(f"{what} {whole}, which is not in its own folder", (file, what, whole)))
    return list(dict.fromkeys(found))


def _is_anothers(variable: str, host: str) -> bool:
    """Whether a variable looks like a secret that this host has no business with."""
    parts = f"_{re.sub(r'[^A-Z0-9]+', '_', variable.upper())}_"
    services = [name for name in _OF_SERVICES if f"_{name}_" in parts]
    if services:
        known = _OF_SERVICES[max(services, key=len)]
        return not any(host == one or host.endswith(f".{one}") for one in known)
    return any(pattern.search(variable) for pattern in (_NO_MODELS_KEY, _OF_SHELLS))


def unknown(config: RunConfig) -> list[Wish]:
    """Those wishes that nobody has granted yet."""
    return not_granted(wishes(config))


def not_granted(found: Iterable[Wish]) -> list[Wish]:
    """Those of some wishes that nobody has granted yet."""
    granted = _granted()
    return [wish for wish in found if wish.entry not in granted]


def check_named(left: Collection[Wish], allowed: Collection[str], path: Path, nothing: str = "sent") -> None:
    """Raise UsageError where a wish that has to be named was not.

    Args:
        allowed: names, as `Wish.name` has them.
        path: of the run's file.
        nothing: what was not done then: sent, or run.
    """
    names = [wish.name for wish in left if wish.name]
    strange = [name for name in allowed if name not in names]
    if strange and left:
        raise UsageError(
            f"--allow {strange[0]}: {path} does not ask for that. It asks for: {', '.join(names) or 'none'}"
        )
    for wish in left:
        if wish.name and wish.name not in allowed:
            raise UsageError(
                f"{path} wants to {wish.words}. Nothing was {nothing}. If you know its author and mean it: "
                f"--allow {wish.name}"
            )


def grant(granted: Collection[Wish]) -> None:
    """Remember a yes to all of these."""
    entries = sorted(_granted() | {wish.entry for wish in granted})
    with atomic_file(_place()) as stream:
        stream.write((json.dumps({"granted": entries}, ensure_ascii=False, indent=1) + "\n").encode())


def _place() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base else Path.home() / ".config") / "coig-p" / "trusted.json"


def _granted() -> set[tuple[str, ...]]:
    try:
        entries = json.loads(_place().read_text("utf-8"))["granted"]
        return {tuple(map(str, entry)) for entry in entries}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, TypeError, KeyError):
        raise UsageError(
            f"{_place()}, where it is kept what runs may do, cannot be read. Delete it, and say it again"
        ) from None
