"""Reward models are trained: the gradient is the formulas', a planted rule is learnt, and a stop changes no weight.

Run by `make test-train` in an environment of its own; `make test` does not collect this file.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import run
from make import make_store
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from coig_p.errors import DataError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.reward import passes
from coig_p.reward import trainer as trainers
from coig_p.reward.batching import score_all
from coig_p.reward.bench.form import Item, Response
from coig_p.reward.bench.from_store import select_items
from coig_p.reward.losses import GAUSS, LOSSES, TAP, Loss
from coig_p.reward.made import MADE, TrainedModel, read_trained
from coig_p.reward.opening import ScorerConfig, open_scorer
from coig_p.reward.scorer import Asked
from coig_p.reward.steps import PAIR, QUERY, steps_of
from coig_p.reward.tokens import Tokenized, tokenized
from coig_p.reward.trainer import StepData
from coig_p.reward.training import LOG, UNFINISHED, train_transformer
from coig_p.reward.training_config import TrainConfig
from coig_p.reward.training_pairs import read_training_pairs
from coig_p.reward.transformer import LANGUAGE_MODEL, RewardModel, load_base, load_tokenizer, padded
from coig_p.store.store import Store

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "recipes"))
from tiny import make_tiny  # noqa: E402

torch.set_num_threads(1)  # matrices this small are slower on several

WORDS = "好是的不在有我他这中大来上国个到说们天地人和春夏秋冬山水火土金木日月"
RIGHT, WRONG = "所以答案成立", "所以答案不成立"
FAST = {"learning_rate": 3e-3, "batch_pairs": 32, "epochs": 2, "held_out": 0.2, "save_every": 0, "device": "cpu"}


def planted(folder: Path, queries: int, *, random_labels: bool = False) -> Path:
    """Queries with four responses; the better ones end in one sentence, the worse in another, unless by chance."""
    rng = random.Random(queries)

    def words(least: int, most: int) -> str:
        return "".join(rng.choice(WORDS) for _ in range(rng.randint(least, most)))

    rows = []
    for at in range(queries):
        responses = []
        for model in range(4):
            good = (model + at) % 2 == 0
            score = float(rng.randint(0, 9)) if random_labels else 9.0 * good
            scores = [{"judge": "j", "dimension": "overall", "score": score}]
            text = f"{words(4, 16)}，{RIGHT if good else WRONG}。"
            responses.append({"model": f"m{rng.randint(0, 4)}", "sample": model, "text": text, "scores": scores})
        rows.append({"query_id": f"q{at}", "domain": "chat", "query": f"{words(12, 20)}{at}？", "responses": responses})
    return make_store(folder, rows)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted(tmp_path_factory.mktemp("planted") / "store", 240)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny", [WORDS, RIGHT, WRONG] * 3)


@pytest.fixture(scope="module")
def trained(store: Path, tiny: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainedModel]:
    out = tmp_path_factory.mktemp("trained") / "model"
    found = train_transformer(store, out, tiny, config=TrainConfig(**FAST))
    assert found is not None
    return out, found


def items(number: int, responses: int = 5) -> list[Item]:
    rng = random.Random(7)
    found = []
    for at in range(number):
        texts = ["".join(rng.choice(WORDS) for _ in range(rng.randint(1, 30))) for _ in range(responses)]
        pairs = [(f"r{one}", f"r{other}") for one in range(responses) for other in range(responses) if one < other]
        given = tuple(Response(f"r{place}", text) for place, text in enumerate(texts))
        found.append(Item(f"q{at}", "chat", f"第{at}题？", given, pairs=tuple(rng.sample(pairs, 7))))
    return found


def gradient(model: RewardModel, found: Tokenized, batch: str, loss: Loss, tokens: int) -> list[torch.Tensor]:
    """Of one step of all pairs, as the trainer takes it."""
    (step,) = steps_of(found.pairs, batch, 10**6, tokens, 0, 0)
    data = StepData([step], found.tokens, 0, loss)[0]
    assert len(data["forwards"]) > 1
    model.zero_grad()
    for one in data["forwards"]:
        (passes.summed_loss(model, one, loss)[0] / data["pairs"]).backward()
    return [part.grad.clone() for part in model.parameters() if part.grad is not None]


def by_formula(model: RewardModel, found: Tokenized, loss: Loss) -> list[torch.Tensor]:
    """Pair by pair, each response alone, through transformers' own classifier and language model."""
    total = torch.zeros((), dtype=torch.float64)
    for better, worse in zip(found.pairs.chosen.tolist(), found.pairs.rejected.tolist(), strict=True):
        ids = [torch.tensor(found.tokens.of(at)[None].astype(np.int64)) for at in (better, worse)]
        chosen, rejected = (model.classifier(input_ids=one).logits.squeeze() for one in ids)
        total = total - torch.log(torch.sigmoid(chosen - rejected))
        for reward in (chosen, rejected):
            if loss.name == TAP:
                total = total + loss.weight * torch.clamp(reward.abs() - loss.limit, min=0) ** 2
            if loss.name == GAUSS:
                total = total + loss.weight * reward**2 / 2
        if loss.lm_weight:
            states = model.body(input_ids=ids[0]).last_hidden_state[0]
            spoken = torch.log_softmax(states @ model.body.get_input_embeddings().weight.T, -1)
            begin, end = int(found.tokens.begins[better]), ids[0].shape[1]
            surprise = [-spoken[at - 1, ids[0][0, at]] for at in range(begin, end)]
            total = total + loss.lm_weight * torch.stack(surprise).mean()
    model.zero_grad()
    (total / len(found.pairs)).backward()
    return [part.grad.clone() for part in model.parameters() if part.grad is not None]


