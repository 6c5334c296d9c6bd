"""What the search for output layers, and the counting of steps, meet in people's own models."""

import numpy as np
import own_data
import paddle
import pytest
import small  # noqa: F401  registers the models
from paddleseg.cvlibs import SegBuilder
from small import HEAD, fields

from rifle_ext.errors import RifleError

pytestmark = pytest.mark.timeout(120)


def freezing(monkeypatch, prefix):
    """Freeze, as a user's script does, what the builder has built."""
    original = SegBuilder.model.func

    def model(builder):  # the property keeps it under this name
        built = original(builder)
        for name, parameter in built.named_parameters():
            if name.startswith(prefix):
                parameter.stop_gradient = True
        return built

    monkeypatch.setattr(SegBuilder, "model", type(SegBuilder.model)(model))


def test_a_frozen_head_ends_the_search(seg, monkeypatch, said):
    freezing(monkeypatch, "auxlayer")
    loss = {"types": [{"type": "CrossEntropyLoss"} for _ in range(2)], "coef": [1, 0.4]}
    model = fields("FastSCNN", described={"enable_auxiliary_loss": True})
    seg.train(seg.config(**{**model, "loss": loss}, iters=6))
    (reset,) = seg.events("reset")
    assert {name.split(".")[0] for name in reset["parameters"]} == {"classifier"}
    (plan,) = seg.events("plan")
    assert plan["frozen"] == ["auxlayer.conv.weight"]
    assert "frozen, and left alone: auxlayer.conv.weight" in said()


def test_a_model_whose_only_head_is_frozen_is_refused(seg, monkeypatch):
    freezing(monkeypatch, "head")
    path = seg.config(**fields())
    with pytest.raises(RifleError, match=r"frozen layers alone \(head.weight\)"):
        seg.train(path)


@pytest.mark.parametrize("model", ["Decorated", "FullGraph", "DecoratedInside"])
def test_heads_under_to_static_are_found(seg, model):
    _, before, _ = seg.train(seg.config(**fields(model)))
    assert [(e["step"], e["parameters"]) for e in seg.events("reset")] == [(4, HEAD), (8, HEAD)]


@pytest.mark.timeout(60)
def test_a_data_set_that_opens_its_file_at_first_use(seg):
    """In each worker: nothing is opened before they are forked."""
    archive = own_data.write_archive(seg.folder / "data.zip", seg.scenes, padding=300_000)
    dataset = {
        "type": "Zipped", "archive": str(archive), "dataset_root": str(seg.scenes),
        "train_path": str(seg.scenes / "train.txt"), "mode": "train", "transforms": [],
    }  # fmt: skip
    seg.train(seg.config(**fields(train_dataset=dataset), batch_size=2), num_workers=4)
    assert [e["step"] for e in seg.events("reset")] == [4, 8]


def test_steps_are_the_optimizers(seg, monkeypatch):
    """However often an iteration calls the model."""
    updates, heads = [], {}
    step = paddle.optimizer.Momentum.step

    def noting(optimizer):
        heads[len(updates)] = optimizer._parameter_list[-2].numpy()  # before the update
        step(optimizer)
        updates.append(optimizer._parameter_list[-2].numpy())

    monkeypatch.setattr(paddle.optimizer.Momentum, "step", noting)
    built, before, after = seg.train(seg.config(**fields("TwoViews")), evaluate=True)
    assert built.parameters()[-2] is built.head.weight
    assert before.steps == list(range(12))
    assert [e["step"] for e in seg.events("reset")] == [4, 8]
    for done in range(1, 12):  # the head changes between two iterations exactly where it is reset
        assert np.array_equal(updates[done - 1], heads[done]) == (done not in (4, 8)), done


def test_images_of_other_channels_and_sizes(seg, monkeypatch):
    """The probe's image is made up: its shape is what the model takes."""
    from paddleseg.cvlibs import manager

    class Odd(small.Small):
        def __init__(self, num_classes=6):
            super().__init__(num_classes, in_channels=5)
            self.table = self.create_parameter([1, 5, 64, 64])

        def forward(self, x):
            if x.shape[1] == 3:
                x = paddle.concat([x, x[:, :2]], axis=1)
            return [self.logits(x + self.table)]

    if "Odd" not in manager.MODELS.components_dict:
        manager.MODELS.add_component(Odd)
    seg.train(seg.config(**fields("Odd")))
    assert seg.events("reset")[0]["parameters"] == HEAD


def test_a_model_that_no_made_up_image_suits_is_refused(seg):
    from paddleseg.cvlibs import manager

    class Picky(small.Small):
        def forward(self, x):
            if abs(float(x.max())) < 50:
                raise ValueError("no image")
            return [self.logits(x)]

    if "Picky" not in manager.MODELS.components_dict:
        manager.MODELS.add_component(Picky)
    path = seg.config(**fields("Picky"))
    with pytest.raises(RifleError, match=r"made-up images.*no image.*name the layers in rifle"):
        seg.train(path)
