"""The Chinese pages are in step with the English ones; and the check of that sees what differs."""

import shutil
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import front_page  # noqa: E402
import translations  # noqa: E402


def test_the_chinese_pages_are_in_step():
    assert list(translations.problems()) == []


ENGLISH = """# Title

Two steps, 0.5 of `it` (-3 % to +4): [there](other.md#second), `it` again.

```
$ command 7
```

- one
- two

<!-- begin results -->

| model | points |
|---|---|
| a, b | 1.5 |

<!-- end results -->

## Next

| key | meaning |
|---|---|
| `x` | 1 or more |

<!-- written by a script -->

| model | seeds |
|---|---|
| c | 12 |
"""
CHINESE = """# 标题

两步，`it` 的 0.5（-3 % 到 +4）：[那里](other.md#第二)。

```
```

- 一
- 二

<!-- begin results -->
<!-- end results -->

## 下一个

| 键 | 含义 |
|---|---|
| `x` | 1 或更大 |

<!-- written by a script -->

| any |
"""
WORDS = {"model": "模型", "a": "甲", "b": "乙"}


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """A page in both languages, in a project of its own, in step."""
    monkeypatch.setattr(translations, "ROOT", tmp_path)
    monkeypatch.setattr(translations, "LEDGER", tmp_path / "translated.json")
    monkeypatch.setattr(translations, "_words", lambda: WORDS)
    folder = tmp_path / "docs/zh"
    folder.mkdir(parents=True)
    english, chinese = tmp_path / "docs/page.md", folder / "page.md"
    (tmp_path / "docs/other.md").write_text("# Other\n\n## Second\n")
    (folder / "other.md").write_text("# 另一页\n\n## 第二\n")
    for name in ("README.md", "README_cn.md"):
        (tmp_path / name).write_text("# Name\n")
    english.write_text(ENGLISH)
    chinese.write_text(CHINESE)
    translations.copy_all()
    names = ("docs/page.md", "docs/other.md", "README.md")
    translations.record([str(tmp_path / name) for name in names])
    assert list(translations.problems()) == []
    return english, chinese


def test_what_is_copied(pages):
    text = pages[1].read_text()
    assert "```\n$ command 7\n```" in text
    assert "| 模型 | points |\n|---|---|\n| 甲，乙 | 1.5 |" in text
    assert "| 模型 | seeds |\n|---|---|\n| c | 12 |" in text
    assert "| 键 | 含义 |" in text  # tables that nothing generates are written by hand


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0.5（", "0.6（", "标题: figures: missing 0.5; too many 0.6"),
        ("-3 %", "3 %", "标题: figures: missing -3; too many 3"),
        ("`it`", "`is`", "标题: code: missing it; too many is"),
        ("other.md#第二", "other.md", "heading 2; too many docs/other.md"),
        ("other.md#第二", "../other.md#second", "too many docs/other.md, heading 2 in English"),
        ("- 二\n", "", "标题: items of lists: 1 instead of 2"),
        ("- 一\n", "\n\n更多。\n\n- 一\n", "标题: paragraphs: 3 instead of 2"),
        ("| 1 或更大 |", "| 1 | 或更大 |", "下一个: cells of tables"),
        ("## 下一个", "### 下一个", "2 headings instead of 2, or of other levels"),
        ("command 7", "command 8", "blocks or generated tables are others"),
        ("| c | 12 |", "| c | 13 |", "blocks or generated tables are others"),
        ("<!-- end results -->", "", "blocks and generated tables instead of 3"),
    ],
)
def test_what_differs_is_said(pages, old, new, said):
    text = pages[1].read_text()
    assert old in text
    pages[1].write_text(text.replace(old, new))
    found = list(translations.problems())
    assert any(said in line for line in found), found


def test_a_section_that_changes_after_its_translation_is_named(pages):
    english, chinese = pages
    english.write_text(ENGLISH.replace("| `x` | 1 or", "| `x` |  1\nor"))
    english.write_text(ENGLISH.replace("Two steps,", "Two  steps,"))  # other line breaks
    assert list(translations.problems()) == []
    english.write_text(ENGLISH.replace("| meaning |", "| sense |").replace("| c | 12", "| c | 14"))
    found = list(translations.problems())
    assert "docs/zh/page.md: the English section has changed since: Next" in found
    assert len(found) == 2
    translations.copy_all()
    translations.record([str(english)])
    assert list(translations.problems()) == []


def test_what_is_not_in_step_is_not_recorded(pages):
    pages[1].write_text(pages[1].read_text().replace("0.5", "0.6"))
    with pytest.raises(SystemExit, match="figures"):
        translations.record([str(pages[0])])


def test_a_page_in_one_language_is_said(pages, tmp_path):
    shutil.copy(pages[1], pages[1].with_name("more.md"))
    pages[1].unlink()
    found = list(translations.problems())
    assert "docs/zh/more.md: there is no English page" in found
    assert "docs/zh/page.md: there is no such page" in found


def test_the_front_pages_leave_out_what_was_searched_on():
    rows = [["few", "m", seeds, "0.5", "+0.1", "0.1", "1", "hope"] for seeds in
            ("20 (trial)", "10", "9 (search)", "4")]  # fmt: skip
    head = [*front_page.COLUMNS[:3], "plain", front_page.COLUMNS[3], "p", *front_page.COLUMNS[4:]]
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * 8, *rows)]
    page = "\n".join(["<!-- begin summary -->", *lines, "<!-- end summary -->"])
    _, _, *kept = front_page.measured(page).splitlines()
    assert [row.split(" | ")[2] for row in kept] == ["20 (trial)", "10"]


def test_the_front_pages_say_what_was_measured():
    table = front_page.measured(front_page.SOURCE.read_text(encoding="utf-8"))
    assert len(table.splitlines()) > 2
    for page in front_page.FRONT_PAGES:
        text = page.read_text(encoding="utf-8")
        assert f"<!-- begin measured -->\n\n{table}\n<!-- end measured -->" in text
        assert front_page.with_measured(text, table) == text
