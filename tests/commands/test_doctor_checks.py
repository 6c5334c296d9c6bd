"""What `rifle-ext doctor` says of versions and GPUs that are not here."""

import pytest

from rifle_ext.commands.doctor import answers as doctor_paddle
from rifle_ext.commands.doctor import checks as doctor_checks
from rifle_ext.commands.doctor import startup as doctor_startup
from rifle_ext.commands.doctor.checks import NOTE, OK, PROBLEM, TOOLKITS, Package

CPU = Package("paddlepaddle", "2.6.2")
GPU = Package("paddlepaddle-gpu", "2.6.2")
PADDLE_3 = Package("paddlepaddle", "3.3.1")


@pytest.mark.parametrize(
    ("folder", "version", "paddle", "status", "mend"),
    [
        ("/x", "2.8.0", CPU, OK, ""),
        ("/x", "2.7.0", CPU, NOTE, "paddleseg==2.8.0"),
        ("/x", "2.8.0", PADDLE_3, PROBLEM, "paddlepaddle==2.6.2"),
        ("/x", "2.8.1", PADDLE_3, PROBLEM, "paddlepaddle==2.6.2"),
        ("/x", "2.9.0", PADDLE_3, NOTE, "--branch release/2.9.1 https://"),
        (None, None, PADDLE_3, NOTE, "--branch release/2.9.1 https://"),
        ("/x", None, PADDLE_3, OK, ""),
        ("/x", None, CPU, OK, ""),
        (None, None, CPU, NOTE, "paddleseg==2.8.0"),
        (None, None, None, NOTE, "paddleseg==2.8.0"),
    ],
)
def test_toolkits(folder, version, paddle, status, mend):
    finding = doctor_checks.check_toolkit(TOOLKITS[0], folder, version, paddle)
    assert finding.status == status
    assert mend in finding.mend


@pytest.mark.parametrize(
    ("version", "runs"),
    [((6, 0), False), ((6, 1), True), ((7, 0), True), ((7, 5), True), ((8, 0), True),
     ((8, 6), True), ((8, 9), True), ((9, 0), False), ((10, 0), False)],
)  # fmt: skip
def test_compute_capability(version, runs):
    answer = {"cuda": "11.8", "devices": [{"name": "A card", "capability": list(version)}]}
    finding = doctor_paddle.check_capability(answer, GPU)
    assert finding.status == (OK if runs else PROBLEM)
    assert ("packages/stable/cu126/" in finding.mend) == (version == (9, 0))
    assert ("packages/stable/cu129/" in finding.mend) == (version == (10, 0))
    assert f"A card: {version[0]}.{version[1]}" in finding.found
    # Nothing is known of what other wheels hold.
    for other in (GPU._replace(version="2.6.2.post120"), GPU._replace(version="3.2.0")):
        assert doctor_paddle.check_capability(answer, other).status == OK


NO_GPU = {"cuda": None, "devices": []}
BLIND = {"cuda": "11.8", "devices": []}
SEEING = {"cuda": "11.8", "devices": [{"name": "A card", "capability": [8, 6]}]}


@pytest.mark.parametrize(
    ("answer", "listed", "visible", "status", "mend"),
    [
        (SEEING, ["GPU 0: A card"], None, OK, ""),
        (NO_GPU, [], None, NOTE, "--device cpu"),
        (NO_GPU, ["GPU 0: A card"], None, NOTE, 'pip install "paddlepaddle-gpu==2.6.2"'),
        (NO_GPU, ["GPU 0: A card"], None, NOTE, "packages/stable/cu129/"),
        (BLIND, [], None, NOTE, "--device cpu"),
        (BLIND, ["GPU 0: A card"], "", NOTE, "unset CUDA_VISIBLE_DEVICES"),
        (BLIND, ["GPU 0: A card"], None, PROBLEM, "11.8 or higher"),
        ({"error": "OSError: driver"}, [], None, PROBLEM, "run_check"),
    ],
)
def test_gpus(answer, listed, visible, status, mend):
    finding = doctor_paddle.check_gpu(answer, listed, visible)
    assert finding.status == status
    assert mend in finding.mend


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"value": 9.0}, OK),
        ({"value": None}, OK),
        ({"value": 0.0}, PROBLEM),
        ({"error": "OSError: no kernel image"}, PROBLEM),
    ],
)
def test_a_convolution_on_the_gpu(answer, status):
    assert doctor_paddle.check_convolution(answer).status == status


