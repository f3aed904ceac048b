"""The recipes of docs/recipes: losses fall, presets are the papers' numbers, a stopped run goes on with the same rows.

Run by `make test-train` in an environment of its own; `make test` does not collect this file.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainerCallback

import coig_p
from coig_p.errors import DataError, UsageError
from coig_p.export.settings import PRESETS
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.plan import ShardConfig
from coig_p.reward.training_config import CRM
from coig_p.reward.training_config import PRESETS as REWARD_PRESETS
from coig_p.store.locate import BUNDLED

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "recipes"
sys.path.insert(0, str(FOLDER))
import dpo  # noqa: E402
import grpo  # noqa: E402
import recipe  # noqa: E402
import reward  # noqa: E402
import sft  # noqa: E402
from tiny import make_tiny  # noqa: E402

torch.set_num_threads(1)  # matrices this small are slower on several
RECIPES: dict[str, Any] = {"dpo": dpo, "sft": sft, "reward": reward, "grpo": grpo}


class Stop(Exception):
    """What a kill is to a process."""


def run(name: str, *words: object, begun: Callable[[Trainer], None] = lambda trainer: None) -> dict[str, Any]:
    module = RECIPES[name]
    return recipe.run(module.RECIPE, module.PARSER.parse_args([str(word) for word in words]), begun)


def process(
    name: str, *words: object, launch: tuple[str, ...] = (), **options: Any
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *launch, str(FOLDER / f"{name}.py"), *map(str, words)]
    env = os.environ | {"OMP_NUM_THREADS": "1"} | options.pop("env", {})
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, **options)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows = [path.read_text("utf-8") for path in (BUNDLED / "README.md",)]
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny", rows)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    for trainer in ("trl-sft", "trl-reward", "trl-grpo", "trl-kto"):
        conversational = trainer != "trl-reward"
        export_store(BUNDLED, folder / trainer, ExportConfig(trainer, conversational=conversational))
    return folder


@pytest.mark.parametrize("name", list(RECIPES))
def test_each_runs_as_it_stands(name: str, tmp_path: Path) -> None:
    """One command: a tiny model made on the spot, no download, and what is measured gets better."""
    most = ("--max-steps", 30) if name in ("dpo", "reward") else ()
    done = process(name, "--json", *most, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{"), done.stdout[:20]  # and nothing before it
    told = json.loads(done.stdout)
    measure = "reward" if name == "grpo" else "loss"
    change = told[f"{measure}_last"] - told[f"{measure}_first"]
    assert change > 0 if name == "grpo" else change < 0
    assert "\r" not in done.stderr  # no bar that moves, where nobody looks
    assert list(tmp_path.iterdir()) == []


PAPERS: list[tuple[str, str, dict[str, Any]]] = [
    ("dpo", "coig-p", {"beta": 0.1, "learning_rate": 1e-6, "epochs": 1, "warmup": 0.1, "max_length": 6000}),
    ("dpo", "tap", {"beta": 0.01, "learning_rate": 2e-7, "epochs": 2, "warmup": 50}),
    ("reward", "coig-p", {"learning_rate": 2e-6, "epochs": 1, "warmup": 0.03, "max_length": 4096, "decay": 0.001}),
    ("reward", "tap", {"learning_rate": 2e-6, "epochs": 1, "warmup": 0.03, "decay": 0.001}),
    ("sft", "coig-p", {"learning_rate": 1e-5, "epochs": 1, "warmup": 0.1}),
    ("grpo", "tap", {"beta": 0.05, "learning_rate": 1e-6, "epochs": 2, "warmup": 50, "generations": 8}),
]


@pytest.mark.parametrize(("name", "preset", "numbers"), PAPERS)
def test_the_trainer_has_the_numbers_of_the_paper(
    name: str, preset: str, numbers: dict[str, Any], tiny: str, exports: Path, tmp_path: Path
) -> None:
    found: list[Trainer] = []

    def begun(trainer: Trainer) -> None:
        found.append(trainer)
        raise Stop

    words: list[object] = ["--preset", preset, "--model", tiny, "--store", BUNDLED]
    if name == "grpo":
        base = make_tiny(tmp_path / "rm", ["一个"] * 3, reward=True)
        words += ["--reward-model", base]
    with pytest.raises(Stop):
        run(name, *words, begun=begun)
    args = found[0].args
    rows = {"dpo": 269, "reward": 269, "sft": 60, "grpo": 60}[name]  # of the bundled store at its threshold
    each = {"grpo": 1}.get(name, 4)  # prompts of a step: eight answers to one
    assert args.max_steps == rows * numbers["epochs"] // each
    assert (args.learning_rate, args.warmup_steps) == (numbers["learning_rate"], numbers["warmup"])
    assert args.lr_scheduler_type == "cosine"
    assert args.weight_decay == numbers.get("decay", 0)
    if "beta" in numbers:
        assert args.beta == found[0].beta == numbers["beta"]
    if "max_length" in numbers:
        assert args.max_length == numbers["max_length"]
    if name == "grpo":
        assert args.num_generations == numbers["generations"]


def test_the_numbers_of_a_reward_model_are_those_of_our_own_trainer() -> None:
    own = REWARD_PRESETS[CRM]
    for preset in PRESETS.values():
        found = preset.reward
        assert (found.learning_rate, found.warmup, found.weight_decay) == (
            own["learning_rate"], own["warmup"], own["weight_decay"],
        )  # fmt: skip
        assert (found.schedule, found.epochs, found.max_length) == (own["schedule"], own["epochs"], own["max_length"])


class StopAt(TrainerCallback):
    """Stops a training in the middle of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        if state.global_step == self.step:
            raise Stop


