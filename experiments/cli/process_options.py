"""How many processes work side by side: ``--gpus`` and ``--processes`` of the commands that train or score photos."""


def count_processes(gpus: int | None, processes: int | None, device: str) -> int | None:
    """Return how many processes work side by side.

    Parameters
    ----------
    gpus, processes : int or None
        What was given to ``--gpus`` and ``--processes``.
    device : str
        What was given to ``--device``.

    Returns
    -------
    int or None
        None where nothing was said.

    Raises
    ------
    ValueError
        If both are given, or there are not so many GPUs.
    """
    if gpus is not None and processes is not None:
        raise ValueError(f"give --gpus or --processes: got {gpus} and {processes}.")
    if gpus is None:
        return processes
    import torch

    if device not in ("auto", "cuda"):
        raise ValueError(f"--gpus goes with --device auto or cuda: got {device!r}; drop one of the two.")
    if gpus > torch.cuda.device_count():
        raise ValueError(
            f"--gpus must be at most the GPUs that torch finds, {torch.cuda.device_count()}: got {gpus}; --processes "
            "starts several on a CPU, or on one GPU."
        )
    return gpus
