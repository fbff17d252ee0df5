"""One thread for matrix products, while much is computed that is small.

A learner multiplies thousands of small matrices. Shared by several threads, each product ends with a wait for the
slowest of them, and beside other busy processes that one is not running: `label-context` took ten times the processor
time on two busy processors (1,600 rows, 67 labels). With one thread the sums are also taken in the same order
whatever the number of processors.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def with_one_blas_thread(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Make a function multiply matrices with one thread; afterwards there are as many as before.

    Parameters
    ----------
    function : callable
        What computes. It may be called again within itself.

    Returns
    -------
    callable
        The same, limited. OpenBLAS has one number of threads for the whole process; where several threads of the
        process are at work, the limit is lifted when the first of them leaves.
    """
    limited: Callable[Arguments, Answer] = threadpool_limits.wrap(limits=1, user_api="blas")(function)
    return limited
