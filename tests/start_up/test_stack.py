"""Which stack is chosen on which machine, and what is read from nvidia-smi."""

import subprocess
import sys

import pytest
from conftest import ROOT

sys.path.append(str(ROOT / "scripts"))

import machine  # noqa: E402
from stack import DET, SEG, Gpu, Machine, NoStack, choose  # noqa: E402

from rifle_ext.commands.doctor.wheels import BLACKWELL, HOPPER, REGISTRY  # noqa: E402

EVERY = tuple(range(8, 14))
HOMES = {"PADDLESEG_HOME": "/seg", "PADDLEDETECTION_HOME": "/det"}
NEW = (535, 104, 5)
BOTH = {SEG: "/seg", DET: "/det"}
CLONED = {SEG: None, DET: None}


def at(minors=EVERY, gpus=(), driver=NEW, **more):
    """A machine with these minor versions of Python 3 and GPUs of these compute capabilities."""
    pythons = {(3, minor): f"python3.{minor}" for minor in minors}
    cards = tuple(Gpu(f"card {capability}", capability, driver) for capability in gpus)
    return Machine(pythons, gpus=cards, **more)


OUT = {"homes": HOMES, "own_index": True}
"""Everything that paddle 3 needs."""

TABLE = {
    "no GPU": (at(), "3.11", 2, None, {}),
    "no GPU, old Python": (at([8]), "3.8", 2, None, {}),
    "no GPU, new Python": (at([12, 13], homes=HOMES), "3.12", 3, None, BOTH),
    "no GPU, newest Python": (at([13], homes=HOMES), "3.13", 3, None, {SEG: "/seg"}),
    "toolkits to be cloned": (at([12], git=True), "3.12", 3, None, CLONED),
    "one checkout": (at([12], homes={"PADDLEDETECTION_HOME": "/d"}), "3.12", 3, None, {DET: "/d"}),
    "one checkout, one to be cloned": (
        at([12], homes={"PADDLEDETECTION_HOME": "/d"}, git=True), "3.12", 3, None,
        {SEG: None, DET: "/d"},
    ),
    "checkouts alone change nothing": (at(homes=HOMES, git=True), "3.11", 2, None, {}),
    "Pascal": (at(gpus=[(6, 1)]), "3.11", 2, REGISTRY, {}),
    "Volta": (at(gpus=[(7, 0)]), "3.11", 2, REGISTRY, {}),
    "Turing": (at(gpus=[(7, 5)]), "3.11", 2, REGISTRY, {}),
    "Ampere": (at(gpus=[(8, 6)]), "3.11", 2, REGISTRY, {}),
    "Ada": (at(gpus=[(8, 9)], **OUT), "3.11", 2, REGISTRY, {}),
    "Ada, new Python": (at([13], gpus=[(8, 9)], **OUT), "3.13", 3, HOPPER, {SEG: "/seg"}),
    "Hopper": (at(gpus=[(9, 0)], **OUT), "3.12", 3, HOPPER, BOTH),
    "Hopper, to be cloned": (
        at(gpus=[(9, 0)], own_index=True, git=True), "3.12", 3, HOPPER, CLONED,
    ),
    "Hopper, no checkouts": (at(gpus=[(9, 0)], own_index=True), "3.11", 2, None, {}),
    "Hopper, no index": (at(gpus=[(9, 0)], homes=HOMES, git=True), "3.11", 2, None, {}),
    "Hopper, no index, new Python": (at([12], gpus=[(9, 0)], homes=HOMES), "3.12", 3, None, BOTH),
    "Hopper, Python 3.8 only": (at([8], gpus=[(9, 0)], **OUT), "3.8", 2, None, {}),
    "Hopper, old driver": (at(gpus=[(9, 0)], driver=(520, 61, 5), **OUT), "3.11", 2, None, {}),
    "Hopper, oldest driver": (
        at(gpus=[(9, 0)], driver=(525, 60, 13), **OUT), "3.12", 3, HOPPER, BOTH,
    ),
    "Blackwell": (at(gpus=[(10, 0)], **OUT), "3.12", 3, BLACKWELL, BOTH),
    "Blackwell for the desk": (at(gpus=[(12, 0)], **OUT), "3.12", 3, BLACKWELL, BOTH),
    "Ampere and Hopper": (at(gpus=[(8, 0), (9, 0)], **OUT), "3.12", 3, HOPPER, BOTH),
    "Hopper and Blackwell": (at(gpus=[(9, 0), (10, 0)], **OUT), "3.12", 3, BLACKWELL, BOTH),
    "an old card for the screen": (at(gpus=[(5, 2), (8, 6)]), "3.11", 2, REGISTRY, {}),
    "Maxwell": (at(gpus=[(5, 2)], **OUT), "3.11", 2, None, {}),
    "Ampere, old driver": (at(gpus=[(8, 0)], driver=(440, 33, 1)), "3.11", 2, None, {}),
    "Ampere, oldest driver": (at(gpus=[(8, 0)], driver=(450, 80, 2)), "3.11", 2, REGISTRY, {}),
    "Ampere, driver of CUDA 11, new Python": (
        at([12], gpus=[(8, 0)], driver=(470, 57), **OUT), "3.12", 3, None, BOTH,
    ),
    "capability unknown": (at(gpus=[None], driver=(470, 57)), "3.11", 2, REGISTRY, {}),
    "nothing known": (at(gpus=[None], driver=None), "3.11", 2, REGISTRY, {}),
    "nothing known, new Python": (
        at([12], gpus=[None], driver=None, **OUT), "3.12", 3, HOPPER, BOTH,
    ),
    "nvidia-smi hangs": (at(gpu_trouble="no answer"), "3.11", 2, None, {}),
    "ARM": (at(gpus=[(9, 0)], processor="aarch64", **OUT), "3.11", 2, None, {}),
    "WORLD=cpu": (at(gpus=[(8, 6)], world="cpu"), "3.11", 2, None, {}),
    "WORLD=cpu, new Python": (at([13], world="cpu", homes=HOMES), "3.13", 3, None, {SEG: "/seg"}),
    "WORLD=paddle2": (at(gpus=[(8, 6)], world="paddle2", **OUT), "3.11", 2, REGISTRY, {}),
    "WORLD=paddle2, Hopper": (at(gpus=[(9, 0)], world="paddle2", **OUT), "3.11", 2, None, {}),
    "WORLD=paddle3": (at(world="paddle3", homes=HOMES), "3.12", 3, None, BOTH),
    "WORLD=paddle3, Ampere": (at(gpus=[(8, 6)], world="paddle3", **OUT), "3.12", 3, HOPPER, BOTH),
    "WORLD=paddle3, Python 3.9": (at([9], world="paddle3", homes=HOMES), "3.9", 3, None, BOTH),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_the_stack_of(name):
    found, python, paddle, wheel, checkouts = TABLE[name]
    stack = choose(found)
    assert stack[:4] == (f"python{python}", paddle, wheel, checkouts)
    unused = bool(found.gpus or found.gpu_trouble) and wheel is None
    assert unused == any("GPU is" in note for note in stack.notes)
    left_out = [source.name for source in (SEG, DET) if paddle == 3 and source not in checkouts]
    assert left_out == [note.split()[0] for note in stack.notes if " is left out: " in note]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Hopper, no checkouts", SEG.command),
        ("Hopper, no checkouts", "PADDLEDETECTION_HOME=/path/to/PaddleDetection"),
        ("Hopper, no index", f'pip install "{HOPPER.requirement}" -i {HOPPER.source}'),
        ("Hopper, old driver", "needs driver 525.60.13 or newer"),
        ("Hopper, old driver", "compute capability 9.0, driver 520.61.5"),
        ("Hopper, Python 3.8 only", "needs Python 3.9 to 3.13"),
        ("Ampere, old driver", "(CUDA 11.8) needs driver 450.80.2 or newer"),
        ("Ampere, driver of CUDA 11, new Python", "needs Python 3.8 to 3.11"),
        ("Maxwell", "https://www.paddlepaddle.org.cn/install"),
        ("ARM", "no GPU build for aarch64"),
        ("nvidia-smi hangs", "no answer"),
        ("WORLD=paddle2, Hopper", "holds no code for compute capability 9.0"),
        ("no GPU, newest Python", "needs numpy<2"),
        ("one checkout", "PADDLESEG_HOME is not set"),
    ],
)
def test_what_is_said_of_the_choice(name, said):
    assert said in "\n".join(choose(TABLE[name][0]).notes)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (at([]), "Python 3.8 to 3.13"),
        (at(world="paddle4"), "WORLD=paddle4: it may be paddle2, paddle3, cpu"),
        (at([12, 13], world="paddle2"), "needs Python 3.8 to 3.11; there is 3.12, 3.13"),
        (at([8], world="paddle3", homes=HOMES), "needs Python 3.9 to 3.13"),
        (at([13]), "PADDLESEG_HOME is not set"),
        (at([13]), "PaddleDetection is left out"),
        (at([12]), f"    {DET.command}\n"),
        (at(world="paddle3"), "PADDLESEG_HOME and PADDLEDETECTION_HOME are not set"),
    ],
)  # fmt: skip
def test_where_nothing_runs_it_is_said_what_to_do(found, said):
    with pytest.raises(NoStack) as refused:
        choose(found)
    assert said in str(refused.value)


