"""Models: opening, predicting, decoding, parameters, what is inside; what is refused."""

import copy
import json
import os
import pickle
import subprocess
import threading

import numpy as np
import pytest

import capscl
from conftest import SPEC, make_images


def test_devices():
    found = capscl.devices()
    assert found and sum(d.selected for d in found) == 1
    one = next(d for d in found if d.selected)
    assert one.type in ("gpu", "cpu", "accelerator", "other") and one.compute_units > 0
    assert one.id in str(one) and one.name in str(one)
    assert capscl.Model(SPEC, device=one.id).device == one


def test_predict(model, data):
    images, labels = data
    p = model.predict(images)
    n = len(images)
    assert p.labels.shape == (n,) and p.labels.dtype == np.int32
    assert p.lengths.shape == (n, 4) and p.capsules.shape == (n, 4, 8)
    assert p.reconstruction.shape == (n, 1, 12, 12) and len(p) == n
    assert np.array_equal(p.labels, p.lengths.argmax(1))
    assert np.allclose(np.linalg.norm(p.capsules, axis=-1), p.lengths, atol=1e-5)
    assert 0 <= p.reconstruction.min() and p.reconstruction.max() <= 1
    assert (p.labels == labels).mean() > 0.9  # it has learnt these images
    assert "lengths [400, 4]" in repr(p)


def test_all_ways_to_give_images(model, data):
    images = data[0][:7]
    want = model.predict(images).lengths
    floats = images.astype(np.float32) / np.float32(255)
    for same in (images[:, 0], floats, floats[:, 0], floats.astype(np.float64), floats.tolist(),
                 np.asfortranarray(floats), np.repeat(floats, 2, axis=0)[::2]):
        assert np.array_equal(model.predict(same).lengths, want)
    kept = floats.copy()
    model.predict(floats)
    assert np.array_equal(kept, floats)
    assert np.array_equal(model.predict(images[:1]).lengths, want[:1])


def test_no_images(model):
    p = model.predict(np.zeros((0, 1, 12, 12), np.uint8))
    assert p.labels.shape == (0,) and p.lengths.shape == (0, 4)
    assert p.capsules.shape == (0, 4, 8) and p.reconstruction.shape == (0, 1, 12, 12)
    assert model.decode(np.zeros((0, 4, 8))).shape == (0, 1, 12, 12)


@pytest.mark.parametrize("images,words", [
    (np.zeros((2, 3, 12, 12), np.uint8), "2x3x12x12, need N,1,12,12 or N,12,12"),
    (np.zeros((12, 12), np.uint8), "an array of 12x12"),
    (np.zeros((2, 28, 28), np.uint8), "28x28"),
    (np.zeros((2, 12, 12), np.int64), "are int64, need uint8"),
    (np.full((2, 12, 12), 255.0), "floats up to 255, need 0 to 1"),
    (np.full((2, 12, 12), np.nan), "not finite"),
    ("twelve", "images: are an array of"),
    ([np.zeros((12, 12)), np.zeros((3, 3))], "no array"),
])
def test_images_that_are_refused(model, images, words):
    with pytest.raises(capscl.Error, match=words) as info:
        model.predict(images)
    assert "\n" not in str(info.value)


def test_decode(model, data):
    p = model.predict(data[0][:5])
    masked = model.decode(p.capsules, p.labels)
    assert np.allclose(masked, p.reconstruction, atol=1e-6)
    alone = np.zeros_like(p.capsules)
    for i, label in enumerate(p.labels):
        alone[i, label] = p.capsules[i, label]
    assert np.allclose(model.decode(alone), masked, atol=1e-6)
    assert np.array_equal(model.decode(p.capsules, 2), model.decode(p.capsules, [2] * 5))
    for capsules, classes, words in [
        (p.capsules[0], None, r"need \[N, 4, 8\]"), (p.capsules, [0, 1], r"need \[5\]"),
        (p.capsules, [0, 1, 2, 3, 4], "class"), (p.capsules, 1.5, "need integers"),
    ]:
        with pytest.raises(capscl.Error, match=words):
            model.decode(capsules, classes)


