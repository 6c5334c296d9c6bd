"""EfficientNet-Lite0 of the transfer benchmark: as a layer, and as a backbone of both toolkits."""

import os
from pathlib import Path

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from conftest import needs_detection
from sklearn.datasets import load_sample_images

from benchmarks.transfer import efficientnet_lite
from benchmarks.transfer.efficientnet_lite import Classifier, ConvNorm, EfficientNetLite0

FOLDER = os.environ.get("RIFLE_EXT_TRANSFER_DATA")
PALACE, BELL_COTE, DAISY = 698, 442, 985  # of ImageNet's classes


@pytest.fixture(scope="module")
def weights():
    file = Path(FOLDER or ".") / "efficientnet_lite0.npz"
    if not (FOLDER and file.is_file()):
        pytest.skip("RIFLE_EXT_TRANSFER_DATA names no folder with efficientnet_lite0.npz")
    return str(file)


def centre(image):
    """The middle square of a photograph, as the network takes it."""
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    square = cv2.resize(
        image[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA
    )
    scaled = (square / np.float32(255) - efficientnet_lite.MEAN) / efficientnet_lite.STD
    return paddle.to_tensor(scaled.transpose(2, 0, 1)[None].astype("float32"))


def test_it_knows_the_sample_photographs(weights):
    network = Classifier(weights)
    network.eval()
    china, flower = (network(centre(image)).numpy()[0] for image in load_sample_images().images)
    assert set(china.argsort()[-2:]) == {PALACE, BELL_COTE}
    assert flower.argmax() == DAISY


def test_padding_is_tensorflow_s():
    """With stride 2 and an even size there is one pixel less before than after."""
    for kernel in (3, 5):
        layer = ConvNorm(2, 4, kernel, stride=2, linear=True)
        layer.eval()
        x = paddle.rand([1, 2, 16, 12])
        before = (kernel - 2) // 2
        padded = F.pad(x, [before, kernel - 2 - before] * 2)
        wanted = layer.norm(F.conv2d(padded, layer.conv.weight, stride=2))
        assert np.allclose(layer(x).numpy(), wanted.numpy(), atol=1e-5)


def test_features_have_the_strides_and_channels_that_are_said():
    network = EfficientNetLite0((4, 8, 16))
    found = network(paddle.rand([1, 3, 64, 96]))
    assert [f.shape for f in found] == [[1, 24, 16, 24], [1, 40, 8, 12], [1, 112, 4, 6]]
    assert network.channels == [24, 40, 112]
    assert len(network.stages) == 5  # what lies above is not built
    assert len(EfficientNetLite0().stages) == 7


def test_every_tensor_has_a_name_in_the_file(tmp_path):
    network = EfficientNetLite0()
    names = efficientnet_lite.names(network)
    state = network.state_dict()
    assert set(names) == set(state)
    assert len(set(names.values())) == len(names)
    rng = np.random.default_rng(0)
    arrays = {names[name]: rng.random(tuple(t.shape)) for name, t in state.items()}
    np.savez(tmp_path / "w.npz", **arrays)
    other = EfficientNetLite0((4, 16), str(tmp_path / "w.npz"))
    for name, tensor in other.state_dict().items():
        assert np.allclose(tensor.numpy(), arrays[names[name]])


def test_a_file_of_another_network_is_refused(tmp_path):
    network = EfficientNetLite0((2,))
    arrays = {n: np.zeros(3) for n in efficientnet_lite.names(network).values()}
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(ValueError, match="in the file"):
        efficientnet_lite.load(network, str(tmp_path / "w.npz"))


def test_both_toolkits_know_it():
    needs_detection()
    from paddleseg.cvlibs import manager
    from ppdet.core.workspace import create, load_config

    from benchmarks.transfer import det_parts, seg_parts
    from benchmarks.transfer.settings import CONFIGS

    seg = manager.BACKBONES["EfficientNetLite"](strides=[4, 8], pretrained="")
    assert type(seg) is seg_parts.EfficientNetLite
    assert seg.feat_channels == [24, 40]
    load_config(str(CONFIGS / "gfl_lite0.yml"))
    det = create("EfficientNetLite")
    assert type(det) is det_parts.EfficientNetLite
    assert [(s.channels, s.stride) for s in det.out_shape] == [(40, 8), (112, 16), (320, 32)]
    assert [f.shape[1] for f in det({"image": paddle.rand([1, 3, 64, 64])})] == [40, 112, 320]