@pytest.mark.parametrize(("minors", "advised"), [([12, 13], True), ([11, 13], False)])
def test_an_older_python_is_advised_where_there_is_none(minors, advised):
    with pytest.raises(NoStack) as refused:
        choose(at(minors, world="paddle3"))
    assert ("Or install Python 3.8 to 3.11" in str(refused.value)) == advised


def test_lines_of_nvidia_smi():
    said = """NVIDIA H100 80GB HBM3, 9.0, 535.104.05
A name, with a comma, 8.6, 470.57
NVIDIA A100-SXM4-40GB MIG 1g.5gb, [N/A], 525.60.13
Odd, [Not Supported], [N/A]
No devices were found
Unable to determine the device handle for GPU 0000:3B:00.0: Unknown Error
  MIG 1g.10gb     Device  0: (UUID: MIG-1)
"""
    assert machine.read_gpus(said) == (
        Gpu("NVIDIA H100 80GB HBM3", (9, 0), (535, 104, 5)),
        Gpu("A name, with a comma", (8, 6), (470, 57)),
        Gpu("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None, (525, 60, 13)),
        Gpu("Odd", None, None),
    )
    assert machine.read_gpus("Tesla T4, 450.80.02\n", with_capability=False) == (
        Gpu("Tesla T4", None, (450, 80, 2)),
    )
    assert machine.read_gpus("") == ()


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Puts an nvidia-smi of these lines of shell on the path, alone."""

    def put(*lines):
        tool = tmp_path / "nvidia-smi"
        tool.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
        tool.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return put


def test_an_nvidia_smi_that_answers(smi, monkeypatch):
    assert machine.find_gpus() == ((), "")
    smi("echo 'One, 8.6, 535.1'", "echo 'Two, 9.0, 535.1'")
    gpus = (Gpu("One", (8, 6), (535, 1)), Gpu("Two", (9, 0), (535, 1)))
    assert machine.find_gpus() == (gpus, "")
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert machine.find_gpus() == ((), f"CUDA_VISIBLE_DEVICES={hidden!r} hides them")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert machine.find_gpus() == (gpus, "")


def test_an_nvidia_smi_that_does_not(smi, monkeypatch):
    old = 'case "$1" in *compute_cap*) echo \'Field "compute_cap" is not a valid field to query.\''
    smi(old, "exit 2 ;;", "*) echo 'Tesla T4, 450.80.02' ;; esac")
    assert machine.find_gpus() == ((Gpu("Tesla T4", None, (450, 80, 2)),), "")
    smi("echo 'NVIDIA-SMI has failed because it could not talk to the driver.'", "exit 9")
    assert machine.find_gpus() == (
        (), "nvidia-smi fails: NVIDIA-SMI has failed because it could not talk to the driver.",
    )  # fmt: skip
    smi("echo 'No devices were found'")
    assert machine.find_gpus() == ((), "nvidia-smi lists none")
    smi("while :; do :; done")
    monkeypatch.setattr(machine, "SECONDS", 0.3)
    assert machine.find_gpus() == ((), "nvidia-smi did not answer within 0.3 s")


def test_a_home_that_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CLONES", tmp_path)
    monkeypatch.setenv("PADDLESEG_HOME", str(tmp_path))
    monkeypatch.delenv("PADDLEDETECTION_HOME", raising=False)
    with pytest.raises(NoStack, match=f"PADDLESEG_HOME={tmp_path}: no checkout of PaddleSeg"):
        machine.find_homes()
    (tmp_path / "paddleseg").mkdir()
    assert machine.find_homes() == {"PADDLESEG_HOME": str(tmp_path)}
    (tmp_path / "PaddleDetection/ppdet").mkdir(parents=True)
    assert machine.find_homes()["PADDLEDETECTION_HOME"] == str(tmp_path / "PaddleDetection")


def test_what_computes(tmp_path):
    command = [sys.executable, str(ROOT / "scripts/try_device.py")]
    assert subprocess.run([*command, "cpu"], timeout=60).returncode == 0
    import paddle

    if not paddle.device.is_compiled_with_cuda():
        refused = subprocess.run([*command, "gpu"], capture_output=True, timeout=60)
        assert refused.returncode != 0 and refused.stderr
