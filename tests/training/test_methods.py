"""Methods are plug-ins: installed ones are heeded by the toolkits' own tools, in a known order."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from processes import path_with, run, run_unmodified

from rifle_ext import cli
from rifle_ext.errors import RifleError
from rifle_ext.training import registry
from rifle_ext.training.hooks import Hook, Hooks
from rifle_ext.training.registry import has_block, methods_for, registered

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="session")
def plugins(tmp_path_factory):
    """A folder with the example's package installed, and one whose module cannot be imported."""
    folder = tmp_path_factory.mktemp("plugins")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    example = shutil.copytree(ROOT / "examples/freeze_backbone", folder / "source")
    subprocess.run(
        [*pip, "--target", folder, example],
        check=True, timeout=120, env={**os.environ, "PIP_NO_INDEX": "1"}, capture_output=True,
    )  # fmt: skip
    broken = folder / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text("[rifle_ext.methods]\nbroken = broken_method:hooks\n")
    (folder / "broken_method.py").write_text("import no_such_module\n")
    return folder


def weights(path, name):
    import paddle

    return paddle.load(str(path), return_numpy=True)[name]


def events(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


READY = yaml.safe_load((ROOT / "configs/seg/pp_liteseg.yml").read_text())
LITESEG = {key: READY[key] for key in ("model", "loss")}
BLOCKS = {"freeze_backbone": {"iterations": 3}, "rifle": {"re_init_iter": 2, "max_re_num": 1}}
WANTED = ["plan", "reset", "thaw", "end"]


def run_seg(path, out, plugins, home):
    flags = ["--config", path, "--device", "cpu", "--save_dir", out, "--save_interval", "1"]
    flags += ["--log_iters", "1"]
    if home:
        tool = Path(home) / "tools/train.py"
        return run_unmodified(tool, path_with(home, plugins), *flags)
    return run("-m", "seg_hooks.train", *flags, PYTHONPATH=path_with(plugins))


def run_det(path, plugins, home):
    if home:
        tool = Path(home) / "tools/train.py"
        return run_unmodified(tool, path_with(home, plugins), "-c", path)
    return run("-m", "det_hooks.train", "-c", path, PYTHONPATH=path_with(plugins))


def homes(variable):
    """Through our train tool, and through the toolkit's own one where there is a checkout."""
    reason = f"{variable} is not set: it takes a checkout of the toolkit"
    own = pytest.mark.skipif(variable not in os.environ, reason=reason)
    return [pytest.param(None, id="ours"), pytest.param(variable, id="own", marks=own)]


@pytest.mark.parametrize("home", homes("PADDLESEG_HOME"))
def test_an_installed_method_in_paddleseg(seg, tmp_path, plugins, home):
    path = seg.config(**LITESEG, iters=5, **BLOCKS)
    out = tmp_path / "out"
    done = run_seg(path, out, plugins, home and os.environ[home])
    assert done.returncode == 0, done.stderr[-2000:]
    found = events(out / "rifle_events.jsonl")
    assert [event["event"] for event in found] == WANTED
    assert [e["step"] for e in found if "step" in e] == [2, 3]
    assert [e.get("method") for e in found] == [None, None, "freeze_backbone", None]
    name = "backbone.features.0.conv.weight"
    (out / "train.log").write_text(done.stdout)
    said = run("-m", "rifle_ext", "report", out).stdout
    assert "  freeze_backbone: thaw after iteration 3\n" in said
    saved = [weights(out / f"iter_{step}/model.pdparams", name) for step in (1, 3, 4)]
    assert (saved[0] == saved[1]).all() and (saved[1] != saved[2]).any()


@pytest.mark.parametrize("home", homes("PADDLEDETECTION_HOME"))
def test_an_installed_method_in_paddledetection(det, plugins, home):
    path = det.config(epoch=2, **BLOCKS)  # of 4 iterations
    done = run_det(path, plugins, home and os.environ[home])
    assert done.returncode == 0, done.stderr[-2000:]
    found = events(det.out(path) / "rifle_events.jsonl")
    assert [event["event"] for event in found] == WANTED
    assert [e["step"] for e in found if "step" in e] == [2, 3]
    assert "[FreezeBackbone] the backbone learns from iteration 3 on" in done.stdout + done.stderr


def test_its_wrong_block_is_one_message(seg, tmp_path, plugins):
    path = seg.config(freeze_backbone={"iterations": 0, "iteratoins": 3})
    done = run_seg(path, tmp_path / "out", plugins, None)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("[RIFLE]")]
    assert line.startswith(f"[RIFLE] {path}: the freeze_backbone block cannot be used: iterations:")
    assert "iteratoins" in line and "Traceback" not in done.stderr


