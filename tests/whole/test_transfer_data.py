"""The transfer benchmark: regimes, wrong classes, scenes and photographs."""

import json

import numpy as np
import pytest
from transfer_small import made_small

from benchmarks.transfer import data, fashion_scenes, regimes
from benchmarks.transfer.regimes import REGIMES


def test_wrong_classes_are_as_many_as_asked_for_and_really_wrong():
    classes = [1, 2, 3, 4, 5] * 20
    found = regimes.wrong_classes(classes, 0.4, [1, 2, 3, 4, 5], np.random.default_rng(0))
    assert sum(a != b for a, b in zip(classes, found)) == 40
    assert set(found) == {1, 2, 3, 4, 5}
    assert regimes.wrong_classes(classes, 0, [1, 2], np.random.default_rng(0)) == classes
    again = regimes.wrong_classes(classes, 0.4, [1, 2, 3, 4, 5], np.random.default_rng(0))
    assert again == found


def test_a_mask_follows_the_wrong_classes_object_by_object():
    mask = np.zeros((4, 8), np.uint8)
    mask[1:3, 1:3], mask[1:3, 5:7] = 2, 2
    boxes = [{"bbox": [1, 1, 2, 2], "category_id": 2}, {"bbox": [5, 1, 2, 2], "category_id": 2}]
    wrong = [boxes[0], {**boxes[1], "category_id": 4}]
    found = regimes.relabelled_mask(mask, boxes, wrong)
    assert (found[:, :4] == mask[:, :4]).all()
    assert (found[:, 4:] == 2 * mask[:, 4:]).all()


def test_imbalance_keeps_the_last_class_a_twentieth_as_often():
    assert regimes.frequencies([1, 2, 3], 16) == {1: 1, 2: 0.25, 3: 0.0625}
    images = [{"id": i} for i in range(4000)]
    objects = [{"image_id": i, "category_id": 1 + i % 2} for i in range(4000)]
    coco = {"images": images, "annotations": objects, "categories": [{"id": 1}, {"id": 2}]}
    kept = regimes.imbalanced(coco, 20, 2000, np.random.default_rng(0))
    assert sum(i % 2 for i in kept) / len(kept) == pytest.approx(1 / 21, abs=0.02)
    with pytest.raises(ValueError, match="are left, 4000 are wanted"):
        regimes.imbalanced(coco, 20, 4000, np.random.default_rng(0))


@pytest.fixture
def small(monkeypatch):
    made_small(monkeypatch)


def test_seeds_have_disjoint_scenes_the_same_for_both_toolkits(small, tmp_path):
    folder = data.prepare(tmp_path, "digits", None)
    seen = []
    for seed in range(2):
        for name in ("overfit", "noisy40"):
            data.write_few(folder, "digits", name, REGIMES[name], seed)
        coco = json.loads((folder / f"few/noisy40_{seed}.json").read_text())
        lines = (folder / f"few/noisy40_{seed}.txt").read_text().splitlines()
        images = [line.split()[0] for line in lines]
        assert images == [f"images/{image['file_name']}" for image in coco["images"]]
        seen += images
        few = (folder / f"few/overfit_{seed}.txt").read_text().split()[::2]
        assert few == images[: len(few)]
        check_labels(folder, coco, lines)
    assert len(set(seen)) == len(seen) == 2 * 96


def check_labels(folder, coco, lines):
    """Masks and boxes have the same classes, and two of five are wrong."""
    truth = {
        tuple(a["bbox"]) + (a["image_id"],): a["category_id"]
        for a in json.loads((folder / "target/train.json").read_text())["annotations"]
    }
    found = coco["annotations"]
    wrong = sum(truth[tuple(a["bbox"]) + (a["image_id"],)] != a["category_id"] for a in found)
    assert wrong == round(0.4 * len(found))
    for line, image in zip(lines, coco["images"]):
        mask = data.cv2.imread(str(folder / "target" / line.split()[1]), -1)
        classes = {a["category_id"] for a in found if a["image_id"] == image["id"]}
        assert set(np.unique(mask)) - {0} == classes


def test_photographs_are_taken_from_the_given_folder(small, tmp_path):
    given = tmp_path / "given"
    (given / "camvid").mkdir(parents=True)
    lines = [f"a{i}.jpg b{i}.png\n" for i in range(30)]
    for name in ("train", "test"):
        (given / f"camvid/{name}.txt").write_text("".join(lines))
    assert data.available("camvid", given)
    assert not data.available("bccd", given)
    assert not data.available("camvid", None)
    folder = data.prepare(tmp_path / "work", "camvid", given)
    data.write_few(folder, "camvid", "clean", REGIMES["clean"], 1)
    few = (folder / "few/clean_1.txt").read_text().splitlines(keepends=True)
    assert len(set(few)) == data.DATA["camvid"].few
    assert set(few) <= set(lines)
    assert (folder / "val.txt").read_text().splitlines(keepends=True) == lines[::2]
    assert sorted(p.name for p in given.iterdir()) == ["camvid"]


def made_up_items(split):
    """Grey shapes in place of Fashion-MNIST's, ten of each class."""
    rng = np.random.default_rng(len(split))
    images = np.zeros((100, 28, 28), np.uint8)
    for image in images:
        top, left = rng.integers(0, 12, 2)
        image[top : top + 15, left : left + 15] = rng.integers(40, 256, (15, 15))
    return images, np.arange(100, dtype=np.uint8) % 10


@pytest.fixture(params=["made up", "installed"])
def items(request, monkeypatch):
    if request.param == "made up":
        monkeypatch.setattr(fashion_scenes, "items", made_up_items)
    elif not data.available("fashion", None):
        pytest.skip("the Debian package dataset-fashion-mnist is not installed")


def test_scenes_of_clothes(items):
    scenes = list(fashion_scenes.make_scenes("target", "train", 20, 64, 0))
    for scene in scenes:
        assert set(np.unique(scene.mask)) - {0} == {class_id for class_id, _ in scene.boxes}
        for class_id, box in scene.boxes:
            inside = scene.mask[box.top : box.top + box.height, box.left : box.left + box.width]
            assert (inside == class_id).any()
    assert {class_id for scene in scenes for class_id, _ in scene.boxes} == {1, 2, 3, 4, 5}
    again = list(fashion_scenes.make_scenes("target", "train", 20, 64, 0))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(scenes, again))
