"""Texts for people in English and Traditional Chinese; JSON keys and log lines are never translated.

A text stands once, in both languages, in `_TEXTS` of the module that says it, and is registered here: `register` at
import, `say` at use. tests/cli/test_language.py holds that each text has both and that their fields agree.
"""

import os

__all__ = ["choose_language", "current_language", "register", "say"]

_TEXTS: dict[str, tuple[str, str]] = {}
_chosen = "en"


def register(texts: dict[str, tuple[str, str]]) -> None:
    """Add a module's texts: key -> (English, Traditional Chinese), with `{field}` places."""
    _TEXTS.update(texts)


def choose_language(wanted: str | None) -> None:
    """`en` or `zh-TW`; None: by LC_ALL, LC_MESSAGES or LANG."""
    global _chosen
    if wanted is None:
        named = next((v for k in ("LC_ALL", "LC_MESSAGES", "LANG") if (v := os.environ.get(k))), "")
        wanted = "zh-TW" if named.lower().replace("-", "_").startswith(("zh_tw", "zh_hk", "zh_hant")) else "en"
    _chosen = wanted


def current_language() -> str:
    """`en` or `zh-TW`."""
    return _chosen


def say(key: str, **fields: object) -> str:
    """The text of a key in the chosen language, its places filled."""
    english, chinese = _TEXTS[key]
    return (chinese if _chosen == "zh-TW" else english).format(**fields)


register(
    {
        "error": ("error: {message}", "錯誤：{message}"),
        "not-utf-8": ("an argument is not UTF-8; write it as UTF-8", "參數不是 UTF-8；請以 UTF-8 輸入"),
    }
)
