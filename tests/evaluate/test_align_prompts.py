"""A judge's prompts of one's own: a folder in place of the package's, in any language: sent, read, refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aligning import align_rows, mt_rows, write_rows
from commands import run

pytest.importorskip("aiohttp", reason="asking models needs the extra [annotate]")

from coig_p.annotate.scripted import ScriptedServer
from coig_p.errors import UsageError
from coig_p.evaluate.align.benchmarks import Question
from coig_p.evaluate.align.files import RESULTS, read_kept
from coig_p.evaluate.align.kinds import ALIGNBENCH, DIMENSIONS, MT_BENCH, OVERALL
from coig_p.evaluate.align.prompting import read_prompts
from coig_p.evaluate.align.reading import read_rating, read_scores

NAMES = {
    "事实正确性": "Factual accuracy",
    "满足用户需求": "Meets the need",
    "清晰度": "Clarity",
    "完备性": "Completeness",
    "逻辑连贯性": "Coherence",
    "创造性": "Creativity",
    "丰富度": "Richness",
    "公平与可负责程度": "Fair and responsible",
    OVERALL: "Overall",
}
TABLES = {
    "markers": {
        "query": "Question", "reference": "Reference", "response": "Answer", "begins": " begins", "ends": " ends",
        "user": "User", "assistant": "Assistant", "conversation": "(A conversation.)", "turn": "(Turn {{turn}})",
    },
    "form": {"score": "score", "dimension": "{{name}}: {{definition}}"},
    "names": NAMES,
    "definitions": {name: f"how much {english.lower()}." for name, english in NAMES.items() if name != OVERALL},
    "categories": dict.fromkeys(("math", "logic", "fundamental", "chinese", "open", "writing", "role"), "Tasks")
    | {"professional": "Knowledge"},
    "again": {"nothing": "(nothing)", "cut_off": "(cut off)", "asks": "Judge again, as:\n{{form}}"},
    "again.lacks": dict.fromkeys(
        ("cut", "unfinished", "empty", "quoted", "several", "missing", "out-of-range", "not-whole", "malformed"), "No. "
    ) | {"none": "There are no scores. ", "not-given": "An example. "},
}  # fmt: skip
ENGLISH = {
    "alignbench.md": "Kind: {{category}}. Rate on:\n{{dimensions}}\n{{query}}\n{{reference}}\n{{response}}\n{{form}}",
    "alignbench-general.md": "Rate on:\n{{dimensions}}\n{{query}}\n{{response}}\n{{form}}",
    "mt-bench-zh.md": "{{query}}\n{{reference}}\n{{response}}\nEnd with [[score]].",
    "mt-bench-zh-general.md": "{{query}}\n{{response}}\nEnd with [[score]].",
    "words.toml": "\n".join(
        f"[{table}]\n" + "\n".join(f'"{name}" = {json.dumps(value)}' for name, value in told.items())
        for table, told in TABLES.items()
    ),
}


def english(folder: Path, **more: str) -> Path:
    folder.mkdir()
    for name, text in (ENGLISH | more).items():
        (folder / name).write_text(text, "utf-8")
    return folder


def test_all_that_a_judge_is_sent_can_be_in_another_language(tmp_path: Path) -> None:
    """With every key of words.toml replaced, no Chinese is left but what is judged."""
    prompts = read_prompts(english(tmp_path / "p"))
    sent = [
        prompts.filled(kind, Question("1", "math", "", turns, references), turn, ("A1", "A2"))
        for kind, turns in ((ALIGNBENCH, ("Q",)), (MT_BENCH, ("Q", "Q2")))
        for references in ((None,) * len(turns), ("R",) * len(turns))
        for turn in range(1, len(turns) + 1)
    ]
    sent += [
        one
        for kind, dimensions in ((ALIGNBENCH, DIMENSIONS["making"]), (MT_BENCH, ()))
        for one in prompts.again(kind, dimensions, "none", has_text=True)
    ]
    assert all(text.isascii() for text in sent)
    assert "Factual accuracy: how much factual accuracy." in sent[0]
    assert "(Turn 1)\nR\n\n(Turn 2)\nR" in sent[5]
    assert "(A conversation.)\n<<<User " in sent[5]
    assert sent[6].startswith("There are no scores. Judge again, as:\n{'Factual accuracy': score, ")


def test_scores_are_read_by_the_names_of_the_prompt_and_kept_by_the_benchmarks(tmp_path: Path) -> None:
    prompts = read_prompts(english(tmp_path / "p"))
    of = DIMENSIONS["facts"]
    whole = {**dict.fromkeys(of, 7), OVERALL: 6}
    form = "{" + ", ".join(f"'{NAMES[one]}': {score}" for one, score in whole.items()) + "}"
    for text in (form, form.lower(), form.replace("'", '"'), f"Factual accuracy: 7/10\n{form}"):
        assert read_scores(f"Reasons.\n{text}", of, names=prompts.names).scores == whole
    for text, reason in (
        (form.replace("'Clarity': 7, ", ""), "missing"),
        (f"Factual accuracy: 8/10\n{form}", "several"),
        (f"Overall: 8\n{form}", "several"),
        (form.replace("6", "60"), "out-of-range"),
        (str(whole), "none"),  # another prompt's names
    ):
        assert read_scores(text, of, names=prompts.names).reason == reason
    assert read_rating("Gründe.\nNote: [[7]]").overall == 7


def judged(prompts: Path | None, url: str, tmp_path: Path, out: str, *more: object, code: int = 0) -> Any:
    said = "" if prompts is None else f'[judge]\nprompts = "{prompts.name}"\n'
    file = tmp_path / "judge.toml"
    file.write_text(f'{said}[endpoint]\nname = "j"\nmodel = "j"\nbase_url = "{url}"\n', "utf-8")
    words = ("align", "judge", tmp_path / "a", "--judge", file, "--out", tmp_path / out, "--ledger", tmp_path / "l")
    return run(*words, *more, code=code)


def rates(request: Mapping[str, Any]) -> str:
    """A judge of either language, that answers in the form it is asked for."""
    form = request["messages"][-1]["content"].strip().splitlines()[-1]
    return "Reasons.\n" + form.replace("分数", "8").replace("score", "5") if form.startswith("{") else "好。"


def test_changed_prompts_are_said_before_they_are_paid_and_not_mixed_in_a_report(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "b.jsonl", align_rows(2))
    folder = english(tmp_path / "mine")
    with ScriptedServer(rates) as server:
        url = server.base_url
        run("align", "answer", "--data", data, "--endpoint", url, "--model", "m", "--out", tmp_path / "a")
        server.seen.clear()
        judged(None, url, tmp_path, "r")
        assert len(server.seen) == 16
        told = json.loads(judged(folder, url, tmp_path, "s", "--estimate", "--json").stdout)
        assert (told["left"], told["paid_again"]) == (16, 16)
        error = judged(folder, url, tmp_path, "s", code=2).stderr
        assert "16 requests would be paid again: the prompt" in error
        assert len(server.seen) == 16
        judged(folder, url, tmp_path, "s", "--yes")
        assert len(server.seen) == 32
        # A comment is never sent, so that it changes nothing; back with the package's all is paid already.
        (folder / "alignbench.md").write_text("<!-- why -->\n" + ENGLISH["alignbench.md"], "utf-8")
        judged(folder, url, tmp_path, "s", "--overwrite")
        judged(None, url, tmp_path, "t")
        assert Counter(server.seen.values()) == {1: 32}
        # An address has no file: the folder is named beside it, and it is the same request.
        named = ("--judge", url, "--judge-model", "j", "--prompts", folder, "--out", tmp_path / "u")
        run("align", "judge", tmp_path / "a", *named)
        judged(None, url, tmp_path, "v", "--prompts", folder, code=2)
    ours, theirs = (read_kept(tmp_path / name, RESULTS) for name in ("r", "s"))
    assert {turn.scores[OVERALL] for turns in ours.turns for turn in turns if turn.scores} == {8}
    assert {turn.scores[OVERALL] for turns in theirs.turns for turn in turns if turn.scores} == {5}
    assert {turn.official for turns in theirs.turns for turn in turns} == {5}
    assert read_kept(tmp_path / "u", RESULTS).judge["prompt_sha256"] == theirs.judge["prompt_sha256"]
    error = run("align", "report", tmp_path / "r", tmp_path / "s", code=2).stderr
    assert "their judges differ in their prompts" in error
    run("align", "report", tmp_path / "r", tmp_path / "t", "--against", tmp_path / "r")


def test_prompts_of_one_benchmark_do_not_part_results_of_the_other(tmp_path: Path) -> None:
    folder = english(tmp_path / "p")
    before = read_prompts(folder)
    (folder / "alignbench.md").write_text(ENGLISH["alignbench.md"] + " Be strict.", "utf-8")
    after = read_prompts(folder)
    assert before.sha256(MT_BENCH) == after.sha256(MT_BENCH)
    assert before.sha256(ALIGNBENCH) != after.sha256(ALIGNBENCH)
    (folder / "words.toml").write_text(ENGLISH["words.toml"].replace("Clarity", "Clear"), "utf-8")
    assert read_prompts(folder).sha256(ALIGNBENCH) != after.sha256(ALIGNBENCH)
    assert read_prompts(folder).sha256(MT_BENCH) == after.sha256(MT_BENCH)


def test_what_a_folder_lacks_is_the_packages(tmp_path: Path) -> None:
    (tmp_path / "alignbench.md").write_text(ENGLISH["alignbench.md"], "utf-8")
    mine, ours = read_prompts(tmp_path), read_prompts()
    assert mine.templates["mt-bench-zh"] == ours.templates["mt-bench-zh"]
    assert mine.words == ours.words
    assert "数学计算" in mine.filled(ALIGNBENCH, Question("1", "math", "", ("问",), ("答",)), 1, ("甲",))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        *(
            ("alignbench.md", ENGLISH["alignbench.md"].replace(f"{{{{{slot}}}}}", ""), f"the slot {{{{{slot}}}}} must")
            for slot in ("query", "response", "reference", "dimensions", "form")
        ),
        ("alignbench.md", ENGLISH["alignbench.md"] + "{{category}}", "may stand in it once, not 2 times"),
        ("alignbench-general.md", ENGLISH["alignbench.md"], "unknown slot {{reference}}"),
        ("mt-bench-zh.md", "{{query}}{{response}}", "the slot {{reference}} must stand in it once"),
        ("alignbensh.md", "x", "unknown template 'alignbensh'. Did you mean 'alignbench'?"),
        ("notes.txt", "x", "none of its files is one of"),
        ("words.toml", '[name]\n"清晰度" = "Clarity"\n', "'name'. Did you mean 'names'?"),
        ("words.toml", '[names]\n"清淅度" = "Clarity"\n', "Did you mean '清晰度'?"),
        ("words.toml", '[names]\n"清晰度" = "完备性"\n', "'完备性' is the name of 清晰度, too"),
        ("words.toml", '[names]\n"清晰度" = "a: b"\n', "cannot be read"),
        ("words.toml", f'[names]\n"清晰度" = "{"x" * 41}"\n', "up to 40 characters"),
        ("words.toml", '[names]\n"清晰度" = " "\n', "清晰度: blank"),
        ("words.toml", '[names]\n"清晰度" = "Score"\n', "no word for a whole score"),
        ("words.toml", '[names]\n"清晰度" = "{{query}}"\n', "unknown slot {{query}}"),
        ("words.toml", '[form]\nscore = "7"\n', "form.score: '7' is itself a score"),
        ("words.toml", '[form]\ndimension = "{{name}}"\n', "{{definition}} must stand in it once"),
        ("words.toml", '[again]\nasks = "Again."\n', "{{form}} must stand in it once"),
        ("words.toml", '[again.lacks]\nnon = "x"\n', "'non'. Did you mean 'none'?"),
        ("words.toml", '[markers]\nbegins = "x"\nends = "x"\n', "the same as markers.ends"),
        ("words.toml", "[markers]\nquery = 3\n", "markers.query: 3 is not text"),
        ("words.toml", "[names\n", "not TOML"),
    ],
)
def test_prompts_that_cannot_be_are_one_located_error(name: str, text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(UsageError) as error:
        read_prompts(tmp_path)
    assert says in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_nothing_is_asked_or_written_where_the_folder_cannot_be(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "mt.jsonl", mt_rows())
    with ScriptedServer() as server:
        run("align", "answer", "--data", data, "--endpoint", server.base_url, "--model", "m", "--out", tmp_path / "a")
        asked = server.seen.copy()
        error = judged(tmp_path / "gone", server.base_url, tmp_path, "r", code=2).stderr
        assert f"prompts {tmp_path / 'gone'} cannot be read" in error
        # A folder elsewhere is another's to agree to, as any file that a judge's file names.
        english(tmp_path / "mine")
        (tmp_path / "k").mkdir()
        file = tmp_path / "k" / "j.toml"
        told = f'[judge]\nprompts = "../mine"\n[endpoint]\nname = "j"\nmodel = "j"\nbase_url = "{server.base_url}"\n'
        file.write_text(told, "utf-8")
        words = ("align", "judge", tmp_path / "a", "--judge", file, "--out", tmp_path / "r")
        assert "which is not in its own folder" in run(*words, code=2).stderr
        assert server.seen == asked
    assert not (tmp_path / "r").exists()
