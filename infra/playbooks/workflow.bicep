// One playbook: the workflow, its identity, its trigger URL as a secret of the vault.

param name string
param location string
param definition object

@description('Values of the definition\'s parameters, as { name: { value: … } }.')
param values object
param callbackBase string
param vaultName string

@description('The setting that holds the trigger URL; the secret is named like it with dashes.')
param setting string
param workspaceId string

resource workflow 'Microsoft.Logic/workflows@2019-05-01' = {
  name: name
  location: location
  identity: { type: 'SystemAssigned' }
  properties: {
    state: 'Enabled'
    definition: definition
    parameters: union(values, { callbackBase: { value: callbackBase } })
  }
}

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: vaultName
}

// The whole URL is a secret: its signature is the permission to act.
resource url 'Microsoft.KeyVault/vaults/secrets@2023-07-01' = {
  parent: vault
  name: replace(setting, '_', '-')
  properties: {
    value: listCallbackUrl('${workflow.id}/triggers/manual', '2019-05-01').value
    contentType: 'text/plain'
    attributes: { enabled: true }
  }
}

resource runs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: workflow
  name: 'runs'
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'WorkflowRuntime', enabled: true }]
  }
}

output principalId string = workflow.identity.principalId
