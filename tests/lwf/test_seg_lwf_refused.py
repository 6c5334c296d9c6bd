"""Which of PaddleSeg's trainings Learning without Forgetting refuses, and for which reason."""

import paddle
import pytest
from old_and_new import Tasks

from rifle_ext.errors import RifleError

pytestmark = pytest.mark.timeout(120)


def test_what_is_refused(tasks, seg):
    with pytest.raises(RifleError, match="the config names no pretrained weights of a whole model"):
        tasks.new(None, "none", described={"pretrained": None})
    weights = paddle.load(str(tasks.old))
    part = seg.folder / "part.pdparams"
    paddle.save({n: v for n, v in weights.items() if n.startswith("backbone")}, str(part))
    with pytest.raises(RifleError, match="it holds no head; name the weights of a whole model"):
        tasks.new({"teacher": str(part)}, "part")
    with pytest.raises(RifleError, match="for 5 classes: head.3.weight has the shape .8, 8, 1, 1."):
        tasks.new({"num_classes": 5}, "five")
    with pytest.raises(RifleError, match="missing.pdparams: there is no such file"):
        tasks.new({"teacher": str(seg.folder / "missing.pdparams")}, "missing")
    with pytest.raises(RifleError, match='"head.4" is no output layer that is compared'):
        tasks.new({"kinds": {"head.4": "none"}}, "kinds")
    with pytest.raises(RifleError, match="so there is nothing to keep"):
        tasks.new({"kinds": {"*": "none"}}, "nothing")
    with pytest.raises(RifleError, match="no answer can be caught in a model that is trained as a"):
        tasks.new(None, "static", to_static_training=True)
    with pytest.raises(RifleError, match="lwf and rifle exclude one another: with lwf.warm_up"):
        tasks.new({"warm_up": 2}, "both", fields={"rifle": {"re_init_iter": 4}})


def test_a_model_whose_last_layer_stands_on_others_of_the_classes_is_refused(seg):
    tasks = Tasks(seg, "Tangled")
    with pytest.raises(RifleError, match="Tangled: what last answers depends on other layers"):
        tasks.new(None)


def test_the_reason_of_a_refusal_is_the_true_one(seg, old):
    with pytest.raises(RifleError, match="Sized: what last answers follows not from its input"):
        Tasks(seg, "Sized").new(None, "sized")
    said = r"lwf: in evaluation, as a teacher is, Heeding cannot be run on .*KeyError: 'history'"
    with pytest.raises(RifleError, match=said):
        Tasks(seg, "Heeding", old).new(None, "heeding")
    weights = {n: v for n, v in paddle.load(str(old)).items() if n != "aux.bias"}
    paddle.save({**weights, "aux.bias": paddle.zeros([9])}, str(seg.folder / "odd.pdparams"))
    said = "its tensors are of several numbers of classes: .* or say the number: lwf.num_classes"
    with pytest.raises(RifleError, match=said):
        Tasks(seg, old=old).new({"teacher": str(seg.folder / "odd.pdparams")}, "odd")
