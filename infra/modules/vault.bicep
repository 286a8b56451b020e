// Secrets, one per setting, named like it with dashes. Playbook URLs are added by playbooks/workflow.bicep.

param name string
param location string

@description('The function app\'s identity: reads secrets, nothing else.')
param principalId string
param workspaceId string

@description('Setting name → value; empty ones are left out.')
@secure()
param secrets object

var roles = loadJsonContent('roles.json')

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' = {
  name: name
  location: location
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    // The app has no fixed address (Flex without a virtual network). Identity is the lock.
    publicNetworkAccess: 'Enabled'
    networkAcls: { bypass: 'AzureServices', defaultAction: 'Allow' }
  }
}

resource secret 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = [
  for entry in items(secrets): if (!empty(entry.value)) {
    parent: vault
    name: replace(entry.key, '_', '-')
    properties: { value: entry.value, contentType: 'text/plain', attributes: { enabled: true } }
  }
]

resource read 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, principalId, 'Key Vault Secrets User')
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Key Vault Secrets User'])
  }
}

resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: vault
  name: 'audit'
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'audit', enabled: true }]
  }
}

output name string = vault.name
