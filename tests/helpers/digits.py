"""A classifier of real handwritten digits, small enough to be trained in a second or two."""

import paddle
from paddle import nn
from sklearn.datasets import load_digits


class Digits(paddle.io.Dataset):
    """The 1,797 digits of scikit-learn, 8x8; the last 300 are held out."""

    def __init__(self, held_out):
        digits = load_digits()
        chosen = slice(-300, None) if held_out else slice(0, 1200)
        self.images = (digits.images[chosen, None] / 16).astype("float32")
        self.labels = digits.target[chosen].astype("int64")

    def __getitem__(self, index):
        return self.images[index], self.labels[index]

    def __len__(self):
        return len(self.labels)


class Classifier(nn.Layer):
    """A small backbone and an output layer of a kind."""

    def __init__(self, head):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2D(1, 16, 3, padding=1),
            nn.BatchNorm2D(16),
            nn.ReLU(),
            nn.MaxPool2D(2),
            nn.Conv2D(16, 16, 4),
            nn.BatchNorm2D(16),
            nn.ReLU(),
        )
        self.head = head

    def forward(self, x):
        features = self.backbone(x)
        if isinstance(self.head, nn.Linear):
            features = features.flatten(1)
        return self.head(features).flatten(1)


HEADS = {
    "Linear": lambda: nn.Linear(16, 10),
    "Conv2D": lambda: nn.Conv2D(16, 10, 1),
    "Conv2DTranspose": lambda: nn.Conv2DTranspose(16, 10, 1),
    "container": lambda: nn.Sequential(nn.Conv2D(16, 16, 1), nn.ReLU(), nn.Conv2D(16, 10, 1)),
}


def accuracy(model):
    model.eval()
    held_out = Digits(held_out=True)
    predicted = model(paddle.to_tensor(held_out.images)).numpy().argmax(1)
    model.train()
    return float((predicted == held_out.labels).mean())