def test_protobuf():
    failed = {"error": "AttributeError: label"}
    assert doctor_paddle.check_fleet({}, "4.25.8", CPU).status == OK
    finding = doctor_paddle.check_fleet(failed, "7.36.2", CPU)
    assert (finding.status, finding.mend) == (PROBLEM, "pip install protobuf==3.20.3")


@pytest.mark.parametrize(
    ("numpy", "paddle", "paddledet", "python", "status", "mend"),
    [
        ("1.23.5", CPU, True, (3, 11), OK, ""),
        ("1.24.0", CPU, True, (3, 11), PROBLEM, 'pip install "numpy<1.24"'),
        ("1.26.4", CPU, True, (3, 12), NOTE, "Python 3.8 to 3.11"),
        ("1.26.4", CPU, False, (3, 11), OK, ""),
        ("2.0.0", CPU, False, (3, 11), PROBLEM, 'pip install "numpy<2"'),
        ("2.4.6", PADDLE_3, False, (3, 11), OK, ""),
        (None, CPU, False, (3, 11), PROBLEM, "pip install"),
    ],
)
def test_numpy(numpy, paddle, paddledet, python, status, mend):
    finding = doctor_checks.check_numpy(numpy, paddle, paddledet, python)
    assert finding.status == status
    assert mend in finding.mend


@pytest.mark.parametrize(
    ("numpy", "python", "status", "mend"),
    [
        ("1.26.4", (3, 12), OK, ""),
        ("2.0.0", (3, 12), PROBLEM, 'pip install "numpy<2"'),
        ("2.2.6", (3, 13), NOTE, "Python 3.8 to 3.12"),
    ],
)
def test_numpy_of_a_checkout_of_paddledetection(numpy, python, status, mend):
    finding = doctor_checks.check_numpy(numpy, PADDLE_3, False, python, imgaug=True)
    assert finding.status == status
    assert mend in finding.mend


@pytest.mark.parametrize(
    ("finding", "status", "mend"),
    [
        (doctor_checks.check_python((3, 8, 1), "python", CPU), OK, ""),
        (doctor_checks.check_python((3, 11, 7), "python", PADDLE_3), OK, ""),
        (doctor_checks.check_python((3, 12, 0), "python", CPU), NOTE, "or paddle 3.3.1"),
        (doctor_checks.check_python((3, 13, 0), "python", PADDLE_3), OK, ""),
        (doctor_checks.check_python((3, 13, 0), "python", None), OK, ""),
        (doctor_checks.check_python((3, 14, 0), "python", PADDLE_3), NOTE, "python3.11"),
        (doctor_checks.check_python((3, 7, 0), "python", None), NOTE, "python3.11"),
        (doctor_checks.check_pydantic("2.10.6"), OK, ""),
        (doctor_checks.check_pydantic("2.9.2"), PROBLEM, "pydantic>=2.10"),
        (doctor_checks.check_pydantic(None), PROBLEM, "pydantic>=2.10"),
        (doctor_checks.check_paddle([PADDLE_3], "/x"), OK, ""),
        (doctor_checks.check_paddle([], "/x"), NOTE, "paddlepaddle==2.6.2"),
        (doctor_checks.check_paddle([CPU], None), PROBLEM, "pip install --force-reinstall"),
        (doctor_checks.check_flag(None, PADDLE_3), OK, ""),
        (doctor_checks.check_flag("0", CPU), NOTE, "export"),
        (doctor_checks.check_opencv([Package("opencv-python", "4.5")], True), OK, ""),
        (doctor_checks.check_opencv([Package("a", "1"), Package("b", "1")], True), NOTE, "-y a b"),
        (doctor_checks.check_opencv([], False), NOTE, "pip install opencv-python"),
        (doctor_startup.check_command("/", "/bin/python", "/"), OK, ""),
        (doctor_startup.check_command("/", "/bin/python", "/usr"), NOTE, "activate"),
        (doctor_startup.check_command("/", "/bin/python", None), NOTE, "write /bin/python"),
        (doctor_startup.check_package("1.0", "/x", "1.0"), OK, ""),
        (doctor_startup.check_package("1.0", "/x", "0.9"), NOTE, "--force-reinstall"),
        (doctor_startup.check_startup(False, [], {}, []), PROBLEM, "--force-reinstall"),
        (doctor_startup.check_startup(False, ["/s/f"], {}, []), PROBLEM, "--force-reinstall"),
        (doctor_startup.check_startup(False, ["/s/f"], {}, ["-s"]), PROBLEM, "without it"),
        (doctor_startup.check_adapters(["paddleseg.core"]), PROBLEM, "--force-reinstall"),
    ],
)
def test_what_is_not_so_here(finding, status, mend):
    assert finding.status == status
    assert mend in finding.mend
