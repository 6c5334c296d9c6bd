"""`rifle-ext init --write`: only the block is added, whatever the config looks like."""

import builtins
import os
import sys

import pytest
import yaml
from small import fields  # and its models are registered

from rifle_ext import cli
from rifle_ext.commands.config_file import values_of
from rifle_ext.commands.writing import difference, with_block
from rifle_ext.errors import RifleError

pytestmark = pytest.mark.timeout(120)

BLOCK = "# For it.\nrifle:\n  # how often\n  # max_re_num: null\n"
LAID_OUT = """\
# A comment at its head.
_base_:   base.yml     # and here

iters:    100  # as many as there is time
model: {type: "PPLiteSeg", 'num_classes': 6}
common: &common
    lr:   1.0e-3
more:
    <<: *common
list:
- a
-   b
说明: 数据集 # 中文
long: one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen s
"""
AT_THE_END = {
    "as laid out": LAID_OUT,
    "windows": LAID_OUT.replace("\n", "\r\n"),
    "no line end": "a: 1",
    "empty lines": "a: 1\n\n\n",
    "a mark at the end": "---\na: 1\n...\n",
    "text to its end": "a: |\n  one\n\n  two\n",
    "text with its line ends": "a: |+\n  one\n\n",
    "shifted": "  a: 1\n  b: 2\n",
    "a byte order mark": "\ufeffa: 1\n",
    "a comment at the end": "a: 1\n# the end\n",
    "tags": "TrainDataset:\n  !COCODataSet\n    image_dir: images\n",
    "an empty value": "a:\n",
}


@pytest.mark.parametrize("looks", AT_THE_END)
def test_everything_else_stays_to_the_byte(looks):
    text = AT_THE_END[looks]
    changed = with_block(text, "rifle", BLOCK)
    head = text.partition("...")[0]
    assert changed.startswith(head)
    assert ("\r\n" in changed) == ("\r\n" in text)
    assert "\r\n" not in text or changed.count("\n") == changed.count("\r\n")
    assert [line.strip() for line in BLOCK.splitlines()] == [
        line.strip() for line in changed[len(head) :].replace("...", "").strip().splitlines()
    ]
    if "!" not in text:
        assert yaml.safe_load(changed) == {**yaml.safe_load(text), "rifle": None}
    assert values_of(changed, "rifle") and not values_of(text, "rifle")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a: 1}", '{a: 1, "rifle": {}}'),
        ("{}\n", '{"rifle": {}}\n'),
        ("{\n  a: 1,  # one\n  b: 2  # b\n}\n", '{\n  a: 1,  # one\n  b: 2, "rifle": {}  # b\n}\n'),
        ("{a: 1,}", '{a: 1, "rifle": {},}'),
    ],
)  # fmt: skip
def test_in_one_pair_of_braces_the_key_alone(text, expected):
    assert with_block(text, "rifle", BLOCK) == expected
    assert yaml.safe_load(expected)["rifle"] == {}


@pytest.mark.parametrize("text", ["- a\n", "", "a: 1\n---\nb: 2\n", "a: [\n"])
def test_what_has_no_place_for_a_block_is_refused(text):
    with pytest.raises(RifleError):
        with_block(text, "rifle", BLOCK)


def test_the_difference_shows_what_is_added_alone():
    shown = difference("a: 1", with_block("a: 1", "rifle", BLOCK), "my.yml").splitlines()
    assert shown[:2] == ["--- my.yml", "+++ my.yml"]
    assert "+rifle:" in shown


def write(toolkit, path, *more):
    return cli.main(["init", "--toolkit", toolkit, "-c", str(path), *more])


@pytest.fixture
def small(seg):
    """A config with a comment, and no block."""
    path = seg.config(**fields(block=None))
    path.write_text("# mine\n" + path.read_text())
    return path


def test_written_once_with_what_was_kept(small, seg, capsys):
    before = small.read_bytes()
    assert write("seg", small, "--write") == 0
    said = capsys.readouterr().out
    after = small.read_bytes()
    assert after.startswith(before) and b"\nrifle:\n" in after
    assert said.index("+rifle:") < said.index(f"written: {small}")
    backup = seg.folder / "config.yml.bak"
    assert backup.read_bytes() == before and f"as it was: {backup}" in said
    assert write("seg", small, "--write") == 0
    assert f"{small}: has a rifle: block already; nothing is written" in capsys.readouterr().out
    assert small.read_bytes() == after
    assert write("seg", small, "--write", "--method", "freeze_out") == 0  # another one is added
    assert b"\nfreeze_out:\n" in small.read_bytes()
    assert (seg.folder / "config.yml.bak1").read_bytes() == after
    assert write("seg", small, "--write", str(small)) == 0
    seg.train(small, out=seg.folder / "out")


