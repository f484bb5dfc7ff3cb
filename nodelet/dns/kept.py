"""Answers that were put together, kept under their questions until a name in them changes.

A question is the same in small letters and in large ones, and its answer repeats it letter by letter as it was asked
(resolvers vary them to be hard to forge for). So what is kept is what stands before and after the question. A question
that carries options (cookies, mostly) is asked once, and not kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

MOST = 32768
_NAME = 12
"""Where the question's name begins, after the header."""
_TYPE_AND_CLASS = 5
"""Bytes from the end of the name to the end of the question."""
_BARE_OPT = 11


class _Around(NamedTuple):
    before: bytes
    after: bytes


class Kept:
    """See the module. When it is full, it begins anew."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._answers: dict[bytes, _Around] = {}
        self._questions: dict[str, list[bytes]] = {}

    def answer(self, question: bytes) -> bytes | None:
        """The answer to a message of one question, at least a header long; None: not kept."""
        end = question.find(0, _NAME)
        found = self._answers.get(question[2:_NAME] + question[_NAME:end].lower() + question[end:])
        if found is None:
            return None
        return question[:2] + found.before + question[_NAME : end + _TYPE_AND_CLASS] + found.after

    def keep(self, question: bytes, name: str, answer: bytes) -> None:
        """Keep an answer that is right until `name` changes."""
        end = question.find(0, _NAME)
        if not _is_plain(question[end + _TYPE_AND_CLASS :]):
            return
        if len(self._answers) >= self._most:
            self.clear()
        key = question[2:_NAME] + question[_NAME:end].lower() + question[end:]
        self._answers[key] = _Around(answer[2:_NAME], answer[end + _TYPE_AND_CLASS :])
        self._questions.setdefault(name, []).append(key)

    def forget(self, names: Iterable[str]) -> None:
        """These names have changed."""
        for name in names:
            for key in self._questions.pop(name, ()):
                self._answers.pop(key, None)

    def clear(self) -> None:
        """Everything may have changed."""
        self._answers.clear()
        self._questions.clear()


def _is_plain(rest: bytes) -> bool:
    """Whether nothing follows the question, or only that longer answers are understood (EDNS)."""
    return not rest or (len(rest) == _BARE_OPT and rest.endswith(b"\0\0"))
