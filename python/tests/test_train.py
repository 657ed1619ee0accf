"""Training from arrays: results, records, stopping, what is refused."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest

import capscl
from capscl import _progress
from conftest import SPEC, make_images


def brief(data, **options):
    images, labels = data
    options = {"epochs": 1, "progress": False, **options}
    return capscl.train(images, labels, SPEC, **options)


def same(a, b):
    return all(np.array_equal(x, b[name]) for name, x in a.items())


def test_it_learns(trained, data):
    assert len(trained.history) == 25
    first, last = trained.history[0], trained.history[-1]
    assert last["loss"] < 0.5 * first["loss"] and last["epoch"] == 25
    assert last["step"] == 25 * 20 and last["images_done"] == 400
    assert np.isnan(last["test_error_percent"])  # nothing to evaluate on was given
    assert trained.evaluate(*data)["error_percent"] < 10


def test_every_epoch_is_reported(data):
    seen = []
    model = brief(data, epochs=3, test=make_images(60, seed=9), on_epoch=seen.append)
    assert [m["epoch"] for m in seen] == [1, 2, 3] and seen == model.history
    images, labels = make_images(60, seed=9)
    assert seen[-1]["test_error_percent"] == pytest.approx(
        model.evaluate(images, labels)["error_percent"])


def test_the_same_seed_gives_the_same_bits(data):
    a, b, c = brief(data), brief(data), brief(data, seed=2)
    assert same(a.parameters(), b.parameters()) and not same(a.parameters(), c.parameters())


def test_floats_are_images_too(data):
    images, labels = data
    a, b = brief(data), brief((images[:, 0] / 255.0, labels.astype(np.uint16)))
    assert same(a.parameters(), b.parameters())
    with pytest.warns(UserWarning, match="8 bits"):
        brief((np.clip(images / 255.0 * 0.937, 0, 1), labels))


def test_the_program_trains_to_the_same_bits(data, tmp_path):
    program = os.environ.get("CAPSCL_PROGRAM")
    if not program:
        pytest.skip("CAPSCL_PROGRAM does not name the program capscl")
    from test_model import write_idx

    write_idx(tmp_path / "data", *data)
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    subprocess.run(
        [program, "train", "--data", tmp_path / "data", "--out", tmp_path / "run", "--arch",
         tmp_path / "spec.json", "--epochs", "2", "--batch", "32", "--lr", "0.002", "--quiet"],
        check=True, stdout=subprocess.DEVNULL)
    theirs = capscl.load(tmp_path / "run" / "model.safetensors")
    assert same(brief(data, epochs=2, batch=32, lr=0.002).parameters(), theirs.parameters())


def test_a_builtin_network_takes_size_and_classes(data):
    images = np.random.default_rng(0).integers(0, 256, (30, 3, 20, 24), np.uint8)
    model = capscl.train(images, np.arange(30) % 7, "small", max_steps=2, batch=10, progress=False)
    assert model.input_shape == (3, 20, 24) and model.classes == 7
    assert [m["step"] for m in model.history] == [2]


def test_a_run_is_kept_and_resumed(data, tmp_path):
    whole = brief(data, epochs=4)
    out = tmp_path / "run"
    first = brief(data, epochs=2, out=out)
    assert {"config.json", "metrics.jsonl", "model.safetensors", "state.safetensors"} <= {
        p.name for p in out.iterdir()}
    assert json.loads((out / "config.json").read_text())["data"] == "arrays"
    with pytest.raises(capscl.Error, match="resume=True continues it") as info:
        brief(data, out=out)
    assert info.value.status == "CAPS_ERR_EXISTS"
    rest = brief(data, epochs=4, out=out, resume=True)
    assert [m["epoch"] for m in rest.history] == [3, 4]
    assert same(whole.parameters(), rest.parameters())
    assert not same(first.parameters(), rest.parameters())
    with pytest.raises(capscl.Error, match="other training images"):
        brief(make_images(400, seed=5), epochs=5, out=out, resume=True)
    again = brief(data, out=out, overwrite=True)
    assert same(again.parameters(), brief(data).parameters())


def test_nothing_is_left_without_out(data, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    brief(data)
    with pytest.raises(capscl.Error):
        brief(data, lr=-1)
    assert not list(tmp_path.iterdir())


def test_on_epoch_may_end_it(data):
    model = brief(data, epochs=50, on_epoch=lambda m: m["epoch"] == 2)
    assert 2 <= len(model.history) <= 3


def test_what_on_epoch_raises_is_raised(data):
    def fail(metrics):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        brief(data, epochs=50, on_epoch=fail)


def test_on_epoch_runs_in_the_thread_of_the_caller(data):
    import threading

    seen = []
    brief(data, on_epoch=lambda m: seen.append(threading.current_thread()) or None)
    assert seen == [threading.current_thread()]


def test_options_reach_the_run(data, tmp_path):
    out = tmp_path / "run"
    brief(data, out=out, batch=25, lr=0.002, lr_decay=0.8, optimizer="sgd", seed=7, augment="none",
          shuffle=False, validation=40, ema=0.9, weight_decay=1e-4, class_weights=[1, 2, 1, 1])
    config = json.loads((out / "config.json").read_text())
    assert config["batch"] == 25 and config["seed"] == 7 and config["optimizer"] == "sgd"
    assert config["augment"] == "none" and config["shuffle"] is False
    assert config["validation"] == 40 and config["class_weights"] == "1.0,2.0,1.0,1.0"
    assert (out / "model-ema.safetensors").exists()


def test_init(data, trained, tmp_path):
    trained.save(tmp_path / "m.safetensors")
    model = brief(data, max_steps=1, lr=1e-9, augment="none", init=tmp_path / "m.safetensors")
    for name, value in trained.parameters().items():
        assert np.allclose(model.parameters()[name], value, atol=1e-6)


IMAGES, LABELS = make_images(20)


@pytest.mark.parametrize("images,labels,options,words", [
    (IMAGES, LABELS[:5], {}, "labels: are an array of 5, need 20"),
    (IMAGES, LABELS * 1.0, {}, "need integers"),
    (IMAGES, LABELS + 300, {}, "need 0 to 255"),
    (IMAGES, LABELS + 1, {}, "label of training image"),
    (IMAGES[:, :, :5], LABELS, {}, "1x5x12, the network takes 1x12x12"),
    (IMAGES.astype(np.int32), LABELS, {}, "are int32"),
    (IMAGES / 1.0, LABELS, {}, "floats from 0 to 255, need 0 to 1"),
    (IMAGES[:0], LABELS[:0], {}, "no images"),
    (IMAGES, LABELS * 0, {"arch": "small"}, "all are 0"),
    (IMAGES, LABELS, {"arch": "none-such"}, "none-such"),
    (IMAGES, LABELS, {"epochs": 1.5}, "epochs: is 1.5"),
    (IMAGES, LABELS, {"batch": 0}, "batch"),
    (IMAGES, LABELS, {"lr": "fast"}, "lr: is 'fast'"),
    (IMAGES, LABELS, {"optimizer": "rmsprop"}, "need one of adam, sgd"),
    (IMAGES, LABELS, {"augment": "mixup"}, "need one of none, shift2"),
    (IMAGES, LABELS, {"profile": "mine"}, "need one of paper"),
    (IMAGES, LABELS, {"class_names": ["a", "b"]}, "class_names: are 2"),
    (IMAGES, LABELS, {"validation": 20}, "validation"),
    (IMAGES, LABELS, {"resume": True}, "resume without out"),
    (IMAGES, LABELS, {"device": "no such"}, "no such"),
    (IMAGES, LABELS, {"test": (IMAGES, LABELS[:3])}, "need 20"),
])
def test_refused(images, labels, options, words):
    options = {"arch": SPEC, "epochs": 1, "progress": False, **options}
    with pytest.raises(capscl.Error, match=words) as info:
        capscl.train(images, labels, options.pop("arch"), **options)
    assert "\n" not in str(info.value)


def test_a_loss_that_is_not_finite(data):
    with pytest.raises(capscl.Error) as info:
        brief(data, lr=1e30, epochs=5)
    assert info.value.status == "CAPS_ERR_NOT_FINITE"


def run_script(text, **options):
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(text)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, **options)


def test_ctrl_c_ends_a_training_which_can_go_on(tmp_path):
    child = run_script(f"""
        import sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import capscl
        from conftest import SPEC, make_images
        try:
            capscl.train(*make_images(400), SPEC, epochs=100000, out={str(tmp_path / 'run')!r},
                         on_epoch=lambda m: print(m["epoch"], flush=True), progress=False)
        except KeyboardInterrupt:
            print("interrupted")
    """)
    child.stdout.readline()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert out.rstrip().endswith("interrupted"), err
    assert child.returncode == 0 and "Exception ignored" not in err
    images, labels = make_images(400)
    steps = max(json.loads(line)["step"]
                for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    done = capscl.train(images, labels, epochs=0, max_steps=steps + 8, out=tmp_path / "run",
                        resume=True, progress=False)
    whole = capscl.train(images, labels, SPEC, max_steps=steps + 8, progress=False)
    assert same(done.parameters(), whole.parameters())


def test_ctrl_c_ends_on_epoch():
    """A function that never returns is interrupted itself."""
    child = run_script(f"""
        import sys, time
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import capscl
        from conftest import SPEC, make_images
        def wait(metrics):
            print("waits", flush=True)
            while True:
                time.sleep(0.01)
        try:
            capscl.train(*make_images(40), SPEC, epochs=9, on_epoch=wait, progress=False)
        except KeyboardInterrupt:
            print("interrupted")
    """)
    assert child.stdout.readline() == "waits\n"
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert out == "interrupted\n", err


def test_the_handler_of_signals_is_put_back(data):
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        handler = signal.getsignal(signal.SIGINT)
        model = brief(data, epochs=50, on_epoch=lambda m: None, max_steps=3)
        assert signal.getsignal(signal.SIGINT) is handler and not seen
        assert [m["step"] for m in model.history] == [3]
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_prediction():
    child = run_script("""
        import numpy as np, capscl
        model = capscl.Model("small")
        images = np.zeros((100, 28, 28), np.float32)
        model.predict(images)
        many = np.zeros((150000, 28, 28), np.float32)
        try:
            print("begun", flush=True)
            model.predict(many)
            print("ended")
        except KeyboardInterrupt:
            print("interrupted", model.predict(images).labels.shape)
    """)
    assert child.stdout.readline() == "begun\n"
    time.sleep(0.1)  # it is in the library by then
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=120)
    assert out == "interrupted (100,)\n", err


def test_trainings_side_by_side(data):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        models = list(pool.map(lambda seed: brief(data, epochs=2, seed=seed), (1, 2)))
    for seed, model in zip((1, 2), models):
        assert same(model.parameters(), brief(data, epochs=2, seed=seed).parameters())


def test_progress_lines():
    metrics = {"epoch": 2, "images_done": 50, "images_total": 200, "loss": 0.25,
               "train_error_percent": 3.5, "images_per_second": 1234.4, "seconds_left": 65.2,
               "test_error_percent": 4.25, "validation_error_percent": float("nan"),
               "seconds": 12.0}
    assert _progress.progress_line(metrics) == (
        "epoch 2 [#####...............], loss 0.2500, error 3.50 %, 1234 images/s, 1:05 left")
    assert _progress.epoch_line(metrics) == (
        "epoch 2: loss 0.2500, training error 3.50 %, test error 4.25 % (0:12)")


def test_progress_where_nobody_looks(data, capsys):
    brief(data, progress=None)
    assert capsys.readouterr() == ("", "")
    brief(data, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("epoch 1: loss ") and err.count("\n") == 1


def test_progress_on_a_terminal(data, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(_progress, "_EVERY_SECONDS", 0.0)
    brief(data, progress=None)
    err = capsys.readouterr().err
    assert "\repoch 1 [" in err and "images/s" in err and err.endswith(" s)\n") is False
    assert "epoch 1: loss" in err


def test_no_warnings(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        brief(data)
