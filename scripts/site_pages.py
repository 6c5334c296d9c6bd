"""Shows pages that lie outside a site's folder, and links the two languages.

A hook of MkDocs. The documentation is two sites, one for each language (`mkdocs.yml` and
`mkdocs.zh.yml`), the Chinese one below `zh/` of the English one. The README of each method, which
lies beside its code, is a page of both; pages that are in English alone and the pictures are in the
Chinese one, too. Links hold on disk, where the files are; here they are turned into links between
pages.
"""

import os
import posixpath
import re
from pathlib import Path
from typing import Any, Dict

from mkdocs.structure.files import File, Files
from translations import ROOT, pairs, slug

ENGLISH, CHINESE = "en", "zh"
LINK = re.compile(r"\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Let headings have the anchors that they have on GitHub, Chinese ones, too."""
    config.mdx_configs["toc"]["slugify"] = lambda heading, separator: slug(heading)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for page, path in elsewhere(config.theme["language"]).items():
        files.append(File.generated(config, page, abs_src_path=str(path)))
    return files


def elsewhere(language: str) -> Dict[str, Path]:
    """What a site has from outside its folder: files by the page they become."""
    readme = {ENGLISH: "README.md", CHINESE: "README_cn.md"}[language]
    methods = sorted((ROOT / "rifle_ext/methods").glob(f"*/{readme}"))
    found = {f"methods/{path.parent.name}.md": path for path in methods}
    if language == CHINESE:
        docs = ROOT / "docs"
        found.update((page.name, page) for page in docs.glob("*.md") if page not in pairs())
        found["extra.css"] = docs / "extra.css"
        found.update((f"images/{image.name}", image) for image in (docs / "images").iterdir())
    return found


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links between files into links between pages."""
    pages: Dict[str, str] = {os.path.abspath(f.abs_src_path): f.src_uri for f in files}
    for english, chinese in pairs().items():
        if str(chinese) in pages:
            pages.setdefault(str(english), pages[str(chinese)])
    folder = os.path.dirname(page.file.abs_src_path)

    def between_pages(link: "re.Match[str]") -> str:
        linked = pages.get(os.path.abspath(os.path.join(folder, link[1])))
        if linked is None:
            return link[0]
        path = posixpath.relpath(linked, posixpath.dirname(page.file.src_uri))
        return f"]({path}{link[2] or ''})"

    return LINK.sub(between_pages, markdown)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Let the switch between languages stay on the page."""
    here, url = config.theme["language"], page.url.lstrip("./")
    top = "../" * url.count("/")
    for there in (ENGLISH, CHINESE):
        site = {(ENGLISH, CHINESE): "zh/", (CHINESE, ENGLISH): "../"}.get((here, there), "")
        output = output.replace(f'href="#in-{there}"', f'href="{top}{site}{url}"')
    return output