def test_a_broken_method_concerns_only_configs_that_have_its_block(seg, tmp_path, plugins):
    done = run_seg(seg.config(**LITESEG, iters=1, rifle=True), tmp_path / "out", plugins, None)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "broken" not in done.stdout + done.stderr
    path = seg.config(iters=1, rifle=True, broken=True)
    done = run_seg(path, tmp_path / "out2", plugins, None)
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if "RIFLE" in line] == [
        f"[RIFLE] {path}: broken: the method cannot be loaded: broken_method:hooks fails with "
        "ModuleNotFoundError: No module named 'no_such_module'; mend or remove the package that "
        "brings it, or take the block out (rifle-ext explain method)"
    ]
    assert not (tmp_path / "out2").exists()


def test_the_commands_know_it(seg, plugins):
    path = seg.config(**BLOCKS)
    flags = ["--toolkit", "seg", "-c", path]
    commands = [
        ["plan", *flags],
        ["plan", *flags, "--json"],
        ["init", *flags, "--method", "freeze_backbone"],
        ["schema"],
        ["doctor", "--json"],
    ]
    code = (
        "import json, sys, seg_runs; from rifle_ext import cli\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    print('--- ended with', cli.main(command), flush=True)"
    )
    paths = path_with(plugins, ROOT / "tests/helpers", ROOT / "tests", ROOT / "examples", ROOT)
    given = json.dumps([list(map(str, command)) for command in commands])
    done = run("-c", code, given, PYTHONPATH=paths)
    assert done.returncode == 0, done.stderr[-2000:]
    text, plan, proposed, schema, doctor, rest = re.split("--- ended with [01]\n", done.stdout)
    assert not rest
    assert "TinySeg: 4 parameters of the backbone are still until iteration 3" in text
    assert "TinySeg: 4 tensors of 2 layers are reset, 252 values" in text
    assert text.index("freeze_backbone:") < text.index("rifle:")
    said = json.loads(plan)
    assert said["until"] == 3
    assert [reset["step"] for reset in said["methods"]["rifle"]["resets"]] == [2]
    assert "\nfreeze_backbone:\n" in proposed and "# iterations: 200" in proposed
    assert set(json.loads(schema)["properties"]) >= {"rifle", "freeze_backbone"}
    (methods,) = [f for f in json.loads(doctor) if f["check"] == "methods"]
    assert methods["status"] == "problem"
    assert "broken (ModuleNotFoundError: No module named 'no_such_module')" in methods["found"]


def made(*names, **attributes):
    """Hooks that write down who is called."""
    said = []

    def factory(name):
        class Said(Hook):
            priority = attributes.get(f"{name}_priority", 50)
            excludes = attributes.get(f"{name}_excludes", {})

            def on_train_begin(self, run):
                said.append(f"{name} begins beside {', '.join(run.methods)}")

            def on_step_begin(self, run, step):
                said.append(f"{name} at {step}")

            def on_train_end(self, run):
                said.append(f"{name} ends")

        return lambda block, source: [Said()] if block else []

    return said, {name: factory(name) for name in names}


class Run:
    methods: dict = {}


