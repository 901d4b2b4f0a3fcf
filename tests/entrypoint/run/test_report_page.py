"""The page: whole, of itself alone, and with no answer in it that is more than text."""

import re
from html.parser import HTMLParser

import pytest
from sample_report import loads, question, report, result, told

from entrypoint.run.evaluation import make_report
from entrypoint.run.report_page import page
from schemas.report import Report

ATTACK = (
    "</div></details><script>alert(1)</script><img src=x onerror=alert(1)>\"' onload=alert(1) <!-- <style>*{display:none}</style> &lt;b&gt; \x00\x1b[2J\u202e"
)


class Reader(HTMLParser):
    """What a browser finds: elements with their attributes, open ones, text."""

    ALONE = {"meta", "br", "rect", "line", "circle", "polyline"}

    def __init__(self, content: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def hostile() -> Report:
    """Every text that comes from outside is an attack."""
    told_of = {"prompt": ATTACK, "answer": ATTACK, "expected": ATTACK, "note": ATTACK, "group": ATTACK[:150]}
    questions = [question(f"{ATTACK[:60]}{at}", float(at % 2), **told_of) for at in range(4)]
    failed = question("failed", None, prompt=ATTACK, expected=ATTACK).model_copy(update={"error": ATTACK})
    given = {"source": ATTACK, "source_version": ATTACK, "tool": ATTACK, "settings": {ATTACK: ATTACK}, "served_name": ATTACK}
    results = [result("s", "base", [*questions, failed], **given), result("s", "tuned", [*questions[::-1], failed], **given)]
    made = make_report(results, told(gate={"s": ">= base", "t": ">= 0.5"}, versions={ATTACK: ATTACK}, engine=ATTACK, kind=ATTACK, warnings=(ATTACK,)))
    link = made.chain[0].model_copy(update={"role": ATTACK, "what": ATTACK, "folder": ATTACK, "content": ATTACK})
    return made.model_copy(
        update={"name": ATTACK, "export": ATTACK, "chain": (link,), "loads": tuple(load.model_copy(update={"tool": ATTACK}) for load in loads())}
    )


@pytest.mark.parametrize("made", [report(), hostile()], ids=["usual", "hostile"])
def test_it_is_whole_and_loads_nothing(made: Report) -> None:
    content = page(made)
    found = Reader(content)
    assert found.open == []
    names = {name for name, _ in found.elements}
    assert (
        names & {"script", "img", "iframe", "object", "embed", "link", "base", "form", "input", "video", "audio", "foreignobject", "image", "use", "a:href"}
        == set()
    )
    for name, attributes in found.elements:
        assert [key for key in attributes if key.startswith("on") or key in ("src", "srcset", "style", "formaction", "xlink:href")] == []
        if "href" in attributes:
            assert name == "a" and (attributes["href"] or "").startswith("#")
    assert content.count("<style>") == 1
    assert re.search(r"url\(|@import|https?:", content.partition("</style>")[0]) is None


def test_an_attack_is_text() -> None:
    found = Reader(page(hostile()))
    assert sum("<script>alert(1)</script>" in text for text in found.text) > 20, "shown, and not run"
    whole = "".join(found.text)
    assert "\x00" not in whole and "\x1b" not in whole and "\u202e" not in whole


def test_a_browser_is_told_to_load_nothing() -> None:
    policy = next(a["content"] for name, a in Reader(page(report())).elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'") and "script-src" not in policy


def test_light_and_dark_and_a_narrow_screen() -> None:
    content = page(report())
    assert "prefers-color-scheme: dark" in content and "max-width: 40rem" in content
    assert any(a.get("name") == "viewport" for _, a in Reader(content).elements)
    style = content.partition("<style>")[2].partition("</style>")[0]
    names = set(re.findall(r"--[a-z-]+(?=:)", style))
    assert names and all(style.count(f"{name}:") == 2 for name in names), "every colour in light and in dark"


def test_what_it_says() -> None:
    text = " ".join("".join(Reader(page(report())).text).split())
    for said in ("Gate passed", "own.exact_match", "+90.0 points", "passed, within chance", "mmlu: 39 of 150 questions are answered worse than by the base", "harbours",
                 "tokens a second, all requests together", "Nine metres at low tide.", "270 rows to learn, 30 held out, seed 17", "At its last validation training recorded: loss 0.71, rewards/accuracies 0.93", "evalscope 1.14.0", "settings: temperature 0, few_shot 5"):  # fmt: skip
        assert said in text
    refused = "".join(Reader(page(report(gate={"mmlu": ">= 0.9"}))).text)
    assert "Gate refused: 1 of 1 condition" in refused


def test_links_lead_somewhere() -> None:
    found = Reader(page(report()))
    anchors = {attributes.get("id") for _, attributes in found.elements}
    assert all((attributes["href"] or "")[1:] in anchors for name, attributes in found.elements if name == "a")


def test_a_report_of_next_to_nothing() -> None:
    bare = Report(name="n", export="e", made_at="", seed=1)
    found = Reader(page(bare))
    assert found.open == [] and "Nothing was asked." in "".join(found.text)
    assert [name for name, _ in found.elements if name == "h2"] == ["h2"]