STOPPED: dict[str, tuple[str, list[object]]] = {
    # 67 steps an epoch: stopped in the second, whose order is another.
    "dpo, a stream, in the second epoch": ("dpo", ["--epochs", 2, "--max-steps", 75, "--batch-size", 4]),
    "sft, an export, two epochs": ("sft", ["--data", "trl-sft", "--epochs", 3, "--gradient-accumulation", 2]),
    "reward, an export of strings": ("reward", ["--data", "trl-reward", "--max-steps", 12]),
    "sft, with workers": ("sft", ["--workers", 2, "--epochs", 2]),
    "grpo, two epochs": ("grpo", ["--max-steps", 34]),
}


@pytest.mark.parametrize("case", list(STOPPED))
def test_a_stopped_run_goes_on_with_the_same_rows(case: str, exports: Path, tmp_path: Path) -> None:
    """Every row in its step, and the weights at the end byte by byte those of a run that nobody stopped."""
    name, words = STOPPED[case]
    words = [exports / word if isinstance(word, str) and word.startswith("trl-") else word for word in words]
    words += ["--log-rows", "--save-steps", 5]
    whole = run(name, *words, "--out", tmp_path / "whole")
    steps = whole["steps"]
    for at in (steps // 3, steps - 2):

        def begun(trainer: Trainer, at: int = at) -> None:
            trainer.add_callback(StopAt(at))

        with pytest.raises(Stop):
            run(name, *words, "--out", tmp_path / "out", "--resume", begun=begun)
    again = run(name, *words, "--out", tmp_path / "out", "--resume")
    assert again["steps"] == steps
    rows = [(tmp_path / folder / "rows-0.jsonl").read_text() for folder in ("whole", "out")]
    logged = [json.loads(line) for line in rows[0].splitlines()]
    assert sorted({line["step"] for line in logged}) == list(range(steps))
    assert rows[0] == rows[1]
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("whole", "out")]
    assert weights[0] == weights[1]
    assert run(name, *words, "--out", tmp_path / "out", "--resume") == again  # it is finished: nothing is done


def test_epochs_have_the_same_rows_in_another_order(tmp_path: Path) -> None:
    rows = coig_p.plan("logic", data_dir=str(BUNDLED), split="train", shuffle_seed=0, shards=1).rows
    words: list[object] = ["--config", "logic", "--epochs", 2, "--batch-size", rows, "--log-rows"]
    assert run("dpo", *words, "--out", tmp_path / "o")["steps"] == 2
    first, second = (json.loads(line)["rows"] for line in (tmp_path / "o" / "rows-0.jsonl").read_text().splitlines())
    chosen, again = first[:rows], second[:rows]
    assert sorted(chosen) == sorted(again)
    assert chosen != again


