"""Reports failed Airflow tasks and DAG runs to aiops-rca.

Works on Airflow 2.9+ and 3.x and needs nothing but the standard library. Put the file into the DAGs folder (or
into `plugins/`), set two environment variables on the workers and on the DAG processor, and name the callback:

    from aiops_rca_callback import airflow_failure_callback

    default_args = {"on_failure_callback": airflow_failure_callback}      # every task
    DAG(..., on_failure_callback=airflow_failure_callback)                # or the DAG run as a whole

Environment:
    AIOPS_RCA_URL         https://<app>.azurewebsites.net/airflow-monitor  (required; unset: nothing is sent)
    AIOPS_RCA_KEY         the function key, sent as the header x-functions-key
    AIOPS_RCA_TIMEOUT     seconds for one attempt, at most 60 (default 10)
    AIOPS_RCA_DEPLOYMENT  a name for this Airflow, if several report to the same app and share a base URL

A callback must never harm the run it reports: this one raises nothing, waits a bounded time, follows no
redirect (the key would go with it) and caps what it sends. A try that Airflow will repeat is not reported.
"""

from __future__ import annotations

import json
import logging
import os
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

log = logging.getLogger(__name__)

EXCEPTION_CAP = 16_000  # characters; the head and the tail of a longer text are kept
NAME_CAP = 1_000  # characters
RETRY_DELAYS = (1.0, 3.0)  # seconds before the second and the third attempt
RETRYABLE = (408, 425, 429, 500, 502, 503, 504)
NOT_FINAL = ("up_for_retry", "up_for_reschedule")


def airflow_failure_callback(context):
    """The `on_failure_callback` of a task, of `default_args`, or of a DAG: never raises, returns nothing."""
    try:
        payload = build_payload(context)
        if payload.get("state") in NOT_FINAL:
            log.info("aiops-rca: %s will be retried, not reported", payload.get("task_id"))
            return
        if not payload.get("dag_id") and not payload.get("task_id"):
            log.warning("aiops-rca: the context names neither a DAG nor a task; nothing was reported")
            return
        send(payload)
    except Exception as error:  # whatever happens here, the DAG goes on
        log.warning("aiops-rca: the failure was not reported (%s)", type(error).__name__)


def airflow_retry_callback(context):
    """For `on_retry_callback`: a try that will be repeated is no failure, so nothing is sent."""
    log.info("aiops-rca: the task will be retried, not reported")


def build_payload(context):
    """What is sent: plain text and numbers only. A value that this Airflow does not have is left out."""
    ti = _first(lambda: context.get("task_instance"), lambda: context.get("ti"))
    task = _first(lambda: context.get("task"), lambda: ti.task)
    dag = _first(lambda: context.get("dag"), lambda: task.dag)
    dag_run = _first(lambda: context.get("dag_run"), lambda: ti.dag_run)
    exception = _first(lambda: context.get("exception"))
    reason = _first(lambda: context.get("reason"))
    # Only the context of a DAG's own callback has a reason; the task instance in it is merely the last one.
    whole_dag = reason is not None or (ti is None and task is None)
    payload = {
        "level": "dag" if whole_dag else "task",
        "dag_id": _first(lambda: dag.dag_id, lambda: ti.dag_id, lambda: dag_run.dag_id),
        "run_id": _first(lambda: context.get("run_id"), lambda: dag_run.run_id, lambda: ti.run_id),
        "run_type": _first(lambda: dag_run.run_type),
        # Airflow 3 has no execution_date, and no logical_date for runs triggered by assets or the API.
        "logical_date": _first(
            lambda: context.get("logical_date"),
            lambda: dag_run.logical_date,
            lambda: dag_run.execution_date,
        ),
        "state": "failed",
        "reason": reason,
        "exception": _exception_text(exception),
        "exception_type": type(exception).__name__ if isinstance(exception, BaseException) else None,
        "owner": _first(lambda: task.owner, lambda: dag.owner),
        "deployment": os.environ.get("AIOPS_RCA_DEPLOYMENT"),
    }
    if whole_dag:
        payload["end_date"] = _first(lambda: dag_run.end_date)
    else:
        state = _text(_first(lambda: ti.state))
        payload.update(
            {
                "task_id": _first(lambda: ti.task_id, lambda: task.task_id),
                "map_index": _first(lambda: ti.map_index),
                "try_number": _first(lambda: ti.try_number),
                "max_tries": _first(lambda: ti.max_tries),
                "operator": _first(lambda: ti.operator, lambda: task.task_type, lambda: type(task).__name__),
                "hostname": _first(lambda: ti.hostname),
                "end_date": _first(lambda: ti.end_date),
                # Airflow 3 and tasks found dead still say "running" here: the callback is the proof of failure.
                "state": state if state in NOT_FINAL else "failed",
            }
        )
    payload["log_url"] = _first(lambda: ti.log_url)
    plain = {name: _plain(value, EXCEPTION_CAP if name == "exception" else NAME_CAP) for name, value in payload.items()}
    return {name: value for name, value in plain.items() if value is not None}