@pytest.mark.parametrize("lm_weight", [0.0, 0.3])
@pytest.mark.parametrize("name", LOSSES)
def test_queries_and_pairs_have_the_gradient_of_the_formula(tiny: str, name: str, lm_weight: float) -> None:
    tokenizer = load_tokenizer(tiny)
    model, new = load_base(tiny, tokenizer, language_model=lm_weight > 0)
    assert new
    model.double()
    model.classifier.score.weight.data *= 200  # rewards of both signs, some beyond the limit
    found = tokenized(items(4), tokenizer, 500, with_begins=lm_weight > 0)
    loss = Loss.of(name, limit=1.0 if name == TAP else None, lm_weight=lm_weight)
    wanted = by_formula(model, found, loss)
    largest = max(float(part.abs().max()) for part in wanted)
    assert largest > 1e-3
    for batch in (PAIR, QUERY):
        parts = gradient(model, found, batch, loss, 400)
        for one, other in zip(parts, wanted, strict=True):
            # Norms and softmax are in float32 whatever the model is; tests/reward has one that is not.
            torch.testing.assert_close(one, other, rtol=0, atol=3e-6 * largest)


def test_a_response_begins_where_it_does(tiny: str) -> None:
    tokenizer = load_tokenizer(tiny)
    some = items(3)
    found = tokenized(some, tokenizer, 500, with_begins=True)
    texts = [one.text for item in some for one in item.responses]
    for at, text in enumerate(texts):
        said = tokenizer.decode(found.tokens.of(at)[found.tokens.begins[at] :])
        assert said == f"{text}<|end|>"


def test_a_planted_rule_is_learnt(trained: tuple[Path, TrainedModel]) -> None:
    """From .95 on; and the first loss is that of no knowledge, where a margin of 9 points in it would make it 9."""
    _, found = trained
    assert found.held_out is not None
    assert found.held_out.model.queries > 30
    assert found.held_out.model.accuracy is not None
    assert found.held_out.model.accuracy >= 0.95
    assert found.training["data"]["pairs"] + found.held_out.model.pairs == 240 * 4
    log = [json.loads(line) for line in (trained[0] / LOG).read_text("utf-8").splitlines()]
    assert log[0]["loss"] == pytest.approx(0.69, abs=0.05)
    assert len(log) == found.training["steps"]


def held_out(store: Path) -> list[Item]:
    opened = Store.open(store)
    taken = read_training_pairs(opened, *select_items(opened, PairConfig(), (), None))
    return [item for item in taken.items if taken.part_of(item.id, 1000, 0) < 200]


def share_right(some: list[Item], rewards: dict[tuple[str, str], float]) -> tuple[int, float]:
    right = [rewards[item.id, one] > rewards[item.id, other] for item in some for one, other in item.pairs or ()]
    return len(right), sum(right) / len(right)


