"""The script behind both commands of the README, with stand-ins for Python and nvidia-smi."""

import shutil
import subprocess

import pytest
from conftest import ROOT

TOOLS = ("sh", "cat", "cksum", "tr", "grep", "dirname", "rm", "mkdir", "chmod", "cp")
PYTHON = """#!/bin/sh
case "$*" in
  *version_info*) exit {suits} ;;
  "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
  *) echo "$*" >> installed.txt ;;
esac
"""


@pytest.fixture
def machine(tmp_path):
    """A folder with the script, and an empty PATH to put stand-ins on."""
    (tmp_path / "project/scripts").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for name in ("scripts/make_env.sh", "constraints.txt", "setup.py"):
        shutil.copy(ROOT / name, tmp_path / "project" / name)
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))

    def run():
        environment = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}
        script = tmp_path / "project/scripts/make_env.sh"
        return subprocess.run(
            ["sh", script], env=environment, capture_output=True, text=True, timeout=30
        )

    def put(name, content):
        path = tmp_path / "bin" / name
        path.write_text(content)
        path.chmod(0o755)

    run.put, run.project = put, tmp_path / "project"
    return run


def test_without_a_suitable_python_it_says_which_it_needs(machine):
    machine.put("python3", PYTHON.format(suits=1))
    done = machine()
    assert done.returncode != 0
    assert "needs Python 3.8, 3.9, 3.10 or 3.11" in done.stderr
    assert not (machine.project / ".venv").exists()


@pytest.mark.parametrize(("gpu", "extra"), [(True, "gpu"), (False, "cpu")])
def test_the_newest_suitable_python_and_the_right_paddle(machine, gpu, extra):
    machine.put("python3.11", PYTHON.format(suits=1))  # there, but does not run
    machine.put("python3.10", PYTHON.format(suits=0))
    machine.put("python3.9", PYTHON.format(suits=0))
    if gpu:
        machine.put("nvidia-smi", "#!/bin/sh\necho 'GPU 0: some card'\n")
    done = machine()
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("/python3.10")
    installed = (machine.project / "installed.txt").read_text()
    assert f"--editable .[{extra},seg,det,test]" in installed
    again = machine()
    assert (again.returncode, again.stdout) == (0, "")
    assert (machine.project / "installed.txt").read_text() == installed
