"""Experiments that run: what is made again and what is not, what damage does, what commands get, and what fails."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import run
from experimenting import HEAD, asked, store_rows, write_experiment
from make import make_store

from coig_p.evaluate.experiment.choosing import choose, in_order

ONE = HEAD.replace("seeds = [3, 4]", "seeds = [3]")
_MORE = "".join(f'[[pairs]]\nname = "margin {at}"\noptions = {{ threshold = {at} }}\n\n' for at in (2, 3))
FEW = ONE.replace(_MORE, "").replace('"one / margin 1"', '"one"')  # two cells
SEEDS = FEW.replace("seeds = [3]", "seeds = [3, 4]")


def ran(path: Path, *options: str, code: int = 0) -> dict[str, Any]:
    """What a run says in JSON."""
    told: dict[str, Any] = json.loads(run("experiment", path, "--trust", "--json", *options, code=code).stdout)
    return told


def planned(path: Path, code: int = 0) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(run("experiment", path, "--plan", "--json", code=code).stdout)
    return told


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def test_a_grid_runs_each_step_once_and_never_again(tmp_path: Path) -> None:
    path = write_experiment(tmp_path)
    before = planned(path)
    assert before["to_run"] == {"export": 6, "train": 12, "answer": 12, "judge": 12}
    assert not (tmp_path / "grid").exists(), "a plan writes nothing"
    first = ran(path)
    assert first["made"]["export"] == 6
    assert first["made"]["train"] == 12
    assert len(first["rows"]) == 6
    assert asked(tmp_path).total() == 24
    assert {len(row["by_seed"]) for row in first["rows"]} == {2}
    again = ran(path)
    assert again["made"] == {}
    assert again["rows"] == first["rows"]
    assert planned(path)["to_run"] == {}
    assert asked(tmp_path).total() == 24
    assert not list((tmp_path / "grid" / "work").iterdir())


def test_the_table_is_what_the_scores_come_to(tmp_path: Path) -> None:
    """Means and differences by hand, from the scores that the steps wrote."""
    path = write_experiment(tmp_path, text=SEEDS)
    told = ran(path)

    def scores(cell: str) -> dict[str, float]:
        lines = (tmp_path / "grid" / "made" / told["steps"][cell]["judge test"] / "out" / "scores.jsonl").read_text()
        return {row["question"]: row["score"] for row in map(json.loads, lines.splitlines())}

    rows = {row["arm"]: row for row in told["rows"]}
    one, other = ([scores(f"{arm} / seed {seed}") for seed in (3, 4)] for arm in ("two", "one"))
    means = [sum(each.values()) / 8 for each in one]
    row = rows["two"]
    assert list(row["by_seed"].values()) == pytest.approx(means)
    assert row["over_seeds"]["value"] == pytest.approx(sum(means) / 2)
    half = 12.706204736 * abs(means[0] - means[1]) / 2  # Student's t of one degree of freedom
    assert row["over_seeds"]["high"] - row["over_seeds"]["value"] == pytest.approx(half)
    apart = [(one[0][q] + one[1][q]) / 2 - (other[0][q] + other[1][q]) / 2 for q in one[0]]
    assert row["difference"]["value"] == pytest.approx(sum(apart) / 8)
    assert rows["one"]["difference"] is None


@pytest.mark.parametrize(
    ("what", "made"),
    [
        ("train.py", {"train": 3, "answer": 3, "judge": 3}),
        ("answer.py", {"answer": 6}),
        ("judge.py", {"judge": 6}),
        ("questions.jsonl", {"answer": 6, "judge": 6}),
        ("store", {"export": 3, "train": 3, "answer": 3, "judge": 3}),
        ("readme", {}),
        ("pairs", {"export": 2, "train": 1, "answer": 1, "judge": 1}),  # the other dataset gives the same pairs
        ("seed", {"train": 6, "answer": 6, "judge": 6}),
        ("comment", {}),
        ("pause.txt", {}),
    ],
)
def test_what_changed_and_what_depends_on_it_is_made_again(what: str, made: dict[str, int], tmp_path: Path) -> None:
    path = write_experiment(tmp_path, text=ONE)
    first = ran(path)
    if what == "store":
        make_store(tmp_path / "two", store_rows("zwei", (9, 7.5, 5)))
    elif what == "readme":
        manifest = json.loads((tmp_path / "two" / "manifest.json").read_text("utf-8"))
        manifest["sources"] = [{"name": "x", "sha256": "0" * 64}]
        (tmp_path / "two" / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    elif what == "pairs":
        change(path, "options = { threshold = 3 }", "options = { threshold = 3, strict = true }")
        change(path, 'name = "margin 3"', 'name = "margin over 3"')
        make_store(tmp_path / "one", store_rows("one", (9, 8, 7, 5)))
        make_store(tmp_path / "two", store_rows("two", (9, 7.5, 4)))
        first = ran(path)
        change(path, "strict = true", "strict = false")
    elif what == "seed":
        change(path, "seeds = [3]", "seeds = [5]")
    elif what == "comment":
        path.write_text("# a word\n" + path.read_text("utf-8"), "utf-8")
    elif what == "train.py":
        script = (tmp_path / what).read_text("utf-8")
        other = script.replace("content = hashlib.sha256()", 'content = hashlib.sha256(b"2" * ("two" in str(data)))')
        (tmp_path / what).write_text(other + "# another\n", "utf-8")
        made = {"train": 6}
    elif what == "pause.txt":
        (tmp_path / what).write_text("0.0", "utf-8")
    else:
        with (tmp_path / what).open("a") as stream:
            stream.write("# another\n" if what.endswith(".py") else '{"id": "q-8", "category": "a"}\n')
    plan = planned(path)["to_run"]
    again = ran(path)
    assert again["made"] == made
    assert set(plan) <= {"export", "train", "answer", "judge"}
    assert bool(plan) == bool(made)
    if not made or what == "train.py":
        assert again["rows"] == first["rows"]


@pytest.mark.parametrize("damage", ["byte", "missing", "more", "step", "link"])
def test_what_is_damaged_is_said_made_anew_and_never_used(damage: str, tmp_path: Path) -> None:
    path = write_experiment(tmp_path, text=FEW)
    first = ran(path)
    made = tmp_path / "grid" / "made" / first["steps"]["one / seed 3"]["train"]
    model = made / "out" / "model.txt"
    if damage == "byte":
        model.write_bytes(bytes(reversed(model.read_bytes())))
    elif damage == "missing":
        model.unlink()
    elif damage == "more":
        (made / "out" / "more").write_text("x")
    elif damage == "step":
        (made / "step.json").write_text((made / "step.json").read_text().replace('"seconds": ', '"seconds": 1'))
    else:
        model.unlink()
        model.symlink_to("/etc/hostname")
    done = run("experiment", path, "--trust")
    assert f"damaged, and made anew: {made}" in done.stderr
    assert asked(tmp_path).total() == 2 * 3
    assert ran(path)["rows"] == first["rows"]
    assert ran(path)["damaged"] == []


def test_thresholds_that_give_the_same_rows_are_trained_on_once(tmp_path: Path) -> None:
    """Best and worst are 3 and 4 apart in every query, so that thresholds 1 to 3 choose the same pairs."""
    text = ONE.replace("[export]", '[export]\noptions = { strategy = "best_worst" }')
    path = write_experiment(tmp_path, text=text)
    told = ran(path)
    assert told["made"] == {"export": 6, "train": 2, "answer": 2, "judge": 2}
    readmes = {one.read_bytes() for one in (tmp_path / "grid" / "made").glob("export-*/out/README.md")}
    assert len(readmes) > 2, "they do say their thresholds"


def test_a_plan_finds_what_an_export_would_fail_on(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, text=FEW)
    (tmp_path / "two" / "README.md").write_text("listed by the manifest, with another size", "utf-8")
    manifest = json.loads((tmp_path / "two" / "manifest.json").read_text("utf-8"))
    manifest["files"] = [one for one in manifest["files"] if one["path"] != "README.md"]
    manifest["files"].append({"path": "README.md", "role": "readme", "bytes": 3, "sha256": "0" * 64})
    (tmp_path / "two" / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    said = run("experiment", path, "--trust", code=1).stderr
    (problem,) = planned(path, code=1)["obstacles"]
    assert "README.md: 41 bytes, 3 in manifest.json" in problem
    assert problem in said


def test_a_plan_says_whose_hours_it_counts(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, text=FEW.replace("[train]", "[train]\nhours = 0.5\nprice_per_hour = 2"))
    before = run("experiment", path, "--plan").stdout
    assert "2 trainings, about 1 hours by train.hours, about 2.00" in before
    run("experiment", path, "--trust")
    change(path, "seeds = [3]", "seeds = [3, 4]")
    assert "hours by 2 trainings that ran, about" in run("experiment", path, "--plan").stdout


def test_a_store_that_changed_behind_its_manifest_is_one_error(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, text=FEW)
    shard = next((tmp_path / "one").rglob("*.parquet"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    done = run("experiment", path, "--trust", code=1)
    assert "is not the file that manifest.json lists: the store has changed" in done.stderr
    assert asked(tmp_path).total() == 0
    assert any("has changed" in problem for problem in planned(path, code=1)["obstacles"])


def test_a_command_that_fails_says_where_and_leaves_its_log(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, text=FEW)
    (tmp_path / "train.py").write_text("print('one\\x1b[2Jtwo'); raise SystemExit(7)", "utf-8")
    done = run("experiment", path, "--trust", code=1)
    said = done.stderr[done.stderr.index("error:") :]
    assert f"error: {path}: step train of one / seed 3: python failed with exit code 7" in said
    assert "one\\u001b[2Jtwo" in said
    (log,) = (tmp_path / "grid" / "logs").glob("train-*")
    assert str(log) in said
    assert not list((tmp_path / "grid" / "made").glob("train-*"))


def test_a_command_that_writes_nothing_or_leads_out_is_refused(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, text=FEW)
    (tmp_path / "train.py").write_text("", "utf-8")
    assert "wrote nothing to {out}" in run("experiment", path, "--trust", code=1).stderr
    (tmp_path / "train.py").write_text("import os, sys; os.symlink('/etc', sys.argv[2] + '/x')", "utf-8")
    assert "is a link that leads out of its folder" in run("experiment", path, "--trust", code=1).stderr


def test_a_plan_says_which_exports_cannot_be_as_the_export_does(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, text=ONE.replace("threshold = 3", "threshold = 10"))
    rows = store_rows("two", (9, 5))
    rows[0]["messages"] = [
        {"role": role, "content": text, "extra": None}
        for role, text in (("user", "hi"), ("assistant", "hello"), ("user", "two 0?"))
    ]
    make_store(tmp_path / "two", rows)
    found = planned(path, code=1)["obstacles"]
    assert len(found) == 4, "one at the threshold of one store, three of the other"
    done = run("experiment", path, "--trust", code=2)
    assert found[0] == done.stderr.splitlines()[-1].removeprefix("error: ")
    assert "of one / margin 3 / seed 3: threshold 10: no two scores from 1 to 10 are so far apart" in found[0]
    assert all("math holds 1 query that is a conversation, which" in one for one in found[1:])
    assert not (tmp_path / "grid" / "made").exists() or not list((tmp_path / "grid" / "made").glob("train-*"))


def test_keep_going_leaves_out_what_failed(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, text=SEEDS)
    script = (tmp_path / "train.py").read_text("utf-8")
    failing = "\nif seed == '4': print('first'); raise SystemExit('no \\x1b[2J memory')\n"
    (tmp_path / "train.py").write_text(script + failing, "utf-8")
    done = run("experiment", path, "--trust", "--keep-going", code=1)
    lines = done.stderr.splitlines()
    at = next(at for at, line in enumerate(lines) if "failed with exit code 1. The end of" in line)
    assert lines[at + 1 : at + 3] == ["  first", "  no \\u001b[2J memory"]
    assert "log: no \\u001b[2J memory" in done.stdout, "in the table"
    told = ran(path, "--keep-going", code=1)
    assert len(told["failed"]) == 2
    assert all(row["missing_seeds"] == [4] and len(row["by_seed"]) == 1 for row in told["rows"])
    (tmp_path / "train.py").write_text(script, "utf-8")
    assert ran(path)["failed"] == {}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "is empty"),
        ('{"question": "q", "category": "a", "score": NaN}', "line 1: NaN"),
        ('{"question": "q", "category": "a", "score": 1e999}', "line 1: the number"),
        ('{"question": "q", "category": "a", "score": "7"}', "line 1: score '7' is neither a number nor null"),
        ('{"question": "q", "category": "a", "score": true}', "line 1: score True"),
        ('{"question": "q", "category": "a"}', "line 1: use"),
        ('{"question": "q", "question": "r", "category": "a", "score": 1}', "stands twice"),
        (
            '{"question": "q-0", "category": "a", "score": 1}\n{"question": "q-0", "category": "a", "score": 2}',
            "line 2: the question 'q-0' has a score already",
        ),
        ('{"question": "q", "category": "", "score": 1}', "line 1: category ''"),
        ("[" * 9999, "line 1"),
        ('{"question": "q", "category": "a", "score": 1}', "line 1: the question 'q' is none of"),
        ('{"question": "q-0", "category": "a", "score": 1}', "has 1 of the 8 questions of"),
        ('{"question": "q-0", "category": "a", "score": 10.5}', "line 1: score 10.5 is outside 1 to 10; [judge] range"),
        ('{"question": "q-0", "category": "a", "score": -5}', "line 1: score -5 is outside 1 to 10; [judge] range"),
    ],
)
def test_scores_that_cannot_be_are_one_located_error_and_judged_again(line: str, says: str, tmp_path: Path) -> None:
    path = write_experiment(tmp_path, text=FEW)
    right = (tmp_path / "judge.py").read_text("utf-8")
    wrong = f"import sys; from pathlib import Path; Path(sys.argv[3], 'scores.jsonl').write_text({line!r} + chr(10))"
    (tmp_path / "judge.py").write_text(wrong, "utf-8")
    done = run("experiment", path, "--trust", code=1)
    assert says in done.stderr
    assert f"error: {path}: step judge of one / seed 3, test: " in done.stderr
    assert "scores.jsonl" in done.stderr
    assert not list((tmp_path / "grid" / "made").glob("judge-*"))
    (tmp_path / "judge.py").write_text(right, "utf-8")
    assert ran(path)["failed"] == {}


def test_a_question_that_one_cell_lacks_is_an_error_where_the_benchmark_does_not_tell(tmp_path: Path) -> None:
    """The benchmark is plain text: its questions are known by what every cell has in common."""
    path = write_experiment(tmp_path, text=ONE)
    (tmp_path / "questions.jsonl").write_text("".join(f"q-{at}\n" for at in range(8)), "utf-8")
    answer = (tmp_path / "answer.py").read_text("utf-8").replace("row = json.loads(line)", 'row = {"id": line}')
    (tmp_path / "answer.py").write_text(answer.replace('row["category"]', '"ab"[int(line[-1]) % 2]'), "utf-8")
    right = (tmp_path / "judge.py").read_text("utf-8")
    less = right.replace("read_text().splitlines()", "read_text().splitlines()[2 * Path('less').exists():]")
    (tmp_path / "judge.py").write_text(less + "Path('less').touch()\n", "utf-8")
    done = run("experiment", path, "--trust", code=1)
    assert f"error: {path}: step judge of one / margin 2 / seed 3, test: " in done.stderr
    assert "of one / margin 1 / seed 3, test: 'q-0', 'q-1' are in the other alone. Every question" in done.stderr
    assert len(list((tmp_path / "grid" / "made").glob("judge-*"))) == 1
    (tmp_path / "judge.py").write_text(right, "utf-8")
    assert len(ran(path)["rows"]) == 6


def test_a_judge_has_the_range_that_the_file_gives(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, text=FEW.replace("[judge]", "[judge]\nrange = [0, 100]"))
    judge = (tmp_path / "judge.py").read_text("utf-8")
    (tmp_path / "judge.py").write_text(judge.replace('row["said"]', '9.5 * row["said"]'), "utf-8")
    assert ran(path)["rows"][0]["over_questions"]["value"] > 10
    change(path, "[0, 100]", "[0, 5]")
    done = run("experiment", path, "--trust", code=1)
    assert "is outside 0 to 5; which is judge.range" in done.stderr
    change(path, "[0, 5]", "[5, 5]")
    assert "judge.range = [5.0, 5.0]: use the lowest" in run("experiment", path, code=2).stderr


def test_the_checkpoint_is_chosen_on_one_benchmark_and_tested_on_another(tmp_path: Path) -> None:
    text = ONE.replace("[train]", '[train]\ncheckpoints = "step-*"')
    text += '\n[[benchmarks]]\nname = "choice"\nfile = "choice.jsonl"\nrole = "validation"\n'
    path = write_experiment(tmp_path, text=text)
    (tmp_path / "choice.jsonl").write_text('{"id": "v-1", "category": "a"}\n', "utf-8")
    (tmp_path / "train.py").write_text(
        "import sys\nfrom pathlib import Path\nfor at in (900, 1000, 1100):\n"
        "    folder = Path(sys.argv[2], f'step-{at}')\n    folder.mkdir()\n"
        "    (folder / 'model.txt').write_text(str(at))\n",
        "utf-8",
    )
    plan = planned(path)
    assert plan["at_least"]
    told = ran(path)
    assert len(told["choices"]) == 6
    for choice in told["choices"].values():
        assert list(choice["scores"]) == ["step-900", "step-1000", "step-1100"]
        assert choice["scores"][choice["checkpoint"]] == max(choice["scores"].values())
    assert told["made"]["answer"] == 3 + 1, "three checkpoints of the same content in six cells"


def test_of_equal_checkpoints_the_earliest_is_chosen() -> None:
    assert in_order(["c-1000", "c-900", "c-90/b", "c-90/a"]) == ["c-90/a", "c-90/b", "c-900", "c-1000"]
    found = choose("v", {"c-1000": 5.0, "c-900": 5.0, "c-100": 4.0})
    assert (found.checkpoint, found.tied) == ("c-900", 2)


def test_several_checkpoints_and_nothing_that_chooses_are_refused(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, text=FEW.replace("[train]", '[train]\ncheckpoints = "step-*"'))
    assert "nothing that it wrote matches" in run("experiment", path, "--trust", code=1).stderr


def test_commands_are_agreed_to_once_for_each_text_of_the_file(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, text=FEW)
    done = run("experiment", path, code=2)
    assert f"{path} wants to run, for train: python train.py '{{data}}'" in done.stderr
    assert done.stderr.endswith("If you mean it, say so once with --trust\n")
    assert not (tmp_path / "grid").exists()
    run("experiment", path, "--trust")
    run("experiment", path)
    change(path, "[train]", "# another text\n[train]")
    assert "--trust" in run("experiment", path, code=2).stderr


def test_a_command_gets_no_secret_that_is_not_named_and_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "MY_TOKEN", "http_proxy", "LICENCE_OF_MINE"):
        monkeypatch.setenv(name, f"value of {name}")
    path = write_experiment(tmp_path, text=FEW)
    script = (tmp_path / "train.py").read_text("utf-8")
    (tmp_path / "train.py").write_text(script + "\nPath('env.txt').write_text(repr(dict(os.environ)))\n", "utf-8")
    run("experiment", path, "--trust")
    got = (tmp_path / "env.txt").read_text("utf-8")
    assert "value of" not in got
    assert "'PATH'" in got
    change(path, "[train]", '[train]\nenv = ["MY_TOKEN"]')
    done = run("experiment", path, "--trust", code=2)
    assert "give the value of MY_TOKEN to the command of train" in done.stderr
    assert "--allow MY_TOKEN@train" in done.stderr
    run("experiment", path, "--trust", "--allow", "MY_TOKEN@train")
    got = (tmp_path / "env.txt").read_text("utf-8")
    assert got.count("value of") == 1
    result = (tmp_path / "grid" / "result.json").read_text("utf-8")
    kept = [one.read_text("utf-8", "replace") for one in (tmp_path / "grid").rglob("*") if one.is_file()]
    assert not any("value of" in text for text in [result, *kept])
    monkeypatch.delenv("MY_TOKEN")
    assert "the variable MY_TOKEN is not set" in run("experiment", path, code=2).stderr


SERVER = """
import http.server, json, sys
class One(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"data": [{"id": "served"}]}).encode()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
open("started.txt", "a").write("x")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), One).serve_forever()
"""


def test_a_checkpoint_is_served_while_it_is_asked_and_then_ended(tmp_path: Path) -> None:
    text = FEW.replace("[answer]", '[serve]\ncommand = ["python", "server.py", "{checkpoint}", "{port}"]\n\n[answer]')
    text = text.replace('"{checkpoint}", "{questions}", "{out}"]\n', '"{questions}", "{out}", "{url}", "{served}"]\n')
    path = write_experiment(tmp_path, text=text)
    (tmp_path / "server.py").write_text(SERVER, "utf-8")
    (tmp_path / "answer.py").write_text(
        "import json, sys, urllib.request\nfrom pathlib import Path\nquestions, out, url, served = sys.argv[1:5]\n"
        "told = json.loads(urllib.request.urlopen(url + '/models').read())['data'][0]['id']\nassert told == served\n"
        "Path(out, 'answers.jsonl').write_text(''.join(json.dumps({'id': row['id'], 'category': row['category'], "
        "'said': 5}) + chr(10) for row in map(json.loads, Path(questions).read_text().splitlines())))\n",
        "utf-8",
    )
    told = ran(path)
    assert told["made"]["answer"] == 2
    assert len((tmp_path / "started.txt").read_text()) == 2
    assert ran(path)["made"] == {}
    assert len((tmp_path / "started.txt").read_text()) == 2
    if sys.platform == "linux":
        words = [one.read_bytes() for one in Path("/proc").glob("[0-9]*/cmdline") if os.access(one, os.R_OK)]
        assert not any(str(tmp_path).encode() in one for one in words)
    (tmp_path / "server.py").write_text("print('no memory'); raise SystemExit(1)", "utf-8")
    change(path, "[serve]", '[serve]\nmodel = "another"')
    done = run("experiment", path, "--trust", code=1)
    assert "ended with exit code 1 before it answered" in done.stderr
    assert "no memory" in done.stderr


def test_a_plan_says_what_stands_in_the_way_and_what_it_would_cost(tmp_path: Path) -> None:
    text = ONE.replace("[train]", "[train]\nhours = 2\nprice_per_hour = 3.5").replace(
        "[judge]", "[judge]\nprice = 0.25"
    )
    path = write_experiment(tmp_path, text=text)
    told = planned(path)
    cost = {"judgings": 6, "judging": 1.5, "trainings": 6, "hours": 12.0, "training": 42.0}
    assert told["cost"] == {**cost, "measured_trainings": 0, "judges": []}
    (tmp_path / "questions.jsonl").unlink()
    change(path, '"python", "judge.py"', '"no-such-command", "judge.py"')
    obstacles = " ".join(planned(path, code=1)["obstacles"])
    assert "no command 'no-such-command'" in obstacles
    shown = run("experiment", path, "--plan", code=1).stdout
    assert "in the way: judge: no command 'no-such-command'" in shown
    assert "6 trainings, about 12 hours by train.hours, about 42.00" in shown


def test_a_page_and_csv_in_two_languages_hold_no_markup_of_names(tmp_path: Path) -> None:
    text = FEW.replace('name = "two"', 'name = "=<b>two"').replace("Grid", "<script>")
    path = write_experiment(tmp_path, text=text)
    for language, word in (("en", "Results"), ("zh", "结果")):
        page, rows = tmp_path / f"{language}.html", tmp_path / f"{language}.csv"
        run("experiment", path, "--trust", "--html", page, "--csv", rows, "--language", language)
        shown = page.read_text("utf-8")
        assert word in shown
        assert "<script>" not in shown
        assert "<b>two" not in shown
        assert "'=<b>two,test," in rows.read_text("utf-8")
    assert "exists: pass --overwrite" in run("experiment", path, "--html", page, code=2).stderr
    assert "a plan has no table" in run("experiment", path, "--plan", "--csv", tmp_path / "n.csv", code=2).stderr


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, text=FEW)
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "mine.txt").write_text("mine")
    assert "is not an experiment: choose another place" in run("experiment", path, "--trust", code=2).stderr
    assert [one.name for one in (tmp_path / "grid").iterdir()] == ["mine.txt"]
    change(path, 'name = "Grid"', 'name = "Grid"\nfolder = "one/inside"')
    assert "inside the store" in run("experiment", path, "--trust", code=2).stderr
