from catch import *
import datetime as dt
F=dt.datetime(2026,11,29,3,0,0,tzinfo=dt.timezone.utc); T=dt.datetime(2026,11,29,3,16,0,tzinfo=dt.timezone.utc)
class Cred:
    def get_token(self,*a,**k):
        from azure.core.credentials import AccessToken
        return AccessToken('x',9999999999)
def t(name,f):
    try: f()
    except Exception as e: print('#',name,type(e).__name__,str(e)[:200],file=sys.stderr)
    mark(name)
from azure.core.pipeline.policies import SansIOHTTPPolicy
class NoAuth(SansIOHTTPPolicy): pass
from azure.mgmt.datafactory import DataFactoryManagementClient
import azure.mgmt.datafactory.models as m
c=DataFactoryManagementClient(Cred(),'aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e',base_url=BASE,authentication_policy=NoAuth(),credential_scopes=['x'])
q=lambda **k: m.RunFilterParameters(last_updated_after=F,last_updated_before=T,**k)
t('adf.pipeline_runs.query_by_factory',lambda:c.pipeline_runs.query_by_factory('rg-data','adf-prod',q(filters=[m.RunQueryFilter(operand='Status',operator='In',values_property=['Succeeded','Failed','Cancelled'])],order_by=[m.RunQueryOrderBy(order_by='RunStart',order='ASC')])))
t('adf.pipeline_runs.query_by_factory.next',lambda:c.pipeline_runs.query_by_factory('rg-data','adf-prod',q(continuation_token='abc',filters=[m.RunQueryFilter(operand='Status',operator='In',values_property=['Succeeded','Failed','Cancelled'])],order_by=[m.RunQueryOrderBy(order_by='RunStart',order='ASC')])))
t('adf.trigger_runs.query_by_factory',lambda:c.trigger_runs.query_by_factory('rg-data','adf-prod',q(filters=[m.RunQueryFilter(operand='Status',operator='In',values_property=['Succeeded','Failed'])],order_by=[m.RunQueryOrderBy(order_by='TriggerRunTimestamp',order='ASC')])))
t('adf.activity_runs.query_by_pipeline_run',lambda:c.activity_runs.query_by_pipeline_run('rg-data','adf-prod','00000000-0000-4000-8000-000000000001',q(filters=[m.RunQueryFilter(operand='Status',operator='Equals',values_property=['Succeeded'])],order_by=[m.RunQueryOrderBy(order_by='ActivityRunEnd',order='ASC')])))

t('adf.pipeline_runs.get',lambda:c.pipeline_runs.get('rg-data','adf-prod','00000000-0000-4000-8000-000000000001'))
from azure.synapse.artifacts import ArtifactsClient
import azure.synapse.artifacts.models as sm
s2=ArtifactsClient(Cred(),BASE,authentication_policy=NoAuth())
sq=lambda **k: sm.RunFilterParameters(last_updated_after=F,last_updated_before=T,**k)
t('synapse.query_pipeline_runs',lambda:s2.pipeline_run.query_pipeline_runs_by_workspace(sq(filters=[sm.RunQueryFilter(operand='Status',operator='In',values=['Succeeded','Failed','Cancelled'])],order_by=[sm.RunQueryOrderBy(order_by='RunStart',order='ASC')])))
t('synapse.query_trigger_runs',lambda:s2.trigger_run.query_trigger_runs_by_workspace(sq(filters=[sm.RunQueryFilter(operand='Status',operator='In',values=['Succeeded','Failed'])],order_by=[sm.RunQueryOrderBy(order_by='TriggerRunTimestamp',order='ASC')])))
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.compute import *
w=WorkspaceClient(host=BASE,token='dapix')
t('databricks.jobs.list_runs.active',lambda:list(w.jobs.list_runs(active_only=True,limit=25)))
t('databricks.jobs.list_runs.completed',lambda:list(w.jobs.list_runs(completed_only=True,limit=25,start_time_from=1795921200000)))
t('databricks.jobs.get_run',lambda:w.jobs.get_run(455644833,include_history=True))
t('databricks.clusters.list',lambda:list(w.clusters.list(page_size=100)))
t('databricks.pipelines.list',lambda:list(w.pipelines.list_pipelines(max_results=100)))
t('databricks.pipelines.get_update',lambda:w.pipelines.get_update('p-1','u-1'))
t('databricks.pipelines.events',lambda:list(w.pipelines.list_pipeline_events('p-1',max_results=25,filter="level='ERROR'")))

import airflow_client.client as ac
from airflow_client.client.api import dag_run_api,task_instance_api,dag_api
api=ac.ApiClient(ac.Configuration(host=BASE,access_token='x'))
t('airflow3.get_dag_runs',lambda:dag_run_api.DagRunApi(api).get_dag_runs('~',updated_at_gte=F,state=['success','failed'],order_by=['end_date'],limit=100,offset=0))
t('airflow3.get_task_instances',lambda:task_instance_api.TaskInstanceApi(api).get_task_instances('~','~',updated_at_gte=F,state=['failed'],order_by=['end_date'],limit=100,offset=0))

