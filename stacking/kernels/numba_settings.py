"""Load numba without the settings file that may lie in the working directory.

numba reads ``.numba_config.yaml`` there, on import and before every compilation. The file can name a folder of compiled
functions, which numba then loads and runs: in a folder of someone else's that is someone else's code. Environment
variables, which only the user sets, work as ever.
"""

import os
import sys
from pathlib import Path

_FILE = ".numba_config.yaml"


def load_numba() -> None:
    """Import numba, if nobody has, and keep it from reading settings in any working directory.

    Notes
    -----
    Where such a file lies in the working directory, the import happens in the folder of this package.
    """
    if "numba" in sys.modules:  # the user's own import, and so the user's affair
        return
    here = Path.cwd() if Path(_FILE).exists() else None
    if here is not None:
        os.chdir(Path(__file__).parent)
    try:
        import numba.core.config
    finally:
        if here is not None:
            os.chdir(here)
    numba.core.config._config_fname = str(Path(os.devnull) / _FILE)  # a file that never exists
