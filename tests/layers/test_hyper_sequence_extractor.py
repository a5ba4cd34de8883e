"""HyperSequenceExtractor against its equations, the promises about padding and empty histories, and its cost."""

import numpy as np
import pytest
import tensorflow as tf
from harness import assert_all_trained, assert_reloads, gradients

from tfmtl.keras_host import keras, ops
from tfmtl.layers.hyper_sequence_extractor import HyperSequenceExtractor
from tfmtl.layers.self_attention import SelfAttention

TASKS = ("click", "pay")
LENGTHS = {"view": 6, "cart": 6, "buy": 3}
BATCH, WIDTH, HEADS = 5, 4, 2


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    sequences = {name: rng.normal(size=(BATCH, length, WIDTH)).astype("float32") for name, length in LENGTHS.items()}
    events = {name: [length, 1, 2, 0, length - 1] for name, length in LENGTHS.items()}
    masks = {name: np.arange(length) < np.array(events[name])[:, None] for name, length in LENGTHS.items()}
    return sequences, masks, rng.normal(size=(BATCH, WIDTH)).astype("float32")


def extractor(data, *, perturbed=True, **options):
    """A built layer; its weights are random, so that the hypernetwork's zeros hide nothing."""
    layer = HyperSequenceExtractor(
        TASKS, LENGTHS, num_heads=HEADS, ffn_units=7, condition_dim=3, hyper_units=(5,), **options
    )
    layer(*arguments(layer, data))
    if perturbed:
        rng = np.random.default_rng(1)
        layer.set_weights([rng.normal(size=w.shape, scale=0.5) for w in layer.get_weights()])
    return layer


def arguments(layer, data):
    return data if layer.pooling == "target" else data[:2]


def array(variable):
    return np.asarray(ops.convert_to_tensor(variable), "float64")


def softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def reference_modulation(layer):
    network = layer.hypernetwork
    task, behavior = array(network.embeddings["task"]), array(network.embeddings["behavior"])
    hidden, output = network.hidden.steps[0], network.emit
    found = np.zeros((len(TASKS), len(LENGTHS), layer.transformers[0].num_norms, 2, WIDTH))
    for t in range(len(TASKS)):
        for s in range(len(LENGTHS)):
            u = np.maximum(np.concatenate([task[t], behavior[s]]) @ array(hidden.kernel) + array(hidden.bias), 0)
            found[t, s] = (u @ array(output.kernel) + array(output.bias)).reshape(found.shape[2:])
    found[:, :, :, 0] += 1
    return found


def reference_attention(attention, x):
    """Over the events of one row: the reference cuts padding off instead of masking it."""
    query, key, value = np.split(x @ array(attention.project.kernel), 3, axis=-1)
    biased = attention.use_bias
    if biased:
        query, value = (part + bias for part, bias in zip((query, value), array(attention.biases), strict=True))
    heads, size = [], WIDTH // HEADS
    for h in range(HEADS):
        part = slice(h * size, (h + 1) * size)
        heads.append(softmax(query[:, part] @ key[:, part].T / np.sqrt(size)) @ value[:, part])
    return np.concatenate(heads, axis=-1) @ array(attention.merge.kernel) + (
        array(attention.merge.bias) if biased else 0
    )


def reference_states(transformer, x, modulation):
    def norm(v, n):
        spread = np.sqrt(v.var(axis=-1, keepdims=True) + 1e-6)
        return modulation[n, 0] * (v - v.mean(axis=-1, keepdims=True)) / spread + modulation[n, 1]

    def feed_forward(v, block):
        expand, contract = transformer.expand[block].steps[0], transformer.contract[block].steps[0]
        hidden = np.maximum(v @ array(expand.kernel) + array(expand.bias), 0)
        return hidden @ array(contract.kernel) + array(contract.bias)

    for block, attention in enumerate(transformer.attentions):
        if transformer.norm_position == "post":
            z = norm(x + reference_attention(attention, x), 2 * block)
            x = norm(z + feed_forward(z, block), 2 * block + 1)
        else:
            z = x + reference_attention(attention, norm(x, 2 * block))
            x = z + feed_forward(norm(z, 2 * block + 1), block)
    return x if transformer.norm_position == "post" else norm(x, 2 * transformer.num_blocks)


