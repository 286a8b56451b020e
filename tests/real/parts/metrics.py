"""/api/metrics by prometheus_client's parsers and promtool."""

import shutil
import subprocess

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from world import TOOLS

MUTATION = "a sample stands apart from its metric, without help"
WANTED = {"aiops_rca_requests", "aiops_rca_request_seconds", "aiops_rca_failures", "aiops_rca_refused", "aiops_rca_queue_messages",
          "aiops_rca_tickets_active", "aiops_rca_problems", "aiops_rca_last_sweep_timestamp_seconds"}


def check(world, mutant):
    status, body = world.api("metrics")
    text = body.decode()
    assert status == 200
    if mutant:
        lines = text.splitlines()
        at = next(index for index, line in enumerate(lines) if line.startswith("aiops_rca_queue_messages{"))
        text = "\n".join([line for line in lines if not line.startswith("# HELP aiops_rca_queue_messages")] + [lines[at]]) + "\n"
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), f"a metric in two pieces: {sorted(name for name in names if names.count(name) > 1)}"
    assert WANTED <= set(names), f"missing: {sorted(WANTED - set(names))}"
    assert all(family.documentation and family.type in ("counter", "gauge") for family in families), families
    # The stricter parser of OpenMetrics, over the same samples: its names of counters are without `_total`, and it ends with a mark.
    for name in WANTED:
        text = text.replace(f"# HELP {name}_total ", f"# HELP {name} ").replace(f"# TYPE {name}_total ", f"# TYPE {name} ")
    strict = list(openmetrics(text + "# EOF\n"))
    assert len(strict) == len(families)
    said = "promtool is not here"
    if promtool := shutil.which("promtool", path=f"{TOOLS}") or shutil.which("promtool"):
        done = subprocess.run([promtool, "check", "metrics"], input=body if not mutant else text.encode(), capture_output=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr
        said = "promtool finds nothing"
    samples = sum(len(family.samples) for family in families)
    return f"{samples} samples of {len(families)} metrics by both parsers of prometheus_client; {said}"