def test_the_order_is_that_of_priorities_then_of_keys():
    said, factories = made("b", "a", "c", a_priority=60)
    with registered(**factories):
        config = {"a": 1, "c": 1, "b": 1}
        assert has_block(config) and not has_block({"model": 1})
        hooks = Hooks.of(config, "my.yml")
    hooks.on_train_begin(Run())
    hooks.on_step_begin(Run(), 7)
    hooks.on_train_end(Run())
    beside = "begins beside b, c, a"
    assert said == [
        *(f"{name} {beside}" for name in "bca"),
        *(f"{name} at 7" for name in "bca"),
        *(f"{name} ends" for name in "acb"),
    ]


def test_priorities_hold_across_the_hooks_of_methods():
    said, factories = made("b", "early", "late", early_priority=10, late_priority=90)

    def both(block, source):
        return [*factories["early"](1, source), *factories["late"](1, source)]

    with registered(a=both, b=factories["b"]):
        hooks = Hooks.of({"a": 1, "b": 1}, "my.yml")
    hooks.on_step_begin(Run(), 0)
    assert said == ["early at 0", "b at 0", "late at 0"]


def test_if_one_refuses_those_before_it_end():
    said, factories = made("a", "b")
    with registered(**factories):
        hooks = Hooks.of({"a": 1, "b": 1}, "my.yml")

    def refuse(run):
        raise RifleError("no")

    hooks.active["b"][0].on_train_begin = refuse
    with pytest.raises(RifleError):
        hooks.on_train_begin(Run())
    assert said == ["a begins beside a, b", "a ends"]


def test_a_method_that_is_switched_off_is_not_there():
    _, factories = made("a", "b", a_excludes={"b": "no"})
    with registered(**factories):
        assert list(methods_for({"a": 1, "b": 0}, "my.yml")) == ["a"]
        assert not Hooks.of({"a": 0}, "my.yml")


@pytest.mark.parametrize("config", [{"a": 1, "b": 1}, {"b": 1, "a": 1}])
def test_methods_that_exclude_one_another_are_refused(config):
    _, factories = made("a", "b", b_excludes={"a": "both move the head"})
    with registered(**factories), pytest.raises(RifleError) as error:
        methods_for(config, "my.yml")
    assert str(error.value) == (
        "my.yml: the blocks b and a exclude one another: both move the head; keep one"
    )


def test_a_refusal_comes_before_anything_is_built(seg):
    _, factories = made("a", a_excludes={"rifle": "of this test"})
    path = seg.config(rifle=True, a=True)
    with registered(**factories), pytest.raises(RifleError, match="of this test; keep one"):
        seg.train(path)
    assert not seg.out.exists()


def test_what_one_method_raises_at_the_end_does_not_keep_the_others_from_ending():
    said, factories = made("a", "b")
    with registered(**factories):
        hooks = Hooks.of({"a": 1, "b": 1}, "my.yml")

    def fail(run):
        raise OSError("disk full")

    hooks.active["b"][0].on_train_end = fail
    with pytest.raises(OSError, match="disk full"):
        hooks.on_train_end(Run())
    assert said == ["a ends"]


def test_plan_of_an_unknown_method_is_refused(seg, capsys):
    with pytest.raises(SystemExit):
        cli.main(["plan", "--toolkit", "seg", "-c", str(seg.config()), "--method", "rilfe"])
    assert "invalid choice: 'rilfe'" in capsys.readouterr().err


def test_entry_points_may_be_of_any_class(monkeypatch):
    """On Python 3.8 and 3.9 they are `importlib_metadata`'s as soon as that is imported."""

    class Foreign(tuple):
        value = "somewhere:hooks"

        def load(self):
            return lambda block, source: [Hook()]

    monkeypatch.setattr(registry, "_installed", lambda: {"foreign": Foreign()})
    (hooks,) = methods_for({"foreign": True}, "config.yml").values()
    assert [type(hook) for hook in hooks] == [Hook]
