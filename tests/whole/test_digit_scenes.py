"""The example data set: what is in its files, and that both toolkits read them."""

import zlib  # noqa: F401  isort:skip  (before paddle, or OpenCV cannot read PNG files)

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import digit_scenes as ds  # noqa: E402

N_TRAIN, N_VAL, SIZE = 12, 7, 64


def content(folder):
    """The bytes of every file below a folder, by relative path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module", params=["source", "target"])
def folder(request, tmp_path_factory):
    return ds.write_task(tmp_path_factory.mktemp("scenes"), request.param, N_TRAIN, N_VAL, SIZE, 0)


@pytest.fixture(params=["train", "val"])
def split(request):
    return request.param


def pairs(folder, split):
    """The image and the mask of each scene, read as the list file says."""
    for line in (folder / f"{split}.txt").read_text().splitlines():
        image, mask = (folder / name for name in line.split(" "))
        yield cv2.imread(str(image)), cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)


def test_the_same_arguments_write_the_same_bytes(tmp_path):
    first = content(ds.write_task(tmp_path / "a", "target", 4, 3, 64, 5))
    again = content(ds.write_task(tmp_path / "b", "target", 4, 3, 64, 5))
    assert first == again
    assert len(first) == 2 * (4 + 3) + 7


def test_another_seed_writes_other_scenes(tmp_path):
    first = content(ds.write_task(tmp_path / "a", "target", 4, 3, 64, 5))
    other = content(ds.write_task(tmp_path / "b", "target", 4, 3, 64, 6))
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first if name.startswith(("images", "masks")))


def test_more_training_scenes_leave_the_first_and_the_validation_as_they_were(tmp_path):
    few = content(ds.write_task(tmp_path / "a", "source", 3, 4, 64, 0))
    many = content(ds.write_task(tmp_path / "b", "source", 6, 4, 64, 0))
    pictures = [name for name in few if name.startswith(("images", "masks"))]
    assert [few[name] for name in pictures] == [many[name] for name in pictures]
    assert few["val.json"] == many["val.json"]


def test_a_complete_set_is_left_alone(tmp_path, capsys):
    folder = ds.write_task(tmp_path, "source", 3, 2, 64, 0)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    capsys.readouterr()
    assert ds.write_task(tmp_path, "source", 3, 2, 64, 0) == folder
    assert "already there" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_another_set_replaces_the_old_one(tmp_path):
    ds.write_task(tmp_path / "a", "source", 5, 4, 48, 1)
    replaced = ds.write_task(tmp_path / "a", "source", 3, 2, 64, 0)
    assert content(replaced) == content(ds.write_task(tmp_path / "b", "source", 3, 2, 64, 0))


def test_an_interrupted_run_is_done_again(tmp_path, monkeypatch):
    def fail_on_val(folder, split, *scenes, write=ds.write_split):
        write(folder, split, *scenes)
        if split == "val":
            raise KeyboardInterrupt

    ds.write_task(tmp_path / "a", "source", 4, 2, 48, 0)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ds, "write_split", fail_on_val)
        ds.write_task(tmp_path / "a", "source", 3, 2, 64, 0)
    assert not (tmp_path / "a" / "source" / "spec.json").exists()
    done = ds.write_task(tmp_path / "a", "source", 3, 2, 64, 0)
    assert content(done) == content(ds.write_task(tmp_path / "b", "source", 3, 2, 64, 0))


@pytest.mark.parametrize(
    "change", [{"task": "other"}, {"size": 16}, {"n_train": 0}, {"n_val": 0}, {"seed": -1}]
)
def test_wrong_arguments_are_refused_before_anything_is_written(tmp_path, change):
    arguments = {"task": "source", "n_train": 2, "n_val": 2, "size": 64, "seed": 0, **change}
    with pytest.raises(ValueError):
        ds.write_task(tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_masks_hold_class_ids_and_images_show_the_digits_bright(folder, split):
    seen = set()
    for image, mask in pairs(folder, split):
        assert image.shape == (SIZE, SIZE, 3)
        assert mask.shape == (SIZE, SIZE)
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) <= set(range(6))
        seen |= set(np.unique(mask))
        digits = (mask > 0).astype(np.uint8)
        assert image[cv2.dilate(digits, np.ones((5, 5))) == 0].mean() < 100
        assert image[cv2.erode(digits, np.ones((5, 5))) == 1].mean() > 165
    assert seen == set(range(6))


@pytest.mark.parametrize("size", [33, 64, 100])
def test_boxes_are_the_bounding_boxes_of_the_digits_in_the_mask(tmp_path, size, split):
    folder = ds.write_task(tmp_path, "target", 20, 20, size, 3)
    coco = json.loads((folder / f"{split}.json").read_text())
    masks = [mask for _, mask in pairs(folder, split)]
    assert [image["id"] for image in coco["images"]] == list(range(1, 21))
    left_over = [mask.copy() for mask in masks]
    for annotation in coco["annotations"]:
        x, y, width, height = annotation["bbox"]
        here = np.s_[y : y + height, x : x + width]
        digit = masks[annotation["image_id"] - 1][here] == annotation["category_id"]
        assert digit.shape == (height, width)
        assert cv2.boundingRect(digit.astype(np.uint8)) == (0, 0, width, height)
        assert annotation["area"] == width * height
        left_over[annotation["image_id"] - 1][here][digit] = 0
    assert not any(mask.any() for mask in left_over)


def test_scenes_hold_one_or_two_digits():
    scenes = list(ds.make_scenes(ds.TaskSpec("source", 40, 1, 64, 0), "train"))
    assert Counter(len(scene.boxes) for scene in scenes).keys() == {1, 2}


def test_training_and_validation_share_no_digit_and_no_photograph_part():
    shares = ds.split_digits(ds.TaskSpec("source", 2, 2, 64, 0))
    train, val = (np.concatenate(shares[split]) for split in ds.SPLITS)
    target = ds.load_digits().target
    assert not set(train) & set(val)
    assert sorted([*train, *val]) == list(np.flatnonzero(target < 5))
    assert all(set(target[indices]) == {digit} for digit, indices in enumerate(shares["train"]))
    widths = [ds.split_photographs(split).shape[2] for split in ds.SPLITS]
    assert sum(widths) == 640


def test_scenes_draw_the_digits_of_their_own_split_only(monkeypatch, split):
    glyphs = {glyph.tobytes(): index for index, glyph in enumerate(ds.load_digits().images)}
    drawn = []

    def spy(scene, glyph, *rest, draw=ds.draw_digit):
        drawn.append(glyphs[np.ascontiguousarray(glyph).tobytes()])
        draw(scene, glyph, *rest)

    monkeypatch.setattr(ds, "draw_digit", spy)
    spec = ds.TaskSpec("target", 30, 30, 64, 0)
    assert len(list(ds.make_scenes(spec, split))) == 30
    assert set(drawn) <= set(np.concatenate(ds.split_digits(spec)[split]))
    assert len(set(drawn)) == len(drawn) >= 30


def test_classes_are_balanced(folder, split):
    coco = json.loads((folder / f"{split}.json").read_text())
    counts = Counter(annotation["category_id"] for annotation in coco["annotations"])
    assert counts.keys() == {1, 2, 3, 4, 5}
    assert max(counts.values()) - min(counts.values()) <= 1


def test_paddleseg_reads_the_list_files(folder, split):
    transforms = pytest.importorskip("paddleseg.transforms")
    from paddleseg.datasets import Dataset

    dataset = Dataset(
        mode=split,
        dataset_root=str(folder),
        transforms=[transforms.Normalize()],
        num_classes=6,
        **{f"{split}_path": str(folder / f"{split}.txt")},
    )
    assert len(dataset) == {"train": N_TRAIN, "val": N_VAL}[split]
    for index, (_, mask) in enumerate(pairs(folder, split)):
        sample = dataset[index]
        assert sample["img"].shape == (3, SIZE, SIZE)
        assert sample["img"].dtype == np.float32
        np.testing.assert_array_equal(np.squeeze(sample["label"]), mask)


def test_paddledetection_parses_the_coco_files(folder, split):
    coco = pytest.importorskip("ppdet.data.source.coco")
    fields = ["image", "gt_bbox", "gt_class", "is_crowd"]
    dataset = coco.COCODataSet(str(folder), "images", f"{split}.json", data_fields=fields)
    dataset.parse_dataset()
    assert len(dataset.roidbs) == {"train": N_TRAIN, "val": N_VAL}[split]
    names = [str(digit) for digit in ds.DIGITS[folder.name]]
    assert dataset.cname2cid == {name: number for number, name in enumerate(names)}
    for record in dataset.roidbs:
        assert Path(record["im_file"]).exists()
        assert 1 <= len(record["gt_bbox"]) <= 2
        assert set(record["gt_class"].ravel()) <= set(range(5))


def test_the_command_line_writes_both_tasks(tmp_path):
    command = [sys.executable, str(EXAMPLES / "digit_scenes.py"), "--out", "scenes"]
    for task in ("source", "target"):
        command += [f"--{task}-train", "3", f"--{task}-val", "2"]
    for expected in ("3 training and 2 validation", "already there"):
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert run.stdout.count(expected) == 2
    for task in ("source", "target"):
        assert len(list((tmp_path / "scenes" / task / "images").iterdir())) == 5


def test_polygons_outline_the_pixels_of_the_digit(folder, split):
    from pycocotools.coco import COCO

    coco = COCO(str(folder / f"{split}.json"))
    rotated = json.loads((folder / f"{split}_rotated.json").read_text())
    for annotation, other in zip(coco.dataset["annotations"], rotated["annotations"]):
        name = coco.loadImgs(annotation["image_id"])[0]["file_name"].replace(".jpg", ".png")
        mask = cv2.imread(str(folder / "masks" / name), cv2.IMREAD_UNCHANGED)
        x, y, width, height = annotation["bbox"]
        digit = np.zeros_like(mask)
        inside = np.s_[y : y + height, x : x + width]
        digit[inside] = mask[inside] == annotation["category_id"]
        outline = coco.annToMask(annotation)
        # An outline fills the holes of a digit and cuts half a pixel off its rim.
        grown = cv2.dilate(outline, np.ones((3, 3), np.uint8))
        assert (digit <= grown).all()
        assert {k: v for k, v in other.items() if k != "segmentation"} == {
            k: v for k, v in annotation.items() if k != "segmentation"
        }
        (corners,) = other["segmentation"]
        assert len(corners) == 8
        area = cv2.contourArea(np.float32(corners).reshape(4, 2))
        assert digit.sum() * 0.5 <= area <= (width + 1) * (height + 1) * 1.01
