"""The page: one inert file whatever the models wrote, the same bytes for the same records."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser

import msgspec
import pytest

from coderm_reward.errors import InputError, OutputError
from coderm_reward.report import ReportLimits, render_report, write_report
from coderm_reward.types import UnitTest

HOSTILE = [
    "<script>alert(1)</script>",
    "</script></style></title></pre><script src=https://evil.example/x.js></script>",
    "\"><img src=x onerror=alert(1)> ' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{7*7}}{% raw %}{{ self }}{# c",
    "]]><!--<svg/onload=alert(1)>-->&lt;script&gt;&#60;b&#62;",
    "a\u202eb\u2066c\u200bd\ufeff",
    "nul\x00 esc\x1b lone\ud800\udfff",
]
SETTINGS = {"sandbox": {"timeout": 2.0}, "seed": None}


class Page(HTMLParser):
    """Collects tags with their attributes, and the text outside script and style."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.raw = {"script": "", "style": ""}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.cdata_elem:
            self.raw[self.cdata_elem] += data
        else:
            self.text += data

    def handle_comment(self, data):
        raise AssertionError("the template has no comments")

    def values(self, *names: str) -> list[str]:
        return [attrs[n] or "" for _, attrs in self.tags for n in names if n in attrs]

    def structure(self) -> Counter[tuple[str, tuple[str, ...]]]:
        return Counter((tag, tuple(attrs)) for tag, attrs in self.tags if tag != "mark")


def render(records, **options):
    options = {"title": "A title", "settings": SETTINGS, "generated_at": "today"} | options
    return render_report(records, **options)


def infected(record, edit, text):
    """`record` with `text` in every place that a model, a dataset or a file name can reach."""
    tests = tuple(
        edit(t, source=text, class_name=text, methods=tuple(text for _ in t.methods)) for t in record.tests
    )
    return edit(
        record,
        group=text,
        run=text,
        step=text,
        uid=text,
        prompt_hash=text,
        question=text,
        entry_point=text,
        task_id=text,
        generator=text,
        tests=tests,
        invalid={"c": text},
        dropped={text: 2},
        budget=edit(record.budget, why=text, difficulty=edit(record.budget.difficulty, source=text)),
        rollouts=tuple(edit(r, code=text) if r.code else edit(r, status=text) for r in record.rollouts),
        details={1: {"a": text}},
        warnings=(text,),
    )


def options(text):
    return {
        "title": text,
        "settings": {text: {text: text}},
        "generated_at": text,
        "summary_extra": {text: text},
    }


@pytest.fixture(scope="module")
def benign_structure():
    """Filled by the first test that needs it: the tags and attributes of a page of harmless text."""
    return {}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_never_changes_the_structure_of_the_page(record, edit, text, benign_structure):
    if not benign_structure:
        benign_structure.update(Page(render([infected(record, edit, "x")], **options("x"))).structure())
    page = Page(render([infected(record, edit, text)], **options(text)))
    assert page.structure() == benign_structure
    page.text.encode()


def test_hostile_text_is_shown_as_it_is(record, edit):
    page = Page(render([infected(record, edit, HOSTILE[4])]))
    assert page.text.count(HOSTILE[4]) > 10


def test_invisible_characters_are_shown_everywhere(record, edit):
    html = render([infected(record, edit, "a\u202eb\x00\ud800")], **options("a\u202eb\x00\ud800"))
    assert not set(html) & {"\u202e", "\x00", "\ud800"}
    assert html.count("⟨U+202E⟩") > 20


@pytest.fixture
def page(record):
    return Page(render([record]))


def test_nothing_is_fetched_and_links_stay_on_the_page(page):
    assert all(re.fullmatch(r"#[\w-]+", value) for value in page.values("href"))
    pictures = page.values("src", "srcset")
    assert pictures
    assert all(re.fullmatch(r"data:image/(png|svg\+xml);base64,[\w+/=]+", value) for value in pictures)
    assert "url(" not in page.raw["style"]
    assert "@import" not in page.raw["style"]
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "embed", "form", "base")]


def test_every_link_leads_somewhere(page):
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in page.values("href")} <= set(ids)


def test_only_our_own_script_may_run(page):
    (policy,) = (a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.raw["script"].encode()).digest()).decode()
    assert (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
        in policy
    )
    assert [attrs for tag, attrs in page.tags if tag == "script"] == [{}]
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


def test_the_page_has_its_contents(record, edit):
    second = edit(record, group="group-2", rollouts=record.rollouts[:2])
    text = Page(render([record, second], summary_extra={"bad rows": "3 skipped"}, wall_seconds=2.0)).text
    for wanted in (
        "sandbox.timeout",
        "bad rows",
        "3 skipped",
        "1 of 2 groups has no reward spread",
        "zero: no gradient",
        "it has no test method",
        "test_a2: AssertionError: 1 != 2",
        "def f(x):",
        "apart 9 (100.0%)",
        "verdict cache",
        "pairs run per second",
    ):
        assert wanted in text


def test_no_records():
    assert "There are no groups in this report." in render([])


