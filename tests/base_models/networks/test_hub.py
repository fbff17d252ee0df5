"""The weight hub: one quick try, then its client's own offline mode."""

import socket

import pytest

constants = pytest.importorskip("huggingface_hub.constants")

from base_models.networks import hub  # noqa: E402


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in hub.PROXIES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.network
def test_a_hub_that_answers_is_reachable_and_a_closed_port_is_not(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
        assert hub.hub_is_reachable(timeout=2.0)
    assert not hub.hub_is_reachable(timeout=2.0)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert hub.hub_is_reachable(timeout=2.0)


@pytest.mark.parametrize("reachable", [True, False])
def test_the_client_is_offline_only_while_the_hub_cannot_be_reached(monkeypatch, reachable):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "hub_is_reachable", lambda: reachable)
    with pytest.raises(KeyError), hub.offline_where_unreachable():
        assert constants.HF_HUB_OFFLINE is not reachable
        raise KeyError
    assert constants.HF_HUB_OFFLINE is False
