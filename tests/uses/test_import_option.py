"""Components in a script or package of the user's own: `--import` in the commands."""

import json
import random
import sys

import pytest
from processes import path_with, run
from small import fields

from rifle_ext.errors import RifleError
from rifle_ext.training.components import import_components

pytestmark = pytest.mark.timeout(120)

COMPONENTS = """
from paddle import nn
from paddleseg.cvlibs import manager

print("noise on standard output")

@manager.MODELS.add_component
class {name}(nn.Layer):
    def __init__(self, num_classes):
        super().__init__()
        self.backbone, self.head = nn.Conv2D(3, 4, 1), nn.Conv2D(4, num_classes, 1)
    def forward(self, x):
        return [self.head(self.backbone(x))]

if __name__ == "__main__":
    raise SystemExit("trained")
"""


@pytest.fixture
def project(seg, monkeypatch):
    """A folder with a package and a script, which is the current one."""
    package = seg.folder / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "models.py").write_text(COMPONENTS.format(name="Packaged"))
    (seg.folder / "my_train.py").write_text(COMPONENTS.format(name="Scripted"))
    monkeypatch.chdir(seg.folder)
    return seg


CASES = [
    ("plan", "Packaged", ["--import", "my_package.models"]),
    ("plan", "Scripted", ["--import", "my_package.models", "--import", "my_train.py"]),
    ("init", "Scripted", ["--import", "my_train"]),
]


@pytest.mark.parametrize(("command", "model", "options"), CASES)
def test_commands_that_build_a_model(project, command, model, options):
    path = project.config(**fields(model))
    more = ["--json"] if command == "plan" else []
    arguments = ["--toolkit", "seg", "-c", path, *options, *more]
    done = run("-c", CONSOLE, command, *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    if command == "plan":
        assert [layer["name"] for layer in json.loads(done.stdout)["layers"]] == ["head"]
    else:
        assert "head (Conv2D)" in done.stdout and "noise" not in done.stdout


CONSOLE = """
import sys
sys.path[:] = [p for p in sys.path if p]  # a console script has no current folder on its path
from rifle_ext.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_module_that_is_not_there(project):
    path = project.config(**fields("Packaged"))
    arguments = ["plan", "--toolkit", "seg", "-c", path, "--import", "my_packages.models"]
    done = run("-c", CONSOLE, *arguments, PYTHONPATH=path_with(project.folder))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "[RIFLE] --import my_packages.models: ModuleNotFoundError: No module named 'my_packages'"
    )


def test_a_file_does_not_take_the_place_of_a_module(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, code in (
        ("random", ""),
        ("sys", ""),
        ("half", "raise ValueError('no')"),
        ("own", ""),
    ):
        (tmp_path / f"{name}.py").write_text(code)
    for name in ("random", "sys"):
        said = f"{name}.py: ImportError: there is a module {name} already, .*; rename the file"
        with pytest.raises(RifleError, match=said):
            import_components([str(tmp_path / f"{name}.py")])
    assert sys.modules["random"] is random and sys.modules["sys"] is sys
    with pytest.raises(RifleError, match="half.py: ValueError: no"):
        import_components([str(tmp_path / "half.py")])
    assert "half" not in sys.modules
    for _ in range(2):  # each arm of a trial imports it
        import_components([str(tmp_path / "own.py")])
    assert sys.modules.pop("own").__file__ == str(tmp_path / "own.py")


def test_the_train_tool(project):
    path = project.config(**fields("Packaged", iters=6))
    flags = ["--device", "cpu", "--save_dir", project.out, "--import", "my_package.models"]
    done = run("-m", "seg_hooks.train", "--config", path, *flags)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [e["step"] for e in project.events("reset")] == [4]
