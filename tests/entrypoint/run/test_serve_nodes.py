"""Two nodes on one machine: the second computes half of each layer for the first, which answers."""

from pathlib import Path

import pytest

pytest.importorskip("vllm")

from served_model import USER_KEY, Served, Store, free_ports

pytestmark = [pytest.mark.image, pytest.mark.serving, pytest.mark.timeout(600)]


def test_two_nodes(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    exported = store.export("aaaa")
    spread = ("--tensor-parallel-size", "2", "--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", str(free_ports()[0]))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GLOO_SOCKET_IFNAME", "VLLM_HOST_IP"):
            patch.setenv(name, {"GLOO_SOCKET_IFNAME": "lo", "VLLM_HOST_IP": "127.0.0.1"}[name])
        nodes = [Served(store.root, exported, tmp_path / f"{rank}", more=(*spread, "--node-rank", str(rank)), headless=rank > 0) for rank in (0, 1)]
    first, second = nodes
    try:
        first.wait_for("ready", 400)
        assert [gate["verdict"] for gate in first.events("parity")] == ["passed"]
        assert first.ask("/v1/completions", {"model": "tiny", "prompt": "word of", "max_tokens": 4}, USER_KEY)[0] == 200
        assert second.process.poll() is None and second.events("parity") == []
        assert second.stop() == 0
    except AssertionError:
        print(second.tail())
        raise
    finally:
        for node in nodes:
            node.remove()
        store.remove()
