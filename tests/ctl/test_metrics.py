# SPDX-License-Identifier: GPL-3.0-or-later
"""pmxcfsctl metrics: what is served and written, the alert rules, and the dashboard's queries in a real Prometheus."""

import json
import os
import re
import shutil
import subprocess

import pytest
from conftest import PMXCFSCTL
from harness import GROUP_ID, SOURCE_DIR, wait_for

parser = pytest.importorskip("prometheus_client.parser")
open_parser = pytest.importorskip("prometheus_client.openmetrics.parser")

DIST = os.path.join(SOURCE_DIR, "dist")
PORT = 9787
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# What there is no sample of on a node that is well, and without a cluster.
EMPTY = re.compile(r"pmxcfs_(synchronisation_seconds|messages|send_retries|group|verifications)|pmxcfs_operations_refused|pmxcfs_refusals|_transaction_")


@pytest.fixture
def networked(make_daemon):
    return make_daemon(network=True).start()


def serve(daemon, listen=":%d" % PORT, entering=()):
    """The server's process, which listens."""
    pid = daemon.namespace.spawn([*entering, PMXCFSCTL, "--socket-name", daemon.socket_name, "metrics", "--listen", listen],
                                 os.path.join(daemon.directory, "server"), cwd="/")
    wait_for(lambda: get(daemon, "/", check=False).returncode == 0, "it listens")
    return pid


def get(daemon, path, *options, check=True, address="127.0.0.1"):
    done = daemon.run(["curl", "-sS", "-i", "--max-time", "10", *options, "http://%s:%d%s" % (address, PORT, path)])
    assert not check or done.returncode == 0, done.stderr
    return done


def body(answer):
    return answer.stdout.replace("\r\n", "\n").partition("\n\n")[2]


def samples(families):
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in families for sample in family.samples}


def test_what_is_served(networked):
    """In both formats, by the one that is asked for; by who is in the group; on loopback alone."""
    daemon = networked
    daemon.run(["ip", "address", "add", "192.0.2.1/32", "dev", "lo"], check=True)
    server = serve(daemon, entering=["setpriv", "--reuid", "65534", "--regid", str(GROUP_ID), "--clear-groups"])
    answer = get(daemon, "/metrics", "-H", "Accept: " + OPEN_METRICS + ",text/plain;q=0.5")
    assert "Content-Type: " + OPEN_METRICS in answer.stdout and answer.stdout.endswith("# EOF\n")
    modern = samples(open_parser.text_string_to_metric_families(body(answer)))
    plain = get(daemon, "/metrics")
    assert "Content-Type: text/plain; version=0.0.4" in plain.stdout and "# EOF" not in plain.stdout and "# UNIT" not in plain.stdout
    families = {family.name: family for family in parser.text_string_to_metric_families(body(plain))}
    assert families["pmxcfs_changes"].type == "counter" and families["pmxcfs_build_info"].type == "gauge"
    assert {family.type for family in families.values()} == {"counter", "gauge", "histogram"}
    assert set(modern) == set(samples(families.values()))
    assert modern[("pmxcfs_up", ())] == 1 and modern[("pmxcfs_quorate", ())] == 1
    assert " 404 " in get(daemon, "/other").stdout and " 405 " in get(daemon, "/metrics", "-d", "x").stdout
    head = get(daemon, "/metrics", "-I").stdout
    assert " 200 " in head and "Content-Length: " in head
    assert get(daemon, "/metrics", address="192.0.2.1", check=False).returncode == 7
    daemon.namespace.kill(server, 15)
    assert daemon.namespace.wait(server) == 0


def test_without_a_daemon(networked):
    """It says so, and goes on when there is one again."""
    daemon = networked
    serve(daemon)
    daemon.kill()
    assert "\npmxcfs_up 0\n" in body(get(daemon, "/metrics")) and "pmxcfs_quorate" not in get(daemon, "/metrics").stdout
    daemon.start()
    assert "\npmxcfs_up 1\n" in get(daemon, "/metrics").stdout


def test_a_daemon_that_hangs(networked):
    daemon = networked
    serve(daemon)
    daemon.send_signal(19)
    assert "\npmxcfs_up 0\n" in get(daemon, "/metrics").stdout
    daemon.send_signal(18)
    assert "\npmxcfs_up 1\n" in get(daemon, "/metrics").stdout


@pytest.mark.parametrize("listen", ["0.0.0.0:%d" % PORT, "[::1]:%d" % PORT])
def test_addresses(networked, listen):
    pid = networked.namespace.spawn([PMXCFSCTL, "--socket-name", networked.socket_name, "metrics", "--listen", listen], cwd="/")
    address = "[::1]" if "[" in listen else "127.0.0.1"
    wait_for(lambda: get(networked, "/metrics", address=address, check=False).returncode == 0, "it listens")
    second = networked.run([PMXCFSCTL, "metrics", "--listen", listen])
    assert second.returncode == 1 and "cannot listen at" in second.stderr
    networked.namespace.kill(pid, 15)
    assert networked.namespace.wait(pid) == 0


