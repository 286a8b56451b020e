// The watched Databricks workspace: its audit logs (Premium tier only) in resource-specific tables.
// Rights inside the workspace are the workspace's own: add the identities there as service principals.

param workspaceName string
param workspaceId string
param diagnosticSettings bool

resource workspace 'Microsoft.Databricks/workspaces@2026-01-01' existing = {
  name: workspaceName
}

// The name is ours and the workspace of the logs': a setting that a person made stays.
resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (diagnosticSettings) {
  scope: workspace
  name: 'aiops-rca-${uniqueString(toLower(workspaceId))}'
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [
      { category: 'clusters', enabled: true }
      { category: 'jobs', enabled: true }
      { category: 'notebook', enabled: true }
    ]
  }
}

output workspaceHost string = workspace.properties.workspaceUrl
