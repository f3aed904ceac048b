"""What a store of text has no place for: images, sounds and films, by the names of fields and by marks in texts."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_MEDIA = frozenset(
    (
        *("image", "images", "img", "imgs", "picture", "pictures", "pic", "pics", "photo", "photos"),
        *("screenshot", "screenshots", "pixel", "audio", "audios", "video", "videos"),
    )
)
_CHINESE_MEDIA = re.compile("图片|图像|照片|截图|音频|语音|视频")
_WORDS = re.compile(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]+")
_PLACEHOLDER = re.compile(r"<\|?image(?:[ _]?\d+)?\|?>|^\s*<\|?(?:img|video|audio)(?:[ _]?\d+)?\|?>", re.IGNORECASE)


@lru_cache(maxsize=4096)
def is_media(name: str) -> bool:
    """Whether a field by this name holds an image, a sound or a film, or says where one is.

    Such a field carries meaning and has no place in a store: a row that has one is refused.
    """
    words = {word.lower() for word in _WORDS.findall(name)}
    plain = re.fullmatch(r"medias?|(?:media|medium)[ _-]?(?:path|file|url|id|type|content|data)s?", name.lower())
    return not _MEDIA.isdisjoint(words) or plain is not None or _CHINESE_MEDIA.search(name) is not None


def placeholder(text: Any) -> str | None:
    """What in a prompt stands for an image, a sound or a film; HTML's tags, unless it begins with one, are text."""
    found = _PLACEHOLDER.search(text) if isinstance(text, str) and "<" in text else None
    return found and found[0].strip()
