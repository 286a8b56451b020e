"""Calls the shipped callback with contexts as Airflow 2 and 3 build them. Arguments: folder of the callback, case."""

import datetime
import enum
import sys

sys.path.insert(0, sys.argv[1])
import aiops_rca_callback as callback  # noqa: E402

callback.RETRY_DELAYS = (0.05, 0.05)
UTC = datetime.timezone.utc
RUN = "scheduled__2026-07-27T00:00:00+00:00"


class Thing:
    """Only the attributes given; any other raises AttributeError, as in Airflow 3's task SDK."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class PythonOperator(Thing):
    pass


class RunType(enum.Enum):
    SCHEDULED = "scheduled"


def failed():
    try:
        raise ConnectionError("HTTPSConnectionPool(host='api.example.com', port=443): Max retries exceeded")
    except ConnectionError as error:
        return error


def airflow2(**changes):
    dag = Thing(dag_id="sales_etl", owner="data")
    task = PythonOperator(task_id="load_orders", owner="finops", dag=dag, task_type="PythonOperator")
    ti = dict(
        task_id="load_orders",
        dag_id="sales_etl",
        run_id=RUN,
        state="failed",
        try_number=2,
        max_tries=1,
        map_index=-1,
        operator="PythonOperator",
        hostname="worker-1",
        log_url="https://airflow.example.com/dags/sales_etl/grid?dag_run_id=x",
        end_date=datetime.datetime(2026, 7, 27, 0, 5, 1, 123456, tzinfo=UTC),
    )
    ti.update(changes.pop("ti", {}))
    date = datetime.datetime(2026, 7, 27, tzinfo=UTC)
    dag_run = Thing(dag_id="sales_etl", run_id=RUN, run_type="scheduled", execution_date=date, logical_date=date)
    context = dict(
        dag=dag, task=task, task_instance=Thing(**ti), dag_run=dag_run, run_id=RUN, logical_date=date,
        execution_date=date, exception=failed(),
    )
    context["ti"] = context["task_instance"]
    context.update(changes)
    return context


def airflow3(**changes):
    """No execution_date anywhere; the task instance has the protocol's attributes only."""
    ti = dict(
        id="0198",
        task_id="load_orders",
        dag_id="sales_etl",
        run_id=RUN,
        try_number=3,
        max_tries=2,
        map_index=7,
        hostname="worker-1",
        start_date=None,
        end_date=None,
    )
    ti.update(changes.pop("ti", {}))
    context = dict(
        dag=Thing(dag_id="sales_etl"), task=PythonOperator(task_id="load_orders"), ti=Thing(**ti),
        dag_run=Thing(dag_id="sales_etl", run_id=RUN, run_type=RunType.SCHEDULED, logical_date=None), run_id=RUN,
        exception="AirflowTaskTimeout: Timeout, PID: 77",
    )
    context["task_instance"] = context["ti"]
    context.update(changes)
    return context


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("cannot be printed")


def long_exception():
    return ValueError("start " + "x\udce9é😱" * 100_000 + " the end")


CASES = {
    "airflow2": lambda: airflow2(),
    "airflow3": lambda: airflow3(),
    "airflow3_running": lambda: airflow3(ti={"state": "running"}),
    "retry": lambda: airflow2(ti={"state": "up_for_retry"}),
    "dag2": lambda: airflow2(reason="task_failure", exception=None),
    "dag3": lambda: {
        "dag": Thing(dag_id="sales_etl"), "run_id": RUN, "reason": "timed_out",
        "dag_run": Thing(run_id=RUN, run_type="scheduled"),
    },
    "zombie": lambda: airflow2(exception="Detected zombie job: {'full_filepath': '/dags/x.py'}", ti={"state": "running"}),
    "no_exception": lambda: airflow2(exception=None),
    "unprintable": lambda: airflow2(exception=Unprintable()),
    "huge": lambda: airflow2(exception=long_exception()),
    "empty": lambda: {},
    "none": lambda: None,
}

result = callback.airflow_failure_callback(CASES[sys.argv[2]]())
assert result is None, result
callback.airflow_retry_callback(None)
print("survived")
