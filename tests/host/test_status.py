"""A node on duty is seen from outside: a local socket, Prometheus, probes, alerts, a dashboard."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import pytorch_lightning as pl
import yaml

import qsynth
from qsynth.cli.main import main
from qsynth.errors import ConfigError, MeshError
from qsynth.host import metrics
from qsynth.host.metrics import COUNTERS, GAUGES, MetricsServer
from qsynth.host.status import NAME, StatusSocket, ask, in_words
from qsynth.recipe.compose import compose
from tests.host.test_update import LOADER, joined, trained

pytest.importorskip("prometheus_client", reason="needs the extra metrics")
OPERATE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "operate"
STATUS = {
    "node": "ab" * 32,
    "address": "tcp://127.0.0.1:1",
    "since_s": 4000.0,
    "error": None,
    "alone": False,
    "peers": 3,
    "packets_held": 2,
    "published": {"sequence": 7, "bytes": 900, "age_s": 2.0},
    "cohort": None,
    "refused": {"rate": 2},
    "requests": {"find": {"answered": 4, "waited_s": 0.5}},
    "requests_lost": {"timeout": 1},
    "shed": {},
    "events": {"publish": 1},
    "sent": {"find": {"messages": 4, "bytes": 400}},
    "learning": {
        "state": "serving",
        "period": 5,
        "validation": 0.9,
        "gain": 0.1,
        "authors": 2,
        "samples": 60,
        "lost": False,
        "privacy": {"epsilon": 8.0, "spent": 3.0, "left": 5.0},
    },
    "home_bytes": 1000,
    "journal_bytes": 10,
    "certificate_days": 12.0,
}


def fetch(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Scraping(pl.Callback):
    """Reads the metrics of a node in the midst of its fit."""

    def __init__(self, mesh: qsynth.JoinMesh) -> None:
        self.mesh, self.read = mesh, ""

    def on_train_batch_end(self, trainer, *_) -> None:
        if trainer.global_step == 12:
            self.read = fetch(self.mesh._metrics.address, "/metrics")[1]


def test_a_node_in_a_script_serves_what_it_does_and_stops_with_its_fit(tmp_path) -> None:
    mesh = joined(tmp_path, home=tmp_path / "home")
    other = qsynth.Tcp(linger_s=0.0, metrics="127.0.0.1:0")
    mesh = qsynth.JoinMesh(
        mesh.task,
        (mesh.script.samples.train_x, mesh.script.samples.train_y),
        (mesh.script.samples.validation_x, mesh.script.samples.validation_y),
        period_steps=5,
        encoder=mesh.script.encoder,
        mesh=other,
        home=tmp_path / "home",
    )
    scraping = Scraping(mesh)
    from tests.host.test_join import PLAIN, Net

    trainer = pl.Trainer(max_steps=15, max_epochs=-1, callbacks=[mesh, scraping], **PLAIN)
    trainer.fit(Net(), LOADER, LOADER)
    values = dict(
        line.rsplit(" ", 1) for line in scraping.read.splitlines() if not line.startswith("#")
    )
    assert float(values["qsynth_up"]) == 1.0
    assert float(values["qsynth_peers"]) == 0.0
    assert float(values["qsynth_packet_bytes"]) > 100
    assert float(values["qsynth_training_samples"]) == 45.0
    assert float(values["qsynth_period"]) == 2.0
    assert float(values["qsynth_network_lost"]) == 0.0
    assert float(values['qsynth_events_total{event="publish"}']) == 1.0
    assert 0.0 <= float(values["qsynth_validation_score"]) <= 1.0
    assert float(values["qsynth_home_bytes"]) > float(values["qsynth_journal_bytes"]) > 0.0
    assert mesh._metrics is None
    trained(joined(tmp_path))  # none is served where none is asked for


def test_probes_tell_whether_a_node_lives_and_is_ready() -> None:
    status = json.loads(json.dumps(STATUS))
    server = MetricsServer("127.0.0.1:0", lambda: status)
    try:
        assert fetch(server.address, "/healthz") == (200, "ok\n")
        assert fetch(server.address, "/readyz") == (200, "ok\n")
        status["learning"]["state"] = "training"
        assert fetch(server.address, "/readyz") == (503, "the network is still in training\n")
        assert fetch(server.address, "/healthz")[0] == 200
        status["error"] = "the disk is full"
        assert fetch(server.address, "/healthz") == (503, "the disk is full\n")
        assert "qsynth_up 0.0" in fetch(server.address, "/metrics")[1]
        assert fetch(server.address, "/other")[0] == 404
        with pytest.raises(MeshError, match="cannot be listened on"):
            MetricsServer(server.address, lambda: status)
    finally:
        server.close()


def test_who_says_nothing_or_little_is_hung_up_on(monkeypatch) -> None:
    monkeypatch.setattr(metrics, "REQUEST_S", 1.0)
    server = MetricsServer("127.0.0.1:0", lambda: dict(STATUS))
    host, _, port = server.address.rpartition(":")
    slow = []
    try:
        for _ in range(3 * metrics.MOST_REQUESTS):
            slow.append(socket.create_connection((host, int(port)), timeout=20))
            slow[-1].sendall(b"GET /met")
        for each in slow:  # all of them are ended by the server
            assert each.recv(100) == b""
        deadline = time.monotonic() + 60.0
        while True:
            try:
                assert fetch(server.address, "/metrics?x=1")[0] == 200
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        with socket.create_connection((host, int(port)), timeout=20) as odd:
            odd.sendall(b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n")
            assert b" 414 " in odd.recv(100)
    finally:
        for each in slow:
            each.close()
        server.close()


def test_every_number_of_a_status_is_a_metric_with_its_value() -> None:
    server = MetricsServer("127.0.0.1:0", lambda: dict(STATUS))
    try:
        text = fetch(server.address, "/metrics")[1]
    finally:
        server.close()
    for line in (
        "qsynth_peers 3.0",
        "qsynth_packet_sequence 7.0",
        "qsynth_privacy_spent 3.0",
        "qsynth_certificate_days 12.0",
        'qsynth_refused_total{reason="rate"} 2.0',
        'qsynth_requests_lost_total{reason="timeout"} 1.0',
        'qsynth_sent_bytes_total{kind="find"} 400.0',
        'qsynth_request_seconds_sum{kind="find"} 0.5',
        'qsynth_request_seconds_count{kind="find"} 4.0',
    ):
        assert line in text.splitlines()
    assert "qsynth_cohort_members" not in re.findall(r"^\w+", text, re.M)


def test_a_status_is_told_to_who_may_open_the_home(tmp_path, capsys) -> None:
    (tmp_path / NAME).touch()  # of a node that was killed
    told: list[str] = []
    served = StatusSocket(tmp_path, lambda: STATUS, told.append)
    try:
        assert (tmp_path / NAME).stat().st_mode & 0o177 == 0
        assert ask(tmp_path) == STATUS
        # Who connects and says nothing holds nobody up.
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(tmp_path / NAME))
            assert ask(tmp_path) == STATUS
        assert main(["node", "status", "--home", str(tmp_path)]) == 0
        said = capsys.readouterr().out
        assert "up 1 h: serving" in said
        assert "epsilon 3 of 8 spent" in said
        assert main(["node", "status", "--home", str(tmp_path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == STATUS
    finally:
        served.close()
    assert not (tmp_path / NAME).exists()
    assert main(["node", "status", "--home", str(tmp_path)]) == 4
    assert "no node answers there" in capsys.readouterr().err
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    StatusSocket(deep, lambda: STATUS, told.append).close()
    assert "too long a path" in told[-1]
    young = STATUS | {"learning": {}, "published": {"sequence": 0, "bytes": 0, "age_s": None}}
    assert any("published nothing" in line for line in in_words(young | {"alone": True}))


@pytest.mark.parametrize("address", ["host", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_refused_everywhere(address, capsys) -> None:
    words = ["+recipe=digits_mesh", "mesh=tcp", f"mesh.metrics={address}"]
    assert main(["node", "up", *words]) == 2
    assert "must be HOST:PORT" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="must be HOST:PORT"):
        qsynth.Tcp(metrics=address).check_live()
    assert main(["run", *words[:2], "mesh.metrics=127.0.0.1:9100", "--quiet"]) == 2
    assert "is for `qsynth node up`" in capsys.readouterr().err


def test_alerts_and_dashboard_speak_of_metrics_that_are_there() -> None:
    known = {f"qsynth_{name}" for name, _, _ in GAUGES}
    known |= {f"qsynth_{name}_total" for name, *_ in COUNTERS}
    known |= {"qsynth_sent_bytes_total", "qsynth_sent_messages_total"}
    known |= {f"qsynth_request_seconds_{end}" for end in ("sum", "count")}
    rules = yaml.safe_load((OPERATE / "alerts.yml").read_text())["groups"][0]["rules"]
    panels = json.loads((OPERATE / "dashboard.json").read_text())["panels"]
    said = [rule["expr"] for rule in rules]
    said += [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(said) > 20
    for expression in said:
        assert set(re.findall(r"qsynth_\w+", expression)) <= known, expression
    tested = yaml.safe_load((OPERATE / "alerts_test.yml").read_text())["tests"]
    assert {test["name"] for test in tested} == {rule["alert"] for rule in rules}
    for test in tested:  # fires, and clears
        fired, cleared = test["alert_rule_test"]
        assert fired["exp_alerts"]
        assert not cleared["exp_alerts"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here")
def test_each_alert_fires_and_clears() -> None:
    for words in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(
            ["promtool", *words], cwd=OPERATE, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_the_service_is_one_that_systemd_takes(tmp_path) -> None:
    text = (OPERATE / "qsynth.service").read_text()
    unit = tmp_path / "qsynth.service"
    unit.write_text(text.replace("/opt/qsynth/bin/qsynth", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60
    )
    said = [line for line in done.stderr.splitlines() if "qsynth.service" in line]
    assert (done.returncode, said) == (0, [])


def test_what_a_compose_file_starts_are_nodes_that_may_serve() -> None:
    """Its commands are composed and checked as `node up` does; no container is started."""
    services = yaml.safe_load((OPERATE / "compose.yml").read_text())["services"]
    assert len(services) == 4
    entry = (OPERATE / "Dockerfile").read_text().split("ENTRYPOINT ")[1]
    assert json.loads(entry)[:3] == ["qsynth", "node", "up"]
    for name, service in services.items():
        words = [w for w in service["command"] if not w.startswith(("+recipe", "data.path"))]
        config = compose(["+recipe=digits_mesh", *words]).config
        config.mesh.check_live()
        assert config.mesh.advertise == f"tls+tcp://{name}:7700"
        others = {address.split("//")[1].split(":")[0] for address in config.mesh.join}
        assert others <= set(services) - {name}
        assert service["read_only"]
        mounted = [volume.split(":")[1] for volume in service["volumes"]]
        assert {"/etc/qsynth/task.yaml", "/etc/qsynth/tls", "/srv/site.csv"} < set(mounted)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="no Prometheus here")
def test_a_real_prometheus_reads_a_node(tmp_path) -> None:
    server = MetricsServer("127.0.0.1:0", lambda: dict(STATUS))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = yaml.safe_load((OPERATE / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(OPERATE / "alerts.yml")]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [server.address]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    words = [
        "prometheus",
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120.0
        found: list = []
        while not found:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.5)
            try:
                _, text = fetch(f"127.0.0.1:{port}", "/api/v1/query?query=qsynth_certificate_days")
                found = json.loads(text)["data"]["result"]
            except (OSError, ValueError, KeyError):
                continue
        assert float(found[0]["value"][1]) == 12.0
    finally:
        process.terminate()
        process.wait()
        server.close()
