"""The GPU's part of bench/logprobs.py, run where there is none: its code, and that it counts operations rightly."""

import pytest

pytest.importorskip("transformers", reason="the engine needs torch and transformers (MODELS=no)")

import torch  # noqa: E402

from bench import logprobs as bench  # noqa: E402
from bench.scoring import gpu  # noqa: E402
from labelers.logprobs import Tokens  # noqa: E402


@pytest.mark.slow
def test_operations_are_those_the_weights_of_a_model_ask_for():
    shape = gpu.SHAPES["tiny"]
    made = gpu.model(shape, "cpu", 0)
    products = sum(module.weight.numel() for module in made.model.modules() if isinstance(module, torch.nn.Linear))
    one = [Tokens((1, 2, 3), (4,))]
    keys = 1 + 2 + 3
    head = 2 * shape.width * shape.vocabulary
    assert gpu.operations(shape, one) == 2 * products * 3 + 4 * shape.width * shape.layers * keys + head
    shared = [*one, Tokens((1, 2, 3), (4, 5))]
    assert gpu.operations(shape, shared) - gpu.operations(shape, one) == (
        2 * products + 4 * shape.width * shape.layers * 4 + 2 * head
    )


@pytest.mark.slow
def test_real_shapes_have_the_sizes_they_are_called_by():
    with torch.device("meta"):
        sizes = {}
        for name in ("0.5b", "1.5b", "7b"):
            sizes[name] = sum(each.numel() for each in gpu.model(gpu.SHAPES[name], "meta", 0).parameters())
    assert sizes["0.5b"] == pytest.approx(494e6, rel=0.01)
    assert sizes["1.5b"] == pytest.approx(1544e6, rel=0.01)
    assert sizes["7b"] == pytest.approx(7616e6, rel=0.01)


@pytest.mark.slow
def test_the_part_runs_on_a_cpu_at_a_tiny_shape():
    texts = lambda vocabulary: bench.texts(2, vocabulary, 0)  # noqa: E731
    found = gpu.all_shapes(["tiny"], texts, "cpu", 0, 0)
    assert found["mfu"] > 0 and found["pairs_per_s"] > 0 and found["device"] == "cpu"
    own = found["shapes"]["tiny"]
    assert own["response_tokens_per_s"] == pytest.approx(
        2 * sum(len(text.response) for text in texts(512)) / own["seconds"], rel=0.01
    )
