// Logs: a workspace (or the one you have) and Application Insights on it.

param name string
param location string

@description('Resource id of an existing workspace; empty: a new one.')
param workspaceId string
param retentionDays int

@description('The function app\'s identity.')
param principalId string

var roles = loadJsonContent('roles.json')
var publisher = roles['Monitoring Metrics Publisher']
// Scopes are read even where nothing is deployed to them: they must always be well formed.
var noWorkspace = resourceId('Microsoft.OperationalInsights/workspaces', 'none')
var existingParts = split(empty(workspaceId) ? noWorkspace : workspaceId, '/')

resource newWorkspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = if (empty(workspaceId)) {
  name: '${name}-logs'
  location: location
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: retentionDays
    features: { disableLocalAuth: false }
  }
}

resource existingWorkspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = if (!empty(workspaceId)) {
  scope: resourceGroup(existingParts[2], existingParts[4])
  name: existingParts[8]
}

var isNew = empty(workspaceId)
var chosenId = isNew ? newWorkspace.id : workspaceId

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: '${name}-insights'
  location: location
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: chosenId
    DisableLocalAuth: true
  }
}

resource publish 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: insights
  name: guid(insights.id, principalId, 'Monitoring Metrics Publisher')
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', publisher)
  }
}

// Rows of failed runs are queried by run id: Log Analytics Reader on the workspace.
module read 'workspace-reader.bicep' = {
  scope: resourceGroup(existingParts[2], existingParts[4])
  params: {
    workspaceName: empty(workspaceId) ? newWorkspace.name : existingParts[8]
    principalId: principalId
  }
}

output workspaceId string = chosenId
output location string = empty(workspaceId) ? location : existingWorkspace!.location
output customerId string = isNew ? newWorkspace!.properties.customerId : existingWorkspace!.properties.customerId
output connectionString string = insights.properties.ConnectionString
