"""A block that no training heeds is said at the end of the process."""

import re
from pathlib import Path

import paddleseg
import ppdet
import pytest
from processes import run
from small import RIFLE, fields

import seg_hooks
from rifle_ext.errors import RifleError

pytestmark = pytest.mark.timeout(120)

SEG = """
import zlib, sys
sys.path[:0] = {helpers!r}
import seg_runs, small
from paddleseg.cvlibs import Config, SegBuilder
{imports}
config = Config({path!r})
builder = SegBuilder(config)
{body}
"""
TRAIN = """train(builder.model, builder.train_dataset, optimizer=builder.optimizer,
      losses=builder.loss, save_dir={out!r}, iters=2, batch_size=4)"""


def run_seg(seg, imports, body, block=RIFLE):
    path = str(seg.config(**fields(block=block)))
    root = Path(__file__).parents[1]
    helpers = [str(root / "helpers"), str(root), str(seg.folder)]
    body = body.format(out=str(seg.out))
    done = run("-c", SEG.format(helpers=helpers, imports=imports, path=path, body=body))
    assert done.returncode == 0, done.stderr[-2000:]
    return path, done.stderr


def test_a_copy_of_paddlesegs_loop(seg):
    loop = Path(paddleseg.__file__).parent / "core/train.py"
    (seg.folder / "my_loop.py").write_text(loop.read_text())
    path, said = run_seg(seg, "from my_loop import train", TRAIN)
    assert f"[rifle-ext] {path}: its block was read, but no training" in said
    assert "train with paddleseg.core.train" in said


def test_blocks_of_the_environment_that_nothing_heeds(seg, monkeypatch):
    loop = Path(paddleseg.__file__).parent / "core/train.py"
    (seg.folder / "my_loop.py").write_text(loop.read_text())
    (seg.folder / "rifle.yml").write_text("rifle: true\n")
    monkeypatch.setenv("RIFLE_EXT_BLOCKS", str(seg.folder / "rifle.yml"))
    path, said = run_seg(seg, "from my_loop import train", TRAIN, block=None)
    over = f"the blocks that {seg.folder}/rifle.yml (RIFLE_EXT_BLOCKS) lays over it were read"
    assert f"[rifle-ext] {path}: {over}, but no training" in said


def test_a_copy_of_paddlesegs_loop_can_be_attached_to(seg):
    loop = Path(paddleseg.__file__).parent / "core/train.py"
    (seg.folder / "my_loop.py").write_text(loop.read_text())
    body = "import my_loop, seg_hooks; seg_hooks.attach(my_loop)\n" + TRAIN
    block = {"re_init_iter": 1, "keep_last": 0}
    _, said = run_seg(seg, "from my_loop import train", body, block)
    assert "heeded it" not in said
    assert [event["step"] for event in seg.events("reset")] == [1]


def test_what_is_no_copy_is_refused():
    with pytest.raises(RifleError, match=r"attach\(seg_hooks\): no copy of PaddleSeg's core/train"):
        seg_hooks.attach(seg_hooks)


@pytest.mark.parametrize("body", [TRAIN, "builder.model.eval()"], ids=["trained", "evaluated"])
def test_nothing_is_said_otherwise(seg, body):
    _, said = run_seg(seg, "from paddleseg.core import train", body)
    assert "no training of this process heeded it" not in said


def test_nothing_is_said_of_false(seg):
    _, said = run_seg(seg, "from paddleseg.core import train", TRAIN, block=False)
    assert "rifle-ext" not in said


DET = """
import zlib, sys
sys.path[:0] = {helpers!r}
from ppdet.core.workspace import load_config
import det_hooks
from {module} import Trainer
det_hooks.attach({attached})
trainer = Trainer(load_config({path!r}), mode="train")
trainer.train()
"""


@pytest.mark.parametrize(("copied", "attached"), [(True, ""), (True, "Trainer"), (False, "")])
def test_a_copy_of_paddledetections_trainer(det, copied, attached):
    engine = Path(ppdet.__file__).parent / "engine"
    text = (engine / "trainer.py").read_text()
    text = re.sub(r"from \.(\w+) import", r"from ppdet.engine.\1 import", text)
    (det.folder / "my_trainer.py").write_text(text)
    path = str(det.config(epoch=1, snapshot_epoch=9, rifle={"re_init_iter": 2, "keep_last": 0}))
    module = "my_trainer" if copied else "ppdet.engine"
    helpers = [str(det.folder)]
    done = run("-c", DET.format(helpers=helpers, module=module, path=path, attached=attached))
    assert done.returncode == 0, done.stderr[-2000:]
    heeded = bool(attached) or not copied
    assert (f"[rifle-ext] {path}: its block was read" in done.stderr) != heeded
    assert ("train with ppdet.engine.Trainer" in done.stderr) != heeded
    events = det.out(Path(path)) / "rifle_events.jsonl"
    assert events.is_file() == heeded
    assert not heeded or '"event": "reset", "step": 2' in events.read_text()


def test_nothing_is_said_where_an_option_switches_it_off(det):
    path = det.config(epoch=1, rifle=True)
    done = run("-m", "det_hooks.train", "-c", path, "-o", "rifle=false")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "heeded it" not in done.stderr and "[RIFLE]" not in done.stdout + done.stderr
