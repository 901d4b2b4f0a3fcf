"""Golden prompts and an engine that answers as it is told, for tests of the gate's judgement."""

from dataclasses import dataclass, field
from typing import Any

from entrypoint.run.engine_client import Ending
from entrypoint.run.greedy import Answer
from entrypoint.run.serve_parity import Golden

ANSWER = Answer([21, 22, 23, 2], [-0.1, -0.2, -0.3, -0.05], [5.0, 4.0, 0.1, 6.0])


def golden(answer: Answer = ANSWER, *, ended: bool = True, kind: str = "plain", content: str = "Hello?") -> Golden:
    """One prompt; its third answer token leads by 0.1 only."""
    return Golden(kind, [{"role": "user", "content": content}], [], [1, 11, 12, 2], answer, ended)


@dataclass
class Answers:
    """What lies outside: an engine with fixed answers."""

    read: list[int] = field(default_factory=lambda: [1, 11, 12, 2])
    said: Answer = ANSWER
    end: Ending = field(default_factory=lambda: Ending("stop", 4))
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def chat_ids(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[int]:
        self.asked.append(("chat_ids", messages, tools))
        return self.read

    def text_ids(self, text: str) -> list[int]:
        self.asked.append(("text_ids", text))
        return self.read

    def answer(self, prompt_ids: list[int], tokens: int) -> Answer:
        self.asked.append(("answer", prompt_ids, tokens))
        return self.said

    def ending(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]], room: int) -> Ending:
        self.asked.append(("ending", messages, tools, room))
        return self.end
