"""The file of an experiment: what it may say, and one located error for everything else."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import run
from experimenting import HEAD, write_experiment

from coig_p.errors import UsageError
from coig_p.evaluate.experiment.commands import Command, read_command
from coig_p.evaluate.experiment.grid import arms, baselines, cells
from coig_p.evaluate.experiment.reading import load_experiment

VALIDATED = """
[[benchmarks]]
name = "choice"
file = "questions.jsonl"
role = "validation"
"""
WRONG = {
    "seeds = [3, 4]": {
        "seeds = [3, 3]": "experiment.seeds[1] = 3 stands twice: it would count one run as two",
        "seeds = []": "experiment.seeds is empty: name one or more, [0, 1, 2]",
        "seeds = [-1]": "experiment.seeds[0] = -1: use 0 to 4,294,967,295, which every tool takes",
        "seeds = [true]": "experiment.seeds[0] = True: use a whole number",
        "seeds = [3, 4]\nsed = 1": "unknown key 'experiment.sed'",
    },
    '[train]\ncommand = ["python", "train.py", "{data}", "{out}", "{seed}", "asked.txt"]': {
        '[train]\ncommand = "python train.py {data} {out}"': "train.command is one text, and no shell reads it: write "
        'train.command = ["python", "train.py", "{data}", "{out}"]',
        '[train]\ncommand = ["python", "{data}", "{out}", "{sed}"]': "train.command[3]: unknown place '{sed}'. Did you "
        "mean '{seed}'?",
        '[train]\ncommand = ["python", "{out}", "{seed}"]': "train.command has no {data}",
        '[train]\ncommand = ["python", "{data}", "{out}"]': "train.command has no {seed}, and experiment",
        '[train]\ncommand = ["python", "{data}", "{out}", "{seed}", "{\\"a\\": 1}"]': "train.command[4]",
        "[train]\ncommand = []": "train.command names no command",
        '[train]\ncommand = ["{out}", "{data}", "{seed}"]': "train.command[0] = '{out}': the command itself is named",
        '[train]\ncommand = ["python", 1]': "train.command: use a list of texts",
        "[train]\nhours = 1.0": "train.command is missing",
        '[train]\nprice = 1.0\ncommand = ["x"]': "unknown key 'train.price'",
        '[train]\ncheckpoints = "../*"\ncommand = ["python", "{data}", "{out}", "{seed}"]': "train.checkpoints = '../*'",  # noqa: E501
        '[train]\nenv = ["A=B"]\ncommand = ["python", "{data}", "{out}", "{seed}"]': "train.env[0] = 'A=B': name a "
        "variable, not its value",
    },
    "options = { threshold = 1 }": {
        "options = { treshold = 1 }": "unknown option 'pairs[0].options.treshold'. Did you mean "
        "'pairs[0].options.threshold'?",
        'options = { threshold = "1" }': "pairs[0].options.threshold = '1': use a number",
        "options = { threshold = -1 }": "datasets 'one', pairs 'margin 1':",
    },
    'name = "two"': {
        'name = "one"': "datasets[1].name = 'one' stands twice: give each its own",
        'name = "untrained"': "datasets[1].name = 'untrained' is what a model before any training is called",
        'name = "a / b"': "datasets[1].name = 'a / b'",
        'name = "two"\nvalues = { steps = 3 }': "datasets[0].values has no steps, which another of datasets has",
        'name = "two"\nvalues = { seed = 3 }': "datasets[0].values has no seed",
        'name = "two"\nvalues = { Steps = 3 }': "datasets[1].values.Steps: a place is named with a-z, 0-9 and _",
        'name = "two"\noptions = { threshold = 2 }': "pairs[0].options.threshold: the dataset 'two' sets it, too",
    },
    'for = "trl-dpo"': {
        'for = "trl-dop"': "unknown export.for 'trl-dop'. Did you mean 'trl-dpo'?",
        "options = { strict = true }": "export.for is missing",
    },
    'path = "some/model"': {"path = 3": "models[0].path = 3: use text", "": "models[0].path is missing"},
    '[judge]\ncommand = ["python", "judge.py", "{answers}", "{questions}", "{out}"]\nfiles = ["judge.py"]': {
        "": "judge.command is missing",
        '[judge]\ncommand = ["python", "{out}"]': "judge.command has no {answers}",
    },
    '[answer]\ncommand = ["python", "answer.py", "{checkpoint}", "{questions}", "{out}"]\nfiles = ["answer.py"]': {
        "": "answer.command is missing",
        '[serve]\ncommand = ["x", "{checkpoint}"]': "serve.command has no {port}",
        '[serve]\nready = "health"\ncommand = ["x", "{checkpoint}", "{port}"]': "serve.ready = 'health'",
    },
    'file = "questions.jsonl"': {
        'file = "questions.jsonl"\nrole = "tset"': "benchmarks[0]: unknown role 'tset'. Did you mean 'test'?",
        'file = "questions.jsonl"\nrole = "validation"': 'benchmarks: none has role "test"',
        'file = "questions.jsonl"\njudge = "judge.toml"': "unknown key 'benchmarks[0].judge'",
        'file = "questions.jsonl"\nweights = { a = 0.5 }': "benchmarks[0].weights add up to 0.5",
        'file = "questions.jsonl"\nweights = { a = 1.5 }': "benchmarks[0].weights.a = 1.5",
    },
    'baseline = "one / margin 1"': {'baseline = "one"': "unknown baseline 'one'", "baseline = 1": "use text"},
}


@pytest.mark.parametrize(
    ("right", "wrong", "says"), [(right, wrong, says) for right, some in WRONG.items() for wrong, says in some.items()]
)
def test_what_cannot_be_is_one_located_error(right: str, wrong: str, says: str, tmp_path: Path) -> None:
    assert right in HEAD
    path = write_experiment(tmp_path, text=HEAD.replace(right, wrong, 1))
    done = run("experiment", path, "--trust", code=2)
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {path}: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "grid").exists()


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (b"[experiment", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b"[experiment]\nseeds = [0]\nseeds = [1]\n", "is not TOML"),
        (b"", "no table [[models]]"),
        (HEAD.encode().replace(b'"some/model"', b'"\xef\xbb\xbf\x00"'), "is not TOML"),
    ],
)
def test_a_damaged_file_is_one_error(written: bytes, says: str, tmp_path: Path) -> None:
    path = write_experiment(tmp_path)
    path.write_bytes(written)
    said = run("experiment", path, "--plan", code=2).stderr
    assert str(path) in said
    assert says in said


def test_a_folder_or_nothing_in_place_of_the_file(tmp_path: Path) -> None:
    assert "is a directory" in run("experiment", tmp_path, code=2).stderr
    assert "cannot be read" in run("experiment", tmp_path / "none.toml", code=2).stderr


def test_checkpoints_are_needed_where_something_chooses(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, text=HEAD + VALIDATED)
    with pytest.raises(UsageError, match=r"train\.checkpoints is missing"):
        load_experiment(path)


def test_a_mark_of_byte_order_is_no_part_of_the_file(tmp_path: Path) -> None:
    found = load_experiment(write_experiment(tmp_path))
    marked = load_experiment(write_experiment(tmp_path, text="\ufeff" + HEAD))
    assert [cell.name for cell in cells(marked)] == [cell.name for cell in cells(found)]


def test_the_grid_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = load_experiment(write_experiment(tmp_path, text=HEAD.replace("baseline", "untrained = true\nbaseline")))
    names = ["untrained", *(f"{one} / margin {at}" for one in ("one", "two") for at in (1, 2, 3))]
    assert [arm.name for arm in arms(found)] == names
    assert [cell.name for cell in cells(found)][:3] == [
        "untrained",
        "one / margin 1 / seed 3",
        "one / margin 1 / seed 4",
    ]
    assert len(cells(found)) == 13
    assert baselines(found) == {name: "one / margin 1" for name in names if name != "one / margin 1"}


def test_every_model_is_compared_with_itself_before_training(tmp_path: Path) -> None:
    text = HEAD.replace('baseline = "one / margin 1"', 'untrained = true\nbaseline = "untrained"')
    text = text.replace("[[datasets]]", '[[models]]\nname = "n"\npath = "n"\n\n[[datasets]]', 1)
    found = baselines(load_experiment(write_experiment(tmp_path, text=text)))
    assert len(found) == 12
    assert all(other == f"{name[0]} / untrained" for name, other in found.items())


def test_places_are_filled_within_words_and_words_stay_one_argument() -> None:
    words = ["x", "--out={out}", '{{"a": "{seed}"}}', "{out}/b c"]
    command = read_command(words, "train.command", ["out", "seed"])
    assert command == Command(tuple(words))
    assert command.places() == ["out", "seed"]
    filled = command.filled({"out": "/a b; rm -rf {seed} $(x)", "seed": "1"})
    assert filled == ("x", "--out=/a b; rm -rf {seed} $(x)", '{"a": "1"}', "/a b; rm -rf {seed} $(x)/b c")
