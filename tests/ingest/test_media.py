"""Images, sounds and films: a store holds text alone, so a row that needs one is refused, whatever the field's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coig_p.ingest.accounting import ImportFailed, ImportReport
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.ingest.media import is_media, placeholder

ROW = {"prompt": "问", "chosen": "好答", "rejected": "坏答"}
NAMES = (
    *("image", "images", "img", "img_path", "image_file", "image_id", "images_path", "picture", "pictures", "media"),
    *("image_hash", "image_bytes", "video_path", "audio_path", "图像", "图片路径", "question_image", "pixel_values"),
    *("imageUrl", "media_path", "视频", "语音", "screenshot", "video-id"),
)


def run(folder: Path, row: dict[str, Any], **form: Any) -> ImportReport:
    (folder / "in.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", "utf-8")
    config = ImportConfig(domain="chat", form=FormConfig(**form))
    return import_files([folder / "in.jsonl"], folder / "store", config, overwrite=True)[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_column_of_an_image_is_refused_under_any_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ImportFailed) as error:
        run(tmp_path, ROW | {name: "a.jpg"})
    assert [(one.field, one.reason) for one in error.value.report.problems] == [(name, "no-place")]
    assert run(tmp_path, ROW | {name: "a.jpg"}, drop=[name]).counts["rows"]["stored"] == 1
    assert run(tmp_path, ROW | {name: "a.jpg"}, keep=[name]).counts["rows"]["stored"] == 1


@pytest.mark.parametrize("name", ["imagination", "imaginary", "social_media", "pictured", "topic", "epic", "mediation"])
def test_other_names_are_no_images(name: str) -> None:
    assert not is_media(name)


def test_that_there_is_no_image_is_no_image(tmp_path: Path) -> None:
    assert run(tmp_path, ROW | {"has_image": False}).ignored_fields == {"has_image": 1}


@pytest.mark.parametrize(
    "prompt",
    [
        "<image>\n问",
        "问\n<image>",
        "<|image|>问",
        "<image_1>和<image_2>",
        "<img>问",
        " <video>\n问",
        "<audio>",
        "<Image>问",
    ],
)
def test_a_prompt_that_points_at_an_image_is_refused(prompt: str, tmp_path: Path) -> None:
    for row in (ROW | {"prompt": prompt}, {"prompt": [{"role": "user", "content": prompt}]} | turns(), nested(prompt)):
        with pytest.raises(ImportFailed) as error:
            run(tmp_path, row)
        assert list(error.value.report.reasons) == ["no-place"]
        report = run(tmp_path, row, drop=["image"])
        assert (report.counts["rows"]["stored"], report.notes) == (1, [])


def nested(prompt: str) -> dict[str, Any]:
    scores = [{"judge": "j", "score": 5}]
    return {"query": prompt, "responses": [{"model": "a", "text": "好", "scores": scores}]}


def turns() -> dict[str, Any]:
    return {side: [{"role": "assistant", "content": text}] for side, text in (("chosen", "好"), ("rejected", "坏"))}


@pytest.mark.parametrize("text", ["怎样写 <img> 标签？", "a <video> tag", "image", "x < image > y", "<p>问</p>"])
def test_tags_of_html_in_a_prompt_are_text(text: str, tmp_path: Path) -> None:
    assert placeholder(text) is None
    assert run(tmp_path, ROW | {"prompt": text}).counts["rows"]["stored"] == 1


def test_an_image_of_an_answer_is_refused(tmp_path: Path) -> None:
    row = {"prompt": "问", "responses": [{"model": "a", "text": "好", "scores": [], "image": "a.jpg"}]}
    with pytest.raises(ImportFailed) as error:
        run(tmp_path, row)
    assert [one.field for one in error.value.report.problems] == ["responses[0].image"]
