"""Families of models and judges."""

from __future__ import annotations

from pathlib import Path

import pytest

from coig_p.errors import DataError
from coig_p.stats.families import family_of, read_families


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GPT-4o", "gpt-4"),
        ("GPT-4o", "gpt-turbo"),
        ("Claude3.5", "claude-3-5-sonnet"),
        ("DeepSeek-V2", "deepseek-ai/DeepSeek-V2-Chat"),
        ("Qwen2-72B", "Qwen-Max"),
        ("Yi-1.5-34B", "Yi-Large"),
        ("GLM-4", "chatglm3"),
        ("Moonshot", "kimi-k2"),
        ("Doubao-Pro", " doubao-lite"),
    ],
)
def test_of_one_family(one: str, other: str) -> None:
    assert family_of(one) == family_of(other)


@pytest.mark.parametrize(
    "names",
    [
        ["Abab6.5", "Baichuan4", "Claude3.5", "DeepSeek-V2", "Doubao-Pro", "Gemini1.5-Pro", "GPT-4o", "Qwen2-72B"]
        + ["Yi-1.5-34B", "GLM-4", "Moonshot"]
    ],
)
def test_coig_p_has_eleven_makers(names: list[str]) -> None:
    assert len({family_of(name) for name in names}) == 11


def test_a_name_that_no_pattern_fits_is_its_own_family() -> None:
    assert family_of(" My-Judge") == family_of("my-judge") == "my-judge"
    assert family_of("a") != family_of("b")


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "families.toml"
    path.write_text('[families]\n"我们-*" = "Ours"\n"*" = "rest"\n', encoding="utf-8")
    families = read_families(path)
    assert [family_of(name, families) for name in ("我们-7b", "gpt-4")] == ["ours", "rest"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no entry below [families]"),
        ("[families]\n", "no entry below [families]"),
        ("families = 3", "no entry below [families]"),
        ("[families]\na = 3", "families.'a' is 3"),
        ("[families]\n'a' = ' '", "families.'a' is ' '"),
        ("[families]\n' ' = 'x'", "an empty pattern"),
        ("[family]\na = 'b'", "'family' is not known there"),
        ("[families", "it is no TOML"),
        ("a = 1\na = 2", "it is no TOML"),
    ],
)
def test_a_file_that_is_none_is_one_located_error(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "families.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_families(path)
    assert str(path) in str(error.value) and said in str(error.value)


def test_bytes_and_absence(tmp_path: Path) -> None:
    path = tmp_path / "families.toml"
    with pytest.raises(DataError, match="cannot be read"):
        read_families(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="no TOML"):
        read_families(path)
