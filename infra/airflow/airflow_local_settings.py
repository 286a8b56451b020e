"""Reports every failed task and every failed run of this Airflow to aiops-rca, without touching a DAG.

A cluster policy for Airflow 2.10 and 3.x: put this file and aiops_rca_callback.py into $AIRFLOW_HOME/config (or any
folder on the PYTHONPATH of schedulers, DAG processors and workers). If you have an airflow_local_settings.py, add the
two policies to it. Callbacks that a DAG names itself stay, and run first.
"""

from aiops_rca_callback import airflow_failure_callback


def _with_ours(callbacks):
    named = [] if callbacks is None else list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    return named if airflow_failure_callback in named else [*named, airflow_failure_callback]


def task_policy(task):
    task.on_failure_callback = _with_ours(task.on_failure_callback)


def dag_policy(dag):
    dag.on_failure_callback = _with_ours(dag.on_failure_callback)
    dag.has_on_failure_callback = True
