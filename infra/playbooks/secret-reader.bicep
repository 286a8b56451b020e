// Lets identities read one secret of the vault.

param vaultName string
param secretName string
param principalIds array

var roles = loadJsonContent('../modules/roles.json')

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: vaultName

  resource secret 'secrets' existing = {
    name: secretName
  }
}

resource read 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principalId in principalIds: {
    scope: vault::secret
    name: guid(vault::secret.id, principalId, 'Key Vault Secrets User')
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Key Vault Secrets User'])
    }
  }
]
