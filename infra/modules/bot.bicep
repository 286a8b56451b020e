// The bot by which cards are posted to Microsoft Teams: it signs in as the app's own identity, so there is no secret.

@description('The bot\'s name, unique in Azure.')
param name string

@description('The identity of the app: its client id is the bot\'s app id.')
param identityId string

@description('Its client id.')
param clientId string

@description('Where Teams sends what people press.')
param endpoint string

resource bot 'Microsoft.BotService/botServices@2022-09-15' = {
  name: name
  location: 'global'
  kind: 'azurebot'
  sku: {
    name: 'F0'
  }
  properties: {
    displayName: 'AIOps RCA'
    endpoint: endpoint
    msaAppId: clientId
    msaAppMSIResourceId: identityId
    msaAppTenantId: tenant().tenantId
    msaAppType: 'UserAssignedMSI'
    disableLocalAuth: true
  }
}

resource teams 'Microsoft.BotService/botServices/channels@2022-09-15' = {
  parent: bot
  name: 'MsTeamsChannel'
  location: 'global'
  properties: {
    channelName: 'MsTeamsChannel'
    properties: {
      isEnabled: true
    }
  }
}
