"""Reward models of transformers, made on the spot, scored as transformers alone would one by one.

Run by `make test-train`; `make test` does not collect this file.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import run
from make import make_rows, make_store
from reward_server import TEMPLATE
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
)

from coig_p.errors import DataError, RemoteError, UsageError
from coig_p.reward.batching import score_all
from coig_p.reward.bench.form import read_bench
from coig_p.reward.bench.results import read_results
from coig_p.reward.local_model import LocalModel, ModelConfig
from coig_p.reward.opening import FAULTS, OFFICIAL, ScorerConfig, open_scorer
from coig_p.reward.scorer import EMPTY, NOT_FINITE, REFUSED, TOO_LONG, Asked, Scored
from coig_p.reward.templates import ids_of, read_template, text_of

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "recipes"))
from tiny import make_tiny  # noqa: E402

torch.set_num_threads(1)
ASKED = [
    Asked(
        (*([{"role": "system", "content": "请简短。"}] if at % 3 else []), {"role": "user", "content": "问" * at}),
        f"答案{at}，" * (at % 7),
    )
    for at in range(1, 30)
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "crm"
    make_tiny(folder, [turn["content"] for one in ASKED for turn in one.conversation] * 3, reward=True)
    return folder


def copied(tiny: Path, folder: Path, **config: Any) -> Path:
    """The same model with other fields in its config; None takes one away."""
    shutil.copytree(tiny, folder)
    told = json.loads((folder / "config.json").read_text(encoding="utf-8")) | config
    told = {name: value for name, value in told.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(told), encoding="utf-8")
    return folder


def one_by_one(folder: Path, asked: list[Asked], strip: bool = True, **options: Any) -> list[float]:
    """As a few lines with transformers do it: no batch, so no padding."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, **options)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for one in asked:
        text = tokenizer.apply_chat_template(one.conversation, tokenize=False)
        ids = tokenizer(text.rstrip("\n") if strip else text, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            found.append(model(**ids).logits.item())
    return found


def rewards(found: list[Scored]) -> list[float]:
    return [one.reward for one in found if one.reward is not None]


@pytest.mark.parametrize("tokens", [1, 64, 100_000])
def test_rewards_are_those_of_transformers_one_by_one(tiny: Path, tokens: int) -> None:
    scorer = LocalModel(str(tiny))
    found = score_all(scorer, ASKED, tokens_per_batch=tokens)
    assert rewards(found) == pytest.approx(one_by_one(tiny, ASKED), abs=2e-6)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    assert [one.tokens for one in found] == [len(ids_of(tokenizer, one.conversation)) for one in ASKED]
    assert len(set(rewards(found))) == len(ASKED)


def test_the_last_token_is_found_by_the_mask_where_padding_ends_turns_too(tiny: Path, tmp_path: Path) -> None:
    """transformers looks for the last token that is no padding: there, the one before the mark that ends a turn."""
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    folder = copied(tiny, tmp_path / "eos", pad_token_id=tokenizer.eos_token_id)
    scorer = LocalModel(str(folder))
    scorer.tokenizer.pad_token = tokenizer.eos_token
    together = score_all(scorer, ASKED)
    assert rewards(together) == pytest.approx(one_by_one(tiny, ASKED), abs=2e-6)
    assert abs(rewards(together)[0] - one_by_one(folder, ASKED[:1])[0]) > 1e-4  # what transformers makes of it


def test_a_model_without_any_padding_token(tiny: Path, tmp_path: Path) -> None:
    folder = copied(tiny, tmp_path / "none", pad_token_id=None)
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    del config["pad_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    found = score_all(LocalModel(str(folder)), ASKED)
    assert rewards(found) == pytest.approx(one_by_one(tiny, ASKED), abs=2e-6)


def test_a_head_in_float32_tells_more_apart_than_one_in_bfloat16(tiny: Path) -> None:
    exact = LocalModel(str(tiny), ModelConfig(dtype="bfloat16"))
    rough = LocalModel(str(tiny), ModelConfig(dtype="bfloat16", head="body"))
    assert exact.model.score.weight.dtype == torch.float32
    assert exact.model.model.embed_tokens.weight.dtype == rough.model.score.weight.dtype == torch.bfloat16
    asked = [Asked(({"role": "user", "content": f"问{at}"},), "答" * (at % 40)) for at in range(120)]
    one, other = (rewards(scorer.score(asked)) for scorer in (exact, rough))
    assert len(set(one)) > 1.5 * len(set(other))
    assert one == pytest.approx(one_by_one(tiny, asked), abs=0.01)
    assert (exact.describe()["dtype"], exact.describe()["head"]) == ("bfloat16", "float32")


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("llama", {}),
        ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}),
        ("gemma2", {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16, "attn_logit_softcapping": 0.01}),
    ],
)
def test_decoders_of_other_families(tiny: Path, tmp_path: Path, kind: str, own: dict[str, Any]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), num_labels=1, pad_token_id=tokenizer.pad_token_id,
        **({} if kind == "gpt2" else {**small, "num_key_value_heads": 2, "max_position_embeddings": 512}), **own,
    )  # fmt: skip
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    # In the plain way to attend, which knows the cap of Gemma's attention.
    wanted = one_by_one(tmp_path, ASKED, attn_implementation="eager")
    assert rewards(score_all(LocalModel(str(tmp_path)), ASKED)) == pytest.approx(wanted, abs=2e-6)