def test_what_is_saved_is_a_model_of_transformers_with_the_accuracy_that_it_says(
    trained: tuple[Path, TrainedModel], store: Path
) -> None:
    out, found = trained
    assert read_trained(out) == found
    tokenizer, model = AutoTokenizer.from_pretrained(out), AutoModelForSequenceClassification.from_pretrained(out)
    rewards = {}
    for item in held_out(store):
        for one in item.responses:
            turns = [*item.messages, {"role": "assistant", "content": one.text}]
            ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)["input_ids"]
            rewards[item.id, one.id] = model(input_ids=ids).logits.item()
    assert found.held_out is not None
    said = found.held_out.model
    assert share_right(held_out(store), rewards) == (said.pairs, said.accuracy)
    assert not out.with_name(out.name + UNFINISHED).exists()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_scorer_gives_the_rewards_that_were_measured(dtype: str, tiny: str, store: Path, tmp_path: Path) -> None:
    """From the folder alone, and with what is near a tie: after two steps most rewards are."""
    config = TrainConfig(**FAST | {"max_steps": 2, "dtype": dtype})
    found = train_transformer(store, tmp_path / "out", tiny, config=config)
    assert found is not None
    assert found.held_out is not None
    scorer = open_scorer(ScorerConfig(model=str(tmp_path / "out"), device="cpu", dtype=dtype))
    assert scorer.describe()["template_sha256"] == found.training["template_sha256"]
    asked = [
        (item.id, one.id, Asked(tuple(item.messages), one.text)) for item in held_out(store) for one in item.responses
    ]
    scored = score_all(scorer, [one for _, _, one in asked])
    rewards = {(item, one): said.reward for (item, one, _), said in zip(asked, scored, strict=True)}
    pairs, accuracy = share_right(held_out(store), rewards)  # type: ignore[arg-type]
    assert pairs == found.held_out.model.pairs
    assert accuracy == pytest.approx(found.held_out.model.accuracy, abs=0.01 if dtype == "bfloat16" else 0)
    head = load_file(tmp_path / "out" / "model.safetensors")["score.weight"]
    assert torch.equal(scorer.head.weight, head)  # type: ignore[attr-defined]
    assert not torch.equal(head, head.bfloat16().float())


def test_random_labels_teach_nothing(tiny: str, tmp_path: Path) -> None:
    store = planted(tmp_path / "store", 120, random_labels=True)
    found = train_transformer(store, tmp_path / "out", tiny, config=TrainConfig(**FAST | {"held_out": 0.4}))
    assert found is not None
    assert found.held_out is not None
    model = found.held_out.model
    assert model.low is not None
    assert model.high is not None
    assert model.low < 0.5 < model.high
    assert found.held_out.verdict == "inconclusive"


