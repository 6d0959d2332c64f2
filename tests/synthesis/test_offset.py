from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from qsynth.encoder import make_encoder
from qsynth.encoder.config import SeededFourier
from qsynth.errors import ConfigError
from qsynth.model import make_network
from qsynth.model.mlp import MLP
from qsynth.model.outputs import network_outputs
from qsynth.pipeline.offset import Offset, nearest, rows_by_input
from qsynth.pipeline.predictor import Predictor, fit_product
from qsynth.pipeline.teach import Teaching, build_teachings
from qsynth.synthesis import synthesize
from qsynth.synthesis.analytic_head import AnalyticHead
from qsynth.synthesis.head import log_softmax, solve
from qsynth.synthesis.head_rule import Teach
from qsynth.synthesis.lesson import make_pool, offset_alone
from qsynth.synthesis.own_evidence import OwnEvidence
from qsynth.training.fit import quietly
from qsynth.training.learner import TrainerLearner
from qsynth.types import Task

TASK = Task("t", 1, ("a", "b", "c"), "vector", (6,), "", 0.0, 1.0)


@pytest.fixture(scope="module")
def place():
    rng = np.random.default_rng(1)
    encoder = make_encoder(SeededFourier(dimensions=24), TASK)
    y = np.arange(60) % 3
    x = (rng.standard_normal((60, 6)) * 0.4 + np.eye(6)[y]).astype(np.float32)
    own = OwnEvidence.from_samples(encoder.encode(x), y, 3, 0)
    return encoder, x, y, own, synthesize(AnalyticHead(), own, 24, {})


def unseen_scores(place):
    _, _, y, own, made = place
    scores = np.empty((len(y), 3))
    for fold, head in zip(own.folds, made.unseen, strict=True):
        scores[fold] = head.scores(own.features[fold])
    return scores


def offset_of(place, synthesis=None):
    encoder, x, _, own, made = place
    return Offset(synthesis or made, made.log_prior, encoder, own, rows_by_input(x))


def test_own_samples_are_scored_by_heads_that_have_not_seen_their_fold(place) -> None:
    _, _, y, own, made = place
    fitted = made.head.scores(own.features)
    # A head knows by heart what it was solved from; what it has not seen it knows less surely.
    rows = np.arange(60)
    seen = log_softmax(fitted + made.log_prior)[rows, y].mean()
    scores = unseen_scores(place)
    unseen = log_softmax(scores + made.log_prior)[rows, y].mean()
    assert unseen < seen - 0.05
    # The slow twin: the two heads of one shrinkage, where that alone is tried.
    for fold, other in zip(own.folds, reversed(own.folds), strict=True):
        twin = solve(own.statistics(24, other), 0.5).scores(own.features[fold])
        agree = np.corrcoef(twin.ravel(), scores[fold].ravel())[0, 1]
        assert agree > 0.95


def test_changed_copies_belong_to_the_fold_of_their_sample(place) -> None:
    encoder, x, _, own, made = place
    copy = x[11:12] + np.float32(1e-3)
    assert nearest(encoder.encode(copy), own.features).tolist() == [11]
    given = offset_of(place)(torch.from_numpy(np.concatenate([x[7:8], copy, x[2:3]]))).numpy()
    head = made.unseen[0 if 11 in own.folds[0] else 1]
    scores = unseen_scores(place)
    expected = np.concatenate([scores[7:8], head.scores(encoder.encode(copy)), scores[2:3]])
    np.testing.assert_allclose(given, expected + made.log_prior, rtol=1e-3, atol=1e-3)
    # The slow twin of the nearest row.
    rng = np.random.default_rng(5)
    some, many = rng.random((4, 3), np.float32), rng.random((9, 3), np.float32)
    slow = [int(np.argmin([((a - b) ** 2).sum() for b in many])) for a in some]
    assert nearest(some, many).tolist() == slow


