// Lets identities read one secret of the vault.

param vaultName string
param secretName string
@description('Which playbook → its principal id.')
param principals object

var roles = loadJsonContent('../modules/roles.json')
var reader = roles['Key Vault Secrets User']

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' existing = {
  name: vaultName

  resource secret 'secrets' existing = {
    name: secretName
  }
}

resource read 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principal in items(principals): {
    scope: vault::secret
    name: guid(vault::secret.id, principal.value, 'Key Vault Secrets User')
    properties: {
      principalId: principal.value
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', reader)
    }
  }
]
