"""The weight hub: asked quickly whether it is there, so that a machine without a network waits seconds, not minutes.

The hub's client repeats every request for about two minutes before it gives up. Here one connection is tried first;
where it fails, the client is switched to its own offline mode, in which weights that were fetched before still load
and others fail at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)

PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy")


def hub_is_reachable(timeout: float = 5.0) -> bool:
    """Tell whether the hub answers a connection.

    Parameters
    ----------
    timeout : float
        Seconds to wait for it; the default is a choice that a slow line survives and a dead one does not delay much.

    Returns
    -------
    bool
        True also behind a proxy, where a connection of our own would prove nothing.
    """
    from huggingface_hub import constants

    if any(os.environ.get(name) for name in PROXIES):
        return True
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), timeout=timeout).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def offline_where_unreachable() -> Iterator[None]:
    """Keep the hub's client offline inside the block, if the hub cannot be reached.

    Yields
    ------
    None
        While the client is switched.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    if not before and not hub_is_reachable():
        logger.info("the weight hub cannot be reached; only weights fetched before can be used")
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def has_weights(network: str, timeout: float = 5.0) -> bool:
    """Tell whether the hub's weights of a network can be had: they were fetched before, or the hub gives them now.

    Parameters
    ----------
    network : str
        A name of timm's.
    timeout : float
        Seconds to wait for the hub; see `hub_is_reachable`.

    Returns
    -------
    bool
        False too where timm knows no weights of this network.
    """
    import timm
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    settings = timm.get_pretrained_cfg(network)
    if settings is None or not settings.hf_hub_id:
        return False
    names = ("model.safetensors", "pytorch_model.bin")
    if any(isinstance(try_to_load_from_cache(settings.hf_hub_id, name), str) for name in names):
        return True
    if not hub_is_reachable(timeout):
        return False
    for name in names:
        try:  # through a proxy only the file itself tells
            get_hf_file_metadata(hf_hub_url(settings.hf_hub_id, name), timeout=timeout)
        except Exception as error:  # the client's errors come from many libraries
            logger.debug("%s of %s cannot be had: %s", name, settings.hf_hub_id, error)
        else:
            return True
    return False
