"""`rifle-ext doctor`: in this environment, in damaged ones, and beside a GPU that is not here."""

import argparse
import json
import re
import sys
import time
import zlib

import pytest
from conftest import ROOT
from processes import run

from rifle_ext.commands.doctor import checks as doctor_checks
from rifle_ext.commands.doctor import command as doctor
from rifle_ext.commands.doctor import probe as doctor_probe
from rifle_ext.commands.doctor import wheels
from rifle_ext.commands.doctor.checks import NOTE, OK, PROBLEM, TOOLKITS, Finding

CODE = (
    "import argparse; from rifle_ext.commands.doctor.command import add_command; "
    "parser = argparse.ArgumentParser(); add_command(parser.add_subparsers()); "
    "chosen = parser.parse_args(); raise SystemExit(chosen.command(chosen))"
)
SITE = [path for path in sys.path if path.endswith("site-packages")]
TESTED = all(doctor.released(kit) == kit.tested for kit in TOOLKITS)
"""Whether the tested releases are installed here, or checkouts on a paddle of the third series."""


def doctor_in(*switches, **environment):
    """Run `doctor --json` in a process of its own; returns it and its findings by check."""
    done = run(*switches, "-c", CODE, "doctor", "--json", **environment)
    assert not done.stderr, done.stderr[-2000:]
    listed = [Finding(**finding) for finding in json.loads(done.stdout)]
    return done, {finding.check: finding for finding in listed}


def here(limit=60):
    return {finding.check: finding for finding in doctor.examine(limit)}


@pytest.fixture(scope="module")
def sound():
    """The answer where everything is as it should be."""
    return doctor_in(RIFLE_EXT_AUTOLOAD=None, FLAGS_set_to_1d="1")


@pytest.fixture(scope="module")
def switched_off():
    return doctor_in(RIFLE_EXT_AUTOLOAD="0", FLAGS_set_to_1d=None)


