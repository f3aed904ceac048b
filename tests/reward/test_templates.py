"""Chat templates without transformers: the text, what is refused, and what is no template."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coig_p.errors import DataError, UsageError
from coig_p.reward.templates import ChatTemplate, TemplateRefuses, read_template

TURNS = [{"role": "user", "content": " 问 "}, {"role": "assistant", "content": "答\n"}]
QWEN = (
    "{%- for message in messages %}\n"
    "    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}\n"
    "{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n"
)


def test_the_newline_behind_the_last_mark_is_left_out() -> None:
    render = ChatTemplate(QWEN).renderer()
    assert render(TURNS) == "<|im_start|>user\n 问 <|im_end|>\n<|im_start|>assistant\n答\n<|im_end|>"
    assert render(TURNS[:1], prompt=True) == "<|im_start|>user\n 问 <|im_end|>\n<|im_start|>assistant\n"


def test_special_tokens_are_there_or_left_out() -> None:
    template = ChatTemplate(
        "{{ bos_token }}{{ messages[0].content | trim }}{{ eos_token }}", {"bos_token": "<s>", "eos_token": "</s>"}
    )
    assert template.renderer()(TURNS) == "<s>问</s>"
    assert template.renderer(("bos_token",))(TURNS) == "问</s>"
    assert ChatTemplate(template.text).renderer()(TURNS) == "问"


def test_a_day_is_always_the_same_one() -> None:
    text = "{{ strftime_now('%d %m %Y') }} {% if date_string is defined %}{{ date_string }}{% endif %}"
    assert ChatTemplate(text).renderer()(TURNS) == "26 07 2024 26 Jul 2024"


def test_what_transformers_gives_templates() -> None:
    text = (
        "{% for one in messages %}{% if loop.index > 1 %}{% break %}{% endif %}"
        "{% generation %}{{ one | tojson }}{% endgeneration %}{% endfor %}"
    )
    assert ChatTemplate(text).renderer()([{"role": "user", "content": "<问>"}]) == '{"role": "user", "content": "<问>"}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ raise_exception('no system turn') }}", "no system turn"),
        ("{{ messages[0]['content'] + 1 }}", "can only concatenate str"),
        ("{{ messages[9].content.x }}", "has no element"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe|not safely callable"),
    ],
)
def test_what_a_template_refuses(text: str, said: str) -> None:
    with pytest.raises(TemplateRefuses, match=said):
        ChatTemplate(text).renderer()(TURNS)


def test_what_is_no_template(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no chat template: unexpected '}'"):
        ChatTemplate("{{ } }}").renderer()
    with pytest.raises(UsageError, match="neither a file with a chat template nor the folder of a model"):
        read_template(tmp_path / "none")
    with pytest.raises(UsageError, match=r"no chat template: neither chat_template\.jinja nor chat_template in"):
        read_template(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"tokenizer_config\.json: "):
        read_template(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="not an object"):
        read_template(tmp_path)
    (tmp_path / "t").write_bytes(b"\xff")
    with pytest.raises(DataError, match="not UTF-8"):
        read_template(tmp_path / "t")


def test_where_a_folder_has_its_template(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer_config.json"
    path.write_text(
        json.dumps({"chat_template": "a", "bos_token": {"content": "<s>"}, "pad_token": None}), encoding="utf-8"
    )
    assert read_template(tmp_path) == ChatTemplate("a", {"bos_token": "<s>"})
    several = [{"name": "tool_use", "template": "b"}, {"name": "default", "template": "c"}]
    path.write_text(json.dumps({"chat_template": several}), encoding="utf-8")
    assert read_template(tmp_path).text == "c"
    (tmp_path / "chat_template.jinja").write_text("d", encoding="utf-8")
    assert read_template(tmp_path).text == "d"
    assert read_template(tmp_path / "chat_template.jinja") == ChatTemplate("d")
    assert ChatTemplate("d").sha256 == "18ac3e7343f016890c510e93f935261169d9e3f565436429830faf0934f4f8e4"
