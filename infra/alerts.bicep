// The alerts: an action group that calls /azure-monitor, and the rules that find failures in the logs.
// Deployed after the package, because the function's key exists only once the function does:
//
//   az deployment group create --resource-group <group> --template-file infra/alerts.bicep \
//     --parameters name=<name of main> functionAppName=<output of main> workspaceId=<output of main>

targetScope = 'resourceGroup'

@description('Stands before the name of every rule and of the action group, as in infra/main.bicep.')
@minLength(3)
@maxLength(14)
param name string = 'aiops-rca'

@description('The function app, as infra/main.bicep put it out.')
param functionAppName string

@description('The workspace with the diagnostic logs, as infra/main.bicep put it out.')
param workspaceId string

@description('Region of the rules: that of the workspace.')
param location string = resourceGroup().location

@description('Watch pipeline runs of Data Factory.')
param watchPipelines bool = true

@description('Watch single activities as well, also those whose failure the pipeline handles itself: more, and noisier.')
param watchActivities bool = false

@description('Watch Databricks clusters.')
param watchClusters bool = false

@description('Watch Databricks jobs. Better: a webhook on the job itself (docs/databricks.md), which is there at once.')
param watchJobs bool = false

@description('Severity of the pipeline alerts, 0 (worst) to 4. The ticket\'s own severity comes from the diagnosis.')
@minValue(0)
@maxValue(4)
param pipelineSeverity int = 3

@description('Severity of the Databricks alerts.')
@minValue(0)
@maxValue(4)
param databricksSeverity int = 2

@description('With a secure webhook: object id of the Entra application that the function app accepts tokens for; empty: a function key is the lock.')
param secureWebhookObjectId string = ''

@description('Its identifier URI, equal to secureWebhookAudience of infra/main.bicep.')
param secureWebhookIdentifierUri string = ''

resource app 'Microsoft.Web/sites@2025-03-01' existing = {
  name: functionAppName

  resource azureMonitor 'functions' existing = {
    name: 'AzureMonitor'
  }
}

var secure = !empty(secureWebhookObjectId)
var door = 'https://${app.properties.defaultHostName}/azure-monitor'
// The key of this one function, not the host's: it opens nothing else.
var key = app::azureMonitor.listKeys().default

var receiver = {
  name: 'rca-webhook'
  serviceUri: '${door}?code=${uriComponent(key)}'
  useCommonAlertSchema: true
  useAadAuth: secure
}
var entra = {
  objectId: secureWebhookObjectId
  identifierUri: secureWebhookIdentifierUri
  tenantId: tenant().tenantId
}

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${name}-webhook'
  location: 'global'
  properties: {
    enabled: true
    groupShortName: take(replace(name, '-', ''), 12)
    webhookReceivers: [union(receiver, secure ? entra : {})]
  }
}

var byRun = [
  for column in ['RunId', 'PipelineName', 'ActivityName', 'ErrorCode']: {
    name: column
    operator: 'Include'
    values: ['*']
  }
]
var byCluster = [
  for column in ['clusterId', 'clusterName', 'clusterState', 'termination']: {
    name: column
    operator: 'Include'
    values: ['*']
  }
]
var byJobRun = [
  for column in ['runId', 'jobId', 'jobTerminalState']: {
    name: column
    operator: 'Include'
    values: ['*']
  }
]

// Every rule is split by the run, so that one alert is one run: an alert of many rows is cut to its first ten.
// Windows are longer than frequencies and the queries look half an hour further back than the evaluation before, by
// ingestion time, so late rows are seen and most rows several times; aiops-rca knows a run again. The rules are stateless (autoMitigate false): a failed run
// does not heal because no further one fails.
var rules = [
  {
    name: 'adf-pipeline-failure'
    about: 'A pipeline run of Data Factory failed.'
    enabled: watchPipelines
    query: loadTextContent('queries/adf-pipelines.kql')
    severity: pipelineSeverity
    frequency: 'PT5M'
    window: 'PT2H'
    dimensions: byRun
  }
  {
    name: 'adf-activity-failure'
    about: 'An activity of Data Factory failed.'
    enabled: watchActivities
    query: loadTextContent('queries/adf-activities.kql')
    severity: pipelineSeverity
    frequency: 'PT5M'
    window: 'PT2H'
    dimensions: byRun
  }
  {
    name: 'databricks-cluster-failure'
    about: 'A Databricks cluster ended for a reason nobody wanted.'
    enabled: watchClusters
    query: loadTextContent('queries/databricks-clusters.kql')
    severity: databricksSeverity
    frequency: 'PT15M'
    window: 'PT3H'
    dimensions: byCluster
  }
  {
    name: 'databricks-job-failure'
    about: 'A run of a Databricks job failed.'
    enabled: watchJobs
    query: loadTextContent('queries/databricks-jobs.kql')
    severity: databricksSeverity
    frequency: 'PT15M'
    window: 'PT3H'
    dimensions: byJobRun
  }
]

resource rule 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
  for entry in rules: {
    name: '${name}-${entry.name}'
    location: location
    kind: 'LogAlert'
    properties: {
      displayName: '${name}-${entry.name}'
      description: entry.about
      // All rules are always there: one that is no longer wanted is switched off, not left running.
      enabled: entry.enabled
      severity: entry.severity
      scopes: [workspaceId]
      evaluationFrequency: entry.frequency
      windowSize: entry.window
      autoMitigate: false
      // The tables exist only after the first row: the rules may be there before.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: entry.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            resourceIdColumn: '_ResourceId'
            dimensions: entry.dimensions
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: { actionGroups: [actionGroup.id] }
    }
  }
]