def send(payload):
    """Posts the payload: at most three attempts, each with its timeout."""
    url = _endpoint(os.environ.get("AIOPS_RCA_URL", "").strip())
    if url is None:
        log.warning("aiops-rca: AIOPS_RCA_URL is unset or no http(s) address; the failure was not reported")
        return
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "aiops-rca-airflow-callback/1"}
    key = os.environ.get("AIOPS_RCA_KEY", "").strip()
    if key:
        headers["x-functions-key"] = key
    request = urllib.request.Request(url, data=json.dumps(payload).encode("utf-8"), headers=headers, method="POST")
    opener = urllib.request.build_opener(_NoRedirect)
    outcome = "no answer"
    for delay in (0.0, *RETRY_DELAYS):
        time.sleep(delay)
        try:
            with opener.open(request, timeout=_timeout()) as response:
                _log_answer(response.read(65_536))
                return
        except urllib.error.HTTPError as error:
            outcome = f"HTTP {error.code}"
            error.close()
            if error.code not in RETRYABLE:
                break
        except Exception as error:  # refused, unknown host, timeout, TLS
            outcome = type(error).__name__
    log.warning("aiops-rca: the failure was not reported (%s)", outcome)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        return None


def _log_answer(body):
    try:
        answer = json.loads(body)
        log.info("aiops-rca: %s, ticket %s", answer.get("status"), answer.get("ticket_id"))
    except Exception:  # it took the report, whatever it answered
        log.info("aiops-rca: reported")


def _endpoint(url):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return None
    path = parts.path if parts.path.strip("/") else "/airflow-monitor"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def _timeout():
    try:
        return min(max(float(os.environ.get("AIOPS_RCA_TIMEOUT", "10")), 0.1), 60.0)
    except ValueError:
        return 10.0


def _first(*getters):
    """The first value that is there. Airflow 2 and 3 differ in what they have, and some accessors raise."""
    for getter in getters:
        try:
            value = getter()
        except Exception:
            continue
        if value is not None:
            return value
    return None


def _exception_text(exception):
    if not isinstance(exception, BaseException):
        return _text(exception) or ""
    try:
        return "".join(traceback.format_exception(type(exception), exception, exception.__traceback__))
    except Exception:  # an exception that cannot be printed
        return type(exception).__name__


def _text(value):
    """Text of anything: enum members by their value, times as ISO 8601."""
    if value is None:
        return None
    try:
        value = getattr(value, "value", value)
        return value.isoformat() if hasattr(value, "isoformat") else str(value)
    except Exception:
        return None


def _plain(value, cap):
    if isinstance(value, (bool, int)):
        return value
    text = _text(value)
    if text is None or len(text) <= cap:
        return text
    head = cap // 4
    return text[:head] + "\n... (cut) ...\n" + text[-(cap - head) :]
