"""Answers that were given lately."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from ftx_serving.engine.items import Answer, Source


class AnswerCache:
    """The last `size` answers by their source, the least recently used dropped first. The engine holds its lock."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._answers: OrderedDict[Source, Answer] = OrderedDict()

    def find(self, source: Source) -> Answer | None:
        answer = self._answers.get(source)
        if answer is not None:
            self._answers.move_to_end(source)
        return answer

    def keep(self, source: Source, answer: Answer) -> None:
        if self.size == 0:
            return
        self._answers[source] = replace(answer, cached=True)
        self._answers.move_to_end(source)
        if len(self._answers) > self.size:
            self._answers.popitem(last=False)
