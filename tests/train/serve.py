"""A run against `transformers serve`: a tiny model, trained here, under 15 names of which 8 judge.

The model learns two things by heart: to answer with a sign of its name and a word of quality, and to
give a score that fits the word in a response. The server is the real one, and nothing is downloaded.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from annotating import SUBJECTS, check_accounts, endpoint, rows_of, write_run
from serving_model import serving

for _module in ("torch", "transformers", "uvicorn", "fastapi", "aiohttp"):
    pytest.importorskip(_module, reason=f"needs tests/train/requirements.txt: no {_module}")

from coig_p.annotate.prompts import parse_prompt  # noqa: E402
from coig_p.annotate.stages import exit_code, run_stages  # noqa: E402
from coig_p.annotate.tasks.judge import drawn_judges  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # the server's packages warn; that is not ours to fix

NAMES = "子丑寅卯辰巳午未申酉戌亥乾坤艮"
SCORES = {"优": 9, "良": 7, "中": 5, "差": 3, "劣": 1}
TEMPLATE = "请评分。\n{{query}}\n{{response}}\n分数在方括号里。\n"
QUERIES = 60


def response(name: str) -> str:
    return f"{name}答：{list(SCORES)[NAMES.index(name) % len(SCORES)]}。"


def query(at: int) -> str:
    return f"第{at}问：{SUBJECTS[at % len(SUBJECTS)]}有什么讲究？"


def examples(rng: random.Random) -> list[dict[str, str]]:
    """Every pair of prompt and answer once, as chat messages without their tags."""
    judging = parse_prompt(TEMPLATE, ("query", "response"), "template")
    found = []
    for name in NAMES:
        answer = response(name)
        found.append({"system": f"你是{name}。", "user": query(rng.randrange(QUERIES)), "assistant": answer})
        asked = judging.fill({"query": query(rng.randrange(QUERIES)), "response": answer})
        found.append({"system": "", "user": asked, "assistant": f"[{SCORES[answer[3]]}]"})
    return found


CHAT = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def train(folder: Path) -> None:
    """Train a two-layer model of characters until it knows its lines, and save it."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    torch.set_num_threads(1)  # the model is too small for more
    rng = random.Random(0)
    special = ["<pad>", "<unk>", "<end>", "<system>", "<user>", "<assistant>"]
    texts = [text for _ in range(40) for one in examples(rng) for text in one.values()]
    characters = sorted(set("".join(texts)) | set("0123456789abcdef"))
    vocabulary = {token: at for at, token in enumerate([*special, *characters])}
    bare = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    bare.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    bare.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare, pad_token="<pad>", unk_token="<unk>", eos_token="<end>", chat_template=CHAT
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<system>", "<user>", "<assistant>"]})
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        eos_token_id=vocabulary["<end>"],
        pad_token_id=vocabulary["<pad>"],
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(400):
        batch = []
        for one in rng.sample(examples(rng), 16):
            system = f"<system>{one['system']}<end>" if one["system"] else ""
            prompt = tokenizer(f"{system}<user>{one['user']}<end><assistant>")["input_ids"]
            answer = tokenizer(f"{one['assistant']}<end>")["input_ids"]
            batch.append((prompt + answer, [-100] * len(prompt) + answer))
        longest = max(len(ids) for ids, _ in batch)
        ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in batch])
        labels = torch.tensor([labels + [-100] * (longest - len(labels)) for _, labels in batch])
        loss = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.01:
            break
    assert loss.item() < 0.1, f"the tiny model has not learnt its lines: loss {loss.item():.3f}"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The server's URL, and what it calls the one model that it serves."""
    folder = tmp_path_factory.mktemp("model")
    train(folder)
    with serving(folder) as url:
        yield url, str(folder)


def test_sixty_queries_fifteen_models_and_eight_judges(served: tuple[str, str], tmp_path: Path, cache: str) -> None:
    from datasets import load_dataset

    (tmp_path / "short.md").write_text(TEMPLATE, encoding="utf-8")
    with (tmp_path / "queries.jsonl").open("w", encoding="utf-8") as stream:
        for at in range(QUERIES):
            stream.write(f'{{"query_id": "q-{at:02d}", "domain": "chat", "query": "{query(at)}"}}\n')
    greedy: dict[str, Any] = {"max_tokens": 16, "temperature": 0.0}
    endpoints = [
        endpoint(
            f"alias-{at:02d}",
            served[0],
            model=served[1],
            system=f"你是{name}。",
            judges=at < 8,
            concurrency=2,
            parameters=greedy,
            judge_parameters=greedy,
        )
        for at, name in enumerate(NAMES)
    ]
    tables: dict[str, Any] = {"judging": {"judges_per_response": 1}, "domains.chat": {"prompt": "short.md"}}
    config = write_run(tmp_path, endpoints, **tables)
    report = run_stages(config)
    assert exit_code(report) == 0, report
    found = check_accounts(config)
    rows = rows_of(config)
    assert (len(rows), sum(len(row["responses"]) for row in rows)) == (QUERIES, QUERIES * 15)
    family = {one.name: one.family for one in config.endpoints}
    right = scores = 0
    for row in rows:
        for name, answer in zip(NAMES, row["responses"], strict=True):
            judges = [score["judge"] for score in answer["scores"]]
            assert set(judges) <= set(drawn_judges(config, row["query_id"], answer["model"]))
            assert all(family[judge] != family[answer["model"]] for judge in judges)
            right += answer["text"] == response(name)
            scores += len(judges)
    invalid = sum(one["invalid"] for one in found["endpoints"].values())
    print(f"{right} of {QUERIES * 15} responses as learnt, {scores} scores, {invalid} unusable answers")
    assert right > 0.9 * QUERIES * 15
    assert scores > 0.9 * QUERIES * 15
    sent = sum(report.sent.values())
    assert run_stages(config).sent == {}
    assert sent == sum(one["sent"] for one in found["endpoints"].values())
    pairs = load_dataset("coig-p", "chat", data_dir=str(config.folder / "store"), cache_dir=cache, split="train")
    assert pairs.num_rows > 1000