@pytest.mark.parametrize("case", ["no tests", "no code", "no rollouts", "all unknown"])
def test_poor_groups(record, edit, case):
    if case == "no tests":
        rollouts = tuple(edit(r, classes="", methods="", judges="") for r in record.rollouts)
        group, wanted = edit(record, tests=(), invalid={}, rollouts=rollouts), "No usable test was found"
    elif case == "no code":
        group, wanted = edit(record, rollouts=(record.rollouts[3],)), "Nothing was executed."
    elif case == "no rollouts":
        group, wanted = edit(record, rollouts=()), "There is no rollout in this group."
    else:
        rollouts = tuple(edit(r, classes="UUU", methods="UUUU") for r in record.rollouts)
        group, wanted = edit(record, rollouts=rollouts, invalid={}), "UNKNOWN"
    assert wanted in render([group])


def test_a_megabyte_of_code_is_cut_and_the_page_says_so(record, edit):
    rollouts = (edit(record.rollouts[0], code="<" * 1_000_000), *record.rollouts[1:])
    html = render([edit(record, rollouts=rollouts)])
    assert len(html) < 1_000_000
    assert "Only the first 20,000 of 1,000,000 characters of the code are shown" in html


def test_groups_beyond_the_limit_are_left_out_and_the_page_says_so(record, edit):
    records = [
        edit(
            record,
            group=str(i),
            rollouts=tuple(edit(r, row=10 * i + j) for j, r in enumerate(record.rollouts)),
        )
        for i in range(15)
    ]
    page = Page(render(records, limits=ReportLimits(max_groups=4)))
    assert len([a for tag, a in page.tags if tag == "details" and a.get("class") == "group"]) == 4
    assert "4 of 15 groups are shown" in page.text
    assert {value[1:] for value in page.values("href")} <= set(page.values("id"))


def test_rollouts_beyond_the_limit_are_listed_without_detail(record):
    text = Page(render([record], limits=ReportLimits(max_rollouts_per_group=2))).text
    assert "Of 3 different ones, 2 spread over the ranking are shown in detail" in text


def test_the_largest_usual_set_stays_under_15_megabytes(record, make_rollout, edit):
    """82 groups of 100 different rollouts on 80 tests of 4 methods, almost all failing, by what one adds."""
    methods = tuple(f"test_{name}_case" for name in ("empty", "large", "negative", "typical"))
    tests = tuple(
        UnitTest(
            id=str(t),
            source="        self.assertEqual(f([1]), 2)\n" * 30,
            class_name="TestF",
            methods=methods,
        )
        for t in range(80)
    )
    rollouts = [
        edit(
            make_rollout(i, i, "FE" * 40, "".join("PFEF"[(i * k) % 7 % 4] for k in range(320))),
            code="x = 1\n" * 100,
        )
        for i in range(100)
    ]
    group = edit(record, tests=tests, invalid={}, rollouts=tuple(rollouts), details={})
    per_group = ReportLimits().max_text_bytes // 82
    one, two = (
        len(render([group] * n, limits=ReportLimits(max_text_bytes=n * per_group)).encode()) for n in (1, 2)
    )
    assert one + 81 * (two - one) < 15_000_000


def test_same_records_same_bytes_in_any_order_and_process(record, edit, tmp_path):
    later = edit(record, group="group-2", rollouts=tuple(edit(r, row=r.row + 50) for r in record.rollouts))
    here = render([record, later])
    assert render([later, record]) == here
    (tmp_path / "records.json").write_bytes(msgspec.json.encode([later, record]))
    script = (
        "import msgspec, sys\n"
        "from coderm_reward.data.records import GroupRecord\n"
        "from coderm_reward.report import render_report\n"
        "records = msgspec.json.decode(open(sys.argv[1], 'rb').read(), type=list[GroupRecord])\n"
        "page = render_report(records, title='A title', settings={'sandbox': {'timeout': 2.0}, 'seed': None},"
        " generated_at='today')\n"
        "sys.stdout.buffer.write(page.encode())\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "records.json")]
    there = subprocess.run(
        command, env=os.environ | {"PYTHONHASHSEED": "77"}, stdout=subprocess.PIPE, check=True
    )
    assert there.stdout.decode() == here


def test_writing_replaces_the_file_and_leaves_nothing_else(record, tmp_path):
    path = tmp_path / "out" / "report.html"
    for title in ("First", "Second"):
        write_report(path, [record], title=title, settings={}, generated_at="today")
    assert "<h1>Second</h1>" in path.read_text(encoding="utf-8")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize("name", ["a_directory", "a_file/report.html"])
def test_an_unwritable_path_is_one_sentence(tmp_path, name):
    (tmp_path / "a_directory").mkdir()
    (tmp_path / "a_file").touch()
    with pytest.raises(OutputError, match=r"cannot be written \(.+\); name another file for it\.$"):
        write_report(tmp_path / name, [], title="", settings={}, generated_at="")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a_directory", "a_file"]


def test_a_broken_record_leaves_the_old_report_alone(record, edit, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    broken = edit(record, rollouts=(edit(record.rollouts[0], classes="P"),))
    with pytest.raises(InputError):
        write_report(path, [broken], title="", settings={}, generated_at="")
    assert path.read_text() == "old"


def test_importing_the_report_loads_no_matplotlib():
    code = "import coderm_reward.report, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