def reference(layer, data, weights=None):
    """The interests `{task: (B, S, D)}`; `weights` `{behavior: (B, L)}` say how much each event counts."""
    sequences, masks, target = data
    modulation = reference_modulation(layer)
    interests = np.zeros((len(TASKS), BATCH, len(LENGTHS), WIDTH))
    for t in range(len(TASKS)):
        for s, name in enumerate(layer.behaviors):
            transformer = layer.transformers[0 if layer.share_transformer_across_behaviors else s]
            for row in range(BATCH):
                events = sequences[name][row][masks[name][row]].astype("float64")
                if len(events):
                    events = events + array(layer.positions)[: len(events)][::-1]
                    states = reference_states(transformer, events, modulation[t, s])
                    shares = np.ones(len(events)) if layer.pooling != "last" else np.eye(len(events))[-1]
                    if layer.pooling == "target":
                        shares = softmax(states @ (target[row] @ array(layer.query.kernel)) / np.sqrt(WIDTH))
                    if name in (weights or {}):
                        shares = shares * weights[name][row][masks[name][row]]
                    interests[t, row, s] = shares @ states / (shares.sum() or np.inf)
    return dict(zip(TASKS, interests, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pooling": "mean"},
        {"pooling": "last"},
        {"norm_position": "pre", "num_blocks": 2},
        {"num_blocks": 2, "share_transformer_across_behaviors": False},
        {"attention_bias": True},
    ],
)
def test_follows_the_equations(data, options):
    layer = extractor(data, **options)
    expected = reference(layer, data)
    for task, interests in layer(*arguments(layer, data)).items():
        np.testing.assert_allclose(interests, expected[task], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pooling", ["target", "mean"])
def test_events_count_as_their_weights_say(data, pooling):
    """Behaviours without weights are as ever; weights of zero alone give zeros, and only ratios matter."""
    layer = extractor(data, pooling=pooling)
    given = data if pooling == "target" else (*data[:2], None)
    weights = {name: np.random.default_rng(2).uniform(0.1, 3, data[1][name].shape) for name in ("cart", "buy")}
    weights["cart"][2] = 0
    expected = reference(layer, data, weights)
    for scale in (1, 300):
        scaled = {name: (scale * weight).astype("float32") for name, weight in weights.items()}
        for task, interests in layer(*given, scaled).items():
            np.testing.assert_allclose(interests, expected[task], rtol=1e-4, atol=1e-4)
            np.testing.assert_array_equal(interests[2, layer.behaviors.index("cart")], np.zeros(WIDTH))
    shown = layer.attention(*given, weights)["pay"]
    np.testing.assert_allclose(np.sum(shown["cart"], -1), [1, 1, 0, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(shown["view"], layer.attention(*given)["pay"]["view"], rtol=1e-6)


def test_a_fresh_layer_is_a_plain_transformer_for_every_task(data):
    fresh = extractor(data, perturbed=False)
    plain = extractor(data, perturbed=False, condition_on="none")
    for name in ("positions", "query", "transformers"):
        for mine, theirs in zip(weights_of(plain, name), weights_of(fresh, name), strict=True):
            mine.assign(theirs)
    interests, expected = fresh(*data), plain(*data)
    np.testing.assert_allclose(interests["click"], interests["pay"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(interests["click"], expected["click"], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(fresh.modulation()[:, :, :, 0], np.ones((2, 3, 2, WIDTH)))
    np.testing.assert_array_equal(fresh.modulation()[:, :, :, 1], np.zeros((2, 3, 2, WIDTH)))


def weights_of(layer, name):
    part = getattr(layer, name)
    if isinstance(part, (list, tuple)):
        return [w for one in part for w in one.weights]
    return part.weights if isinstance(part, keras.layers.Layer) else [part]


def test_tasks_part_once_the_hypernetwork_has_learned(data):
    interests = extractor(data)(*data)
    assert np.abs(interests["click"] - interests["pay"])[:3].min() > 0


def test_a_behavior_embedding_steers_its_own_sequence_only(data):
    layer = extractor(data)
    before = layer(*data)["click"]
    table = np.asarray(ops.convert_to_tensor(layer.hypernetwork.embeddings["behavior"])).copy()
    table[layer.behaviors.index("cart")] += 1.0
    layer.hypernetwork.embeddings["behavior"].assign(table)
    changed = np.abs(layer(*data)["click"] - before).max(axis=(0, 2)) > 0
    np.testing.assert_array_equal(changed, [name == "cart" for name in layer.behaviors])


def pad(data, before, after):
    """More padding on both sides, filled with what must not matter."""
    sequences, masks, target = data
    more = {name: np.pad(x, ((0, 0), (before, after), (0, 0)), constant_values=np.nan) for name, x in sequences.items()}
    return more, {name: np.pad(mask, ((0, 0), (before, after))) for name, mask in masks.items()}, target


@pytest.mark.parametrize("pooling", ["target", "mean", "last"])
def test_padding_changes_nothing(data, pooling):
    layer = extractor(data, pooling=pooling)
    expected = layer(*arguments(layer, data))
    for before, after in ((0, 4), (3, 0), (2, 2)):
        for task, interests in layer(*arguments(layer, pad(data, before, after))).items():
            np.testing.assert_allclose(interests, expected[task], rtol=1e-4, atol=1e-5)


def test_padding_gets_no_gradient_and_spoils_none(data):
    layer = extractor(data)
    sequences, masks, target = pad(data, 0, 2)
    x = {name: tf.Variable(sequence) for name, sequence in sequences.items()}
    found = gradients(
        lambda: tf.reduce_sum(layer(x, masks, target)["pay"] ** 2), [*x.values(), *layer.trainable_variables]
    )
    for name, gradient in zip(x, found, strict=False):
        np.testing.assert_array_equal(gradient[~masks[name]], 0)
        assert (np.abs(gradient[masks[name]]).max(axis=-1) > 0).all()
    assert all(np.isfinite(gradient).all() for gradient in found)


@pytest.mark.parametrize("pooling", ["target", "mean", "last"])
def test_an_empty_history_is_exactly_zero(data, pooling):
    layer = extractor(data, pooling=pooling)
    for interests in layer(*arguments(layer, data)).values():
        np.testing.assert_array_equal(interests[3], np.zeros((len(LENGTHS), WIDTH)))
        assert (np.abs(interests[0]).max(axis=-1) > 0).all()


def test_attention_is_what_pooling_weighs(data):
    layer = extractor(data)
    weights = layer.attention(*data)
    assert set(weights) == set(TASKS)
    for name, mask in data[1].items():
        shown = np.asarray(weights["pay"][name])
        assert shown.shape == mask.shape
        np.testing.assert_allclose(shown.sum(axis=-1), mask.any(axis=-1), rtol=1e-6)
        assert not shown[~mask].any()


def test_hyper_parameters_are_computed_without_a_batch(data):
    layer = extractor(data)
    assert layer.modulation().shape == (2, 3, 2, 2, WIDTH)
    np.testing.assert_allclose(layer.modulation(), reference_modulation(layer), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("position", "rows"), [("post", [2 * BATCH, BATCH]), ("pre", [4 * BATCH, 2 * BATCH])])
def test_the_first_attention_serves_all_tasks(data, monkeypatch, position, rows):
    layer = extractor(data, norm_position=position)
    seen, call = [], SelfAttention.call
    monkeypatch.setattr(SelfAttention, "call", lambda self, x, mask: (seen.append(x.shape[0]), call(self, x, mask))[1])
    layer(*data)
    assert seen == rows  # view and cart have one length and go as one batch


@pytest.mark.parametrize("condition_on", ["task+behavior", "task", "behavior", "none"])
def test_conditions(data, condition_on):
    layer = extractor(data, condition_on=condition_on)
    modulation = np.asarray(layer.modulation())
    differs_by_task = np.abs(modulation[0] - modulation[1]).max() > 0
    differs_by_behavior = np.abs(modulation[:, 0] - modulation[:, 1]).max() > 0
    assert (differs_by_task, differs_by_behavior) == ("task" in condition_on, "behavior" in condition_on)
    interests = layer(*data)
    assert (np.abs(interests["click"] - interests["pay"]).max() > 0) == differs_by_task
    assert_all_trained(layer, lambda: sum(tf.reduce_sum(y**2) for y in layer(*data).values()))


@pytest.mark.parametrize(
    "options", [{}, {"norm_position": "pre", "num_blocks": 2}, {"pooling": "mean"}, {"attention_bias": True}]
)
def test_every_variable_is_trained(data, options):
    layer = extractor(data, **options)
    assert_all_trained(layer, lambda: sum(tf.reduce_sum(y**2) for y in layer(*arguments(layer, data)).values()))


def test_a_fresh_hypernetwork_learns(data):
    layer = extractor(data, perturbed=False)
    loss = lambda: tf.reduce_sum(layer(*data)["pay"] ** 3)  # noqa: E731
    assert all(np.abs(g).max() > 0 for g in gradients(loss, layer.hypernetwork.emit.trainable_variables))


def test_parameters_grow_with_tasks_and_behaviors_by_embeddings_alone(data):
    def count(tasks, behaviors):
        layer = HyperSequenceExtractor(
            [f"t{i}" for i in range(tasks)], [f"b{i}" for i in range(behaviors)], condition_dim=3
        )
        x = {name: np.ones((2, 6, WIDTH), "float32") for name in layer.behaviors}
        layer(x, {name: np.ones((2, 6), bool) for name in x}, np.ones((2, WIDTH), "float32"))
        return layer.count_params()

    width, hidden, norms = WIDTH, 64, 2
    transformer = 4 * width**2 + (4 * width**2 + 4 * width) + (4 * width**2 + width)
    hypernetwork = (2 * 3 * hidden + hidden) + (hidden + 1) * norms * 2 * width
    assert count(2, 3) == 6 * width + width**2 + transformer + hypernetwork + 3 * (2 + 3)
    assert count(7, 9) - count(2, 3) == 3 * (5 + 6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_stays_close(data, policy):
    layer, exact = extractor(data, dtype=policy), extractor(data)
    exact.set_weights(layer.get_weights())
    for task, expected in exact(*data).items():
        interests = layer(*data)[task]
        assert np.asarray(interests).dtype.name == policy.removeprefix("mixed_")
        np.testing.assert_allclose(np.asarray(ops.cast(interests, "float32")), expected, atol=0.1)
    assert layer.modulation().dtype == tf.float32


def test_reloads_in_a_fresh_process(data, tmp_path):
    sequences = {name: keras.Input((length, WIDTH), name=name) for name, length in LENGTHS.items()}
    masks = {name: keras.Input((length,), dtype="bool", name=f"{name}_mask") for name, length in LENGTHS.items()}
    target = keras.Input((WIDTH,), name="target")
    plain = extractor(data)
    variant = extractor(data, pooling="mean", condition_on="behavior", share_transformer_across_behaviors=False)
    outputs = dict(plain(sequences, masks, target))
    outputs.update({f"{task}_variant": y for task, y in variant(sequences, masks).items()})
    inputs = {**sequences, **{f"{name}_mask": mask for name, mask in masks.items()}, "target": target}
    given = {**data[0], **{f"{name}_mask": mask for name, mask in data[1].items()}, "target": data[2]}
    assert_reloads(keras.Model(inputs, outputs), given, tmp_path)


def test_config_round_trip(data):
    layer = extractor(data, num_blocks=2, norm_position="pre", condition_on="task", attention_bias=True)
    twin = HyperSequenceExtractor.from_config(layer.get_config())
    twin(*data)
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(twin(*data)["pay"], layer(*data)["pay"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": []}, "`tasks` must be distinct names"),
        ({"tasks": "click"}, "`tasks` must be distinct names"),
        ({"behaviors": ["a", "a"]}, r"behaviors=\['a', 'a'\]"),
        ({"pooling": "max"}, "pooling='max'"),
        ({"condition_on": "user"}, "condition_on='user'"),
        ({"norm_position": "mid"}, "norm_position='mid'"),
        ({"num_blocks": 0}, "num_blocks=0"),
        ({"num_heads": 0}, "num_heads=0"),
        ({"ffn_units": 0}, "ffn_units=0"),
        ({"condition_dim": 0}, "condition_dim=0"),
        ({"hyper_units": (8, 0)}, r"hyper_units=\(8, 0\)"),
    ],
)
def test_refuses_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        HyperSequenceExtractor(**{"tasks": TASKS, "behaviors": list(LENGTHS), **options})


def test_refuses_what_does_not_fit(data):
    sequences, masks, target = data

    def build(x, m, t, **options):
        HyperSequenceExtractor(TASKS, LENGTHS, **options)(x, m, t)

    with pytest.raises(ValueError, match=r"`sequences` must be a dict with the keys .*Received: \['buy', 'cart'\]"):
        build({name: sequences[name] for name in ("buy", "cart")}, masks, target)
    with pytest.raises(ValueError, match=r"`masks` must be a dict"):
        build(sequences, {**masks, "other": masks["buy"]}, target)
    with pytest.raises(ValueError, match="one D for all"):
        build({**sequences, "buy": sequences["buy"][:, :, :2]}, masks, target)
    with pytest.raises(ValueError, match=r"needs a target of the sequences' width 4\. Received: target=None"):
        build(sequences, masks, None)
    with pytest.raises(ValueError, match=r"target=\(5, 3\)"):
        build(sequences, masks, target[:, :3])
    with pytest.raises(ValueError, match="does not read a target"):
        build(sequences, masks, target, pooling="mean")
    for options, weights in (({"pooling": "last"}, "buy"), ({"pooling": "mean"}, "like")):
        with pytest.raises(ValueError, match=rf"`weights` must be of behaviours.*\['{weights}'\], pooling='"):
            HyperSequenceExtractor(TASKS, LENGTHS, **options)(sequences, masks, None, {weights: masks["buy"]})
    with pytest.raises(ValueError, match=r"must divide the width 4\. Received: num_heads=3"):
        build(sequences, masks, target, num_heads=3)
    with pytest.raises(ValueError, match="known length"):
        HyperSequenceExtractor(TASKS, ["view"]).build({"view": (None, None, WIDTH)})
