"""The script behind both commands of the README, with stand-ins for Python, pip and nvidia-smi."""

import json
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

TOOLS = ("sh", "tr", "dirname", "mkdir", "cp", "cat")
FILES = (
    "scripts/make_env.sh", "scripts/make_env.py", "scripts/machine.py", "scripts/stack.py",
    "rifle_ext/__init__.py", "rifle_ext/commands/__init__.py",
    "rifle_ext/commands/doctor/__init__.py", "rifle_ext/commands/doctor/wheels.py",
    "constraints.txt", "constraints-paddle3.txt", "setup.py",
)  # fmt: skip
PYTHON = f"""#!/bin/sh
case "$*" in
  *ensurepip*) echo 3 {{minor}} ;;
  *"sys.exit(sys.version_info"*) exit 0 ;;
  *make_env.py*) exec {sys.executable} "$@" ;;
  *"-m venv"*) mkdir -p .venv/bin .venv/lib/python3.x/site-packages; cp "$0" .venv/bin/python ;;
  *try_device.py*) echo "$*" >> tried.txt
     case "$*" in *gpu) {{gpu}} ;; esac ;;
  *) echo "$*" >> installed.txt ;;
esac
"""
AMPERE = "#!/bin/sh\necho 'A card, 8.6, 535.104.05'\n"
HOPPER = "#!/bin/sh\necho 'Big card, 9.0, 535.104.05'\n"


@pytest.fixture
def machine(tmp_path):
    """A folder with the scripts, and an empty PATH to put stand-ins on."""
    for name in FILES:
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "project" / name)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))

    def run(*flags, **variables):
        nowhere = "http://127.0.0.1:9"  # nothing is asked on the network
        environment = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path), "https_proxy": nowhere}
        environment.update(variables)
        script = tmp_path / "project/scripts/make_env.sh"
        return subprocess.run(
            ["sh", script, *flags], env=environment, capture_output=True, text=True, timeout=30
        )

    def put(name, content):
        path = tmp_path / "bin" / name
        path.write_text(content)
        path.chmod(0o755)

    def python(minor, gpu="exit 0"):
        put(f"python3.{minor}", PYTHON.format(minor=minor, gpu=gpu))

    def installed():
        return (run.project / "installed.txt").read_text().splitlines()

    run.put, run.python, run.installed, run.project = put, python, installed, tmp_path / "project"
    return run


def test_without_a_suitable_python_it_says_which_it_needs(machine):
    machine.put("python3", "#!/bin/sh\nexit 1\n")
    done = machine()
    assert done.returncode != 0
    assert "needs Python 3.8 to 3.13" in done.stderr
    assert not (machine.project / ".venv").exists()


@pytest.mark.parametrize(("gpu", "extra"), [(True, "gpu"), (False, "cpu")])
def test_the_newest_suitable_python_and_the_right_paddle(machine, gpu, extra):
    machine.put("python3.11", "#!/bin/sh\nexit 1\n")  # there, but does not run
    for minor in (10, 9, 13):
        machine.python(minor)
    if gpu:
        machine.put("nvidia-smi", AMPERE)
    done = machine()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().endswith("/python3.10")
    pins = "-m pip install --quiet --disable-pip-version-check -c constraints.txt"
    assert machine.installed() == [
        f"{pins} pip setuptools wheel", f"{pins} --editable .[{extra},seg,det,test]",
    ]  # fmt: skip
    assert (machine.project / "tried.txt").read_text().endswith(f"try_device.py {extra}\n")
    again = machine()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert machine(PADDLESEG_HOME="/seg").stdout == ""  # paddle 2 takes the registry's packages
    assert len(machine.installed()) == 2
    machine.put("nvidia-smi", "#!/bin/sh\necho 'Another, 7.5, 535.104.05'\n")
    assert machine().stdout.startswith("Installing paddlepaddle-gpu==2.6.2, ")
    assert len(machine.installed()) == 4