@pytest.fixture
def fake_paddle(tmp_path, monkeypatch):
    """Put a made-up paddle in front of the real one."""

    def put(code):
        (tmp_path / "paddle").mkdir()
        (tmp_path / "paddle/__init__.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        # Another test may have imported the real one.
        monkeypatch.delitem(sys.modules, "paddle", raising=False)

    return put


def test_nothing_is_wrong_here(sound):
    done, found = sound
    assert done.returncode == 0
    assert [finding for finding in found.values() if finding.status == PROBLEM] == []
    expected = {"startup", "adapters", "import", "fleet", "png"}
    if TESTED:
        expected |= {"paddle", "paddleseg", "paddledet"}
    assert {name for name in expected if found[name].status == OK} == expected
    assert all(bool(finding.mend) == (finding.status != OK) for finding in found.values())


def test_the_start_up_file_switched_off(switched_off):
    done, found = switched_off
    assert done.returncode == 1
    assert found["startup"].status == PROBLEM
    assert "RIFLE_EXT_AUTOLOAD=0" in found["startup"].found
    assert "unset RIFLE_EXT_AUTOLOAD" in found["startup"].mend
    assert "python -m seg_hooks.train" in found["startup"].mend
    status, mend = (NOTE, "export FLAGS_set_to_1d=1") if TESTED else (OK, "")
    assert found["flag"] == Finding("flag", status, found["flag"].found, mend)


def test_png_files_after_paddle(sound, switched_off):
    """The start-up file imports zlib before paddle; where Python has it built in, nobody has to."""
    assert sound[1]["png"].status == OK
    bad = {name: finding for name, finding in switched_off[1].items() if finding.status == PROBLEM}
    del bad["startup"]
    if not hasattr(zlib, "__file__") or not TESTED:  # paddle 3 exports no zlib of its own
        assert bad == {}
        return
    # OpenCV on some Pythons, the import of paddle itself on others.
    ((name, finding),) = bad.items()
    assert name in ("png", "import")
    assert "import zlib before paddle" in finding.mend


def test_what_asks_paddle_does_not_import_zlib_itself():
    code = "import sys, rifle_ext.commands.doctor.probe; print('zlib' in sys.modules)"
    assert run("-c", code, RIFLE_EXT_AUTOLOAD="0").stdout == "False\n"


def test_python_without_site_packages(tmp_path):
    (tmp_path / "paddle").mkdir()
    (tmp_path / "paddle/__init__.py").write_text("__version__ = '2.6.2'")
    paths = ":".join([str(tmp_path), str(ROOT), *SITE])
    done, found = doctor_in("-S", PYTHONPATH=paths)
    assert done.returncode == 1
    assert "-S" in found["startup"].found
    assert "without -S" in found["startup"].mend


def pretend_installed(folder, name, version):
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    content = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(content)


def test_two_paddles(tmp_path, fake_paddle):
    """And files of another version than the installed one."""
    (mine,) = doctor.installed(*doctor.PADDLES)
    (other,) = {*doctor.PADDLES} - {mine.name}
    pretend_installed(tmp_path, other, mine.version)
    fake_paddle("__version__ = '2.5.0'")
    found = here()
    assert found["paddle"].status == PROBLEM
    assert all(f"{name} {mine.version}" in found["paddle"].found for name in (mine.name, other))
    assert "pip uninstall -y paddlepaddle paddlepaddle-gpu" in found["paddle"].mend
    assert found["import"].status == PROBLEM
    assert "works: 2.5.0" in found["import"].found
    assert f"{mine.version} is installed" in found["import"].found
    assert "AttributeError" in found["gpu"].found
    assert found["capability"].status == NOTE


@pytest.mark.parametrize(
    ("code", "limit", "said"),
    [
        ("import os; os._exit(139)", 60, "exit code 139"),
        ("import time; time.sleep(60)", 1, "nothing more happened within 1 s"),
        ("print('noise'); raise SystemExit('no license')", 60, "SystemExit: no license"),
        ("raise ImportError('libcudart.so.11.0: not found')", 60, "libcudart.so.11.0"),
    ],
)
def test_a_paddle_that_cannot_be_imported(fake_paddle, capfd, code, limit, said):
    fake_paddle(code)
    start = time.monotonic()
    found = here(limit)
    assert time.monotonic() - start < 20
    assert found["import"].status == PROBLEM
    assert said in found["import"].found
    for check in ("fleet", "png", "gpu", "capability", "convolution"):
        assert found[check].status == NOTE
        assert "not checked" in found[check].found
    assert capfd.readouterr() == ("", "")


def test_a_crash_half_way_is_the_crash_of_that_step():
    printed = b'{"step": "import", "version": "2.6.2"}\n{"step": "gpu", "cuda": null}\n'
    answers = doctor_probe.answers(printed, "crashed")
    assert answers["import"] == {"version": "2.6.2"}
    assert answers["fleet"] == {"error": "crashed"}
    assert answers["png"] == {"unknown": "crashed at an earlier check"}


def test_no_paddle_at_all(monkeypatch):
    monkeypatch.setattr(doctor, "folder", lambda module: None)
    monkeypatch.setattr(doctor, "probe", lambda limit: pytest.fail("nothing to ask"))
    found = here()
    assert found["paddle"].status == PROBLEM
    assert "not checked: there is no paddle" in found["import"].found


def test_a_check_that_fails_itself_is_a_finding():
    def check_nothing(_):
        raise KeyError("gone")

    finding = doctor.guarded(check_nothing, 1)
    assert (finding.check, finding.status) == ("nothing", PROBLEM)
    assert "KeyError: 'gone'" in finding.found


def test_the_text_and_the_exit_code(monkeypatch, capsys):
    parser = argparse.ArgumentParser()
    doctor.add_command(parser.add_subparsers())
    chosen = parser.parse_args(["doctor"])
    fine, bad = Finding("one", OK, "fine"), Finding("two", PROBLEM, "bad", "pip install good")
    monkeypatch.setattr(doctor, "examine", lambda: [fine, bad])
    assert chosen.command(chosen) == 1
    said = "ok      one: fine\nPROBLEM two: bad\n          mend: pip install good\n"
    assert capsys.readouterr().out == said
    monkeypatch.setattr(doctor, "examine", lambda: [fine, Finding("two", NOTE, "odd", "look")])
    assert chosen.command(chosen) == 0


PINS = re.compile(r"^(\S+)==(\S+)$", re.MULTILINE)


def test_tested_versions_are_the_pinned_ones():
    newer = dict(PINS.findall((ROOT / "constraints-paddle3.txt").read_text()))
    assert newer["paddlepaddle"] == wheels.PADDLE_3
    pinned = dict(PINS.findall((ROOT / "constraints.txt").read_text()))
    assert doctor_checks.TESTED_PADDLE == pinned["paddlepaddle"] == pinned["paddlepaddle-gpu"]
    assert {kit.package: kit.tested for kit in TOOLKITS} == {
        name: pinned[name] for name in ("paddleseg", "paddledet")
    }


def test_a_toolkit_from_a_checkout(tmp_path, monkeypatch):
    kit = TOOLKITS[0]
    assert doctor.released(kit) == (kit.tested if TESTED else None)
    (tmp_path / "paddleseg").mkdir()
    (tmp_path / "paddleseg/__init__.py").write_text("raise ImportError('never imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "paddleseg", raising=False)
    assert doctor.folder("paddleseg") == str(tmp_path / "paddleseg")
    assert doctor.released(kit) is None


HOPPER = """
from types import SimpleNamespace as Namespace
__version__ = "2.6.2"
card = Namespace(name="H100", major=9, minor=0)
cuda = Namespace(device_count=lambda: 1, get_device_properties=lambda index: card)
device = Namespace(is_compiled_with_cuda=lambda: True, cuda=cuda, set_device=lambda name: None)
version = Namespace(cuda=lambda: "11.8")
def ones(shape):
    raise OSError("no kernel image is available")
"""


def test_a_gpu_that_paddle_cannot_use(tmp_path, fake_paddle):
    pretend_installed(tmp_path, "paddlepaddle-gpu", "2.6.2")
    fake_paddle(HOPPER)
    found = here()
    assert "for CUDA 11.8, sees 0: H100" in found["gpu"].found
    assert "H100: 9.0: paddlepaddle-gpu 2.6.2 holds no code" in found["capability"].found
    assert "OSError: no kernel image is available" in found["convolution"].found


def test_gpus_that_the_driver_lists(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H100 (UUID: GPU-1)'\necho 'and more'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.listed_gpus() == ["GPU 0: NVIDIA H100"]
    assert doctor.prefix_of_command() is None
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert doctor.listed_gpus() == []