def test_parameters(model, data):
    before = model.parameters()
    assert before["class_caps.weight"].shape == (36, 4, 8, 4)
    assert list(before)[0] == "conv1.weight" and before["conv1.weight"].dtype == np.float32
    lengths = model.predict(data[0][:3]).lengths
    before["conv1.bias"][:] = 7  # a copy
    assert np.array_equal(model.predict(data[0][:3]).lengths, lengths)
    weight = model.parameters()["primary.weight"]
    model.set_parameters({"primary.weight": weight * 2})
    assert np.array_equal(model.parameters()["primary.weight"], weight * 2)
    assert not np.array_equal(model.predict(data[0][:3]).lengths, lengths)
    model.set_parameters({"primary.weight": (weight * np.float32(1)).astype(np.float64).tolist()})
    assert np.array_equal(model.predict(data[0][:3]).lengths, lengths)


def test_parameters_that_are_refused_change_nothing(model):
    kept = model.parameters()
    ones = np.ones(16, np.float32)
    for bad, words in [
        ({"conv1.bias": ones, "conv9.bias": ones}, "conv9.bias: the network has no such"),
        ({"conv1.bias": ones, "primary.bias": ones[:3]}, r"primary.bias: is \[3\], need \[16\]"),
        ({"conv1.bias": ["a"] * 16}, "need numbers"),
    ]:
        with pytest.raises(capscl.Error, match=words):
            model.set_parameters(bad)
        for name, value in model.parameters().items():
            assert np.array_equal(value, kept[name])


def test_what_it_says_of_itself(model):
    assert "1x12x12 to 4 classes" in repr(model) and "13,152 parameters" in repr(model)
    assert model.device.name in repr(model)
    assert "3 routing iterations" in model.summary()
    assert model.input_shape == (1, 12, 12) and model.classes == 4
    assert model.class_names == ["dash", "pole", "fall", "rise"]
    spec = model.spec
    assert spec["class_caps"]["dim"] == 8
    spec["classes"] = 9
    assert model.spec["classes"] == 4


def test_save_and_load(model, data, tmp_path):
    p = model.predict(data[0][:9])
    model.save(tmp_path / "a.safetensors")
    for path in (tmp_path / "a.safetensors", str(tmp_path / "a.safetensors")):
        again = capscl.load(path, batch=4)
        assert again.batch == 4 and again.class_names == model.class_names
        # Another batch, other sums: within rounding.
        assert np.allclose(again.predict(data[0][:9]).lengths, p.lengths, atol=1e-6)
    with pytest.raises(capscl.Error, match="No such file") as info:
        capscl.load(tmp_path / "b.safetensors")
    assert info.value.status == "CAPS_ERR_NOT_FOUND"
    (tmp_path / "c.safetensors").write_bytes(b"no checkpoint")
    with pytest.raises(capscl.Error) as info:
        capscl.load(tmp_path / "c.safetensors")
    assert info.value.status == "CAPS_ERR_FORMAT"
    with pytest.raises(capscl.Error):
        model.save(tmp_path / "nowhere" / "a.safetensors")
    with pytest.raises(capscl.Error) as info:
        capscl.load(tmp_path / "a.safetensors", device="no such device")
    assert info.value.status == "CAPS_ERR_NO_DEVICE"


def test_the_program_reads_it_and_says_the_same(model, data, tmp_path):
    program = os.environ.get("CAPSCL_PROGRAM")
    if not program:
        pytest.skip("CAPSCL_PROGRAM does not name the program capscl")
    model.save(tmp_path / "m.safetensors")
    done = subprocess.run([program, "predict", "--model", tmp_path / "none", "x.png"],
                          stderr=subprocess.PIPE, text=True)
    with pytest.raises(capscl.Error) as info:
        capscl.load(tmp_path / "none")
    assert done.stderr.splitlines()[-1] == f"capscl: {info.value}"
    images, labels = data
    write_idx(tmp_path / "data", images, labels)
    done = subprocess.run(
        [program, "eval", "--model", tmp_path / "m.safetensors", "--data", tmp_path / "data",
         "--json"], stdout=subprocess.PIPE, check=True)
    assert json.loads(done.stdout)["errors"] == model.evaluate(images, labels)["errors"]


