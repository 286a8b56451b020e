// App settings. Secrets are references into the vault; empty settings are left out, their defaults hold.

param functionAppName string
param vaultName string

@description('Settings whose values are secrets of the vault, named like them with dashes.')
param secretNames array

@description('Everything else.')
param plain object

var references = toObject(
  secretNames,
  secretName => secretName,
  secretName => '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=${replace(secretName, '_', '-')})'
)
var given = toObject(filter(items(plain), entry => !empty(entry.value)), entry => entry.key, entry => entry.value)

resource app 'Microsoft.Web/sites@2024-04-01' existing = {
  name: functionAppName
}

resource settings 'Microsoft.Web/sites/config@2024-04-01' = {
  parent: app
  name: 'appsettings'
  properties: union(given, references)
}
