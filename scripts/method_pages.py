"""Shows the README of each method, which lies beside its code, as a page of the documentation.

A hook of MkDocs. Links hold on disk, where the files are; here they are turned into links between
pages.
"""

import os
import posixpath
import re
from pathlib import Path
from typing import Any, Dict

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
READMES = {
    f"methods/{path.parent.name}.md": path
    for path in sorted((ROOT / "rifle_ext/methods").glob("*/README.md"))
}
"""The files by the page they become."""

LINK = re.compile(r"\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for page, path in READMES.items():
        files.append(File.generated(config, page, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links between files into links between pages."""
    pages: Dict[str, str] = {os.path.abspath(f.abs_src_path): f.src_uri for f in files}
    folder = os.path.dirname(page.file.abs_src_path)

    def between_pages(link: "re.Match[str]") -> str:
        linked = pages.get(os.path.abspath(os.path.join(folder, link[1])))
        if linked is None:
            return link[0]
        path = posixpath.relpath(linked, posixpath.dirname(page.file.src_uri))
        return f"]({path}{link[2] or ''})"

    return LINK.sub(between_pages, markdown)