def write_idx(folder, images, labels):
    folder.mkdir()
    for split in ("train", "t10k"):
        head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in images[:, 0].shape)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = b"\0\0\x08\x01" + len(labels).to_bytes(4, "big")
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(
            head + labels.astype(np.uint8).tobytes())


def test_evaluate(model, data):
    images, labels = data
    result = model.evaluate(images, labels)
    predicted = model.predict(images).labels
    assert result["n"] == 400 and result["errors"] == int((predicted != labels).sum())
    assert result["confusion"].sum() == 400 and result["confusion"].shape == (4, 4)
    assert np.trace(result["confusion"]) == 400 - result["errors"]
    for bad, words in [(labels[:5], "need 400"), (labels + 1, "go to 4, need < 4"),
                       (labels * 1.0, "need integers"), (labels - 1, "need 0 to 255")]:
        with pytest.raises(capscl.Error, match=words):
            model.evaluate(images, bad)


def test_routing(model, data):
    r = model.routing(data[0][:6])
    assert r.couplings.shape == (6, 3, 36, 4) and r.grid == (4, 3, 3)
    assert np.allclose(r.couplings.sum(-1), 1, atol=1e-5)
    assert np.allclose(r.couplings[:, 0], 0.25)  # all equal at first
    assert not np.allclose(r.couplings[:, 2], 0.25)
    assert r.input_lengths.shape == (6, 36) and "grid (4, 3, 3)" in repr(r)


def test_perturb(model, data):
    image = data[0][0]
    images = model.perturb(image, offsets=[-0.2, 0, 0.2])
    assert images.shape == (8, 3, 1, 12, 12)
    p = model.predict(image[np.newaxis])
    for d in range(8):
        assert np.allclose(images[d, 1], p.reconstruction[0], atol=1e-6)
    assert np.abs(images[:, 2] - images[:, 0]).max() > 0.01
    changed = p.capsules.copy()
    changed[0, p.labels[0], 3] += 0.2
    assert np.allclose(images[3, 2], model.decode(changed, p.labels)[0], atol=1e-6)
    assert np.array_equal(model.perturb(image[0], offsets=[0.2])[:, 0], images[:, 2])
    other = model.perturb(image, offsets=[0], label=(int(p.labels[0]) + 1) % 4)
    assert not np.allclose(other[0, 0], p.reconstruction[0], atol=1e-3)
    with pytest.raises(capscl.Error, match="label is 4"):
        model.perturb(image, label=4)
    with pytest.raises(capscl.Error, match="offsets"):
        model.perturb(image, offsets=[])


def test_figures(model, data):
    figure = model.perturbation_figure(data[0][0], offsets=[-0.1, 0, 0.1])
    assert figure.dtype == np.uint8 and figure.shape == (8 * 14 - 2, 3 * 14 - 2)
    assert (figure[12:14] == 128).all()
    figure = model.reconstruction_figure(data[0][:5])
    assert figure.shape == (2 * 14 - 2, 5 * 14 - 2)
    assert np.array_equal(figure[:12, :12], data[0][0, 0])
    assert np.array_equal(
        figure[14:, 14:26], np.rint(model.predict(data[0][1:2]).reconstruction[0, 0] * 255))


def test_figures_in_colour():
    spec = {**SPEC, "input": [3, 12, 12]}
    colour = capscl.Model(spec)
    figure = colour.reconstruction_figure(make_images(2, channels=3)[0])
    assert figure.shape == (26, 26, 3)


@pytest.mark.parametrize("arch", [n for n in capscl.builtin_names()
                                  if n in ("small", "cnn-small", "matrix-small", "efficient")])