def fitted(place, teaching, steps=150):
    _, x, y, _, _ = place
    torch.manual_seed(0)
    network = make_network(MLP(width=16, learning_rate=1e-2), TASK)
    learner = TrainerLearner(50, lambda *_: teaching, 0)
    trainer = pl.Trainer(
        max_steps=steps,
        callbacks=[learner],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    quietly(lambda: trainer.fit(network, DataLoader(data, batch_size=20, shuffle=True)))
    return network.eval()


def test_a_boosted_network_learns_only_what_the_head_lacks(place) -> None:
    _, x, y, _, _ = place
    # An offset that already says everything leaves nothing to learn, and one that errs much.
    sizes = []
    for scores in (30.0 * np.eye(3)[y], unseen_scores(place), 3.0 * np.eye(3)[(y + 1) % 3]):
        offset = offset_of(place)
        offset.scores = scores.astype(np.float32)
        network = fitted(place, offset_alone(offset))
        assert not network._forward_hooks  # what is left is the network alone
        sizes.append(float(network_outputs(network, torch.from_numpy(x)).std()))
    assert sizes[0] < sizes[1] < sizes[2]


def test_a_boosted_networks_sum_beats_its_logits_alone(place) -> None:
    encoder, x, y, own, made = place
    network = fitted(place, offset_alone(offset_of(place)))
    predictor = Predictor(network, encoder, TASK)
    logits = network_outputs(network, torch.from_numpy(x)).double()
    predictor.set_head(made.head, made.log_prior, 0.0, 1.0, summed=True)
    answers = predictor(torch.from_numpy(x)).detach().numpy()
    expected = log_softmax(logits.numpy() + made.head.scores(own.features) + made.log_prior)
    np.testing.assert_allclose(answers, expected, rtol=1e-3, atol=1e-3)
    apart = Predictor(network, encoder, TASK)
    apart.set_head(made.head, made.log_prior, 0.0, 1.0)
    alone = apart(torch.from_numpy(x)).detach().numpy()
    assert (answers.argmax(1) == y).mean() > (alone.argmax(1) == y).mean()


class _Aside(pl.LightningModule):
    """Gets its logits without calling itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Linear(6, 3)

    def forward(self, inputs):
        return self.layers(inputs)

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.cross_entropy(self.layers(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class _Named(_Aside):
    """Calls itself by a name."""

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.cross_entropy(self(inputs=batch[0]), batch[1])


def test_a_module_that_goes_past_the_offset_is_told_so(place) -> None:
    _, x, y, _, _ = place
    loader = DataLoader(TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), batch_size=20)

    def fit(module, steps) -> None:
        learner = TrainerLearner(4, lambda *_: offset_alone(offset_of(place)), 0)
        trainer = pl.Trainer(
            max_steps=steps,
            callbacks=[learner],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
        )
        quietly(lambda: trainer.fit(module, loader))

    for steps in (9, 2):  # in the middle, and where there is no whole period
        with pytest.raises(ConfigError, match=r"self\(x\)"):
            fit(_Aside(), steps)
    fit(_Named(), 9)


def test_a_hybrids_pool_carries_the_heads_scores(place) -> None:
    encoder, x, _, _, made = place
    offset = offset_of(place)
    rng = np.random.default_rng(3)
    lesson = make_pool(
        Teach(pool_size=32), made.head, made.log_prior, encoder, TASK, x, None, rng, offset
    )
    (pool,) = build_teachings([lesson])
    assert isinstance(pool, Teaching)
    assert pool.offset is offset
    assert pool.offsets is not None
    np.testing.assert_allclose(pool.offsets.softmax(1), pool.targets, atol=1e-5)


def test_the_weight_of_a_summed_network_is_fitted_to_the_sum(rng) -> None:
    labels = np.arange(90) % 3
    scores = 2.0 * np.eye(3)[labels] + rng.standard_normal((90, 3))
    # Logits that only make sense beside the scores: alone they say the contrary.
    logits = 4.0 * np.eye(3)[labels] - scores
    prior = np.zeros(3)
    summed, _ = fit_product(logits, scores, labels, prior, None, prior, summed=True)
    assert summed < 0.2
