"""A test that is skipped for a reason nobody listed fails the run of CI, alone and with several processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
BROWSER = CONFTEST.with_name("browser.py")  # whose fixtures conftest.py takes over


@pytest.mark.parametrize(
    ("body", "listed", "status", "processes"),
    [
        ("import pytest\ndef test_a():\n    pytest.skip('needs openssl')", True, 0, []),
        ("import pytest\ndef test_a():\n    pytest.skip('because')", True, 1, []),
        ("import pytest\ndef test_a():\n    pytest.skip('because')", True, 1, ["-n", "1"]),
        ("import pytest\npytest.importorskip('no_such_package')", True, 1, []),
        ("import pytest\ndef test_a():\n    pytest.skip('because')", False, 0, []),
    ],
)
def test_unexpected_skips_fail(tmp_path, body, listed, status, processes):
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "browser.py").write_text(BROWSER.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "test_it.py").write_text(body + "\ndef test_other(): pass\n", encoding="utf-8")
    environment = {**os.environ, "LABELSTACK_SKIPS": "listed" if listed else ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *processes, str(tmp_path)]
    answer = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert answer.returncode == status, answer.stdout
    assert ("UNEXPECTED SKIP" in answer.stdout) == (status == 1)
