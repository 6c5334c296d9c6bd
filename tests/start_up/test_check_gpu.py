"""What `make test-gpu` says before it installs anything, of GPUs that are not here."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

SCRIPT = ROOT / "scripts/check_gpu.py"


def check(folder, lines, code=0):
    """Run the script beside an `nvidia-smi` that prints these lines."""
    fake = folder / "nvidia-smi"
    printed = "\n".join(lines)
    fake.write_text(f"#!/bin/sh\ncat <<'END'\n{printed}\nEND\nexit {code}\n")
    fake.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-S", str(SCRIPT)]  # it has to do with nothing installed
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("capability", "suits"),
    [("6.0", False), ("6.1", True), ("7.5", True), ("8.6", True), ("8.9", True), ("9.0", False),
     ("10.0", False)],
)  # fmt: skip
def test_compute_capability(capability, suits, tmp_path):
    done = check(tmp_path, [f"A card, {capability}, 535.104.05"])
    assert (done.returncode == 0) == suits
    assert done.stdout == f"A card, compute capability {capability}, driver 535.104.05\n"
    assert (f"A card has compute capability {capability}, and" in done.stderr) == (not suits)


def test_any_card_that_does_not_suit_is_named(tmp_path):
    done = check(tmp_path, ["One, 8.6, 535.1", "Two, 9.0, 535.1"])
    assert done.returncode == 1 and done.stderr.startswith("Two has compute capability 9.0")


def test_an_old_driver_and_no_card(tmp_path):
    done = check(tmp_path, ["One, 8.6, 440.33.01"])
    assert done.returncode == 1 and "the driver is 440.33.01: CUDA 11.8 needs" in done.stderr
    for lines, code in (([], 0), (["No devices were found"], 6)):
        done = check(tmp_path, lines, code)
        assert done.returncode == 1 and done.stderr.startswith("no NVIDIA GPU was found")
