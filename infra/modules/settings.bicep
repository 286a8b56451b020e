// The app settings, in a module of their own: they refer to secrets that the playbooks put into the vault.

param functionAppName string
param settings object

resource app 'Microsoft.Web/sites@2025-03-01' existing = {
  name: functionAppName
}

resource appSettings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'appsettings'
  properties: settings
}
