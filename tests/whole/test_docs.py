"""The documentation: it builds, links hold, blocks parse, and outputs are what is printed."""

import re
import shlex
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

from rifle_ext import cli
from rifle_ext.commands.blocks import block_models
from rifle_ext.methods.rifle.block import BLOCK_KEY, parse_block

pytestmark = pytest.mark.timeout(120)

READMES = {path.parent.name: path for path in (ROOT / "rifle_ext/methods").glob("*/README.md")}
"""By the method whose code they lie beside."""

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *READMES.values()])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page, language=None):
    """(language, text) of the fenced blocks of a page."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [text for kind, text in found if language in (None, kind)]


def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path / "x")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x/recipes/index.html").is_file()
    for name, readme in READMES.items():
        shown = (tmp_path / f"x/methods/{name}/index.html").read_text(encoding="utf-8")
        for heading in re.findall(r"^#+ (.*)$", readme.read_text(encoding="utf-8"), re.MULTILINE):
            assert f'id="{slug(heading)}"' in shown
        assert "README.md" not in shown  # links lead to pages


def test_every_page_is_in_the_navigation():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    listed = {name for entry in nav for name in entry.values()}
    pages = {page.name for page in (ROOT / "docs").glob("*.md")}
    assert listed == pages | {f"methods/{name}.md" for name in READMES}


def test_every_method_has_a_readme():
    folders = {path.parent.name for path in (ROOT / "rifle_ext/methods").glob("*/__init__.py")}
    assert set(READMES) == folders


def slug(heading):
    """The anchor of a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_files(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_parse(page):
    for text in blocks(page, "yaml"):
        config = yaml.safe_load(text) or {}
        if BLOCK_KEY in config:
            parse_block(config[BLOCK_KEY], page.name)
    for text in blocks(page, "python"):
        compile(text, page.name, "exec")


def test_every_key_of_the_block_is_documented():
    for name, model in block_models(own=True).items():
        text = READMES[name].read_text(encoding="utf-8")
        section = re.search(r"^## The block$(.*?)^##", text, re.DOTALL | re.MULTILINE)
        rows = re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE)
        assert rows == list(model.model_fields)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page):
    if page.name == "CHANGELOG.md":  # names what was, too
        return
    folders = "rifle_ext|seg_hooks|det_hooks|tests|scripts|benchmarks|examples|configs"
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", text):
        assert "NAME" in path or (ROOT / path).exists(), path
    if page.name == "guarantees.md":
        named = re.findall(r"(\S*?)test_(\w+)\.py", text)
        assert named and all(
            (ROOT / f"tests/{room}test_{name}.py").is_file() for room, name in named
        )


def test_the_tree_in_the_design_is_there():
    """Each module of the map exists; a new one may be missing from it."""
    (tree,) = [t for t in blocks(ROOT / "docs/design.md") if t.startswith("rifle_ext/\n")]
    folders = []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        for name in re.findall(r"\S+(?:\.py|\.md|/)(?= |$)", line):
            if name.startswith("docs"):
                continue
            assert (ROOT.joinpath(*folders[:depth]) / name).exists(), line
            if name.endswith("/"):
                folders[depth:] = [name]


def test_the_commits_are_checked_by_the_linters_of_make():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text()
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
    lint = lint.replace("$(PYTHON)", ".venv/bin/python").replace(" .\n", "\n")
    assert [line.strip() for line in lint.splitlines()] == [hook["entry"] for hook in hooks]


def test_both_languages_say_the_same():
    pages = [ROOT / "README.md", ROOT / "README_cn.md"]
    english, chinese = (page.read_text(encoding="utf-8") for page in pages)
    assert FENCE.findall(english) == FENCE.findall(chinese)
    assert len(re.findall(r"^#+ ", english, re.M)) == len(re.findall(r"^#+ ", chinese, re.M))
    english, chinese = (FENCE.sub("", text) for text in (english, chinese))
    targets = [
        re.findall(r"\]\(([^)\s]+)\)", text.replace("README_cn.md", "README.md"))
        for text in (english, chinese)
    ]
    assert targets[0] == targets[1]
    inline = [set(re.findall(r"`([^`\n]+)`", text)) for text in (english, chinese)]
    assert inline[0] <= inline[1]


def commands(page):
    """Each `$ rifle-ext ...` of a page's blocks, with what the page says it prints."""
    for text in blocks(page):
        parts = re.split(r"^\$ (rifle-ext .*)\n", text, flags=re.MULTILINE)[1:]
        yield from zip(parts[::2], parts[1::2])


@pytest.mark.parametrize("page", ["README.md", "docs/commands.md"])
def test_outputs_are_what_the_commands_print(page, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    ran = 0
    for command, said in commands(ROOT / page):
        arguments = shlex.split(command)[1:]
        if arguments[0] in ("plan", "init"):
            assert cli.main(arguments) == 0
            printed = capsys.readouterr().out
            assert said.strip() and printed.startswith(said.rstrip("\n")), command
            ran += 1
    assert ran


def test_options_of_documented_commands_exist(capsys):
    for page in PAGES:
        for line in re.findall(r"(?:^|`)\$? ?(rifle-ext [a-z][^`\n|]*)", page.read_text(), re.M):
            arguments = shlex.split(line.replace("[123]", "1"))[1:]
            if arguments[0] not in (
                "plan",
                "init",
                "report",
                "doctor",
                "schema",
                "explain",
                "lwf-export",
            ):
                continue
            if arguments[0] in ("plan", "init") and "--toolkit" not in arguments:
                continue  # the name of the command in a sentence
            if arguments in (["report"], ["lwf-export"]):
                continue
            cli.parser().parse_args(arguments)


def test_the_method_that_the_documentation_shows_is_the_example():
    folder = ROOT / "examples/freeze_backbone"
    (hook,) = blocks(ROOT / "docs/hooks.md", "python")
    (project,) = blocks(ROOT / "docs/hooks.md", "toml")
    assert hook.strip() in (folder / "freeze_backbone.py").read_text()
    assert project.strip() == (folder / "pyproject.toml").read_text().strip()
