"""The documentation: it builds, links hold, blocks parse, and outputs are what is printed."""

import json
import re
import shlex
import subprocess
import sys
from posixpath import join, normpath

import pytest
import yaml
from conftest import ROOT, WITHOUT_DETECTION

from rifle_ext import cli
from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.training.block_models import block_models
from rifle_ext.training.blocks import parse

sys.path.insert(0, str(ROOT / "scripts"))
from translations import slug  # noqa: E402

pytestmark = pytest.mark.timeout(120)

READMES = {path.parent.name: path for path in (ROOT / "rifle_ext/methods").glob("*/README.md")}
"""By the method whose code they lie beside."""

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "rifle_ext/methods").glob("*/README*.md"),
    ]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def name_of(page):
    """A page's path, for the name of its test."""
    return page.relative_to(ROOT).as_posix()


def blocks(page, language=None):
    """(language, text) of the fenced blocks of a page."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [text for kind, text in found if language in (None, kind)]


@pytest.mark.parametrize(
    ("page", "first", "last"),
    [("README.md", "The keys are", "[the block]"), ("README_cn.md", "可用的键有", "[块]")],
)
def test_the_front_pages_name_every_key_of_the_block(page, first, last):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`(\w+)`", text[text.index(first) : text.index(last)])
    assert named == list(RifleConfig.model_fields)


def test_the_config_that_lists_the_keys_lists_all_of_them():
    text = (ROOT / "configs/seg/from_paddleseg_config.yml").read_text(encoding="utf-8")
    listed = [re.findall(r"\w+", names) for names in re.findall(r"^#   (\w.*?):", text, re.M)]
    named = [name for names in listed for name in names if name != "or"]
    assert named == list(RifleConfig.model_fields)


SITES = {"mkdocs.yml": "README.md", "mkdocs.zh.yml": "README_cn.md"}
"""The configs of both languages, and how the page beside a method's code is called in each."""


@pytest.mark.parametrize("config", SITES)
def test_the_sites_build_without_a_warning(config, tmp_path):
    site = tmp_path / "x"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-f", config]
    command += ["-d", str(site)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    for path in nav(config):
        here = "" if path == "index.md" else path[:-3]
        shown = (site / here / "index.html").read_text(encoding="utf-8")
        root = {"mkdocs.yml": "site", "mkdocs.zh.yml": "site/zh"}[config]
        for language, other in {
            "en": "site",
            "zh": "site/zh",
        }.items():  # the switch stays on a page
            (link,) = re.findall(rf'<a href="([^"]*)" hreflang="{language}"', shown)
            assert normpath(join(root, here, link)) == normpath(join(other, here)), path
    for name, readme in READMES.items():
        shown = (site / f"methods/{name}/index.html").read_text(encoding="utf-8")
        text = readme.with_name(SITES[config]).read_text(encoding="utf-8")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
            assert f'id="{slug(heading)}"' in shown
        assert "README" not in FENCE.sub("", shown)  # links lead to pages
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))
    words = {word for entry in index["docs"] for word in re.split("[\\s\u200b]+", entry["text"])}
    wanted = {"mkdocs.yml": {"backbone"}, "mkdocs.zh.yml": {"输出层", "骨干网络", "初始化"}}
    assert wanted[config] <= words  # Chinese has no spaces: the index says where words end


def nav(config):
    """The files of a site's pages, in order."""

    def files(entries):
        for entry in entries:
            (value,) = entry.values()
            yield from files(value) if isinstance(value, list) else [value]

    return list(files(yaml.safe_load((ROOT / config).read_text(encoding="utf-8"))["nav"]))


def test_every_page_is_in_the_navigation():
    pages = {page.name for page in (ROOT / "docs").glob("*.md")}
    assert set(nav("mkdocs.yml")) == pages | {f"methods/{name}.md" for name in READMES}
    assert nav("mkdocs.zh.yml") == nav("mkdocs.yml")


def test_every_method_has_a_readme():
    folders = {path.parent.name for path in (ROOT / "rifle_ext/methods").glob("*/__init__.py")}
    assert set(READMES) == folders


@pytest.mark.parametrize("page", PAGES, ids=name_of)
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


MODELS = block_models(own=True)


def test_there_are_blocks_to_parse():
    shown = [yaml.safe_load(text) or {} for page in PAGES for text in blocks(page, "yaml")]
    assert {key for config in shown for key in config if key in MODELS} >= {"rifle", "lwf"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_parse(page):
    for text in blocks(page, "yaml"):
        config = yaml.safe_load(text) or {}
        for key, model in MODELS.items():
            if key in config:
                parse(model, key, config[key], page.name)
    for text in blocks(page, "python"):
        compile(text, page.name, "exec")


def test_every_key_of_the_block_is_documented():
    for name, model in MODELS.items():
        text = READMES[name].read_text(encoding="utf-8")
        section = re.search(r"^## The block$(.*?)^##", text, re.DOTALL | re.MULTILINE)
        rows = re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE)
        assert rows == list(model.model_fields)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_files_exist(page):
    if page.name == "CHANGELOG.md":  # names what was, too
        return
    folders = "rifle_ext|seg_hooks|det_hooks|tests|scripts|benchmarks|examples|configs"
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", text):
        assert "NAME" in path or (ROOT / path).exists(), path
    if page.name == "guarantees.md":
        named = re.findall(r"((?:\w+/)?)test_(\w+)\.py", text, re.ASCII)
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
        if WITHOUT_DETECTION and "det" in arguments:
            continue
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
