"""HTML that cannot be broken into: whatever is not `Html` is text, and text is escaped.

What a run folder holds is data of others: names, tags, classes and log lines end up between tags
or in a quoted attribute, never anywhere else.
"""

from __future__ import annotations

import html
import re

VOID = ("img", "meta", "br", "link", "hr", "line", "path", "circle", "rect")  # no content here
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Characters that turn the direction of the text around them, or hide: "gpj.exe" must not read
# "exe.jpg". Letters of right-to-left scripts stay, each in a <bdi> or a cell of its own.
_DIRECTION = re.compile("[\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Html(str):
    """Finished markup: it is not escaped again."""

    __slots__ = ()


def clean(value: object) -> str:
    """Text without what would act on a page or on its reader's eyes; each such character is named.

    ANSI escapes of a log go, other control characters become their pictures (␀), characters that
    turn the writing direction their code point, lone surrogates �.
    """
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", str(value)).replace("\r\n", "\n")
    text = text.replace("\r", "\n")
    text = _CONTROL.sub(lambda m: chr(0x2400 + ord(m[0])) if ord(m[0]) < 32 else "\ufffd", text)
    text = _DIRECTION.sub(lambda m: f"[U+{ord(m[0]):04X}]", text)
    return _SURROGATE.sub("\ufffd", text)


def escaped(value: object) -> Html:
    """``value`` as text, fit for content and for quoted attributes."""
    return value if isinstance(value, Html) else Html(html.escape(clean(value), quote=True))


def join(*parts: object, between: str = "") -> Html:
    """Markup and text one after the other; None and "" leave nothing."""
    return Html(between.join(escaped(p) for p in parts if p not in (None, "")))


def el(name: str, /, *children: object, **attributes: object) -> Html:
    """``<name attributes>children</name>``.

    ``class_`` and ``for_`` lose the underscore at their end, others turn into hyphens; an attribute
    of None or False is left out, True stands alone.
    """
    words = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(key)
        elif value is not None and value is not False:
            words.append(f'{key}="{escaped(str(value))}"')
    start = f"<{' '.join(words)}"
    if name in VOID and not children:
        return Html(f"{start}>" if name in ("img", "meta", "br", "link", "hr") else f"{start}/>")
    return Html(f"{start}>{join(*children)}</{name}>")


def details(summary: object, *content: object, **attributes: object) -> Html:
    """A part that opens at a click, or a key, without any script."""
    return el("details", el("summary", summary), *content, **attributes)


def table(
    caption: object,
    head: list[object],
    rows: list[list[object]],
    *,
    left: tuple[int, ...] = (0,),
    label: str | None = None,
    hidden_caption: bool = False,
) -> Html:
    """A table in a container of its own that scrolls, by keyboard too, where it is too wide.

    The first cell of a row is its heading; columns in ``left`` are text, the others numbers.
    """

    def kind(i: int) -> str | None:
        return None if i in left else "num"

    top = el("tr", *(el("th", h, scope="col", class_=kind(i)) for i, h in enumerate(head)))
    body = [
        el(
            "tr",
            *(
                el("th", c, scope="row") if i == 0 else el("td", c, class_=kind(i))
                for i, c in enumerate(row)
            ),
        )
        for row in rows
    ]
    name = el("caption", caption, class_="away" if hidden_caption else None)
    inner = el("table", name, el("thead", top), el("tbody", *body))
    region = {"role": "region", "tabindex": "0", "aria_label": label or str(clean(caption))}
    return el("div", inner, class_="scroll", **region)
