"""See tests/checks/import."""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SCRIPT, PROGRAM = sys.argv[1:3]
failed, ran = [], []


def skipped(what):
    print(f"SKIPPED: {what}")


try:
    import numpy as np
except ImportError:
    skipped("no numpy: no weights are imported")
    sys.exit(77)
try:
    import torch
    from torch import nn
except ImportError:
    torch = None
    skipped("no torch: weights of PyTorch's ports are not imported")
try:
    import h5py
    import tensorflow as tf
except ImportError:
    tf = None
    skipped("no tensorflow or no h5py: weights of Keras' ports are not imported")


# ---- the program ---------------------------------------------------------------------------------


def write_data(place, images):
    """uint8 [N, C, H, W] as both splits."""
    n, c, h, w = images.shape
    head = struct.pack(">5I", 0x804, n, c, h, w) if c > 1 else struct.pack(">4I", 0x803, n, h, w)
    for split in "train", "t10k":
        (place / f"{split}-images-idx{4 if c > 1 else 3}-ubyte").write_bytes(head + images.tobytes())
        (place / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, n) + bytes(n))


def imported(place, file, *flags):
    """The import's exit code and what it says."""
    done = subprocess.run([sys.executable, SCRIPT, str(file), "--out", str(place / "model.safetensors"), *flags],
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def outputs(place, images):
    """capsules [N, J, D], lengths [N, J], reconstructions [N, pixels] of what was imported."""
    write_data(place, images)
    done = subprocess.run(
        [PROGRAM, "predict", "--model", str(place / "model.safetensors"), "--data", str(place), "--capsules",
         "--json", "--quiet"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(done.stderr)
    rows = json.loads(done.stdout)
    return tuple(np.array([r.get(k) or [] for r in rows]) for k in ("capsules", "lengths", "reconstruction"))


def expect_near(name, have, need, tolerance=1e-5):
    assert have.shape == need.shape, f"{name}: {have.shape}, need {need.shape}"
    error = np.linalg.norm(have - need) / np.linalg.norm(need)
    assert error <= tolerance, f"{name}: off by {error:.2g} of it"


def case(function):
    place = pathlib.Path(tempfile.mkdtemp(prefix="capscl-import-"))
    try:
        function(place)
        ran.append(function.__name__)
        print(f"ok    {function.__name__}")
    except AssertionError as e:
        failed.append(function.__name__)
        print(f"FAIL  {function.__name__}: {e}")
    finally:
        for f in place.iterdir():
            f.unlink()
        place.rmdir()


def draw_images(n, c, h, w):
    return np.random.default_rng(3).integers(0, 256, (n, c, h, w), np.uint8)


# ---- PyTorch's ports -----------------------------------------------------------------------------


def torch_squash(x):
    length = x.norm(dim=-1, keepdim=True)
    return x * length / (1 + length ** 2)


def bielski(place):
    """Logits of zero; one iteration more than it says; image and decoder with three channels' names."""
    types, dim, classes, out, places = 3, 4, 5, 6, 4 * 4
    net = nn.Module()
    net.capsnet = nn.Module()
    net.capsnet.conv1 = nn.Conv2d(1, 7, 5)
    net.capsnet.primaryCaps = nn.Module()
    net.capsnet.primaryCaps.conv = nn.Conv2d(7, types * dim, 3, 2)
    net.capsnet.digitCaps = nn.Module()
    net.capsnet.digitCaps.weights = nn.Parameter(torch.randn(types * places, dim, classes * out))
    net.capsnet.digitCaps.routing_module = nn.Module()
    net.capsnet.digitCaps.routing_module.b = nn.Parameter(torch.zeros(types * places, classes))
    net.reconstruction_net = nn.Module()
    for i, (a, b) in enumerate([(classes * out, 9), (9, 11), (11, 196)], 1):
        setattr(net.reconstruction_net, f"fc{i}", nn.Linear(a, b))
    images = draw_images(5, 1, 14, 14)
    with torch.no_grad():
        x = torch.relu(net.capsnet.conv1(torch.tensor(images / 255, dtype=torch.float32)))
        x = net.capsnet.primaryCaps.conv(x).view(5, types, dim, 4, 4).permute(0, 1, 3, 4, 2)
        u = torch_squash(x.reshape(5, -1, dim))
        votes = (u.unsqueeze(2) @ net.capsnet.digitCaps.weights).view(5, -1, classes, out)
        b = torch.zeros(5, types * places, classes)
        for t in range(3):
            v = torch_squash((b.softmax(2).unsqueeze(3) * votes).sum(1))
            b = b + (votes * v.unsqueeze(1)).sum(3) if t < 2 else b
        best = v.norm(dim=2).argmax(1)
        masked = (v * nn.functional.one_hot(best, classes).unsqueeze(2)).reshape(5, -1)
        r = net.reconstruction_net
        drawn = torch.sigmoid(r.fc3(torch.relu(r.fc2(torch.relu(r.fc1(masked))))))
    torch.save(net.state_dict(), place / "net.pth")
    code, text = imported(place, place / "net.pth", "--iterations", "2")
    assert code == 0, text
    capsules, lengths, reconstruction = outputs(place, images)
    expect_near("capsules", capsules, v.numpy())
    expect_near("lengths", lengths, v.norm(dim=2).numpy())
    expect_near("reconstruction", reconstruction, drawn.numpy())
    # Logits that were learned are another network.
    with torch.no_grad():
        net.capsnet.digitCaps.routing_module.b[0, 0] = 0.5
    torch.save(net.state_dict(), place / "net.pth")
    code, text = imported(place, place / "net.pth")
    assert code == 3 and "learned logits (up to 0.5)" in text, text
    code, text = imported(place, place / "net.pth", "--anyway")
    assert code == 0, text


def gram(place):
    """Refused for its softmax; with one iteration that alone differs, so the weights can be compared."""
    types, dim, classes, out, side = 3, 4, 5, 6, 4
    net = nn.Module()
    net.conv1 = nn.Conv2d(1, 7, 5)
    net.primary_capsules = nn.Module()
    net.primary_capsules.capsules = nn.ModuleList(nn.Conv2d(7, types, 3, 2) for _ in range(dim))
    net.digit_capsules = nn.Module()
    net.digit_capsules.route_weights = nn.Parameter(torch.randn(classes, types * side ** 2, dim, out))
    net.decoder = nn.Sequential(nn.Linear(classes * out, 9), nn.ReLU(), nn.Linear(9, 11), nn.ReLU(),
                                nn.Linear(11, 196), nn.Sigmoid())
    torch.save(net.state_dict(), place / "net.pt")
    code, text = imported(place, place / "net.pt")
    assert code == 3 and "a softmax over the input capsules" in text, text
    code, text = imported(place, place / "net.pt", "--anyway", "--iterations", "1")
    assert code == 0, text
    images = draw_images(4, 1, 14, 14)
    with torch.no_grad():
        x = torch.relu(net.conv1(torch.tensor(images / 255, dtype=torch.float32)))
        u = torch_squash(torch.stack([c(x).reshape(4, -1) for c in net.primary_capsules.capsules], 2))
        votes = torch.einsum("bik,jikd->bijd", u, net.digit_capsules.route_weights)
        v = torch_squash(votes.sum(1) / classes)  # the paper's first couplings
    capsules, _, _ = outputs(place, images)
    expect_near("capsules", capsules, v.numpy())


def guo_pytorch(place):
    torch.save({"conv1.weight": torch.zeros(1), "primarycaps.conv2d.weight": torch.zeros(1),
                "digitcaps.weight": torch.zeros(1)}, place / "net.pkl")
    code, text = imported(place, place / "net.pkl")
    assert code == 3 and "neighbouring places" in text, text


def what_is_no_network(place):
    torch.save({"fc.weight": torch.zeros(2, 2)}, place / "net.pt")
    code, text = imported(place, place / "net.pt")
    assert code == 3 and "of no format that is known (it has fc.weight" in text, text
    torch.save([1, 2], place / "net.pt")
    code, text = imported(place, place / "net.pt")
    assert code == 3 and "is no state dict" in text, text
    (place / "net.pt").write_bytes(b"PK\x03\x04 broken")
    code, text = imported(place, place / "net.pt")
    assert code == 3 and len(text.strip().splitlines()) == 1, text
    (place / "net.txt").write_text("no weights")
    code, text = imported(place, place / "net.txt")
    assert code == 3 and "is neither a Keras" in text, text
    code, text = imported(place, place / "absent.pt")
    assert code == 3 and "absent.pt: No such file" in text, text


# ---- Keras' ports --------------------------------------------------------------------------------


def keras_squash(s):
    square = tf.reduce_sum(tf.square(s), -1, keepdims=True)
    return square / (1 + square) / tf.sqrt(square + 1e-7) * s


def capsnet_keras(place):
    """Three channels: the decoder's outputs are counted the other way round, too."""
    class Capsules(tf.keras.layers.Layer):
        def build(self, shape):
            self.W = self.add_weight(shape=[5, shape[1], 6, shape[2]], name="W",
                                     initializer=tf.keras.initializers.RandomNormal(0, 0.6, 1))

        def call(self, u):
            votes = tf.einsum("bik,jidk->bjid", u, self.W)
            b = tf.zeros_like(votes[..., 0])
            for t in range(3):
                v = keras_squash(tf.einsum("bji,bjid->bjd", tf.nn.softmax(b, axis=1), votes))
                b = b + tf.einsum("bjd,bjid->bji", v, votes) if t < 2 else b
            return v

    layers = tf.keras.layers
    x = layers.Input((14, 14, 3))
    y = layers.Conv2D(7, 5, activation="relu", name="conv1")(x)
    y = layers.Conv2D(3 * 4, 3, 2, name="primarycap_conv2d")(y)
    u = layers.Lambda(keras_squash)(layers.Reshape((-1, 4))(y))
    v = Capsules(name="digitcaps")(u)
    decoder = tf.keras.Sequential([layers.Dense(9, "relu", input_dim=30), layers.Dense(11, "relu"),
                                   layers.Dense(588, "sigmoid"), layers.Reshape((14, 14, 3))], name="decoder")
    best = layers.Lambda(lambda v: tf.one_hot(tf.argmax(tf.reduce_sum(v ** 2, -1), 1), 5))(v)
    masked = layers.Lambda(lambda a: tf.reshape(a[0] * a[1][..., None], (-1, 30)))([v, best])
    model = tf.keras.Model(x, [v, decoder(masked)])
    model.save_weights(place / "net.h5")
    code, text = imported(place, place / "net.h5")
    assert code == 0, text
    images = draw_images(5, 3, 14, 14)
    need, drawn = model(tf.constant(images.transpose(0, 2, 3, 1) / 255, tf.float32))
    capsules, lengths, reconstruction = outputs(place, images)
    expect_near("capsules", capsules, need.numpy(), 3e-5)  # their squash adds 1e-7
    expect_near("lengths", lengths, np.linalg.norm(need.numpy(), axis=2), 3e-5)
    expect_near("reconstruction", reconstruction, drawn.numpy().transpose(0, 3, 1, 2).reshape(5, -1))
    with h5py.File(place / "net.h5", "a") as f:
        f.create_dataset("other/gamma:0", data=np.zeros(3, np.float32))
    code, text = imported(place, place / "net.h5")
    assert code == 3 and "other/gamma is not known in this format" in text, text


def efficient_capsnet(place):
    class Primary(tf.keras.layers.Layer):
        def build(self, shape):
            self.conv = tf.keras.layers.Conv2D(12, 4, groups=12, bias_initializer="random_normal")

        def call(self, x):
            return exp_squash(tf.reshape(self.conv(x), (-1, 3, 4)))

    class Full(tf.keras.layers.Layer):
        def build(self, shape):
            normal = tf.keras.initializers.RandomNormal
            self.W = self.add_weight(shape=[5, 3, 4, 6], name="W", initializer=normal(0, 0.6, 1))
            self.b = self.add_weight(shape=[5, 3, 1], name="b", initializer=normal(0, 0.3, 2))

        def call(self, u):
            votes = tf.einsum("bik,jikd->bjid", u, self.W)
            a = tf.einsum("bjid,bjd->bji", votes, tf.reduce_sum(votes, 2)) / 6 ** 0.5
            c = tf.nn.softmax(a, axis=1)[..., None] + self.b
            return exp_squash(tf.reduce_sum(c * votes, 2))

    def exp_squash(s):
        n = tf.norm(s, axis=-1, keepdims=True)
        return (1 - tf.exp(-n)) * s / n

    layers = tf.keras.layers
    x = layers.Input((14, 14, 1))
    y = layers.BatchNormalization()(layers.Conv2D(6, 5, activation="relu")(x))
    y = layers.BatchNormalization()(layers.Conv2D(12, 3, 2, activation="relu")(y))
    v = Full(name="fc_caps")(Primary(name="primary_caps")(y))
    core = tf.keras.Model(x, v, name="Efficient_CapsNet")
    decoder = tf.keras.Sequential([layers.Dense(9, "relu", input_dim=30), layers.Dense(196, "sigmoid")],
                                  name="Generator")
    image = layers.Input((14, 14, 1))
    capsules = core(image)
    best = layers.Lambda(lambda v: tf.one_hot(tf.argmax(tf.reduce_sum(v ** 2, -1), 1), 5))(capsules)
    masked = layers.Lambda(lambda a: tf.reshape(a[0] * a[1][..., None], (-1, 30)))([capsules, best])
    model = tf.keras.Model(image, [capsules, decoder(masked)])
    draw = np.random.default_rng(5)
    for layer in core.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([draw.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    model.save_weights(place / "net.h5")
    code, text = imported(place, place / "net.h5")
    assert code == 0, text
    images = draw_images(5, 1, 14, 14)
    need, drawn = model(tf.constant(images.transpose(0, 2, 3, 1) / 255, tf.float32), training=False)
    have, lengths, reconstruction = outputs(place, images)
    expect_near("capsules", have, need.numpy())
    expect_near("lengths", lengths, np.linalg.norm(need.numpy(), axis=2))
    expect_near("reconstruction", reconstruction, drawn.numpy())


if torch:
    torch.manual_seed(1)
    for one in bielski, gram, guo_pytorch, what_is_no_network:
        case(one)
if tf:
    for one in capsnet_keras, efficient_capsnet:
        case(one)
print(f"{len(ran)} passed, {len(failed)} failed")
sys.exit(1 if failed else 0 if ran else 77)