def test_other_networks(arch):
    network = capscl.Model(arch, batch=2)
    images = np.random.default_rng(0).random((3,) + network.input_shape, np.float32)
    p = network.predict(images)
    assert p.lengths.shape == (3, network.classes) and np.isfinite(p.lengths).all()
    if arch.startswith("cnn"):
        assert p.capsules is None and np.allclose(p.lengths.sum(1), 1, atol=1e-5)
        for call in (lambda: network.routing(images), lambda: network.perturb(images[0]),
                     lambda: network.reconstruction_figure(images)):
            with pytest.raises(capscl.Error, match="need one"):
                call()
    else:
        assert p.capsules.shape[:2] == (3, network.classes)
    if arch == "matrix-small":
        assert network.routing(images).couplings.shape[0] == 3


def test_two_labels():
    spec = {**SPEC, "labels": 2}
    try:
        network = capscl.Model(spec)
    except capscl.Error:
        spec = {**capscl.Model("multimnist", batch=1).spec}
        network = capscl.Model(spec, batch=2)
    images = np.random.default_rng(0).random((2,) + network.input_shape, np.float32)
    p = network.predict(images)
    assert p.labels.shape == (2, 2) and p.reconstruction.shape == (2, 2) + network.input_shape
    height, width = network.input_shape[1:]
    assert network.reconstruction_figure(images).shape == (3 * (height + 2) - 2, 2 * width + 2)
    with pytest.raises(capscl.Error, match="several labels"):
        network.evaluate(images, [0, 1])


def test_specs_that_are_refused():
    for spec, words in [({**SPEC, "classes": 0}, "classes"), ({**SPEC, "x": 1}, "x"),
                        ("no-such-net", "no-such-net"), ({}, "spec")]:
        with pytest.raises(capscl.Error, match=words):
            capscl.Model(spec)
    for batch in (0, -1):
        with pytest.raises(capscl.Error, match="batch"):
            capscl.Model(SPEC, batch=batch)


def test_seeds():
    a, b, other = (capscl.Model(SPEC, seed=n).parameters() for n in (1, 1, 2))
    assert all(np.array_equal(a[n], b[n]) for n in a)
    assert not np.array_equal(a["conv1.weight"], other["conv1.weight"])


def test_copies(model, data):
    want = model.predict(data[0][:4]).lengths
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(again.predict(data[0][:4]).lengths, want)
        assert again.class_names == model.class_names and again is not model
    error = pickle.loads(pickle.dumps(capscl.Error("x: y", "CAPS_ERR_IO")))
    assert str(error) == "x: y" and error.status == "CAPS_ERR_IO"


def test_from_arrays_of_a_state_dict(model, data):
    state = model.parameters()
    again = capscl.from_torch({**state, "bn.num_batches_tracked": np.array(3)}, SPEC)
    assert np.array_equal(again.predict(data[0][:4]).lengths, model.predict(data[0][:4]).lengths)
    state.pop("conv1.bias")
    with pytest.raises(capscl.Error, match="has no conv1.bias"):
        capscl.from_torch(state, SPEC)
    with pytest.raises(capscl.Error, match="no such parameter"):
        capscl.from_torch({**model.parameters(), "fc.weight": np.zeros(1)}, SPEC)


def test_one_model_in_many_threads(model, data):
    images = data[0]
    want = model.predict(images).lengths
    wrong = []

    def work(first):
        for k in range(first, first + 40, 4):
            if not np.array_equal(model.predict(images[k : k + 30]).lengths, want[k : k + 30]):
                wrong.append(k)
            model.parameters()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_the_lock_of_the_interpreter_is_free_meanwhile():
    """Another thread counts while one predicts."""
    import time

    network = capscl.Model("small")
    images = np.zeros((4000, 28, 28), np.float32)
    network.predict(images[:200])
    done, counted = threading.Event(), []

    def work():
        while not done.is_set():
            counted.append(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    begun = time.monotonic()
    with network._runtime.lock:
        found = network._predict(images[:1000], 0)
    ended = time.monotonic()
    done.set()
    thread.join()
    assert found["labels"].shape == (1000, 1)
    during = [t for t in counted if begun < t < ended]
    assert len(during) > 5
