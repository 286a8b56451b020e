from catch import *
import datetime as dt
F=dt.datetime(2026,11,29,3,0,0,tzinfo=dt.timezone.utc)
def t(name,f):
    try: f()
    except Exception as e: print('#',name,type(e).__name__,str(e)[:300],file=sys.stderr)
    mark(name)
import airflow_client.client as ac
from airflow_client.client.api import dag_run_api,task_instance_api,dag_api
api=ac.ApiClient(ac.Configuration(host=BASE+'/api/v1',username='u',password='p'))
t('airflow2.get_dag_runs',lambda:dag_run_api.DAGRunApi(api).get_dag_runs('~',updated_at_gte=F,state=['success','failed'],order_by='end_date',limit=100,offset=0))
t('airflow2.get_task_instances',lambda:task_instance_api.TaskInstanceApi(api).get_task_instances('~','~',updated_at_gte=F,state=['failed'],limit=100,offset=0))

