// The watched data factory: its run logs in resource-specific tables, and the right to read its runs.

param factoryName string
param workspaceId string
param diagnosticSettings bool

@description('The function app\'s identity.')
param readerPrincipalId string

var roles = loadJsonContent('roles.json')

resource factory 'Microsoft.DataFactory/factories@2018-06-01' existing = {
  name: factoryName
}

// Without `Dedicated` the rows go to AzureDiagnostics, with other column names, and the alert rules find nothing.
resource runs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (diagnosticSettings) {
  scope: factory
  name: 'adf-diagnostics'
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

resource read 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: factory
  name: guid(factory.id, readerPrincipalId, 'Reader')
  properties: {
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.Reader)
  }
}
