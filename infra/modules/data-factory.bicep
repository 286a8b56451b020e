// The watched data factory: its run logs in resource-specific tables, and the right to read its runs.

param factoryName string
param workspaceId string
param diagnosticSettings bool

@description('Whose role this is: the function app\'s name, in the names of everything made here.')
param owner string

@description('The function app\'s identity.')
param readerPrincipalId string

@description('Id of a role with the operations below that exists already; empty: one is made.')
param roleId string

resource factory 'Microsoft.DataFactory/factories@2018-06-01' existing = {
  name: factoryName
}

// Without `Dedicated` the rows go to AzureDiagnostics, with other column names, and the alert rules find nothing.
// The name is ours and the workspace's: a setting that a person made stays, and deployments that share the workspace
// share this one, because Azure refuses a second setting that sends the same logs to the same place.
resource runs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (diagnosticSettings) {
  scope: factory
  name: 'aiops-rca-${uniqueString(toLower(workspaceId))}'
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [
      { category: 'PipelineRuns', enabled: true }
      { category: 'ActivityRuns', enabled: true }
      { category: 'TriggerRuns', enabled: true }
    ]
  }
}

// Data Factory's queries are actions, and the read beside each is enforced as well: the built-in Reader may not query.
// Every operation has its call (tests/it/evidence/rights.rs).
resource runReader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (empty(roleId)) {
  name: guid(factory.id, owner, 'run reader')
  properties: {
    // Names of roles are unique in the whole tenant.
    roleName: 'aiops-rca run reader (${owner}, ${uniqueString(factory.id)})'
    description: 'Reads pipeline runs and their activities, for aiops-rca.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: [
          'Microsoft.DataFactory/factories/read'
          'Microsoft.DataFactory/factories/pipelineruns/read'
          'Microsoft.DataFactory/factories/querypipelineruns/read'
          'Microsoft.DataFactory/factories/querypipelineruns/action'
          'Microsoft.DataFactory/factories/pipelines/read'
          'Microsoft.DataFactory/factories/triggers/read'
          'Microsoft.DataFactory/factories/querytriggerruns/read'
          'Microsoft.DataFactory/factories/querytriggerruns/action'
          'Microsoft.DataFactory/factories/pipelineruns/queryactivityruns/read'
          'Microsoft.DataFactory/factories/pipelineruns/queryactivityruns/action'
        ]
      }
    ]
  }
}

var readRole = empty(roleId) ? runReader.name : last(split(roleId, '/'))

resource read 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: factory
  name: guid(factory.id, readerPrincipalId, readRole)
  properties: {
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
    // As Azure itself gives the id out: below the subscription, wherever the role may be assigned.
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', readRole)
  }
}
