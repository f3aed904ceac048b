"""The documents: one Chinese word for each thing, the same in both languages, no link into nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from coig_p.cli.main import cli
from coig_p.ingest.forms import FORMS
from coig_p.report.figures import LANGUAGES, statistics_plots, sweep_plots
from coig_p.reward.bench.report_words import words
from coig_p.stats.counts import statistics
from coig_p.stats.sweep import sweep
from coig_p.store.locate import BUNDLED

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TEMPLATES = ROOT / "coig_p" / "card_templates"
PAGES_ZH = sorted([*ROOT.glob("*.zh.md"), *DOCS.rglob("*.zh.md")])
CHINESE = [*PAGES_ZH, *TEMPLATES.glob("*.zh.*")]
ENGLISH = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
ENGLISH = [path for path in ENGLISH if not path.name.endswith(".zh.md")]
# Figures made by a script and names of Python: said to be in English wherever they are named.
ENGLISH_ONLY = {
    "docs/reliability.md",
    *(f"docs/api/{path.name}" for path in DOCS.glob("api/*")),
}


def glossary() -> Iterator[tuple[str, str, list[str]]]:
    """English, Chinese and the words that are never used, of each row of the table in CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (table,) = re.findall(r"\[start:glossary\] -->\n(.*?)<!--", text, re.DOTALL)
    for line in table.splitlines()[2:]:
        english, chinese, never = (cell.strip() for cell in line.strip("|").split("|"))
        yield english, chinese, [word for word in never.split("、") if word]


def prose(text: str) -> str:
    """A text without code, Jinja, addresses and HTML."""
    text = re.sub(r"```.*?```", " ", text, flags=re.DOTALL)
    text = re.sub(r"^(?:    .*\n)+", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"\{[{%#].*?[}%#]\}", " ", text, flags=re.DOTALL)
    text = re.sub(r"`[^`\n]*`", " ", text)
    text = re.sub(r"<[^>]*>", " ", text)
    return re.sub(r"\]\([^)]*\)", "] ", text)


def misused(text: str) -> list[str]:
    """Words that the glossary has another word for. A right word that holds a wrong one is taken out first."""
    words = list(glossary())
    for _, chinese, never in words:
        if any(word in chinese for word in never):
            text = text.replace(chinese, " ")
    return [
        f"{word} ({chinese})"
        for _, chinese, never in words
        for word in never
        if re.search(rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])", text)
    ]


@pytest.mark.parametrize("path", CHINESE, ids=lambda path: str(path.relative_to(ROOT)))
def test_chinese_documents_keep_to_the_glossary(path: Path) -> None:
    assert misused(prose(path.read_text("utf-8"))) == []


def test_chinese_plots_keep_to_the_glossary() -> None:
    plots = statistics_plots(statistics(BUNDLED), "zh") | sweep_plots(sweep(BUNDLED), "zh")
    assert len(plots) == 9
    for name, plot in plots.items():
        assert misused("\n".join(re.findall(r"<(?:text|title)[^>]*>([^<]*)", plot))) == [], name


def test_chinese_words_of_the_report_of_a_benchmark_keep_to_the_glossary() -> None:
    assert misused("\n".join(words("zh").values())) == []


def test_the_glossary_finds_what_it_forbids() -> None:
    rows = list(glossary())
    assert len(rows) > 30
    assert misused("数据仓库中的评审模型") == []
    for _, chinese, never in rows:
        for word in never:
            assert any(found.startswith(f"{word} ") for found in misused(f"这里写了{word}。")), (word, chinese)
    assert len({english for english, _, _ in rows}) == len(rows)


def test_the_card_has_the_headings_of_the_glossary() -> None:
    headings = [chinese for english, chinese, _ in glossary() if english.startswith("heading of the card: ")]
    text = (TEMPLATES / "README.zh.md.jinja").read_text("utf-8")
    assert len(headings) == 3
    for heading in headings:
        assert f"\n## {heading}\n" in text
    assert LANGUAGES == ("en", "zh")


# ------------------------------------------------------------------------------------------------