def test_a_model_that_cannot_be_run_is_said(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = LocalModel(str(tiny), ModelConfig(dtype="bfloat16"))
    monkeypatch.setattr(scorer.model.model, "forward", lambda **_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(DataError, match=r"cannot be run: RuntimeError: .*: try dtype float32"):
        scorer.score(ASKED)


def test_an_encoder_is_read_by_its_own_head(tiny: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=512, num_labels=1, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    found = score_all(LocalModel(str(tmp_path / "bert")), ASKED)
    assert rewards(found) == pytest.approx(one_by_one(tmp_path / "bert", ASKED), abs=2e-6)
    half = LocalModel(str(tmp_path / "bert"), ModelConfig(dtype="bfloat16"))
    assert rewards(half.score(ASKED)) == pytest.approx(rewards(found), abs=0.02)
    assert half.model.classifier.weight.dtype == torch.float32


def test_missing_weights_are_an_error(tiny: Path, tmp_path: Path) -> None:
    """transformers draws them at random, and says so in a warning."""
    weights = load_file(tiny / "model.safetensors")
    for name, kept, words in (
        ("headless", {key: one for key, one in weights.items() if key != "score.weight"}, r"missing: score\.weight\."),
        ("bodiless", {key: one for key, one in weights.items() if "layers.1" not in key}, r"missing: .* and \d+ more"),
        ("wide", {**weights, "score.weight": torch.zeros(1, 7)}, r"of another shape: score\.weight"),
        ("renamed", {key.replace("score.", "v_head."): one for key, one in weights.items()}, r"missing: score\.weight"),
    ):
        folder = copied(tiny, tmp_path / name)
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(DataError, match=words) as told:
            LocalModel(str(folder))
        assert str(told.value).startswith(str(folder))
    cut = copied(tiny, tmp_path / "cut")
    (cut / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be loaded"):
        LocalModel(str(cut))
    language = make_tiny(tmp_path / "language", ["问答"], reward=False)
    with pytest.raises(DataError, match=r"missing: score\.weight"):
        LocalModel(language)


def test_what_is_no_reward_model(tiny: Path, tmp_path: Path) -> None:
    two = {"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}
    with pytest.raises(UsageError, match="has 2 labels, and a reward model has one"):
        LocalModel(str(copied(tiny, tmp_path / "two", **two)))
    with pytest.raises(DataError, match="cannot be loaded"):
        LocalModel(str(copied(tiny, tmp_path / "unknown", model_type="no-such-model", architectures=["No"])))
    own = copied(tiny, tmp_path / "own", model_type="ours", auto_map={"AutoConfig": "code.Config"})
    (own / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    with pytest.raises(DataError, match="it needs code of its own repository, which is never run"):
        LocalModel(str(own))
    assert not (tmp_path / "ran").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be loaded"):
        LocalModel(str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="no such folder"):
        LocalModel(str(tmp_path / "none"))
    with pytest.raises(RemoteError, match="is no folder here, and cannot be had from the Hub"):
        LocalModel("org/none")


def test_what_is_too_long_is_counted_or_cut_at_its_beginning(tiny: Path) -> None:
    whole = LocalModel(str(tiny)).score(ASKED)
    most = sorted(one.tokens or 0 for one in whole)[len(whole) // 2]
    counted = score_all(LocalModel(str(tiny), ModelConfig(max_length=most)), ASKED)
    for one, all_of_it in zip(counted, whole, strict=True):
        too_long = (all_of_it.tokens or 0) > most
        assert (one.reason, one.reward is None, one.tokens) == (
            TOO_LONG if too_long else None,
            too_long,
            all_of_it.tokens,
        )
    cut = score_all(LocalModel(str(tiny), ModelConfig(max_length=most, truncate="left")), ASKED)
    assert [one.truncated for one in cut] == [one.reason == TOO_LONG for one in counted]
    assert None not in [one.reward for one in cut]
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    ids = ids_of(tokenizer, ASKED[-1].conversation)[-most:]
    assert cut[-1].reward == pytest.approx(model(torch.tensor([ids])).logits.item(), abs=2e-6)
    assert LocalModel(str(tiny)).max_length == 1024  # what the model has places for
    with pytest.raises(UsageError, match=r"max_length=2,000: .* reads 1,024 tokens at most"):
        LocalModel(str(tiny), ModelConfig(max_length=2000))


def test_what_a_template_or_a_model_makes_nothing_of(tiny: Path, tmp_path: Path) -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    (tmp_path / "t.jinja").write_text(refusing + "{{ messages[-1].content }}", encoding="utf-8")
    scorer = LocalModel(str(tiny), ModelConfig(template=str(tmp_path / "t.jinja")))
    turns = ({"role": "user", "content": "问"},)
    system = ({"role": "system", "content": "简"}, *turns)
    found = score_all(scorer, [Asked(system, "答"), Asked(turns, ""), Asked(turns, "答")])
    assert [one.reason for one in found] == [REFUSED, EMPTY, None]
    with torch.no_grad():
        scorer.model.score.weight.fill_(float("inf"))
    assert scorer.score([Asked(turns, "答")])[0].reason == NOT_FINITE
    grown = copied(tiny, tmp_path / "grown")
    tokenizer = AutoTokenizer.from_pretrained(grown)
    tokenizer.add_tokens(["珊瑚"])
    tokenizer.save_pretrained(grown)
    with pytest.raises(DataError, match=r"its tokenizer writes token (\d+), and the model knows \d+: they are not of"):
        LocalModel(str(grown)).score([Asked(turns, "珊瑚")])
    bare = copied(tiny, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(UsageError, match="has no chat template: name a file that has one with --template"):
        LocalModel(str(bare))


def test_templates_are_the_same_with_and_without_transformers(tiny: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    for text in (
        tokenizer.chat_template,
        TEMPLATE,
        "{{ eos_token }}{%- for m in messages -%}\n  {% if not loop.last %}{{ m | tojson }}{% else %}\n{% generation %}"
        "{{ m['content'] | trim }}{% endgeneration %}{% endif %}\n\n{%- endfor %}{{ date_string }}\n\n",
        "{% for m in messages %}{{ bos_token if loop.first }}{{ m.content.strip() }}\n{% break %}{% endfor %}",
    ):
        tokenizer.chat_template = text
        tokenizer.save_pretrained(tmp_path)
        template = read_template(tmp_path)
        assert template.text == text
        for one in ASKED:
            assert template.renderer()(one.conversation) == text_of(tokenizer, one.conversation)


def test_what_it_is(tiny: Path, tmp_path: Path) -> None:
    one, same = LocalModel(str(tiny)).describe(), LocalModel(str(copied(tiny, tmp_path / "crm"))).describe()
    assert one == same
    assert (one["kind"], one["name"], one["revision"], one["dtype"]) == ("model", "crm", None, "float32")
    other = copied(tiny, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    save_file({**weights, "score.weight": weights["score.weight"] + 1}, other / "model.safetensors", {"format": "pt"})
    assert LocalModel(str(other)).describe()["sha256"] != one["sha256"]
    (tmp_path / "t.jinja").write_text(TEMPLATE, encoding="utf-8")
    told = LocalModel(str(tiny), ModelConfig(template=str(tmp_path / "t.jinja"))).describe()
    assert told["template_sha256"] != one["template_sha256"]


def test_devices(tiny: Path) -> None:
    with pytest.raises(UsageError, match="device='gpu': use auto, cpu, or cuda"):
        LocalModel(str(tiny), ModelConfig(device="gpu"))
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="there is no such GPU here"):
            LocalModel(str(tiny), ModelConfig(device="cuda:1"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    make_store(folder / "store", make_rows({"math": 8, "chat": 4}))
    run("bench", "convert", "--from", "pairs", folder / "store", "--out", folder / "b")
    return folder / "b"


def test_a_benchmark_is_run(tiny: Path, bench: Path, tmp_path: Path) -> None:
    done = run(
        "bench", "run", bench, "--model", tiny, "--out", tmp_path / "r", "--max-length", 64, "--truncate", "left"
    )
    assert f"wrote {tmp_path / 'r'}: crm on {len(read_bench(bench).items)} items" in done.stdout
    found = read_results(tmp_path / "r")
    asked = [Asked(tuple(item.messages), one.text) for item in read_bench(bench).items for one in item.responses]
    said = [reward for one in found.results for reward in one.rewards or ()]
    cut = LocalModel(str(tiny), ModelConfig(max_length=64, truncate="left")).score(asked)
    assert said == pytest.approx(rewards(cut), abs=2e-6)
    assert found.scorer["truncated"] == sum(one.truncated for one in cut) > 0
    done = run("bench", "run", bench, "--model", tiny, "--out", tmp_path / "s", "--max-length", 64)
    assert f"not scored, too-long: {found.scorer['truncated']} responses of {len(asked)}" in done.stdout


def test_as_a_benchmarks_own_code_does(tiny: Path, bench: Path, tmp_path: Path) -> None:
    done = run("bench", "run", bench, "--model", tiny, "--out", tmp_path / "r", "--official", code=2)
    assert "official: pairs has no way of its own with reward models. Leave it out." in done.stderr
    shutil.copytree(bench, tmp_path / "b")
    told = json.loads((tmp_path / "b" / "bench.json").read_text(encoding="utf-8")) | {"preset": "crbench"}
    (tmp_path / "b" / "bench.json").write_text(json.dumps(told), encoding="utf-8")
    newline = copied(tiny, tmp_path / "crm")
    template = (newline / "chat_template.jinja").read_text(encoding="utf-8")
    (newline / "chat_template.jinja").write_text(template + "{{ '\\n' }}", encoding="utf-8")
    done = run("bench", "run", tmp_path / "b", "--model", newline, "--out", tmp_path / "r", "--official")
    for fault in OFFICIAL["crbench"]:
        assert f"as its own code does: {FAULTS[fault]}" in done.stdout
    found = read_results(tmp_path / "r")
    asked = [Asked(tuple(item.messages), one.text) for item in read_bench(bench).items for one in item.responses]
    said = [reward for one in found.results for reward in one.rewards or ()]
    assert said == one_by_one(newline, asked, strip=False)
    assert found.options["official"] == {"faults": ["head-of-body", "newline-read"], "not_repeated": []}
    official = open_scorer(ScorerConfig(model=str(tiny), device="cpu"), official="rewardbench")
    assert isinstance(official, LocalModel)
    assert (official.max_length, official.config.truncate, official.head) == (1024, "right", None)
    with pytest.raises(UsageError, match="max_length=9 beside official, which says it"):
        open_scorer(ScorerConfig(model=str(tiny), max_length=9), official="rewardbench")


def test_where_memory_is_short_a_batch_is_halved(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = LocalModel(str(tiny))
    forward, most = scorer._forward, 3

    def little(rows: Any) -> list[float]:
        if len(rows) > most:
            raise torch.OutOfMemoryError("no room")
        return forward(rows)

    monkeypatch.setattr(scorer, "_forward", little)
    assert rewards(scorer.score(ASKED)) == pytest.approx(one_by_one(tiny, ASKED), abs=2e-6)
    most = 0
    with pytest.raises(UsageError, match=r"tokens need more memory than cpu has: lower max_length, or choose another"):
        scorer.score(ASKED)


def test_what_was_read_for_its_length_is_not_read_again(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = LocalModel(str(tiny))
    wanted = score_all(scorer, ASKED)
    assert (scorer._kept, scorer._room) == ({}, 50_000_000)
    for room in (0, 100):
        scorer._room = room
        assert score_all(scorer, ASKED) == wanted
        assert (scorer._kept, scorer._room) == ({}, room)