class Stop(Exception):
    """What a kill is to a process."""


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Training ends after so many steps from now on, half way through the next; None: no longer."""
    whole = trainers.PairTrainer.training_step
    left: list[int | None] = [None]

    def stopped(self: Any, *args: Any, **options: Any) -> Any:
        if left[0] is not None:
            left[0] -= 1
            if left[0] < 0:
                raise Stop
        return whole(self, *args, **options)

    def after(steps: int | None) -> None:
        left[0] = steps

    monkeypatch.setattr(trainers.PairTrainer, "training_step", stopped)
    return after


def whole_model(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("batch", [QUERY, PAIR])
def test_stopped_and_resumed_has_the_same_weights(
    tiny: str, store: Path, tmp_path: Path, batch: str, stopping: Callable[[int | None], None]
) -> None:
    options = FAST | {"max_steps": 9, "save_every": 2, "batch": batch, "lm_weight": 0.1}
    config = TrainConfig(**options)
    train_transformer(store, tmp_path / "whole", tiny, config=config)
    out = tmp_path / "out"
    for steps in (3, 3):  # the last checkpoints are those of steps 2 and 4
        stopping(steps)
        with pytest.raises(Stop):
            train_transformer(store, out, tiny, config=config)
        assert not out.exists()
    # One that was cut short while it was written: its last file is not there, or not whole.
    work = out.with_name(out.name + UNFINISHED)
    shutil.copytree(work / "checkpoint-4", work / "checkpoint-6")
    (work / "checkpoint-6" / "trainer_state.json").write_text('{"global_step": 6')
    stopping(None)
    train_transformer(store, out, tiny, config=config)
    assert whole_model(out) == whole_model(tmp_path / "whole")
    assert not work.exists()


def test_two_processes_take_the_same_steps(tiny: str, store: Path, tmp_path: Path) -> None:
    words = (
        f"reward train {store} --model {tiny} --device cpu --max-steps 4 --batch-pairs 24 --learning-rate 1e-3 "
        f"--forward-tokens 300 --held-out 0.05 --json --out {tmp_path}/"
    )
    one = json.loads(run(*f"{words}one".split()).stdout)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "coig_p"]
    done = subprocess.run(
        [*launch, *f"{words}two".split()],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    two = json.loads(done.stdout)  # of one of them alone
    assert (one["training"]["processes"], two["training"]["processes"]) == (1, 2)
    wanted, found = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5)


def test_another_training_does_not_go_on_where_one_stopped(
    tiny: str, store: Path, tmp_path: Path, stopping: Callable[[int | None], None]
) -> None:
    out = tmp_path / "out"
    config = TrainConfig(**FAST | {"max_steps": 4, "save_every": 1})
    stopping(2)
    with pytest.raises(Stop):
        train_transformer(store, out, tiny, config=config)
    stopping(None)
    with pytest.raises(UsageError, match=r"differs in loss\.name, loss\.weight, training\.epochs"):
        train_transformer(store, out, tiny, config=replace(config, loss="gauss", epochs=3))
    other = planted(tmp_path / "other", 60)
    with pytest.raises(UsageError, match=r"differs in store\.manifest_sha256, store\.name, training\.data"):
        train_transformer(other, out, tiny, config=config)
    again = train_transformer(other, out, tiny, config=config, overwrite=True)
    assert again is not None
    assert again.store["name"] == "other"
    with pytest.raises(UsageError, match="exists: pass --overwrite"):
        train_transformer(store, out, tiny, config=config)
    foreign = tmp_path / "mine"
    (tmp_path / f"mine{UNFINISHED}" / "papers").mkdir(parents=True)
    with pytest.raises(UsageError, match="no training of ours"):
        train_transformer(store, foreign, tiny, config=config)


def test_bfloat16_computes_in_the_body_alone(tiny: str, store: Path, tmp_path: Path) -> None:
    config = TrainConfig(**FAST | {"dtype": "bfloat16", "max_steps": 4, "lm_weight": 0.1})
    found = train_transformer(store, tmp_path / "out", tiny, config=config)
    assert found is not None
    assert found.training["dtype"] == "bfloat16"
    kinds = {name: value.dtype for name, value in load_file(tmp_path / "out" / "model.safetensors").items()}
    assert kinds.pop("score.weight") == torch.float32
    assert set(kinds.values()) == {torch.bfloat16}
    tokenizer = load_tokenizer(tiny)
    model, _ = load_base(tiny, tokenizer)
    ids, mask = padded([np.arange(5, 30)], 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rewards, _ = model(ids, mask)
    assert rewards.dtype == torch.float32
    assert rewards.bfloat16().float().item() != rewards.item()


def test_the_language_model_stays_one(tiny: str, store: Path, tmp_path: Path) -> None:
    found = train_transformer(
        store, tmp_path / "out", tiny, config=TrainConfig(**FAST | {"max_steps": 20, "lm_weight": 1.0})
    )
    assert found is not None
    assert found.loss == {"name": "bt", "lm_weight": 1.0}
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out" / LANGUAGE_MODEL)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "天地？"}, {"role": "assistant", "content": RIGHT}], tokenize=False
    )
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    losses = []
    for folder in (tiny, tmp_path / "out" / LANGUAGE_MODEL):
        model = AutoModelForCausalLM.from_pretrained(folder)
        losses.append(model(input_ids=ids, labels=ids).loss.item())
    assert losses[1] < losses[0] - 0.3
    body = load_file(tmp_path / "out" / "model.safetensors")["model.norm.weight"]
    assert torch.equal(model.model.norm.weight, body)


def test_a_pad_that_ends_turns_is_replaced_and_changes_no_reward(tiny: str, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(tmp_path / "same")
    for path in Path(tiny).glob("*"):
        if not (tmp_path / "same" / path.name).exists():
            shutil.copy(path, tmp_path / "same")
    own = load_tokenizer(str(tmp_path / "same"))
    model, _ = load_base(str(tmp_path / "same"), own)
    assert own.pad_token != own.eos_token
    assert model.classifier.config.pad_token_id == own.pad_token_id
    assert own.pad_token_id < model.body.get_input_embeddings().weight.shape[0]
    found = tokenized(items(2), own, 500)
    every = [found.tokens.of(at) for at in range(len(found.tokens.begins))]
    model.eval()
    with torch.no_grad():
        together = model(*padded(every, own.pad_token_id))[0]
        alone = torch.cat([model(*padded([one], own.pad_token_id))[0] for one in every])
        ids, mask = padded(every, own.pad_token_id)
        library = model.classifier(input_ids=ids, attention_mask=mask)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(together, library.logits[:, 0], rtol=1e-4, atol=1e-6)


def test_pairs_that_are_too_long_are_counted(tiny: str, store: Path, tmp_path: Path) -> None:
    short = TrainConfig(**FAST | {"max_steps": 1, "max_length": 70})
    found = train_transformer(store, tmp_path / "out", tiny, config=short)
    assert found is not None
    data = found.training["data"]
    assert 0 < data["too_long"] < 960
    assert data["pairs"] + data["held_out_pairs"] + data["too_long"] == data["of"]["pairs"] == 960
    assert data["longest"] > 70
    with pytest.raises(UsageError, match="every pair has a response of more than 10 tokens"):
        train_transformer(store, tmp_path / "none", tiny, config=replace(short, max_length=10))


def test_a_reward_model_goes_on_from_its_head(trained: tuple[Path, TrainedModel], store: Path, tmp_path: Path) -> None:
    more = TrainConfig(**FAST | {"max_steps": 1, "learning_rate": 1e-9})
    found = train_transformer(store, tmp_path / "out", str(trained[0]), config=more)
    assert found is not None
    assert found.training["head"] == "kept"
    assert found.held_out is not None
    assert trained[1].held_out is not None
    assert found.held_out.model == trained[1].held_out.model


def test_what_cannot_be_trained_is_refused(tiny: str, store: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(tiny, bare)
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(UsageError, match="no chat template"):
        train_transformer(store, tmp_path / "out", str(bare), config=TrainConfig(**FAST))
    picky = tmp_path / "picky.jinja"
    picky.write_text("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(DataError, match="query_id 'q0': the chat template refuses it: roles must alternate"):
        train_transformer(store, tmp_path / "out", tiny, config=TrainConfig(**FAST, template=picky))
    with pytest.raises(UsageError, match="no such folder, and no name of a model"):
        train_transformer(store, tmp_path / "out", str(tmp_path / "nowhere"), config=TrainConfig(**FAST))
    cut = tmp_path / "cut"
    shutil.copytree(tiny, cut)
    weights = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(DataError, match="cut cannot be loaded"):
        train_transformer(store, tmp_path / "out", str(cut), config=TrainConfig(**FAST))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "cut", "picky.jinja"]


def test_a_loss_that_is_no_number_ends_the_training(
    tiny: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "pair_losses", lambda chosen, rejected, loss: (chosen - rejected) * float("nan"))
    with pytest.raises(DataError, match="step 1: the loss is nan"):
        train_transformer(store, tmp_path / "out", tiny, config=TrainConfig(**FAST))
    assert list(tmp_path.iterdir()) == []


def test_the_command_trains(tiny: str, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    own = ("--preset", "cheems", "--max-steps", "2", "--device", "cpu", "--learning-rate", "1e-3", "--half", "1")
    done = run("reward", "train", store, "--model", tiny, "--out", out, *own)
    assert re.search(r"this model +\d+", done.stdout)
    found = read_trained(out)
    assert (found.half, found.loss, found.training["preset"]) == (1, {"name": "gauss", "weight": 0.1}, "cheems")
    told = json.loads((out / MADE).read_text("utf-8"))
    again = run("reward", "train", store, "--model", tiny, "--out", out, *own, "--overwrite", "--json")
    assert json.loads(again.stdout) == {"model": str(out)} | told