def test_a_gpu_that_does_not_compute_gives_way_to_the_cpu(machine):
    machine.python(11, gpu="echo 'OSError: CUDA error(209)'; exit 1")
    machine.put("nvidia-smi", AMPERE)
    done = machine()
    assert done.returncode == 0
    assert "the GPU is not used: A card (compute capability 8.6, driver 535.104.5)" in done.stderr
    assert 'Tried: pip install "paddlepaddle-gpu==2.6.2", for CUDA 11.8' in done.stderr
    assert "Failed: OSError: CUDA error(209)\n" in done.stderr
    assert "To get the GPU: " in done.stderr and "Traceback" not in done.stderr
    assert [line.split("[")[1] for line in machine.installed() if "[" in line] == [
        "gpu,seg,det,test]", "cpu,seg,det,test]",
    ]  # fmt: skip
    again = machine()
    assert again.returncode == 0 and len(machine.installed()) == 4
    assert again.stderr.startswith("rifle-ext: the GPU is not used")


def test_make_test_gpu_refuses_where_a_gpu_cannot_be_used(machine):
    machine.python(11, gpu="kill -11 $$")
    done = machine("--gpu")
    assert done.returncode == 1
    assert done.stderr == "rifle-ext: no NVIDIA GPU was found: there is no nvidia-smi\n"
    machine.put("nvidia-smi", "#!/bin/sh\necho 'No devices were found'\n")
    assert "no NVIDIA GPU was found: nvidia-smi lists none" in machine("--gpu").stderr
    machine.put("nvidia-smi", HOPPER)
    done = machine("--gpu")
    assert done.returncode == 1
    assert done.stdout == "Big card (compute capability 9.0, driver 535.104.5)\n"
    assert "stable/cu126/ could not be reached" in done.stderr
    assert not (machine.project / "installed.txt").exists()
    machine.put("nvidia-smi", AMPERE)
    done = machine("--gpu")
    assert done.returncode == 1 and "Failed: Python crashed" in done.stderr
    assert len(machine.installed()) == 2
    machine.python(11)
    assert machine("--gpu").returncode == 0


def test_paddle_3_with_a_checkout(machine, tmp_path):
    machine.python(13)
    done = machine()
    assert done.returncode == 1 and "export PADDLESEG_HOME=/path/to/PaddleSeg" in done.stderr
    (tmp_path / "seg/paddleseg").mkdir(parents=True)
    done = machine(PADDLESEG_HOME=str(tmp_path / "seg"))
    assert done.returncode == 0, done.stderr
    assert "PaddleDetection is left out" in done.stderr
    assert machine.installed()[1].endswith(
        "-c constraints-paddle3.txt --editable .[paddle3-cpu,seg-checkout,test]"
    )
    link = machine.project / ".venv/lib/python3.x/site-packages/toolkits.pth"
    assert link.read_text() == f"{tmp_path / 'seg'}\n"
    assert json.loads((machine.project / ".venv/stack.json").read_text())["gpu"] is False
    assert machine(PADDLESEG_HOME=str(tmp_path / "seg")).stdout == ""
    (tmp_path / "other/paddleseg").mkdir(parents=True)
    assert machine(PADDLESEG_HOME=str(tmp_path / "other")).stdout.startswith("Installing ")
    assert link.read_text() == f"{tmp_path / 'other'}\n"


def test_toolkits_are_cloned_where_their_host_answers(machine):
    machine.python(12)
    machine.put("git", '#!/bin/sh\n[ "$1" = ls-remote ] || echo "$*" >> cloned.txt\n')
    done = machine()
    assert done.returncode == 0, done.stderr
    cloned = (machine.project / "cloned.txt").read_text().splitlines()
    assert [line.split()[-2].rsplit("/")[-1] for line in cloned] == ["PaddleSeg", "PaddleDetection"]
    assert cloned[0].startswith("clone --depth 1 --branch release/2.9.1 ")
    assert cloned[0].endswith("/.toolkits/PaddleSeg")


def test_a_registry_that_does_not_answer(machine):
    machine.python(11)
    failing = PYTHON.format(minor=11, gpu="exit 0").replace(
        '*) echo "$*" >> installed.txt', "*) echo 'ERROR: No matching distribution' >&2; exit 1"
    )
    machine.put("python3.11", failing)
    done = machine()
    assert done.returncode == 1
    assert "fails:\nERROR: No matching distribution" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("left", ["cpu 1234 5678", "", "[]", '{"key": 1}'])
def test_what_cannot_be_read_is_made_anew(machine, left):
    """As an older version of the script, or a kill, has left it."""
    machine.python(11)
    assert machine().returncode == 0
    (machine.project / ".venv/stack.json").write_text(left)
    done = machine()
    assert (done.returncode, done.stderr) == (0, "")
    assert len(machine.installed()) == 4
