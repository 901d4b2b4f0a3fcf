"""What an answer's text tells by itself and beside the one that was expected: pure functions of strings."""

import re
import unicodedata
from collections import Counter

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+")
"""A word; where a script writes none apart, a character."""

ENDS = " .!?;:,\"'`。！？；：，…"

REFUSALS = re.compile(
    r"^\W*(?:i(?:'|’)?m (?:very |so |really )?sorry|i am (?:very |so |really )?sorry|sorry|unfortunately|i apologi[sz]e)?[,.]?\s*(?:but\s+)?(?:as an ai\b.{0,60}?)?"
    r"(?:i (?:can(?:'|’)?t|can ?not|am not able to|(?:'|’)?m not able to|am unable to|(?:'|’)?m unable to|won(?:'|’)?t|will not|must decline)|i(?:'|’)m (?:unable|not able) to)\b"
    r"|^\W*(?:很?抱歉|对不起|不好意思)?[，,。]?\s*(?:但)?(?:作为.{0,20}?)?我(?:不能|无法|不可以)",
    re.IGNORECASE,
)
"""How models refuse in English and Chinese, at the beginning of an answer. Words alone: a polite refusal in other words is not seen."""

TAIL = 100
"""Characters of the longest loop that is looked for."""

TIMES = 5
"""How often the same has to come at an answer's end, one right after the other, to be a loop."""

LOOP = 30
"""Characters that all its rounds have together at least."""

GRAM, WORDS, SEEN_BEFORE = 4, 40, 0.5
"""Words in a row; words that an answer has at least; share of such rows that came before."""


def normal(text: str) -> str:
    """As answers are compared: one form of each letter (NFKC), no case, single blanks, no sign at either end."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(ENDS)


def exact_match(answer: str, expected: str) -> float:
    """1 where both say the same, by `normal`; else 0."""
    return float(normal(answer) == normal(expected))


def token_f1(answer: str, expected: str) -> float:
    """Harmonic mean of precision and recall of the words, as SQuAD has it (Rajpurkar et al., arXiv 1606.05250), articles and all."""
    said, wanted = Counter(WORD.findall(normal(answer))), Counter(WORD.findall(normal(expected)))
    if not said or not wanted:
        return float(said == wanted)
    shared = sum((said & wanted).values())
    return 2 * shared / (sum(said.values()) + sum(wanted.values()))


def refuses(answer: str) -> bool:
    """Whether it begins as a refusal does."""
    return bool(REFUSALS.search(answer[:200]))


def repeats(answer: str) -> bool:
    """Whether it runs in a loop at its end, or says the same rows of words over and over."""
    text = answer.rstrip()
    return _loops(text) or _says_again(text)


def _loops(text: str) -> bool:
    for period in range(1, min(TAIL, len(text) // TIMES) + 1):
        rounds = max(TIMES, -(-LOOP // period))
        if len(text) >= rounds * period and text[-rounds * period :] == text[-period:] * rounds:
            return True
    return False


def _says_again(text: str) -> bool:
    words = WORD.findall(text.casefold())
    if len(words) < WORDS:
        return False
    grams = [tuple(words[at : at + GRAM]) for at in range(len(words) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) >= SEEN_BEFORE