def test_a_link_stays_one_and_a_read_only_config_is_left_alone(small, seg, capsys):
    link = seg.folder / "link.yml"
    link.symlink_to(small.name)
    assert write("seg", link, "--write") == 0
    assert link.is_symlink() and b"\nrifle:\n" in small.read_bytes()
    small.write_text(yaml.safe_dump(fields(block=None)))
    before = small.read_bytes()
    small.chmod(0o444)
    assert write("seg", small, "--write") == 2
    assert f"{small}: is read-only, so nothing is written to it" in capsys.readouterr().err
    assert small.read_bytes() == before


@pytest.mark.parametrize("toolkit", ["seg", "det"])
def test_a_small_new_config_is_based_on_the_other(toolkit, seg, det, capsys):
    if toolkit == "seg":
        path, key = seg.config(**fields(block=None)), "_base_"
    else:
        path, key = det.config(), "_BASE_"
    before = path.read_bytes()
    new = path.parent / "mine/新.yml"
    assert write(toolkit, path, "--write", str(new)) == 2
    assert f"--write {new}: cannot be written: " in capsys.readouterr().err
    new.parent.mkdir()
    assert write(toolkit, path, "--write", str(new)) == 0
    content = yaml.safe_load(new.read_text(encoding="utf-8"))
    base = f"../{path.name}"
    assert content == {key: base if toolkit == "seg" else [base], "rifle": None}
    assert path.read_bytes() == before
    capsys.readouterr()
    assert cli.main(["plan", "--toolkit", toolkit, "-c", str(new)]) == 0
    assert "reset" in capsys.readouterr().out
    assert write(toolkit, new, "--write") == 0
    assert "has a rifle: block already" in capsys.readouterr().out


def test_a_block_of_the_base_is_not_written_over(seg, capsys):
    seg.config("base.yml", **fields(block={"max_re_num": 2}))
    child = seg.folder / "child.yml"
    child.write_text("_base_: base.yml\n")
    assert write("seg", child, "--write") == 0
    said = capsys.readouterr().out
    assert "has a rifle: block already, from a config that it is based on" in said
    assert child.read_text() == "_base_: base.yml\n"
    assert write("seg", child, "--write", str(seg.folder / "base.yml")) == 0
    (seg.folder / "plain.yml").write_text("iters: 3\n")
    assert write("seg", child, "--write", str(seg.folder / "plain.yml")) == 2
    assert "there is such a file, without a rifle: block" in capsys.readouterr().err


def test_a_block_that_is_off_is_said_to_be(seg, capsys):
    base = seg.config(**fields(block=False))
    child = seg.folder / "child.yml"
    child.write_text(f"_base_: {base.name}\n")
    assert write("seg", base, "--write") == write("seg", child, "--write") == 0
    said = " so the method is off; nothing is written (`rifle: true` switches it on)"
    assert capsys.readouterr().out.splitlines() == [
        f"{base}: has rifle: false already,{said}",
        f"{child}: has rifle: false already, from a config that it is based on,{said}",
    ]


def test_a_new_config_has_a_name_that_the_toolkits_read(small, capsys):
    new = small.with_name("new.txt")
    assert write("seg", small, "--write", str(new)) == 2
    said = f"--write {new}: allowed is a name that ends in .yml or .yaml"
    assert said in capsys.readouterr().err
    assert not new.exists()


@pytest.mark.parametrize("answer", ["y", "", None])
def test_on_a_terminal_it_asks(answer, small, monkeypatch, capsys):
    def answered(question):
        if answer is None:
            raise EOFError
        return answer

    before = small.read_bytes()
    monkeypatch.setattr(builtins, "input", answered)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert write("seg", small, "--write") == 0
    assert (small.read_bytes() != before) == (answer == "y")
    assert os.path.exists(f"{small}.bak") == (answer == "y")
    assert ("nothing is written" in capsys.readouterr().out) == (answer != "y")