def test_a_killed_process_goes_on(tmp_path: Path) -> None:
    words: list[object] = ["--epochs", 6, "--save-steps", 10, "--log-rows"]
    run("sft", *words, "--out", tmp_path / "whole")
    command = [sys.executable, str(FOLDER / "sft.py"), *map(str, words), "--out", str(tmp_path / "out")]
    # Sums differ in their last bits where other numbers of threads share them: as many as here.
    started = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    while not (tmp_path / "out" / "checkpoint-20" / "files.json").exists():
        assert started.poll() is None
        time.sleep(0.02)
    started.send_signal(signal.SIGKILL)
    started.wait()
    torn = tmp_path / "out" / "checkpoint-99"  # one that was being written
    shutil.copytree(tmp_path / "out" / "checkpoint-10", torn)
    (torn / "files.json").unlink()
    run("sft", *words, "--out", tmp_path / "out", "--resume")
    assert not torn.exists()
    for file in ("rows-0.jsonl", "model.safetensors"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_what_our_own_trainer_made_rewards(tiny: str, exports: Path, tmp_path: Path) -> None:
    """`coigp reward train`, then GRPO on an export's prompts: rewards are the scorer's, which reads each alone."""
    from coig_p.reward.opening import ScorerConfig, open_scorer
    from coig_p.reward.scorer import Asked
    from coig_p.reward.training import train_transformer
    from coig_p.reward.training_config import TrainConfig

    config = TrainConfig(learning_rate=1e-2, batch_pairs=16, max_steps=5, held_out=0, device="cpu", save_every=0)
    train_transformer(BUNDLED, tmp_path / "crm", tiny, config=config)
    seen: list[tuple[Any, Any]] = []

    def begun(trainer: Any) -> None:
        take = trainer._calculate_rewards

        def calculate(inputs: Any, prompts: Any, completions: Any, *rest: Any, **named: Any) -> Any:
            found = take(inputs, prompts, completions, *rest, **named)
            seen.extend(zip(prompts, zip(completions, found[:, 0].tolist(), strict=True), strict=True))
            return found

        trainer._calculate_rewards = calculate

    words = ["--data", exports / "trl-grpo", "--model", tiny, "--reward-model", tmp_path / "crm", "--generations", 4]
    told = run("grpo", *words, "--response-length", 16, "--max-steps", 2, begun=begun)
    assert told["steps"] == 2
    assert len(seen) == 16
    scorer = open_scorer(ScorerConfig(model=str(tmp_path / "crm"), device="cpu"))
    asked = [Asked(prompt, answer[0]["content"]) for prompt, (answer, _) in seen]
    scored = [one.reward for one in scorer.score(asked)]
    ours = [value for _, (answer, value) in seen if answer[0]["content"].strip()]
    theirs = [one for one, (_, (answer, _)) in zip(scored, seen, strict=True) if answer[0]["content"].strip()]
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_rows_that_max_length_leaves_nothing_of_are_counted(tmp_path: Path) -> None:
    """TRL drops them without a word. The steps are those of what is left, or training would begin again."""
    for name in ("reward", "dpo"):
        told = run(name, "--max-length", 60, "--out", tmp_path / name, "--batch-size", 1, "--log-rows")
        assert 0 < told["left_out"] < told["rows"] == 269
        assert told["steps"] == told["rows"] - told["left_out"]
        lines = (tmp_path / name / "rows-0.jsonl").read_text().splitlines()
        assert len({str(json.loads(line)["rows"]) for line in lines}) > told["steps"] * 0.9  # none begins again


def test_margins_are_not_demanded_and_padding_ends_nothing(tiny: str, exports: Path, tmp_path: Path) -> None:
    """Two traps of reward models: a column `margin` that is taken for a margin of logits, and pad = eos."""
    shutil.copytree(tiny, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(tmp_path / "model")
    found: list[Any] = []

    def begun(trainer: Any) -> None:
        found.append(next(iter(trainer.get_train_dataloader())))

    words = ["--data", exports / "trl-reward", "--model", tmp_path / "model", "--max-steps", 1]
    told = run("reward", *words, "--out", tmp_path / "out", begun=begun)
    assert "margin" not in found[0]
    assert told["loss_first"] < 1  # about log 2; a margin of points would make it several
    made = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert made.pad_token not in (None, made.eos_token)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert model.config.pad_token_id == made.pad_token_id


WRONG: list[tuple[str, list[object], int, str]] = [
    ("dpo", ["--store", "nowhere"], 1, "nowhere"),
    ("dpo", ["--config", "maths"], 2, "unknown config 'maths'"),
    ("dpo", ["--threshold", 9], 1, "no pair of all at this threshold"),
    ("sft", ["--threshold", 9], 1, "no rows for the split train"),
    ("dpo", ["--model", "nobody/nothing"], 3, "nobody/nothing"),
    ("dpo", ["--model", "nomodel"], 2, "nomodel: no such folder"),
    ("dpo", ["--model", "no/such/folder"], 2, "no/such/folder: no such folder"),
    ("dpo", ["--out", "FULL"], 2, "is not empty, and no run of a recipe"),
    ("dpo", ["--out", "FILE"], 2, "is no directory"),
    ("dpo", ["--resume"], 2, "name it with --out"),
    ("dpo", ["--learning-rate", "nan"], 2, "--learning-rate nan: use a number of 0 or more"),
    ("dpo", ["--data", "FULL"], 2, "it is no export"),
    ("sft", ["--data", "trl-kto"], 2, "was exported for trl-kto, and this recipe reads trl-sft"),
    ("sft", ["--data", "CUT"], 1, "cannot be read"),
    ("sft", ["--data", "FEWER"], 1, "has 59 rows, and shards.json says 60"),
    ("sft", ["--data", "BROKEN"], 1, "shards.json is damaged"),
    ("sft", ["--data", "trl-sft", "--workers", 2], 2, "has 1 shards for 2 readers"),
    ("sft", ["--data", "trl-sft", "--threshold", 2], 2, "--threshold is of a store"),
    ("sft", ["--data", "trl-sft", "--batch-size", 61], 1, "fewer than one step takes"),
    ("grpo", ["--model", "TINY"], 2, "--reward-model is missing"),
    ("grpo", ["--model", "TINY", "--reward-model", "TINY"], 2, "it is no reward model"),
    ("grpo", ["--batch-size", 3], 2, "no multiple of --generations 4"),
]


@pytest.mark.parametrize(("name", "words", "code", "said"), WRONG)
def test_what_cannot_be_is_one_line(
    name: str, words: list[object], code: int, said: str, tiny: str, exports: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "FULL").mkdir()
    (tmp_path / "FULL" / "mine").write_text("x")
    (tmp_path / "FILE").write_text("x")
    for folder in ("CUT", "FEWER", "BROKEN"):
        shutil.copytree(exports / "trl-sft", tmp_path / folder)
    (shard,) = (tmp_path / "CUT" / "train").iterdir()
    shard.write_bytes(shard.read_bytes()[:500])
    (shard,) = (tmp_path / "FEWER" / "train").iterdir()
    pq.write_table(pq.read_table(shard).slice(1), shard)
    (tmp_path / "BROKEN" / "shards.json").write_text('{"trainer": "trl-sft"')
    places = {"TINY": tiny} | {path.name: str(path) for path in [*tmp_path.iterdir(), *exports.iterdir()]}
    argv = [places.get(str(word), str(word)) for word in words]
    before = sorted(tmp_path.rglob("*"))
    assert recipe.main(RECIPES[name].RECIPE, RECIPES[name].PARSER, argv) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_of_other_settings_is_not_gone_on_with(tmp_path: Path) -> None:
    words: list[object] = ["--out", tmp_path / "out", "--max-steps", 1]
    run("sft", *words)
    for other, said in (
        (["--resume", "--seed", 1], "was begun with seed 0, and now it is 1"),
        (["--resume", "--learning-rate", 0.5], "was begun with learning_rate 0.001, and now it is 0.5"),
        ([], "go on with --resume"),
    ):
        with pytest.raises(UsageError, match=said):
            run("sft", *words, *other)
    with pytest.raises(UsageError, match=r"is a run of sft\.py"):
        run("dpo", *words, "--resume")
    (tmp_path / "out" / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"run\.json is damaged"):
        run("sft", *words, "--resume")
    assert run("sft", *words, "--overwrite")["steps"] == 1


@pytest.mark.parametrize("name", list(RECIPES))
def test_help_has_an_example_and_needs_nothing(name: str) -> None:
    text = RECIPES[name].PARSER.format_help()
    assert f"python docs/recipes/{name}.py" in text
    if name == "grpo":
        assert "where --model, --store or --data is named" in " ".join(text.split())
    for option in ("--store", "--data", "--model", "--out", "--preset", "--seed", "--resume", "--json"):
        assert option in text


# In each rank, as the last that runs before the interpreter ends: the threads of gloo that are left, in a file of the
# rank's own, since what two ranks print may be mixed.
AT_THE_END = """
import atexit, os, time
from contextlib import suppress
from pathlib import Path
def left():
    found = 0
    for comm in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):
            found += comm.read_text().startswith("pt_gloo")
    return found
def tell():
    for _ in range(100):  # the system lists a thread for a moment after it was joined
        if left():
            time.sleep(0.1)
    Path(f"left-{os.environ['RANK']}").write_text(str(left()))
if "RANK" in os.environ:
    atexit.register(tell)
"""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.mark.parametrize("name", ["dpo", "reward"])
def test_two_ranks_train_on_shards_of_their_own(name: str, tmp_path: Path) -> None:
    """And end their group of processes: a thread of it that comes to Python too late aborts a rank, now and then."""
    (tmp_path / "sitecustomize.py").write_text(AT_THE_END)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    words = ("--max-steps", 4, "--out", "out", "--log-rows", "--save-steps", 2)
    done = process(name, *words, launch=TORCHRUN, cwd=tmp_path, env={"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("4 steps on") == 1
    assert [(tmp_path / f"left-{rank}").read_text() for rank in range(2)] == ["0", "0"]
    logs = [(tmp_path / "out" / f"rows-{rank}.jsonl").read_text().splitlines() for rank in range(2)]
    one, other = ({row for line in log for row in json.loads(line)["rows"]} for log in logs)
    assert len(one) > 20
    assert one.isdisjoint(other)
    assert {"rng_state_0.pth", "rng_state_1.pth", "files.json"} <= {
        path.name for path in (tmp_path / "out" / "checkpoint-4").iterdir()
    }


def test_the_configs_of_accelerate_are_read_by_it() -> None:
    for name, kind in (("ddp", "MULTI_GPU"), ("fsdp", "FSDP")):
        found = load_config_from_file(str(FOLDER / f"{name}.yaml"))
        assert (found.distributed_type.value, found.num_processes, found.mixed_precision) == (kind, 8, "bf16")
    assert found.fsdp_config["fsdp_version"] == 2
    assert found.fsdp_config["fsdp_state_dict_type"] == "FULL_STATE_DICT"


def test_a_model_in_parts_trains_and_is_whole_at_the_end(tmp_path: Path) -> None:
    """fsdp.yaml, of which only the machine is another: two ranks on a CPU."""
    config = yaml.safe_load((FOLDER / "fsdp.yaml").read_text())
    config |= {"num_processes": 2, "use_cpu": True, "mixed_precision": "no"}
    (tmp_path / "fsdp.yaml").write_text(yaml.safe_dump(config))
    launch = ("-m", "accelerate.commands.launch", "--config_file", str(tmp_path / "fsdp.yaml"))
    words = ("--max-steps", 4, "--out", tmp_path / "out", "--save-steps", 2)
    done = process("dpo", *words, launch=launch, cwd=tmp_path, env={"ACCELERATE_USE_CPU": "1"})
    assert done.returncode == 0, done.stderr
    before, after = (load_file(tmp_path / "out" / name) for name in ("base/model.safetensors", "model.safetensors"))
    assert {name: value.shape for name, value in before.items()} == {name: value.shape for name, value in after.items()}
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_shards_of_an_export_go_to_the_readers_they_were_cut_for(tiny: str, tmp_path: Path) -> None:
    export_store(BUNDLED, tmp_path / "rows", ExportConfig("trl-dpo", order=ShardConfig(workers=2)))
    told = run("dpo", "--data", tmp_path / "rows", "--workers", 2, "--max-steps", 2, "--model", tiny)
    assert told["steps"] == 2