@pytest.mark.parametrize("listen", ["9787", ":0", ":99999", ":x", "::1:9787", "localhost:9787", "[127.0.0.1", ""])
def test_no_addresses(ctl, listen):
    assert "is no [ADDRESS]:PORT" in ctl("metrics", "--listen", listen, code=2).stderr


def test_textfile(daemon, live):
    """It is there as a whole, and readable for others."""
    path = os.path.join(daemon.directory, "pmxcfs.prom")
    live("metrics", "--textfile", path)
    with open(path) as file:
        families = {family.name: family for family in parser.text_string_to_metric_families(file.read())}
    assert len(families) > 40 and os.stat(path).st_mode & 0o777 == 0o644
    before = os.stat(path).st_ino
    daemon.kill()
    live("metrics", "--textfile", path)
    with open(path) as file:
        assert file.read().splitlines()[-1] == "pmxcfs_up 0"
    assert os.stat(path).st_ino != before and [name for name in os.listdir(daemon.directory) if "pmxcfs.prom" in name] == ["pmxcfs.prom"]
    live("metrics", "--textfile", "/no/such/directory/file", code=1)


def test_printed(daemon, live):
    assert live("metrics").stdout.endswith("pmxcfs_up 1\n# EOF\n")
    daemon.kill()
    assert "pmxcfs_up 0" in live("metrics", code=3).stdout


# Rules and dashboard


def test_rules():
    """promtool accepts them; each has an incident that it tells of, and does not tell of others; each uses metrics that there are."""
    rules = os.path.join(DIST, "prometheus-rules.yml")
    done = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(["promtool", "test", "rules", "prometheus-rules-test.yml"], cwd=DIST, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with open(rules) as file:
        alerts = set(re.findall(r"- alert: (\w+)", file.read()))
    with open(os.path.join(DIST, "prometheus-rules-test.yml")) as file:
        assert set(re.findall(r"alertname: (\w+)", file.read())) == alerts


def expressions():
    """Of the dashboard and the rules, as one may ask them here."""
    with open(os.path.join(DIST, "grafana-dashboard.json")) as file:
        panels = json.load(file)["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    with open(os.path.join(DIST, "prometheus-rules.yml")) as file:
        found += re.findall(r"expr: (.*)", file.read())
    return [expression.replace("$instance", ".*").replace("$__rate_interval", "10s") for expression in found]


def ask(daemon, path, **parameters):
    options = [option for name, value in parameters.items() for option in ("--data-urlencode", "%s=%s" % (name, value))]
    done = daemon.run(["curl", "-sS", "-G", *options, "http://127.0.0.1:9090/api/v1/" + path])
    return json.loads(done.stdout) if done.returncode == 0 and done.stdout.startswith("{") else {}


def test_queries_in_a_real_prometheus(networked, tmp_path):
    """Each query of the dashboard and of the rules is one that Prometheus takes, of metrics that it has collected."""
    daemon = networked
    assert shutil.which("prometheus"), "package prometheus"
    shutil.copy(os.path.join(DIST, "prometheus-rules.yml"), tmp_path)
    with open(tmp_path / "prometheus.yml", "w") as file:
        file.write("global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nrule_files: [prometheus-rules.yml]\n"
                   "scrape_configs: [{job_name: pmxcfs, static_configs: [{targets: ['127.0.0.1:%d']}]}]\n" % PORT)
    serve(daemon)
    daemon.namespace.spawn(["prometheus", "--config.file", tmp_path / "prometheus.yml", "--storage.tsdb.path", tmp_path / "data", "--web.listen-address", "127.0.0.1:9090"],
                           os.path.join(daemon.directory, "prometheus"), cwd="/")

    def scraped():
        daemon.os.write_file(daemon / "file", b"x")
        return ask(daemon, "query", query="count_over_time(pmxcfs_up[1m]) >= 4").get("data", {}).get("result")

    wait_for(scraped, "it has collected some")
    names = set(ask(daemon, "label/__name__/values")["data"])
    for expression in expressions():
        answer = ask(daemon, "query", query=expression)
        assert answer.get("status") == "success", (expression, answer)
        used = set(re.findall(r"\b(pmxcfs_\w+|process_\w+)", expression))
        assert used and all(name in names or EMPTY.search(name) for name in used), (expression, used - names)
        comparison = re.search(r" [<>=]=? ?[\d.]+", expression)
        assert answer["data"]["result"] or comparison or EMPTY.search(expression), expression
    rules = ask(daemon, "rules")["data"]["groups"][0]["rules"]
    wait_for(lambda: all(rule["health"] == "ok" for rule in ask(daemon, "rules")["data"]["groups"][0]["rules"]) or None, "all rules are computed")
    assert len(rules) >= 10 and not any(alert["state"] == "firing" for alert in ask(daemon, "alerts")["data"]["alerts"])
