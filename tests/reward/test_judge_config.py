"""Which judge is asked: files from elsewhere, other prompts, options that cannot be right, and where a key goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from benched import written_bench
from commands import run
from judge_server import Said, always, longer, serve
from judging_bench import TOML, items, with_file

pytest.importorskip("aiohttp", reason="asking models needs the extra [annotate]")

from coig_p.errors import UsageError
from coig_p.reward.bench.outcomes import outcomes_of
from coig_p.reward.bench.results import read_results
from coig_p.reward.judging.config import load_judge


def test_another_prompt_is_paid_for_only_after_a_yes(tmp_path: Path) -> None:
    written_bench(tmp_path / "b", items(2))
    with serve(longer) as server:
        with_file(tmp_path, server)
        (tmp_path / "own.md").write_text("比一比。{{query}}{{first}}{{second}}\n只写 [[A]]、[[B]] 或 [[C]]。", "utf-8")
        toml = TOML.replace("[judge]", '[judge]\ncompare = "own.md"').format(url=server.base_url, most=100)
        (tmp_path / "judge.toml").write_text(toml, encoding="utf-8")
        words = (
            "bench",
            "run",
            tmp_path / "b",
            "--judge",
            tmp_path / "judge.toml",
            "--out",
            tmp_path / "r",
            "--overwrite",
        )
        assert "4 requests would be paid again" in run(*words, code=2).stderr
        assert "4 requests would be paid again" in run(*words, "--estimate").stdout
        assert server.seen.total() == 4
        run(*words, "--yes")
        assert server.seen.total() == 8
        run(*words)
        assert server.seen.total() == 8


def test_a_file_from_elsewhere_is_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written_bench(tmp_path / "b", items(1))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("JUDGE_KEY", "secret")
    (tmp_path / "elsewhere.md").write_text("{{query}}{{first}}{{second}}", "utf-8")
    (tmp_path / "in").mkdir()
    with serve(longer) as server:
        toml = TOML.replace("[judge]", '[judge]\ncompare = "../elsewhere.md"').replace(
            "model =", 'key_env = "JUDGE_KEY"\nmodel ='
        )
        file = tmp_path / "in" / "judge.toml"
        file.write_text(toml.format(url=server.base_url, most=1), encoding="utf-8")
        words = ("bench", "run", tmp_path / "b", "--judge", file, "--out", tmp_path / "r")
        said = run(*words, code=2).stderr
        assert "send the value of JUDGE_KEY to 127.0.0.1" in said
        assert "elsewhere.md" in said
        assert "secret" not in said
        assert not server.seen
        run(*words, "--trust")
        assert server.seen.total() == 2
    plain = (
        "bench",
        "run",
        tmp_path / "b",
        "--judge",
        "http://judge.test/v1",
        "--judge-model",
        "j",
        "--out",
        tmp_path / "s",
    )
    assert "--allow http://judge.test" in run(*plain, code=2).stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[endpoint", "is not TOML"),
        ("[judge]\nasks = 2", "no table [endpoint]"),
        ("[endpoint]\nname = 'j'\nmodel = 'm'", "endpoint.base_url is missing"),
        ("[endpoint]\nname = 'j'\nmodel = 'm'\nbase_url = 'x'", "give a URL"),
        ("[endpoint]\nname = 'j'\nmodel = 'm'\nbase_url = 'http://x'\ntemperature = 0", "endpoint.temperature"),
        ("[endpoint]\nname = 'j'\nmodel = 'm'\nbase_url = 'http://x'\nbatch = true", "asked online"),
        (
            "[endpoint]\nname = 'j'\nmodel = 'm'\nbase_url = 'http://x'\nparameters = { stream = true }",
            "'stream' is set",
        ),
        ("[judge]\nasks = 0\n[endpoint]\nname = 'j'\nmodel = 'm'\nbase_url = 'http://x'", "asks = 0: use 1 to 20"),
        ("[judge]\nmax_cost = -1\n[endpoint]\nname = 'j'\nmodel = 'm'\nbase_url = 'http://x'", "max_cost = -1"),
        ("[judge]\ncompare = 'no.md'\n[endpoint]\nname = 'j'\nmodel = 'm'\nbase_url = 'http://x'", "cannot be read"),
        ("[run]\n", "run"),
    ],
)
def test_a_file_that_cannot_be_right_is_one_error(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "judge.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_judge(tmp_path / "judge.toml")
    assert str(tmp_path / "judge.toml") in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--out NEW", "Name who scores: one of"),
        ("--out NEW --baseline length --judge http://x", "Name who scores: one of"),
        ("--out NEW --judge http://127.0.0.1:1/v1", "--judge-model"),
        ("--out NEW --judge no.toml", "cannot be read"),
        ("--out NEW --judge no.toml --judge-model m", "--judge-model"),
        ("--out NEW --baseline length --rating", "--rating: only with --judge"),
        ("--out NEW --baseline length --max-cost 1", "--max-cost: only with --judge"),
        ("--out NEW --baseline length --official", "--official"),
        ("--out NEW --judge http://127.0.0.1:1/v1 --judge-model m --official", "no rule of its own"),
        ("--out NEW --judge http://127.0.0.1:1/v1 --judge-model m --ledger NEW/l", "replaced as a whole"),
        ("--out BENCH --judge http://127.0.0.1:1/v1 --judge-model m", "exists and is not results"),
    ],
)
def test_what_cannot_be_asked_for(words: str, said: str, tmp_path: Path) -> None:
    written_bench(tmp_path / "b", items(1))
    given = [word.replace("NEW", str(tmp_path / "new")).replace("BENCH", str(tmp_path / "b")) for word in words.split()]
    assert said in run("bench", "run", tmp_path / "b", *given, code=2).stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == ["b"]


def test_a_judge_that_cannot_be_read_is_left_only_where_the_file_says_so(tmp_path: Path) -> None:
    written_bench(tmp_path / "b", items(60))
    with serve(always("都好")) as server:
        toml = TOML.replace("[judge]", "[judge]\nasks = 1\nmost_invalid = 0.5").format(url=server.base_url, most=1000)
        (tmp_path / "judge.toml").write_text(toml, encoding="utf-8")
        words = ("bench", "run", tmp_path / "b", "--judge", tmp_path / "judge.toml", "--out", tmp_path / "r")
        assert "30 of its last 30 answers could not be used" in run(*words, code=3).stderr
        assert 30 <= server.seen.total() < 120
        (tmp_path / "judge.toml").write_text(toml.replace("most_invalid = 0.5", ""), encoding="utf-8")
        run(*words)
    found = outcomes_of(read_results(tmp_path / "r"))
    assert (found.credit.sum(), int(found.invalid.sum())) == (0, 60)


def test_a_key_goes_to_its_server_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written_bench(tmp_path / "b", items(1))
    monkeypatch.setenv("JUDGE_KEY", "a-secret-of-mine")
    with serve(lambda shown, turns: Said("no such model", status=404)) as server:
        words = (
            "bench",
            "run",
            tmp_path / "b",
            "--judge",
            server.base_url,
            "--judge-model",
            "j",
            "--out",
            tmp_path / "r",
        )
        done = run(*words, "--key-env", "JUDGE_KEY", code=3)
        assert set(server.keys) == {"Bearer a-secret-of-mine"}
        monkeypatch.delenv("JUDGE_KEY")
        assert "JUDGE_KEY is not set" in run(*words, "--key-env", "JUDGE_KEY", code=2).stderr
    monkeypatch.setenv("AWS_SECRET_KEY", "x" * 20)
    other = run(*words, "--key-env", "AWS_SECRET_KEY", code=2).stderr
    assert "--allow AWS_SECRET_KEY@127.0.0.1" in other
    kept = b"".join(path.read_bytes() for path in (tmp_path / "r.ledger").iterdir())
    assert "a-secret-of-mine" not in done.stdout + done.stderr
    assert b"a-secret-of-mine" not in kept
