"""Random streams of one's own, while a loader's thread goes on drawing from the training's."""

import random
import threading

import numpy as np
import paddle
from paddle import nn

from rifle_ext.runtime.isolation import beside_training, own_random_streams


def test_a_thread_that_reads_ahead_draws_what_it_would_have_drawn():
    def draws(count):
        return [
            (np.random.rand(), random.random(), int(np.random.randint(99))) for _ in range(count)
        ]

    np.random.seed(4)
    random.seed(4)
    wanted = draws(30000)
    np.random.seed(4)
    random.seed(4)
    drawn = []
    thread = threading.Thread(target=lambda: drawn.extend(draws(30000)))
    thread.start()
    entered, beside = 0, []
    while thread.is_alive() or entered < 3:
        with beside_training(11):
            beside.append((np.random.rand(), random.random(), nn.Linear(2, 2).weight.numpy().sum()))
        entered += 1
    thread.join()
    assert drawn == wanted
    assert len(set(beside)) == 1


def test_every_kind_of_stream_is_one_of_its_own_and_comes_back():
    def draws():
        return [
            np.random.normal(), np.random.permutation(9).tolist(), random.randint(0, 10**9),
            random.choice(range(10**6)), paddle.rand([1]).item(),
        ]  # fmt: skip

    def start():
        np.random.seed(1)
        random.seed(1)
        paddle.seed(1)

    start()
    wanted = draws()
    start()
    with own_random_streams(5):
        first = draws()
    with own_random_streams(5):
        assert draws() == first
    with own_random_streams(6):
        assert draws() != first
    assert draws() == wanted != first
    assert np.random.normal.__self__ is np.random.mtrand._rand
