"""Hostile text: what cannot be seen is shown, what could act is text."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.report.text import clip, code_block, visible

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))  # surrogates too


class Reader(HTMLParser):
    """Collects the tags and the text of a fragment."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert attrs == []

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("\u2066x\u2069", "⟨U+2066⟩x⟨U+2069⟩"),
        ("a\u200bb\u200d\ufeff", "a⟨U+200B⟩b⟨U+200D⟩⟨U+FEFF⟩"),
        ("\x00\x1b[2J\x7f\x85", "⟨U+0000⟩⟨U+001B⟩[2J⟨U+007F⟩⟨U+0085⟩"),
        ("\ud800", "⟨U+D800⟩"),
        ("x\ufe0f\u3164\U000e0041", "x⟨U+FE0F⟩⟨U+3164⟩⟨U+E0041⟩"),
        ("a\u2028b", "a⟨U+2028⟩b"),
        ("a\r\nb\rc\td", "a\nb⟨U+000D⟩c\td"),
        ("naïve 数 λ → ✓", "naïve 数 λ → ✓"),
        ("a\u00a0b", "a\u00a0b"),
    ],
)
def test_visible(text, shown):
    assert visible(text) == shown


def test_odd_blanks_are_shown_on_request():
    assert visible("a\u00a0b\u3000c d", spaces=True) == "a⟨U+00A0⟩b⟨U+3000⟩c d"


@given(ANY_TEXT)
def test_visible_text_can_be_written_and_hides_nothing(text):
    shown = visible(text)
    shown.encode()
    assert not {unicodedata.category(c) for c in shown if c not in "\n\t"} & {
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Zl",
        "Zp",
    }


@given(ANY_TEXT)
def test_code_block_has_no_markup_but_its_marks_and_loses_no_text(text):
    reader = Reader()
    reader.feed(str(code_block(text, 10_000, 1_000_000).html))
    reader.close()
    assert set(reader.tags) <= {"mark"}
    assert reader.text == visible(text, spaces=True)


def test_code_block_marks_what_was_hidden():
    assert code_block("<b>\u202e", 100, 1000).html == "&lt;b&gt;<mark>⟨U+202E⟩</mark>"


def test_code_block_is_cut_to_the_limit_of_characters():
    block = code_block("x" * 50, 20, 1000)
    assert (block.html, block.shown, block.total) == ("x" * 20, 20, 50)


@given(ANY_TEXT, st.integers(0, 60))
def test_code_block_is_cut_to_the_limit_of_bytes_after_escaping(text, max_bytes):
    assert len(code_block(text, 1000, max_bytes).html.encode()) <= max_bytes


def test_clip_says_how_much_is_missing():
    assert clip("abcdefgh" * 10, 8) == "abcdef …[72 more]… gh"
    assert clip("short", 8) == "short"
