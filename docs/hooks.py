"""What the site holds beyond the pages of docs/: hooks of mkdocs, called while `make docs` builds.

The reference of the command line is made from the commands themselves, so it can't say anything else than
`--help` does. The results of the benchmarks become pages, since the documents point to them. A built page that
would fetch a script, a style or an image from elsewhere fails the build, and so does a reference of a package
that leaves out one of its public names. Links that a reader clicks may lead elsewhere.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
MARK = "<!-- commands -->"
RESULTS = "benchmarks/results"
_HAN = "[\u2018-\u201d\u3000-\u9fff\uff00-\uffef]"
# A line break between two Chinese characters, which a browser would show as a space.
_WRAPPED = re.compile(rf"(?<={_HAN})\n(?=\**\[?{_HAN})")


@event_priority(-200)  # after the plugin that sorts files by language
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file of benchmark results."""
    for path in sorted((ROOT / RESULTS).glob("*.md")):
        page = File.generated(config, f"results/{path.name}", abs_src_path=str(path))
        page.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(page)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Put the commands in their page; point to pages of results instead of files; every page switches language."""
    if config.theme.get("language") == "zh" and not page.file.src_uri.endswith(".zh.md"):
        markdown = re.sub(r"\A(# .*\n)", r"\1\n*本页只有英文。*\n", markdown)
    if MARK in markdown:
        from coig_p.cli.main import cli

        markdown = markdown.replace(MARK, "\n".join(reference(cli)))
    markdown = "".join(
        part if part.startswith("```") else _WRAPPED.sub("", part) for part in re.split(r"(```[\s\S]*?```)", markdown)
    )
    markdown = re.sub(r"^\[(?:中文|English)\]\(\S+?\)(?: · )?", "", markdown, count=1, flags=re.MULTILINE)
    return markdown.replace(f"](../{RESULTS}/", "](results/")


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Refuse a page that fetches anything from elsewhere, or a page of a package that leaves out a public name."""
    found = fetched(output)
    if found:
        raise PluginError(f"{page.file.src_uri}: fetches {', '.join(found)}; keep it beside the pages")
    package = re.search(r"^::: (coig_p[.\w]*)$", page.markdown or "", re.MULTILINE)
    if package:
        names = getattr(import_module(package[1]), "__all__", ())
        left_out = [
            name for name in names if not name.startswith("_") and not re.search(rf'id="[\w.]+\.{name}"', output)
        ]
        if left_out:
            raise PluginError(f"{page.file.src_uri}: leaves out {', '.join(left_out)}; has it a docstring?")
    return output


def fetched(html: str) -> list[str]:
    """Addresses elsewhere that a browser asks for without a click."""
    tags = re.findall(r"<(?:script|img|iframe|link|source|video|audio)\b[^>]*>", html)
    tags = [tag for tag in tags if not re.search(r'rel="?(?:canonical|alternate|next|prev)\b', tag)]
    return [address for tag in tags for address in re.findall(r'(?:src|href)="?((?:https?:)?//[^" >]+)', tag)]


def reference(command: click.Command, name: str = "coigp", level: int = 2) -> Iterator[str]:
    """Lines of Markdown for a command and those below it, as its help has them."""
    context = click.Context(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    yield from ["#" * level + f" `{name}`", "", "```text", f"{name} {usage}".rstrip(), "```", ""]
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):  # click's mark of lines that stay as they are
            yield from ["```text", paragraph.removeprefix("\b\n"), "```", ""]
        elif paragraph:
            yield from [_escaped(paragraph), ""]
    rows = [parameter.get_help_record(context) for parameter in command.params]
    shown = [row for row in rows if row]
    if shown:
        yield from ["| option | meaning |", "|---|---|"]
        yield from (f"| `{option}` | {_escaped(text)} |" for option, text in shown)
        yield ""
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            below = command.get_command(context, child)
            if below is not None and not below.hidden:
                yield from reference(below, f"{name} {child}", level + 1)


def _escaped(text: str) -> str:
    """Help is plain text: what Markdown would read in it is shown as it is, on one line."""
    escaped = re.sub(r"([\\`*_{}\[\]>#|])", r"\\\1", " ".join(text.split()))
    return escaped.replace("<", "&lt;")
