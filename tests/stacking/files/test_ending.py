"""No error hides another: what ends a block comes out of it, whatever closing and cleaning up do."""

import ast
import errno
import re
from pathlib import Path

import numpy as np
import pytest

from stacking import PredictionSet
from stacking.combiners.registry import create_method, find_method, list_methods
from stacking.files.ending import ending_with, run_all
from stacking.files.output_folder import OutputFolder
from stacking.files.output_rules import ResultKind

ROOT = Path(__file__).parents[3]


def fail(error):
    raise error


def test_the_first_error_comes_out_and_every_step_runs():
    ran = []
    full, gone = (lambda: fail(OSError("full"))), (lambda: fail(KeyError("gone")))
    steps = (full, lambda: ran.append(1), gone, lambda: ran.append(2))
    with pytest.raises(KeyboardInterrupt) as caught, ending_with(*steps):
        raise KeyboardInterrupt
    assert ran == [1, 2]
    assert caught.value.__notes__ == ["and afterwards OSError: full", "and afterwards KeyError: 'gone'"]
    with pytest.raises(OSError, match="full") as alone, ending_with(*steps):
        pass
    assert ran == [1, 2, 1, 2] and len(alone.value.__notes__) == 1
    run_all(*steps, after=ValueError("before"))
    run_all()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full")], ids=repr)
def test_a_result_whose_folder_cannot_be_freed_says_what_came_first(error, tmp_path, monkeypatch):
    kind = ResultKind("a poem", "manifest.json", lambda manifest: manifest.get("files"))
    monkeypatch.setattr(OutputFolder, "close", lambda output: fail(PermissionError("gone")))
    with pytest.raises(type(error)) as caught, OutputFolder(tmp_path / "a", kind):
        raise error
    assert caught.value is error
    monkeypatch.setattr("stacking.files.output_folder.finish_move", lambda folder: fail(error))
    with pytest.raises(type(error)) as caught:
        OutputFolder(tmp_path / "b", kind).__enter__()
    assert caught.value is error and len(error.__notes__) == 2


class Breaking(PredictionSet):
    """Predictions whose reading ends in an error."""

    error: BaseException = OSError(errno.ENOSPC, "no space left on device")
    n_reads = 0

    def _break(self):
        Breaking.n_reads += 1
        raise self.error

    def iter_rows(self, block=None):
        self._break()
        return super().iter_rows(block)

    def iter_labels(self, block=1):
        self._break()
        return super().iter_labels(block)

    def to_array(self):
        self._break()
        return super().to_array()

    def in_memory(self):
        self._break()
        return super().in_memory()


@pytest.mark.parametrize("method", [name for name in list_methods() if find_method(name).requires != "torch"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()], ids=repr)
def test_a_method_that_is_cut_off_says_by_what(method, error, monkeypatch):
    rng = np.random.default_rng(0)
    truth = (rng.random((40, 2)) < 0.5).astype(np.uint8)
    scores = np.clip(0.4 * truth + 0.6 * rng.random((2, 40, 2)), 0, 1)
    predictions = Breaking(scores, y_true=truth)
    monkeypatch.setattr(Breaking, "error", error)
    folds = np.arange(40) % 2
    for call in (
        lambda combiner: combiner.fit(predictions),
        lambda combiner: combiner.fit_out_of_fold(predictions, folds=folds),
        lambda combiner: combiner.predict_out_of_fold(predictions, folds=folds),
    ):
        monkeypatch.setattr(Breaking, "n_reads", 0)
        try:
            call(create_method(method))
        except BaseException as caught:
            assert caught is error
        else:
            assert Breaking.n_reads == 0, "only what reads nothing gets away"


ENDS_SAFELY = re.compile(
    r"""
    [\w.\[\]]+\ =\ .*                                # putting a value back
    | \w+\.\w+\ [+-]=\ \w+                          # counters
    | self\.\w+\[-1\]\ \+=\ time\.monotonic\(\)\ -\ started
    | os\._exit\(code\)                             # the end of a forked process
    | for\ .*:\n\s+(\w+\.\w+\ =\ \w+|\w+\.remove\(\)) # of several
    | \w+\.(remove|release|cancel)\(\)               # hooks, locks and tasks, which do no input or output
    | _\w+\.(re)?set\(\w+\)                          # context variables
    | with\ contextlib\.suppress\(OSError\):\n\s+path\.unlink\(\)
    | if\ before\ is\ None:\n\s+os\.environ\.pop\(_VARIABLE,\ None\)\nelse:\n\s+os\.environ\[_VARIABLE\]\ =\ before
    | if\ here\ is\ not\ None:\n\s+os\.chdir\(here\)  # back to where the process was a moment ago
    | (os\.close\(descriptor\))
    | torch\.set_(num_threads|float32_matmul_precision)\(\w+\)
    | body\.train\(was_training\)
    | shutil\.rmtree\(\w+,\ ignore_errors=True\)
    | self\.__dict__\.pop\('\w+',\ None\)
    | self\._(give_back|take)\(\)                    # numpy's global generator
    | for\ task\ in\ .*:\n\s+task\.cancel\(\) | await\ asyncio\.gather\(.*,\ return_exceptions=True\)
    """,
    re.VERBOSE,
)


@pytest.mark.parametrize("package", ["optimizers", "stacking", "base_models", "experiments", "labelstack"])
def test_no_finally_does_what_may_fail(package):
    found = []
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            steps = node.finalbody if isinstance(node, ast.Try) else []
            found += [(str(path.relative_to(ROOT)), ast.unparse(step)) for step in steps]
    unsafe = [(path, text) for path, text in found if not ENDS_SAFELY.fullmatch(text)]
    assert not unsafe, "take stacking.files.ending.ending_with where closing may fail, or say here why it cannot"
