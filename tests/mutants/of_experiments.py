"""Mutants of experiments: the application."""

from mutant import Mutant

PLANTED = "tests/experiments/cli/test_planted_files.py"

MUTANTS = (
    Mutant(
        "Python files of the working directory are run",
        "experiments/__main__.py",
        "        del sys.path[0]\n",
        "        pass\n",
        (f"{PLANTED}::test_python_m_experiments",),
    ),
)
