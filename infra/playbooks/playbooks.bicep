// The playbooks: each definition beside this file becomes one Logic App (Consumption) with an identity of its
// own and the rights it needs, no more. Only those whose system is configured are deployed.

@description('Stands at the beginning of every playbook\'s name.')
param name string
param location string

@description('Whose roles these are: the function app\'s name.')
param owner string

@description('The only address callbacks may go to: https://<app>/remediation-callback?')
param callbackBase string
param vaultName string
param workspaceId string

@description('Nothing is watched longer than this after the request, in minutes.')
param runMinutes int

@description('Object id of the one identity that may start playbooks; empty: signed URLs.')
param callerObjectId string

@description('Audience of its token.')
param audience string

@description('Resource id of the data factory; empty: none.')
param factoryId string

@description('https://adb-….azuredatabricks.net; empty: none.')
param databricksHost string
param allowedNodeTypes array

@description('https://airflow.example.com; empty: none.')
param airflowHost string
param airflowApi string
param airflowUser string
param upstreamPipelines object

@description('Id of a role for starting pipelines that exists already; empty: one is made.')
param pipelineRunnerRoleId string

var vaultHost = 'https://${vaultName}${environment().suffixes.keyvaultDns}'
var airflowSecret = 'AIRFLOW-PASSWORD'
var withFactory = !empty(factoryId)
var withDatabricks = !empty(databricksHost)
var withAirflow = !empty(airflowHost)
// Scopes are read even where nothing is deployed to them: they must always be well formed.
var factoryParts = split(withFactory ? factoryId : resourceId('Microsoft.DataFactory/factories', 'none'), '/')
// Its address in this cloud, without the slash at its end; its tokens are for that address.
var managementHost = 'https://${split(environment().resourceManager, '/')[2]}'
var factoryParameters = { factoryId: { value: factoryId }, managementHost: { value: managementHost } }
var databricksParameters = { databricksHost: { value: databricksHost } }
var airflowParameters = {
  airflowHost: { value: airflowHost }
  airflowApi: { value: airflowApi }
  airflowUser: { value: airflowUser }
  keyVaultHost: { value: vaultHost }
  vaultAudience: { value: 'https://${substring(environment().suffixes.keyvaultDns, 1)}' }
  airflowSecretName: { value: airflowSecret }
}

module retryAdfPipeline 'workflow.bicep' = if (withFactory) {
  params: {
    name: '${name}-retry-adf-pipeline'
    location: location
    definition: loadJsonContent('retry-adf-pipeline.json')
    values: factoryParameters
    callbackBase: callbackBase
    vaultName: vaultName
    setting: 'PLAYBOOK_RETRY_PIPELINE'
    workspaceId: workspaceId
    runMinutes: runMinutes
    callerObjectId: callerObjectId
    audience: audience
  }
}

module retryDatabricksJob 'workflow.bicep' = if (withDatabricks) {
  params: {
    name: '${name}-retry-databricks-job'
    location: location
    definition: loadJsonContent('retry-databricks-job.json')
    values: databricksParameters
    callbackBase: callbackBase
    vaultName: vaultName
    setting: 'PLAYBOOK_RETRY_JOB'
    workspaceId: workspaceId
    runMinutes: runMinutes
    callerObjectId: callerObjectId
    audience: audience
  }
}

module restartCluster 'workflow.bicep' = if (withDatabricks) {
  params: {
    name: '${name}-restart-cluster'
    location: location
    definition: loadJsonContent('restart-cluster.json')
    values: union(databricksParameters, { allowedNodeTypes: { value: allowedNodeTypes } })
    callbackBase: callbackBase
    vaultName: vaultName
    setting: 'PLAYBOOK_RESTART_CLUSTER'
    workspaceId: workspaceId
    runMinutes: runMinutes
    callerObjectId: callerObjectId
    audience: audience
  }
}

module reinstallLibraries 'workflow.bicep' = if (withDatabricks) {
  params: {
    name: '${name}-reinstall-libraries'
    location: location
    definition: loadJsonContent('reinstall-libraries.json')
    values: databricksParameters
    callbackBase: callbackBase
    vaultName: vaultName
    setting: 'PLAYBOOK_REINSTALL_LIBRARIES'
    workspaceId: workspaceId
    runMinutes: runMinutes
    callerObjectId: callerObjectId
    audience: audience
  }
}

module retryAirflowTask 'workflow.bicep' = if (withAirflow) {
  params: {
    name: '${name}-retry-airflow-task'
    location: location
    definition: loadJsonContent('retry-airflow-task.json')
    values: airflowParameters
    callbackBase: callbackBase
    vaultName: vaultName
    setting: 'PLAYBOOK_RETRY_AIRFLOW_TASK'
    workspaceId: workspaceId
    runMinutes: runMinutes
    callerObjectId: callerObjectId
    audience: audience
  }
}

module rerunUpstream 'workflow.bicep' = if (withFactory || withAirflow) {
  params: {
    name: '${name}-rerun-upstream'
    location: location
    definition: loadJsonContent('rerun-upstream.json')
    values: union(factoryParameters, airflowParameters, { upstreamPipelines: { value: upstreamPipelines } })
    callbackBase: callbackBase
    vaultName: vaultName
    setting: 'PLAYBOOK_RERUN_UPSTREAM'
    workspaceId: workspaceId
    runMinutes: runMinutes
    callerObjectId: callerObjectId
    audience: audience
  }
}

module runPipelines 'pipeline-runner.bicep' = if (withFactory) {
  scope: resourceGroup(factoryParts[2], factoryParts[4])
  params: {
    factoryName: factoryParts[8]
    owner: owner
    roleId: pipelineRunnerRoleId
    principals: {
      retry: retryAdfPipeline!.outputs.principalId
      upstream: rerunUpstream!.outputs.principalId
    }
  }
}

// Airflow has no Entra sign-in: its password is the one secret a playbook reads, and only that one.
module readPassword 'secret-reader.bicep' = if (withAirflow) {
  params: {
    vaultName: vaultName
    secretName: airflowSecret
    principals: {
      retry: retryAirflowTask!.outputs.principalId
      upstream: rerunUpstream!.outputs.principalId
    }
  }
}

var databricksPrincipals = [
  { name: '${name}-retry-databricks-job', principalId: retryDatabricksJob!.outputs.principalId }
  { name: '${name}-restart-cluster', principalId: restartCluster!.outputs.principalId }
  { name: '${name}-reinstall-libraries', principalId: reinstallLibraries!.outputs.principalId }
]

@description('Add those of the Databricks playbooks to the workspace as service principals.')
output principals array = withDatabricks ? databricksPrincipals : []
