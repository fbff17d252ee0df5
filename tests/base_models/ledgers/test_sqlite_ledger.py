"""A ledger that cannot be written at the end does not hide what ended the run."""

import sqlite3

import pytest

from base_models.download.ledger import Ledger


def fail():
    raise OSError("disk full")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("what went wrong")], ids=repr)
def test_the_error_of_the_run_comes_out_and_the_ledger_is_closed(tmp_path, monkeypatch, error):
    with pytest.raises(type(error)) as caught, Ledger(tmp_path / "ledger.sqlite") as ledger:
        monkeypatch.setattr(ledger, "_commit", fail)
        raise error
    assert caught.value.__notes__ == ["and afterwards OSError: disk full"]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        ledger.counts()


def test_a_commit_that_fails_alone_is_said(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="disk full"), Ledger(tmp_path / "ledger.sqlite") as ledger:
        monkeypatch.setattr(ledger, "_commit", fail)
