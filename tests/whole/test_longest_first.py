"""Files of tests that take long are handed out first."""

import re
import shutil

from conftest import ROOT
from longest_first import LONGEST
from processes import run


def test_they_are_there():
    assert [name for name in LONGEST if not (ROOT / "tests" / name).is_file()] == []


def test_they_come_before_files_of_more_tests(tmp_path):
    for name in ("conftest.py", "helpers/longest_first.py"):
        copied = tmp_path / "tests" / name
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tests" / name, copied)
    tests = {LONGEST[1]: 1, LONGEST[0]: 1, "heads/test_three.py": 3, "heads/test_five.py": 5}
    for name, number in tests.items():
        path = tmp_path / "tests" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"def test_{n}():\n    pass\n\n\n" for n in range(number)))
    flags = ["-v", "-n", "1", "--dist", "loadfile", "-p", "no:cacheprovider"]
    done = run("-m", "pytest", *flags, f"--rootdir={tmp_path}", tmp_path / "tests")
    assert done.returncode == 0, done.stdout
    order = re.findall(r"PASSED \S*?\btests/(\S+)::", done.stdout)
    wanted = [LONGEST[0], LONGEST[1], "heads/test_five.py", "heads/test_three.py"]
    assert list(dict.fromkeys(order)) == wanted
