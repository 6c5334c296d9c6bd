"""Every error has a section that says what to do, and every section an error."""

import ast
import pickle

import pytest
from conftest import ROOT

from rifle_ext import cli
from rifle_ext.commands import explain
from rifle_ext.errors import RifleError, shown

SECTIONS = explain.sections((ROOT / "docs/errors.md").read_text(encoding="utf-8"))
MODULES = [p for name in explain.PACKAGES for p in sorted((ROOT / name).rglob("*.py"))]


def handled(handler):
    """Names of what an `except` catches."""
    kinds = getattr(handler.type, "elts", [handler.type])
    return {kind.id for kind in kinds if isinstance(kind, ast.Name)}


def raised_from_one_of_ours(tree):
    """The errors of a module that have the topic of the error they are raised from."""
    for handler in (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)):
        if not handled(handler) & set(explain.ERRORS):
            continue
        for node in ast.walk(handler):
            if isinstance(node, ast.Raise) and isinstance(node.cause, ast.Name):
                assert node.cause.id == handler.name
                yield from explain.errors_in(node)


def topics_in(path):
    """The topic of each error of a module; None where that of another one counts."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inherits = {call.lineno for call in raised_from_one_of_ours(tree)}
    for call in explain.errors_in(tree):
        given = [keyword.value for keyword in call.keywords if keyword.arg == "topic"]
        where = f"{path.relative_to(ROOT)}:{call.lineno}"
        if not given:
            assert call.lineno in inherits, f"{where}: name a topic of docs/errors.md"
        elif isinstance(given[0], ast.Constant):
            yield where, given[0].value
        else:
            assert isinstance(given[0], ast.Attribute) and given[0].attr == "topic", where


def test_every_error_has_a_section_and_every_section_an_error():
    used = [found for path in MODULES for found in topics_in(path)]
    missing = [f"{where}: {topic}" for where, topic in used if topic not in SECTIONS]
    assert not missing
    assert {topic for _, topic in used} == set(SECTIONS)


def test_the_page_comes_with_the_package():
    assert explain.PAGE.read_bytes() == (ROOT / "docs/errors.md").read_bytes()


def test_a_topic_is_that_of_the_first_error():
    def fail():
        try:
            raise RifleError("few", topic="images")
        except RifleError as error:
            raise RifleError(f"my.yml: {error}") from error

    with pytest.raises(RifleError) as failed:
        fail()
    assert failed.value.topic == "images"
    assert shown(failed.value) == "[RIFLE] my.yml: few (rifle-ext explain images)"
    assert shown(RifleError("of another package")) == "[RIFLE] of another package"
    again = pickle.loads(pickle.dumps(RifleError("few", topic="images")))
    assert (str(again), again.topic) == ("few", "images")


@pytest.mark.parametrize("topic", SECTIONS)
def test_explain_prints_a_section(topic, capsys):
    assert cli.main(["explain", topic]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(topic)
    assert explain.first_sentence(SECTIONS[topic]).replace("`", "") in said


def test_a_message_is_found_by_what_it_always_says():
    wrong = []
    for topic, parts in explain.messages():
        found = explain.topic_of("my.yml: " + " 5 ".join(parts), SECTIONS)
        wrong += [(topic, found, parts)] if found != topic else []
    assert not wrong


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("rifle.max_re_nun = 3: no such key; did you mean max_re_num? (keys: layers)", "block"),
        ("lwf.weight = -1: allowed is a number, 0 or more", "block"),
        ("[RIFLE] c.yml: the training cannot be set up: KeyError: 'name'", "toolkit"),
        ("--import x: ModuleNotFoundError: No module named 'x'", "components"),
        ("[RIFLE] --toolkit det: paddle or the toolkit cannot be imported: ModuleNotFoundError: "
         "No module named 'ppdet'", "package"),
        ("Forward pass", "forward-pass"),
        (" not  trained ", "not-trained"),
    ],
)  # fmt: skip
def test_parts_of_messages_and_headings(text, topic):
    assert explain.topic_of(text, SECTIONS) == topic


def test_the_lines_and_beginnings_are_those_of_real_messages(seg, tmp_path, capsys):
    (tmp_path / "broken.yml").write_text("a: [1")
    (tmp_path / "wrong.py").write_text("import no_such_module")
    commands = {
        "block": [seg.config(rifle={"max_re_nun": 3})],
        "toolkit": [tmp_path / "broken.yml"],
        "components": [seg.config("plain.yml"), "--import", tmp_path / "wrong.py"],
    }
    for topic, words in commands.items():
        assert cli.main(["plan", "--toolkit", "seg", "-c", *map(str, words)]) == 2
        last = capsys.readouterr().err.splitlines()[-1].partition(" (rifle-ext")[0]
        assert explain.topic_of(last, SECTIONS) == topic, last


def test_messages_as_they_are_shown(capsys):
    text = "RifleError: my.yml: train_dataset: no file; --synthetic makes a plan\n without data"
    assert explain.topic_of(text, SECTIONS) == "data"
    assert explain.topic_of("... (rifle-ext explain ranks)", SECTIONS) == "ranks"
    assert (
        cli.main(["explain", "--", *["--config", "no.yml:", "there", "is", "no", "such", "file"]])
        == 0
    )
    assert capsys.readouterr().out.split()[0] == "options"
    assert cli.main(["explain", "optimiser"]) == 2
    assert "did you mean optimizer?" in capsys.readouterr().err
    assert cli.main(["explain"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(SECTIONS)
    assert cli.main(["plan", "--toolkit", "seg", "-c", "no.yml"]) == 2
    said = capsys.readouterr().err
    assert said == "[RIFLE] --config no.yml: there is no such file (rifle-ext explain options)\n"
