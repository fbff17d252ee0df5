"""Which steps are recorded, and what happens where one cannot be; the recording itself needs a card (tests/gpu)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.device import ahead  # noqa: E402
from base_models.training import step_graph  # noqa: E402
from base_models.training.step_graph import StepGraphs, _Recorded  # noqa: E402


class FakeGraph:
    def __init__(self, network, fixed):
        self.network, self.fixed, self.replays = network, fixed, 0

    def replay(self):
        self.replays += 1


@pytest.fixture
def graphs(monkeypatch):
    network = torch.nn.Linear(3, 2)
    found = StepGraphs(network, "cpu")
    assert not found.allowed
    found.allowed = True
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda _: None)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: None)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda _: None)
    return found


def shown(n_rows):
    return torch.ones(n_rows, 3), torch.zeros(n_rows, 2), None


def test_a_shape_is_recorded_once_it_has_come_often(graphs, monkeypatch):
    made = []

    def record(self, values, passes):
        fixed = tuple(None if each is None else each.clone() for each in values)
        made.append(FakeGraph(self.network, fixed))
        return _Recorded(made[-1], fixed, torch.tensor(7.0), []), "replayed"

    monkeypatch.setattr(StepGraphs, "_record", record)
    graphs.begin_epoch()
    losses = [float(graphs.add_gradients(shown(4), lambda *_: torch.tensor(1.0))) for _ in range(5)]
    assert losses == [1.0, 1.0, 7.0, 7.0, 7.0] and graphs.n_replayed == 3 and made[0].replays == 3
    for n_rows in (5, 6):
        for _ in range(5):
            graphs.add_gradients(shown(n_rows), lambda *_: torch.tensor(1.0))
    assert len(made) == step_graph.MOST_GRAPHS
    graphs.network.bias.requires_grad_(False)
    graphs.begin_epoch()
    assert float(graphs.add_gradients(shown(4), lambda *_: torch.tensor(1.0))) == 1.0


def test_what_cannot_be_recorded_is_launched_and_noted(graphs, monkeypatch, caplog):
    def record(*_):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(StepGraphs, "_record", record)
    losses = [float(graphs.add_gradients(shown(4), lambda *_: torch.tensor(1.0))) for _ in range(4)]
    assert losses == [1.0] * 4 and not graphs.allowed and "not permitted" in graphs.note
    assert "cannot be recorded" in caplog.text and graphs.n_replayed == 0


@pytest.mark.parametrize(
    ("asked", "precision", "n_processes", "replays"),
    [
        (False, "bfloat16", 1, False),
        ("auto", "bfloat16", 1, True),
        ("auto", "bfloat16", 2, False),
        ("auto", "float16", 1, False),
        (True, "bfloat16", 1, True),
        (True, "bfloat16", 2, False),
        (True, "float16", 1, False),
    ],
)
def test_steps_are_replayed_only_where_a_recipe_allows_it(
    tmp_path, monkeypatch, asked, precision, n_processes, replays
):
    from base_models.manifest import load_manifest
    from base_models.networks.network import create_network
    from base_models.photos.tensors import PhotoTensors
    from base_models.recipe.member import MemberConfig
    from base_models.recipe.training import TrainingConfig
    from base_models.testing import write_tiny_photos
    from base_models.training import learner
    from base_models.training.distributed import ProcessGroup
    from base_models.training.task import MemberTask

    manifest = load_manifest(write_tiny_photos(tmp_path, 8, 0), tmp_path)
    member = MemberConfig("m", "test_resnet", size=32, training=TrainingConfig(cuda_graphs=asked))
    task = MemberTask(member, PhotoTensors(manifest, np.arange(8), 32), manifest.y_true, np.arange(8), np.arange(0))
    network = create_network(member, np.full(manifest.n_labels, 0.3))
    processes = ProcessGroup(count=n_processes)
    assert learner.create_learner(task, network, precision, "cpu", processes).graphs is None
    monkeypatch.setattr(step_graph, "is_cuda", lambda _: True)
    monkeypatch.setattr(learner, "create_scaler", lambda precision, _: precision == "float16" or None)
    graphs = learner.create_learner(task, network, precision, "cpu", processes).graphs
    assert (graphs is not None) == replays
    assert graphs is None or graphs.forced == (asked is True)


def test_things_are_made_ahead_in_order():
    assert list(ahead(np.square, range(7))) == [0, 1, 4, 9, 16, 25, 36]
    started = ahead(np.square, range(7))
    assert next(started) == 0
    started.close()

    def fail(value):
        raise ValueError(f"no {value}")

    with pytest.raises(ValueError, match="no 1"):
        list(ahead(fail, [1]))
