"""No text becomes markup."""

import pytest

from entrypoint.run.markup import Markup, join, tag, text


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("\" onload='x' &amp;", "&quot; onload=&#x27;x&#x27; &amp;amp;"),
        ("a\x00b\x1b[31m", "a\ufffdb\ufffd[31m"),
        ("half \ud800", "half \ufffd"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("two\nlines\tand 港", "two\nlines\tand 港"),
        (0.5, "0.5"),
    ],
)
def test_text(value: object, found: str) -> None:
    assert text(value) == found


def test_elements() -> None:
    assert tag("p", "a < b", class_="x y", data_label='"', hidden=True, id=None) == '<p class="x y" data-label="&quot;" hidden>a &lt; b</p>'
    assert tag("ul", [1]) == "<ul>[1]</ul>"
    assert tag("div", tag("b", "<"), "<") == "<div><b>&lt;</b>&lt;</div>"
    assert tag("rect", width=3) == '<rect width="3"/>'
    assert join(["<", Markup("<br>"), None], " ") == "&lt; <br>"