def headings(text: str) -> list[int]:
    """The level of each heading."""
    return [
        len(marks) for marks in re.findall(r"^(#+) ", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    ]


def code(text: str) -> list[str]:
    """Blocks of code, fenced or indented, without what is said in words beside it: comments and prompts of options."""
    blocks = re.findall(r"^```(?:.|\n)*?^```|^(?:    [^\n]*\n)+", text, re.MULTILINE)
    said = r"(?:^|\s+)(?:#.*|单独执行一个阶段$|each stage alone$|供填写$)|\[(?:pair options|配对选项)\]"
    return [re.sub(said, "", block, flags=re.MULTILINE) for block in blocks]


@pytest.mark.parametrize("path", ENGLISH, ids=lambda path: str(path.relative_to(ROOT)))
def test_both_languages_have_the_same_headings_and_the_same_code(path: Path) -> None:
    other = path.with_suffix(".zh.md")
    if str(path.relative_to(ROOT)) in ENGLISH_ONLY:
        assert not other.exists()
        return
    english, chinese = path.read_text("utf-8"), other.read_text("utf-8")
    assert headings(english) == headings(chinese)
    assert code(english) == code(chinese)
    rows = [len(re.findall(r"^\|", text, re.MULTILINE)) for text in (english, chinese)]
    assert rows[0] == rows[1], "rows of tables"
    assert f"]({other.name})" in english, "no way to the Chinese page"
    assert f"]({path.name})" in chinese, "no way to the English page"


def test_every_chinese_page_has_an_english_one() -> None:
    for path in CHINESE:
        assert path.with_name(path.name.replace(".zh.", ".en." if "jinja" in path.name else ".")).exists()


@pytest.mark.parametrize(
    "path", [*ENGLISH, *PAGES_ZH, ROOT / "CONTRIBUTING.md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_links_lead_somewhere_and_to_the_same_language(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        there = path.parent / target
        assert there.exists(), target
        if (
            path.name.endswith(".zh.md")
            and there.suffix == ".md"
            and there != path.with_name(path.name.replace(".zh", ""))
        ):
            assert target.endswith(".zh.md") or not there.with_suffix(".zh.md").exists(), (
                f"{target}: there is a Chinese one"
            )


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    shown = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(shown) == sorted(str(path.relative_to(DOCS)) for path in ENGLISH if path.is_relative_to(DOCS))


# ------------------------------------------------------------------------------------------------


def commands_in(text: str) -> Iterator[str]:
    """Every command of ours that a document shows: in code that is fenced, indented or between words."""
    blocks = re.findall(
        r"^```(?:sh|bash)\n((?:.|\n)*?)^```|^((?:    [^\n]*\n)+)|(?<!`)`(coigp[ -][^`]+)`", text, re.MULTILINE
    )
    for line in "\n".join("".join(block) for block in blocks).splitlines():
        shown = re.sub(r"\s# .*", "", line)
        for part in re.split(r"(?=\bcoigp(?:-publish)? )|[;&]", shown):
            if part.startswith("coigp"):
                yield part


def named(shown: str) -> tuple[click.Command, list[str], set[str]]:
    """The command that words name, the words after its name, and the options that it and those above it take."""
    program, *words = shown.split()
    command: click.Command = cli
    context = click.Context(command)
    known = {"-h", "--help"}
    if program == "coigp-publish":
        words = ["publish", *words]
    while True:
        known |= {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        below = command.get_command(context, words[0]) if isinstance(command, click.Group) and words else None
        if below is None:
            return command, words, known
        command, words = below, words[1:]


@pytest.mark.parametrize(
    "path", [*ENGLISH, *PAGES_ZH, ROOT / "CONTRIBUTING.md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_the_commands_that_documents_show_are_there_with_their_options(path: Path) -> None:
    for shown in commands_in(path.read_text("utf-8")):
        command, words, known = named(shown)
        if isinstance(command, click.Group):
            assert not words or words[0] in {"-h", "COMMAND"} or words[0].startswith("-"), f"no such command: {shown}"
        ours = shown.removeprefix("coigp-publish").partition(" -- ")[0]
        for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", ours):
            assert option in known, f"{option} is no option: {shown}"


def test_every_command_is_shown_in_both_readmes() -> None:
    for name in ("README.md", "README.zh.md"):
        shown = {line.split()[1] for line in commands_in((ROOT / name).read_text("utf-8")) if " " in line}
        assert shown >= set(cli.list_commands(click.Context(cli))), name


def test_what_documents_import_of_the_package_is_there() -> None:
    found = 0
    for path in (*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "README.zh.md"):
        for line in re.findall(r"^from coig_p\S* import [\w, ]+$", path.read_text("utf-8"), re.MULTILINE):
            exec(line, {})
            found += 1
    assert found > 30


@pytest.mark.parametrize("name", ["getting-started.md", "index.md", "loading.md", "stats.md"])
def test_the_python_of_the_documents_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block, in order and in one namespace, with the bundled store as `store`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").symlink_to(BUNDLED)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    namespace: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / name).read_text("utf-8"), re.DOTALL):
        exec(block, namespace)
    assert namespace


@pytest.mark.parametrize("page", ["importing.md", "importing.zh.md"])
def test_every_row_that_the_table_of_shapes_shows_is_read_as_it_says(page: str, tmp_path: Path) -> None:
    shown = re.findall(r"^\| `([a-z-]+)` \| .*? \| `(\{.*\})` \| ", (DOCS / page).read_text("utf-8"), re.MULTILINE)
    assert len(shown) >= 20
    assert {form for form, _ in shown} == set(FORMS)
    for at, (form, row) in enumerate(shown):
        lines = [row]
        if set(json.loads(row)) == {"id", "model", "judge", "score"}:  # scores of an answer that stands elsewhere
            lines.append('{"id": "q1", "prompt": "一加一？", "output": "二。", "model": "a"}')
        rows = tmp_path / f"{at}.jsonl"
        rows.write_text("\n".join(lines) + "\n", "utf-8")
        command = ["import", str(rows), "--out", str(tmp_path / f"store-{at}"), "--domain", "math", "--json"]
        command += ["--format", form] if form == "best-first" else []
        command += ["--score-column", "gpt=score_gpt,qwen=score_qwen"] if "score_gpt" in json.loads(row) else []
        done = CliRunner().invoke(cli, command)
        told = json.loads(done.stdout)
        assert done.exit_code == 0, row
        assert set(told["formats"][str(rows)]) == {form}, row
        assert told["ignored_fields"] == {}, row
